"""The dashboard's process: begun when somebody asks for a page, begun again when it has died, gone with the server.

It is a process of its own because building a page takes long, and the server's loop must not wait for it. The pipe to
its standard input closes with this process, however that ends, and the child ends with it.
"""

import asyncio
import contextlib
import importlib.util
import logging
import os
import secrets
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from msgspec import Struct

log = logging.getLogger("agentspan.server")

NEEDED = ("panel", "panel_material_ui")
SECRET = "AGENTSPAN_DASHBOARD_SECRET"
READY_WORDS = "agentspan dashboard serves "
NICENESS = 5
"""A page may take a little longer, a worker's report may not."""
READY_SECONDS = 60.0
STEADY_SECONDS = 60.0
"""A process that has lived so long was well: after its death the next begins at once."""
LONGEST_REST_SECONDS = 30.0
STOP_SECONDS = 3.0

OFF, ABSENT, STARTING, READY, RESTING = "off", "absent", "starting", "ready", "resting"


class State(Struct, frozen=True):
    """How the dashboard stands, in a word and a sentence for the person who waits for it."""

    word: str
    sentence: str


def command(server_url: str) -> Sequence[str]:
    """What the process is begun with. The secret is not among it: everybody can read a command line."""
    given = ("--server", server_url, "--port", "0", "--prefix", "/ui", "--child")
    return (sys.executable, "-m", "agentspan.dashboard", *given)


def lacking() -> list[str]:
    """The packages that the dashboard needs and this installation does not have."""
    return [name for name in NEEDED if importlib.util.find_spec(name) is None]


class Dashboard:
    """Used on the loop's thread alone. `port` is where the process answers, 0 while it does not."""

    def __init__(
        self,
        *,
        is_on: bool = True,
        command: Callable[[str], Sequence[str]] = command,
        lacking: Callable[[], list[str]] = lacking,
    ) -> None:
        self.secret = secrets.token_urlsafe(32)
        self.port = 0
        self._is_on, self._command, self._lacking = is_on, command, lacking
        self._process: Process | None = None
        self._running: asyncio.Task[None] | None = None
        self._deaths, self._rests_until = 0, 0.0

    def begin(self, server_url: str) -> State:
        """Have the process running, for the server at this address; how it stands now."""
        state = self.state()
        if state.word == STARTING and self._running is None:
            self._running = asyncio.create_task(self._run(server_url))
        return state

    def state(self) -> State:
        if not self._is_on:
            return State(OFF, "This server was started without its dashboard (--no-ui, or AGENTSPAN_UI=false).")
        if self.port:
            return State(READY, "The dashboard is ready.")
        if missing := self._lacking():
            names = " and ".join(missing)
            return State(ABSENT, f'The dashboard needs {names} on the server: pip install "agentspan[dashboard]".')
        if self._running is None and (rest := self._rests_until - _now()) > 0:
            times = "once" if self._deaths == 1 else f"{self._deaths} times"
            return State(
                RESTING,
                f"The dashboard's process has ended {times}; it is started again in {rest:.0f} s."
                " The server's log has its last words.",
            )
        return State(STARTING, "The dashboard is starting. The first page takes a few seconds.")

    async def stop(self) -> None:
        """End the process."""
        self._is_on = False
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def _run(self, server_url: str) -> None:
        """One life of the process."""
        began = _now()
        try:
            await self._live(server_url)
        except OSError as problem:
            log.error("the dashboard could not be started: %s", problem)
        finally:
            self.port, self._process, self._running = 0, None, None
            steady = _now() - began > STEADY_SECONDS
            self._deaths = 1 if steady else self._deaths + 1
            # The first death costs no time.
            rest = min(2.0 ** (self._deaths - 1), LONGEST_REST_SECONDS) if self._deaths > 1 else 0.0
            self._rests_until = _now() + rest

    async def _live(self, server_url: str) -> None:
        process = self._process = await asyncio.create_subprocess_exec(
            *self._command(server_url),
            stdin=PIPE,
            stdout=PIPE,
            env={**os.environ, SECRET: self.secret, "PYTHONUNBUFFERED": "1"},
            # Ctrl-C in the server's terminal is meant for the server, which then ends its child.
            start_new_session=True,
        )
        try:
            _be_nice(process.pid)
            await self._listen(process)
            log.warning("the dashboard's process has ended with code %d", await process.wait())
        finally:
            await _end(process)

    async def _listen(self, process: Process) -> None:
        """Read what the process prints until it ends: its address, and what it has to say."""
        assert process.stdout is not None
        patience: float | None = READY_SECONDS
        while True:
            try:
                line = (await asyncio.wait_for(process.stdout.readline(), patience)).decode(errors="replace").strip()
            except TimeoutError:
                log.error("the dashboard was not ready after %g s", READY_SECONDS)
                return
            except ValueError:
                continue  # a line of more than 64 KiB is no address
            if line.startswith(READY_WORDS):
                self.port = urlsplit(line.removeprefix(READY_WORDS)).port or 0
                patience = None
            elif line:
                log.info("dashboard: %s", line)
            elif process.stdout.at_eof():
                return


async def _end(process: Process) -> None:
    """Close the pipe, by which the process ends itself, and help where it does not."""
    if process.returncode is not None:
        return
    assert process.stdin is not None
    process.stdin.close()
    for help_ in (process.terminate, process.kill):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
            return
        with contextlib.suppress(ProcessLookupError):
            help_()
    await process.wait()


def _be_nice(pid: int) -> None:
    if hasattr(os, "setpriority"):
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, pid, NICENESS)


def _now() -> float:
    return asyncio.get_running_loop().time()
