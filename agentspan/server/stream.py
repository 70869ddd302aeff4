"""The stream of a run: Server-Sent Events, numbered as in the log, so that a reader resumes from any event ever.

Token deltas have no number: whoever resumes does not get them again. All that is ready in one turn of the event loop
is sent in one write. The stream ends after the final event.
"""

import asyncio
from typing import Any

import msgspec
from tornado.iostream import StreamClosedError

from agentspan.errors import BadInput
from agentspan.server.handler import Handler, Route

MAX_UNSENT_BYTES = 256 * 1024

_encode = msgspec.json.Encoder().encode


class Stream(Handler):
    async def get(self, execution_id: str) -> None:
        """The events of a run and of everything below it, from after `Last-Event-ID` to its end."""
        after = self._after()
        await self.reads.row(execution_id)
        self.set_header("Content-Type", "text/event-stream; charset=UTF-8")
        self.set_header("X-Accel-Buffering", "no")
        self.write(b": connected\n\n")
        await self.while_open(self._send(execution_id, after))

    def _after(self) -> int:
        text = self.request.headers.get("Last-Event-ID") or self.param("lastEventId") or "0"
        # isdecimal alone accepts digits that int does not mean here.
        if not (text.isascii() and text.isdecimal()):
            raise BadInput(f"Last-Event-ID must be the number of an event, not {text!r}")
        return int(text)

    async def _send(self, execution_id: str, after: int) -> None:
        feed = self.engine.stream(execution_id, after)
        loop = asyncio.get_running_loop()
        self._send_soon(loop)
        try:
            async for event in feed:
                self.write(b": heartbeat\n\n" if event is None else frame(event))
                self._send_soon(loop)
                if self._unsent() > MAX_UNSENT_BYTES:
                    await self.flush()
            await self.flush()
        except StreamClosedError:
            pass
        finally:
            await feed.aclose()  # type: ignore[attr-defined]

    _is_due = False

    def _send_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._is_due:
            self._is_due = True
            loop.call_soon(self._send_now)

    def _send_now(self) -> None:
        self._is_due = False
        if not self._is_gone and not self._finished:
            self.flush()

    def _unsent(self) -> int:
        return sum(map(len, self._write_buffer))


def frame(event: dict[str, Any]) -> bytes:
    """An event as a frame: its number, its type, its JSON."""
    number = b"id: %d\n" % event["id"] if event.get("id") is not None else b""
    return b"%sevent: %s\ndata: %s\n\n" % (number, event["type"].encode(), _encode(event))


ROUTES = [Route("/api/agent/stream/{execution_id}", Stream)]
