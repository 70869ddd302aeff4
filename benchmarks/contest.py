"""Who runs the same work: our server with one worker and one client, and the peers. Each plays a round when it is
asked to; between its rounds it does nothing."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from benchmarks.children import ROOT, Child
from benchmarks.server import Database, Machine, Postgresql, Server
from benchmarks.work import PLAIN, STEPS, Json

PEERS_ENVIRONMENT = ROOT / ".cache" / "benchmarks" / "peers"
REQUIREMENTS = Path(__file__).parent / "peers" / "requirements.txt"
WARM_SECONDS = 0.5


@dataclass
class Round:
    """What came of a round. `turns` are the seconds from one tool call of a run to its next: the answer and the next
    model call committed, performed and committed. CPU and writes are those of a durable step."""

    runs_per_second: float
    latencies: list[float]
    turns: list[float] = field(default_factory=list)
    cpu_ms: float = float("nan")
    writes: float = float("nan")


class Contestant:
    name: str

    def play(self, at_once: int, seconds: float) -> Round:
        raise NotImplementedError


class Ours(Contestant):
    """A server, a worker process and a client process."""

    def __init__(self, server: Server, worker: str) -> None:
        self.name = f"agentspan on {server.database.name}"
        self.server = server
        self.worker, self.client = Child("worker", worker, server.url), Child("client", server.url)

    def play(self, at_once: int, seconds: float, agent: Json = PLAIN) -> Round:
        self.worker.ask(forget=True)
        cpu, writes = self.server.cpu_seconds(), self.server.database.writes()
        outcome = self.client.ask(do="load", agent=agent, at_once=at_once, seconds=seconds)
        cpu, writes = self.server.cpu_seconds() - cpu, self.server.database.writes() - writes
        runs = len(outcome["latencies"])
        return Round(
            runs / outcome["seconds"],
            outcome["latencies"],
            intervals(self.worker.ask(forget=True)),
            cpu / (runs * STEPS) * 1000,
            writes / (runs * STEPS),
        )

    def close(self) -> None:
        self.worker.close()
        self.client.close()


class Peer(Contestant):
    """A library that runs in the process of its user."""

    def __init__(self, name: str, module: str, storage: str, database: Database | None) -> None:
        self.name, self._database = name, database
        self._child = Child(f"peers.{module}", storage, python=str(peers_python()))

    def play(self, at_once: int, seconds: float) -> Round:
        writes = self._database.writes() if self._database else 0
        outcome = self._child.ask(at_once=at_once, seconds=seconds)
        runs = len(outcome["latencies"])
        written = self._database.writes() - writes if self._database else float("nan")
        return Round(
            runs / outcome["seconds"],
            outcome["latencies"],
            cpu_ms=outcome["cpu_seconds"] / (runs * STEPS) * 1000,
            writes=written / (runs * STEPS),
        )

    def close(self) -> None:
        self._child.close()


@contextlib.contextmanager
def ours(where: Machine, kind: str, worker: str) -> Iterator[Ours]:
    """On an empty database, warm."""
    with where.server(where.database(kind)) as server:
        contestant = Ours(server, worker)
        try:
            contestant.play(8, WARM_SECONDS)
            yield contestant
        finally:
            contestant.close()


@contextlib.contextmanager
def peer(where: Machine, name: str, module: str, storage: str) -> Iterator[Peer]:
    """`storage`: memory, SQLite or PostgreSQL."""
    database = None if storage == "memory" else where.database(storage)
    url = "memory"
    if database is not None:
        url = database.plain_url if isinstance(database, Postgresql) else str(getattr(database, "path", ""))
    contestant = Peer(name, module, url, database)
    try:
        contestant.play(1, WARM_SECONDS)
        yield contestant
    finally:
        contestant.close()


def peers_python() -> Path:
    """The interpreter of the peers' environment, which is made at the first use: they must not move our own pins."""
    python = PEERS_ENVIRONMENT / "bin" / "python"
    stamp = PEERS_ENVIRONMENT / REQUIREMENTS.name
    wanted = REQUIREMENTS.read_text()
    if not stamp.exists() or stamp.read_text() != wanted:
        print("  (installing the peers)", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(PEERS_ENVIRONMENT)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "-r", str(REQUIREMENTS)], check=True, env={**os.environ})
        stamp.write_text(wanted)
    return python


def intervals(times: dict[str, list[float]]) -> list[float]:
    return [later - earlier for each in times.values() for earlier, later in pairwise(each)]


def rounds(contestants: list[Contestant], at_once: int, count: int, seconds: float) -> dict[str, list[Round]]:
    """They take turns."""
    played: dict[str, list[Round]] = {each.name: [] for each in contestants}
    for _ in range(count):
        for each in contestants:
            played[each.name].append(each.play(at_once, seconds))
            time.sleep(0.05)
    return played
