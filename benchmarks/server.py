"""A server process under measurement: its address, CPU, memory and commits."""

import contextlib
import os
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from benchmarks.children import ROOT
from benchmarks.work import write_scripts
from tests import postgres
from tests.postgres import Postgres

READY_SECONDS = 30
LOOK_SECONDS = 0.002
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Database:
    """Where a server keeps its data: the address, and how many transactions have written to it."""

    name: str
    url: str

    def writes(self) -> int:
        raise NotImplementedError


class Sqlite(Database):
    name = "SQLite"

    def __init__(self, folder: Path) -> None:
        self.path = folder / "agentspan.db"
        self.url = f"sqlite:///{self.path}"

    def writes(self) -> int:
        """The change counter in the header of the WAL's index: one for each transaction that wrote."""
        try:
            with self.path.with_name(self.path.name + "-shm").open("rb") as file:
                found: tuple[int] = struct.unpack("=I", file.read(12)[8:])
                return found[0]
        except FileNotFoundError:
            return 0


class Postgresql(Database):
    name = "PostgreSQL"

    def __init__(self, url: str) -> None:
        self.url = url

    @property
    def plain_url(self) -> str:
        return self.url.replace("+psycopg", "", 1)

    def writes(self) -> int:
        """The number of the next transaction: only those that write are given one."""
        with psycopg.connect(self.plain_url, autocommit=True) as connection:
            found = connection.execute("select pg_snapshot_xmax(pg_current_snapshot())::text::bigint").fetchone()
            assert found is not None
            return int(found[0])


class Server:
    """One server on one database, until `stop` or `kill`; `start` begins it again at the same address."""

    def __init__(self, database: Database, folder: Path, **settings: str) -> None:
        self.database, self.folder, self.settings = database, folder, settings
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Seconds until it was ready."""
        write_scripts(self.folder / "scripts.json")
        begun = time.monotonic()
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "agentspan.cli.main", "server", "start", "--foreground"],
                env={**_environment(), **self._settings()},
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )
        while time.monotonic() < begun + READY_SECONDS:
            if self.process.poll() is not None:
                break
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/readyz", timeout=1):
                return time.monotonic() - begun
            time.sleep(LOOK_SECONDS)
        raise RuntimeError("the server did not start:\n" + (self.folder / "server.log").read_text()[-2000:])

    def stop(self, how: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait()
            self.process = None

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def cpu_seconds(self) -> float:
        """What its process has used so far."""
        fields = self._proc("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND

    def memory_mb(self) -> float:
        """Its resident memory."""
        line = next(line for line in self._proc("status").splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    def _proc(self, name: str) -> str:
        assert self.process is not None
        return Path(f"/proc/{self.process.pid}/{name}").read_text()

    def _settings(self) -> dict[str, str]:
        return {
            "AGENTSPAN_PORT": str(self.port),
            "AGENTSPAN_DATABASE_URL": self.database.url,
            "AGENTSPAN_DATA_DIR": str(self.folder),
            "AGENTSPAN_SCRIPTS": str(self.folder / "scripts.json"),
            "AGENTSPAN_LOG_LEVEL": "warning",
            **self.settings,
        }


class Machine:
    """Where the measurements of one run take their folders, databases and servers from."""

    def __init__(self, folder: Path, server: Postgres | None) -> None:
        self._folder, self._postgres = folder, server

    @property
    def kinds(self) -> list[str]:
        return ["SQLite", "PostgreSQL"] if self._postgres else ["SQLite"]

    def folder(self) -> Path:
        folder = self._folder / uuid.uuid4().hex[:8]
        folder.mkdir()
        return folder

    def database(self, kind: str) -> Database:
        """A new, empty one."""
        if kind == "SQLite":
            return Sqlite(self.folder())
        assert self._postgres is not None
        name = f"bench_{uuid.uuid4().hex[:8]}"
        postgres.run(self._postgres.url, f"create database {name} template template0")
        return Postgresql(urlsplit(self._postgres.url)._replace(path=f"/{name}").geturl())

    @contextlib.contextmanager
    def server(self, database: Database, **settings: str) -> Iterator[Server]:
        server = Server(database, self.folder(), **settings)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def machine() -> Iterator[Machine]:
    """A folder for everything, and a PostgreSQL that keeps its promises, both gone at the end."""
    with tempfile.TemporaryDirectory(prefix="agentspan-bench-", ignore_cleanup_errors=True) as folder:
        try:
            server = Postgres(durable=True)
        except ImportError:
            yield Machine(Path(folder), None)
            return
        try:
            yield Machine(Path(folder), server)
        finally:
            server.remove()


def sqlite_rows(path: Path, statement: str) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement).fetchall()


def _environment() -> dict[str, str]:
    """Without the settings and keys of the person who measures."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AGENTSPAN_", "SPRING_")) and not name.endswith("_API_KEY") and name != "SERVER_PORT"
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
