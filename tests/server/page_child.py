"""A stand-in for the dashboard's process: it speaks as that does, and shows in its answers what it was asked.

`python page_child.py --server URL --port 0 --prefix /ui --child`
"""

import asyncio
import json
import os
import sys
import threading

from tornado.web import Application, RequestHandler, StaticFileHandler
from tornado.websocket import WebSocketHandler


class Asked(RequestHandler):
    def get(self):
        headers = dict(self.request.headers.get_all())
        self.set_header("Content-Type", "text/html; charset=UTF-8")
        self.set_header("X-Own", "yes")
        said = {"uri": self.request.uri, "method": self.request.method, "headers": headers, "pid": os.getpid()}
        self.write(json.dumps({**said, "server": sys.argv[2], "body": self.request.body.decode()}))

    post = get


class Slow(RequestHandler):
    async def get(self):
        """Two parts, the second when the first was read."""
        self.write("one ")
        await self.flush()
        await asyncio.sleep(0.2)
        self.write("two")


class Cut(RequestHandler):
    async def get(self):
        self.set_header("Content-Length", "1000")
        self.write("only this")
        await self.flush()
        self.request.connection.stream.close()


class Die(RequestHandler):
    def get(self):
        os._exit(3)


class Echo(WebSocketHandler):
    """Says again what it is told; `close CODE` closes, `flood N` sends N MiB, `asked` tells the headers."""

    def check_origin(self, origin):
        return True

    def select_subprotocol(self, subprotocols):
        return subprotocols[0] if subprotocols else None

    async def on_message(self, message):
        word, _, rest = message.partition(" ") if isinstance(message, str) else ("", "", "")
        match word:
            case "close":
                self.close(int(rest), "as you said")
            case "flood":
                for _ in range(int(rest)):
                    await self.write_message(bytes(1 << 20), binary=True)
            case "asked":
                await self.write_message(json.dumps(dict(self.request.headers.get_all())))
            case _:
                await self.write_message(message, binary=isinstance(message, bytes))


def end_with_stdin():
    sys.stdin.buffer.read()
    os._exit(0)


async def main():
    folder = os.environ.get("PAGE_CHILD_STATIC", ".")
    routes = [
        (r"/ui/static/(.*)", StaticFileHandler, {"path": folder}),
        (r"/ui/slow", Slow),
        (r"/ui/cut", Cut),
        (r"/ui/die", Die),
        (r"/ui/ws", Echo),
        (r"/ui/.*", Asked),
    ]
    server = Application(routes, websocket_max_message_size=1 << 26).listen(0, "127.0.0.1")
    port = next(iter(server._sockets.values())).getsockname()[1]
    threading.Thread(target=end_with_stdin, daemon=True).start()
    print(f"agentspan dashboard serves http://127.0.0.1:{port}/ui", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
