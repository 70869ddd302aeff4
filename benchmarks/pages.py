"""What the dashboard costs the API: its latency while ten people go from page to page, beside that of a quiet server in
the same run."""

import asyncio
import time
import urllib.error
import urllib.request

from benchmarks.children import Child
from benchmarks.plan import Plan
from benchmarks.report import Figure, Report, percentile, ratios
from benchmarks.server import Machine
from benchmarks.wire import Connection
from benchmarks.work import STILL

PEOPLE = 10
LOOK_SECONDS = 2.0
RUNS = 300
AT_ONCE = 2
READY_SECONDS = 120.0
SETTLE_SECONDS = 1.0

LIST, RUN = "GET executions", "POST start, to its end"
Times = dict[str, list[float]]


def measure(where: Machine, plan: Plan, report: Report) -> None:
    report.begin(f"API latency while {PEOPLE} people load a page of the dashboard every {LOOK_SECONDS:g} s")
    seconds = max(plan.seconds, 3.0)
    for kind in where.kinds:
        with where.server(where.database(kind)) as server:
            asyncio.run(fill(server.url))
            open_pages(server.url)
            visitors = Child("visitor")
            try:
                quiet, busy, loads = list[Times](), list[Times](), list[float]()
                for _ in range(plan.rounds):
                    quiet.append(asyncio.run(ask(server.url, seconds)))
                    visitors.ask(do="come", url=server.url, people=PEOPLE, look=LOOK_SECONDS)
                    time.sleep(LOOK_SECONDS)
                    busy.append(asyncio.run(ask(server.url, seconds)))
                    loads += visitors.ask(do="go")["times"]
                    time.sleep(SETTLE_SECONDS)
            finally:
                visitors.close()
            report.add(*figures(kind, quiet, busy, loads))


def figures(kind: str, quiet: list[Times], busy: list[Times], loads: list[float]) -> list[Figure]:
    found = [Figure(f"{kind}: a page, until its document is there, p50", [percentile(loads, 50) * 1000], "ms")]
    for what in (LIST, RUN):
        for name, rounds in (("quiet", quiet), ("with people", busy)):
            for percent in (50, 95):
                times = [percentile(each[what], percent) * 1000 for each in rounds]
                found.append(Figure(f"{kind}: {what}, {name}, p{percent}", times, "ms"))
        over, under = ([percentile(each[what], 95) for each in rounds] for rounds in (busy, quiet))
        found.append(ratios(f"{kind}: {what}, p95 with people by p95 quiet", over, under, most=2))
    return found


async def ask(url: str, seconds: float) -> Times:
    """How long each request took, of two programs that ask one after the other."""
    times: Times = {LIST: [], RUN: []}
    until = time.monotonic() + seconds

    async def one(what: str) -> None:
        connection = Connection(url)
        while time.monotonic() < until:
            begun = time.monotonic()
            if what == LIST:
                await connection.get("/api/agent/executions?size=20")
            else:
                await run(connection)
            times[what].append(time.monotonic() - begun)
            await asyncio.sleep(0.01)
        connection.close()

    await asyncio.gather(one(LIST), one(RUN))
    return times


async def run(connection: Connection) -> None:
    """A whole run, of one answer of the model."""
    started = await connection.post("/api/agent/start", {"agentConfig": STILL, "prompt": "Say something."})
    status = await connection.get(f"/api/agent/{started['executionId']}/status?waitMs=10000")
    assert status["isComplete"], status


async def fill(url: str) -> None:
    """So many runs are there to be shown."""
    connections = [Connection(url) for _ in range(AT_ONCE)]

    async def some(connection: Connection) -> None:
        for _ in range(RUNS // AT_ONCE):
            await run(connection)
        connection.close()

    await asyncio.gather(*map(some, connections))


def open_pages(url: str) -> None:
    """Have the dashboard's process running."""
    give_up = time.monotonic() + READY_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"{url}/ui/", timeout=30):
                return
        except urllib.error.HTTPError as problem:
            if problem.code != 503 or time.monotonic() > give_up:
                raise
            time.sleep(0.2)
