"""The shell completes commands, and the ids and names that the server knows; it is quick and never in the way."""

import json
import subprocess
import sys

import pytest

from agentspan.agents import Agent, AgentRuntime
from agentspan.cli import completion
from tests.agents.serving import ServerProcess
from tests.cli.running import environment

PROGRAM = "from agentspan.cli.main import app; app(prog_name='agentspan')"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server with an agent and a run."""
    found = ServerProcess(tmp_path_factory.mktemp("server"))
    found.script("plain", "hello")
    found.start()
    with AgentRuntime(server_url=found.url) as runtime:
        runtime.deploy(Agent("plain", "scripted/plain"))
        found.run = runtime.run("plain", "hi").execution_id
    yield found
    found.stop()


def completed(folder, *words, **environ):
    """What the shell offers for the last word."""
    asked = {"_AGENTSPAN_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(["agentspan", *words])}
    asked["COMP_CWORD"] = str(len(words))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment(folder, **asked, **environ),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_script_for_each_shell(folder, shell):
    environ = environment(folder, _AGENTSPAN_COMPLETE=f"source_{shell}")
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "_AGENTSPAN_COMPLETE" in done.stdout
    check = {"bash": ["bash", "-n"]}.get(shell)
    assert not check or subprocess.run(check, input=done.stdout, text=True, timeout=10).returncode == 0


def test_ids_and_names_are_those_of_the_server(server, folder):
    here = {"AGENTSPAN_SERVER_URL": server.url}
    assert completed(folder, "status", "", **here) == [server.run]
    assert completed(folder, "run", "pl", **here) == ["plain"]


def test_without_a_server_nothing_is_offered_and_none_is_started(folder, monkeypatch):
    assert completed(folder, "status", "") == []
    assert completed(folder, "ru") == ["run"]
    assert list(folder.iterdir()) == []
    monkeypatch.setenv("AGENTSPAN_SERVER_URL", "http://127.0.0.1:9")
    assert completion.run_ids("") == completion.agent_names("") == completion.request_ids("") == []


def test_it_needs_nothing_that_is_slow_to_load(server):
    code = f"""
import json, os, sys
os.environ["AGENTSPAN_SERVER_URL"] = {server.url!r}
from agentspan.cli import completion
assert completion.run_ids("")
assert completion.schedule_names("") == completion.credential_names("") == []
print(json.dumps(sorted({{"httpx", "pydantic", "agentspan.agents", "rich", "tornado"}} & sys.modules.keys())))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout) == []
