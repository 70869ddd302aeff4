"""A database that holds together is found sound; each kind of damage is found and named."""

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from agentspan.engine.engine import Engine
from agentspan.store import copying, integrity
from agentspan.store import tables as t
from tests.engine import house
from tests.engine.house import agent, calls, script, team, tool

SMALL_BLOBS = 200


async def lived(url: str, folder: Path) -> list[str]:
    """Runs of every sort: a team that ended, one with a large payload, a fork, a session, one that waits for a person
    and one for a worker."""
    async with house.opened(url, folder, blob_bytes=SMALL_BLOBS) as engine:
        say = agent(script("Yes. " * 200), name="say")
        ended = [
            await house.start(engine, team("two", "sequential", say, agent(script("No."), name="no"))),
            await house.start(engine, say, session_id="s", idempotency_key="k"),
        ]
        for each in ended:
            await house.ended(engine, each)
        ended.append(await house.start(engine, say, session_id="s"))
        await house.ended(engine, ended[-1])
        ended.append(await engine.fork(ended[1], 2))
        await house.ended(engine, ended[-1])
        asks = agent(script(calls("pay"), "ok"), tool("pay", approval_required=True), name="asks")
        waits = agent(script(calls("look"), "ok"), "look", name="waits")
        open_ = [await house.start(engine, asks), await house.start(engine, waits)]
        await house.requests(engine, open_[0], 1)
        await house.take(engine, "look")
        await engine.deploy(say)
        return [*ended, *open_]


def findings(url: str, *, full: bool = False) -> dict[str, list[str]]:
    with copying.snapshot(url) as connection:
        found = integrity.check(connection, full=full)
    assert all(each.looked_at >= each.wrong == len(each.problems) for each in found)
    return {each.check: each.problems for each in found if each.wrong}


def change(url: str, *statements: sa.Executable) -> None:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        for each in statements:
            assert connection.execute(each).rowcount > 0


async def test_what_has_lived_is_sound_while_a_server_runs_and_after(database_url: str, tmp_path: Path) -> None:
    await lived(database_url, tmp_path)
    assert findings(database_url) == findings(database_url, full=True) == {}
    with copying.snapshot(database_url) as connection:
        looked_at = {each.check: each.looked_at for each in integrity.check(connection)}
    assert looked_at["runs"] == looked_at["logs"] == 6
    assert looked_at["blobs"] > 0
    assert looked_at["keys and sessions"] == 2
    async with house.opened(database_url, tmp_path) as engine:
        assert isinstance(engine, Engine)
        assert findings(database_url) == {}


_e, _x = t.events.c, t.executions.c
DAMAGE = {
    "a gap in a log": (sa.delete(t.events).where(_e.seq == 2), "logs", "its log has"),
    "a lost blob": (sa.delete(t.blobs), "blobs", "the payload of event"),
    "a lost definition": (sa.delete(t.specs), "specs", "is missing"),
    "a wrong sum": (sa.update(t.executions).values(turns=_x.turns + 1), "runs", "another turns"),
    "a wrong status": (sa.update(t.executions).values(status="FAILED"), "runs", "another status"),
    "a snapshot of another run": (
        sa.update(t.executions).values(run=b'{"id": 0, "status": "PAUSED"}'), "runs", "another state",
    ),
    "a lost execution": (sa.delete(t.executions).where(_x.number > 0), "runs", "the log has [0, "),
    "a lost task": (sa.delete(t.tasks).where(t.tasks.c.queue == "look"), "runs", "tasks [] are stored"),
    "a lost tree": (sa.delete(t.trees), "rows of events", "without their tree"),
    "a key of a lost tree": (sa.update(t.starts).values(tree="gone"), "keys and sessions", "key k points at gone"),
    "events that are none": (sa.update(t.events).where(_e.seq == 1).values(data=b"{"), "runs", "cannot be folded"),
}  # fmt: skip


async def test_each_kind_of_damage_is_found(sqlite_url: str, tmp_path: Path) -> None:
    await lived(sqlite_url, tmp_path)
    for name, (statement, check, said) in DAMAGE.items():
        url = damaged(sqlite_url, f"{name}.db", lambda _: None)
        change(url, statement)
        found = findings(url, full=True)
        assert any(said in problem for problem in found[check]), (name, found)


def damaged(url: str, name: str, damage: Callable[[bytearray], None]) -> str:
    """The URL of a copy of a file with other bytes."""
    path = Path(url.removeprefix("sqlite:///"))
    data = bytearray(path.read_bytes())
    damage(data)
    path.with_name(name).write_bytes(data)
    return f"sqlite:///{path.with_name(name).as_posix()}"


async def test_a_broken_file_is_found(sqlite_url: str, tmp_path: Path) -> None:
    await lived(sqlite_url, tmp_path)
    with copying.snapshot(sqlite_url) as connection:
        page = connection.execute(sa.text("select rootpage from sqlite_master where name = 'ix_trees_forked_from'"))
        size = connection.execute(sa.text("pragma page_size")).scalar_one()
        start = (page.scalar_one() - 1) * size

    def damage(data: bytearray) -> None:
        data[start + 8 : start + size] = bytes(size - 8)

    assert "file" in findings(damaged(sqlite_url, "broken.db", damage))


@pytest.mark.parametrize("full", [False, True])
def test_an_empty_database_is_said_to_be_empty(postgres_url: str, full: bool) -> None:
    assert findings(postgres_url, full=full) == {"schema": ["the database is empty"]}
