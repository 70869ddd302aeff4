"""Find the server of this user, or start one that outlives this process.

A server leaves `server.json` in its data folder. Whoever finds none, or none that answers, starts one detached, in a
session of its own, with its output in `logs/server.log`; a file lock lets one of many processes do it at a time.
"""

import contextlib
import importlib.util
import json
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

from agentspan.config import Settings
from agentspan.errors import AgentspanError

logger = logging.getLogger("agentspan")

READY_SECONDS = 30.0
"""Long, for machines that are busy with much else; a server that ends instead is noticed at once."""
PROBE_SECONDS = 2.0
LOOK_SECONDS = 0.05
LOG_LIMIT_BYTES = 10 * 1024 * 1024
NEEDED = ("tornado", "sqlalchemy", "alembic")


class Server(NamedTuple):
    """Where a server is, and whether this call has started it."""

    url: str
    started: bool


class LaunchProblem(AgentspanError):
    """No server could be found or started."""


class ServerAway(LaunchProblem, ConnectionError):
    """No server answers at the address that was given."""


def find_or_start(url: str | None = None, *, data_dir: Path | str | None = None) -> Server:
    """The server at `url`; without it the one of this user's data folder, which is started if there is none."""
    if url is not None:
        root = url.rstrip("/").removesuffix("/api")
        if not is_healthy(root):
            raise ServerAway(f"no agentspan server answers at {root}; start one with: agentspan server start")
        return Server(root, started=False)
    settings = Settings.load(options={"--data-dir": str(data_dir) if data_dir is not None else None})
    if found := find(settings.data_dir):
        return Server(found, started=False)
    return start(settings)


def revive() -> str | None:
    """The address of this user's local server, which is started again if it was killed.

    None if it is still starting, or if somebody has stopped it, who will have meant it: that takes its record away.
    """
    settings = Settings.load()
    if found := find(settings.data_dir):
        return found
    if is_held(settings.data_dir) or not (settings.data_dir / "server.json").exists():
        return None
    server = start(settings)
    if server.started:
        logger.warning("the local server was gone; it runs again at %s", server.url)
    return server.url


