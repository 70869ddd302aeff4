"""Runs forked, retried, compared and carried as files, from the SDK and the command line."""

import subprocess
import sys
from pathlib import Path

import pytest

from agentspan.agents import (
    Agent,
    AgentHandle,
    AgentNotFoundError,
    AgentRuntime,
    AgentspanError,
    RegexGuardrail,
    Status,
    compare,
    compare_async,
    tool,
)
from tests.agents.serving import ServerProcess, tool_call

calls: list[str] = []


@tool
def get_weather(city: str) -> str:
    """The weather."""
    calls.append(city)
    return f"sunny in {city}"


@pytest.fixture
def weather(server: ServerProcess) -> Agent:
    model = server.script("weather-compared", tool_call("get_weather", city="Oslo"), "It is {result}.")
    return Agent("weather", model, "Be brief.", [get_weather])


def asked(handle: AgentHandle) -> None:
    """Wait until the run asks for something."""
    for event in handle.stream():
        if event.pending_tool:
            return
    raise AssertionError("the run has ended")


def test_the_steps_of_a_run_say_where_to_fork_it(runtime: AgentRuntime, weather: Agent) -> None:
    handle = runtime.start(weather, "hi")
    handle.join(10)
    steps = handle.steps()
    result = next(step for step in steps if step.kind == "result")
    assert (result.agent, result.summary, result.forkable) == ("weather", "sunny in Oslo", True)
    assert result.edits == ["output", "tool_result"]
    fork = handle.fork(result.seq, tool_result="rain")
    assert fork.join(10).output["result"] == "It is rain."
    assert [step.seq for step in steps if not step.forkable] == [steps[-1].seq]


def test_a_fork_does_nothing_of_what_it_shares_again(runtime: AgentRuntime, weather: Agent) -> None:
    handle = runtime.start(weather, "hi")
    handle.join(10)
    done = len(calls)
    answer = [step for step in handle.steps() if step.kind == "answer"]
    assert handle.fork(answer[-1].seq).join(10).output["result"] == "It is sunny in Oslo."
    assert len(calls) == done
    edited = handle.fork(answer[0].seq, arguments={"get_weather": {"city": "Rome"}}).join(10)
    assert edited.output["result"] == "It is sunny in Rome."
    assert calls[done:] == ["Rome"]
    assert handle.fork(answer[0].seq, answer="I will not look.").join(10).output["result"] == "I will not look."


def test_a_fork_that_cannot_be_says_where_it_can(runtime: AgentRuntime, weather: Agent) -> None:
    handle = runtime.start(weather, "hi")
    handle.join(10)
    with pytest.raises(AgentspanError, match="fork at an event from 1 to 7") as told:
        handle.fork(8)
    assert told.value.status == 400
    with pytest.raises(AgentspanError, match="it can be edited at the events 5"):
        handle.fork(1, tool_result="rain")
    with pytest.raises(AgentspanError, match="there is no agent 'nobody'"):
        handle.fork(1, agent="nobody", instructions="x")


def test_two_runs_are_compared(runtime: AgentRuntime, weather: Agent) -> None:
    first = runtime.start(weather, "hi")
    result = first.join(10)
    fork = first.fork(5, tool_result="rain")
    fork.join(10)
    found = compare(result, fork, runtime=runtime)
    assert not found.same
    assert found.exit_code == 1
    assert found.shared == 5
    assert found.first_difference is not None
    assert [str(change) for change in found.first_difference.changes] == ["got: sunny in Oslo → rain"]
    assert [row["kind"] for row in found.rows if not row["same"]] == ["call", "answer", "end"]
    assert found.a["modelCalls"] == found.b["modelCalls"] == 2
    said = repr(found)
    assert said.startswith("first difference: step 3, call get_weather of weather, turn 1: got: sunny in Oslo → rain")
    assert "tool calls" in said
    assert said.count("≠") == 3
    assert "sunny" in repr(compare(first, first.execution_id))


def test_runs_that_did_the_same_are_the_same(runtime: AgentRuntime, weather: Agent) -> None:
    first, second = (runtime.start(weather, "hi") for _ in range(2))
    first.join(10)
    second.join(10)
    found = compare(first, second)
    assert found.same
    assert (found.exit_code, found.first_difference) == (0, None)
    assert repr(found).startswith("the runs are the same")


async def test_runs_are_compared_in_a_loop(runtime: AgentRuntime, weather: Agent) -> None:
    first = await runtime.run_async(weather, "hi")
    assert (await compare_async(first, first, runtime=runtime)).same


