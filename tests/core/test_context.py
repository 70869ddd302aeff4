"""What a model is shown: instructions, memory, state, and a conversation that was summed up."""

from typing import Any

import pytest

from agentspan.core import events as e
from agentspan.core.asking import question
from agentspan.core.states import Status
from tests.core import legal
from tests.core.story import Story, lone, only, slots

LONG = {"overflow": {"reason": "too long"}}


def conversation(turns: int, **changes: Any) -> Story:
    story = Story(lone(max_turns=100, **changes))
    for turn in range(turns):
        story.think(f"thought {turn}", "look", "look")
        story.act(0, f"result {turn}")
        story.act(1, f"other {turn}")
    return story


def overflow(story: Story) -> list[e.AnyFact]:
    return story.when(e.TaskCompleted(story.task("think"), LONG))


def test_a_conversation_that_is_too_long_is_summed_up_and_the_model_is_asked_again() -> None:
    story = conversation(6)
    assert slots(overflow(story)) == ["condense"]
    facts = story.settle("condense", content="we looked a lot")
    (compacted,) = only(e.ContextCompacted, facts)
    assert (compacted.kept, compacted.summary > 0) == (8, True)
    assert slots(facts) == ["think"]
    assert story.run().turn == 7
    assert "Summary of the conversation so far:\nwe looked a lot" in story.messages()[0]["content"]


def test_a_call_is_never_parted_from_its_results_and_the_prompt_stays() -> None:
    for turns in range(1, 9):
        story = conversation(turns)
        overflow(story)
        story.settle("condense", content="so far")
        legal.check(story.messages())
        assert story.messages()[0]["content"].startswith("go")
        assert all(len(message.get("tool_calls", ())) in (0, 2) for message in story.messages())


def test_what_is_summed_up_is_what_is_left_out() -> None:
    story = conversation(6)
    overflow(story)
    run = story.run()
    asked = question(story.material(), story.spec, run, run.tasks[story.task("condense")])
    told = str(asked.messages)
    assert "thought 0" in told
    assert "result 5" not in told
    story.settle("condense", content="so far")
    assert "thought 0" not in str(story.messages())
    assert "result 5" in str(story.messages())


def test_a_summary_that_cannot_be_had_is_a_cut() -> None:
    story = conversation(6)
    overflow(story)
    facts = story.fail("condense", terminal=True)
    assert [compacted.summary for compacted in only(e.ContextCompacted, facts)] == [0]
    assert "assistant: thought 0" in str(story.messages())
    legal.check(story.messages())


def test_the_log_keeps_all_that_was_summed_up() -> None:
    story = conversation(6)
    overflow(story)
    story.settle("condense", content="so far")
    said = [x.fact.output for x in story.log if isinstance(x.fact, e.TaskCompleted) and x.fact.output]
    assert "thought 0" in str(said)


def test_a_conversation_that_is_still_too_long_fails_the_run_and_says_so() -> None:
    story = conversation(6)
    overflow(story)
    story.settle("condense", content="so far")
    overflow(story)
    assert story.run().status is Status.FAILED
    assert "too long for scripted/any" in story.run().reason


def test_a_model_with_more_room_takes_over_if_there_is_one() -> None:
    story = conversation(6, fallback=[{"model": "scripted/big", "on": ["context"]}])
    overflow(story)
    story.settle("condense", content="so far")
    facts = overflow(story)
    assert [switch.model for switch in only(e.ModelSwitched, facts)] == ["scripted/big"]
    assert slots(facts) == ["think"]


def test_a_prompt_alone_is_not_summed_up() -> None:
    story = Story(lone())
    facts = overflow(story)
    assert slots(facts) == ["think"]
    assert story.messages() == [{"role": "user", "content": "go"}]


def test_each_turn_may_be_summed_up_anew() -> None:
    story = conversation(6)
    for _ in range(3):
        overflow(story)
        story.settle("condense", content="so far")
        story.think("", "look")
        story.act()
    assert str(story.messages()).count("Summary of the conversation so far") == 1


def test_an_overflow_is_no_model_call_that_was_paid() -> None:
    story = Story(lone())
    overflow(story)
    assert story.run().usage.calls == 0


# Instructions, memory, state


def test_instructions_of_a_function_are_made_once_in_a_run() -> None:
    story = Story(lone(instructions={"_worker_ref": "lone_instructions"}), context={"user": "ann"})
    given = story.given("brief")
    assert (given["prompt"], given["context"], given["agent"]["name"]) == ("go", {"user": "ann"}, "lone")
    story.settle("brief", result="Be brief.")
    assert story.messages()[0] == {"role": "system", "content": "Be brief."}
    story.think("", "look")
    assert slots(story.act()) == ["think"]


def test_instructions_that_cannot_be_made_fail_the_run() -> None:
    story = Story(lone(instructions={"_worker_ref": "lone_instructions"}))
    story.fail("brief", "KeyError")
    story.fail("brief", "KeyError")
    assert story.run().reason == "the instructions of lone could not be made: KeyError"


def test_a_memory_comes_before_the_prompt_and_its_system_messages_with_the_instructions() -> None:
    memory = {
        "messages": [
            {"role": "system", "message": "Ann is a vet."},
            {"role": "assistant", "message": "Hello Ann."},
            {"role": "tool_call", "message": "look", "tool_calls": [{"name": "look"}]},
            {"role": "tool", "message": "sunny"},
        ]
    }
    story = Story(lone(instructions="Be brief.", memory=memory))
    messages = story.messages()
    assert messages[0]["content"] == "Be brief.\n\nAnn is a vet."
    assert "Hello Ann." in str(messages)
    assert messages[-1]["content"].endswith("go")
    legal.check(messages)


def test_a_prompt_with_pictures_is_made_of_parts() -> None:
    story = Story(lone(), media=["https://example.org/cat.png"])
    (message,) = story.messages()
    assert message["content"][0] == {"type": "text", "text": "go"}
    assert "cat.png" in str(message["content"][1])


@pytest.mark.parametrize("prompt", ["", " "])
def test_an_empty_prompt_is_not_sent_as_nothing(prompt: str) -> None:
    legal.check(Story(lone(), prompt).messages())
