"""A run's events to iterate, and its result at the end. A loop that was left can be entered again: it goes on with
the next event, none is lost and none comes twice."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import aclosing
from typing import Any, Protocol

from agentspan.agents.host import Host
from agentspan.agents.result import AgentEvent, AgentResult, EventType
from agentspan.client.portal import in_caller


class Followed(Protocol):
    """The run of a stream: an AgentHandle, as streams see it."""

    execution_id: str

    @property
    def runtime(self) -> Host:
        """Whose run it is."""
        ...

    def _follow(self, after: int = 0) -> AsyncGenerator[AgentEvent]:
        """Its events."""
        ...

    async def _result(self, seconds: float | None, events: list[AgentEvent] | None = None) -> AgentResult:
        """Its result."""
        ...

    async def _attend(self) -> None:
        """Let the deputy answer what is asked."""
        ...

    async def respond_async(self, output: Any, *, request_id: str | None = None, by: str | None = None) -> None:
        """Answer a request."""
        ...

    async def approve_async(
        self, *, request_id: str | None = None, arguments: dict[str, Any] | None = None, by: str | None = None
    ) -> None:
        """Say yes."""
        ...

    async def reject_async(self, reason: str = "", *, request_id: str | None = None, by: str | None = None) -> None:
        """Say no."""
        ...

    async def send_async(self, message: Any, *, request_id: str | None = None) -> str | None:
        """Answer a question, or tell the run something."""
        ...


class _Stream:
    """What both kinds know of the run. `on_event` is told each event before it is yielded."""

    def __init__(self, handle: Followed, on_event: Callable[[AgentEvent], Any] | None = None) -> None:
        self.handle = handle
        self._on_event = on_event
        self.events: list[AgentEvent] = []
        self._final: AgentResult | None = None
        self._last = 0
        self._over = False

    @property
    def execution_id(self) -> str:
        """The run's id."""
        return self.handle.execution_id

    async def _follow(self) -> AsyncGenerator[AgentEvent]:
        if self._over:
            return
        async with aclosing(self.handle._follow(self._last)) as events:
            async for event in events:
                if event.id is not None:
                    self._last = event.id
                    self.events.append(event)
                await tell(self._on_event, event)
                if event.type == EventType.WAITING:
                    await self.handle._attend()
                yield event
        self._over = True
        await self._result(None)

    async def _result(self, seconds: float | None) -> AgentResult:
        if self._final is None:
            self._final = await self.handle._result(seconds, self.events if self._over else None)
            self.events, self._over = self._final.events, True
        return self._final


class AgentStream(_Stream):
    """Iterate the events of a run; `get_result()` waits for its end."""

    def __iter__(self) -> Iterator[AgentEvent]:
        portal, events = self.handle.runtime.portal, self._follow()
        try:
            while (event := portal.call(_next(events))) is not None:
                yield event
        finally:
            portal.call(_close(events))

    @property
    def result(self) -> AgentResult:
        """The result; waits for the end of the run."""
        return self.get_result()

    def get_result(self, timeout: float | None = None) -> AgentResult:
        """Wait for the end of the run; see AgentHandle.join."""
        return self.handle.runtime.portal.call(self._result(timeout))

    def respond(self, output: Any, *, request_id: str | None = None, by: str | None = None) -> None:
        """See AgentHandle.respond."""
        self.handle.runtime.portal.call(self.handle.respond_async(output, request_id=request_id, by=by))

    def approve(
        self, *, request_id: str | None = None, arguments: dict[str, Any] | None = None, by: str | None = None
    ) -> None:
        """See AgentHandle.approve."""
        self.handle.runtime.portal.call(self.handle.approve_async(request_id=request_id, arguments=arguments, by=by))

    def reject(self, reason: str = "", *, request_id: str | None = None, by: str | None = None) -> None:
        """See AgentHandle.reject."""
        self.handle.runtime.portal.call(self.handle.reject_async(reason, request_id=request_id, by=by))

    def send(self, message: Any, *, request_id: str | None = None) -> str | None:
        """See AgentHandle.send."""
        return self.handle.runtime.portal.call(self.handle.send_async(message, request_id=request_id))


class AsyncAgentStream(_Stream):
    """Iterate the events of a run with `async for`; `await get_result()` waits for its end."""

    def __aiter__(self) -> AsyncIterator[AgentEvent]:
        return self._follow()

    def __await__(self) -> Generator[Any, None, "AsyncAgentStream"]:
        """`await handle.stream_async()` is the stream itself."""
        yield from ()
        return self

    @property
    def result(self) -> AgentResult | None:
        """The result, None until the events are over or `get_result` has been awaited."""
        return self._final

    async def get_result(self, timeout: float | None = None) -> AgentResult:  # noqa: ASYNC109
        """Wait for the end of the run; see AgentHandle.join_async."""
        return await self._result(timeout)

    async def respond(self, output: Any, *, request_id: str | None = None, by: str | None = None) -> None:
        """See AgentHandle.respond_async."""
        await self.handle.respond_async(output, request_id=request_id, by=by)

    async def approve(
        self, *, request_id: str | None = None, arguments: dict[str, Any] | None = None, by: str | None = None
    ) -> None:
        """See AgentHandle.approve_async."""
        await self.handle.approve_async(request_id=request_id, arguments=arguments, by=by)

    async def reject(self, reason: str = "", *, request_id: str | None = None, by: str | None = None) -> None:
        """See AgentHandle.reject_async."""
        await self.handle.reject_async(reason, request_id=request_id, by=by)

    async def send(self, message: Any, *, request_id: str | None = None) -> str | None:
        """See AgentHandle.send_async."""
        return await self.handle.send_async(message, request_id=request_id)


async def tell(on_event: Callable[[AgentEvent], Any] | None, event: AgentEvent) -> None:
    """Call a listener, which may be async, in the caller's thread."""
    if on_event is not None and isinstance(said := await in_caller(on_event, event), Awaitable):
        await said


async def _next(events: AsyncIterator[AgentEvent]) -> AgentEvent | None:
    return await anext(events, None)


async def _close(events: AsyncGenerator[AgentEvent]) -> None:
    await events.aclose()
