"""People who look at the dashboard, without their browsers: each loads a page over HTTP and its document over a
websocket, says that it is shown, looks at it for a while, and goes on to the next."""

import asyncio
import itertools
import json
import os
import re
import time
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from benchmarks.children import serve_async

Json = dict[str, Any]

PAGES = ("/ui/", "/ui/runs", "/ui/inbox", "/ui/costs")
SHOWN = {
    "events": [
        {
            "kind": "MessageSent",
            "msg_type": "bokeh_event",
            "msg_data": {"type": "event", "name": "document_ready", "values": {"type": "map"}},
        }
    ]
}
MOST_BYTES = 1 << 27


class Visitors:
    """The people, until they are sent home."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []
        self._times: list[float] = []
        self._gone = False

    async def answer(self, do: str, url: str = "", people: int = 0, look: float = 0.0) -> Json:
        """`come`: from now on so many people look at each page for so long. `go`: how long each page took to come."""
        if do == "come":
            self._gone, self._times = False, []
            self._tasks = [asyncio.create_task(self._stay(url, look, first)) for first in range(people)]
            return {}
        self._gone = True
        await asyncio.gather(*self._tasks)
        return {"times": self._times}

    async def _stay(self, url: str, look: float, first: int) -> None:
        await asyncio.sleep(look * first / 10)
        for number in itertools.count(first):
            if self._gone:
                return
            begun = time.monotonic()
            socket = await load(url, PAGES[number % len(PAGES)])
            self._times.append(time.monotonic() - begun)
            leave = asyncio.get_running_loop().time() + look
            while not self._gone and (left := leave - asyncio.get_running_loop().time()) > 0:
                try:
                    await asyncio.wait_for(socket.read_message(), min(left, 0.2))
                except TimeoutError:
                    continue
            socket.close()


async def load(url: str, page: str) -> WebSocketClientConnection:
    """The open websocket of a page, after its document has come."""
    answer = await AsyncHTTPClient().fetch(url + page, request_timeout=60)
    found = re.search(r'"token":"([^"]+)"', answer.body.decode())
    assert found is not None, f"{page} has no token"
    address = url.replace("http", "ws", 1) + page.rstrip("/") + "/ws"
    socket = await websocket_connect(
        HTTPRequest(address, request_timeout=60), subprotocols=["bokeh", found[1]], max_message_size=MOST_BYTES
    )
    await until(socket, "ACK")
    await say(socket, "PULL-DOC-REQ", {})
    await until(socket, "PULL-DOC-REPLY")
    await say(socket, "PATCH-DOC", SHOWN)
    return socket


async def say(socket: WebSocketClientConnection, kind: str, content: Json) -> None:
    for part in ({"msgid": "1", "msgtype": kind}, {}, content):
        await socket.write_message(json.dumps(part))


async def until(socket: WebSocketClientConnection, kind: str) -> None:
    """Read up to the end of a message of this kind."""
    while True:
        message = await socket.read_message()
        assert message is not None, f"the websocket ended before {kind}"
        if isinstance(message, bytes) or '"msgtype"' not in message[:200]:
            continue
        header = json.loads(message)
        for _ in range(2 + 2 * header.get("num_buffers", 0)):
            await socket.read_message()
        if header["msgtype"] == kind:
            return


if __name__ == "__main__":
    # They have machines of their own: what they cost here must not count.
    os.nice(10)
    AsyncHTTPClient.configure(None, max_clients=100)
    asyncio.run(serve_async(Visitors().answer))