def find(data_dir: Path) -> str | None:
    """The address of the server that runs on this folder, if it answers."""
    if not is_held(data_dir):
        return None  # whoever wrote the record is dead, and another server may have its port
    try:
        url = json.loads((data_dir / "server.json").read_text())["url"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return url if is_healthy(url) else None


def is_held(data_dir: Path) -> bool:
    """Whether a server lives on this folder, be it that it is still starting or too busy to answer."""
    try:
        with (data_dir / "server.lock").open("rb+") as file:
            return not _take(file)
    except OSError:
        return False


def start(settings: Settings, *, may_move: bool = True) -> Server:
    """Start a server with these settings, unless another process has done so meanwhile; returns when it is ready.

    `may_move`: take any free port if the default one is taken. A port that was asked for stays as it is.
    """
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise LaunchProblem(
            f'a local server needs {", ".join(missing)}: pip install "agentspan[server]", or set AGENTSPAN_SERVER_URL'
        )
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _alone(settings.data_dir / "launch.lock"):
        if found := _awaited(settings.data_dir):
            return Server(found, started=False)
        move = may_move and settings.sources.get("port") == "default" and is_taken(settings)
        log = log_path(settings.data_dir)
        with _opened(log) as output:
            start_of_log = output.tell()
            child = subprocess.Popen(
                [sys.executable, "-m", "agentspan.server"],
                env=_environment(settings, 0 if move else settings.port),
                cwd=settings.data_dir,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                **_DETACHED,  # type: ignore[call-overload]
            )
        return Server(_ready(child, settings.data_dir, log, start_of_log), started=True)


def is_healthy(url: str, path: str = "/health") -> bool:
    """Whether an agentspan server answers at this address."""
    body = _told(f"{url}{path}")
    return bool(body.get("healthy") or body.get("status") == "UP")


def has_pages(url: str) -> bool:
    """Whether the server at this address shows the dashboard."""
    return bool(_told(f"{url}/").get("ui"))


def data_folder() -> Path:
    """Where this user's data are."""
    return Settings.load().data_dir


def scripts_folder() -> Path:
    """Where the local server of this user looks for scripted models."""
    return Settings.load().scripts_path


def log_path(data_dir: Path) -> Path:
    return data_dir / "logs" / "server.log"


def last_words(log: Path, start: int = 0) -> str:
    """The last line that a server wrote, which is its reason if it could not start."""
    with contextlib.suppress(OSError), log.open("rb") as file:
        file.seek(start)
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
        return lines[-1].removeprefix("agentspan: ") if lines else ""
    return ""


# Parts


def _told(url: str) -> dict[str, Any]:
    """The JSON object that is at this address; nothing if there is none."""
    import urllib.request

    # A proxy of the environment must not stand between this machine and itself.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=PROBE_SECONDS) as answer:
            body = json.loads(answer.read())
    except (OSError, ValueError):
        return {}
    return body if isinstance(body, dict) else {}


def _awaited(data_dir: Path) -> str | None:
    """The server of this folder, once it answers; None if none lives there."""
    give_up = time.monotonic() + READY_SECONDS
    while (found := find(data_dir)) is None and is_held(data_dir):
        if time.monotonic() > give_up:
            raise LaunchProblem(f"a server runs on {data_dir} and does not answer; its log is {log_path(data_dir)}")
        time.sleep(LOOK_SECONDS)
    return found


def _ready(child: "subprocess.Popen[bytes]", data_dir: Path, log: Path, start_of_log: int) -> str:
    """The address of the child once it answers."""
    give_up = time.monotonic() + READY_SECONDS
    while time.monotonic() < give_up:
        if child.poll() is not None:
            why = last_words(log, start_of_log) or f"it ended with exit code {child.returncode}"
            raise LaunchProblem(f"the local server did not start: {why} (its log is {log})")
        if (found := find(data_dir)) is not None:
            # Nobody waits for the child's end: it is to outlive this process.
            child.returncode = 0
            return found
        time.sleep(LOOK_SECONDS)
    child.terminate()
    raise LaunchProblem(f"the local server was not ready after {READY_SECONDS:g} s; its log is {log}")


def _environment(settings: Settings, port: int) -> Mapping[str, str]:
    """The child's environment: what was decided here, by variables, because everybody can read a command line."""
    given = dict(os.environ)
    given.update(
        AGENTSPAN_HOST=settings.host,
        AGENTSPAN_PORT=str(port),
        AGENTSPAN_DATABASE_URL=settings.database_url,
        AGENTSPAN_DATA_DIR=str(settings.data_dir),
        AGENTSPAN_SCRIPTS=str(settings.scripts_path),
        AGENTSPAN_LOG_LEVEL=settings.log_level,
        AGENTSPAN_UI=str(settings.ui).lower(),
        AGENTSPAN_WORKERS=settings.workers,
        PYTHONUNBUFFERED="1",
    )
    # The child works in another folder, so a package that was found by the present one must still be found.
    package_root = str(Path(__file__).parents[2])
    paths = given.get("PYTHONPATH", "").split(os.pathsep)
    given["PYTHONPATH"] = os.pathsep.join(
        dict.fromkeys(os.path.abspath(each) for each in [*paths, package_root] if each)
    )
    return given


def is_taken(settings: Settings) -> bool:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as probe:
        if os.name != "nt":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError:
            return True
    return False


def _opened(log: Path) -> IO[bytes]:
    """The log, to be written on; a large one is put aside first."""
    log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
        log.replace(log.with_suffix(".log.1"))
    file = log.open("ab")
    file.seek(0, os.SEEK_END)
    return file


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a file lock: over all processes, one at a time; a process that dies gives it back."""
    with path.open("ab") as file:
        while not _take(file):
            time.sleep(LOOK_SECONDS)
        yield


def _take(file: IO[bytes]) -> bool:
    """Take the lock of an open file if it is free; closing the file gives it back."""
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


_DETACHED: dict[str, object] = (
    {"creationflags": 0x00000008 | 0x00000200} if os.name == "nt" else {"start_new_session": True}
)
"""A session of its own, so that neither a closed terminal nor Ctrl-C in it reaches the server."""
