"""Tools with credentials run in processes of their own, and are in all else as they are in this one."""

import asyncio
import importlib.util
import logging
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from pydantic import BaseModel

from agentspan.agents import Agent, CredentialFile, TerminalToolError, ToolContext, get_secret, tool
from agentspan.agents.isolation import Isolator, SubprocessIsolator
from agentspan.agents.outcome import Failure
from agentspan.agents.pool import Pool
from agentspan.agents.registry import Lane, Registry
from agentspan.agents.worker import Call
from tests.agents.apart import CALLS, of_a_module
from tests.agents.serving import ServerProcess, tool_call
from tests.notebook.kernel import kernel

Json = dict[str, Any]

KEY = "sk-canary-0123456789"
POOL = Pool("test")


@pytest.fixture(scope="module")
def isolator() -> Iterator[Isolator]:
    isolator = Isolator()
    yield isolator
    isolator.close()


@pytest.fixture(autouse=True)
def nothing_in_this_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("KEY", raising=False)
    yield
    assert "KEY" not in os.environ


def called(isolator: Isolator | None, function: Any, given: Json | None = None, **fields: Any) -> Call:
    """A call of this tool whose task came with the credential KEY."""
    agent = Agent("helper", "m/x", tools=[function])
    registry = Registry()
    registry.add(agent)
    name = agent.tools[0]._tool_def.name
    task = {
        "taskId": "t",
        "workflowInstanceId": "e",
        "taskDefName": name,
        "inputData": given or {},
        "runtimeMetadata": {"KEY": KEY},
    }
    return Call(task, registry.find("helper", name), ToolContext(**fields), POOL, isolator=isolator)


async def perform(isolator: Isolator | None, function: Any, given: Json | None = None, **fields: Any) -> Json:
    return await called(isolator, function, given, **fields).perform("w")


async def said(isolator: Isolator | None, function: Any, given: Json | None = None, **fields: Any) -> Any:
    result = await perform(isolator, function, given, **fields)
    assert result["status"] == "COMPLETED", result
    return result["outputData"]["result"]


class City(BaseModel):
    name: str


# Where it runs


async def test_a_tool_with_credentials_runs_in_another_process_which_alone_has_them(isolator: Isolator) -> None:
    @tool(credentials=["KEY"])
    def plain() -> list[Any]:
        return [get_secret("KEY") == os.environ["KEY"], len(os.environ["KEY"]), os.getpid()]

    @tool(credentials=["KEY"])
    async def later() -> list[Any]:
        await asyncio.sleep(0)
        return [get_secret("KEY") == os.environ["KEY"], len(os.environ["KEY"]), os.getpid()]

    for function in (plain, later):
        is_same, size, process = await said(isolator, function)
        assert (is_same, size) == (True, len(KEY))
        assert process != os.getpid()


async def test_in_this_process_when_asked_for_or_without_credentials(isolator: Isolator) -> None:
    @tool(credentials=["KEY"], isolated=False)
    def asked() -> list[Any]:
        return [os.environ["KEY"] == KEY, os.getpid()]

    @tool
    def without() -> int:
        return os.getpid()

    assert await said(isolator, asked) == [True, os.getpid()]
    assert await said(isolator, without) == os.getpid()


async def test_a_child_serves_its_tool_again_and_no_other(isolator: Isolator) -> None:
    @tool(credentials=["KEY"])
    def another() -> int:
        return os.getpid()

    first, second = [await said(isolator, of_a_module, {"name": "Ulm"}) for _ in range(2)]
    assert first[:2] == ["Ulm", True]
    assert (second[2], second[3] - first[3], CALLS) == (first[2], 1, [])
    assert await said(isolator, another) != first[2]


async def test_the_command_line_and_the_first_environment_of_a_child_tell_nothing(isolator: Isolator) -> None:
    @tool(credentials=["KEY"])
    def looks() -> list[bool]:
        import psutil

        process = psutil.Process()
        told = [*process.cmdline(), *process.environ().values()]
        return [len(told) > 3, any(get_secret("KEY") in each for each in told)]

    assert await said(isolator, looks) == [True, False]


