"""What the machine itself can do: disk, databases, HTTP. Everything else stands in proportion to this."""

import asyncio
import contextlib
import os
import sqlite3
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psycopg

from benchmarks.children import Child
from benchmarks.lanes import in_tasks, in_threads
from benchmarks.plan import Plan
from benchmarks.report import Figure, Report
from benchmarks.server import Machine, Postgresql
from benchmarks.wire import Connection

BLOCK = b"\0" * 8192
ROW = b"x" * 300
CREATE = "create table t (id integer, data {kind})"


def measure(where: Machine, plan: Plan, report: Report) -> None:
    report.begin("Limits of the machine")
    seconds = plan.seconds / 3
    measures: dict[str, Callable[[], float]] = {
        "disk: fdatasync of 8 KB": lambda: fsyncs(where.folder(), seconds),
        "SQLite FULL: a row and a commit": lambda: sqlite_commits(where.folder(), seconds),
        "HTTP: raw Tornado, POST of JSON, 8 connections": lambda: tornado(8, seconds),
    }
    if "PostgreSQL" in where.kinds:
        for clients in (1, 8, 32):
            name = f"PostgreSQL: a row and a commit, {clients} at once"
            measures[name] = partial(postgres_commits, where, clients, seconds)
    found: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(plan.rounds):
        for name, run in measures.items():
            found[name].append(run())
    report.add(*(Figure(name, values, "/s") for name, values in found.items()))


def fsyncs(folder: Path, seconds: float) -> float:
    file = os.open(folder / "file", os.O_CREAT | os.O_WRONLY)
    try:
        os.pwrite(file, BLOCK, 0)

        def once() -> None:
            os.pwrite(file, BLOCK, 0)
            os.fdatasync(file)

        return _rate(once, seconds)
    finally:
        os.close(file)


def sqlite_commits(folder: Path, seconds: float) -> float:
    with contextlib.closing(sqlite3.connect(folder / "raw.db", isolation_level=None)) as connection:
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = full")
        connection.execute(CREATE.format(kind="blob"))
        return _rate(lambda: connection.execute("insert into t values (1, ?)", (ROW,)), seconds)


def postgres_commits(where: Machine, clients: int, seconds: float) -> float:
    database = where.database("PostgreSQL")
    assert isinstance(database, Postgresql)
    with contextlib.ExitStack() as stack:
        open_ = [stack.enter_context(psycopg.connect(database.plain_url, autocommit=True)) for _ in range(clients)]
        open_[0].execute(CREATE.format(kind="bytea"))

        def once() -> None:
            connection = open_.pop()
            connection.execute("insert into t values (1, %s)", (ROW,))
            open_.append(connection)

        outcome = in_threads(once, clients, seconds)
        return len(outcome["latencies"]) / float(outcome["seconds"])


def tornado(connections: int, seconds: float) -> float:
    """Requests a second of a handler that does nothing but decode and encode."""
    child = Child("tornado_child")
    url = f"http://127.0.0.1:{child.ask()['port']}"
    try:
        return asyncio.run(_requests(url, connections, seconds))
    finally:
        child.close()


async def _requests(url: str, connections: int, seconds: float) -> float:
    open_ = [Connection(url) for _ in range(connections)]
    body = {"taskId": "0" * 36, "status": "COMPLETED", "outputData": {"result": 3}}
    runs = [partial(each.post, "/", body) for each in open_]
    await in_tasks(runs, 0.1)
    outcome = await in_tasks(runs, seconds)
    return len(outcome["latencies"]) / float(outcome["seconds"])


def _rate(once: Callable[[], object], seconds: float) -> float:
    begun, count = time.perf_counter(), 0
    while (now := time.perf_counter()) < begun + seconds:
        once()
        count += 1
    return count / (now - begun)
