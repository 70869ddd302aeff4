"""Messages to a running agent, signals, and stops."""

from typing import Any

from agentspan.core import events as e
from agentspan.core.mail import hearers, seen
from agentspan.core.states import Kind, Purpose, Status
from agentspan.spec.tool import ToolSpec
from tests.core import legal
from tests.core.story import Story, lone, only, slots, team


def say(story: Story, text: str, execution: int = 0) -> list[e.AnyFact]:
    return story.when(e.MessageReceived({"message": text}, "ann"), execution=execution)


def waiting(**config: Any) -> Story:
    return Story(lone(tools=(ToolSpec("wait", tool_type="pull_workflow_messages", config=config), ToolSpec("look"))))


def test_a_message_is_seen_in_the_next_turn_and_the_conversation_stays_legal() -> None:
    story = Story(lone())
    story.think("", "look")
    assert say(story, "only 2024, please") == []
    story.act()
    assert story.messages()[-1] == {"role": "user", "content": "only 2024, please"}
    assert story.messages()[-2]["role"] == "tool"
    legal.check(story.messages())
    assert seen(story.log, 5) == (2, 1_000)


def test_a_message_that_comes_while_the_model_thinks_is_answered_before_the_end() -> None:
    story = Story(lone())
    say(story, "and the weather?")
    assert slots(story.think("done")) == ["think"]
    assert [message["content"] for message in story.messages()[-2:]] == ["done", "and the weather?"]
    story.think("sunny")
    assert story.end == (Status.COMPLETED, "stop", "sunny")


def test_messages_are_seen_in_the_order_in_which_they_came() -> None:
    story = Story(lone())
    for text in ("a", "b", "c"):
        say(story, text)
    story.think("done")
    assert story.messages()[-1]["content"] == "a\n\nb\n\nc"


def test_a_message_is_not_shown_to_a_call_that_was_made_before_it_came() -> None:
    story = Story(lone())
    say(story, "late")
    assert "late" not in str(story.messages())


def test_a_message_at_the_turn_limit_does_not_keep_the_run_going() -> None:
    story = Story(lone(max_turns=1))
    say(story, "more")
    story.think("done")
    assert story.run().status is Status.COMPLETED
    assert seen(story.log, 3) is None


def test_a_message_to_a_run_that_has_ended_changes_nothing() -> None:
    story = Story(lone())
    story.think("done")
    result = story.run().result
    assert say(story, "hello?") == []
    assert story.run().result == result


# Tools that wait


def test_a_tool_that_waits_is_a_request_until_a_message_comes() -> None:
    story = waiting()
    (order,) = only(e.TaskScheduled, story.think("", "wait"))
    assert (order.kind, order.purpose) == (Kind.HUMAN, Purpose.WAIT)
    assert slots(say(story, "hello")) == ["think"]
    assert '"payload": {"message": "hello"}' in story.messages()[-1]["content"]


def test_a_message_that_is_there_already_is_taken_at_once() -> None:
    story = waiting()
    say(story, "hello")
    facts = story.think("", "wait")
    assert [taken.messages for taken in only(e.MessagesTaken, facts)] == [(3,)]
    assert slots(facts) == ["think"]


def test_a_tool_takes_as_many_as_it_says_and_the_rest_is_there_next_time() -> None:
    story = waiting(batchSize=2)
    for text in "abc":
        say(story, text)
    story.think("", "wait")
    assert '"count": 2' in story.messages()[-1]["content"]
    story.think("", "wait")
    assert '"count": 1' in story.messages()[-1]["content"]


def test_a_tool_that_does_not_block_answers_that_there_is_nothing() -> None:
    story = waiting(blocking=False)
    assert slots(story.think("", "wait")) == ["think"]
    assert story.messages()[-1]["content"] == '{"messages": [], "count": 0}'


def test_of_two_calls_that_wait_each_message_goes_to_one() -> None:
    story = waiting()
    story.think("", "wait", "wait")
    say(story, "first")
    assert story.run().turn == 1
    assert slots(say(story, "second")) == ["think"]
    results = [message["content"] for message in story.messages()[-2:]]
    assert ["first" in results[0], "second" in results[1]] == [True, True]


def test_an_agent_with_a_tool_that_waits_sees_messages_through_it_alone() -> None:
    story = waiting()
    say(story, "hello")
    story.think("done")
    assert story.run().status is Status.COMPLETED


def test_a_stop_ends_the_waiting() -> None:
    story = waiting()
    story.think("I wait.", "wait")
    story.when(e.StopRequested())
    assert story.end == (Status.COMPLETED, "stopped", "I wait.")


# Teams


def test_a_message_to_a_team_is_heard_by_who_speaks() -> None:
    story = Story(team("sequential", "one", "two"))
    assert hearers(story.spec, story.tree, 0) == [story.child("one")]


def test_a_message_that_a_speaker_did_not_see_is_handed_on() -> None:
    story = Story(team("sequential", "one", "two"))
    one = story.child("one")
    story.when(e.StopRequested(), execution=one)
    say(story, "in French, please", one)
    story.think("first", execution=one)
    assert "in French, please" in str(story.messages(story.child("two")))


# Stops


def test_a_stop_asks_no_person_any_more_and_the_transcript_says_so() -> None:
    story = Story(lone())
    story.think("paying", "pay")
    story.when(e.StopRequested())
    assert story.end == (Status.COMPLETED, "stopped", "paying")
    legal.check(story.messages())


def test_a_stop_does_not_wait_for_a_judgement_of_whether_to_stop() -> None:
    story = Story(lone(stop_when={"taskName": "lone_stop_when"}))
    story.think("looking", "look")
    story.when(e.StopRequested())
    story.act()
    assert story.end == (Status.COMPLETED, "stopped", "looking")


def test_a_stopped_team_ends_with_what_was_said() -> None:
    story = Story(team("round_robin", "one", "two"))
    one = story.child("one")
    story.when(e.StopRequested())
    story.think("so far", execution=one)
    assert story.end == (Status.COMPLETED, "stopped", "so far")


def test_what_a_stopped_run_has_to_show_is_checked_like_an_answer() -> None:
    rail = {"name": "check", "guardrailType": "custom", "taskName": "check", "onFail": "retry"}
    story = Story(lone(guardrails=(rail,)))
    story.think("secret", "look")
    story.when(e.StopRequested())
    assert slots(story.act()) == ["output.0"]
    story.settle("output.0", passed=False, message="no")
    assert story.run().finish_reason == "guardrail"
