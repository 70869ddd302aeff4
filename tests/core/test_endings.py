"""How a run ends: terminations, `stop_when`, tools that must be called, tools that may be called so often."""

from typing import Any

import pytest

from agentspan.core import events as e
from agentspan.core.states import Status
from agentspan.spec.tool import ToolSpec
from tests.core.story import Story, lone, only, slots, team

Json = dict[str, Any]


def ending(termination: Json, **changes: Any) -> Story:
    return Story(lone(termination=termination, **changes))


def turn(story: Story, words: str, **usage: int) -> list[e.AnyFact]:
    story.think(words, "look", usage=usage)
    return story.act()


@pytest.mark.parametrize(
    ("rule", "words", "ends"),
    [
        ({"type": "text_mention", "text": "DONE"}, "I am DONE", True),
        ({"type": "text_mention", "text": "DONE"}, "I am done", False),
        ({"type": "text_mention", "text": "DONE", "caseSensitive": False}, "I am done", True),
        ({"type": "stop_message", "stopMessage": "TERMINATE"}, " TERMINATE\n", True),
        ({"type": "stop_message", "stopMessage": "TERMINATE"}, "please TERMINATE", False),
    ],
)
def test_a_text_ends_the_run_after_its_turn(rule: Json, words: str, ends: bool) -> None:
    story = ending(rule)
    turn(story, words)
    assert story.run().ended is ends
    if ends:
        assert story.end == (Status.COMPLETED, "stop", words)


def test_messages_are_counted_and_not_turns() -> None:
    story = ending({"type": "max_message", "maxMessages": 5})
    turn(story, "one")
    assert story.run().messages == 3
    turn(story, "two")
    assert story.end == (Status.COMPLETED, "stop", "two")


@pytest.mark.parametrize("limit", ["maxTotalTokens", "maxPromptTokens"])
def test_tokens_are_counted_over_the_turns(limit: str) -> None:
    story = ending({"type": "token_usage", limit: 100})
    turn(story, "one", prompt_tokens=60)
    assert not story.run().ended
    turn(story, "two", prompt_tokens=60)
    assert story.end == (Status.COMPLETED, "stop", "two")


def test_the_tokens_of_a_teams_members_count_for_the_team() -> None:
    rule = {"type": "token_usage", "maxCompletionTokens": 10}
    story = Story(team("round_robin", "one", "two", termination=rule))
    story.think("a", execution=story.child("one"), usage={"completion_tokens": 6})
    story.think("b", execution=story.child("two"), usage={"completion_tokens": 6})
    assert story.end == (Status.COMPLETED, "stop", "b")


def test_rules_can_be_joined() -> None:
    both = [{"type": "text_mention", "text": "a"}, {"type": "text_mention", "text": "b"}]
    for kind, words, ends in (("and", "a", False), ("and", "a b", True), ("or", "b", True), ("or", "c", False)):
        story = ending({"type": kind, "conditions": both})
        turn(story, words)
        assert story.run().ended is ends


def test_a_rule_that_is_a_function_is_asked_in_the_users_process() -> None:
    story = ending({"type": "and", "conditions": [{"type": "max_message", "maxMessages": 1}, {"type": "unknown"}]})
    assert slots(turn(story, "hello", prompt_tokens=5, completion_tokens=1)) == ["termination"]
    given = story.given("termination")
    assert (given["result"], given["iteration"]) == ("hello", 1)
    assert given["token_usage"] == {"promptTokens": 5, "completionTokens": 1, "totalTokens": 6}
    assert [message["role"] for message in given["messages"]] == ["user", "assistant", "tool"]
    story.settle("termination", should_continue=False, reason="enough")
    assert story.end == (Status.COMPLETED, "stop", "hello")


@pytest.mark.parametrize(
    ("output", "ends"), [({"should_continue": False}, True), ({"should_continue": True}, False), ({}, False)]
)
def test_stop_when_is_asked_after_each_turn(output: Json, ends: bool) -> None:
    story = Story(lone(stop_when={"taskName": "lone_stop_when"}))
    assert slots(turn(story, "hello")) == ["stop_when"]
    story.settle("stop_when", **output)
    assert story.run().ended is ends
    if not ends:
        assert slots(turn(story, "again")) == ["stop_when"]


def test_a_function_that_fails_lets_the_run_go_on() -> None:
    story = Story(lone(stop_when={"taskName": "lone_stop_when"}))
    turn(story, "hello")
    story.fail("stop_when")
    assert slots(story.fail("stop_when")) == ["think"]


def test_an_answer_is_the_end_and_nothing_is_asked_about_it() -> None:
    story = Story(lone(stop_when={"taskName": "lone_stop_when"}))
    story.think("hello")
    assert story.run().status is Status.COMPLETED


# Tools that must, and may, be called


def test_a_tool_that_must_be_called_is_asked_for_before_an_answer_counts() -> None:
    story = Story(lone(required_tools=("look",)))
    assert slots(story.think("I guess it is sunny.")) == ["think"]
    assert "look" in story.messages()[-1]["content"]
    turn(story, "")
    story.think("It rains.")
    assert story.end == (Status.COMPLETED, "stop", "It rains.")


def test_a_model_that_never_calls_it_fails_the_run_after_some_more_turns() -> None:
    story = Story(lone(required_tools=("look",), max_turns=1))
    for _ in range(4):
        story.think("I guess.")
    assert story.run().status is Status.FAILED
    assert "look were not called" in story.run().reason


def test_a_tool_may_be_called_so_often_in_a_run() -> None:
    story = Story(lone(tools=(ToolSpec("look", max_calls=2),)))
    facts = story.think("", "look", "look", "look")
    assert slots(facts) == ["call.0", "call.1"]
    assert [refused.cause for refused in only(e.CallRefused, facts)] == ["call_limit"]
    story.act(0)
    story.act(1)
    assert slots(story.think("", "look")) == ["think"]
    assert "may be called 2 times" in story.messages()[-1]["content"]


def test_a_retry_of_a_call_is_no_second_call() -> None:
    story = Story(lone(tools=(ToolSpec("look", max_calls=1),)))
    story.think("", "look")
    assert slots(story.fail("call.0")) == ["call.0"]


def test_calls_that_come_with_the_agent_are_made_before_the_model_is_asked() -> None:
    story = Story(lone(prefill_tools=({"name": "look", "arguments": {"city": "Rome"}},)))
    assert story.given("call.0") == {"city": "Rome"}
    assert slots(story.act(0, "sunny")) == ["think"]
    assert [message["role"] for message in story.messages()] == ["user", "assistant", "tool"]
    assert story.run().turn == 1
