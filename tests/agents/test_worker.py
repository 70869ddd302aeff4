"""Tools as the worker runs them: in threads and on a loop, over failures, redefinitions and restarts."""

import asyncio
import io
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic
import pytest

from agentspan.agents import Agent, AgentAPIError, AgentRuntime, EventType, TerminalToolError, ToolContext, tool
from agentspan.agents.capture import Output, captured
from agentspan.agents.runtime import runtime as runtime_module
from agentspan.client.client import Client
from tests.agents.serving import ServerProcess, tool_call


class Bench:
    """Runs agents with one scripted tool call, or several in a turn."""

    def __init__(self, runtime: AgentRuntime, server: ServerProcess, name: str) -> None:
        self.runtime, self.server, self.name = runtime, server, name

    def agent(self, *tools: Any, calls: list[tuple[str, dict[str, Any]]] | None = None, **more: Any) -> Agent:
        calls = calls or [(tools[0]._tool_def.name, {})]
        answer = {"tool_calls": [{"name": name, "arguments": arguments} for name, arguments in calls]}
        return Agent(self.name, self.server.script(self.name, answer, "{results}"), "", list(tools), **more)

    def call(self, *tools: Any, calls: list[tuple[str, dict[str, Any]]] | None = None, **more: Any) -> Any:
        """The first tool call of a run."""
        result = self.runtime.run(self.agent(*tools, calls=calls, **more), "go", timeout=30)
        assert result.is_success, result.error
        return result.tool_calls[0]

    def logs(self, call: dict[str, Any]) -> list[str]:
        async def ask() -> list[dict[str, Any]]:
            async with Client(self.server.url) as client:
                return await client.task_log(call["taskId"])

        return [line["log"] for line in asyncio.run(ask())]


@pytest.fixture
def bench(runtime: AgentRuntime, server: ServerProcess, request: pytest.FixtureRequest) -> Bench:
    return Bench(runtime, server, re.sub(r"\W", "_", request.node.name)[:60])


@pytest.fixture
def short_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_module, "LEASE_SECONDS", 1.0)


def eventually(condition: Callable[[], Any], seconds: float = 10) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return value


# What tools may be


def test_an_async_tool_runs(bench: Bench) -> None:
    @tool
    async def wait(seconds: float = 0.01) -> str:
        """Wait."""
        await asyncio.sleep(seconds)
        return "waited"

    assert bench.call(wait)["result"] == "waited"


def test_a_method_a_lambda_and_a_closure_run(bench: Bench) -> None:
    class Counter:
        def __init__(self) -> None:
            self.count = 0

        @tool
        def up(self, by: int) -> int:
            """Count."""
            self.count += by
            return self.count

    counter, lines = Counter(), []

    @tool
    def note(text: str) -> int:
        """Note."""
        lines.append(text)
        return len(lines)

    double = tool(name="double", description="Double.")(lambda value=4: value * 2)
    calls = [("up", {"by": 3}), ("note", {"text": "x"}), ("double", {})]
    result = bench.runtime.run(bench.agent(counter.up, note, double, calls=calls), "go")
    assert [call["result"] for call in result.tool_calls] == [3, 1, 8]
    assert (counter.count, lines) == (3, ["x"])


def test_arguments_arrive_as_what_the_hints_say(bench: Bench) -> None:
    class Order(pydantic.BaseModel):
        amount: int

    seen: list[Any] = []

    @tool
    def buy(order: Order, tags: set[str], context: str) -> Order:
        """Buy."""
        seen.extend([order, tags, context])
        return order

    call = bench.call(buy, calls=[("buy", {"order": {"amount": "3"}, "tags": ["a"], "context": "shop"})])
    assert seen == [Order(amount=3), {"a"}, "shop"]
    assert call["result"] == {"amount": 3}


