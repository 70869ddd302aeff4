"""Lists of runs: every filter finds what it should, page after page, and by an index."""

import random
from collections.abc import Iterable
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa

from agentspan.engine.engine import Engine
from agentspan.errors import BadInput
from agentspan.store import listing, tables
from agentspan.store.views import Listed, Wanted
from tests.engine.house import agent, calls, ended, script, start, team, tool, until
from tests.store.test_queue import explain

RUNS = 1_000
STATUS = ("COMPLETED", "RUNNING", "FAILED")
NOW = 1_900_000_000_000


def tree(n: int) -> str:
    return f"00000000-0000-7000-8000-{n:012}"


async def fill(engine: Engine, count: int = RUNS) -> list[dict[str, Any]]:
    """So many runs, several of which began in the same millisecond, each with a sub-agent."""
    executions = [
        {
            "tree": tree(n), "number": number, "agent": f"a{n % 7}" if not number else "below",
            "status": (status := STATUS[n % 3]), "started_at": NOW - n // 3, "run": b"{}",
            "updated_at": NOW - n // 3 + n % 50, "ended_at": 0 if status == "RUNNING" else NOW - n // 3 + n % 50,
            "finish_reason": "" if status == "RUNNING" else ("stop", "length", "error")[n % 4 % 3],
            "reason": f"problem {n}" if status == "FAILED" else "", "session_id": f"s{n % 11}" if n % 2 else "",
            "preview": f"Question {n}", "cost": n / 1000 if number else 0.0, "model": f"m{n % 3}",
        }
        for n in range(count)
        for number in (0, 4)
    ]  # fmt: skip
    trees = [{"tree": tree(n), "spec": "x", "version": n % 5 + 1} for n in range(count)]
    with engine.database.writing.begin() as connection:
        connection.execute(sa.insert(tables.trees), trees)
        connection.execute(sa.insert(tables.executions), executions)
    if not engine.database.is_sqlite:
        with engine.database.writing.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.text("analyze"))
    return [each for each in executions if not each["number"]]


async def walk(engine: Engine, wanted: Wanted, size: int = 90, **options: Any) -> list[Listed]:
    """All pages, put together."""
    found: list[Listed] = []
    cursor = ""
    while True:
        page = await engine.reads.page(wanted, size=size, cursor=cursor, **options)
        found += page.runs
        cursor = page.cursor
        if not cursor:
            return found


def ids(runs: Iterable[Listed]) -> list[str]:
    return [each.row.execution_id for each in runs]


FILTERS: dict[str, tuple[Wanted, Any]] = {
    "nothing": (Wanted(), lambda row: True),
    "status": (Wanted(status=("FAILED",)), lambda row: row["status"] == "FAILED"),
    "two statuses": (Wanted(status=("FAILED", "RUNNING")), lambda row: row["status"] != "COMPLETED"),
    "agent": (Wanted(agent=("a3",)), lambda row: row["agent"] == "a3"),
    "agents": (Wanted(agent=("a3", "a5")), lambda row: row["agent"] in ("a3", "a5")),
    "model": (Wanted(model=("m1",)), lambda row: row["model"] == "m1"),
    "finish": (Wanted(finish_reason=("length",)), lambda row: row["finish_reason"] == "length"),
    "session": (Wanted(session_id="s3"), lambda row: row["session_id"] == "s3"),
    "version": (Wanted(version=4), lambda row: int(row["tree"][-3:]) % 5 == 3),
    "cost": (Wanted(min_cost=0.9), lambda row: int(row["tree"][-3:]) >= 900),
    "time": (
        Wanted(since=NOW - 200, until=NOW - 100),
        lambda row: NOW - 200 <= row["started_at"] < NOW - 100,
    ),
    "text": (Wanted(text="QUESTION 77"), lambda row: "Question 77" in row["preview"]),
    "reason": (Wanted(text="problem 5"), lambda row: "problem 5" in row["reason"]),
    "id": (Wanted(text=tree(321)), lambda row: row["tree"] == tree(321)),
    "all together": (
        Wanted(status=("FAILED", "COMPLETED"), agent=("a1", "a2"), model=("m2",), since=NOW - 300, text="question"),
        lambda row: row["status"] != "RUNNING" and row["agent"] in ("a1", "a2") and row["model"] == "m2"
        and row["started_at"] >= NOW - 300,
    ),
}  # fmt: skip
SORTS: dict[str, Any] = {
    "started": lambda row: (row["started_at"], row["tree"]),
    "ended": lambda row: (row["ended_at"], row["tree"]),
    "updated": lambda row: (row["updated_at"], row["tree"]),
}


async def test_each_filter_finds_what_it_should_in_every_order(engine: Engine) -> None:
    rows = await fill(engine)
    for name, (wanted, fits) in FILTERS.items():
        for sort, key in SORTS.items():
            for newest_first in (True, False):
                expected = [row["tree"] for row in sorted(rows, key=key, reverse=newest_first) if fits(row)]
                found = await walk(engine, wanted, sort=sort, newest_first=newest_first)
                assert expected
                assert ids(found) == expected, (name, sort, newest_first)


async def test_a_page_ends_where_the_next_one_begins_while_runs_come_and_go(engine: Engine) -> None:
    rows = await fill(engine)
    first = await engine.reads.page(Wanted(), size=100)
    await start(engine, agent(script("late")))
    second = await engine.reads.page(Wanted(), size=100, cursor=first.cursor)
    expected = sorted(rows, key=SORTS["started"], reverse=True)[:200]
    assert ids([*first.runs, *second.runs]) == [row["tree"] for row in expected]


