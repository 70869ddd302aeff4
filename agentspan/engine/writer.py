"""The one writer: a thread that commits whatever was asked for while it was committing the last batch.

A lone request does not wait for company; many share one transaction. A request that cannot be done fails alone.
"""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from agentspan.core import events as e
from agentspan.core.advance import ROOT
from agentspan.core.states import Kind
from agentspan.engine.desk import Desk
from agentspan.engine.figures import Figures
from agentspan.engine.hub import change
from agentspan.engine.matching import match
from agentspan.errors import AgentspanError, Unavailable
from agentspan.store import showing
from agentspan.store.ledger import QUEUES, Held, Lease, Ledger, Transaction, domain_of
from agentspan.store.views import TaskView, Want

MOST_PER_COMMIT = 512
NOTICE_CHARS = 7_500
POLLED = (Kind.LLM, Kind.WORKER, Kind.HTTP, Kind.MCP)
"""The kinds of task that somebody waits for."""

T = TypeVar("T", covariant=True)


class Command(Protocol[T]):
    """Something to write. `trees` are locked before `apply`; a `late` command runs after the others were flushed."""

    trees: Sequence[str]
    whole: bool
    late: bool

    @property
    def claims(self) -> tuple[str, ...]: ...

    def apply(self, transaction: Transaction, desk: Desk) -> T: ...


class Committed:
    """One commit, as the loop's thread hears of it."""

    def __init__(self, transaction: Transaction, desk: Desk) -> None:
        self.events: list[tuple[Held, list[e.Event]]] = [
            (transaction.held[name], events) for name, events in transaction.events.items()
        ]
        self.at = transaction.at
        self.before = transaction.before
        self.deliveries = desk.deliveries
        self.put = desk.put
        self.soonest = desk.soonest


class _Asked(Generic[T]):
    def __init__(self, command: Command[T], answer: "asyncio.Future[T]") -> None:
        self.command, self.answer = command, answer
        self.value: Any = None
        self.problem: BaseException | None = None


