"""Runs with limits: they end with what they have, and go on when they are given more."""

from typing import Any

import pytest

from agentspan.agents import Agent, AgentRuntime, Budget, FinishReason, Status, tool
from tests.agents.serving import ServerProcess, tool_call


@tool
def look(place: str) -> str:
    """Look somewhere."""
    return f"nothing in {place}"


@pytest.fixture
def seeker(server: ServerProcess) -> Agent:
    steps = [{**tool_call("look", place=place), "content": f"trying {place}"} for place in ("attic", "cellar")]
    return Agent("seeker", server.script("seeker", *steps, "Not found."), "", [look])


@pytest.mark.parametrize("budget", [Budget(model_calls=1), {"model_calls": 1}, {"modelCalls": 1}, Budget(tokens=5)])
def test_a_run_that_has_used_its_budget_ends_and_goes_on_with_more(
    runtime: AgentRuntime, seeker: Agent, budget: Any
) -> None:
    handle = runtime.start(seeker, "seek", budget=budget)
    result = handle.join(10)
    assert (result.status, result.finish_reason) == (Status.TERMINATED, FinishReason.BUDGET)
    assert result.output["result"] == "trying attic"
    assert "budget" in str(result.error)
    assert handle.continue_with(Budget(model_calls=10, tokens=10_000)) is handle
    last = handle.join(10)
    assert last.output["result"] == "Not found."
    assert [call["args"]["place"] for call in last.tool_calls] == ["attic", "cellar"]


def test_another_process_lets_a_run_go_on(server: ServerProcess, runtime: AgentRuntime, seeker: Agent) -> None:
    result = runtime.run(seeker, "seek", budget=Budget(tool_calls=1))
    assert result.finish_reason is FinishReason.BUDGET
    with AgentRuntime(server_url=server.url) as other:
        handle = other.continue_run(result.execution_id, budget={"tool_calls": 2})
        assert handle.join(10).output["result"] == "Not found."


async def test_a_stateful_run_goes_on_with_its_tools(server: ServerProcess, seeker: Agent) -> None:
    seeker.stateful = True
    async with AgentRuntime(server_url=server.url) as runtime:
        stream = await runtime.stream_async(seeker, "seek", budget=Budget(model_calls=1))
        assert (await stream.get_result()).finish_reason is FinishReason.BUDGET
        handle = await stream.handle.continue_with_async(Budget(model_calls=9))  # type: ignore[attr-defined]
        assert (await handle.join_async(10)).output["result"] == "Not found."


def test_a_budget_of_the_run_replaces_the_agent_s(runtime: AgentRuntime, seeker: Agent) -> None:
    seeker.budget = Budget(model_calls=1)
    assert runtime.run(seeker, "seek").finish_reason is FinishReason.BUDGET
    assert runtime.run(seeker, "seek", budget=Budget(model_calls=3)).output["result"] == "Not found."


def test_a_budget_that_cannot_be_is_refused_before_the_run(runtime: AgentRuntime, seeker: Agent) -> None:
    with pytest.raises(TypeError, match="unknown limit token"):
        runtime.run(seeker, "seek", budget={"token": 3})
    with pytest.raises(TypeError, match="must be a Budget"):
        runtime.start(seeker, "seek", budget=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="0 or more"):
        runtime.stream(seeker, "seek", budget={"cost": -1})
