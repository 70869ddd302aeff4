"""What the server takes while it does nothing: to start, in memory, and with a thousand workers that wait."""

import asyncio
import time

from benchmarks.plan import Plan
from benchmarks.report import Figure, Report
from benchmarks.server import Machine, Server
from benchmarks.wire import Connection

POLLS = 1_000
WAIT_MS = 30_000


def measure(where: Machine, plan: Plan, report: Report) -> None:
    report.begin("Footprint of an idle server")
    for kind in where.kinds:
        first, ready, used, memory = list[float](), list[float](), list[float](), list[float]()
        for _ in range(plan.rounds):
            server = Server(where.database(kind), where.folder())
            for found in (first, ready):
                found.append(server.start())
                used.append(server.cpu_seconds())
                memory.append(server.memory_mb())
                server.stop()
        report.add(
            Figure(f"{kind}: start to ready, new database", first, "s", most=1.5),
            Figure(f"{kind}: start to ready", ready, "s", most=1.5),
            Figure(f"{kind}: CPU until ready", used, "s"),
            Figure(f"{kind}: memory when ready", memory, "MB", most=120),
        )
        seconds = 5.0 if plan.quick else WAIT_MS / 1000
        with where.server(where.database(kind)) as server:
            quiet, writes = asyncio.run(idle(server, 0, 5.0))
            report.add(
                Figure(f"{kind}: CPU with nobody there", [quiet], "%"),
                Figure(f"{kind}: commits with nobody there", [writes], "/s", most=0),
            )
            polled, writes = asyncio.run(idle(server, POLLS, seconds))
            report.add(
                Figure(f"{kind}: CPU with {POLLS:,} long polls of {WAIT_MS // 1000} s", [polled], "%", most=2),
                Figure(f"{kind}: commits with {POLLS:,} long polls", [writes], "/s", most=0),
                Figure(f"{kind}: memory with {POLLS:,} long polls", [server.memory_mb()], "MB", most=500),
            )


async def idle(server: Server, polls: int, seconds: float) -> tuple[float, float]:
    """Per cent of a core, and commits a second, after the polls have arrived; each polls again when it is answered."""

    async def wait(number: int) -> None:
        connection = Connection(server.url)
        wish = {"workerId": f"w{number}", "queues": [{"name": f"q{number % 50}"}], "timeoutMs": WAIT_MS}
        # As workers do that came at different times.
        first = {**wish, "timeoutMs": WAIT_MS * (number + 1) // polls}
        while True:
            await connection.post("/api/tasks/poll", first)
            first = wish

    waiting = [asyncio.create_task(wait(number)) for number in range(polls)]
    await asyncio.sleep(2)
    cpu, writes, begun = server.cpu_seconds(), server.database.writes(), time.monotonic()
    await asyncio.sleep(seconds)
    passed = time.monotonic() - begun
    used = (server.cpu_seconds() - cpu) / passed * 100, (server.database.writes() - writes) / passed
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    return used
