"""The ledger: the only writer of the tables.

A `Transaction` holds trees under lock, appends what follows from facts, and at its end writes everything in a handful
of statements: events, snapshots, and the task rows that are projected from both. It runs in the writer's thread alone.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.engine import Connection

from agentspan.clock import now_ms
from agentspan.core import events as e
from agentspan.core import run as runs
from agentspan.core.advance import ROOT, Tree, advance
from agentspan.core.log import Log
from agentspan.core.material import Material
from agentspan.core.run import Run
from agentspan.core.states import Kind
from agentspan.core.turn import model_of
from agentspan.errors import NotFound
from agentspan.spec import mask, wire
from agentspan.spec.agent import AgentSpec
from agentspan.spec.policy import milliseconds
from agentspan.store import bulk, codec, spending
from agentspan.store import tables as t
from agentspan.store.database import Database, unavailable

CHANNEL = "left('agentspan_' || current_schema(), 63)"
"""Each schema has a channel of its own."""
CACHED_TREES = 2_000
CACHED_SPECS = 500
KNOWN_MS = 3_600_000
"""So long a definition that was written is taken to be stored."""
PREVIEW_CHARS = 200
QUEUES = {Kind.LLM: "@llm", Kind.HTTP: "@http", Kind.MCP: "@mcp", Kind.HUMAN: "@human"}
"""Queues of tasks that no worker of the user performs. A worker's queue is the tool's name."""


class Meta(Struct, frozen=True):
    """What a tree is besides its history."""

    tree: str
    spec: str
    session_id: str = ""
    correlation_id: str = ""
    run_id: str = ""
    priority: int = 0
    version: int = 1
    forked_from: str = ""
    forked_at: int = 0


class Held(Struct):
    """A tree in a transaction's hands. `runs_before` are the runs as they are stored."""

    meta: Meta
    spec: AgentSpec
    tree: Tree
    stored: dict[int, Run]
    new: bool = False


class Lease(Struct, frozen=True):
    """A claim on a task: by whom, and for how many milliseconds; 0 as long as the owner lives."""

    owner: str
    lease_ms: int


class Ledger:
    """Opens transactions, and keeps hot trees in memory between them. On PostgreSQL a tree that another replica has
    moved is seen by its sequence number and read again."""

    def __init__(self, database: Database, blob_bytes: int) -> None:
        self.database = database
        self.blob_bytes = blob_bytes
        self.cache: OrderedDict[str, Held] = OrderedDict()
        self._specs: OrderedDict[str, AgentSpec] = OrderedDict()
        self._put: dict[str, int] = {}

    def commit(
        self, work: Callable[["Transaction"], None], notice: Callable[["Transaction"], str | None]
    ) -> "Transaction":
        """Do `work` in one transaction. On PostgreSQL `notice` gives the one notification that goes with the commit.

        Unavailable if the database is away or full; nothing has happened then.
        """
        try:
            return unavailable(lambda: self._commit(work, notice))
        except BaseException:
            self.cache.clear()
            raise

    def _commit(
        self, work: Callable[["Transaction"], None], notice: Callable[["Transaction"], str | None]
    ) -> "Transaction":
        with self.database.writing.connect() as connection, connection.begin():
            transaction = Transaction(self, connection, now_ms())
            work(transaction)
            if not self.database.is_sqlite and (payload := notice(transaction)):
                connection.execute(NOTIFY, {"payload": payload})
        self._keep(transaction.held[name] for name in transaction.events)
        for digest, spec in transaction.new_specs.items():
            self.learn(digest, spec)
        self._remember(transaction.put_specs, transaction.at)
        return transaction

    def _keep(self, held: Iterable[Held]) -> None:
        """After a commit: remember trees that go on, forget those that ended."""
        for each in held:
            if each.tree.runs[ROOT].ended:
                self.cache.pop(each.meta.tree, None)
                continue
            self.cache[each.meta.tree] = each
            self.cache.move_to_end(each.meta.tree)
        while len(self.cache) > CACHED_TREES:
            self.cache.popitem(last=False)

    def spec(self, connection: Connection, digest: str) -> AgentSpec:
        if digest not in self._specs:
            data = connection.execute(SPEC, {"digest": digest}).scalar_one()
            self.learn(digest, wire.load(data))
        return self._specs[digest]

    def knows(self, digest: str, at: int) -> bool:
        """Whether the spec is known to be stored: it was written a short while ago. What nobody has written for much
        longer, and no run refers to, may have been removed (see `retention`)."""
        return self._put.get(digest, 0) > at - KNOWN_MS

    def _remember(self, digests: Iterable[str], at: int) -> None:
        for digest in digests:
            self._put.pop(digest, None)
            self._put[digest] = at
        while len(self._put) > CACHED_SPECS:
            del self._put[next(iter(self._put))]

    def learn(self, digest: str, spec: AgentSpec) -> None:
        self._specs[digest] = spec
        while len(self._specs) > CACHED_SPECS:
            self._specs.popitem(last=False)


