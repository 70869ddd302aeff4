"""Wakes waiters after a commit: streams, and those who wait for an end. Losing it costs latency, never truth."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from agentspan.core.events import ENDINGS, Event

Item = list[Event] | dict[str, Any]
BACKLOG = 1_000


class Subscription:
    """One reader's queue of what was committed in one tree, and of token deltas. `missed` if it did not keep up.

    `ends`: it only wants to hear of events that end an execution.
    """

    def __init__(self, *, ends: bool = False) -> None:
        self.ends = ends
        self.items: list[Item] = []
        self.missed = True
        self._woken = asyncio.Event()

    def put(self, item: Item | None) -> None:
        if item is None or len(self.items) >= BACKLOG:
            self.items.clear()
            self.missed = True
        else:
            self.items.append(item)
        self._woken.set()

    async def wait(self, seconds: float) -> bool:
        """Whether something came within that time."""
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return False
        self._woken.clear()
        return True

    def take(self) -> tuple[list[Item], bool]:
        """What came, and whether something is missing from it."""
        items, missed = self.items, self.missed
        self.items, self.missed = [], False
        return items, missed


class Hub:
    """Used on the loop's thread alone."""

    def __init__(self) -> None:
        self._subscriptions: dict[str, set[Subscription]] = {}

    @contextmanager
    def subscribe(self, tree: str, *, ends: bool = False) -> Iterator[Subscription]:
        subscription = Subscription(ends=ends)
        self._subscriptions.setdefault(tree, set()).add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions[tree].discard(subscription)
            if not self._subscriptions[tree]:
                del self._subscriptions[tree]

    def watched(self, tree: str) -> bool:
        return tree in self._subscriptions

    def publish(self, tree: str, item: Item | None) -> None:
        """Committed events or a token delta; None: something happened, read it."""
        for subscription in self._subscriptions.get(tree, ()):
            if not subscription.ends or item is None or _ends(item):
                subscription.put(item)

    def publish_all(self) -> None:
        """Something may have happened anywhere."""
        for tree in self._subscriptions:
            self.publish(tree, None)


def _ends(item: Item) -> bool:
    return isinstance(item, list) and any(isinstance(event.fact, ENDINGS) for event in item)