def test_a_comparison_is_a_table(runtime: AgentRuntime, weather: Agent) -> None:
    pandas = pytest.importorskip("pandas")
    first = runtime.run(weather, "hi")
    table = compare(first, first, runtime=runtime).to_pandas()
    assert isinstance(table, pandas.DataFrame)
    assert list(table["kind"]) == ["start", "answer", "call", "answer", "end"]
    assert table["same"].all()


def test_what_is_no_run_cannot_be_compared(runtime: AgentRuntime, weather: Agent) -> None:
    with pytest.raises(TypeError, match="not int"):
        compare(1, 2, runtime=runtime)  # type: ignore[arg-type]
    with pytest.raises(AgentNotFoundError):
        compare("01890000-0000-7000-8000-000000000000", runtime.run(weather, "hi"), runtime=runtime)


def test_a_run_that_a_guardrail_refused_is_retried(runtime: AgentRuntime, server: ServerProcess) -> None:
    rail = RegexGuardrail(patterns=["secret"], name="discreet", on_fail="raise")
    model = server.script("discreet", tool_call("get_weather", city="Oslo"), "a secret", "all is well")
    handle = runtime.start(Agent("discreet", model, "", [get_weather], guardrails=[rail]), "hi")
    first = handle.join(10)
    assert (first.status, str(first.finish_reason)) == (Status.FAILED, "guardrail")
    done = len(calls)
    assert handle.retry().join(10).output["result"] == "all is well"
    assert len(calls) == done
    with pytest.raises(AgentspanError) as told:
        handle.retry()
    assert told.value.status == 409


def test_a_run_is_carried_to_another_server_as_a_file(
    runtime: AgentRuntime,
    weather: Agent,
    server: ServerProcess,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    first = runtime.run(weather, "hi")
    path = runtime.export(first.execution_id, tmp_path)
    assert path == tmp_path / f"{first.execution_id}.jsonl"
    other = ServerProcess(tmp_path_factory.mktemp("elsewhere"))
    other.start()
    try:
        with AgentRuntime(server_url=other.url) as elsewhere:
            handle = elsewhere.import_run(path)
            result = handle.join(10)
            assert result.output == first.output
            assert result.messages == first.messages
            assert [event.type for event in result.events] == [event.type for event in first.events]
            assert handle.execution_id != first.execution_id
            assert handle.fork(7).join(10).output == first.output
    finally:
        other.stop()


def test_a_waiting_run_goes_on_where_it_was_imported_to(
    runtime: AgentRuntime, server: ServerProcess, tmp_path: Path
) -> None:
    @tool(approval_required=True)
    def pay(amount: int) -> str:
        """Pay."""
        return f"paid {amount}"

    payer = Agent("payer", server.script("payer-carried", tool_call("pay", amount=5), "{result}"), "", [pay])
    handle = runtime.start(payer, "hi")
    asked(handle)
    path = runtime.export(handle.execution_id, tmp_path / "run.jsonl")
    ended = runtime.import_run(path).join(10)
    assert (ended.status, str(ended.finish_reason)) == (Status.TERMINATED, "imported")
    again = runtime.import_run(path, resume=True)
    asked(again)
    again.approve()
    assert again.join(10).output["result"] == "paid 5"
    assert handle.requests()
    handle.cancel()


def test_a_file_that_is_no_run_says_so(runtime: AgentRuntime, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("hello")
    with pytest.raises(AgentspanError, match="line 1 of the file"):
        runtime.import_run(tmp_path / "x")
    with pytest.raises(AgentNotFoundError):
        runtime.export("01890000-0000-7000-8000-000000000000", tmp_path)


def test_runs_are_exported_imported_and_compared_from_the_command_line(
    runtime: AgentRuntime, weather: Agent, server: ServerProcess, tmp_path: Path
) -> None:
    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "agentspan.cli.main", *arguments],
            env={"AGENTSPAN_SERVER_URL": server.url, "PATH": "", "HOME": str(tmp_path)},
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    first = runtime.run(weather, "hi")
    written = command("export", first.execution_id, str(tmp_path)).stdout.strip()
    taken = command("import", written).stdout.strip()
    same = command("compare", first.execution_id, taken)
    assert (same.returncode, same.stdout.splitlines()[0]) == (0, "the runs are the same"), same
    fork = runtime.fork(first.execution_id, 5, tool_result="rain")
    fork.join(10)
    assert command("compare", first.execution_id, fork.execution_id).returncode == 1
    missing = command("export", "01890000-0000-7000-8000-000000000000", str(tmp_path))
    assert missing.returncode == 8
    assert missing.stderr.startswith("agentspan: ")
