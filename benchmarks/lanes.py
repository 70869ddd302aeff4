"""Keeping a number of runs under way at once: each lane starts its next run when its last is over."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

Outcome = dict[str, Any]


def in_threads(run: Callable[[], object], at_once: int, seconds: float) -> Outcome:
    """Runs begun within `seconds`, all finished: {seconds, latencies}."""
    begun, latencies = time.perf_counter(), list[float]()

    def lane() -> None:
        while (start := time.perf_counter()) < begun + seconds:
            run()
            latencies.append(time.perf_counter() - start)

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
        while (start := time.perf_counter()) < begun + seconds:
            await run()
            latencies.append(time.perf_counter() - start)

    await asyncio.gather(*map(lane, runs))
    return {"seconds": time.perf_counter() - begun, "latencies": latencies}
