"""The client process, as a child: keeps runs of an agent under way and waits for their ends."""

import asyncio
import sys
from functools import partial
from typing import Any

from benchmarks.children import serve_async
from benchmarks.lanes import Outcome, in_tasks
from benchmarks.wire import Connection

Json = dict[str, Any]

WAIT_MS = 30_000


class Client:
    def __init__(self, url: str) -> None:
        self._url = url
        self._connections: list[Connection] = []

    async def answer(self, do: str, agent: Json, at_once: int, seconds: float = 0) -> Outcome:
        """`load`: keep so many runs under way for a time. `batch`: so many at once. `start`: so many, not awaited."""
        while len(self._connections) < at_once:
            self._connections.append(Connection(self._url))
        if do == "start":
            lanes = self._connections[:32]
            shares = [range(number, at_once, len(lanes)) for number in range(len(lanes))]
            started = await asyncio.gather(*(self._several(*each, agent) for each in zip(lanes, shares, strict=True)))
            return {"runs": [run for each in started for run in each]}
        runs = [partial(self._run, each, agent) for each in self._connections[:at_once]]
        return await in_tasks(runs, seconds)

    async def _several(self, connection: Connection, share: range, agent: Json) -> list[str]:
        return [await self._start(connection, agent) for _ in share]

    async def _start(self, connection: Connection, agent: Json) -> str:
        return str(
            (await connection.post("/api/agent/start", {"agentConfig": agent, "prompt": "1 + 2"}))["executionId"]
        )

    async def _run(self, connection: Connection, agent: Json) -> None:
        run = await self._start(connection, agent)
        while True:
            answer = await connection.get(f"/api/agent/{run}/status?waitMs={WAIT_MS}")
            if answer["isComplete"]:
                break
        if answer["status"] != "COMPLETED":
            raise RuntimeError(f"a run ended so: {answer}")


if __name__ == "__main__":
    asyncio.run(serve_async(Client(sys.argv[1]).answer))
