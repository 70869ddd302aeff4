"""Agents that are called as tools."""

from typing import Any

import pytest

from agentspan.core import events as e
from agentspan.core.states import Kind, Status
from agentspan.spec.tool import ToolSpec
from tests.core import legal
from tests.core.story import Story, lone, only, slots

HELPER = {"name": "helper", "model": "scripted/any", "tools": [{"name": "pay", "approvalRequired": True}]}


def asking(agent: dict[str, Any] | None = None, config: dict[str, Any] | None = None, **changes: Any) -> Story:
    given = {"agentConfig": agent or HELPER, **(config or {})}
    return Story(lone(tools=(ToolSpec("ask", tool_type="agent_tool", config=given),), **changes), context={"a": 1})


def ask(story: Story, *requests: str) -> list[e.AnyFact]:
    calls = [{"name": "ask", "arguments": {"request": request}} for request in requests]
    return story.think("", tool_calls=calls)


def test_it_is_asked_what_the_call_says_and_its_answer_is_the_result() -> None:
    story = asking()
    ask(story, "the price?")
    helper = story.child("helper")
    assert story.messages(helper) == [{"role": "user", "content": "the price?"}]
    story.think("7 euros", execution=helper)
    assert story.messages()[-1]["content"] == "7 euros"
    story.think("It costs 7 euros.")
    assert story.end == (Status.COMPLETED, "stop", "It costs 7 euros.")


def test_its_tools_and_requests_are_those_of_its_own_execution() -> None:
    story = asking()
    ask(story, "pay")
    helper = story.child("helper")
    story.think("", "pay", execution=helper)
    assert story.run(helper).tasks[story.task("approve.0", helper)].kind is Kind.HUMAN
    assert story.run(helper).path == ("tool:ask",)


def test_many_are_asked_at_once_as_far_as_there_is_room() -> None:
    story = asking(width=2)
    begun = [order.slot for order in only(e.TaskScheduled, ask(story, "a", "b", "c")) if order.kind is Kind.AGENT]
    assert begun == ["call.0", "call.1"]
    story.think("A", execution=4)
    assert story.run().open("call.2")


def test_hundred_are_asked_25_at_a_time_and_all_are_answered() -> None:
    story = asking()
    ask(story, *(f"part {n}" for n in range(100)))
    most = 0
    while open_ := [number for number, order in story.run().tasks.items() if order.kind is Kind.AGENT]:
        most = max(most, len(open_))
        story.think("done", execution=open_[-1])
    assert most == 25
    assert sum(message["role"] == "tool" and message["content"] == "done" for message in story.messages()) == 100
    legal.check(story.messages())


def test_one_that_fails_is_an_error_that_the_model_reads() -> None:
    story = asking()
    ask(story, "a", "b")
    first, second = sorted(number for number, run in story.tree.runs.items() if run.path)
    story.fail("think", "no key", execution=first, terminal=True)
    story.think("B", execution=second)
    assert [message["content"] for message in story.messages()[-2:]] == ["Error: no key", "B"]
    assert story.run().status is Status.RUNNING


def test_one_that_must_not_fail_fails_the_run() -> None:
    story = asking(config={"optional": False})
    ask(story, "a", "b")
    story.fail("think", "no key", execution=story.child("helper"), terminal=True)
    assert story.run().reason == "ask: no key"
    assert all(run.ended for run in story.tree.runs.values())


def test_one_may_be_begun_anew_as_often_as_it_says() -> None:
    story = asking(config={"retryCount": 1, "retryDelaySeconds": 3})
    ask(story, "a")
    facts = story.fail("think", "no key", execution=story.child("helper"), terminal=True)
    (again,) = [order for order in only(e.TaskScheduled, facts) if order.slot == "call.0"]
    assert (again.attempt, again.delay_ms) == (1, 3_000)
    story.think("A", execution=story.child("helper"))
    assert story.messages()[-1]["content"] == "A"


def test_its_state_is_its_own() -> None:
    story = asking({"name": "helper", "model": "scripted/any", "tools": [{"name": "look"}]})
    ask(story, "a")
    helper = story.child("helper")
    assert story.run(helper).state == {}
    story.think("", "look", execution=helper)
    story.settle("call.0", helper, result=1, _state_updates={"b": 2})
    story.think("A", execution=helper)
    assert story.run().state == {"a": 1}


@pytest.mark.parametrize(
    ("arguments", "prompt"),
    [({"request": "a"}, "a"), ({"question": "b"}, "b"), ({"n": 1}, '{"n": 1}'), ({}, "{}")],
)
def test_whatever_the_arguments_are_it_is_asked_something(arguments: dict[str, Any], prompt: str) -> None:
    story = asking()
    story.think("", tool_calls=[{"name": "ask", "arguments": arguments}])
    assert story.messages(story.child("helper"))[-1]["content"] == prompt


def test_an_empty_answer_is_a_result() -> None:
    story = asking()
    ask(story, "a")
    story.think("", execution=story.child("helper"))
    legal.check(story.messages())
    assert story.messages()[-1]["content"]


def test_a_team_may_be_called_as_a_tool() -> None:
    members = [{"name": "one", "model": "scripted/any"}, {"name": "two", "model": "scripted/any"}]
    story = asking({"name": "crew", "agents": members, "strategy": "parallel"})
    ask(story, "a")
    story.think("from one", execution=story.child("one"))
    story.think("from two", execution=story.child("two"))
    assert story.messages()[-1]["content"] == "[one]: from one\n\n[two]: from two"


def test_a_stop_reaches_it() -> None:
    story = asking()
    ask(story, "a")
    helper = story.child("helper")
    story.when(e.StopRequested())
    story.when(e.StopRequested(), execution=helper)
    story.think("half", execution=helper)
    assert story.run().finish_reason == "stopped"


def test_a_guardrail_of_the_tool_checks_its_answer() -> None:
    rail = {"name": "no secrets", "guardrailType": "regex", "patterns": ["secret"], "position": "output"}
    config = {"agentConfig": HELPER}
    story = Story(lone(tools=(ToolSpec("ask", tool_type="agent_tool", config=config, guardrails=(rail,)),)))
    ask(story, "a")
    assert slots(story.think("the secret", execution=story.child("helper"))) == ["think"]
    assert "the secret" not in str(story.messages())


def test_a_retry_lets_it_go_on_where_it_was_and_asks_no_second_one() -> None:
    story = asking()
    ask(story, "a")
    helper = story.child("helper")
    story.when(e.ExecutionTerminated("enough"))
    assert slots(story.when(e.ExecutionRetried())) == ["think"]
    story.think("A", execution=helper)
    assert story.messages()[-1]["content"] == "A"
