"""Who watches the runs of this process: in a notebook each run that is waited for shows itself in its cell.

The notebook room says so by an entry point of the group `agentspan.display`; it is loaded in an IPython kernel alone,
so scripts, terminals and servers pay nothing. A watcher that fails is told in the log and never ends a run.
"""

import contextvars
import functools
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from agentspan.agents.result import AgentResult
from agentspan.client.portal import in_caller

Handle = Any
"""An AgentHandle; it knows of its watchers, so they do not know of it here."""
Request = Any
"""A Request of the inbox, likewise."""
Runtime = Any
"""An AgentRuntime."""

log = logging.getLogger("agentspan")

GROUP = "agentspan.display"


class Watch(Protocol):
    """One run that somebody waits for, watched."""

    def follow(self) -> None:
        """Begin to follow the run; in the event loop in which it is waited for."""
        ...

    async def ended(self, result: AgentResult) -> None:
        """The run is over."""
        ...

    async def left(self, problem: BaseException) -> None:
        """The run is not waited for any longer: an interrupt, a time limit, a worker that is missing."""
        ...


class Watcher(Protocol):
    """What the entry point names."""

    def __call__(self, handle: Handle) -> Watch | None:
        """Watch a run, in the thread that waits for it; None if it is not to be shown."""
        ...

    def show(self, handle: Handle) -> bool:
        """Show a run as the value of a cell, until it ends; False if it is not to be shown live."""
        ...

    def is_shown(self, result: AgentResult) -> bool:
        """Has this result been shown in this very cell?"""
        ...

    def started(self, handle: Handle) -> None:
        """A run was started."""
        ...

    def key(self, definition: dict[str, Any], prompt: str) -> str:
        """The idempotency key of a run that the cell starts, if it is to go on with the one that it started before."""
        ...

    def last(self, runtime: Runtime) -> str:
        """The run that this notebook has started last; "" if there is none."""
        ...

    def ask(self, request: Request) -> bool:
        """Show a request as the value of a cell, to be answered by a click; False if nobody looks on."""
        ...


@contextmanager
def unwatched() -> Iterator[None]:
    """Runs that are started or waited for in here are nobody's: who starts many shows them in its own way."""
    token = _wanted.set(False)
    try:
        yield
    finally:
        _wanted.reset(token)


def watcher() -> Watcher | None:
    """The watcher of this process, if a kernel runs in it."""
    return _loaded() if _wanted.get() and in_kernel() else None


def in_kernel() -> bool:
    """Does a kernel of IPython run in this process?"""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    return getattr(shell, "kernel", None) is not None


async def begin(handle: Handle) -> Watch | None:
    """Watch a run that is waited for, from the main thread alone: other threads have no cell."""
    if (found := watcher()) is None:
        return None
    watch = await _safely(in_caller, _opened, found, handle)
    if watch is not None:
        await _safely(_call, watch.follow)
    return watch  # type: ignore[no-any-return]


async def ended(watch: Watch | None, result: AgentResult) -> None:
    """The run is over."""
    if watch is not None:
        await _safely(watch.ended, result)


async def left(watch: Watch | None, problem: BaseException) -> None:
    """The run is not waited for any longer."""
    if watch is not None:
        await _safely(watch.left, problem)


def _opened(found: Watcher, handle: Handle) -> Watch | None:
    return found(handle) if threading.current_thread() is threading.main_thread() else None


async def _call(function: Callable[[], None]) -> None:
    function()


async def _safely(function: Callable[..., Any], *args: Any) -> Any:
    try:
        return await function(*args)
    except Exception:  # the display is not the run: whatever it raises is told in the log
        log.exception("a run could not be shown")
        return None


@functools.cache
def _loaded() -> Watcher | None:
    import importlib.metadata  # slow to load, and of use in a kernel alone

    found = next(iter(importlib.metadata.entry_points(group=GROUP)), None)
    return found.load() if found is not None else None


_wanted: contextvars.ContextVar[bool] = contextvars.ContextVar("agentspan_watched", default=True)
