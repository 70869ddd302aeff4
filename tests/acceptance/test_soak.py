"""Three servers under load for a long time, and something goes wrong every minute: what is not told by the client at
that very moment must not happen at all. Its figures stand in docs/scale.md.

SOAK_MINUTES says for how long (30), SOAK_FAULT_SECONDS how often something goes wrong (60).
"""

import asyncio
import contextlib
import json
import os
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from agentspan.store import backup, integrity
from agentspan.store.database import Database
from tests.acceptance import crew
from tests.acceptance.cluster import Cluster, cluster
from tests.acceptance.processes import ROOT, Process, eventually, worker_tool
from tests.postgres import Postgres, fresh_database

Json = dict[str, Any]

MINUTES = float(os.environ.get("SOAK_MINUTES", "30"))
FAULT_SECONDS = float(os.environ.get("SOAK_FAULT_SECONDS", "60"))
CAPACITY_SECONDS = 15.0
CAPACITY_AT_ONCE = 48
LOAD = 0.8
SAMPLE_SECONDS = 5.0
AFTERMATH_SECONDS = 15.0
"""An error so long after the end of a fault is put down to it: connections are made anew, what waited is caught up."""
ANSWER_SECONDS = 40.0
MOST_OPEN = 4_000
DRAIN_SECONDS = 300.0
WARM_SECONDS = min(300.0, MINUTES * 15)
"""Until then, caches fill."""
MOST_GROWTH_MB_PER_HOUR = 40.0
RESULTS = ROOT / "benchmarks" / "results"

SCRIPT = [
    {"tool_calls": [{"name": "note", "arguments": {"text": "{prompt} first"}}], "usage": {"prompt_tokens": 40}},
    {"tool_calls": [{"name": "note", "arguments": {"text": "{prompt} second"}}], "usage": {"prompt_tokens": 60}},
    {"content": "All of {prompt}.", "usage": {"prompt_tokens": 80, "completion_tokens": 5}},
]
CALLS = 2
CONFIG = {"name": "crew", "model": "scripted/soak", "tools": [worker_tool("note", text="string")]}


class Load:
    """Starts runs at a rate, whatever becomes of them, and waits for the end of each."""

    def __init__(self, url: str) -> None:
        self.url = url
        # Not httpx: what a request costs there grows with the requests under way, so that the client would be the first
        # to give in when a fault holds them up.
        self.http = SimpleAsyncHTTPClient(force_instance=True, max_clients=MOST_OPEN)
        self.most_open = 0
        self.asked, self.ids = 0, dict[str, str]()
        self.seconds: list[float] = []
        self.ended: Counter[str] = Counter()
        self.errors: list[tuple[float, str]] = []
        self._open: set[asyncio.Task[None]] = set()

    async def at_rate(self, per_second: float, seconds: float) -> None:
        """Begin so many runs a second for a time."""
        start, begun = time.monotonic(), 0
        while (elapsed := time.monotonic() - start) < seconds:
            while begun < elapsed * per_second:
                self._begin()
                begun += 1
            self.most_open = max(self.most_open, len(self._open))
            await asyncio.sleep(0.02)
        await asyncio.wait_for(asyncio.gather(*self._open), DRAIN_SECONDS)

    async def at_once(self, places: int, seconds: float) -> float:
        """Keep so many runs under way for a time; how many ended a second."""
        start = time.monotonic()
        while time.monotonic() < start + seconds:
            while len(self._open) < places:
                self._begin()
            await asyncio.wait(self._open, return_when=asyncio.FIRST_COMPLETED)
        rate = self.ended.total() / (time.monotonic() - start)
        await asyncio.gather(*self._open)
        return rate

    def _begin(self) -> None:
        self.asked += 1
        task = asyncio.create_task(self._run(f"soak-{self.asked:07}"))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _run(self, key: str) -> None:
        began = time.monotonic()
        body = {"agentConfig": CONFIG, "prompt": key, "idempotencyKey": key}
        self.ids[key] = execution = (await self._sure("POST", "/api/agent/start", body))["executionId"]
        while True:
            status = await self._sure("GET", f"/api/agent/{execution}/status?waitMs=20000")
            if status["isComplete"]:
                break
        self.ended[status["status"]] += 1
        self.seconds.append(time.monotonic() - began)

    async def _sure(self, verb: str, path: str, body: Json | None = None) -> Json:
        """The answer, asked for until there is one; each failure is written down."""
        request = HTTPRequest(
            self.url + path, verb, {"Content-Type": "application/json"}, json.dumps(body) if body else None,
            connect_timeout=ANSWER_SECONDS, request_timeout=ANSWER_SECONDS,
        )  # fmt: skip
        while True:
            try:
                answer = await self.http.fetch(request, raise_error=False)
                if 200 <= answer.code < 300:
                    return dict(json.loads(answer.body))
                self.errors.append((time.time(), f"{answer.code} {verb} {answer.body[:200]!r}"))
                assert answer.code in (429, 502, 503, 504), answer.body
            except (HTTPClientError, OSError) as problem:
                self.errors.append((time.time(), f"{type(problem).__name__} {verb}"))
            await asyncio.sleep(0.25)


