"""Models: fallbacks and what they are for, answers that are odd, and what is told of a switch."""

from typing import Any

import pytest

from agentspan.core import events as e
from agentspan.core.states import Status
from tests.core import legal
from tests.core.story import Story, lone, only, slots


def falling(*fallback: Any, **changes: Any) -> Story:
    return Story(lone(fallback=list(fallback), **changes))


def model(facts: list[e.AnyFact]) -> str:
    (order,) = only(e.TaskScheduled, facts)
    return order.name


def test_a_model_that_fails_for_good_is_followed_by_the_next_one_and_the_switch_is_in_the_log() -> None:
    story = falling("scripted/second")
    facts = story.fail("think", "no key", terminal=True)
    assert only(e.ModelSwitched, facts) == [e.ModelSwitched("scripted/second", 1, "no key")]
    assert model(facts) == "scripted/second"


def test_a_failure_that_may_pass_is_tried_again_before_the_next_model_is() -> None:
    story = falling("scripted/second")
    for _ in range(3):
        assert model(story.fail("think", "503")) == "scripted/any"
    assert model(story.fail("think", "503")) == "scripted/second"


def test_fallbacks_are_taken_in_their_order_and_then_the_run_fails() -> None:
    story = falling("scripted/second", {"model": "scripted/third"})
    assert model(story.fail("think", "a", terminal=True)) == "scripted/second"
    assert model(story.fail("think", "b", terminal=True)) == "scripted/third"
    story.fail("think", "c", terminal=True)
    assert (story.run().status, story.run().reason) == (Status.FAILED, "c")


@pytest.mark.parametrize(
    ("cause", "then"), [("rate_limit", "scripted/big"), ("timeout", "scripted/any2"), ("", "scripted/any2")]
)
def test_a_fallback_is_for_the_causes_that_it_names(cause: str, then: str) -> None:
    story = falling({"model": "scripted/big", "on": ["rate_limit"]}, {"model": "scripted/any2"})
    assert model(story.fail("think", "sorry", terminal=True, cause=cause)) == then


def test_a_fallback_for_other_causes_does_not_save_a_run() -> None:
    story = falling({"model": "scripted/big", "on": ["rate_limit"]})
    story.fail("think", "bad key", terminal=True, cause="auth")
    assert story.run().reason == "bad key"


def test_a_timeout_is_a_cause() -> None:
    story = falling({"model": "scripted/big", "on": ["timeout"]})
    task = story.task("think")
    facts = story.when(e.TaskTimedOut(task, "start"))
    assert model(facts) == "scripted/big"


@pytest.mark.parametrize("finish", ["content_filter", "refusal"])
def test_a_model_that_refuses_is_followed_by_the_next_one_and_its_words_are_forgotten(finish: str) -> None:
    story = falling({"model": "scripted/second", "on": ["refusal"]}, max_turns=1)
    assert model(story.think("I cannot help with that.", finish_reason=finish)) == "scripted/second"
    assert "cannot help" not in str(story.messages())
    legal.check(story.messages())
    story.think("of course")
    assert story.end == (Status.COMPLETED, "stop", "of course")


def test_a_refusal_without_a_fallback_is_the_answer_and_the_finish_reason_says_so() -> None:
    story = Story(lone())
    story.think("I cannot help with that.", finish_reason="content_filter")
    assert story.end == (Status.COMPLETED, "content_filter", "I cannot help with that.")


def test_the_agent_stays_with_the_model_that_it_has_switched_to() -> None:
    story = falling("scripted/second")
    story.fail("think", terminal=True)
    story.think("", "look")
    assert model(story.act()) == "scripted/second"


def test_what_was_said_before_the_switch_is_kept() -> None:
    story = falling("scripted/second")
    story.think("let me look", "look")
    story.act(0, "sunny")
    story.fail("think", terminal=True)
    assert "sunny" in str(story.messages())
    legal.check(story.messages())


# Odd answers


def test_an_empty_answer_is_an_answer() -> None:
    story = Story(lone())
    story.think("")
    assert story.end == (Status.COMPLETED, "stop", "")


def test_an_answer_that_ends_for_calls_and_has_none_is_an_answer() -> None:
    story = Story(lone())
    story.think("hello", finish_reason="tool_calls")
    assert story.end == (Status.COMPLETED, "stop", "hello")


def test_calls_whose_arguments_are_broken_do_not_hold_back_the_others() -> None:
    story = Story(lone())
    calls = [{"name": "look", "raw": "{oops"}, {"name": "dance", "arguments": {}}, {"name": "look", "arguments": {}}]
    facts = story.think("", tool_calls=calls)
    assert [refused.cause for refused in only(e.CallRefused, facts)] == ["bad_arguments", "unknown_tool"]
    assert slots(facts) == ["call.2"]
    legal.check(story.messages())


def test_an_answer_in_three_pieces_is_one_answer() -> None:
    story = Story(lone())
    story.think("a", finish_reason="length")
    story.think("b", finish_reason="length")
    story.think("c")
    assert story.text() == "abc"


def test_an_answer_that_never_ends_is_cut_at_the_turn_limit() -> None:
    story = Story(lone(max_turns=2))
    story.think("a", finish_reason="length")
    story.think("b", finish_reason="length")
    assert story.end == (Status.COMPLETED, "length", "ab")


@pytest.mark.parametrize(
    "output",
    [
        {"content": 7},
        {"content": "x", "usage": "many"},
        {"content": "x", "usage": {"prompt_tokens": "many"}},
        {"content": "x", "cost": "much"},
        {"tool_calls": "look"},
        {"tool_calls": [{"arguments": {}}]},
    ],
)
def test_an_answer_that_makes_no_sense_is_a_failure_of_the_model(output: dict[str, Any]) -> None:
    story = falling("scripted/second")
    assert model(story.when(e.TaskCompleted(story.task("think"), output))) == "scripted/second"


@pytest.mark.parametrize("output", [{"_state_updates": 7}, {"_state_deletions": 7}])
def test_a_tools_result_that_makes_no_sense_is_an_error_that_the_model_reads(output: dict[str, Any]) -> None:
    story = Story(lone())
    story.think("", "look")
    assert slots(story.settle("call.0", **output)) == ["think"]
    assert "_state_" in story.messages()[-1]["content"]


def test_a_tools_result_may_have_any_keys() -> None:
    story = Story(lone())
    story.think("", "look")
    story.settle("call.0", tool_calls="none", usage="much", content=7)
    assert story.messages()[-1]["content"] == '{"tool_calls": "none", "usage": "much", "content": 7}'