class Writer:
    def __init__(
        self,
        ledger: Ledger,
        desk: Desk,
        loop: asyncio.AbstractEventLoop,
        committed: Callable[[Committed], None],
        figures: Figures,
    ) -> None:
        self.ledger, self.desk, self.loop, self.committed = ledger, desk, loop, committed
        self.figures = figures
        self.commits = 0
        self.doubted: Callable[[list[TaskView]], None] = lambda leases: None
        """Called on the loop's thread with leases that nobody was told of, and that may be in the database all the
        same: its connection was lost, so that nobody knows whether the commit was made."""
        self.alone = True
        self._asked: list[_Asked[Any]] = []
        self._wake = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name="agentspan-writer", daemon=True)
        self._thread.start()

    async def do(self, command: Command[T]) -> T:
        """The command's answer, once it is committed. Unavailable if the database does not answer: ask again."""
        asked = _Asked(command, self.loop.create_future())
        with self._wake:
            if self._stopped:
                raise Unavailable("the server is shutting down")
            self._asked.append(asked)
            self._wake.notify()
        answer: T = await asked.answer
        return answer

    @property
    def waiting(self) -> int:
        """How many requests wait for the commit after the present one."""
        return len(self._asked)

    def stop(self) -> None:
        """Finish what was asked, then end the thread."""
        with self._wake:
            self._stopped = True
            self._wake.notify()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._wake:
                while not self._asked and not self._stopped:
                    self._wake.wait()
                batch, self._asked = self._asked[:MOST_PER_COMMIT], self._asked[MOST_PER_COMMIT:]
            if not batch:
                return
            self._commit(batch)

    def _commit(self, batch: list[_Asked[Any]]) -> None:
        """One transaction for the batch, then the news to the loop."""
        desk = self.desk
        desk.clear()
        news = None
        try:
            began = time.perf_counter()
            transaction = self.ledger.commit(lambda transaction: self._apply(batch, transaction), self._notice)
            self.figures.commit(len(batch), time.perf_counter() - began)
            self.commits += bool(transaction.events)
            news = Committed(transaction, desk)
        except Exception as problem:  # the edge of the thread: each asker hears of it
            self.figures.failed_commits += 1
            if isinstance(problem, Unavailable) and (leases := [view for _, view in desk.deliveries]):
                self.loop.call_soon_threadsafe(self.doubted, leases)
            desk.give_up()
            if len(batch) > 1 and not isinstance(problem, Unavailable):
                for asked in batch:
                    asked.problem = None
                    self._commit([asked])
                return
            for asked in batch:
                asked.problem = asked.problem or problem
        self.loop.call_soon_threadsafe(self._tell, batch, news)

    def _apply(self, batch: list[_Asked[Any]], transaction: Transaction) -> None:
        # Keys are claimed in one order everywhere, so that two replicas cannot wait for each other.
        early = sorted((asked for asked in batch if not asked.command.late), key=lambda asked: asked.command.claims)
        whole = frozenset(name for asked in early if asked.command.whole for name in asked.command.trees)
        transaction.lock([name for asked in early for name in asked.command.trees], whole)
        for asked in early:
            self._one(asked, transaction)
        self._lease(transaction)
        transaction.flush()
        self.desk.due(transaction.soonest)
        for want in [want for want in self.desk.put if self.desk.pollers.waiting(want)]:
            match(transaction, self.desk, want)
        for asked in batch:
            if asked.command.late:
                self._one(asked, transaction)

    def _one(self, asked: _Asked[Any], transaction: Transaction) -> None:
        try:
            asked.value = asked.command.apply(transaction, self.desk)
        except AgentspanError as problem:
            asked.problem = problem

    def _lease(self, transaction: Transaction) -> None:
        """Give what was just scheduled to those who wait for it, in the same transaction."""
        for name, events in transaction.events.items():
            held = transaction.held[name]
            for event in events:
                if isinstance(event.fact, e.TaskScheduled):
                    self._lease_one(transaction, held, event, event.fact)
                elif isinstance(event.fact, e.SETTLEMENTS):
                    self.desk.taken.pop((name, event.fact.task), None)

    def _lease_one(self, transaction: Transaction, held: Held, event: e.Event, order: e.TaskScheduled) -> None:
        run = held.tree.runs[event.execution]
        if event.seq not in run.tasks or order.kind not in POLLED:
            return
        domain = domain_of(held.meta, held.spec.at(run.path), order)
        want = Want(QUEUES.get(order.kind, order.name), domain)
        available = transaction.at + order.delay_ms
        self.desk.due(available + order.limits.start_ms if order.limits.start_ms else 0)
        if order.delay_ms:
            self.desk.due(available)
            return
        # What waits there already comes first: then the task is put behind it, and matched after the flush.
        poller = self.desk.reserve(want) if self.desk.pollers.is_empty(want) else None
        if poller is None:
            self.desk.put.add(want)
            return
        lease = Lease(poller.worker, poller.lease_ms(want.name))
        transaction.leases[(held.meta.tree, event.seq)] = lease
        given = transaction.material(held.meta.tree).given(run, order)
        spec, of_run = held.spec.at(run.path), held.tree.runs[ROOT].credentials
        view = showing.scheduled(held.meta, spec, run, event.seq, order, given, transaction.at, of_run)
        self.desk.hand(poller, showing.taken(view, lease, transaction.at), order.limits.attempt_ms)

    def _notice(self, transaction: Transaction) -> str | None:
        """What other replicas must hear: which trees moved, which queues were filled. None if nobody listens."""
        if self.alone or not (transaction.events or self.desk.put):
            return None
        queues = [[want.name, want.domain] for want in self.desk.put]
        moved = change((name, transaction.before.get(name), events) for name, events in transaction.events.items())
        more = {"ended": list(map(moved.executions.index, moved.ended)), "requests": moved.requests}
        notice = json.dumps({"from": self.desk.replica, "trees": moved.executions, "queues": queues, **more})
        return notice if len(notice) < NOTICE_CHARS else json.dumps({"from": self.desk.replica, "all": True})

    def _tell(self, batch: list[_Asked[Any]], news: Committed | None) -> None:
        """On the loop's thread: hand out what was committed, then answer."""
        if news:
            self.committed(news)
        for asked in batch:
            if asked.answer.done():
                continue
            if asked.problem:
                asked.answer.set_exception(asked.problem)
            else:
                asked.answer.set_result(asked.value)
