"""Daemon threads for tools that are plain functions: kept between calls, and never in the way of the process's end."""

import asyncio
import contextvars
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

IDLE_SECONDS = 30.0

_Job = tuple[contextvars.Context, Callable[[], Any], "asyncio.Future[Any]"]


class Pool:
    """Runs functions in threads, as many at once as are asked for; idle threads end after a while."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0

    async def run(self, function: Callable[[], Any]) -> Any:
        """Call it in a thread, in a copy of the present context."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        with self._lock:
            fresh = self._idle == 0
            self._idle -= not fresh
        self._jobs.put((contextvars.copy_context(), function, future))
        if fresh:
            threading.Thread(target=self._work, name=self._name, daemon=True).start()
        return await future

    def _work(self) -> None:
        while True:
            try:
                context, function, future = self._jobs.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                with self._lock:
                    if self._idle > 0:
                        self._idle -= 1
                        return
                continue
            value, problem = None, None
            try:
                value = context.run(function)
            except BaseException as raised:  # whatever a tool raises, SystemExit too, is its outcome
                problem = raised
            with self._lock:
                self._idle += 1
            _settle(future, value, problem)
            del context, function, future, value, problem


def _settle(future: "asyncio.Future[Any]", value: Any, problem: BaseException | None) -> None:
    def settle() -> None:
        if future.cancelled():
            return
        if problem is None:
            future.set_result(value)
        else:
            future.set_exception(carried(problem))

    with suppress(RuntimeError):  # the loop has ended, and with it all who could want the outcome
        future.get_loop().call_soon_threadsafe(settle)


class _Unusual(Exception):
    """Carries an exception that a future cannot."""

    def __init__(self, problem: BaseException) -> None:
        super().__init__(f"{type(problem).__name__}: {problem}")
        self.problem = problem


def carried(problem: BaseException) -> Exception:
    """The exception in a form that a future takes: StopIteration it refuses, and by SystemExit a loop ends."""
    ordinary = isinstance(problem, Exception) and not isinstance(problem, StopIteration)
    return problem if ordinary else _Unusual(problem)  # type: ignore[return-value]


def cause_of(problem: BaseException) -> BaseException:
    """The exception that the function itself raised."""
    return problem.problem if isinstance(problem, _Unusual) else problem
