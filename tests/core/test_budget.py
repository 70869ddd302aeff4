"""Budgets: shared by the whole tree, kept under parallel load, and raised."""

from typing import Any

import pytest

from agentspan.core import events as e
from agentspan.core.states import Status
from agentspan.spec.agent import AgentSpec
from agentspan.spec.policy import Budget
from agentspan.spec.tool import ToolSpec
from tests.core.story import Story, lone, slots, team

MANY = {"prompt_tokens": 40, "completion_tokens": 10}


def spending(budget: dict[str, Any], spec: AgentSpec | None = None) -> Story:
    return Story(spec or lone(), budget=budget)


def test_a_run_that_has_used_its_model_calls_ends_with_what_there_is() -> None:
    story = spending({"modelCalls": 2})
    for _ in range(2):
        story.think("so far", "look")
        story.act()
    assert story.end == (Status.TERMINATED, "budget", "so far")
    assert story.run().reason == "budget: 2 of 2 model calls are used"


def test_an_answer_within_the_budget_is_an_answer() -> None:
    story = spending({"modelCalls": 1})
    story.think("done")
    assert story.end == (Status.COMPLETED, "stop", "done")


def test_tool_calls_count_and_their_retries_do_not() -> None:
    story = spending({"toolCalls": 2})
    story.think("", "look", "look")
    story.fail("call.0")
    story.act(0)
    story.act(1)
    story.think("more", "look")
    assert story.run().reason == "budget: 2 of 2 tool calls are used"


@pytest.mark.parametrize(("limit", "most"), [("tokens", 60), ("cost", 0.6)])
def test_tokens_and_money_are_settled_after_each_call(limit: str, most: float) -> None:
    story = spending({limit: most})
    story.think("a", "look", usage=MANY, cost=0.5)
    story.act()
    assert not story.run().ended
    story.think("b", "look", usage=MANY, cost=0.5)
    story.act()
    assert story.end == (Status.TERMINATED, "budget", "b")


def test_a_budget_is_shared_by_the_whole_tree() -> None:
    story = spending({"modelCalls": 2}, team("sequential", "one", "two", "three"))
    story.think("a", execution=story.child("one"))
    story.think("b", execution=story.child("two"))
    assert story.end[:2] == (Status.TERMINATED, "budget")
    assert all(run.ended for run in story.tree.runs.values())
    assert story.text() == "b"


def test_the_first_call_of_a_fan_out_says_what_one_may_cost_and_the_others_wait_for_it() -> None:
    story = spending({"tokens": 1_000}, team("parallel", *"abcd"))
    asked = [number for number, run in story.tree.runs.items() if run.open("think")]
    assert asked == [story.child("a")]
    story.think("a", execution=story.child("a"), usage=MANY)
    asked = [number for number, run in story.tree.runs.items() if run.open("think")]
    assert asked == [story.child(name) for name in "bcd"]


@pytest.mark.parametrize("width", [2, 8, 30])
def test_a_fan_out_overshoots_its_budget_by_one_call_at_the_most(width: int) -> None:
    story = spending({"tokens": 120}, team("parallel", *(f"agent{n}" for n in range(width)), width=width))
    while asked := [number for number, run in story.tree.runs.items() if run.open("think")]:
        story.think("well", execution=asked[-1], usage=MANY)
    assert story.run().spent.tokens <= 120 + 50
    assert story.run().ended


def test_a_call_that_failed_frees_its_share() -> None:
    story = spending({"tokens": 1_000}, team("parallel", "a", "b"))
    story.fail("think", execution=story.child("a"), terminal=True)
    assert story.run(story.child("b")).open("think")


def test_a_run_goes_on_with_more() -> None:
    story = spending({"modelCalls": 1})
    story.think("so far", "look")
    story.act()
    story.when(e.BudgetChanged(Budget(model_calls=5)))
    assert slots(story.when(e.ExecutionRetried())) == ["think"]
    story.think("done")
    assert story.end == (Status.COMPLETED, "stop", "done")


def test_a_team_goes_on_with_more_where_it_was() -> None:
    story = spending({"modelCalls": 1}, team("sequential", "one", "two"))
    story.think("first", execution=story.child("one"))
    assert story.run().finish_reason == "budget"
    story.when(e.BudgetChanged(Budget()))
    story.when(e.ExecutionRetried())
    story.think("second", execution=story.child("two"))
    assert story.end == (Status.COMPLETED, "stop", "second")
    assert story.speakers == ["one", "two"]


def test_who_retries_without_more_ends_at_once() -> None:
    story = spending({"modelCalls": 1})
    story.think("so far", "look")
    story.act()
    story.when(e.ExecutionRetried())
    assert story.end == (Status.TERMINATED, "budget", "so far")


def test_choices_checks_and_summaries_are_model_calls_too() -> None:
    rail = {"name": "judge", "guardrailType": "llm", "policy": "be kind"}
    story = spending({"modelCalls": 1}, lone(guardrails=(rail,)))
    story.think("hello")
    assert story.end == (Status.TERMINATED, "budget", "hello")


def test_agents_that_are_called_as_tools_share_the_budget() -> None:
    tool = ToolSpec("ask", tool_type="agent_tool", config={"agentConfig": {"name": "helper", "model": "scripted/any"}})
    story = spending({"modelCalls": 2}, lone(tools=(tool,)))
    story.think("asking", "ask")
    story.think("help", execution=story.child("helper"))
    assert story.end[:2] == (Status.TERMINATED, "budget")


def test_a_budget_that_is_raised_while_a_call_waits_lets_it_go() -> None:
    story = spending({"tokens": 10}, team("parallel", "a", "b"))
    facts = story.when(e.BudgetChanged(Budget()))
    assert slots(facts) == ["think"]
