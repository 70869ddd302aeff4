"""What a turn costs as the database, a run and a tree grow."""

import contextlib
import sqlite3
import time
from pathlib import Path

import psycopg

from benchmarks.contest import Contestant, Ours, Round, intervals, ours, rounds
from benchmarks.plan import Plan
from benchmarks.report import Figure, Report, percentile, ratios
from benchmarks.server import Database, Machine, Postgresql, Sqlite
from benchmarks.work import CHILD, CHILDREN, LONG, LONG_TURNS, PARENT, PLAIN

SAMPLES = 10
AT_ONCE = 8
EDGE = LONG_TURNS // 10
TIMES = ("started_at", "updated_at", "ended_at", "created_at")


def measure(where: Machine, plan: Plan, report: Report) -> None:
    report.begin("Growth")
    for kind in where.kinds:
        database_grows(where, kind, plan, report)
        run_grows(where, kind, plan, report)
        tree_grows(where, kind, plan, report)


def database_grows(where: Machine, kind: str, plan: Plan, report: Report) -> None:
    """The same runs on databases with more and more finished executions in them, in turns."""
    with contextlib.ExitStack() as stack:
        contestants: list[Contestant] = []
        for size in plan.sizes:
            database = where.database(kind)
            seconds = fill(where, database, size)
            report.add(Figure(f"{kind}, {size:,} finished executions: filled in", [seconds], "s"))
            player = Ours(stack.enter_context(where.server(database)), plan.worker)
            stack.callback(player.close)
            player.name = f"{kind}, {size:,} finished executions: "
            player.play(AT_ONCE, plan.seconds / 3)
            contestants.append(player)
        played = rounds(contestants, AT_ONCE, plan.rounds, plan.seconds)
        first, last = contestants[0].name, contestants[-1].name
        for name, found in played.items():
            report.add(
                Figure(name + "a turn, p50", turns(found), "ms"),
                Figure(name + "server CPU per step", [each.cpu_ms for each in found], "ms"),
            )
        report.add(
            ratios(
                f"{kind}, a turn in the largest / in the smallest", turns(played[last]), turns(played[first]), most=1.1
            ),
            ratios(
                f"{kind}, CPU in the largest / in the smallest",
                [each.cpu_ms for each in played[last]],
                [each.cpu_ms for each in played[first]],
                most=1.1,
            ),
        )


def run_grows(where: Machine, kind: str, plan: Plan, report: Report) -> None:
    """One run of a thousand turns: its first tenth and its last."""
    starts, ends, sizes = list[float](), list[float](), list[float]()
    for _ in range(plan.rounds if not plan.quick else 1):
        with ours(where, kind, plan.worker) as player:
            player.worker.ask(forget=True)
            player.client.ask(do="load", agent=LONG, at_once=1, seconds=0.001)
            found = intervals(player.worker.ask(forget=True))
            starts.append(percentile(found[5:EDGE], 50) * 1000)
            ends.append(percentile(found[-EDGE:], 50) * 1000)
            early, late = halves(player.server.database)
            sizes.append(late / early)
    name = f"{kind}, a run of {LONG_TURNS:,} turns: "
    report.add(
        Figure(name + f"a turn, p50 of the first {EDGE}", starts, "ms"),
        Figure(name + f"a turn, p50 of the last {EDGE}", ends, "ms"),
        ratios(name + "last / first", ends, starts, most=1.3),
        Figure(name + "bytes of the log, second half / first", sizes, "x", most=1.1),
    )


def tree_grows(where: Machine, kind: str, plan: Plan, report: Report) -> None:
    """A hundred children of one agent against a hundred runs of their own."""
    together, apart = list[float](), list[float]()
    with ours(where, kind, plan.worker) as player:
        for _ in range(plan.rounds):
            together.append(player.client.ask(do="load", agent=PARENT, at_once=1, seconds=0.001)["seconds"])
            apart.append(player.client.ask(do="load", agent=CHILD, at_once=CHILDREN, seconds=0.001)["seconds"])
    report.add(
        Figure(f"{kind}, {CHILDREN} children of one run", together, "s"),
        Figure(f"{kind}, {CHILDREN} runs", apart, "s"),
        ratios(f"{kind}, children / runs", together, apart, most=3),
    )


