"""The record of the server that runs on a data folder: how local clients find it and how it is stopped.

`server.json` (readable by its owner alone) says where it is; the lock on `server.lock` says that it lives, so a record
that a dead server left behind is known for what it is.
"""

import os
import time
from pathlib import Path
from typing import IO

import msgspec

FILE, LOCK = "server.json", "server.lock"
CLAIM_SECONDS, LOOK_SECONDS = 0.5, 0.01
"""Whoever looks whether a server lives takes the lock for a moment: that must not put off a server that starts."""


class Record(msgspec.Struct, frozen=True):
    """A running server. `database` is its URL without the password, `started_at` seconds since the epoch."""

    pid: int
    url: str
    database: str
    version: str
    started_at: float


class Claim:
    """The lock on a data folder, held as long as the server lives. Falsy if another server holds it."""

    def __init__(self, data_dir: Path) -> None:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = data_dir
        self._file: IO[bytes] | None = (data_dir / LOCK).open("ab")
        give_up = time.monotonic() + CLAIM_SECONDS
        while not _lock(self._file):
            if time.monotonic() > give_up:
                self._file.close()
                self._file = None
                break
            time.sleep(LOOK_SECONDS)

    def __bool__(self) -> bool:
        return self._file is not None

    def write(self, url: str, database: str, version: str) -> None:
        """Tell where the server is, all at once."""
        record = Record(os.getpid(), url, database, version, time.time())
        draft = self._folder / f"{FILE}.{os.getpid()}"
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(msgspec.json.encode(record))
        os.replace(draft, self._folder / FILE)

    def release(self) -> None:
        """Take the record away."""
        if self._file is not None:
            (self._folder / FILE).unlink(missing_ok=True)
            self._file.close()
            self._file = None


def find(data_dir: Path) -> Record | None:
    """The server that runs on this folder; None if there is none, whatever a dead one has left."""
    try:
        return msgspec.json.decode((data_dir / FILE).read_bytes(), type=Record) if is_held(data_dir) else None
    except (OSError, msgspec.DecodeError):
        return None


def is_held(data_dir: Path) -> bool:
    """Whether a living server holds this folder."""
    try:
        with (data_dir / LOCK).open("ab") as file:
            return not _lock(file)
    except OSError:
        return False


def _lock(file: IO[bytes]) -> bool:
    """Take the lock of an open file; it is free again when the file is closed."""
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
        else:
            import fcntl

            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
