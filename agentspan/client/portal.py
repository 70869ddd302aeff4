"""A background thread with an event loop, and the ways into it from any thread and from any other loop.

All HTTP of a process lives on one portal, so connections are shared and outlive every `asyncio.run`. What is written
once as a coroutine is called from synchronous code by `Portal.call`; a callback of the user's that must run in the
thread of that call (not on the portal, which must never block) goes through `in_caller`.
"""

import asyncio
import atexit
import contextvars
import os
import queue
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

INTERRUPT_SECONDS = 2.0
CLOSE_SECONDS = 2.0
# A lock that waits for ever cannot be interrupted from the keyboard on Windows.
TICK_SECONDS = 0.2 if sys.platform == "win32" else None


class Portal:
    """One event loop in one daemon thread, started at first use; a forked child gets a thread of its own."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._pid = 0

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._pid != os.getpid():
                self._start()
            assert self._loop is not None
            return self._loop

    def here(self) -> bool:
        """Is the calling thread the portal's own?"""
        return self._thread is threading.current_thread() and self._pid == os.getpid()

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the portal and wait for it, from any other thread.

        A KeyboardInterrupt cancels it; notes that the coroutine put on its CancelledError go to the KeyboardInterrupt.
        """
        if self.here():
            coroutine.close()
            raise RuntimeError(f"a blocking call from the {self._name} loop itself would stop it; await the async twin")
        caller, started = _Caller(), _Started()
        token = _caller.set(caller)
        try:
            self.loop.call_soon_threadsafe(started.begin, caller.deliver(coroutine))
        finally:
            _caller.reset(token)
        try:
            return caller.wait()  # type: ignore[no-any-return]
        except KeyboardInterrupt as interrupt:
            self.loop.call_soon_threadsafe(started.cancel)
            for note in caller.notes_after_cancel():
                interrupt.add_note(note)
            raise
        finally:
            caller.closed = True

    async def bridge(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Await a coroutine that runs on the portal, from any loop; cancelling the wait cancels it."""
        if self.here():
            return await coroutine
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, self.loop))

    def spawn(self, coroutine: Coroutine[Any, Any, Any], name: str) -> None:
        """Start a background task on the portal in a context of its own."""
        self.loop.call_soon_threadsafe(_begin, coroutine, name, context=contextvars.Context())

    def close(self) -> None:
        """Cancel what still runs there and end the thread."""
        with self._lock:
            loop, thread, self._loop = self._loop, self._thread, None
        if loop is None or thread is None or self._pid != os.getpid() or not thread.is_alive():
            return
        loop.call_soon_threadsafe(_cancel_all, loop)
        thread.join(CLOSE_SECONDS)

    def _start(self) -> None:
        loop = asyncio.new_event_loop()
        self._loop, self._pid = loop, os.getpid()
        self._thread = threading.Thread(target=_run, args=(loop,), name=f"agentspan-{self._name}", daemon=True)
        self._thread.start()
        atexit.register(self.close)


async def in_caller(function: Callable[..., T], *args: Any) -> T:
    """Call a function of the user's in the thread that waits in `Portal.call`; without one, right here."""
    caller = _caller.get()
    if caller is None or caller.closed:
        return function(*args)
    future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    caller.inbox.put(_Errand(function, args, future))
    return await future


def portal() -> Portal:
    """The process's one portal for HTTP and workers."""
    return _PORTAL


class _Caller:
    """A thread that waits for a coroutine on the portal and meanwhile runs errands for it."""

    def __init__(self) -> None:
        self.inbox: queue.SimpleQueue[_Errand | _Outcome] = queue.SimpleQueue()
        self.closed = False

    async def deliver(self, coroutine: Awaitable[Any]) -> None:
        try:
            self.inbox.put(_Outcome(await coroutine, None))
        except BaseException as problem:  # the edge of the portal: every outcome belongs to the caller
            self.inbox.put(_Outcome(None, problem))

    def wait(self) -> Any:
        while True:
            try:
                each = self.inbox.get(timeout=TICK_SECONDS)
            except queue.Empty:
                continue
            if isinstance(each, _Outcome):
                return each.get()
            each.run()

    def notes_after_cancel(self) -> list[str]:
        try:
            while not isinstance(each := self.inbox.get(timeout=INTERRUPT_SECONDS), _Outcome):
                each.refuse()
        except queue.Empty:
            return []
        return getattr(each.problem, "__notes__", [])


class _Outcome:
    def __init__(self, value: Any, problem: BaseException | None) -> None:
        self.value, self.problem = value, problem

    def get(self) -> Any:
        if self.problem is None:
            return self.value
        try:
            raise self.problem
        finally:
            self.problem = None  # no cycle between the frame and its exception


class _Errand:
    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], future: "asyncio.Future[Any]") -> None:
        self.function, self.args, self.future, self.loop = function, args, future, future.get_loop()

    def run(self) -> None:
        try:
            value = self.function(*self.args)
        except Exception as problem:  # the coroutine that asked for it decides
            self._settle(problem, None)
        else:
            self._settle(None, value)

    def refuse(self) -> None:
        self._settle(RuntimeError("the caller was interrupted"), None)

    def _settle(self, problem: Exception | None, value: Any) -> None:
        def settle() -> None:
            if self.future.done():
                return
            if problem is None:
                self.future.set_result(value)
            else:
                self.future.set_exception(problem)

        self.loop.call_soon_threadsafe(settle)


class _Started:
    """A task that another thread may cancel."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    def begin(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._task = _begin(coroutine, "call")

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()


def _begin(coroutine: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
    task = asyncio.get_running_loop().create_task(coroutine, name=name)
    _KEPT.add(task)
    task.add_done_callback(_KEPT.discard)
    return task


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.close()


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()

    async def finish() -> None:
        await asyncio.wait(tasks, timeout=CLOSE_SECONDS / 2) if tasks else None
        loop.stop()

    _begin(finish(), "close")


_caller: contextvars.ContextVar[_Caller | None] = contextvars.ContextVar("agentspan_caller", default=None)
_KEPT: set["asyncio.Task[Any]"] = set()
_PORTAL = Portal("portal")
