"""A run whose tool nobody serves says which one and since when, in every way there is to ask."""

import time
from pathlib import Path

import pytest

from agentspan.agents import Agent, AgentRuntime, WorkerMissingError, tool
from agentspan.agents.runtime import AgentConfig
from tests.acceptance.processes import Server, serving

SCRIPT = [{"tool_calls": [{"name": "weather", "arguments": {"city": "Oslo"}}]}, "It is {result}."]


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"mild in {city}"


def forecaster(server: Server) -> Agent:
    return Agent(name="forecaster", model=server.script("forecast", SCRIPT), tools=[weather])


def test_a_run_by_name_without_a_worker_names_the_tool_and_the_time(tmp_path: Path, sqlite_url: str) -> None:
    config = {"auto_start_workers": False, "missing_worker_grace_seconds": 0.5}
    with (
        serving(tmp_path / "data", sqlite_url) as server,
        AgentRuntime(config=AgentConfig(server_url=server.url, **config)) as runtime,
    ):
        agent = forecaster(server)
        runtime.deploy(agent)
        began = int(time.time() * 1000)
        with pytest.raises(WorkerMissingError, match="'weather' since 20") as raised:
            runtime.run("forecaster", "Where?")
        assert time.time() * 1000 - began < 10_000
        [waiting] = raised.value.waiting_for
        assert waiting["tool"] == "weather"
        assert began - 1000 <= waiting["since"] <= time.time() * 1000
        handle = runtime.attach(raised.value.execution_id)
        with pytest.raises(WorkerMissingError, match="weather"):
            handle.join()
        status = handle.get_status()
        assert (status.status, [each["tool"] for each in status.waiting_for]) == ("RUNNING", ["weather"])
        assert status.waiting_for[0]["reason"]
        body = server.get(f"/api/agent/{handle.execution_id}/result")
        assert body["waitingFor"][0]["since"] == waiting["since"]
        with AgentRuntime(server_url=server.url) as elsewhere:
            resumed = elsewhere.resume(handle.execution_id, agent)
            assert resumed.join(20).output["result"] == "It is mild in Oslo."
        assert server.get(f"/api/agent/{handle.execution_id}/status")["waitingFor"] == []


def test_a_person_who_is_asked_is_no_missing_worker(tmp_path: Path, sqlite_url: str) -> None:
    config = {"auto_start_workers": False, "missing_worker_grace_seconds": 0.3}

    @tool(approval_required=True)
    def pay(amount: int) -> str:
        """Pay."""
        return f"paid {amount}"

    with (
        serving(tmp_path / "data", sqlite_url) as server,
        AgentRuntime(config=AgentConfig(server_url=server.url, **config)) as runtime,
    ):
        model = server.script("pay", [{"tool_calls": [{"name": "pay", "arguments": {"amount": 3}}]}, "Done."])
        handle = runtime.start(Agent(name="payer", model=model, tools=[pay]), "Pay.")
        with pytest.raises(TimeoutError):
            handle.join(1.5)
        assert handle.get_status().is_waiting
        handle.approve()
        with pytest.raises(WorkerMissingError, match="'pay' since"):
            handle.join(20)
