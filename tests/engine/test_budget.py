"""What a run may use: shared by its whole tree, never overshot by more than one call, and raised to go on."""

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from agentspan.core import events as e
from agentspan.engine.engine import Engine
from agentspan.errors import BadInput, Conflict
from agentspan.spec.agent import AgentSpec
from agentspan.spec.policy import Budget
from tests.engine import house
from tests.engine.house import (
    agent,
    calls,
    complete,
    ended,
    facts,
    log,
    opened,
    result,
    script,
    take,
    team,
    working,
)  # fmt: skip

PRICED = {"usage": {"prompt_tokens": 60, "completion_tokens": 40}, "cost": 0.25}


def priced(answer: Any, **more: Any) -> dict[str, Any]:
    """An answer that costs 100 tokens and a quarter."""
    return {**({"content": answer} if isinstance(answer, str) else answer), **PRICED, **more}


def worker(rounds: int = 3, **more: Any) -> AgentSpec:
    """An agent that calls tool `a` in each of so many turns, then ends: `rounds` + 1 model calls."""
    steps = [priced({**calls("a"), "content": f"step {n}"}, **more) for n in range(1, rounds + 1)]
    return agent(script(*steps, priced("done", **more)), "a")


async def start(engine: Engine, spec: AgentSpec, **budget: Any) -> str:
    return (
        await engine.start(spec, {"prompt": "hello", "budget": budget} if budget else {"prompt": "hello"})
    ).execution_id


@pytest.mark.parametrize(
    ("budget", "used", "words"),
    [
        ({"modelCalls": 2}, {"modelCalls": 2, "tokens": 200, "toolCalls": 2}, "2 of 2 model calls"),
        ({"tokens": 150}, {"modelCalls": 2, "tokens": 200}, "200 of 150 tokens"),
        ({"cost": 0.5}, {"modelCalls": 2, "cost": 0.5}, "0.5 of 0.5 US dollars"),
        ({"toolCalls": 1}, {"modelCalls": 2, "toolCalls": 1}, "1 of 1 tool calls"),
    ],
)
async def test_a_run_ends_when_its_budget_is_used_and_goes_on_with_more(
    engine: Engine, budget: dict[str, Any], used: dict[str, Any], words: str
) -> None:
    execution = await start(engine, worker(), **budget)
    async with working(engine, a=1):
        view = await ended(engine, execution)
        assert (view.row.status, view.row.finish_reason) == ("TERMINATED", "budget")
        assert words in view.row.reason
        assert (view.output or {})["result"] == "step 2"
        assert view.budget == budget
        assert {**(view.spent or {}), **used} == view.spent
        limits = await engine.budget(execution, {"modelCalls": 10, "tokens": 10_000, "cost": 100, "toolCalls": 10})
        assert limits == Budget(cost=100, tokens=10_000, model_calls=10, tool_calls=10)
        view = await ended(engine, execution)
    assert (view.output or {})["result"] == "done"
    assert {**(view.spent or {}), "modelCalls": 4, "toolCalls": 3} == view.spent
    assert view.row.cost == pytest.approx(1.0)


async def test_the_budget_of_the_agent_counts_where_the_run_has_none(engine: Engine) -> None:
    spec = replace(worker(), budget=Budget(model_calls=1))
    async with working(engine, a=1):
        assert (await ended(engine, await start(engine, spec))).row.finish_reason == "budget"
        assert await result(engine, await start(engine, spec, modelCalls=9)) == "done"


async def test_wall_time_is_a_budget_too(engine: Engine, hands: house.Hands) -> None:
    execution = await start(engine, worker(), seconds=60)
    task = await take(engine, "a")
    await hands.forward(engine, 61)
    view = await ended(engine, execution)
    assert (view.row.status, view.row.finish_reason) == ("TERMINATED", "budget")
    assert "60 seconds" in view.row.reason
    assert not (await complete(engine, task)).landed
    await engine.budget(execution, {"seconds": 300})
    async with working(engine, a=1):
        assert await result(engine, execution) == "done"


