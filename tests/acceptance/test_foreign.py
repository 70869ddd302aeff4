"""Workers of another code base: conductor-python in an environment of its own, and a script by the protocol alone."""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.processes import ROOT, Process, Server, eventually, serving, worker_tool

Json = dict[str, Any]

PACKAGE = "conductor-python==2.0.0"
PROGRAMS = Path(__file__).with_name("foreign")
LOGIN = ("the-key", "the-secret")
SECRETS = {"AGENTSPAN_AUTH_KEY": LOGIN[0], "AGENTSPAN_AUTH_SECRET": LOGIN[1]}


@pytest.fixture(scope="session")
def foreign_python() -> Path:
    """The Python of a virtual environment that holds the package and nothing of ours; made once, and kept."""
    folder = ROOT / ".cache" / "foreign" / f"{PACKAGE.replace('==', '-')}-py{sys.version_info[0]}{sys.version_info[1]}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
            install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", PACKAGE]
            subprocess.run(install, check=True, timeout=100)
            (folder / "complete").touch()
    return python


@pytest.fixture(params=["open", "with credentials"])
def door(request: pytest.FixtureRequest, tmp_path: Path, sqlite_url: str) -> Iterator[tuple[Server, tuple[str, ...]]]:
    """A server and the credentials that it asks for: none, or a key and a secret."""
    login = () if request.param == "open" else LOGIN
    with serving(tmp_path / "data", sqlite_url, SECRETS if login else {}) as server:
        if login:
            assert server.http.get("/api/tasks/poll/batch/weather").status_code == 401
            server.http.headers.update({"X-Auth-Key": LOGIN[0], "X-Auth-Secret": LOGIN[1]})
        yield server, login


def forecaster(server: Server) -> Json:
    """An agent with tools that only foreign workers serve."""
    script = [
        {
            "tool_calls": [
                {"name": "weather", "arguments": {"city": "Oslo"}},
                {"name": "forecast", "arguments": {"city": "Oslo", "days": 3}},
            ]
        },
        {"tool_calls": [{"name": "storm", "arguments": {"city": "Oslo"}}]},
        {"content": "It is {result}."},
    ]
    tools = [
        worker_tool("weather", city="string"),
        worker_tool("forecast", city="string", days="integer"),
        {**worker_tool("storm", city="string"), "retryCount": 0},
    ]
    return {"name": "forecaster", "model": server.script("forecast", script), "tools": tools}


@pytest.mark.timeout(180)
def test_a_conductor_worker_polls_executes_and_reports(
    door: tuple[Server, tuple[str, ...]], foreign_python: Path, tmp_path: Path
) -> None:
    server, login = door
    program = [str(foreign_python), str(PROGRAMS / "conductor_worker.py")]
    worker = Process([*program, "work", f"{server.url}/api", *login], tmp_path / "worker.out", {"PYTHONPATH": ""})
    worker.start()
    try:
        execution_id = server.run(forecaster(server))
        result = server.result(execution_id, 40_000)
        assert result["status"] == "COMPLETED", worker.said()[-3000:]
        calls = {each["name"]: each for each in result["toolCalls"]}
        assert calls["weather"]["result"] == "18 degrees in Oslo"
        assert calls["forecast"]["result"] == {"city": "Oslo", "days": 3, "sky": "clear"}
        assert calls["storm"]["status"] == "FAILED"
        assert "no storm in Oslo" in calls["storm"]["error"]
        reader = Process(
            [*program, "read", f"{server.url}/api", execution_id, *login], tmp_path / "reader.out", {"PYTHONPATH": ""}
        )
        reader.start()
        assert reader.wait(30) == 0, reader.said()
        [told] = [line for line in reader.said().splitlines() if line.startswith("FOUND ")]
        found = json.loads(told.removeprefix("FOUND "))
        assert (found["status"], found["name"], found["timeout"]) == ("COMPLETED", "forecaster", 30)
        assert found["result"] == result["output"]["result"]
        done = [name for name, status, worker_id in found["tasks"] if status == "COMPLETED" and worker_id]
        assert {"weather", "forecast"} <= set(done)
    finally:
        worker.kill_all()


@pytest.mark.timeout(60)
def test_a_conductor_worker_goes_on_when_the_server_was_killed(
    foreign_python: Path, tmp_path: Path, sqlite_url: str
) -> None:
    with serving(tmp_path / "data", sqlite_url) as server:
        program = [str(foreign_python), str(PROGRAMS / "conductor_worker.py"), "work", f"{server.url}/api"]
        worker = Process(program, tmp_path / "worker.out", {"PYTHONPATH": ""})
        worker.start()
        try:
            assert server.result(server.run(forecaster(server)))["status"] == "COMPLETED"
            server.kill()
            server.ready()
            assert server.result(server.run(forecaster(server)), 30_000)["status"] == "COMPLETED"
        finally:
            worker.kill_all()


