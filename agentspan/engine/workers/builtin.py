"""What the built-in workers have in common, whatever they perform."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol, TypeVar

from agentspan.engine.about import about
from agentspan.engine.pollers import Poller, Pollers
from agentspan.errors import Unavailable
from agentspan.store.views import Receipt, Report, TaskView, Want

log = logging.getLogger("agentspan.workers")

RETRY_SECONDS = 0.25

T = TypeVar("T")


class Builtin(Protocol):
    """Performs the tasks of one kind in this process, each as an asyncio task, leased to the server that it is in."""

    queue: Want

    @property
    def busy(self) -> list[str]:
        """The tasks in flight."""
        ...

    def start(self) -> None:
        """Begin to take tasks."""
        ...

    def cancel(self, task_id: str) -> None:
        """The attempt was settled elsewhere: stop it. One that is not here is no matter."""
        ...

    async def drain(self, seconds: float) -> list[str]:
        """Take nothing new, wait, then give up what is still running; gives those tasks."""
        ...


class Calls:
    """A Builtin that is told how to perform one task. `report` states an outcome, `look` is called when there is room
    again for what may have waited."""

    def __init__(
        self,
        queue: Want,
        owner: str,
        most_at_once: int,
        pollers: Pollers,
        report: Callable[[Report], Awaitable[Receipt]],
        look: Callable[[], None],
    ) -> None:
        self.queue, self.pollers, self.report, self.look = queue, pollers, report, look
        self.poller = Poller([queue], owner, most_at_once, lambda _: 0, self._take)
        self._calls: dict[str, asyncio.Task[None]] = {}

    async def outcome(self, view: TaskView) -> Report:
        """Perform a task, and say what became of it."""
        raise NotImplementedError

    def start(self) -> None:
        self.pollers.enter(self.poller)

    @property
    def busy(self) -> list[str]:
        return list(self._calls)

    def cancel(self, task_id: str) -> None:
        if call := self._calls.get(task_id):
            call.cancel()

    async def drain(self, seconds: float) -> list[str]:
        self.pollers.leave(self.poller)
        if self._calls:
            await asyncio.wait(self._calls.values(), timeout=seconds)
        left = self.busy
        for task_id in left:
            self.cancel(task_id)
        return left

    def _take(self, views: list[TaskView]) -> None:
        for view in views:
            call = asyncio.get_running_loop().create_task(self._perform(view))
            self._calls[view.task_id] = call
            call.add_done_callback(partial(self._done, view.task_id))

    def _done(self, task_id: str, _: asyncio.Task[None]) -> None:
        del self._calls[task_id]
        self.pollers.freed(self.poller)
        self.look()

    async def _perform(self, view: TaskView) -> None:
        about.set({"execution_id": view.execution_id, "task_id": view.task_id})
        report = await self.outcome(view)
        while True:
            try:
                await self.report(report)
                return
            except Unavailable:
                await asyncio.sleep(RETRY_SECONDS)
            except Exception as problem:  # such an answer can never be stored: the run must hear of it
                log.exception("the answer of %s cannot be stored", view.task_id)
                if report.status != "COMPLETED":
                    return
                error = f"the answer of {view.name} cannot be stored: {type(problem).__name__}: {problem}"
                report = Report(
                    task_id=view.task_id, status="FAILED_WITH_TERMINAL_ERROR", error=error, worker=view.worker
                )

    async def patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        """What the work gives, as soon as the database answers."""
        while True:
            try:
                return await work()
            except Unavailable:
                await asyncio.sleep(RETRY_SECONDS)
