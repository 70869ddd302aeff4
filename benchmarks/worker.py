"""The worker process, as a child: serves the tool `add`, and tells when each run came by.

`raw` speaks the protocol with next to nothing around it: one request reports what was done and polls for more.
`sdk` is the worker that users get. {"since": ...} answers the times at which tasks of each run came after a moment;
{"drain": ...} takes a given number of tasks from the queue with several connections.
"""

import asyncio
import sys
import time
from typing import Any

from benchmarks.children import serve_async
from benchmarks.wire import Connection

Json = dict[str, Any]

LEASE_SECONDS = 10
WAIT_MS = 30_000
RETRY_SECONDS = 0.02

seen: dict[str, list[float]] = {}


async def raw(url: str) -> None:
    connection, results = Connection(url), list[Json]()
    while True:
        try:
            answer = await connection.post("/api/tasks/report", {"results": results, "poll": _wish(100, WAIT_MS)})
        except OSError:
            await asyncio.sleep(RETRY_SECONDS)
            continue
        now = time.monotonic()
        for task in answer["tasks"]:
            seen.setdefault(task["workflowInstanceId"], []).append(now)
        results = [_result(task) for task in answer["tasks"]]


async def sdk(url: str) -> None:
    from agentspan.agents import Agent, tool
    from agentspan.agents.context import ToolContext
    from agentspan.agents.worker import Worker
    from agentspan.client.client import Client

    @tool
    def add(a: int, b: int, context: ToolContext) -> int:
        """The sum of two numbers."""
        seen.setdefault(context.execution_id, []).append(time.monotonic())
        return a + b

    await Worker(Client(url)).serve(Agent(name="plain", model="scripted/plain", tools=[add]))


async def drain(url: str, count: int, batch: int, lanes: int) -> Json:
    """Take and report `count` tasks that are in the queue."""
    left = count

    async def lane() -> None:
        nonlocal left
        connection, results = Connection(url), list[Json]()
        while left > 0:
            answer = await connection.post("/api/tasks/report", {"results": results, "poll": _wish(batch, 100)})
            left -= len(answer["tasks"])
            results = [_result(task) for task in answer["tasks"]]
        await connection.post("/api/tasks/report", {"results": results})
        connection.close()

    start = time.perf_counter()
    await asyncio.gather(*(lane() for _ in range(lanes)))
    return {"tasks": count - left, "seconds": time.perf_counter() - start}


def _wish(count: int, wait_ms: int) -> Json:
    return {
        "workerId": "raw",
        "queues": [{"name": "add"}],
        "count": count,
        "timeoutMs": wait_ms,
        "leaseSeconds": LEASE_SECONDS,
    }


def _result(task: Json) -> Json:
    given = task["inputData"]
    return {
        "workflowInstanceId": task["workflowInstanceId"],
        "taskId": task["taskId"],
        "workerId": "raw",
        "status": "COMPLETED",
        "outputData": {"result": given["a"] + given["b"]},
    }


async def main(kind: str, url: str) -> None:
    working = asyncio.create_task({"raw": raw, "sdk": sdk}[kind](url)) if kind != "none" else None

    async def answer(since: float = 0, forget: bool = False, **drained: int) -> Json:
        if working is not None and working.done():
            working.result()
        if drained:
            return await drain(url, **drained)
        found = {run: [each for each in times if each >= since] for run, times in seen.items()}
        if forget:
            seen.clear()
        return {run: times for run, times in found.items() if times}

    await serve_async(answer)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