class Trouble(threading.Thread):
    """Lets something go wrong again and again. Servers 0 and 1 take turns in dying; the last one only stands still and
    is cut off, so that its memory tells something."""

    def __init__(self, the: Cluster, workers: list[Process]) -> None:
        super().__init__(daemon=True)
        self.the, self.workers = the, workers
        self.times: list[tuple[str, float, float]] = []
        self.problem: BaseException | None = None
        self.stop = threading.Event()
        self.killed_workers = 0

    def run(self) -> None:
        last = len(self.the.servers) - 1
        faults = {
            "server killed": lambda n: self.the.kill(n % last),
            "server stands still": lambda n: self.the.freeze(last),
            "database restarted": self.the.restart_database,
            "worker killed": self._kill_worker,
            "server cut off from the database": lambda n: self.the.part(last),
            "database crashes": self.the.crash_database,
            "no connection left": self.the.exhaust,
        }
        try:
            for number in range(1_000_000):
                if self.stop.wait(FAULT_SECONDS if number else FAULT_SECONDS / 2):
                    return
                name = list(faults)[number % len(faults)]
                began = time.time()
                faults[name](number // len(faults))
                eventually(lambda: self.the.balancer.ready() == last + 1, f"all servers after: {name}", 60)
                self.times.append((name, began, time.time()))
                print(f"{name}: all ready again after {time.time() - began:.1f} s", flush=True)
        except BaseException as problem:  # told by the test
            self.problem = problem

    def _kill_worker(self, number: int) -> None:
        victim = self.workers[number % len(self.workers)]
        victim.kill()
        victim.start()
        self.killed_workers += 1

    def explains(self, at: float) -> bool:
        return any(began - 1 <= at <= ended + AFTERMATH_SECONDS for _, began, ended in self.times)


class Samples(threading.Thread):
    """The memory of each server process, and what there is to do, every few seconds."""

    def __init__(self, the: Cluster) -> None:
        super().__init__(daemon=True)
        self.the, self.stop = the, threading.Event()
        self.memory: dict[int, list[tuple[float, float]]] = {}
        self.cpu: list[float] = []

    def run(self) -> None:
        psutil.cpu_percent()
        while not self.stop.wait(SAMPLE_SECONDS):
            self.cpu.append(psutil.cpu_percent())
            for server in self.the.servers:
                with contextlib.suppress(psutil.NoSuchProcess):
                    self.memory.setdefault(server.pid, []).append((time.monotonic(), server.rss_mb()))

    def growth(self, pid: int) -> float | None:
        """MB an hour of a process after it was warm; None if it did not live long enough to tell."""
        found = [(at, mb) for at, mb in self.memory[pid] if at > self.memory[pid][0][0] + WARM_SECONDS]
        if len(found) < 10:
            return None
        slope, _ = statistics.linear_regression([at for at, _ in found], [mb for _, mb in found])
        return slope * 3600


@contextlib.contextmanager
def working(the: Cluster) -> Iterator[list[Process]]:
    program = str(Path(crew.__file__))
    (the.folder / "ledger").touch()
    ledger = str(the.folder / "ledger")
    workers = [
        the.program(program, "worker", the.url, ledger, log=f"worker{number}", CREW_TOOL_SECONDS="0.001")
        for number in range(2)
    ]
    for worker in workers:
        worker.start()
    yield workers


@pytest.mark.soak
@pytest.mark.timeout(MINUTES * 60 + 900)
async def test_load_and_a_fault_every_minute_lose_nothing_and_cost_no_memory(
    tmp_path: Path, own_postgres: Postgres
) -> None:
    with cluster(tmp_path / "cluster", own_postgres) as the, working(the) as workers:
        (the.scripts / "soak.json").write_text(json.dumps({"soak": SCRIPT}))
        warm = Load(the.url)
        capacity = await warm.at_once(CAPACITY_AT_ONCE, CAPACITY_SECONDS)
        print(f"capacity: {capacity:.1f} runs a second", flush=True)
        load, trouble, samples = Load(the.url), Trouble(the, workers), Samples(the)
        load.asked = 1_000_000
        trouble.start()
        samples.start()
        copying = asyncio.create_task(_backup_under_load(the, tmp_path / "early.backup"))
        await load.at_rate(capacity * LOAD, MINUTES * 60)
        trouble.stop.set()
        samples.stop.set()
        await asyncio.to_thread(trouble.join, 120)
        early = await copying
        figures = told(the, capacity, warm, load, trouble, samples)
        figures["backup under load"] = early
        figures["backup"] = await asyncio.to_thread(backup_and_restore, own_postgres, tmp_path / "last.backup")
        write(figures)
        assert trouble.problem is None, trouble.problem
        check(the, warm, load, trouble, figures)


async def _backup_under_load(the: Cluster, path: Path) -> Json:
    """A backup while everything goes on; what is in it is checked after its restoration."""
    await asyncio.sleep(FAULT_SECONDS / 4)
    began = time.monotonic()
    await asyncio.to_thread(backup.backup, the.database.url, path)
    took = time.monotonic() - began
    return {"seconds": round(took, 1), **await asyncio.to_thread(restored, the.database, path)}


def backup_and_restore(database: Postgres, path: Path) -> Json:
    """Everything once more, at rest: restored it is equal, row for row, to what there is."""
    began = time.monotonic()
    backup.backup(database.url, path)
    return {"seconds": round(time.monotonic() - began, 1), **restored(database, path)}


def restored(database: Postgres, path: Path) -> Json:
    """Restore into an empty database, which compares it with what the backup says of each table, and fold its logs."""
    with fresh_database(database.url) as url:
        backup.restore(path, url)
        opened = Database(url)
        try:
            with opened.reading.connect() as connection:
                wrong = [each for each in integrity.check(connection) if each.problems]
                rows = connection.exec_driver_sql("select count(*) from events").scalar()
        finally:
            opened.close()
    return {"events": rows, "problems": [str(each) for each in wrong], "bytes": path.stat().st_size}


def told(the: Cluster, capacity: float, warm: Load, load: Load, trouble: Trouble, samples: Samples) -> Json:
    effects = Counter(json.loads(line)["key"] for line in (the.folder / "ledger").read_text().splitlines())
    growth = {str(n): samples.growth(server.pid) for n, server in enumerate(the.servers)}
    seconds = sorted(load.seconds)
    return {
        "minutes": MINUTES,
        "cores": os.cpu_count(),
        "load of the machine": round(os.getloadavg()[2], 1),
        "CPU percent, median": statistics.median(samples.cpu or [0.0]),
        "capacity, runs a second": round(capacity, 1),
        "offered, runs a second": round(capacity * LOAD, 1),
        "runs": load.asked - 1_000_000,
        "ended": dict(load.ended),
        "runs under way, most": load.most_open,
        "durable steps": sum(load.ended.values()) * 5,
        "a run, seconds: p50 p95 p99": [round(seconds[len(seconds) * p // 100], 2) for p in (50, 95, 99)],
        "faults": dict(Counter(name for name, _, _ in trouble.times)),
        "seconds until all were ready again, longest": round(max((b - a for _, a, b in trouble.times), default=0), 1),
        "errors seen by the client": len(load.errors),
        "errors by no fault": [text for at, text in load.errors if not trouble.explains(at)][:20],
        "effects": len(effects),
        "effects had twice": sum(1 for count in effects.values() if count > 1),
        "workers killed": trouble.killed_workers,
        "memory, MB an hour": growth,
        "memory at the end, MB": [round(server.rss_mb()) for server in the.servers],
        "runs of both": warm.ended.total() + load.ended.total(),
    }


def check(the: Cluster, warm: Load, load: Load, trouble: Trouble, figures: Json) -> None:
    with psycopg.connect(the.database.url.replace("+psycopg", "", 1)) as connection:
        statuses = dict(connection.execute("select status, count(*) from executions group by status").fetchall())
        left = connection.execute("select count(*) from tasks").fetchone()
    total = warm.asked + figures["runs"]
    assert statuses == {"COMPLETED": total}, "a run was lost, doubled or failed"
    assert left == (0,)
    assert figures["effects"] == total * CALLS
    assert figures["errors by no fault"] == []
    if not trouble.killed_workers:
        assert figures["effects had twice"] == 0
    assert figures["backup under load"]["problems"] == figures["backup"]["problems"] == []
    slopes = [each for each in figures["memory, MB an hour"].values() if each is not None]
    if MINUTES >= 15:
        assert slopes
        assert min(slopes) < MOST_GROWTH_MB_PER_HOUR


def write(figures: Json) -> None:
    """As JSON, and as the table that docs/scale.md shows."""
    RESULTS.mkdir(exist_ok=True)
    figures = {"at": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "python": sys.version.split()[0], **figures}
    (RESULTS / "soak.json").write_text(json.dumps(figures, indent=1) + "\n")
    rows = "".join(
        f"| {name} | {json.dumps(value) if isinstance(value, (dict, list)) else value} |\n"
        for name, value in figures.items()
    )
    (RESULTS / "soak.md").write_text(f"| figure | value |\n|---|---|\n{rows}")
    print(json.dumps(figures, indent=1))
