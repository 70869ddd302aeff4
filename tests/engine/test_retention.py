"""Runs that were kept for long enough go, whole and in small steps; everything else stays."""

import contextlib
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import Connection

from agentspan.config import ENDED, Rule, rules
from agentspan.engine import retention as engine_retention
from agentspan.engine.engine import Engine
from agentspan.engine.retention import Judge, Remove, Retention
from agentspan.errors import NotFound
from agentspan.store import bulk, copying, integrity, retention
from agentspan.store import tables as t
from agentspan.store.retention import Old
from tests.engine import house
from tests.engine.house import agent, calls, script, team

DAY_MS = 86_400_000
ANY = rules("* age=0s")


@pytest.fixture
def own_time(hands: house.Hands, monkeypatch: pytest.MonkeyPatch) -> house.Hands:
    """A clock that a test moves, and no pauses."""
    monkeypatch.setattr(engine_retention, "PAUSE_SECONDS", 0)
    return hands


def rows(connection: Connection, *tables: sa.Table) -> dict[str, int]:
    return {
        table.name: connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
        for table in tables or copying.TABLES
    }


def trees(connection: Connection, table: sa.Table) -> set[str]:
    return set(connection.execute(sa.select(table.c.tree)).scalars())


async def sound(engine: Engine) -> None:
    found = await engine.reads.query(lambda c: integrity.check(c, full=True))
    assert [each for each in found if each.wrong] == []


async def there(engine: Engine, execution: str) -> bool:
    try:
        await engine.reads.row(execution)
    except NotFound:
        return False
    return True


async def run(engine: Engine, name: str = "helper", **options: Any) -> str:
    """A run that has completed."""
    execution = await house.start(engine, agent(script(*[f"I am {name}."] * 9), name=name), **options)
    await house.ended(engine, execution)
    return execution


async def some_of_each(engine: Engine) -> dict[str, str]:
    """A run of each status, and one that waits for a person and one for a worker."""
    found = {"COMPLETED": await run(engine, idempotency_key="k")}
    made = team("pair", "sequential", agent(script("x" * 900), name="a"), agent(script("Two."), name="b"))
    found["team"] = await house.start(engine, made)
    await house.ended(engine, found["team"])
    waits = agent(script(calls("look"), "ok"), "look", name="waits")
    for status in ("TERMINATED", "PAUSED", "RUNNING", "FAILED"):
        found[status] = await house.start(engine, waits)
    await engine.cancel(found["TERMINATED"])
    await engine.pause(found["PAUSED"])
    for _ in range(2):
        task = await house.take(engine, "look")
        if task.execution_id == found["FAILED"]:
            await house.fail(engine, task, status="FAILED_WITH_TERMINAL_ERROR")
    asks = agent(script(calls("pay"), "ok"), house.tool("pay", approval_required=True), name="asks")
    found["asks"] = await house.start(engine, asks)
    await house.requests(engine, found["asks"], 1)
    await engine.log(f"{found['COMPLETED']}.t2", ["a line"])
    return found


async def test_ended_runs_go_whole_and_the_others_stay(
    database_url: str, tmp_path: Path, own_time: house.Hands
) -> None:
    async with house.opened(database_url, tmp_path, blob_bytes=300) as engine:
        made = await some_of_each(engine)
        before = {name: (await engine.reads.row(each)).status for name, each in made.items()}
        live = [name for name, status in before.items() if status in ("RUNNING", "PAUSED")]
        assert set(live) >= {"RUNNING", "PAUSED", "asks"}
        cost = await engine.reads.costs("agent", 0, int(own_time.at * 1000) + 1)
        assert (await engine.retention.sweep(ANY)).runs == 0, "nothing has ended before this moment"
        own_time.at += 1
        removed = await engine.retention.sweep(ANY, dry_run=True)
        assert (removed.runs, removed.rows) == (len(made) - len(live), 0)
        removed = await engine.retention.sweep(ANY)
        assert (removed.runs, removed.more) == (len(made) - len(live), False)
        assert {name for name, each in made.items() if await there(engine, each)} == set(live)
        kept = {made[name] for name in live}
        for table in (t.trees, t.executions, t.events, t.blobs, t.logs, t.decisions, t.starts):
            assert await engine.reads.query(partial(trees, table=table)) <= kept, table.name
        assert await engine.reads.query(lambda c: rows(c, t.removals)) == {"removals": 0}
        after = await engine.reads.costs("agent", 0, int(own_time.at * 1000) + 1)
        assert {row.key: (row.calls, row.cost) for row in after.rows} == {
            row.key: (row.calls, row.cost) for row in cost.rows
        }
        await sound(engine)
        assert (await engine.retention.sweep(ANY)).runs == 0
        again = await house.start(engine, agent(script("Again."), name="helper"), idempotency_key="k")
        assert again != made["COMPLETED"], "the key went with its run"
        await engine.resume(made["PAUSED"])
        assert all(await engine.reads.sizes())


