"""The stream of a run: Server-Sent Events, numbered as in the log, so that a reader resumes from any event ever.

Token deltas have no number: whoever resumes does not get them again. All that is ready is sent in one write. The
stream ends after the final event.
"""

import asyncio
from typing import Any

import msgspec
from tornado.iostream import StreamClosedError

from agentspan.errors import BadInput
from agentspan.server.handler import Handler, Route, log

MAX_UNSENT = 256
"""So many frames wait for a slow reader; the others wait in the log."""
END = b""

_encode = msgspec.json.Encoder().encode


class Stream(Handler):
    async def get(self, execution_id: str) -> None:
        """The events of a run and of everything below it, from after `Last-Event-ID` to its end."""
        after = self._after()
        await self.reads.row(execution_id)
        self.set_header("Content-Type", "text/event-stream; charset=UTF-8")
        self.set_header("X-Accel-Buffering", "no")
        await self.while_open(self._send(execution_id, after))

    def _after(self) -> int:
        text = self.request.headers.get("Last-Event-ID") or self.param("lastEventId") or "0"
        # isdecimal alone accepts digits that int does not mean here.
        if not (text.isascii() and text.isdecimal() and len(text) < 19):
            raise BadInput(f"Last-Event-ID must be the number of an event, not {text!r}")
        return int(text)

    async def _send(self, execution_id: str, after: int) -> None:
        """Write what is there, all at once, and no more before it is sent: a slow reader costs no memory."""
        frames: asyncio.Queue[bytes] = asyncio.Queue(MAX_UNSENT)
        reading = asyncio.create_task(self._read(execution_id, after, frames))
        try:
            batch = [b": connected\n\n"]
            while batch[-1] != END:
                self.write(b"".join(batch))
                await self.flush()
                batch = [await frames.get()]
                while not frames.empty():
                    batch.append(frames.get_nowait())
            self.write(b"".join(batch))
        except StreamClosedError:
            pass
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _read(self, execution_id: str, after: int, frames: "asyncio.Queue[bytes]") -> None:
        """Put the frames into the queue, and END after the last."""
        feed = self.engine.stream(execution_id, after)
        try:
            async for event in feed:
                await frames.put(b": heartbeat\n\n" if event is None else frame(event))
        except Exception as problem:
            # Whatever it was, the reader must see an end: one without a final event, so it resumes.
            log.warning("the stream of %s broke off: %s", execution_id, problem)
        finally:
            await feed.aclose()  # type: ignore[attr-defined]
        await frames.put(END)


def frame(event: dict[str, Any]) -> bytes:
    """An event as a frame: its number, its type, its JSON."""
    number = b"id: %d\n" % event["id"] if event.get("id") is not None else b""
    return b"%sevent: %s\ndata: %s\n\n" % (number, event["type"].encode(), _encode(event))


ROUTES = [Route("/api/agent/stream/{execution_id}", Stream)]