async def test_twenty_agents_at_once_overshoot_by_one_call_at_most(engine: Engine) -> None:
    children = [replace(worker(5, delay_ms=5), name=f"w{n}") for n in range(20)]
    spec = team("crowd", "parallel", *children, width=20)
    execution = await start(engine, spec, tokens=1_550)
    async with working(engine, a=1):
        view = await ended(engine, execution)
    assert view.row.finish_reason == "budget"
    answers = [x for x in facts(await log(engine, execution), e.TaskCompleted) if (x.output or {}).get("usage")]
    assert len(answers) * 100 <= 1_550 + 100
    assert (view.spent or {})["tokens"] == len(answers) * 100 >= 1_400


async def test_a_crowd_that_ran_out_goes_on_where_it_was_with_more(engine: Engine) -> None:
    children = [replace(worker(2, delay_ms=2), name=f"w{n}") for n in range(6)]
    execution = await start(engine, team("crowd", "parallel", *children), modelCalls=7)
    async with working(engine, a=1):
        view = await ended(engine, execution)
        assert view.row.finish_reason == "budget"
        assert (view.spent or {})["modelCalls"] <= 7
        await engine.budget(execution, {"modelCalls": 100})
        view = await ended(engine, execution)
    assert view.row.status == "COMPLETED"
    assert set((view.output or {})["subResults"].values()) == {"done"}
    (whole,) = await engine.reads.whole([view.row])
    assert whole.prompt_tokens + whole.completion_tokens == (view.spent or {})["tokens"] == 18 * 100
    assert whole.cost == pytest.approx(18 * 0.25)


async def test_a_budget_belongs_to_the_whole_run_also_when_a_sub_agent_asks(engine: Engine) -> None:
    inner = team("inner", "sequential", replace(worker(), name="leaf"))
    execution = await start(engine, team("outer", "sequential", inner), modelCalls=1)
    async with working(engine, a=1):
        view = await ended(engine, execution)
        assert view.row.finish_reason == "budget"
        (child, *_) = await engine.reads.children(execution)
        await engine.budget(child.execution_id, {"modelCalls": None})
        assert await result(engine, execution) == "done"
    assert (await engine.reads.execution(child.execution_id)).budget is None


async def test_a_budget_is_changed_while_the_run_goes_on(engine: Engine) -> None:
    execution = await start(engine, worker())
    task = await take(engine, "a")
    await engine.budget(execution, {"modelCalls": 0})
    await complete(engine, task)
    assert (await ended(engine, execution)).row.finish_reason == "budget"
    items = await engine.events(execution)
    assert [item["content"] for item in items if item["type"] == "budget"] == [{"modelCalls": 0}]


async def test_a_run_that_ended_otherwise_has_no_use_for_a_budget(engine: Engine) -> None:
    execution = await start(engine, agent(script("done")), modelCalls=5)
    await ended(engine, execution)
    with pytest.raises(Conflict, match="not for its budget"):
        await engine.budget(execution, {"modelCalls": 9})


@pytest.mark.parametrize(
    "bad",
    [{}, [], {"euros": 3}, {"cost": -1}, {"tokens": 1.5}, {"tokens": True}, {"cost": float("inf")}, {"seconds": "1"}],
)
async def test_a_budget_that_cannot_be_is_refused_with_a_sentence(engine: Engine, bad: Any) -> None:
    with pytest.raises(BadInput, match="budget"):
        await engine.start(agent(script("done")), {"prompt": "hello", "budget": bad})
    execution = await start(engine, worker())
    with pytest.raises(BadInput, match="budget"):
        await engine.budget(execution, bad)


async def test_what_was_used_is_remembered_by_a_new_server(database_url: str, tmp_path: Path) -> None:
    async with opened(database_url, tmp_path) as engine:
        execution = await start(engine, worker(), modelCalls=3)
        await complete(engine, await take(engine, "a"))
        task = await take(engine, "a")
    async with opened(database_url, tmp_path) as engine:
        await complete(engine, task)
        async with working(engine, a=1):
            view = await ended(engine, execution)
        assert view.row.finish_reason == "budget"
        assert (view.spent or {})["modelCalls"] == 3
