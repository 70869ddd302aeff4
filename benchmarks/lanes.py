"""Keeping a number of runs under way at once: each lane starts its next run when its last is over, at least one."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

Outcome = dict[str, Any]


def in_threads(run: Callable[[], object], at_once: int, seconds: float) -> Outcome:
    """For some seconds, until all that were begun are over: {seconds, latencies}."""
    begun, latencies = time.perf_counter(), list[float]()

    def lane() -> None:
        now = time.perf_counter()
        while True:
            run()
            start, now = now, time.perf_counter()
            latencies.append(now - start)
            if now > begun + seconds:
                return

    threads = [threading.Thread(target=lane) for _ in range(at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"seconds": time.perf_counter() - begun, "latencies": latencies}


async def in_tasks(runs: Sequence[Callable[[], Awaitable[object]]], seconds: float) -> Outcome:
    """The same with a coroutine function for each lane."""
    begun, latencies = time.perf_counter(), list[float]()

    async def lane(run: Callable[[], Awaitable[object]]) -> None:
        now = time.perf_counter()
        while True:
            await run()
            start, now = now, time.perf_counter()
            latencies.append(now - start)
            if now > begun + seconds:
                return

    await asyncio.gather(*map(lane, runs))
    return {"seconds": time.perf_counter() - begun, "latencies": latencies}