async def test_a_child_has_this_environment_and_not_what_is_lent_or_the_server_s_keys(
    isolator: Isolator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTSPAN_MASTER_KEY", "the server's")
    monkeypatch.setenv("PLAIN", "new")
    inside, may_end = threading.Event(), threading.Event()

    @tool(credentials=["KEY"], isolated=False)
    def here() -> None:
        os.environ["PLAIN_TOO"] = "1"
        inside.set()
        may_end.wait(10)

    @tool(credentials=[CredentialFile("FILE", "a.txt", "content here")])
    def there() -> list[Any]:
        names = ("KEY", "AGENTSPAN_MASTER_KEY", "PLAIN", "PLAIN_TOO")
        return [os.environ.get(name) for name in names]

    monkeypatch.delenv("PLAIN_TOO", raising=False)
    running = asyncio.create_task(said(isolator, here))
    await asyncio.to_thread(inside.wait, 10)
    try:
        assert await said(isolator, there) == [None, None, "new", "1"]
    finally:
        may_end.set()
        await running
        del os.environ["PLAIN_TOO"]


async def test_what_changes_here_between_calls_is_changed_there_and_nothing_else(
    isolator: Isolator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    @tool(credentials=["KEY"])
    def looks() -> list[Any]:
        found = [os.environ.get("GOES"), os.environ.get("COMES"), os.environ.get("OWN"), os.getcwd()]
        os.environ["OWN"] = "set there"
        return found

    monkeypatch.setenv("GOES", "1")
    assert await said(isolator, looks) == ["1", None, None, os.getcwd()]
    monkeypatch.delenv("GOES")
    monkeypatch.setenv("COMES", "2")
    monkeypatch.chdir(tmp_path)
    assert await said(isolator, looks) == [None, "2", "set there", str(tmp_path)]


async def test_a_file_is_there_for_the_call_alone(isolator: Isolator) -> None:
    @tool(credentials=[CredentialFile("KEY", ".kube/config")])
    def reads() -> list[Any]:
        path = Path(os.environ["KEY"])
        return [str(path), path.read_text() == get_secret("KEY"), stat.S_IMODE(path.stat().st_mode)]

    path, is_there, mode = await said(isolator, reads)
    assert (is_there, mode if os.name == "posix" else 0o600) == (True, 0o600)
    assert not Path(path).parent.exists()


# What crosses


async def test_arguments_state_and_context_cross_and_come_back(isolator: Isolator) -> None:
    class Local(BaseModel):
        name: str

    @tool(credentials=["KEY"])
    def add(city: City, local: Local, count: int, context: ToolContext) -> str:
        context.state["seen"] = context.state.pop("old") + count
        return f"{city.name} {local.name} {context.execution_id} {context.dependencies['unit']} {context.attempt}"

    given = {"city": {"name": "Ulm"}, "local": {"name": "Bonn"}, "count": "2"}
    result = await perform(
        isolator, add, given, execution_id="e1", dependencies={"unit": "km"}, state={"old": 40, "kept": 1}, attempt=3
    )
    assert result["outputData"] == {
        "result": "Ulm Bonn e1 km 3",
        "_state_updates": {"seen": 42},
        "_state_deletions": ["old"],
    }


async def test_arguments_that_do_not_fit_need_no_process() -> None:
    @tool(credentials=["KEY"])
    def add(count: int) -> int:
        return count

    isolator = Isolator()
    result = await perform(isolator, add, {"count": "many"})
    assert result["status"] == "FAILED_WITH_TERMINAL_ERROR"
    assert not isolator._idle


async def test_a_module_that_nobody_else_can_import_crosses_with_what_it_has(
    isolator: Isolator, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "loaded.py"
    file.write_text(LOADED)
    spec = importlib.util.spec_from_file_location("loaded_from_a_file", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    name, process = await said(isolator, module.looks)
    assert (name, caplog.text) == ("Ulm 20", "")
    assert process != os.getpid()


LOADED = """
import os
from agentspan.agents import tool

class City:
    def __init__(self, name):
        self.name = name

def helped():
    return f"{City('Ulm').name} {len(os.environ['KEY'])}"

@tool(credentials=["KEY"])
def looks() -> list:
    return [helped(), os.getpid()]
"""


async def test_a_method_crosses_with_its_object(isolator: Isolator) -> None:
    class Shop:
        def __init__(self) -> None:
            self.price = 3

        @tool(credentials=["KEY"])
        def buy(self, count: int) -> list[int]:
            return [self.price * count, os.getpid()]

    price, process = await said(isolator, Shop().buy, {"count": 2})
    assert price == 6
    assert process != os.getpid()


async def test_what_cannot_cross_runs_here_and_the_log_says_why(
    isolator: Isolator, caplog: pytest.LogCaptureFixture
) -> None:
    lock = threading.Lock()

    @tool(credentials=["KEY"])
    def held() -> list[Any]:
        with lock:
            return [os.getpid(), get_secret("KEY") == KEY]

    with caplog.at_level(logging.WARNING, "agentspan.worker"):
        for _ in range(2):
            assert await said(isolator, held) == [os.getpid(), True]
    (line,) = [each.getMessage() for each in caplog.records]
    assert line.startswith("the tool 'held' runs in this process")
    assert "lock" in line
    assert "isolated=False" in line


async def test_a_tool_that_is_defined_again_is_the_new_one(isolator: Isolator) -> None:
    def cell(answer: int) -> Any:
        @tool(name="swapped", credentials=["KEY"])
        def swapped() -> int:
            return answer

        return swapped

    assert [await said(isolator, cell(answer)) for answer in (1, 2)] == [1, 2]


# How it ends


async def test_an_error_is_told_as_it_would_be_here(isolator: Isolator) -> None:
    @tool(credentials=["KEY"])
    def fails() -> None:
        raise LookupError(f"no {get_secret('KEY')}")

    @tool(credentials=["KEY"])
    async def gives_up() -> None:
        raise TerminalToolError("never")

    @tool(credentials=["KEY"])
    def leaves() -> None:
        sys.exit(3)

    @tool(credentials=["KEY"])
    def odd() -> Any:
        return object()

    for function in (fails, gives_up, leaves, odd):
        here, there = await perform(None, function), await perform(isolator, function)
        assert [each["status"] for each in (here, there)] == [there["status"]] * 2
        assert there["reasonForIncompletion"] == here["reasonForIncompletion"]
        assert [line["log"] for line in there.get("logs", ())][-1:] == [line["log"] for line in here.get("logs", ())][
            -1:
        ]
    told = await perform(isolator, fails)
    assert told["reasonForIncompletion"] == "LookupError: no ${KEY}"
    assert any("in fails" in line["log"] for line in told["logs"])


async def test_what_is_printed_also_by_programs_is_the_log_of_the_task(
    isolator: Isolator, capfd: pytest.CaptureFixture[str]
) -> None:
    @tool(credentials=["KEY"])
    def prints() -> int:
        print("one", get_secret("KEY"))
        print("zwei ü", file=sys.stderr)
        subprocess.run([sys.executable, "-c", "import os; print(os.environ['KEY'], end='')"], check=True)
        return 1

    for _ in range(2):
        result = await perform(isolator, prints)
        assert [line["log"] for line in result["logs"]] == ["one ${KEY}", "zwei ü", "${KEY}"]
    assert KEY not in "".join(capfd.readouterr())


async def test_a_process_that_dies_is_a_failure_that_may_be_tried_again(isolator: Isolator) -> None:
    @tool(credentials=["KEY"])
    def dies() -> None:
        os._exit(7)

    result = await perform(isolator, dies)
    assert result["status"] == "FAILED"
    assert result["reasonForIncompletion"] == "the tool ended its process (exit code 7) before it answered"


async def test_a_call_that_is_lost_sees_it_and_may_clean_up(isolator: Isolator, tmp_path: Path) -> None:
    begun = tmp_path / "begun"

    @tool(credentials=["KEY"])
    def waits(context: ToolContext) -> bool:
        begun.touch()
        return context.wait_cancelled(30)

    call = called(isolator, waits)
    running = asyncio.create_task(call.perform("w"))
    await until(begun.exists)
    call.lose()
    assert (await running)["outputData"]["result"] is True


async def test_a_call_that_is_lost_and_goes_on_is_ended_with_its_programs(
    isolator: Isolator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentspan.agents.isolation.GRACE_SECONDS", 0.1)
    begun = tmp_path / "begun"

    @tool(credentials=["KEY"])
    def sleeps() -> None:
        program = subprocess.Popen(["sleep", "60"])
        begun.with_suffix(".new").write_text(str(program.pid))
        begun.with_suffix(".new").rename(begun)
        time.sleep(60)

    call = called(isolator, sleeps)
    running = asyncio.create_task(call.perform("w"))
    await until(begun.exists)
    call.lose()
    result = await running
    assert result["reasonForIncompletion"] == "the tool was cancelled before it answered"
    program = int(begun.read_text())
    await until(lambda: not psutil.pid_exists(program) or psutil.Process(program).status() == psutil.STATUS_ZOMBIE)


def test_children_end_with_their_parent(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    child.wait(10)


SCRIPT = """
import os, sys, time
from agentspan.agents.isolation import SubprocessIsolator

def sleeps():  # of a script that has no guard around what it does
    print(os.getpid(), flush=True)
    time.sleep(60)

SubprocessIsolator().run(sleeps)
"""


# Where functions are written

PROGRAM = """
import os
from pydantic import BaseModel
from agentspan.agents import Agent, AgentConfig, AgentRuntime, get_secret, tool

class City(BaseModel):
    name: str

def helped(city):
    return f"{city.name} %s {len(os.environ['KEY'])}"

@tool(credentials=["KEY"])
def looks(city: City) -> list:
    return [helped(city), os.getpid()]

@tool(credentials=["KEY"])
async def waits(city: City) -> list:
    return [helped(city), os.getpid()]

runtime = AgentRuntime(config=AgentConfig(server_url=%r))
result = runtime.run(Agent("helper", %r, tools=[looks, waits]), "go", timeout=30)
said = [call["result"] for call in result.tool_calls]
print([text for text, process in said if process != os.getpid()], "KEY" in os.environ)
"""


@pytest.fixture
def program(server: ServerProcess) -> str:
    """A program for a script or a cell, that runs two tools with a credential of the server."""
    assert httpx.put(f"{server.url}/api/credentials/KEY", json={"value": KEY}, trust_env=False).is_success
    calls = [tool_call(name, city={"name": "Ulm"}) for name in ("looks", "waits")]
    return PROGRAM % ("has", server.url, server.script("apart", *calls, "done"))


SAID = f"['Ulm has {len(KEY)}', 'Ulm has {len(KEY)}'] False"


def test_functions_of_a_script_without_a_guard_cross(program: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(f"{program}\nruntime.shutdown()")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
    assert (done.stdout.splitlines(), done.returncode) == ([SAID], 0), done.stderr
    assert "runs in this process" not in done.stderr


def test_functions_of_cells_cross_also_when_they_are_written_anew(program: str) -> None:
    with kernel() as started:
        for verb in ("has", "had"):
            cell = started.run(program.replace("has", verb))
            assert SAID.replace("has", verb) in cell.text, cell.text + cell.error
        started.run("runtime.shutdown()")


# The rest


def test_an_isolated_coroutine_has_its_place_among_the_threads() -> None:
    @tool(credentials=["KEY"])
    async def apart() -> None: ...

    @tool(credentials=["KEY"], isolated=False)
    async def here() -> None: ...

    registry = Registry()
    registry.add(Agent("helper", "m/x", tools=[apart, here]))
    lanes = [registry.find("helper", name).lane for name in ("apart", "here")]  # type: ignore[union-attr]
    assert lanes == [Lane.THREADS, Lane.LOOP]


def test_idle_children_end_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    isolator = Isolator()
    isolator.warm()
    (child,) = isolator._idle
    isolator.sweep()
    assert child.is_alive
    monkeypatch.setattr("agentspan.agents.isolation.IDLE_SECONDS", -1)
    isolator.sweep()
    assert not child.is_alive
    assert isolator._idle == []


def test_a_function_may_be_run_so_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentspan.agents.isolation.GRACE_SECONDS", 0.1)
    isolator = SubprocessIsolator(timeout_seconds=30)

    def looks(name: str, *, more: int) -> list[Any]:
        return [name, more, len(os.environ["KEY"])]

    assert isolator.run(looks, "Ulm", more=2, credentials={"KEY": KEY}) == ["Ulm", 2, len(KEY)]
    with pytest.raises(Failure, match="ZeroDivisionError"):
        isolator.run(lambda: 1 / 0)
    lock = threading.Lock()
    with pytest.raises(TypeError, match="cannot run in another process"):
        isolator.run(lambda: lock)
    isolator.close()
    quick = SubprocessIsolator(timeout_seconds=0.01)
    with pytest.raises(Failure, match="cancelled"):
        quick.run(lambda: __import__("time").sleep(60))
    quick.close()


async def test_without_an_interpreter_to_start_tools_run_here(monkeypatch: pytest.MonkeyPatch) -> None:
    @tool(credentials=["KEY"])
    def plain() -> int:
        return os.getpid()

    monkeypatch.setattr(sys, "executable", "")
    isolator = Isolator()
    isolator.warm()
    assert await said(isolator, plain) == os.getpid()


async def until(is_so: Any) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
