"""Who waits for which queue, and which queues may hold something.

The writer's thread reserves waiters while it schedules, so that a task is leased in the transaction that schedules it;
the loop's thread enters and leaves. Nothing here is truth: a lost hint costs one look at the database.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable

from agentspan.clock import now_ms
from agentspan.store.views import PollView, TaskView, Want

HINT_MS = 5_000
"""How long "nothing there" is believed where other replicas may have put something."""
AWAY_MS = 90_000
"""A worker that has not polled for longer was away: a long poll and what comes between two take less."""


WORKERS_KEPT = 1_000
QUEUES_KEPT = 10_000

Polls = dict[Want, dict[str, int]]


class Poller:
    """A worker's standing wish for up to `room` tasks of some queues. `deliver` is called on the loop's thread."""

    def __init__(
        self,
        wants: Iterable[Want],
        worker: str,
        room: int,
        lease_ms: Callable[[str], int],
        deliver: Callable[[list[TaskView]], None],
    ) -> None:
        self.wants = tuple(wants)
        self.worker = worker
        self.room = room
        self.reserved = 0
        self.lease_ms = lease_ms
        self.deliver = deliver


class Pollers:
    def __init__(self, *, alone: bool) -> None:
        self.alone = alone
        self._lock = threading.Lock()
        self._waiting: dict[Want, OrderedDict[Poller, None]] = {}
        self._empty_at: dict[Want, int] = {}
        self._own: Polls = {}
        self._others: Polls = {}
        self.came: Callable[[], None] = lambda: None
        """Called on the loop's thread when a worker polls a queue that it has not polled for a while."""

    def enter(self, poller: Poller) -> None:
        now = now_ms()
        with self._lock:
            for want in poller.wants:
                self._waiting.setdefault(want, OrderedDict())[poller] = None
            came = [want for want in poller.wants if _note(self._own, want, poller.worker, now)]
        if came:
            self.came()

    def leave(self, poller: Poller) -> None:
        """No more reservations; those that are made will still be delivered."""
        now = now_ms()
        with self._lock:
            poller.room = 0
            for want in poller.wants:
                if waiting := self._waiting.get(want):
                    waiting.pop(poller, None)
                    if not waiting:
                        del self._waiting[want]
                _note(self._own, want, poller.worker, now)

    def reserve(self, want: Want) -> Poller | None:
        """A waiter with room, the longest unserved first; it is owed one task until `settle`."""
        with self._lock:
            for poller in self._waiting.get(want, ()):
                if poller.room > 0:
                    poller.room -= 1
                    poller.reserved += 1
                    self._waiting[want].move_to_end(poller)
                    return poller
        return None

    def reserve_more(self, poller: Poller) -> None:
        """One more task for a waiter that asked for it, even if it has left meanwhile: it will hand it back."""
        with self._lock:
            poller.room = max(0, poller.room - 1)
            poller.reserved += 1

    def settle(self, poller: Poller, *, room: int = 0) -> None:
        """The reservation is over. `room=1` gives the place back."""
        with self._lock:
            poller.reserved -= 1
            poller.room += room

    def freed(self, poller: Poller) -> None:
        """A standing poller has room for one more."""
        with self._lock:
            poller.room += 1

    def waiting(self, want: Want) -> bool:
        with self._lock:
            return any(poller.room > 0 for poller in self._waiting.get(want, ()))

    def count(self) -> int:
        """How many wait."""
        with self._lock:
            return len({poller for waiting in self._waiting.values() for poller in waiting})

    def wanted(self) -> list[Want]:
        """The queues that somebody waits for."""
        with self._lock:
            return list(self._waiting)

    def may_be_ready(self, wants: Iterable[Want]) -> list[Want]:
        """Those that have not been found empty since something was put there."""
        now = now_ms()
        with self._lock:
            return [want for want in wants if not self._believed_empty(want, now)]

    def is_empty(self, want: Want) -> bool:
        """Whether nothing is believed to be there."""
        with self._lock:
            return self._believed_empty(want, now_ms())

    def _believed_empty(self, want: Want, now: int) -> bool:
        found = self._empty_at.get(want)
        return found is not None and (self.alone or now - found < HINT_MS)

    def found_empty(self, want: Want) -> None:
        with self._lock:
            self._empty_at[want] = now_ms()

    def put(self, want: Want) -> None:
        """Something is there that nobody took."""
        with self._lock:
            self._empty_at.pop(want, None)

    def doubt(self) -> None:
        """Believe nothing to be empty: notifications may have been lost."""
        with self._lock:
            self._empty_at.clear()

    def seen(self, want: Want, worker: str, at: int) -> None:
        """Another replica tells of a poll."""
        with self._lock:
            came = _note(self._others, want, worker, at)
        if came:
            self.came()

    def dismiss(self) -> None:
        """Wake everyone who waits, with nothing: the server drains."""
        with self._lock:
            everyone = {poller for waiting in self._waiting.values() for poller in waiting}
        for poller in everyone:
            poller.deliver([])

    def fresh_polls(self, since: int) -> list[PollView]:
        """Who has polled since then, or waits now."""
        now = now_ms()
        with self._lock:
            waiting = {(want, poller.worker) for want, pollers in self._waiting.items() for poller in pollers}
            polled = {(w, worker) for w, workers in self._own.items() for worker, at in workers.items() if at >= since}
            return [PollView(name=w.name, domain=w.domain, worker=worker, at=now) for w, worker in waiting | polled]

    def last_poll(self, want: Want) -> int:
        """When the queue was last polled; now if somebody waits there at this moment; 0 if never."""
        with self._lock:
            if self._waiting.get(want):
                return now_ms()
            return max((*self._own.get(want, {}).values(), *self._others.get(want, {}).values()), default=0)

    def polls(self) -> list[PollView]:
        with self._lock:
            return [
                PollView(name=want.name, domain=want.domain, worker=worker, at=at)
                for polls in (self._own, self._others)
                for want, workers in polls.items()
                for worker, at in workers.items()
            ]


def _note(polls: Polls, want: Want, worker: str, at: int) -> bool:
    """Remember the poll, and forget the oldest where there are too many to be of use. Whether the worker was away."""
    workers = polls.setdefault(want, {})
    away = at - workers.pop(worker, 0) > AWAY_MS
    workers[worker] = at
    if len(workers) > WORKERS_KEPT:
        del workers[next(iter(workers))]
    if len(polls) > QUEUES_KEPT:
        del polls[next(iter(polls))]
    return away
