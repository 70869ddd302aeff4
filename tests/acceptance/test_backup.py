"""A backup taken while everything works restores to what the log said at that moment; the work goes on from there."""

import contextlib
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from agentspan.config import Settings
from agentspan.engine.engine import Engine
from agentspan.errors import StoreProblem
from agentspan.server import upkeep
from agentspan.store import tables as t
from agentspan.store.database import Database
from tests.acceptance.processes import Server, eventually, serving, worker_tool

Json = dict[str, Any]

SLOW_MS = 60_000
RUNS_BEFORE, RUNS_AFTER = 6, 12
ROWS = 1_000_000
FLAT_MB = 45


def settings(url: str) -> Settings:
    return Settings.load(options={"--database": url})


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "agentspan.cli.main", "db", *map(str, words)]


def sound(url: str) -> bool:
    return all(each["ok"] for each in upkeep.check(settings(url), full=True))


def logs(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Every event of every tree, with its payload."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    x = t.events.c
    whole = sa.select(x.tree, x.seq, x.execution, x.at, x.data, t.blobs.c.data.label("payload")).select_from(
        t.events.outerjoin(t.blobs, sa.and_(t.blobs.c.tree == x.tree, t.blobs.c.digest == x.blob))
    )
    found: dict[str, list[tuple[Any, ...]]] = {}
    with engine.connect() as connection:
        for row in connection.execute(whole.order_by(x.tree, x.seq)):
            found.setdefault(row.tree, []).append(tuple(row)[1:])
    return found


def look(server: Server, value: str, worker: str = "w1") -> int:
    """Perform the calls of the tool that wait now; how many there were."""
    # What the backup finds with a worker is another one's as soon as this is over.
    asked = {"workerId": worker, "queues": [{"name": "look"}], "count": 5, "timeoutMs": 0, "leaseSeconds": 5}
    tasks = server.post("/api/tasks/poll", asked)["tasks"]
    for task in tasks:
        server.report(task, {"result": value}, worker)
    return len(tasks)


@contextlib.contextmanager
def loaded(server: Server, config: Json) -> Iterator[list[str]]:
    """Runs are started, and their tool is called, one after the other for as long as this lasts."""
    begun: list[str] = []
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            begun.append(server.run(config))
            look(server, "x" * 70_000)
            time.sleep(0.02)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield begun
    finally:
        stop.set()
        thread.join()


@pytest.fixture
def other_url(database_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """An empty database of the other kind."""
    if database_url.startswith("sqlite"):
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{(tmp_path / 'other.db').as_posix()}"


@pytest.mark.timeout(180)
def test_a_backup_taken_under_load_is_the_log_and_its_runs_go_on(
    tmp_path: Path, database_url: str, other_url: str
) -> None:
    file = tmp_path / "backup.db"
    with serving(tmp_path / "data", database_url) as server:
        scripts(server, slow_ms=SLOW_MS)
        thinking = server.run({"name": "thinker", "model": "scripted/slow"})
        held = server.run({"name": "holder", "model": "scripted/holds", "tools": [worker_tool("hold")]})
        config = {"name": "looker", "model": "scripted/looks", "tools": [worker_tool("look")]}
        leased = server.lease("hold")
        with loaded(server, config) as begun:
            eventually(lambda: len(begun) > RUNS_BEFORE, "some runs", 60)
            subprocess.run(command("backup", file, "--database", database_url), check=True, timeout=60)
            eventually(lambda: len(begun) > RUNS_AFTER, "more runs", 60)
        server.kill()
    then, now = logs(f"sqlite:///{file}"), logs(database_url)
    assert RUNS_BEFORE < len(then) < len(now)
    assert all(now[tree][: len(events)] == events for tree, events in then.items())
    upkeep.restore(file, settings(other_url))
    assert logs(other_url) == then
    assert sound(f"sqlite:///{file}")
    assert sound(other_url)
    go_on(tmp_path / "other", other_url, then.keys(), thinking, held, leased)


def scripts(server: Server, slow_ms: int) -> None:
    server.script("looks", [{"tool_calls": [{"name": "look"}]}, {"content": "Seen."}])
    server.script("holds", [{"tool_calls": [{"name": "hold"}]}, {"content": "Held: {result}."}])
    server.script("slow", [{"content": "At last.", "delay_ms": slow_ms}])


def go_on(folder: Path, url: str, trees: Any, thinking: str, held: str, leased: Json) -> None:
    """Whatever was running at the moment of the backup ends on a server that has never seen it."""
    server = Server(folder, url)
    scripts(server, slow_ms=0)
    try:
        server.ready()
        assert server.result(thinking)["output"]["result"] == "At last.", "the model is asked again"
        assert server.report(leased, {"result": "kept"})["landed"], "the lease of a worker is as good as it was"
        assert server.result(held)["output"]["result"] == "Held: kept."
        for tree in trees:
            while not server.get(f"/api/agent/{tree}/status")["isComplete"]:
                look(server, "seen", "w2")
                time.sleep(0.01)
            assert server.get(f"/api/agent/{tree}/status")["status"] == "COMPLETED"
    finally:
        server.close()


HALF = """
import sys, time
from pathlib import Path
from agentspan.config import Settings
from agentspan.server import upkeep

def told(step, done, of):
    if step == "copying events":
        print("half", flush=True)
        time.sleep(600)

upkeep.restore(Path(sys.argv[1]), Settings.load(options={"--database": sys.argv[2]}), told=told)
"""


def test_a_restore_that_is_killed_leaves_a_database_that_no_server_takes(tmp_path: Path, database_url: str) -> None:
    made = fill(tmp_path / "made.db", 100)
    file = tmp_path / "backup.db"
    upkeep.back_up(settings(made), file)
    with subprocess.Popen([sys.executable, "-c", HALF, file, database_url], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "half\n"
        child.kill()
    with pytest.raises(StoreProblem, match="did not come to its end"):
        Database(database_url).open()
    with pytest.raises(StoreProblem, match="did not come to its end"):
        Engine.upgrade(settings(database_url))
    with pytest.raises(StoreProblem, match="did not come to its end"):
        upkeep.restore(file, settings(database_url))
    emptied(database_url)
    upkeep.restore(file, settings(database_url))
    assert logs(database_url) == logs(made)


def emptied(url: str) -> None:
    """What the sentence says is to be done."""
    if url.startswith("sqlite"):
        for each in Path(url.removeprefix("sqlite:///")).parent.glob("agentspan.db*"):
            each.unlink()
        return
    with sa.create_engine(url, poolclass=sa.NullPool).begin() as connection:
        connection.execute(sa.text("drop schema public cascade"))
        connection.execute(sa.text("create schema public"))


def fill(path: Path, rows: int) -> str:
    """The URL of a database with so many events, a blob for each hundred of them."""
    url = f"sqlite:///{path.as_posix()}"
    assert list(upkeep.upgrade(settings(url)))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma synchronous = off")
        numbers = f"with recursive n(i) as (select 1 union all select i + 1 from n where i < {rows})"
        tree = "printf('00000000-0000-7000-8000-%012d', (i - 1) / 10)"
        connection.execute(
            f"{numbers} insert into events (tree, seq, execution, at, data)"
            f" select {tree}, (i - 1) % 10 + 1, 0, i, randomblob(300) from n"
        )
        connection.execute("insert into trees (tree, seq, spec) select tree, 10, 'none' from events where seq = 10")
        connection.execute(
            "insert into blobs (tree, digest, data) select tree, 'd', randomblob(50000) from trees where rowid % 10 = 1"
        )
        connection.commit()
    return url


def peak_mb(words: list[str]) -> float:
    """The most memory that a command has at any moment."""
    script = (
        "import resource, subprocess, sys; code = subprocess.run(sys.argv[1:]).returncode;"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)"
    )
    found = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    return int(found.stdout.split()[-1]) / 1024


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_many_rows_take_no_more_memory_than_few(tmp_path: Path, postgres_url: str) -> None:
    few, many = fill(tmp_path / "few.db", ROWS // 20), fill(tmp_path / "many.db", ROWS)
    small = peak_mb(command("backup", tmp_path / "few.backup", "--database", few))
    began = time.monotonic()
    large = peak_mb(command("backup", tmp_path / "many.backup", "--database", many))
    seconds = time.monotonic() - began
    copied = peak_mb(command("restore", tmp_path / "many.backup", "--database", postgres_url))
    back = peak_mb(command("copy", "--from", postgres_url, "--to", f"sqlite:///{tmp_path / 'back.db'}"))
    print(
        f"{ROWS:,} events: backup in {seconds:.1f} s; {small:.0f} MB for few, {large:.0f}, {copied:.0f}, {back:.0f} MB"
    )
    assert max(large, copied, back) < small + FLAT_MB