async def test_the_first_rule_that_is_about_a_run_holds(engine: Engine, own_time: house.Hands) -> None:
    made = {name: await run(engine, name) for name in ("short", "long", "other")}
    own_time.at += 10 * 86_400
    kept = rules("completed agent=short age=1d; * agent=long age=30d; * age=5d")
    assert (await engine.retention.sweep(kept)).runs == 2
    assert [name for name, each in made.items() if await there(engine, each)] == ["long"]


async def test_only_so_many_runs_of_each_agent_are_kept(engine: Engine, own_time: house.Hands) -> None:
    made = []
    for _ in range(4):
        own_time.at += 1
        made.append((await run(engine, "a"), await run(engine, "b")))
    assert (await engine.retention.sweep(rules("* agent=a most=1; * most=3"), most=3)).more
    await engine.retention.sweep(rules("* agent=a most=1; * most=3"))
    assert [await there(engine, a) for a, _ in made] == [False, False, False, True]
    assert [await there(engine, b) for _, b in made] == [False, True, True, True]


async def test_what_the_next_run_of_a_session_is_told_of_stays(
    engine: Engine, own_time: house.Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "SESSION_RUNS", 2)
    made = []
    for _ in range(4):
        made.append(await run(engine, session_id="s"))
        own_time.at += 86_400
    assert (await engine.retention.sweep(rules("* age=2d"))).runs == 2
    assert [await there(engine, each) for each in made] == [False, False, True, True]
    said = await engine.reads.messages(await run(engine, session_id="s"))
    assert [each["content"] for each in said if each["role"] == "assistant"].count("I am helper.") == 3
    own_time.at += 10 * 86_400
    assert (await engine.retention.sweep(rules("* age=2d"))).runs == 3
    assert await engine.reads.query(lambda c: rows(c, t.sessions)) == {"sessions": 0}
    fresh = await engine.reads.messages(await run(engine, session_id="s"))
    assert [each["content"] for each in fresh if each["role"] == "assistant"] == ["I am helper."]


async def test_a_session_that_is_being_written_keeps_its_memory(engine: Engine, own_time: house.Hands) -> None:
    first = await run(engine, session_id="s")
    own_time.at += 10
    # The first answer of the script is the one that the session has already.
    waits = agent(script("", calls("look"), "ok"), "look", name="helper")
    second = await house.start(engine, waits, session_id="s")
    task = await house.take(engine, "look")
    own_time.at += 60
    assert (await engine.retention.sweep(ANY)).runs == 0
    assert await engine.writer.do(Remove(trees=[first])) == 0
    assert await there(engine, first)
    assert (await house.complete(engine, task)).landed
    await house.ended(engine, second)
    own_time.at += 10
    assert (await engine.retention.sweep(ANY)).runs == 2


async def test_a_fork_stands_alone_when_its_source_is_gone(engine: Engine, own_time: house.Hands) -> None:
    source = await run(engine, session_id="s")
    own_time.at += 86_400
    next_ = await run(engine, session_id="s")
    fork = await engine.fork(next_, 2)
    await house.ended(engine, fork)
    asked = await engine.reads.messages(fork)
    own_time.at += 10
    assert [await engine.writer.do(Remove(trees=[each])) for each in (source, next_)] == [0, 1]
    assert await engine.writer.do(Remove(trees=[source])) == 1
    assert (await engine.reads.execution(fork)).forked_from == next_
    assert [each["role"] for each in await engine.reads.messages(fork)] == [each["role"] for each in asked][2:]
    assert len((await engine.history.timeline(fork)).spans) > 0
    again = await engine.fork(fork, 2)
    assert (await house.ended(engine, again)).row.status == "COMPLETED"


async def test_a_run_that_goes_on_again_stays(engine: Engine, own_time: house.Hands) -> None:
    waits = agent(script(calls("look"), "ok"), "look")
    execution = await house.start(engine, waits)
    await engine.cancel(execution)
    own_time.at += 10
    await engine.retry(execution)
    assert await engine.writer.do(Remove(trees=[execution])) == 0
    assert await there(engine, execution)


async def test_each_transaction_deletes_few_rows_and_what_was_interrupted_is_finished(
    engine: Engine, own_time: house.Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_retention, "ROWS", 7)
    monkeypatch.setattr(engine_retention, "TREES", 2)
    made = [await run(engine) for _ in range(5)]
    own_time.at += 10
    assert await engine.writer.do(Remove(trees=made[:2])) == 2
    assert await engine.reads.query(lambda c: rows(c, t.removals)) == {"removals": 2}
    await sound(engine)
    steps: list[int] = []

    async def do(command: Any) -> Any:
        before = await engine.reads.query(rows)
        done = await engine.writer.do(command)
        after = await engine.reads.query(rows)
        steps.append(sum(max(0, before[name] - after[name]) for name in before if name != "spending"))
        return done

    removing = Retention(ANY, engine.reads.query, do)
    removed = await removing.sweep(ANY)
    assert removed.runs == 3
    assert 4 <= max(steps) <= 8
    assert len(steps) > 8
    assert await engine.reads.query(lambda c: rows(c, t.trees, t.executions, t.events, t.removals)) == {
        "trees": 0, "executions": 0, "events": 0, "removals": 0
    }  # fmt: skip


