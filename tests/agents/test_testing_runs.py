"""What the testing room does with runs of a real server: looks at them, records them, plays them again."""

from pathlib import Path
from typing import Any

import pytest

from agentspan.agents import Agent, AgentRuntime, RegexGuardrail, tool
from agentspan.agents import testing as t
from agentspan.agents.testing import (
    Cassette,
    CassetteMiss,
    CorrectnessEval,
    EvalCase,
    cassette,
    expect,
    replay_run,
    validate_strategy,
)
from tests.agents.serving import ServerProcess, tool_call

calls: list[str] = []


@tool
def look(city: str) -> dict[str, Any]:
    """The weather."""
    calls.append(city)
    return {"sky": "blue", "city": city}


@tool(approval_required=True)
def pay(amount: int) -> str:
    """Pay."""
    return f"paid {amount}"


@pytest.fixture(autouse=True)
def no_calls() -> None:
    calls.clear()


@pytest.fixture
def weather(server: ServerProcess) -> Agent:
    model = server.script("taped", tool_call("look", city="Oslo"), "It is {result}.")
    return Agent("forecaster", model, "Be brief.", [look])


def test_a_run_is_recorded_once_and_then_played_without_a_server(
    runtime: AgentRuntime, weather: Agent, tmp_path: Path
) -> None:
    path = tmp_path / "weather.json"
    with cassette(path, runtime) as tape:
        first = tape.run(weather, "How is it?")
    assert first.is_success, first.error
    assert calls == ["Oslo"]
    gone = AgentRuntime(server_url="http://127.0.0.1:1")
    with cassette(path, gone) as tape:
        again = tape.run(weather, "How is it?")
    assert calls == ["Oslo"]
    assert again.output == first.output
    assert again.messages == first.messages
    assert again.token_usage == first.token_usage
    assert [each.type for each in again.events] == [each.type for each in first.events]
    with pytest.raises(CassetteMiss, match=r'\+.*"How was it\?"'), cassette(path, gone) as tape:
        tape.run(weather, "How was it?")


def test_any_run_that_is_over_makes_a_cassette(runtime: AgentRuntime, server: ServerProcess, tmp_path: Path) -> None:
    members = [
        Agent(name, server.script(f"tape_{name}", tool_call("look", city=name), f"{name}: {{result}}"), tools=[look])
        for name in ("anna", "bert")
    ]
    for strategy, more in TEAMS.items():
        model = server.script("tape_team", *more)
        crew = Agent("crew", model, agents=members, strategy=strategy, max_turns=3)
        ran = runtime.run(crew, "go")
        assert ran.is_success, (strategy, ran.error)
        path = Cassette.from_run(runtime, ran.execution_id).save(tmp_path / f"{strategy}.json")
        played = replay_run(crew, cassette=path)
        assert played.output == ran.output, strategy
        assert [each.target for each in played.events] == [each.target for each in ran.events], strategy
        validate_strategy(crew, ran)
        validate_strategy(crew, played)


TEAMS: dict[str, list[Any]] = {
    "sequential": ["unused"],
    "parallel": ["unused"],
    "random": ["unused"],
    "round_robin": ["unused"],
    "handoff": ["bert", "DONE", "DONE"],
}


def test_what_people_said_in_a_run_is_played(runtime: AgentRuntime, server: ServerProcess, tmp_path: Path) -> None:
    agent = Agent("payer", server.script("tape_payer", tool_call("pay", amount=5), "{result}"), tools=[pay])
    handle = runtime.start(agent, "pay")
    for event in handle.stream():
        if event.type == "waiting":
            handle.approve(arguments={"amount": 4})
    ran = handle.join()
    played = replay_run(agent, cassette=Cassette.from_run(runtime, ran.execution_id))
    assert played.output["result"] == ran.output["result"] == "paid 4"


def test_an_exported_file_makes_a_cassette_too(runtime: AgentRuntime, weather: Agent, tmp_path: Path) -> None:
    ran = runtime.run(weather, "How is it?")
    file = runtime.export(ran.execution_id, tmp_path / "run.jsonl")
    assert replay_run(weather, cassette=Cassette.from_export(file.read_bytes())).output == ran.output


def test_guardrails_are_tried_on_a_stored_run_s_answers(runtime: AgentRuntime, weather: Agent) -> None:
    tape = Cassette.from_run(runtime, runtime.run(weather, "How is it?").execution_id)
    weather.guardrails = [RegexGuardrail(patterns=["blue"], name="no_blue", position="output", on_fail="raise")]
    expect(replay_run(weather, cassette=tape)).failed().guardrail_failed("no_blue")


def test_assertions_and_evals_look_at_stored_runs_without_running_them(
    runtime: AgentRuntime, weather: Agent, server: ServerProcess
) -> None:
    ran = runtime.run(weather, "How is it?")
    assert calls == ["Oslo"]
    stored = t.stored(runtime, ran.execution_id)
    expect(stored).completed().no_errors().used_tool("look", args={"city": "Oslo"}).event_sequence(
        ["tool_call", "tool_result", "done"]
    )
    case = EvalCase("stored", weather, execution_id=ran.execution_id, expect_tools=["look"])
    missing = EvalCase("missing", execution_id="no-such-run")
    suite = CorrectnessEval(runtime).run([case, missing])
    assert [each.passed for each in suite.cases] == [True, False]
    assert "no-such-run" in suite.cases[1].failures[0]
    assert calls == ["Oslo"]


def test_an_eval_runs_teams_and_checks_their_orchestration(runtime: AgentRuntime, server: ServerProcess) -> None:
    members = [Agent(name, server.script(f"eval_{name}", f"{name} was here")) for name in ("anna", "bert")]
    crew = Agent("crew", server.script("eval_crew", "bert", "DONE"), agents=members, strategy="handoff")
    line = Agent("line", agents=members, strategy="sequential")
    cases = [
        EvalCase("handoff", crew, "go", expect_handoff_to="bert", expect_no_handoff_to=["anna"]),
        EvalCase("pipeline", line, "go", expect_output_contains=["bert was here"]),
    ]
    suite = CorrectnessEval(runtime).run(cases)
    assert suite.all_passed, suite.failed_cases()


def test_memory_and_server_agree(runtime: AgentRuntime, weather: Agent, server: ServerProcess) -> None:
    """The same answers, in memory and on the server, make the same run."""
    answers = [tool_call("look", city="Oslo"), "It is {result}."]
    local = t.LocalEngine(weather, model=answers).run("How is it?")
    ran = runtime.run(weather, "How is it?")
    assert local.messages == ran.messages
    assert local.output == ran.output
    assert [each.type for each in local.events] == [each.type for each in ran.events]
    keys = ("id", "name", "args", "result", "error", "status", "agentName", "attempts")
    assert [[call[key] for key in keys] for call in local.tool_calls] == [
        [call[key] for key in keys] for call in ran.tool_calls
    ]


def test_a_model_judges_through_the_runtime(runtime: AgentRuntime, weather: Agent, server: ServerProcess) -> None:
    judge = server.script("judge", '{"score": 0.9, "reason": "good"}')
    assert t.assert_output_satisfies(runtime.run(weather, "x"), "it is blue", model=judge, runtime=runtime) == 0.9
