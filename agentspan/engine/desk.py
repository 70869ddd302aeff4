"""What the writer and its commands share beside the transaction."""

from agentspan.core.ids import split_task
from agentspan.engine.pollers import Poller, Pollers
from agentspan.store.views import TaskView, Want

TAKEN_KEPT = 10_000
"""Leases remembered; one that was settled through another server is never taken out."""


class Desk:
    """What commands and the writer share beside the transaction, and what a commit leaves to be done on the loop."""

    def __init__(self, pollers: Pollers, replica: str) -> None:
        self.pollers = pollers
        self.replica = replica
        self.taken: dict[tuple[str, int], tuple[str, int]] = {}
        self.deliveries: list[tuple[Poller, TaskView]] = []
        self.owed: list[Poller] = []
        self.put: set[Want] = set()
        self.soonest = 0

    def reserve(self, want: Want) -> Poller | None:
        """A waiter for this queue; it is owed one task until the commit, or until `unreserve`."""
        poller = self.pollers.reserve(want)
        if poller is not None:
            self.owed.append(poller)
        return poller

    def reserve_more(self, poller: Poller) -> None:
        """One more task for the same waiter."""
        self.pollers.reserve_more(poller)
        self.owed.append(poller)

    def unreserve(self, poller: Poller) -> None:
        """There is nothing for this waiter after all."""
        self.owed.remove(poller)
        self.pollers.settle(poller, room=1)

    def give_up(self) -> None:
        """Nothing was committed: nobody is owed anything, and what was found out may be wrong."""
        for _, view in self.deliveries:
            self.taken.pop(split_task(view.task_id), None)
        for poller in self.owed:
            self.pollers.settle(poller, room=1)
        self.pollers.doubt()
        self.clear()

    def hand(self, poller: Poller, view: TaskView, attempt_ms: int) -> None:
        """Lease a task to a reserved waiter: it is delivered after the commit."""
        self.taken[split_task(view.task_id)] = (view.worker, view.started_at)
        if len(self.taken) > TAKEN_KEPT:
            del self.taken[next(iter(self.taken))]
        self.deliveries.append((poller, view))
        self.due(view.started_at + view.lease_ms if view.lease_ms else 0)
        self.due(view.started_at + attempt_ms if attempt_ms else 0)

    def due(self, moment: int) -> None:
        """The sweeper must look by then."""
        if moment:
            self.soonest = min(self.soonest or moment, moment)

    def clear(self) -> None:
        self.deliveries, self.owed, self.put, self.soonest = [], [], set(), 0