def test_a_script_of_the_standard_library_serves_a_tool(door: tuple[Server, tuple[str, ...]], tmp_path: Path) -> None:
    server, login = door
    script = PROGRAMS / "plain_worker.py"
    # -I: neither our folder nor our packages.
    worker = Process(
        [sys.executable, "-I", str(script), f"{server.url}/api", "weather", *login], tmp_path / "plain.out"
    )
    worker.start()
    try:
        model = server.script(
            "one", [{"tool_calls": [{"name": "weather", "arguments": {"city": "Rome"}}]}, "{result}!"]
        )
        teller = {"name": "teller", "model": model, "tools": [worker_tool("weather", city="string")]}
        for execution_id in [server.run(teller) for _ in range(10)]:
            assert server.result(execution_id)["output"]["result"] == "18 degrees in Rome!", worker.said()
        data = server.get("/api/tasks/queue/polldata", params={"taskType": "weather"})
        assert "plain-worker" in {each["workerId"] for each in data}
        eventually(lambda: server.get("/api/tasks/queue/all") == {}, "an empty queue")
    finally:
        worker.kill()


def test_the_script_is_short() -> None:
    text = (PROGRAMS / "plain_worker.py").read_text()
    code = [line for line in text.splitlines() if line.strip() and not line.strip().startswith(("#", '"""'))]
    assert len(code) <= 35


FOREVER = {"times": "forever"}
MODELS: dict[str, list[Any]] = {
    "adder": [{"tool_calls": [{"name": "add", "arguments": {"a": 1, "b": 2}}]}, "sum {result}"],
    "rude": ["bad", "good"],
    "boss": ["bob", "DONE"],
    "alice": [{"content": "alice here", **FOREVER}],
    "bob": [{"content": "bob here", **FOREVER}],
    "swarm": [{"tool_calls": [{"name": "swarm_transfer_to_bob"}]}],
    "looper": [{"content": "again", "tool_calls": [{"name": "add", "arguments": {"a": 1, "b": 2}}], **FOREVER}],
    "ender": [{"content": "ENOUGH", "tool_calls": [{"name": "add", "arguments": {"a": 1, "b": 2}}], **FOREVER}],
    "payer": [{"tool_calls": [{"name": "pay", "arguments": {"amount": 5}}]}, "done: {result}"],
}
TOLD = {
    "tool": "sum 3",
    "guardrail": "good",
    "regex": "good",
    "handoff": "bob here",
    "router": "bob here",
    "swarm": "alice here",
    "sequential": "bob here",
    "parallel": "[alice]: alice here\n\n[bob]: bob here",
    "round_robin": "alice here",
    "stop_when": "again",
    "termination": "ENOUGH",
}


@pytest.mark.timeout(240)
def test_a_program_of_the_other_sdk_runs_its_agents_here(foreign_python: Path, tmp_path: Path, sqlite_url: str) -> None:
    with serving(tmp_path / "data", sqlite_url) as server:
        models = {name: server.script(name, answers) for name, answers in MODELS.items()}
        environ = {
            "PYTHONPATH": "",
            "CONDUCTOR_SERVER_URL": f"{server.url}/api",
            "AGENTSPAN_SERVER_URL": f"{server.url}/api",
            "MODELS": json.dumps(models),
        }
        program = Process([str(foreign_python), str(PROGRAMS / "agents_program.py")], tmp_path / "out", environ)
        program.start()
        try:
            assert program.wait(200) == 0, program.said()[-3000:]
        finally:
            program.kill_all()
        told = {line["name"]: line for line in map(_line, program.said().splitlines()) if line}
        assert {name: told[name]["result"] for name in TOLD} == TOLD
        assert all(told[name]["status"] == "COMPLETED" for name in TOLD)
        assert (told["approval"]["asked"], told["approval"]["result"]) == ("pay", "done: paid 5")
        assert told["stream"]["events"] == ["thinking", "tool_call", "tool_result", "thinking", "message", "done"]


def _line(text: str) -> Json | None:
    """A line of the program's own among those of its SDK."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) and "name" in found else None


def test_our_settings_are_a_configuration_of_the_package(foreign_python: Path) -> None:
    where = [str(foreign_python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = subprocess.run(where, check=True, capture_output=True, text=True).stdout.strip()
    code = (
        "import sys; sys.path.append(sys.argv[1]);"
        "from agentspan.agents import AgentConfig;"
        "made = AgentConfig('http://far:1', auth_key='k', auth_secret='s').to_conductor_configuration();"
        "keys, bare = made.authentication_settings, AgentConfig('http://far:1').to_conductor_configuration();"
        "print(made.host, keys.key_id, keys.key_secret, bare.authentication_settings)"
    )
    said = subprocess.run([sys.executable, "-c", code, packages], check=True, capture_output=True, text=True)
    assert said.stdout.split() == ["http://far:1/api", "k", "s", "None"]
