"""The events of a run as they happen: server-sent events, resumed where they broke off, none lost and none twice. And
what moves in all runs, which is read anew after a break."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import msgspec

from agentspan.client.errors import AgentAPIError
from agentspan.client.transport import Transport, path_of

if TYPE_CHECKING:
    import httpx

Json = dict[str, Any]

SILENCE_SECONDS = 45.0
"""The server beats every 15 s; three beats missed and the connection counts as dead."""
LAST_WORD_SECONDS = 0.25


async def follow(transport: Transport, execution_id: str, after: int = 0) -> AsyncGenerator[Json]:
    """Yield each event after the sequence number `after`, until the run's last; on the portal's loop only.

    Each event is the data object with its `type`; `id` is its sequence number and is missing for `token` events,
    which are not kept. Dropped connections and restarts of the server are bridged; an unknown execution raises
    AgentNotFoundError.
    """
    import httpx

    waits, path, heard = transport.waits(), path_of("agent", "stream", execution_id), time.monotonic()
    newest: list[Json] = []  # one fact may be several events, all of its number
    while True:
        over = False
        try:
            headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
            if after:
                headers["Last-Event-ID"] = str(after)
            async with (
                transport.open(path, headers=headers, silence=SILENCE_SECONDS) as response,
                aclosing(_events(response)) as events,
            ):
                while (event := await _next(events, over)) is not None:
                    waits.reset()
                    heard = time.monotonic()
                    if (number := event.get("id")) is not None:
                        if number < after or (number == after and event in newest):
                            continue
                        newest = [*newest, event] if number == after else [event]
                        after = number
                    over = is_last(event, execution_id)
                    yield event
        except httpx.TransportError as problem:
            if time.monotonic() - heard > SILENCE_SECONDS + transport.patience():
                raise transport.unreachable(problem) from problem
            if isinstance(problem, httpx.ConnectError) and not transport.reached:
                raise transport.unreachable(problem) from problem
        except AgentAPIError as problem:
            if problem.status_code < 500:
                raise
        if over or await _ended(transport, execution_id, after):
            return
        await asyncio.sleep(waits.next())


async def watch(transport: Transport) -> AsyncGenerator[Json]:
    """Yield what moves on the server, for ever; on the portal's loop only.

    `{"type": "changes", executions, ended, requests, workers}`, and `{"type": "missed"}` where the reader must read
    everything anew: also after each break, which is bridged as `follow` does.
    """
    import httpx

    waits, heard, headers = transport.waits(), time.monotonic(), {"Accept": "text/event-stream"}
    broken = False
    while True:
        try:
            async with (
                transport.open("/changes", headers=headers, silence=SILENCE_SECONDS) as response,
                aclosing(_events(response)) as changes,
            ):
                waits.reset()
                if broken:
                    yield {"type": "missed"}
                async for change in changes:
                    heard = time.monotonic()
                    yield change
        except httpx.TransportError as problem:
            if not transport.reached or time.monotonic() - heard > SILENCE_SECONDS + transport.patience():
                raise transport.unreachable(problem) from problem
        except AgentAPIError as problem:
            if problem.status_code < 500:
                raise
        broken = True
        await asyncio.sleep(waits.next())


def is_last(event: Json, execution_id: str) -> bool:
    """Is this the event with which the run itself (not a nested one) ended?"""
    if event.get("executionId", execution_id) != execution_id:
        return False
    return event["type"] == "done" or (event["type"] == "error" and bool(event.get("final")))


async def frames(lines: AsyncIterator[str]) -> AsyncGenerator[Json]:
    """The events of an event stream's lines."""
    number: str | None = None
    kind, data = "", list[str]()
    async for line in lines:
        if not line:
            if data:
                yield _event(number, kind, "\n".join(data))
            number, kind, data = None, "", []
        elif not line.startswith(":"):
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            match field:
                case "id":
                    number = value
                case "event":
                    kind = value
                case "data":
                    data.append(value)


def _event(number: str | None, kind: str, text: str) -> Json:
    try:
        body = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        body = text
    event = dict(body) if isinstance(body, dict) else {"content": body}
    event["type"] = kind or event.get("type") or "message"
    if number is not None and number.isascii() and number.isdecimal() and len(number) < 19:
        event["id"] = int(number)
    else:
        event.pop("id", None)
    return event


async def _events(response: "httpx.Response") -> AsyncGenerator[Json]:
    async with aclosing(response.aiter_lines()) as lines, aclosing(frames(lines)) as events:  # type: ignore[type-var]
        async for event in events:
            yield event


async def _next(events: AsyncIterator[Json], over: bool) -> Json | None:
    """The next event, or None at the end. After a last word, more comes at once (a run that was retried) or never."""
    if not over:
        return await anext(events, None)
    try:
        return await asyncio.wait_for(anext(events, None), LAST_WORD_SECONDS)
    except TimeoutError:
        return None


async def _ended(transport: Transport, execution_id: str, after: int) -> bool:
    """Did the stream close because there is nothing more to come? (A drop looks the same.)"""
    try:
        status = await transport.send("GET", path_of("agent", execution_id, "status"), patience=0)
        if not status.get("isComplete"):
            return False
        page = await transport.send(
            "GET", path_of("agent", execution_id, "events"), params={"after": after, "limit": 1}
        )
        return not page["events"]
    except AgentAPIError as problem:
        if problem.status_code == 404:
            raise
        return False
    except ConnectionError:
        return False
