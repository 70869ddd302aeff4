"""Ready tasks to those who wait for them."""

from collections.abc import Sequence
from typing import Any

from agentspan.core.advance import ROOT
from agentspan.engine.desk import Desk
from agentspan.engine.pollers import Poller
from agentspan.store import queue, showing
from agentspan.store.ledger import Lease, Transaction
from agentspan.store.views import Want


def match(transaction: Transaction, desk: Desk, want: Want) -> None:
    """Lease what is ready in a queue, until nobody waits or nothing is left."""
    while poller := desk.reserve(want):
        lease, room = Lease(poller.worker, poller.lease_ms(want.name)), poller.room + 1
        rows = queue.claim(transaction.connection, want.name, want.domain, room, lease, transaction.at)
        if not rows:
            desk.unreserve(poller)
        for _ in rows[1:]:
            desk.reserve_more(poller)
        if rows:
            _hand(transaction, desk, poller, rows, lease)
        if len(rows) < room:
            desk.pollers.found_empty(want)
            desk.put.discard(want)
            return


def _hand(transaction: Transaction, desk: Desk, poller: Poller, rows: Sequence[Any], lease: Lease) -> None:
    transaction.look(row.tree for row in rows)
    shown = [(row, transaction.tree(row.tree)) for row in rows]
    runs = [held.tree.runs[row.execution] for row, held in shown]
    orders = [run.tasks[row.number] for (row, _), run in zip(shown, runs, strict=True)]
    sources = ((row.tree, order.source) for row, order in zip(rows, orders, strict=True))
    facts = transaction.facts(source for source in sources if source[1])
    for (row, held), run, order in zip(shown, runs, orders, strict=True):
        fact = facts.get((row.tree, order.source))
        known = {order.source: fact} if fact else {}
        given = transaction.material(row.tree, known).given(run, order)
        spec, of_run = held.spec.at(run.path), held.tree.runs[ROOT].credentials
        view = showing.scheduled(held.meta, spec, run, row.number, order, given, row.scheduled_at, of_run)
        desk.hand(poller, showing.taken(view, lease, transaction.at, row.polls), row.attempt_ms)
