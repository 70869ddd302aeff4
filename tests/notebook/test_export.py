"""A run as a notebook: it opens well, runs by itself from top to bottom, and ends as the run did."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import nbformat
import pytest
from nbclient import NotebookClient
from pydantic import BaseModel

from agentspan.agents import Agent, AgentHandle, AgentRuntime, RegexGuardrail, Request, agent_tool, human_tool, tool
from agentspan.notebook import export_notebook
from tests.agents.serving import ServerProcess, tool_call

SECONDS = 10.0


@tool
def search(to: str, when: str = "today") -> dict[str, Any]:
    """Search a flight."""
    return {"to": to, "price": 900}


@tool(retry_count=0)
def fail(what: str) -> str:
    """Fail."""
    raise ValueError(f"no {what}")


class Trip(BaseModel):
    to: str


def polite(text: str) -> bool:
    """A guardrail of the user's own."""
    return "please" in text


def opened(path: Path) -> Any:
    return nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]


def asked(handle: AgentHandle) -> Request:
    """What the run asks, once it does."""
    deadline = time.monotonic() + SECONDS
    while not (found := handle.requests()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found[0]


def told(notebook: Any) -> str:
    return "\n\n".join(cell.source for cell in notebook.cells)


def played(path: Path) -> Any:
    """Run the notebook with no server and no keys; what its last cell shows."""
    notebook = opened(path)
    nbformat.validate(notebook)
    before = [cell.get("outputs") for cell in notebook.cells]
    last = before.pop()
    environ = {**os.environ, "PYTHONPATH": os.getcwd(), "AGENTSPAN_SERVER_URL": "http://127.0.0.1:9"}
    NotebookClient(notebook, kernel_name="python3").execute(env=environ)
    after = [cell.get("outputs") for cell in notebook.cells]
    assert [out and out[0].data for out in before] == [out and out[0].data for out in after[:-1]]
    assert not last or last[0].data == after[-1][0].data
    return notebook.cells[-1].outputs[0].data["text/plain"]


@pytest.fixture
def model(server: ServerProcess) -> Any:
    return lambda *answers: server.script(f"story-{uuid4().hex[:8]}", *answers)


def exported(runtime: AgentRuntime, handle: AgentHandle, folder: Path) -> Path:
    handle.join(SECONDS)
    return export_notebook(handle, folder, runtime=runtime)


def test_a_run_becomes_a_notebook_that_runs_by_itself(runtime: AgentRuntime, model: Any, tmp_path: Path) -> None:
    answers = [tool_call("search", to="Oslo"), tool_call("fail", what="luck"), "Fly to Oslo | for {result}."]
    agent = Agent("traveller", model(*answers), 'Be "brief".', tools=[search, fail])
    path = exported(runtime, runtime.start(agent, "I must go\nto Oslo."), tmp_path)
    notebook = opened(path)
    text = told(notebook)
    assert path.name.startswith("run-")
    assert "# A run of traveller" in text
    assert "def search(to: str, when: str = 'today') -> dict[str, Any]:" in text
    assert "search(to='Oslo')" in text
    assert "`fail` was called, and failed: ValueError: no luck" in text
    assert "> Fly to Oslo | for" in text
    assert "replay_file(file, traveller)" in text
    call = next(cell for cell in notebook.cells if cell.source == "search(to='Oslo')")
    assert call.outputs[0].data["text/plain"] == "{'to': 'Oslo', 'price': 900}"
    assert "Fly to Oslo" in played(path)


def test_a_team_an_agent_as_a_tool_and_a_person_are_told(runtime: AgentRuntime, model: Any, tmp_path: Path) -> None:
    aide = Agent("aide", model("An aide's word."), "Help.")
    first = Agent("first", model(tool_call("aide", request="Help me"), "First: {result}"), tools=[agent_tool(aide)])
    ask = human_tool("ask", "Ask.")
    second = Agent("second", model(tool_call("ask", question="Really?"), "Second: {result}"), tools=[ask])
    handle = runtime.start(Agent("team", agents=[first, second], strategy="sequential"), "Go.")
    asked(handle).answer("Yes!")
    path = exported(runtime, handle, tmp_path / "team.ipynb")
    text = told(opened(path))
    assert "### first, turn 1" in text
    assert "### aide, turn 1" in text
    assert "An aide's word." in text
    assert "Second:" in played(path)


def test_what_is_no_code_is_played_from_the_definition(runtime: AgentRuntime, model: Any, tmp_path: Path) -> None:
    rails = [polite, RegexGuardrail("rude", name="not_rude")]
    answers = ["Give me that.", '{"to": "please Oslo"}']
    agent = Agent("strict", model(*answers), output_type=Trip, guardrails=rails)
    path = exported(runtime, runtime.start(agent, "Where to?"), tmp_path)
    text = told(opened(path))
    assert "does not say everything of this agent: output type, guardrails" in text
    assert "again = replay_file(file)" in text
    assert played(path) == "{'to': 'please Oslo'}"


def test_a_run_that_failed_fails_again(runtime: AgentRuntime, tmp_path: Path) -> None:
    path = exported(runtime, runtime.start(Agent("lost", f"scripted/none-{uuid4().hex}"), "Go."), tmp_path)
    assert "**failed**" in told(opened(path))
    assert "none-" in played(path)


def test_a_run_that_was_cancelled_is_told_as_far_as_it_came(runtime: AgentRuntime, model: Any, tmp_path: Path) -> None:
    asks = Agent("asks", model(tool_call("ask", question="Really?")), tools=[human_tool("ask", "Ask.")])
    handle = runtime.start(asks, "Go.")
    asked(handle)
    handle.cancel("enough")
    path = exported(runtime, handle, tmp_path)
    text = told(opened(path))
    assert "**terminated**: enough" in text
    assert "strict=False" in text
    assert played(path) == "'RUNNING'"


def test_a_fork_is_played_with_its_edit(runtime: AgentRuntime, model: Any, tmp_path: Path) -> None:
    agent = Agent("traveller", model(tool_call("search", to="Oslo"), "It is {result}."), tools=[search])
    handle = runtime.start(agent, "To Oslo.")
    handle.join(SECONDS)
    place = next(step.seq for step in handle.steps() if step.kind == "result")
    path = exported(runtime, handle.fork(place, tool_result="a ship"), tmp_path)
    assert "'a ship'" in next(
        cell.outputs[0].data["text/plain"] for cell in opened(path).cells if cell.source == "search(to='Oslo')"
    )
    assert played(path) == "'It is a ship.'"


def test_the_command_line_writes_one_too(runtime: AgentRuntime, model: Any, tmp_path: Path) -> None:
    handle = runtime.start(Agent("short", model("Done.")), "Go.")
    handle.join(SECONDS)
    command = [sys.executable, "-m", "agentspan.cli.main", "export", handle.execution_id, "run.ipynb"]
    url = runtime.config.server_url
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": os.getcwd(), "AGENTSPAN_SERVER_URL": url}, timeout=60
    )
    assert done.returncode == 0
    assert "# A run of short" in told(opened(tmp_path / "run.ipynb"))


def test_a_file_of_another_kind_is_refused(runtime: AgentRuntime) -> None:
    with pytest.raises(ValueError, match="ipynb"):
        export_notebook("some-id", "run.txt", runtime=runtime)