async def test_definitions_that_nobody_uses_go_after_a_day_and_come_back(engine: Engine, own_time: house.Hands) -> None:
    spec, kept = agent(script("One."), name="one"), agent(script("Two."), name="two")
    await house.ended(engine, await house.start(engine, spec))
    await engine.deploy(kept)
    own_time.at += 10
    removed = await engine.retention.sweep(ANY)
    assert (removed.runs, removed.specs) == (1, 0)
    own_time.at += 86_400
    assert (await engine.retention.sweep(ANY)).specs == 1
    assert await engine.reads.query(lambda c: rows(c, t.specs)) == {"specs": 1}
    assert await house.result(engine, await house.start(engine, spec)) == "One."
    await sound(engine)


async def test_a_file_becomes_smaller(sqlite_url: str, tmp_path: Path, own_time: house.Hands) -> None:
    async with house.opened(sqlite_url, tmp_path, blob_bytes=10_000_000) as engine:
        await house.ended(engine, await house.start(engine, agent(script("x" * 900_000))))
        own_time.at += 10
        before = await engine.reads.query(lambda c: c.exec_driver_sql("pragma page_count").scalar_one())
        assert (await engine.retention.sweep(ANY)).runs == 1
        after = await engine.reads.query(lambda c: c.exec_driver_sql("pragma page_count").scalar_one())
    assert after < before - 100


class Rows:
    """Ended and living runs as rows, and which are to go, worked out in another way than the one under test."""

    def __init__(self, made: list[tuple[str, str, int, int]]) -> None:
        self.all = [
            Old(f"{place:08}", agent, status, start, start + lasted if status in ENDED else 0, "")
            for place, (agent, status, start, lasted) in enumerate(made)
        ]

    async def query(self, work: Any) -> Any:
        return work(self)

    def gone(self, kept: tuple[Rule, ...], now: int) -> set[str]:
        found = set()
        for rule in kept:
            held = [
                each for each in self.all
                if each.status in ENDED and next((r for r in kept if r.fits(each.agent, each.status)), None) is rule
            ]  # fmt: skip
            for agent_ in {each.agent for each in held}:
                newest = sorted((x for x in held if x.agent == agent_), key=lambda x: (x.started_at, x.tree))[::-1]
                for rank, each in enumerate(newest):
                    if rule.most is not None and rank >= rule.most:
                        found.add(each.tree)
                    if rule.age_ms is not None and each.ended_at < now - rule.age_ms:
                        found.add(each.tree)
        return found


def insert(connection: Connection, made: list[Old]) -> None:
    bulk.insert(
        connection,
        t.executions,
        [
            {
                "tree": each.tree, "number": 0, "agent": each.agent, "status": each.status, "run": b"",
                "started_at": each.started_at, "ended_at": each.ended_at,
            }
            for each in made
        ],
    )  # fmt: skip


statuses = st.sampled_from([*ENDED, "RUNNING", "PAUSED"])
runs = st.lists(st.tuples(st.sampled_from("abc"), statuses, st.integers(1, 40), st.integers(0, 10)), max_size=25)
some_rules = st.lists(
    st.builds(
        Rule,
        st.lists(st.sampled_from(ENDED), max_size=2, unique=True).map(tuple),
        st.sampled_from(["", "", "a", "b"]),
        st.none() | st.integers(0, 30),
        st.none() | st.integers(0, 4),
    ).filter(lambda rule: rule.age_ms is not None or rule.most is not None),
    min_size=1, max_size=4, unique=True,
).map(tuple)  # fmt: skip


@given(runs, some_rules, st.integers(0, 60))
async def test_by_any_rules_exactly_the_old_ones_go_and_never_one_that_lives(
    made: list[tuple[str, str, int, int]], kept: tuple[Rule, ...], now: int
) -> None:
    house_ = Rows(made)
    with memory() as connection:
        insert(connection, house_.all) if house_.all else None

        async def query(work: Any) -> Any:
            return work(connection)

        judge = Judge(kept, query, now)
        page = retention.ended(connection, (0, ""), judge.before, 1000)
        going = [tree for each in page for tree in await judge.going(each)]
    assert len(going) == len(set(going))
    assert set(going) == {tree for tree in house_.gone(kept, now) if house_.all[int(tree)].ended_at < judge.before}
    assert all(house_.all[int(tree)].status in ENDED for tree in going)


@contextlib.contextmanager
def memory() -> Any:
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        t.executions.create(connection)
        yield connection
    engine.dispose()


async def test_several_servers_leave_it_to_one(postgres_url: str, tmp_path: Path) -> None:
    async with several(postgres_url, tmp_path) as engines:
        mine = [await each._is_first() for each in engines]
        assert mine.count(True) == 1
        assert engines[mine.index(True)].number == min(each.number for each in engines)


@contextlib.asynccontextmanager
async def several(url: str, folder: Path) -> AsyncIterator[list[Engine]]:
    async with house.opened(url, folder) as first, house.opened(url, folder) as second:
        yield [first, second]
