"""Tornado with nothing behind it, as a child: what any server on it can at most answer."""

import asyncio

import msgspec
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from benchmarks.children import Json, serve_async


class Nothing(RequestHandler):
    def post(self) -> None:
        self.set_header("Content-Type", "application/json")
        self.finish(msgspec.json.encode(msgspec.json.decode(self.request.body)))

    def compute_etag(self) -> None:
        return None


async def main() -> None:
    sockets = bind_sockets(0, "127.0.0.1")
    HTTPServer(Application([("/", Nothing)], log_function=lambda _: None)).add_sockets(sockets)

    async def answer() -> Json:
        return {"port": sockets[0].getsockname()[1]}

    await serve_async(answer)


if __name__ == "__main__":
    asyncio.run(main())