def fill(where: Machine, database: Database, size: int) -> float:
    """Some real runs, then copies of one of them until there are so many; the seconds that took."""
    with where.server(database) as server:
        player = Ours(server, "raw")
        player.client.ask(do="load", agent=PLAIN, at_once=min(size, SAMPLES), seconds=0.001)
        player.close()
    begun = time.perf_counter()
    if size > SAMPLES:
        copy(database, size - SAMPLES)
    return time.perf_counter() - begun


def copy(database: Database, count: int) -> None:
    """Copies of the first tree's rows under ids that were never given, each a little older than the last."""
    if isinstance(database, Sqlite):
        with contextlib.closing(sqlite3.connect(database.path)) as connection:
            connection.execute("pragma synchronous = off")
            sample = connection.execute("select min(tree) from trees").fetchone()[0]
            for table, columns in _columns(connection).items():
                numbers = f"with recursive n(i) as (select 1 union all select i + 1 from n where i < {count})"
                ids = "printf('00000000-0000-7000-8000-%012d', n.i)"
                connection.execute(f"{numbers} {_insert(table, columns, ids)} cross join n", {"sample": sample})
            connection.commit()
            connection.execute("analyze")
            connection.execute("pragma wal_checkpoint(truncate)")
    elif isinstance(database, Postgresql):
        with psycopg.connect(database.plain_url, autocommit=True) as session:
            row = session.execute("select min(tree) from trees").fetchone()
            assert row is not None
            found = session.execute(
                "select table_name, array_agg(column_name::text) from information_schema.columns"
                " where table_name in ('trees', 'executions', 'events', 'spending') group by 1"
            ).fetchall()
            for table, columns in found:
                ids = "'00000000-0000-7000-8000-' || lpad(n.i::text, 12, '0')"
                statement = f"{_insert(table, columns, ids)} cross join generate_series(1, {count}) n(i)"
                session.execute(statement.replace(":sample", "%(sample)s"), {"sample": row[0]})
            session.execute("vacuum analyze")
            session.execute("checkpoint")


def _insert(table: str, columns: list[str], ids: str) -> str:
    values = [ids if name == "tree" else f"s.{name} - n.i" if name in TIMES else f"s.{name}" for name in columns]
    source = f"(select * from {table} where tree = :sample) s"
    return f"insert into {table} ({', '.join(columns)}) select {', '.join(values)} from {source}"


def _columns(connection: sqlite3.Connection) -> dict[str, list[str]]:
    return {
        table: [row[1] for row in connection.execute(f"pragma table_info({table})")]
        for table in ("trees", "executions", "events", "spending")
    }


def halves(database: Database) -> tuple[float, float]:
    """Bytes of the first and of the second half of the longest log."""
    statement = (
        "select sum(case when seq <= top / 2 then length(data) else 0 end),"
        " sum(case when seq > top / 2 then length(data) else 0 end)"
        " from events join (select tree as longest, max(seq) as top from events group by tree"
        " order by top desc limit 1) as x on tree = longest"
    )
    if isinstance(database, Postgresql):
        with psycopg.connect(database.plain_url) as session:
            row = session.execute(statement).fetchone()
    else:
        assert isinstance(database, Sqlite)
        with contextlib.closing(sqlite3.connect(Path(database.path))) as connection:
            row = connection.execute(statement).fetchone()
    assert row is not None
    return float(row[0]), float(row[1])


def turns(found: list[Round]) -> list[float]:
    return [percentile(each.turns, 50) * 1000 for each in found]
