"""How long the dashboard's reads take on a large database: pages of runs, values, sums.

`python -m benchmarks.listing [--runs 1000000] [--postgresql]`
"""

import argparse
import asyncio
import contextlib
import random
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import psycopg
import sqlalchemy as sa

from agentspan.clock import now_ms
from agentspan.store.database import Database
from agentspan.store.reads import Reads
from agentspan.store.views import Wanted
from benchmarks.report import Figure, Report, percentile
from tests import postgres

SAMPLES = 40
MOST_SECONDS = 10
PAGE_MS = 50
DAY_MS = 86_400_000
STATUS = ("COMPLETED",) * 95 + ("FAILED",) * 4 + ("TERMINATED",)

Question = Callable[[int], Awaitable[object]]


def measure(url: str, runs: int, report: Report, kind: str) -> None:
    report.begin(f"Lists, {kind}, {runs:,} runs over 30 days")
    database = Database(url)
    database.open()
    begun = time.perf_counter()
    now = now_ms()
    if database.is_sqlite:
        fill_sqlite(str(database.path), runs, now)
    else:
        fill_postgres(url, runs, now)
    report.add(Figure("filled in", [time.perf_counter() - begun], "s"))
    reads = Reads(database, 4, lambda want: 0)
    for name, (ask, most) in questions(reads, runs, now).items():
        times = asyncio.run(timed(ask))
        report.add(
            Figure(f"{name}, p50", [percentile(times, 50) * 1000], "ms"),
            Figure(f"{name}, p95", [percentile(times, 95) * 1000], "ms", most=most),
        )
    reads.close()
    database.close()


async def timed(ask: Question) -> list[float]:
    """The seconds of SAMPLES answers, or of as many as come in MOST_SECONDS, after one that warms up."""
    await ask(0)
    times: list[float] = []
    for n in range(SAMPLES):
        if sum(times) > MOST_SECONDS:
            break
        begun = time.perf_counter()
        await ask(n)
        times.append(time.perf_counter() - begun)
    return times


def questions(reads: Reads, runs: int, now: int) -> dict[str, tuple[Question, float | None]]:
    """What is asked, each with the most milliseconds that it may take."""
    rng = random.Random(4)
    deep = [f"s1:{now - rng.randrange(30 * DAY_MS)}:{tree(rng.randrange(runs))}" for _ in range(SAMPLES)]
    failed, rare = Wanted(status=("FAILED",)), Wanted(status=("FAILED",), agent=("agent-7",), model=("model-2",))
    day = now - DAY_MS
    return {
        "the default page": (lambda n: reads.page(Wanted(), size=50), PAGE_MS),
        "the default page, counted": (lambda n: reads.page(Wanted(), size=50, count=True), PAGE_MS),
        "a filtered page": (lambda n: reads.page(failed, size=50), PAGE_MS),
        "a page by three filters": (lambda n: reads.page(rare, size=50), PAGE_MS),
        "a page of two statuses": (
            lambda n: reads.page(Wanted(status=("FAILED", "TERMINATED")), size=50), PAGE_MS,
        ),
        "a page by the end": (lambda n: reads.page(Wanted(), size=50, sort="ended"), PAGE_MS),
        "a page by the last change": (lambda n: reads.page(Wanted(), size=50, sort="updated"), PAGE_MS),
        "a deep cursor": (lambda n: reads.page(Wanted(), size=50, cursor=deep[n]), PAGE_MS),
        "a text that is nowhere": (lambda n: reads.page(Wanted(text="no such words"), size=50), None),
        "values": (lambda n: reads.facets(Wanted()), None),
        "values of what failed": (lambda n: reads.facets(failed), None),
        "sums of a day": (lambda n: reads.statistics(day, now, 60), None),
        "sums of 30 days": (lambda n: reads.statistics(now - 30 * DAY_MS, now, 60), None),
        "costs of a day by model": (lambda n: reads.costs("model", day, now), None),
        "costs of 30 days by agent": (lambda n: reads.costs("agent", now - 30 * DAY_MS, now), None),
    }  # fmt: skip


def tree(n: int) -> str:
    return f"00000000-0000-7000-8000-{n:012}"


def rows(runs: int, now: int) -> Iterator[tuple[tuple[object, ...], tuple[object, ...], tuple[object, ...]]]:
    """A tree, an execution and what it spent, for each run, the oldest first. A snapshot takes a kilobyte."""
    rng, snapshot, length = random.Random(7), b'{"x":"' + b"x" * 1000 + b'"}', 30 * DAY_MS
    for n in range(runs):
        started = now - length + int(length * n / runs)
        status, agent, model = rng.choice(STATUS), f"agent-{n % 20}", f"model-{n % 3}"
        ended = started + rng.randrange(500, 90_000)
        reason = f"the provider answered {rng.randrange(400, 420)}" if status == "FAILED" else ""
        finish = "stop" if status == "COMPLETED" else "error"
        yield (
            (tree(n), 12, "spec", started),
            (
                tree(n), 0, agent, status, started, ended, ended, finish, reason, f"Question {n} of a customer",
                1200, 90, 0.004, 3, model, snapshot,
            ),
            (tree(n), 0, model, started // 3_600_000, agent, agent, started, 2, 1200, 90, 0.004),
        )  # fmt: skip


TABLES = {
    "trees": "tree seq spec created_at",
    "executions": "tree number agent status started_at updated_at ended_at finish_reason reason preview prompt_tokens"
    " completion_tokens cost turns model run",
    "spending": "tree execution model hour agent root_agent at calls prompt_tokens completion_tokens cost",
}


def fill_sqlite(path: str, runs: int, now: int) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma synchronous = off")
        places = {name: ", ".join("?" * len(columns.split())) for name, columns in TABLES.items()}
        statements = [
            f"insert into {name} ({', '.join(columns.split())}) values ({places[name]})"
            for name, columns in TABLES.items()
        ]
        for row in rows(runs, now):
            for statement, values in zip(statements, row, strict=True):
                connection.execute(statement, values)
        connection.commit()


def fill_postgres(url: str, runs: int, now: int) -> None:
    plain = sa.make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as session:
        for place, (name, columns) in enumerate(TABLES.items()):
            with session.cursor().copy(f"copy {name} ({', '.join(columns.split())}) from stdin") as copy:
                for row in rows(runs, now):
                    copy.write_row(row[place])
        session.execute("vacuum analyze")


def main() -> None:
    asked = argparse.ArgumentParser(prog="python -m benchmarks.listing", description=__doc__)
    asked.add_argument("--runs", type=int, default=1_000_000)
    asked.add_argument("--postgresql", action="store_true", help="there instead of on SQLite")
    given = asked.parse_args()
    report = Report()
    if given.postgresql:
        with contextlib.contextmanager(postgres.shared_url)() as server, postgres.fresh_database(server) as url:
            measure(url, given.runs, report, "PostgreSQL")
        return
    with tempfile.TemporaryDirectory() as folder:
        measure(f"sqlite:///{Path(folder) / 'agentspan.db'}", given.runs, report, "SQLite")


if __name__ == "__main__":
    main()
