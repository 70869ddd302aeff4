"""A local server that was killed is started again by whoever used it; one that was stopped is not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agentspan.client.launch import find_or_start, revive

PROGRAM = """
import json, os, pathlib, signal
from agentspan.agents import Agent, AgentRuntime, tool
from agentspan.agents.testing import scripted_model

calls = []

@tool
def step(number: int) -> int:
    "A step; the second one kills the server."
    calls.append(number)
    if number == 2:
        record = pathlib.Path(os.environ["AGENTSPAN_DATA_DIR"], "server.json")
        os.kill(json.loads(record.read_text())["pid"], signal.SIGKILL)
    return number

turns = [{"tool_calls": [{"name": "step", "arguments": {"number": n}}]} for n in range(1, 5)]
model = scripted_model("steps", [*turns, {"content": "after {result}"}])
result = AgentRuntime().run(Agent(name="walker", model=model, tools=[step]), "walk")
print(result.output["result"], calls, [call["attempts"] for call in result.tool_calls])
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A data folder of its own, whose server is gone afterwards."""
    monkeypatch.setenv("AGENTSPAN_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("SERVER_PORT", "0")
    yield tmp_path
    agentspan("server", "stop")


def agentspan(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "agentspan.cli.main", *arguments], check=False, capture_output=True)


def test_a_local_server_that_is_killed_is_started_again_and_the_run_goes_on(folder: Path) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=110, env=os.environ)
    assert done.stdout.strip() == "after 4 [1, 2, 3, 4] [1, 1, 1, 1]", done.stderr


def test_a_server_that_was_stopped_stays_stopped(folder: Path) -> None:
    find_or_start()
    assert revive() is not None
    agentspan("server", "stop")
    assert revive() is None