def test_calls_of_one_turn_run_at_the_same_time(bench: Bench) -> None:
    barrier = threading.Barrier(4, timeout=10)

    @tool
    def meet(number: int) -> int:
        """Meet."""
        barrier.wait()
        return number

    bench.call(meet, calls=[("meet", {"number": number}) for number in range(4)])


def test_a_tool_may_run_an_agent(bench: Bench) -> None:
    inner = Agent("inner", bench.server.script("inner", "from inside"))

    @tool
    def ask() -> str:
        """Ask."""
        return str(bench.runtime.run(inner, "hi").output["result"])

    @tool
    async def ask_too() -> str:
        """Ask."""
        return str((await bench.runtime.run_async(inner, "hi")).output["result"])

    assert bench.call(ask)["result"] == "from inside"
    assert bench.call(ask_too)["result"] == "from inside"


# The context


def test_the_context_tells_what_it_promises(bench: Bench) -> None:
    seen: list[ToolContext] = []
    connection = object()

    @tool(retry_delay_seconds=0)
    def look(context: ToolContext) -> str:
        """Look."""
        seen.append(context)
        if context.attempt == 0:
            raise ValueError("again")
        return "seen"

    agent = bench.agent(look, dependencies={"db": connection}, metadata={"team": "x"})
    result = bench.runtime.run(agent, "go", session_id="s-1", context={"mood": "good"})
    first, second = seen
    assert (first.session_id, first.execution_id, first.agent_name) == ("s-1", result.execution_id, agent.name)
    assert (first.metadata, first.dependencies, first.state) == ({"team": "x"}, {"db": connection}, {"mood": "good"})
    assert (first.attempt, second.attempt) == (0, 1)
    assert first.idempotency_key == second.idempotency_key
    assert result.execution_id in first.idempotency_key
    assert first.task_id != second.task_id
    assert not first.cancelled


def test_each_call_has_a_key_of_its_own(bench: Bench) -> None:
    keys = []

    @tool
    def look(context: ToolContext) -> None:
        """Look."""
        keys.append(context.idempotency_key)

    bench.call(look, calls=[("look", {}), ("look", {})])
    assert len(set(keys)) == 2


def test_state_is_set_changed_and_deleted(bench: Bench) -> None:
    seen = []

    @tool
    def change(context: ToolContext) -> None:
        """Change."""
        context.state["new"] = 1
        context.state["list"].append(2)
        del context.state["old"]

    @tool
    def look(context: ToolContext) -> str:
        """Look."""
        seen.append(dict(context.state))
        return "ok"

    model = bench.server.script("state", tool_call("change"), tool_call("look"), "done")
    agent = Agent("state", model, "", [change, look])
    result = bench.runtime.run(agent, "go", context={"old": 1, "list": [1], "kept": True})
    assert seen == [{"new": 1, "list": [1, 2], "kept": True}]
    assert result.output["context"] == {"new": 1, "list": [1, 2], "kept": True}


# Failures


def test_what_a_tool_raises_reaches_the_model_and_the_log(bench: Bench) -> None:
    @tool(retry_count=0)
    def fail() -> None:
        """Fail."""
        print("about to fail")
        raise ValueError("the shop is closed")

    call = bench.call(fail)
    assert (call["status"], call["error"]) == ("FAILED", "ValueError: the shop is closed")
    log = bench.logs(call)
    assert log[0] == "about to fail"
    assert any("raise ValueError" in line for line in log)
    assert not any("agentspan/agents" in line for line in log)


@pytest.mark.parametrize("problem", [SystemExit(3), StopIteration(), KeyboardInterrupt(), asyncio.CancelledError()])
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_an_unusual_exception_is_a_failure_like_any_other(bench: Bench, problem: BaseException, kind: str) -> None:
    @tool(retry_count=0, name="unusual")
    def fail() -> None:
        """Fail."""
        raise problem

    @tool(retry_count=0, name="unusual")
    async def fail_async() -> None:
        """Fail."""
        raise problem

    call = bench.call(fail if kind == "sync" else fail_async)
    assert call["status"] == "FAILED"
    assert bench.call(tool(name="fine")(lambda: "fine"))["result"] == "fine"