async def test_a_search_that_finds_little_stops_and_says_where_to_go_on(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(engine)
    monkeypatch.setattr(listing, "CHUNKS", (10, 90))
    page = await engine.reads.page(Wanted(text="Question 501"), size=5)
    assert (page.runs, bool(page.cursor)) == ([], True)
    assert ids(await walk(engine, Wanted(text="Question 501"), size=5)) == [tree(501)]


async def test_runs_are_counted_up_to_a_limit(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(engine)
    page = await engine.reads.page(Wanted(agent=("a1",)), count=True, size=1)
    assert (page.total, page.capped) == (143, False)
    monkeypatch.setattr(listing, "COUNTED", 100)
    page = await engine.reads.page(Wanted(agent=("a1",)), count=True, size=1)
    assert (page.total, page.capped) == (100, True)
    assert (await engine.reads.page(Wanted(), size=1)).total == -1


async def test_a_row_has_the_cost_of_its_whole_tree(engine: Engine) -> None:
    await fill(engine, 20)
    [found] = (await engine.reads.page(Wanted(text=tree(7)))).runs
    assert (found.row.cost, found.row.model, found.row.version, found.preview) == (0.007, "m1", 3, "Question 7")


@pytest.mark.parametrize("cursor", ["x", "s1:x:y", "s1:5:", "s0:5:abc", "e1:5:abc", "s1:5:a\x00b"])
async def test_a_cursor_that_was_never_given_is_refused(engine: Engine, cursor: str) -> None:
    with pytest.raises(BadInput, match="nextCursor"):
        await engine.reads.page(Wanted(), cursor=cursor)


async def test_facets_count_the_values_under_the_same_filters(engine: Engine) -> None:
    rows = await fill(engine)
    found = await engine.reads.facets(Wanted(status=("FAILED",)))
    failed = [row for row in rows if row["status"] == "FAILED"]
    assert found.status == {"FAILED": len(failed)}
    assert found.agent_name == {f"a{n}": sum(row["agent"] == f"a{n}" for row in failed) for n in range(7)}
    assert sum(found.model.values()) == len(failed)
    assert found.waiting == {"person": 0, "worker": 0}
    assert not found.capped
    assert set((await engine.reads.facets(Wanted())).finish_reason) == {"stop", "length", "error"}


async def test_the_newest_runs_are_counted_where_there_are_many(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(engine)
    monkeypatch.setattr(listing, "COUNTED", 60)
    found = await engine.reads.facets(Wanted())
    assert found.capped
    assert found.status == dict.fromkeys(STATUS, 20)


async def test_what_waits_for_a_person_or_for_a_worker_is_found(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "FRESH_MS", 0)
    asking = await start(engine, agent(script(calls("pay")), tool("pay", approval_required=True)))
    alone = await start(engine, team("crew", "sequential", agent(script(calls("nobody")), "nobody", name="deep")))
    done = await start(engine, agent(script("done")))
    await ended(engine, done)

    async def both() -> bool:
        words = {each.row.execution_id: each.waiting for each in (await engine.reads.page(Wanted())).runs}
        return words == {asking: "person", alone: "worker", done: ""}

    await until(both)
    assert ids(await walk(engine, Wanted(waiting="person"))) == [asking]
    assert ids(await walk(engine, Wanted(waiting="worker"))) == [alone]
    assert await walk(engine, Wanted(waiting="worker", agent=("helper",))) == []
    assert (await engine.reads.facets(Wanted())).waiting == {"person": 1, "worker": 1}
    assert (await engine.reads.facets(Wanted(agent=("crew",)))).waiting == {"person": 0, "worker": 1}


async def test_pages_are_read_by_their_indices(engine: Engine) -> None:
    await fill(engine, 5_000)
    rng = random.Random(1)
    place = NOW - rng.randrange(1_000), tree(rng.randrange(5_000))
    for name, (wanted, index) in INDICES.items():
        for order in (listing.Order(), listing.Order(newest_first=False)):
            for at in (None, place):
                asked = listing.Asked(wanted, order)
                statement = await engine.reads.query(partial(listing.candidates, asked=asked, place=at, count=51))
                plan = await explain(engine, statement, {})
                # PostgreSQL knows how many rows fit, and may find the index of the order the shorter way.
                knows = "Index Only Scan using ix_executions_started_at" in plan and not engine.database.is_sqlite
                assert index in plan or knows, (name, plan)
                assert "Seq Scan" not in plan, (name, plan)
                assert "TEMP B-TREE" not in plan, (name, plan)
    for by, index in (("ended", "ix_executions_ended"), ("updated", "ix_executions_ended")):
        asked = listing.Asked(Wanted(), listing.Order(by))
        statement = await engine.reads.query(partial(listing.candidates, asked=asked, place=place, count=51))
        plan = await explain(engine, statement, {})
        assert index in plan, plan


INDICES = {
    "the default page": (Wanted(), "ix_executions_started_at"),
    "since": (Wanted(since=5), "ix_executions_started_at"),
    "until": (Wanted(until=NOW - 7), "ix_executions_started_at"),
    "status": (Wanted(status=("FAILED",)), "ix_executions_status"),
    "agent": (Wanted(agent=("a3",)), "ix_executions_agent"),
    "model": (Wanted(model=("m1",)), "ix_executions_model"),
    "finish reason": (Wanted(finish_reason=("stop",)), "ix_executions_finish"),
    "session": (Wanted(session_id="s3"), "ix_executions_session"),
    "version": (Wanted(version=3), "ix_executions_started_at"),
    "cost": (Wanted(min_cost=3.0), "ix_executions_started_at"),
    "text": (Wanted(text="x"), "ix_executions_started_at"),
}
