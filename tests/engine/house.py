"""What the tests of store and engine share: an open engine, scripts, specs, a worker of Python functions."""

import asyncio
import contextlib
import inspect
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from agentspan import clock
from agentspan.config import Settings
from agentspan.core import events as e
from agentspan.core.ids import split_execution
from agentspan.engine import providers
from agentspan.engine.engine import Engine
from agentspan.errors import Unavailable
from agentspan.spec.agent import AgentSpec
from agentspan.spec.tool import ToolSpec
from agentspan.store.views import ExecutionView, Receipt, Report, TaskView, Want
from tests.schema import lay

PATIENCE_SECONDS = 20.0

_numbers = itertools.count(1)


def settings(url: str, data_dir: Path, **options: Any) -> Settings:
    loaded = Settings.load({"AGENTSPAN_DATABASE_URL": url, "AGENTSPAN_DATA_DIR": str(data_dir)})
    return msgspec.structs.replace(loaded, **{"sqlite_synchronous": "NORMAL", **options})


@contextlib.asynccontextmanager
async def opened(url: str, data_dir: Path, **options: Any) -> AsyncIterator[Engine]:
    """An engine on this database, closed at the end."""
    if url.startswith("sqlite:///"):
        lay(Path(url.removeprefix("sqlite:///")))
    engine = await Engine.open(settings(url, data_dir, **options))
    try:
        yield engine
    finally:
        await engine.close()


def script(*answers: Any) -> str:
    """The model that gives these answers."""
    name = f"s{next(_numbers)}"
    providers.register(name, list(answers))
    return f"scripted/{name}"


def counting(asked: Path, delay_ms: int) -> Callable[[Any], Any]:
    """A model that calls a tool and then says "done", slowly, and writes its turn to a file each time it is asked."""

    def answer(request: Any) -> Any:
        turn = sum(message["role"] == "assistant" for message in request.messages)
        with asked.open("a") as file:
            file.write(str(turn))
        return {"content": "done", "delay_ms": delay_ms} if turn else calls("a")

    return answer


def calls(*names: str, **arguments: Any) -> dict[str, Any]:
    """An answer that calls these tools with these arguments."""
    return {"tool_calls": [{"name": name, "arguments": arguments} for name in names]}


def tool(name: str, **options: Any) -> ToolSpec:
    return ToolSpec(name=name, **{"retry_delay_seconds": 0.01, **options})


def agent(model: str, *tools: ToolSpec | str, name: str = "helper", **options: Any) -> AgentSpec:
    given = tuple(tool(each) if isinstance(each, str) else each for each in tools)
    return AgentSpec(name=name, model=model, tools=given, **options)


def team(name: str, strategy: str, *agents: AgentSpec, **options: Any) -> AgentSpec:
    return AgentSpec(name=name, strategy=strategy, agents=agents, **options)


async def start(engine: Engine, spec: AgentSpec, prompt: str = "hello", **options: Any) -> str:
    return (await engine.start(spec, {"prompt": prompt}, **options)).execution_id


async def ended(engine: Engine, execution: str) -> ExecutionView:
    """The execution once it has ended."""
    await engine.wait(execution, int(PATIENCE_SECONDS * 1000))
    view = await engine.reads.execution(execution)
    assert view.row.ended_at, f"still {view.row.status} after {PATIENCE_SECONDS:g} s: {await log(engine, execution)}"
    return view


async def result(engine: Engine, execution: str) -> Any:
    view = await ended(engine, execution)
    assert view.row.status == "COMPLETED", view
    return (view.output or {})["result"]


async def log(engine: Engine, execution: str) -> list[e.Event]:
    return await engine.reads.log_of(split_execution(execution)[0])


def facts(events: Iterable[e.Event], *kinds: type) -> list[Any]:
    return [event.fact for event in events if isinstance(event.fact, kinds)]


async def until(condition: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> Any:
    """What the condition gives once it is true."""
    async with asyncio.timeout(seconds):
        while True:
            found = condition()
            if inspect.isawaitable(found):
                found = await found
            if found:
                return found
            await asyncio.sleep(0.005)


async def take(engine: Engine, *queues: str, worker: str = "w", domain: str = "", **options: Any) -> TaskView:
    """One task of these queues, once there is one."""
    got = await engine.poll([Want(each, domain) for each in queues], worker, **{"wait_ms": 20_000, **options})
    assert got, f"no task in {queues}"
    return got[0]


async def complete(engine: Engine, task: TaskView, value: Any = "ok", **options: Any) -> Receipt:
    output = value if isinstance(value, dict) else {"result": value}
    return (await engine.report([Report(task_id=task.task_id, status="COMPLETED", output=output, **options)]))[0]


async def fail(engine: Engine, task: TaskView, error: str = "it broke", **options: Any) -> Receipt:
    options = {"status": "FAILED", **options}
    return (await engine.report([Report(task_id=task.task_id, error=error, **options)]))[0]


async def requests(engine: Engine, execution: str, count: int) -> list[Any]:
    """The open requests, once there are so many."""

    async def enough() -> list[Any]:
        found = await engine.reads.requests(execution)
        return found if len(found) >= count else []

    return list(await until(enough))


@contextlib.asynccontextmanager
async def working(
    engine: Engine, *, worker: str = "w", domain: str = "", at_once: int = 10, **tools: Any
) -> AsyncIterator[None]:
    """A worker that polls for these tools and reports what the functions give."""

    async def work() -> None:
        wants = [Want(name, domain) for name in tools]
        while True:
            try:
                got = await engine.poll(wants, worker, count=at_once, wait_ms=30_000)
                await engine.report([_performed(tools[task.name], task) for task in got])
            except Unavailable:
                await asyncio.sleep(0.05)

    running = asyncio.create_task(work())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def _performed(function: Any, task: TaskView) -> Report:
    try:
        value = function(**task.input) if callable(function) else function
    except Exception as problem:
        return Report(task_id=task.task_id, status="FAILED", error=str(problem))
    output = value if isinstance(value, dict) else {"result": value}
    return Report(task_id=task.task_id, status="COMPLETED", output=output)


class Hands:
    """A clock that goes only when it is told to."""

    def __init__(self, at: float = 2_000_000_000.0) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at

    async def forward(self, engine: Engine, seconds: float) -> None:
        """Let time pass, and have the engine notice."""
        self.at += seconds
        await engine.sweeper.sweep()


@contextlib.contextmanager
def stopped_clock() -> Iterator[Hands]:
    hands = Hands()
    clock.use(hands)
    try:
        yield hands
    finally:
        clock.use(time.time)