def test_a_failed_tool_is_tried_again_but_not_after_a_terminal_error(bench: Bench) -> None:
    counts = {"plain": 0, "terminal": 0}

    @tool(retry_count=2, retry_delay_seconds=0)
    def plain() -> None:
        """Fail."""
        counts["plain"] += 1
        raise ValueError("no")

    @tool(retry_count=2, retry_delay_seconds=0)
    def terminal() -> None:
        """Fail for good."""
        counts["terminal"] += 1
        raise TerminalToolError("never")

    assert bench.call(plain)["attempts"] == 3
    call = bench.call(terminal)
    assert (call["attempts"], call["status"]) == (1, "FAILED_WITH_TERMINAL_ERROR")
    assert counts == {"plain": 3, "terminal": 1}


def test_wrong_arguments_are_told_to_the_model_at_once(bench: Bench) -> None:
    @tool
    def book(city: str, days: int) -> str:
        """Book."""
        return "booked"

    call = bench.call(book, calls=[("book", {"days": "many"})])
    assert call["attempts"] == 1
    assert "argument 'city' is missing (string)" in call["error"]
    assert "argument 'days' must be a whole number, got \"many\"" in call["error"]


def test_a_result_that_is_no_json_is_told_to_the_model_at_once(bench: Bench) -> None:
    @tool
    def strange() -> Any:
        """Return a strange thing."""
        return {"file": object()}

    call = bench.call(strange)
    assert call["attempts"] == 1
    assert "the result of strange.file is of type object, which is not JSON" in call["error"]


# Output


