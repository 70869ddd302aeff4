"""What it takes to look into one large run: its timeline, a patch of it, a task, a moment, the reason why it stands."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from agentspan.config import Settings
from agentspan.engine import providers
from agentspan.engine.engine import Engine
from agentspan.server.handler import encode
from agentspan.server.timeline import detail
from agentspan.spec.agent import AgentSpec
from agentspan.spec.tool import ToolSpec
from agentspan.store.views import Report as Outcome
from agentspan.store.views import Want
from benchmarks.plan import Plan
from benchmarks.report import Figure, Report
from benchmarks.server import Machine

AGENTS, TURNS, CALLS = 10, 20, 24
"""As many tasks as a run of five thousand spans has: each turn is one model call and CALLS tool calls."""
FILL_MS = 300_000
RESULT = "found nothing of interest here " * 30
Json = dict[str, Any]


def measure(where: Machine, plan: Plan, report: Report) -> None:
    report.begin("A large run looked into")
    for kind in where.kinds:
        url, folder = where.database(kind).url, where.folder()
        settings = Settings.load({"AGENTSPAN_DATABASE_URL": url, "AGENTSPAN_DATA_DIR": str(folder)})
        asyncio.run(_look(msgspec.structs.replace(settings, sqlite_synchronous="NORMAL"), kind, plan, report))


async def _look(settings: Settings, kind: str, plan: Plan, report: Report) -> None:
    engine = await Engine.open(settings)
    try:
        execution = await fill(engine)
        whole = await engine.history.timeline(execution)
        name = f"{kind}, {len(whole.spans):,} spans: "
        middle, last = whole.spans[len(whole.spans) // 2], whole.last

        async def lines(after: int) -> bytes:
            return encode(await engine.history.timeline(execution, after))

        async def closely() -> bytes:
            return encode(detail(await engine.history.task(middle.task_id)))

        async def then() -> bytes:
            return encode(await engine.history.moment(execution, last))

        looks: dict[str, tuple[Callable[[], Awaitable[bytes]], float | None]] = {
            "timeline": (lambda: lines(0), 300),
            "patch of the last 20 events": (lambda: lines(last - 20), 20),
            "a task closely": (closely, None),
            "the last moment": (then, None),
        }
        for what, (look, most) in looks.items():
            taken = [await _ms(look) for _ in range(plan.rounds)]
            report.add(
                Figure(name + what, [each[0] for each in taken], "ms", most=most),
                Figure(name + f"{what}, CPU", [each[1] for each in taken], "ms"),
            )
    finally:
        await engine.close()


async def _ms(look: Callable[[], Awaitable[bytes]]) -> tuple[float, float]:
    """The time that it takes, and that of this process's CPU."""
    begun, cpu = time.perf_counter(), time.process_time()
    await look()
    return (time.perf_counter() - begun) * 1000, (time.process_time() - cpu) * 1000


async def fill(engine: Engine) -> str:
    """A team of agents that have called a tool some thousand times; the id of the run."""
    providers.register("timeline_bench", _answer)
    tool = ToolSpec(name="look")
    agents = tuple(AgentSpec(name=f"a{n}", model="scripted/timeline_bench", tools=(tool,)) for n in range(AGENTS))
    spec = AgentSpec(name="team", strategy="parallel", agents=agents)
    execution = (await engine.start(spec, {"prompt": "Look."})).execution_id
    work = asyncio.create_task(_work(engine))
    try:
        await engine.wait(execution, FILL_MS)
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
    return execution


def _answer(request: Any) -> Json:
    turn = sum(message["role"] == "assistant" for message in request.messages)
    if turn == TURNS:
        return {"content": "That was all."}
    return {"tool_calls": [{"name": "look", "arguments": {"turn": turn, "place": n}} for n in range(CALLS)]}


async def _work(engine: Engine) -> None:
    while True:
        got = await engine.poll([Want("look")], "w", count=100, wait_ms=30_000)
        done = [Outcome(task_id=each.task_id, status="COMPLETED", output={"result": RESULT}) for each in got]
        await engine.report(done)
