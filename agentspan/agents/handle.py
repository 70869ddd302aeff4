"""A reference to a run: ask how it stands, answer it, steer it, follow it, wait for it. Any process can hold one."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any

from agentspan.agents.exceptions import WorkerMissingError
from agentspan.agents.host import Host, own_host
from agentspan.agents.result import AgentEvent, AgentResult, AgentStatus, event_of, result_of, status_of
from agentspan.agents.stream import AgentStream, AsyncAgentStream
from agentspan.client.portal import in_caller

Json = dict[str, Any]

LONG_WAIT_SECONDS = 20.0
EVENT_PAGE = 1000
ENDED = ("COMPLETED", "FAILED", "TERMINATED", "TIMED_OUT")


class AgentHandle:
    """The run `execution_id` on the server of `runtime` (the process's own if none is given).

    Each method has a twin with `_async`. A wrong id raises AgentNotFoundError when it is used. The run does not need
    its handle, nor the process that made it.
    """

    def __init__(
        self,
        execution_id: str,
        runtime: Host | None = None,
        correlation_id: str | None = None,
        run_id: str | None = None,
    ) -> None:
        self.execution_id = execution_id
        self.runtime = runtime if runtime is not None else own_host()
        self.correlation_id = correlation_id
        self.run_id = run_id

    def __repr__(self) -> str:
        return f"AgentHandle(execution_id={self.execution_id!r})"

    async def get_status_async(self) -> AgentStatus:
        """How the run stands now."""
        return status_of(await (await self.runtime.client()).status(self.execution_id))

    async def respond_async(self, output: Any, *, request_id: str | None = None) -> None:
        """Answer what the run asks a person: `request_id` of AgentStatus.requests, or else the oldest request.

        `output` is an object such as {"approved": true}. AgentAPIError (409) if nothing is asked.
        """
        await (await self.runtime.client()).respond(self.execution_id, output, request_id=request_id)

    async def approve_async(self, *, request_id: str | None = None) -> None:
        """Say yes."""
        await self.respond_async({"approved": True}, request_id=request_id)

    async def reject_async(self, reason: str = "", *, request_id: str | None = None) -> None:
        """Say no, and why: the model is told."""
        await self.respond_async({"approved": False, "reason": reason}, request_id=request_id)

    async def send_async(self, message: Any, *, request_id: str | None = None) -> None:
        """Answer a question with a message."""
        body = message if isinstance(message, Mapping) else {"message": message}
        await self.respond_async(body, request_id=request_id)

    async def pause_async(self) -> None:
        """Start nothing new in the run; what runs may end. AgentAPIError (409) if it has ended."""
        await (await self.runtime.client()).pause(self.execution_id)

    async def resume_async(self) -> None:
        """Let the paused run go on."""
        await (await self.runtime.client()).resume(self.execution_id)

    async def cancel_async(self, reason: str = "") -> None:
        """End the run and all below it now: TERMINATED."""
        await (await self.runtime.client()).cancel(self.execution_id, reason)

    async def stop_async(self) -> None:
        """Let the run end gracefully, without another turn: COMPLETED."""
        await (await self.runtime.client()).stop(self.execution_id)

    async def signal_async(self, message: str) -> None:
        """Text that the model sees from its next turn on; "" takes it back."""
        await (await self.runtime.client()).signal(self.execution_id, message)

    async def events_async(self, after: int = 0) -> list[AgentEvent]:
        """What has happened so far, from the event after the number `after` on."""
        client, events = await self.runtime.client(), list[AgentEvent]()
        while page := (await client.events(self.execution_id, after=after, limit=EVENT_PAGE))["events"]:
            events += [event_of(each) for each in page]
            after = page[-1]["id"]
            if len(page) < EVENT_PAGE:
                break
        return events

    async def join_async(self, timeout: float | None = None) -> AgentResult:  # noqa: ASYNC109
        """Wait for the end of the run, at most `timeout` seconds (for ever by default); its result, failed or not.

        A run that waits for a person is waited for. Raises TimeoutError (the run goes on), and WorkerMissingError
        when the run has waited for a tool that no live worker serves for the runtime's grace.
        """
        return await self._result(timeout)

    def get_status(self) -> AgentStatus:
        """See `get_status_async`."""
        return self.runtime.portal.call(self.get_status_async())

    def respond(self, output: Any, *, request_id: str | None = None) -> None:
        """See `respond_async`."""
        self.runtime.portal.call(self.respond_async(output, request_id=request_id))

    def approve(self, *, request_id: str | None = None) -> None:
        """See `approve_async`."""
        self.runtime.portal.call(self.approve_async(request_id=request_id))

    def reject(self, reason: str = "", *, request_id: str | None = None) -> None:
        """See `reject_async`."""
        self.runtime.portal.call(self.reject_async(reason, request_id=request_id))

    def send(self, message: Any, *, request_id: str | None = None) -> None:
        """See `send_async`."""
        self.runtime.portal.call(self.send_async(message, request_id=request_id))

    def pause(self) -> None:
        """See `pause_async`."""
        self.runtime.portal.call(self.pause_async())

    def resume(self) -> None:
        """See `resume_async`."""
        self.runtime.portal.call(self.resume_async())

    def cancel(self, reason: str = "") -> None:
        """See `cancel_async`."""
        self.runtime.portal.call(self.cancel_async(reason))

    def stop(self) -> None:
        """See `stop_async`."""
        self.runtime.portal.call(self.stop_async())

    def signal(self, message: str) -> None:
        """See `signal_async`."""
        self.runtime.portal.call(self.signal_async(message))

    def events(self, after: int = 0) -> list[AgentEvent]:
        """See `events_async`."""
        return self.runtime.portal.call(self.events_async(after))

    def join(self, timeout: float | None = None) -> AgentResult:
        """See `join_async`."""
        return self.runtime.portal.call(self.join_async(timeout))

    def stream(self) -> AgentStream:
        """The run's events from its first on, to iterate."""
        return AgentStream(self)

    def stream_async(self) -> AsyncAgentStream:
        """The same for `async for`."""
        return AsyncAgentStream(self)

    async def _follow(self, after: int = 0) -> AsyncGenerator[AgentEvent]:
        """The run's events from the number after `after` to its end, as they happen."""
        async with aclosing((await self.runtime.client()).follow(self.execution_id, after=after)) as events:
            async for event in events:
                yield event_of(event)

    async def _tell(self, on_event: Callable[[AgentEvent], Any], seconds: float | None) -> AgentResult:
        """Call `on_event` with each event as it happens, in the caller's thread; then as `join_async`."""
        told: list[AgentEvent] = []
        joining = asyncio.ensure_future(self._result(seconds, told))
        try:
            async with aclosing(self._follow()) as events:
                while (event := await _before(anext(events, None), joining)) is not None:
                    told += [event] if event.id is not None else []
                    said = await in_caller(on_event, event)
                    if isinstance(said, Awaitable):
                        await said
            return await joining
        except asyncio.CancelledError as stop:
            stop.add_note(self._how_to_attach())
            raise
        finally:
            joining.cancel()

    async def _result(self, seconds: float | None, events: list[AgentEvent] | None = None) -> AgentResult:
        """See `join_async`; `events` are those that are known already."""
        try:
            body = await self._ended(seconds)
            if self.run_id is not None:
                self.runtime.forget(self.run_id)
            events = await self.events_async() if events is None else events
        except asyncio.CancelledError as stop:
            stop.add_note(self._how_to_attach())
            raise
        return result_of(body, correlation_id=self.correlation_id, events=events)

    async def _ended(self, seconds: float | None) -> Json:
        """The server's answer when the run has ended."""
        client, grace = await self.runtime.client(), self.runtime.missing_worker_grace_seconds
        deadline = None if seconds is None else time.monotonic() + seconds
        missing: dict[str, float] = {}
        while True:
            wait = min(LONG_WAIT_SECONDS, grace)
            if missing:
                wait = min(wait, max(0.05, min(missing.values()) + grace - time.monotonic()))
            if deadline is not None:
                wait = min(wait, max(0.0, deadline - time.monotonic()))
            body = await client.result(self.execution_id, wait_ms=int(wait * 1000))
            if body["status"] in ENDED:
                return body
            now = time.monotonic()
            if deadline is not None and now >= deadline:
                raise self._too_late(seconds)
            waiting = {each.get("taskId") or each["tool"]: each for each in body.get("waitingFor") or ()}
            missing = {key: missing.get(key, now) for key in waiting}
            if overdue := [waiting[key] for key, since in missing.items() if now - since >= grace]:
                raise self._unserved(overdue)

    def _too_late(self, seconds: float | None) -> TimeoutError:
        return TimeoutError(f"the run has not ended after {seconds:g} s. {self._how_to_attach()}")

    def _unserved(self, waiting: list[Json]) -> WorkerMissingError:
        told = ", ".join(f"{each['tool']!r} since {_time(each.get('since'))}" for each in waiting)
        return WorkerMissingError(
            f"the run {self.execution_id} waits for a tool that no live worker serves: {told}. Start a worker with "
            f"runtime.serve(agent), or runtime.resume({self.execution_id!r}, agent) in a process that defines it; "
            f"the run goes on from there",
            execution_id=self.execution_id,
            waiting_for=waiting,
        )

    def _how_to_attach(self) -> str:
        return f"The run goes on; wait for it with runtime.attach({self.execution_id!r}).join()"


async def _before(event: Awaitable[AgentEvent | None], ending: "asyncio.Future[AgentResult]") -> AgentEvent | None:
    """The next event. A run that cannot end raises its problem; one that has ended still tells its last events."""
    waiting = asyncio.ensure_future(event)
    both: set[asyncio.Future[Any]] = {waiting, ending}
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done() and ending.exception() is not None:
            ending.result()
        return await waiting
    finally:
        waiting.cancel()
        await asyncio.wait({waiting})  # a generator can be closed only when it has stopped


def _time(ms: Any) -> str:
    if not ms:
        return "an unknown time"
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(int(ms) / 1000))