def test_what_tools_print_goes_to_their_own_logs(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    together = threading.Barrier(2, timeout=10)

    @tool
    def talk(name: str) -> None:
        """Talk."""
        print(f"{name} begins")
        together.wait()
        print(f"{name} ends", file=sys.stderr)

    @tool
    async def chat() -> None:
        """Chat."""
        print("async")

    before = sys.stdout
    calls = [("talk", {"name": "a"}), ("talk", {"name": "b"}), ("chat", {})]
    result = bench.runtime.run(bench.agent(talk, chat, calls=calls), "go")
    assert [bench.logs(call) for call in result.tool_calls] == [
        ["a begins", "a ends"],
        ["b begins", "b ends"],
        ["async"],
    ]
    assert sys.stdout is before
    shown = capsys.readouterr()
    assert sorted(shown.out.splitlines()) == ["a begins", "async", "b begins"]
    assert sorted(shown.err.splitlines()) == ["a ends", "b ends"]


def test_in_a_notebook_what_a_tool_prints_is_not_put_into_whichever_cell_runs() -> None:
    class Stream(io.StringIO):
        __module__ = "ipykernel.iostream"

    stream, output = Stream(), Output()
    with redirect_stdout(stream):
        with captured(output):
            print("by a tool")
        print("by the cell")
    assert (output.lines(), stream.getvalue()) == (["by a tool"], "by the cell\n")


def test_other_threads_still_print_while_a_tool_runs(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    running, done = threading.Event(), threading.Event()

    @tool
    def hold() -> None:
        """Hold."""
        running.set()
        done.wait(10)

    handle = bench.runtime.start(bench.agent(hold), "go")
    assert running.wait(10)
    print("from the program")
    done.set()
    handle.join(10)
    assert capsys.readouterr().out == "from the program\n"


# Definitions


def cell(source: str, scope: dict[str, Any]) -> None:
    """Run a cell of a notebook."""
    exec(compile(textwrap.dedent(source), "<cell>", "exec"), scope)


def test_a_redefined_tool_counts_from_the_next_call_on(bench: Bench) -> None:
    scope: dict[str, Any] = {"__name__": "__main__", "tool": tool}
    define = """
        @tool
        def version() -> str:
            "Which version."
            return "{}"
    """
    cell(define.format("old"), scope)
    old = bench.agent(scope["version"])
    assert bench.runtime.run(old, "go").output["result"] == "old"
    cell(define.format("new"), scope)
    assert bench.runtime.run(old, "go").output["result"] == "new"
    assert bench.runtime.run(bench.agent(scope["version"]), "go").output["result"] == "new"


def test_two_agents_may_have_different_tools_of_one_name(bench: Bench) -> None:
    model = bench.server.script("namesake", tool_call("search"), "{result}")
    agents = [
        Agent(f"namesake_{place}", model, "", [tool(name="search")(lambda place=place: place)]) for place in ("a", "b")
    ]
    for one in agents:
        bench.runtime.serve(one, blocking=False)
    assert [bench.runtime.run(one, "go").output["result"] for one in (*agents, *agents)] == ["a", "b", "a", "b"]


# Leases


def test_a_long_tool_keeps_its_lease(bench: Bench, short_lease: None) -> None:
    counts = {"sync": 0, "async": 0}

    @tool
    def block() -> str:
        """Block a thread."""
        counts["sync"] += 1
        time.sleep(2.5)
        return "done"

    @tool
    async def block_async() -> str:
        """Block the loop of async tools, which one should not."""
        counts["async"] += 1
        time.sleep(2.5)  # noqa: ASYNC251
        return "done"

    bench.call(block, block_async, calls=[("block", {}), ("block_async", {})])
    assert counts == {"sync": 1, "async": 1}


def test_a_cancelled_run_tells_its_tools(bench: Bench, short_lease: None) -> None:
    running, told = threading.Event(), threading.Event()

    @tool
    def work(context: ToolContext) -> None:
        """Work until told."""
        running.set()
        if context.wait_cancelled(10):
            assert context.cancelled
            told.set()

    handle = bench.runtime.start(bench.agent(work), "go")
    assert running.wait(10)
    handle.cancel("enough")
    assert told.wait(5)


# Cost


def test_a_task_costs_one_request_when_tasks_come_one_by_one(bench: Bench) -> None:
    @tool
    def step() -> str:
        """A step."""
        return "ok"

    turns = 20
    model = bench.server.script("steps", {**tool_call("step"), "times": turns}, "done")
    agent = Agent("steps", model, "", [step], max_turns=turns + 2)
    bench.runtime.run(agent, "go")
    before = requests(bench.server)
    assert len(bench.runtime.run(agent, "go").tool_calls) == turns
    after = requests(bench.server)
    assert after["/api/tasks/report"] - before.get("/api/tasks/report", 0) <= turns + 2
    assert after["/api/tasks/poll"] - before["/api/tasks/poll"] <= 3
    assert after.get("/api/tasks/extend", 0) == before.get("/api/tasks/extend", 0)


def requests(server: ServerProcess) -> dict[str, int]:
    """How many POST requests each route has answered."""
    with urllib.request.urlopen(f"{server.url}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    counts: dict[str, int] = {}
    for line in lines:
        if "_count{" in line and 'method="POST"' in line:
            route = re.search(r'(?:route|path)="([^"]+)"', line)
            assert route, line
            counts[route[1]] = counts.get(route[1], 0) + int(float(line.split()[-1]))
    return counts


# Restarts


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[ServerProcess]:
    server = ServerProcess(tmp_path)
    server.start()
    yield server
    server.stop()


@dataclass
class Ledger:
    """What was done, by idempotency key."""

    path: Path

    def entries(self) -> list[str]:
        return self.path.read_text().splitlines() if self.path.exists() else []


def test_a_run_survives_its_server(own_server: ServerProcess) -> None:
    steps = []

    @tool
    def step(context: ToolContext) -> str:
        """A step."""
        steps.append(context.idempotency_key)
        time.sleep(0.1)
        return f"step {len(steps)}"

    model = own_server.script("steps", {**tool_call("step"), "times": 12}, "done")
    with AgentRuntime(server_url=own_server.url) as runtime:
        handle = runtime.start(Agent("steps", model, "", [step]), "go")
        seen: list[int] = []

        def follow() -> None:
            seen.extend(event.id for event in handle.stream() if event.id is not None)

        reader = threading.Thread(target=follow)
        reader.start()
        for at in (2, 5, 8):
            eventually(lambda at=at: len(steps) >= at)
            own_server.kill()
            own_server.start()
        result = handle.join(60)
        reader.join(10)
        assert result.is_success, result.error
        assert len(result.tool_calls) == 12
        assert len(steps) == len(set(steps)) == 12
        assert seen == [event.id for event in result.events]


def test_a_result_is_reported_when_the_server_comes_back(own_server: ServerProcess) -> None:
    running, free, count = threading.Event(), threading.Event(), []

    @tool
    def hold() -> str:
        """Hold."""
        count.append(1)
        running.set()
        free.wait(20)
        return "held"

    model = own_server.script("hold", tool_call("hold"), "{result}")
    with AgentRuntime(server_url=own_server.url) as runtime:
        handle = runtime.start(Agent("hold", model, "", [hold]), "go")
        assert running.wait(10)
        own_server.kill()
        free.set()
        time.sleep(0.5)
        own_server.start()
        assert handle.join(20).output["result"] == "held"
        assert len(count) == 1


PROGRAM = """
import sys, time
from agentspan.agents import Agent, AgentAPIError, AgentRuntime, ToolContext, tool

@tool
def step(context: ToolContext) -> str:
    "A step."
    with open(sys.argv[2], "a") as file:
        file.write(context.idempotency_key + "\\n")
    time.sleep(0.05)
    return "ok"

runtime = AgentRuntime(server_url=sys.argv[1])
agent = Agent("steps", "scripted/steps", "", [step])
"""


def program(source: str, *args: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM + textwrap.dedent(source), *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_run_survives_the_process_that_started_it(own_server: ServerProcess, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    own_server.script("steps", {**tool_call("step"), "times": 20}, "done")
    start = "handle = runtime.start(agent, 'go'); print(handle.execution_id, flush=True); handle.join()"
    first = program(start, own_server.url, str(ledger.path))
    assert first.stdout is not None
    execution_id = first.stdout.readline().strip()
    eventually(lambda: len(ledger.entries()) >= 3)
    first.kill()
    first.communicate()
    resume = f"print(runtime.resume('{execution_id}', agent).join(60).status, flush=True)"
    second = program(resume, own_server.url, str(ledger.path))
    out, err = second.communicate(timeout=60)
    assert (out.strip(), err) == ("COMPLETED", "")
    # The one call that the killed process had in hand is made again, under the same key.
    assert len(set(ledger.entries())) == 20
    assert len(ledger.entries()) <= 21


def test_serve_ends_gracefully_on_a_signal(own_server: ServerProcess, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    own_server.script("steps", tool_call("step"), "done")
    server = program(
        "print('ready', flush=True); runtime.serve(agent); print('over')", own_server.url, str(ledger.path)
    )
    assert server.stdout is not None
    assert server.stdout.readline().strip() == "ready"
    with AgentRuntime(server_url=own_server.url) as runtime:
        runtime.config.auto_start_workers = False
        assert runtime.run(Agent("steps", "scripted/steps", "", [tool(name="step")(lambda: "")]), "go").is_success
    server.send_signal(signal.SIGTERM)
    out, err = server.communicate(timeout=15)
    assert (out.strip(), err, server.returncode) == ("over", "", 0)


def test_an_interrupt_leaves_the_run_and_says_how_to_wait_on(own_server: ServerProcess, tmp_path: Path) -> None:
    own_server.script("steps", {"content": "done", "delay_ms": 3000})
    source = """
        print('ready', flush=True)
        try:
            runtime.run(agent, 'go', idempotency_key='k')
        except KeyboardInterrupt as interrupt:
            print(interrupt.__notes__[0])
    """
    process = program(source, own_server.url, str(tmp_path / "ledger"))
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "ready"
    with AgentRuntime(server_url=own_server.url) as runtime:
        handle = runtime.start(Agent("steps", "scripted/steps"), "go", idempotency_key="other")
        time.sleep(1.5)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=15)
        assert out.startswith("The run goes on; wait for it with runtime.attach(")
        assert err == ""
        execution_id = out.split("'")[1]
        assert runtime.attach(execution_id).join(20).is_success
        assert handle.join(20).is_success


def test_a_process_ends_while_a_tool_hangs(own_server: ServerProcess, tmp_path: Path) -> None:
    own_server.script("steps", tool_call("step"), "done")
    source = """
        @tool(name="step")
        def hang() -> None:
            print("x")
            time.sleep(600)

        runtime.start(Agent("steps", "scripted/steps", "", [hang]), "go")
        time.sleep(1)
    """
    process = program(source, own_server.url, str(tmp_path / "ledger"))
    out, err = process.communicate(timeout=30)
    assert (out, err, process.returncode) == ("x\n", "", 0)


def test_a_forked_child_has_a_portal_of_its_own(own_server: ServerProcess, tmp_path: Path) -> None:
    own_server.script("steps", {"content": "done", "times": "forever"})
    source = """
        import os
        runtime.run(agent, "go")
        child = os.fork()
        if child == 0:
            own = AgentRuntime(server_url=sys.argv[1])
            os._exit(0 if own.run(agent, "go", timeout=10).is_success else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert runtime.run(agent, "go").is_success
    """
    process = program(source, own_server.url, str(tmp_path / "ledger"))
    _, err = process.communicate(timeout=60)
    assert (err, process.returncode) == ("", 0)


def test_events_of_a_streamed_run_are_complete_over_restarts(own_server: ServerProcess) -> None:
    model = own_server.script("slow", {"content": "a b c d e f", "chunk_ms": 100}, "x")
    with AgentRuntime(server_url=own_server.url) as runtime:
        stream = runtime.stream(Agent("slow", model), "go")
        for event in stream:
            if event.type is EventType.TOKEN:
                own_server.kill()
                own_server.start()
                break
        rest = list(stream)
        assert rest[-1].type is EventType.DONE
        ids = [event.id for event in stream.events]
        assert ids == sorted(set(ids)) == [event.id for event in stream.result.events]


def test_a_stateful_run_has_its_tools_to_itself(bench: Bench) -> None:
    @tool(stateful=True)
    def mine(context: ToolContext) -> str:
        """Mine."""
        return "mine"

    handle = bench.runtime.start(bench.agent(mine), "go")
    assert handle.run_id
    assert bench.runtime._worker is not None
    domains = {queue.domain for queue in bench.runtime._worker.registry.queues()}
    assert domains == {handle.run_id}
    assert handle.join(20).tool_calls[0]["result"] == "mine"
    assert bench.runtime._worker.registry.queues() == []


def test_a_server_with_credentials_is_served_in_every_form(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, AGENTSPAN_AUTH_KEY="id", AGENTSPAN_AUTH_SECRET="secret")
    server.start()
    try:
        model = server.script("locked", tool_call("open_up"), "{result}")
        agent = Agent("locked", model, "", [tool(name="open_up")(lambda: "open")])
        with AgentRuntime(server_url=server.url, api_key="id", api_secret="secret") as runtime:
            assert runtime.run(agent, "go").output["result"] == "open"
            assert [event.type for event in runtime.stream(agent, "go")][-1] is EventType.DONE
            assert runtime.plan(agent)["requiredWorkers"] == ["open_up"]
        with AgentRuntime(server_url=server.url) as runtime, pytest.raises(AgentAPIError) as told:
            runtime.run(agent, "go")
        assert told.value.status_code == 401
    finally:
        server.stop()
