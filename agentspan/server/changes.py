"""The stream of changes: which runs moved anywhere, as Server-Sent Events. It has no cursor: who sees `missed`, or
connects again, reads anew what it shows."""

from contextlib import aclosing
from typing import Any

import msgspec
from tornado.iostream import StreamClosedError

from agentspan.engine.hub import Change
from agentspan.server.handler import Handler, Route

_encode = msgspec.json.Encoder().encode


class Changes(Handler):
    async def get(self) -> None:
        """What moves from now on, in at most ten frames a second: `{executions, ended, requests, workers}`."""
        self.set_header("Content-Type", "text/event-stream; charset=UTF-8")
        self.set_header("X-Accel-Buffering", "no")
        await self.while_open(self._send())

    async def _send(self) -> None:
        """What moves while a slow reader is written to comes with the next frame: it costs no memory."""
        try:
            async with aclosing(self.engine.changes()) as changes:  # type: ignore[type-var]
                async for change in changes:
                    self.write(b": heartbeat\n\n" if change is None else frame(change))
                    await self.flush()
        except StreamClosedError:
            pass


def frame(change: Change) -> bytes:
    """A change as a frame: `missed` if the reader must read everything anew."""
    body: dict[str, Any] = msgspec.structs.asdict(change)
    kind = b"missed" if body.pop("missed") else b"changes"
    return b"event: %s\ndata: %s\n\n" % (kind, _encode(body))


ROUTES = [Route("/api/changes", Changes)]
