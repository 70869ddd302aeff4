"""What runs take in the database grows with their turns and their number, and no faster."""

import itertools
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from agentspan.store import sizes
from agentspan.store import tables as t
from tests.engine import house
from tests.engine.house import agent, calls, script
from tests.sizes import size, sized

TURNS = size(100, 1_000)
RUNS = size(60, 1_000)
PAGES_BYTES = 120_000
"""A page more or less in each table and index."""


def halves(connection: Connection, tree: str) -> tuple[int, int, int]:
    """Bytes of the log in its first and in its second half, and of the snapshot."""
    rows = connection.execute(sa.select(t.events.c.data).where(t.events.c.tree == tree).order_by(t.events.c.seq))
    lengths = [len(data) for data in rows.scalars()]
    middle = len(lengths) // 2
    snapshot = connection.execute(sa.select(t.executions.c.run).where(t.executions.c.tree == tree)).scalar_one()
    return sum(lengths[:middle]), sum(lengths[middle:]), len(snapshot)


@sized
@pytest.mark.timeout(600)
async def test_a_run_grows_by_the_same_with_each_turn(database_url: str, tmp_path: Path) -> None:
    async with house.opened(database_url, tmp_path) as engine:
        spec = agent(script(*[calls("look")] * TURNS, "done"), "look", max_turns=TURNS + 2)
        async with house.working(engine, look=lambda: "x" * 200):
            execution = await house.start(engine, spec)
            await engine.wait(execution, 600_000)
        assert await house.result(engine, execution) == "done"
        first, second, snapshot = await engine.reads.query(lambda c: halves(c, execution))
    print(f"{TURNS} turns: {(first + second) / TURNS:.0f} bytes of log a turn, a snapshot of {snapshot}")
    assert second < first * 1.1
    assert snapshot < 2_000


@sized
@pytest.mark.timeout(600)
async def test_many_runs_take_what_one_takes_as_often(database_url: str, tmp_path: Path) -> None:
    async with house.opened(database_url, tmp_path) as engine:
        spec = agent(script(calls("look"), "done"), "look")
        found = [await engine.reads.query(sizes.sizes)]
        async with house.working(engine, look=lambda: "x" * 200):
            for _ in range(2):
                for _ in range(RUNS):
                    await house.result(engine, await house.start(engine, spec))
                found.append(await engine.reads.query(sizes.sizes))
    bytes_, rows = [sum(each.bytes for each in one) for one in found], [sum(each.rows for each in one) for one in found]
    a_run = [(after - before) / RUNS for before, after in itertools.pairwise(bytes_)]
    tables = {each.table: round(each.bytes / RUNS / 2) for each in found[-1] if each.bytes > RUNS * 50}
    print(f"a run takes {a_run[0]:.0f} bytes, then {a_run[1]:.0f}: {tables}")
    assert rows[2] - rows[1] == rows[1] - rows[0] - 1, "the definition is stored once"
    assert a_run[1] < a_run[0] * 1.1 + PAGES_BYTES / RUNS
