"""Environment variables and files that calls find while they run, and that are gone afterwards.

A process has one environment. Calls that need the same values share them, so that they run side by side; one that needs
another value under the same name waits until it is free. What a variable held before is put back by the last.
"""

import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agentspan.agents.credentials import Given
from agentspan.agents.exceptions import CredentialServiceError

WAIT_SECONDS = 60.0
"""How long a call waits for a variable that others hold another value in."""

What = tuple[str, str | None]
"""A value, and the path of its file if it is read as one."""


@dataclass
class Lent:
    """A variable that calls hold now: what stands behind it, what it held before, and how many need it."""

    what: What
    before: str | None
    folder: Path | None = None
    holders: int = 0


@contextmanager
def lent(given: Given | None) -> Iterator[None]:
    """While this lasts, the process's environment has what is given. CredentialServiceError if it never gets free."""
    wanted = _wanted(given) if given is not None else {}
    if not wanted:
        yield
        return
    held: list[str] = []
    try:
        with _free:
            if not _free.wait_for(lambda: all(_fits(name, what) for name, what in wanted.items()), WAIT_SECONDS):
                raise CredentialServiceError(0, f"other tools hold other values in {', '.join(wanted)}")
            for name, what in wanted.items():
                _take(name, what)
                held.append(name)
        yield
    finally:
        if held:
            with _free:
                for name in reversed(held):
                    _give_back(name)
                _free.notify_all()


def own() -> dict[str, str]:
    """The process's environment as it is without what is lent."""
    with _free:
        before = {name: one.before for name, one in _lent.items()}
        return {name: value for name, value in {**os.environ, **before}.items() if value is not None}


def _wanted(given: Given) -> dict[str, What]:
    paths = {name: file.relative_path for name, file in given.files.items()}
    return {name: (value, paths.get(name)) for name, value in given.values.items()}


def _fits(name: str, what: What) -> bool:
    return name not in _lent or _lent[name].what == what


def _take(name: str, what: What) -> None:
    if name not in _lent:
        content, path = what
        one = Lent(what, os.environ.get(name), _written(content, path) if path else None)
        os.environ[name] = content if one.folder is None else str(one.folder / str(path))
        _lent[name] = one
    _lent[name].holders += 1


def _give_back(name: str) -> None:
    one = _lent[name]
    one.holders -= 1
    if one.holders:
        return
    del _lent[name]
    if one.before is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = one.before
    if one.folder is not None:
        shutil.rmtree(one.folder, ignore_errors=True)


def _written(content: str, path: str) -> Path:
    """A new folder with the content in a file that only this user may read."""
    folder = Path(tempfile.mkdtemp(prefix="agentspan-"))
    file = folder / path
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as handle:
            handle.write(content)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder


_free = threading.Condition()
_lent: dict[str, Lent] = {}
