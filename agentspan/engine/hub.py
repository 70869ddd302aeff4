"""Wakes waiters after a commit: streams, those who wait for an end, and those who watch everything. Losing it costs
latency, never truth."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from msgspec import Struct

from agentspan.core.advance import ROOT, Tree
from agentspan.core.events import ENDINGS, SETTLEMENTS, Event, TaskScheduled
from agentspan.core.states import Kind

Item = list[Event] | dict[str, Any]
BACKLOG = 1_000


class Subscription:
    """One reader's queue of what was committed in one tree, and of token deltas. `missed` if it did not keep up.

    `ends`: it only wants to hear of events that end an execution; `of_tree`: and only the tree's own.
    """

    def __init__(self, *, ends: bool = False, of_tree: bool = False) -> None:
        self.ends, self.of_tree = ends, of_tree
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


class Change(Struct, frozen=True):
    """What moved: trees, those of them that ended, whether a person was asked or has answered, whether workers came;
    or, `missed`, more than is known."""

    executions: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()
    requests: bool = False
    workers: bool = False
    missed: bool = False


class Watch:
    """One reader's summary of what moved anywhere since it looked last: as large as its trees, whatever they do."""

    def __init__(self) -> None:
        self._moved: dict[str, bool] = {}
        self._requests = self._workers = False
        self._missed = False
        self._woken = asyncio.Event()

    def put(self, change: Change) -> None:
        for tree in change.executions:
            self._moved.setdefault(tree, False)
        self._moved.update(dict.fromkeys(change.ended, True))
        self._requests |= change.requests
        self._workers |= change.workers
        if len(self._moved) > BACKLOG:
            self.miss()
        self._woken.set()

    def miss(self) -> None:
        """It must read everything anew."""
        self._moved.clear()
        self._missed = True
        self._woken.set()

    async def wait(self, seconds: float) -> bool:
        """Whether something moved within that time."""
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return False
        return True

    def take(self) -> Change:
        """What moved since the last time."""
        moved, ended = tuple(self._moved), tuple(tree for tree, ended in self._moved.items() if ended)
        change = Change(moved, ended, self._requests, self._workers, self._missed)
        self._moved = {}
        self._requests = self._workers = self._missed = False
        self._woken.clear()
        return change


class Hub:
    """Used on the loop's thread alone."""

    def __init__(self) -> None:
        self._subscriptions: dict[str, set[Subscription]] = {}
        self._watches: set[Watch] = set()
        self.came: Callable[[str], None] = lambda tree: None
        """Called when somebody begins to read a tree that nobody read until now."""

    @contextmanager
    def subscribe(self, tree: str, *, ends: bool = False, of_tree: bool = False) -> Iterator[Subscription]:
        subscription = Subscription(ends=ends, of_tree=of_tree)
        if not ends and not self.is_read(tree):
            self.came(tree)
        self._subscriptions.setdefault(tree, set()).add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions[tree].discard(subscription)
            if not self._subscriptions[tree]:
                del self._subscriptions[tree]

    @contextmanager
    def watch(self) -> Iterator[Watch]:
        """A view of everything."""
        watch = Watch()
        self._watches.add(watch)
        try:
            yield watch
        finally:
            self._watches.discard(watch)

    @property
    def overseen(self) -> bool:
        """Whether anybody watches everything."""
        return bool(self._watches)

    def tell(self, change: Change) -> None:
        for watch in self._watches:
            watch.put(change)

    def watched(self, tree: str) -> bool:
        return tree in self._subscriptions

    def is_read(self, tree: str) -> bool:
        """Whether somebody reads along, who would see an answer while it is written."""
        return any(not each.ends for each in self._subscriptions.get(tree, ()))

    def readers(self) -> tuple[int, int]:
        """How many read one tree along, and how many watch everything."""
        return sum(not each.ends for some in self._subscriptions.values() for each in some), len(self._watches)

    def read(self) -> list[str]:
        """The trees that somebody reads along."""
        return [tree for tree in self._subscriptions if self.is_read(tree)]

    def publish(self, tree: str, item: Item | None, *, ended: bool = True) -> None:
        """Committed events or a token delta; None: something happened, read it. `ended`: the tree may have."""
        for subscription in self._subscriptions.get(tree, ()):
            if subscription.of_tree and not ended:
                continue
            if not subscription.ends or item is None or _ends(item):
                subscription.put(item)

    def publish_all(self) -> None:
        """Something may have happened anywhere."""
        for tree in self._subscriptions:
            self.publish(tree, None)
        for watch in self._watches:
            watch.miss()


def change(commit: Iterable[tuple[str, Tree | None, list[Event]]]) -> Change:
    """What a commit means to those who watch everything: each tree with its state before, and its new events."""
    moved = list(commit)
    return Change(
        executions=tuple(tree for tree, _, _ in moved),
        ended=tuple(tree for tree, _, events in moved if any(_ends_tree(event) for event in events)),
        requests=any(_is_about_people(before, event) for _, before, events in moved for event in events),
    )


def _ends_tree(event: Event) -> bool:
    return event.execution == ROOT and isinstance(event.fact, ENDINGS)


def _is_about_people(before: Tree | None, event: Event) -> bool:
    """Whether the event opens or settles a request."""
    if isinstance(event.fact, TaskScheduled):
        return event.fact.kind is Kind.HUMAN
    if before is None or not isinstance(event.fact, SETTLEMENTS) or event.execution not in before.runs:
        return False
    order = before.runs[event.execution].tasks.get(event.fact.task)
    return order is not None and order.kind is Kind.HUMAN


def _ends(item: Item) -> bool:
    return isinstance(item, list) and any(isinstance(event.fact, ENDINGS) for event in item)