class Transaction:
    """One group commit. `at` is its time: every event in it bears it. `soonest` is the earliest end of a run's total
    time among those that it wrote, 0 for none."""

    def __init__(self, ledger: Ledger, connection: Connection, at: int) -> None:
        self.ledger, self.connection, self.at = ledger, connection, at
        self.held: dict[str, Held] = {}
        self.events: dict[str, list[e.Event]] = {}
        self.before: dict[str, Tree] = {}
        self.adopted: dict[str, int] = {}
        self.soonest = 0
        self.leases: dict[tuple[str, int], Lease] = {}
        self.new_specs: dict[str, AgentSpec] = {}
        self.put_specs: list[str] = []

    def lock(self, trees: Sequence[str], whole: frozenset[str] = frozenset()) -> None:
        """Take the trees in the order of their ids and read those that are not in memory as they are stored.

        A tree in `whole` comes with its ended runs too.
        """
        self._have(sorted(set(trees) - self.held.keys()), LOCK, whole)

    def _have(self, names: list[str], current_seqs: Any, whole: frozenset[str]) -> None:
        if not names:
            return
        if self.ledger.database.is_sqlite:
            current = {name: self.ledger.cache[name].tree.seq for name in names if name in self.ledger.cache}
        else:
            current = {row.tree: row.seq for row in self.connection.execute(current_seqs, {"trees": names})}
        for name in names:
            hot = self.ledger.cache.get(name)
            if hot and hot.tree.seq == current.get(name) and name not in whole:
                self.held[name] = Held(hot.meta, hot.spec, hot.tree, hot.tree.runs)
        if cold := [name for name in names if name not in self.held]:
            self._read(cold, whole)

    def tree(self, name: str) -> Held:
        """The tree of that id, locked before; NotFound if there is none."""
        if name not in self.held:
            raise NotFound(f"there is no execution {name!r}")
        return self.held[name]

    def create(self, meta: Meta, spec: AgentSpec) -> Held:
        """A tree that this transaction brings into being."""
        self.new_specs[meta.spec] = spec
        held = Held(meta, spec, Tree(meta.tree), {}, new=True)
        self.held[meta.tree] = held
        return held

    def append(self, name: str, facts: Iterable[tuple[int, e.AnyFact]]) -> list[e.Event]:
        """Fold the facts in, and all that follows; gives the events that will be appended."""
        held = self.tree(name)
        self.before.setdefault(name, held.tree)
        held.tree, appended = advance(held.spec, held.tree, facts, self.at, self.log(name))
        self.events.setdefault(name, []).extend(appended)
        return appended

    def log(self, name: str) -> Log:
        """The log of a tree in hand: what was appended here, and what is stored."""

        def find(seqs: Iterable[int]) -> dict[int, e.AnyFact]:
            return {seq: fact for (_, seq), fact in self.facts((name, seq) for seq in seqs).items()}

        return Log(find)

    def material(self, name: str, known: dict[int, e.AnyFact] | None = None) -> Material:
        """What the tasks of a tree in hand are about; `known` are facts that were read before."""
        held, log = self.tree(name), self.log(name)
        for seq, fact in (known or {}).items():
            log.add(seq, fact)

        def run_of(number: int) -> Run:
            return held.tree.runs[number]

        def events_of(number: int) -> list[e.Event]:
            before = stored_events(self.connection, name, execution=number)
            last = before[-1].seq if before else 0
            return [*before, *(x for x in self.events.get(name, ()) if x.execution == number and x.seq > last)]

        return Material(held.spec, log, run_of, events_of)

    def adopt(self, name: str, tree: Tree, events: Sequence[e.Event]) -> None:
        """Take over a history that was folded elsewhere (a fork's shared part)."""
        self.tree(name).tree = tree
        self.events.setdefault(name, []).extend(events)
        self.adopted[name] = len(self.events[name])

    def flush(self) -> None:
        """Write everything: called once, last."""
        changed = [self.held[name] for name in self.events]
        to = self.connection
        rows, blobs = self._event_rows(changed)
        with bulk.pipeline(to):
            bulk.put(to, t.specs, self._spec_rows(), ("created_at",))
            bulk.insert(to, t.trees, [tree_row(held, self.at) for held in changed if held.new])
            bulk.update(to, t.trees, [{"tree": h.meta.tree, "seq": h.tree.seq} for h in changed if not h.new])
            bulk.insert(to, t.blobs, blobs, ignore=True)
            bulk.insert(to, t.events, rows)
            self._write_executions(changed)
            self._write_tasks(changed)
            bulk.add(to, t.spending, self._spending_rows(changed), SUMS)
        for held in changed:
            living = {number: run for number, run in held.tree.runs.items() if number == ROOT or not run.ended}
            held.tree = Tree(held.meta.tree, held.tree.seq, living)
            held.stored, held.new = living, False

    def look(self, trees: Iterable[str]) -> None:
        """Have the trees at hand as they stand, without a lock: enough to show their tasks."""
        self._have(sorted(set(trees) - self.held.keys()), SEQS, frozenset())

    def facts(self, keys: Iterable[tuple[str, int]]) -> dict[tuple[str, int], e.AnyFact]:
        """The facts of events, of this transaction or of the log."""
        wanted = set(keys)
        found = {
            (name, event.seq): event.fact
            for name in {name for name, _ in wanted}
            for event in self.events.get(name, ())
            if (name, event.seq) in wanted
        }
        if missing := list(wanted - found.keys()):
            dialect = self.connection.dialect.name
            for row in self.connection.execute(_chosen(dialect), bulk.keys(missing, dialect)):
                found[(row.tree, row.seq)] = codec.decode(row.data, row.payload)
        return found

    def _read(self, names: list[str], whole: frozenset[str]) -> None:
        found = {row.tree: row for row in self.connection.execute(TREES, {"trees": names})}
        living: dict[str, dict[int, Run]] = {name: {} for name in found}
        for row in self.connection.execute(RUNS, {"trees": [name for name in found if name not in whole]}):
            living[row.tree][row.number] = runs.load(row.run)
        for row in self.connection.execute(ALL_RUNS, {"trees": [name for name in found if name in whole]}):
            living[row.tree][row.number] = runs.load(row.run)
        for name, row in found.items():
            meta = Meta(
                name, row.spec, row.session_id, row.correlation_id, row.run_id, row.priority, row.version,
                row.forked_from, row.forked_at,
            )  # fmt: skip
            spec = self.ledger.spec(self.connection, row.spec)
            self.held[name] = Held(meta, spec, Tree(name, row.seq, living[name]), living[name])

    def _spec_rows(self) -> list[dict[str, Any]]:
        new = [digest for digest in sorted(self.new_specs) if not self.ledger.knows(digest, self.at)]
        self.put_specs += new
        return [{"digest": each, "data": wire.dump(self.new_specs[each]), "created_at": self.at} for each in new]

    def _event_rows(self, changed: list[Held]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The rows of the log, and those of the payloads that are too large for it."""
        rows, blobs = [], []
        for held in changed:
            tree = held.meta.tree
            for event in self.events[tree]:
                data, digest, payload = codec.encode(event.fact, self.ledger.blob_bytes)
                rows.append(
                    {
                        "tree": tree, "seq": event.seq, "execution": event.execution, "at": event.at, "data": data,
                        "blob": digest,
                    }
                )  # fmt: skip
                if digest:
                    blobs.append({"tree": tree, "digest": digest, "data": payload})
        return rows, blobs

    def _write_executions(self, changed: list[Held]) -> None:
        inserts, updates, quiet = [], [], []
        for held in changed:
            for number, run in held.tree.runs.items():
                before = held.stored.get(number)
                if before is run:
                    continue
                row = execution_row(held, run)
                if row["due_at"]:
                    self.soonest = min(self.soonest or row["due_at"], row["due_at"])
                if before and not run.ended and (before.status, before.model) == (run.status, run.model):
                    quiet.append({key: value for key, value in row.items() if key not in INDEXED})
                elif before:
                    updates.append({key: value for key, value in row.items() if key not in FIXED})
                else:
                    inserts.append({**row, "preview": self._preview(held) if number == ROOT else ""})
        bulk.insert(self.connection, t.executions, inserts)
        bulk.update(self.connection, t.executions, updates)
        bulk.update(self.connection, t.executions, quiet)

    def _spending_rows(self, changed: list[Held]) -> list[dict[str, Any]]:
        rows: spending.Rows = {}
        for held in changed:
            name = held.meta.tree
            new = self.events[name][self.adopted.get(name, 0) :]
            spending.book(rows, name, held.meta.session_id, held.stored, new)
        for (name, number, _, _), row in rows.items():
            held = self.held[name]
            row |= {"agent": held.spec.at(held.tree.runs[number].path).name, "root_agent": held.spec.name}
        return list(rows.values())

    def _preview(self, held: Held) -> str:
        first = self.events[held.meta.tree][0].fact
        given = first.input if isinstance(first, e.ExecutionStarted) else None
        prompt = str((given or {}).get("prompt") or "")
        return shown(prompt, held.spec)[:PREVIEW_CHARS].replace("\x00", "")

    def _write_tasks(self, changed: list[Held]) -> None:
        inserts, deletes, decided = [], [], []
        for held in changed:
            name = held.meta.tree
            for number, run in held.tree.runs.items():
                before = held.stored.get(number)
                if before is run:
                    continue
                was, now = before.tasks if before else {}, run.tasks
                gone = [task for task in was if task not in now]
                deletes += [{"tree": name, "number": task} for task in gone]
                decided += [
                    {"tree": name, "number": task, "at": self.at} for task in gone if was[task].kind is Kind.HUMAN
                ]
                inserts += [
                    self.task_row(held, run, task, order)
                    for task, order in now.items()
                    if task not in was and order.kind is not Kind.AGENT
                ]
        bulk.delete(self.connection, t.tasks, deletes)
        bulk.insert(self.connection, t.tasks, inserts)
        bulk.insert(self.connection, t.decisions, decided, ignore=True)

    def task_row(self, held: Held, run: Run, task: int, order: e.TaskScheduled) -> dict[str, Any]:
        """The queue's row of an open task, leased if a worker was waiting for it."""
        available = self.at + order.delay_ms
        start_by = available + order.limits.start_ms if order.limits.start_ms else 0
        if start_by:
            self.soonest = min(self.soonest or start_by, start_by)
        row = {
            "tree": held.meta.tree, "number": task, "execution": run.id, "queue": QUEUES.get(order.kind, order.name),
            "domain": domain_of(held.meta, held.spec.at(run.path), order), "priority": held.meta.priority,
            "status": "SCHEDULED", "scheduled_at": self.at, "available_at": available, "start_by": start_by,
            "attempt_ms": order.limits.attempt_ms, "finish_by": 0, "lease_until": 0, "due_at": start_by,
            "leased_at": 0, "owner": "", "polls": 0,
        }  # fmt: skip
        if order.kind is Kind.HUMAN:
            return {**row, "status": "IN_PROGRESS"}
        lease = self.leases.get((held.meta.tree, task))
        return {**row, **leased(lease, self.at, order.limits.attempt_ms)} if lease else row


def stored_events(
    connection: Connection, tree: str, after: int = 0, execution: int | None = None, limit: int = 0
) -> list[e.Event]:
    """The stored events of a tree, or of one execution in it, that come after a number."""
    statement = EVENTS if execution is None else EVENTS.where(t.events.c.execution == execution)
    rows = connection.execute(statement.limit(limit) if limit else statement, {"tree": tree, "after": after})
    return [e.Event(row.seq, row.execution, row.at, codec.decode(row.data, row.payload)) for row in rows]


def notify(transaction: Transaction, payload: dict[str, Any]) -> None:
    """A notification that no event comes with."""
    text = msgspec.json.encode(payload).decode()
    transaction.connection.execute(NOTIFY, {"payload": text})


def domain_of(meta: Meta, spec: AgentSpec, order: e.TaskScheduled) -> str:
    """Where a task waits: in the run's own domain if it has one, unless its agent was deployed by somebody else."""
    return meta.run_id if order.kind is Kind.WORKER and not spec.deployed else ""


def leased(lease: Lease, at: int, attempt_ms: int) -> dict[str, Any]:
    """The columns of a task that is taken now."""
    until = at + lease.lease_ms if lease.lease_ms else 0
    finish = at + attempt_ms if attempt_ms else 0
    return {
        "status": "IN_PROGRESS", "owner": lease.owner, "leased_at": at, "lease_until": until, "finish_by": finish,
        "due_at": min(filter(None, (until, finish)), default=0), "polls": 1,
    }  # fmt: skip


def tree_row(held: Held, at: int) -> dict[str, Any]:
    return {**msgspec.structs.asdict(held.meta), "seq": held.tree.seq, "created_at": at}


def execution_row(held: Held, run: Run) -> dict[str, Any]:
    """An execution as lists show it, with its snapshot."""
    spec = held.spec.at(run.path)
    budget = run.budget.seconds if run.budget else None
    limit = milliseconds(min(filter(None, (spec.timeout_seconds, budget)), default=0))
    return {
        "tree": held.meta.tree, "number": run.id, "parent": run.parent, "agent": spec.name, "status": str(run.status),
        "started_at": run.since, "updated_at": run.at, "ended_at": run.at if run.ended else 0,
        "due_at": run.since + limit if limit and not run.ended else 0, "finish_reason": run.finish_reason,
        "reason": shown(run.reason, held.spec)[:2000].replace("\x00", ""), "session_id": held.meta.session_id,
        "prompt_tokens": run.usage.prompt_tokens, "completion_tokens": run.usage.completion_tokens,
        "cached_tokens": run.usage.cached_tokens, "reasoning_tokens": run.usage.reasoning_tokens,
        "cost": run.usage.cost, "unpriced": run.usage.unpriced, "turns": run.turn, "model": shown_model(spec, run),
        "run": runs.dump(run),
    }  # fmt: skip


def shown_model(spec: AgentSpec, run: Run) -> str:
    """The model that an agent asks; of a team that asks none itself, the first one among its agents."""
    return model_of(spec, run) or next((model for each in spec.agents if (model := shown_model(each, Run()))), "")


def shown(text: str, spec: AgentSpec) -> str:
    """A text as lists show it: without the values of masked fields."""
    return str(mask.masked(text, mask.names(spec))) if text else ""


FIXED = frozenset({"parent", "agent", "session_id", "started_at"})
"""Columns of an execution that never change."""
INDEXED = FIXED | {"status", "ended_at", "finish_reason", "model"}
"""Those, and the ones that do not change while it goes on: SQLite would write their indices all the same."""
SUMS = ("calls", *spending.COUNTS, "cost", "unpriced")
"""Columns of the spending that grow with each call."""

NOTIFY = sa.text(f"select pg_notify({CHANNEL}, :payload)")
# Taken in the order of their ids, so that two replicas cannot wait for each other.
SEQS = (
    sa.select(t.trees.c.tree, t.trees.c.seq)
    .where(t.trees.c.tree.in_(sa.bindparam("trees", expanding=True)))
    .order_by(t.trees.c.tree)
)
LOCK = SEQS.with_for_update()
TREES = sa.select(t.trees).where(t.trees.c.tree.in_(sa.bindparam("trees", expanding=True)))
SPEC = sa.select(t.specs.c.data).where(t.specs.c.digest == sa.bindparam("digest"))
ALL_RUNS = sa.select(t.executions.c.tree, t.executions.c.number, t.executions.c.run).where(
    t.executions.c.tree.in_(sa.bindparam("trees", expanding=True))
)
# Ended sub-agents are not needed: what their parent must know of them is in its own state.
RUNS = ALL_RUNS.where(sa.or_(t.executions.c.ended_at == 0, t.executions.c.number == ROOT))


def _whole(source: Any) -> Any:
    """The events of a source, with the payloads that were too large for them."""
    x, blob = t.events.c, sa.and_(t.blobs.c.tree == t.events.c.tree, t.blobs.c.digest == t.events.c.blob)
    columns = (x.tree, x.seq, x.execution, x.at, x.data, t.blobs.c.data.label("payload"))
    return sa.select(*columns).select_from(source.outerjoin(t.blobs, blob))


@cache
def _chosen(dialect: str) -> Any:
    """Events by tree and number."""
    given, same = bulk.keyed(t.events, dialect)
    return _whole(given.join(t.events, same))


_of_tree = _whole(t.events).where(t.events.c.tree == sa.bindparam("tree"))
EVENTS = _of_tree.where(t.events.c.seq > sa.bindparam("after")).order_by(t.events.c.seq)
EVENT_ROWS = _of_tree.where(t.events.c.seq.in_(sa.bindparam("seqs", expanding=True)))
