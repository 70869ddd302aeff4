"""Callbacks: six positions, each of which can change what it wraps; each runs once for each event."""

from typing import Any

import pytest

from agentspan.core import events as e
from agentspan.core.states import Status
from tests.core import legal
from tests.core.agents import POSITIONS
from tests.core.story import Story, lone, slots, team


def calling(*positions: str, **changes: Any) -> Story:
    return Story(lone(callbacks=tuple({"position": p, "taskName": f"lone_{p}"} for p in positions), **changes))


def test_all_six_are_called_in_their_order_around_a_run() -> None:
    story = calling(*POSITIONS)
    story.settle("before_agent")
    story.settle("before_model.1")
    story.think("", "look")
    story.settle("after_model")
    story.settle("before_tool.0")
    story.act()
    story.settle("after_tool.0")
    story.settle("before_model.2")
    story.think("done")
    story.settle("after_model")
    story.settle("after_agent")
    assert story.end == (Status.COMPLETED, "stop", "done")


@pytest.mark.parametrize("position", POSITIONS)
def test_a_callback_that_fails_changes_nothing_and_is_not_called_again(position: str) -> None:
    story = calling(position)
    for _ in range(4):
        tasks = {order.slot: number for number, order in story.run().tasks.items()}
        for slot in tasks:
            if slot.startswith(position):
                story.fail(slot, "KeyError")
        if story.run().ended:
            break
        if story.run().open("think"):
            story.think("", "look") if story.run().turn == 1 else story.think("done")
        elif story.run().open("call.0"):
            story.act()
    failed = [x.fact for x in story.log if isinstance(x.fact, e.TaskFailed)]
    assert len(failed) == (2 if position.endswith("model") else 1)
    assert story.end == (Status.COMPLETED, "stop", "done")


def test_before_agent_may_change_the_prompt() -> None:
    story = calling("before_agent")
    assert story.given("before_agent")["prompt"] == "go"
    story.settle("before_agent", prompt="stay")
    assert story.messages()[-1]["content"] == "stay"


def test_before_agent_may_answer_itself_and_no_model_is_asked() -> None:
    story = calling("before_agent")
    story.settle("before_agent", result="closed today")
    assert story.end == (Status.COMPLETED, "stop", "closed today")
    assert story.run().usage.calls == 0


def test_a_teams_callback_changes_the_prompt_of_its_members() -> None:
    story = Story(team("sequential", "one", callbacks=({"position": "before_agent", "taskName": "team_before_agent"},)))
    story.settle("before_agent", prompt="stay")
    assert "stay" in str(story.messages(story.child("one")))


def test_after_agent_may_change_the_result() -> None:
    story = calling("after_agent")
    story.think("a fool")
    assert story.given("after_agent")["result"] == "a fool"
    story.settle("after_agent", result="a friend")
    assert story.end == (Status.COMPLETED, "stop", "a friend")


def test_before_model_sees_the_messages_and_may_change_them() -> None:
    story = calling("before_model")
    assert story.given("before_model.1")["messages"][-1] == {"role": "user", "content": "go"}
    (order,) = story.settle("before_model.1", messages=[{"role": "user", "content": "other"}])
    assert isinstance(order, e.TaskScheduled)
    assert story.facts()[order.source]["messages"] == [{"role": "user", "content": "other"}]


def test_messages_that_are_none_change_nothing() -> None:
    story = calling("before_model")
    (order,) = story.settle("before_model.1", messages="go")
    assert isinstance(order, e.TaskScheduled)
    assert (order.slot, order.source) == ("think", 0)


def test_before_model_may_answer_for_the_model() -> None:
    story = calling("before_model")
    story.settle("before_model.1", result="from the cache")
    assert story.end == (Status.COMPLETED, "stop", "from the cache")
    assert story.run().usage.calls == 0


def test_after_model_sees_the_answer_and_may_reword_it() -> None:
    story = calling("after_model")
    story.think("a fool", "look")
    given = story.given("after_model")
    assert (given["llm_result"], [call["name"] for call in given["tool_calls"]]) == ("a fool", ["look"])
    story.settle("after_model", result="a friend")
    assert story.messages()[-2]["content"] == "a friend"
    legal.check(story.messages())
    assert story.run().open("call.0")


def test_after_model_may_change_the_calls() -> None:
    story = calling("after_model")
    story.think("let me see", "pay")
    assert slots(story.settle("after_model", tool_calls=[{"name": "look", "arguments": {"n": 7}}])) == ["call.0"]
    assert story.given("call.0") == {"n": 7}
    assert story.messages()[-2]["content"] == "let me see"
    legal.check(story.messages())


def test_an_answer_that_was_reworded_is_whole_even_if_it_was_cut_short() -> None:
    story = calling("after_model")
    story.think("once upon a", finish_reason="length")
    story.settle("after_model", result="the end")
    assert story.end == (Status.COMPLETED, "stop", "the end")


def test_before_tool_may_change_the_arguments() -> None:
    story = calling("before_tool")
    story.think("", "look")
    assert story.given("before_tool.0")["args"] == {"n": 0}
    story.settle("before_tool.0", args={"n": 7})
    assert story.given("call.0") == {"n": 7}


def test_before_tool_may_answer_for_the_tool() -> None:
    story = calling("before_tool")
    story.think("", "look")
    assert slots(story.settle("before_tool.0", result="from the cache")) == ["think"]
    assert story.messages()[-1]["content"] == "from the cache"


def test_before_tool_comes_after_the_approval() -> None:
    story = calling("before_tool")
    assert slots(story.think("", "pay")) == ["approve.0"]
    assert slots(story.decide(0, approved=True)) == ["before_tool.0"]


def test_after_tool_sees_the_result_and_may_change_it() -> None:
    story = calling("after_tool")
    story.think("", "look")
    story.act(0, "the sky is green")
    given = story.given("after_tool.0")
    assert (given["tool_name"], given["args"], given["result"]) == ("look", {"n": 0}, "the sky is green")
    assert slots(story.settle("after_tool.0", result="the sky is blue")) == ["think"]
    assert story.messages()[-1]["content"] == "the sky is blue"


def test_a_callback_of_one_call_holds_back_no_other() -> None:
    story = calling("after_tool")
    story.think("", "look", "look")
    assert slots(story.act(0)) == ["after_tool.0"]
    assert slots(story.act(1)) == ["after_tool.1"]


def test_a_callback_whose_worker_died_is_handed_on() -> None:
    story = calling("after_agent")
    story.think("done")
    assert slots(story.when(e.TaskTimedOut(story.task("after_agent"), "lease"))) == ["after_agent"]


def test_what_a_callback_says_beside_is_no_part_of_its_result() -> None:
    story = calling("after_tool", "after_model", "after_agent")
    story.think("", "look")
    story.settle("after_model")
    story.act()
    story.settle("after_tool.0", result="blue", took_ms=7)
    assert story.messages()[-1]["content"] == "blue"
    story.think("done", "look")
    story.settle("after_model", result="really done", tool_calls=[])
    assert story.given("after_agent")["result"] == "really done"
    story.settle("after_agent", result="the end", took_ms=7)
    assert story.end == (Status.COMPLETED, "stop", "the end")
