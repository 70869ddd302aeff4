"""Everything that can be asked of the writer, one command each. They run in its thread, inside one transaction."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from agentspan.core import events as e
from agentspan.core import mail
from agentspan.core.advance import ROOT
from agentspan.core.decide import overdue
from agentspan.core.fork import branch, carried, fits
from agentspan.core.ids import execution_id, split_execution, split_task, task_id
from agentspan.core.opening import FIRST
from agentspan.core.people import answered
from agentspan.core.reports import unfit
from agentspan.core.run import Run
from agentspan.core.states import Kind, Purpose, Status
from agentspan.engine.desk import Desk
from agentspan.engine.matching import match
from agentspan.errors import BadInput, Conflict, Forbidden, NotFound
from agentspan.spec import wire
from agentspan.spec.agent import AgentSpec
from agentspan.spec.policy import Budget, budget
from agentspan.store import definitions, queue, sessions
from agentspan.store.ledger import Held, Meta, Transaction
from agentspan.store.views import Receipt, Report, Started, Want

Facts = list[tuple[int, e.AnyFact]]


class Ask(Struct, kw_only=True):
    """What all commands have."""

    trees: Sequence[str] = ()
    whole: bool = False
    late: bool = False

    @property
    def claims(self) -> tuple[str, ...]:
        """The key that it takes for itself."""
        return ()


class Start(Ask, kw_only=True):
    """Begin an execution; with an idempotency key, only if that key has not begun one for this agent."""

    meta: Meta
    spec: AgentSpec
    input: dict[str, Any]
    key: str = ""

    @property
    def claims(self) -> tuple[str, ...]:
        return (self.spec.name, self.meta.session_id, self.key) if self.key or self.meta.session_id else ()

    def apply(self, transaction: Transaction, desk: Desk) -> Started:
        to, agent = transaction.connection, self.spec.name
        if self.key:
            first = definitions.claim_key(to, agent, self.key, self.meta.tree)
            if first != self.meta.tree:
                return Started(first, existing=True)
        try:
            begin(transaction, self.meta, self.spec, self.input)
        except Conflict:
            definitions.release_key(to, agent, self.key)
            raise
        return Started(self.meta.tree, existing=False)


class Land(Ask, kw_only=True):
    """A worker's report; `outside`: of one that is no part of the server, and so does the work of tools alone."""

    report: Report
    outside: bool = False

    def apply(self, transaction: Transaction, desk: Desk) -> Receipt:
        tree, number = split_task(self.report.task_id)
        held = transaction.held.get(tree)
        run = _holder(held, number) if held else None
        if run is None:
            return Receipt(task_id=self.report.task_id, landed=False, reason=SETTLED if held else UNKNOWN)
        order = run.tasks[number]
        if order.kind is Kind.AGENT:
            return Receipt(task_id=self.report.task_id, landed=False, reason=SUB_AGENT)
        if self.outside and order.kind is not Kind.WORKER:
            return Receipt(task_id=self.report.task_id, landed=False, reason=NO_TOOL)
        taken = desk.taken.get((tree, number)) or _lease_of(transaction, (tree, number))
        transaction.append(tree, [(run.id, reported(number, order, self.report, taken))])
        return Receipt(task_id=self.report.task_id, landed=True)


class Respond(Ask, kw_only=True):
    """A person's answer to a request; without its id, to the oldest open one of the execution or below it.

    It did not land if that request is not open any more.
    """

    execution: str
    answer: dict[str, Any]
    request: str = ""
    by: str = ""
    behind: str = ""

    def apply(self, transaction: Transaction, desk: Desk) -> Receipt:
        tree, number = split_execution(self.execution)
        held = transaction.tree(tree)
        found = sorted(
            (task, run)
            for each in held.tree.below(number)
            for run in [held.tree.runs[each].id]
            for task, order in held.tree.runs[each].tasks.items()
            if order.kind is Kind.HUMAN and self.request in ("", task_id(tree, task))
        )
        if not found and self.request:
            return Receipt(task_id=self.request, landed=False, reason="the request is not open")
        if not found:
            raise Conflict(f"nothing in execution {self.execution} waits for an answer")
        task, run = found[0]
        asking = held.tree.runs[run]
        spec, order = held.spec.at(asking.path), asking.tasks[task]
        answer = answered(spec, asking, order, self.answer)
        self._check_who(transaction, spec, order, answer)
        transaction.append(tree, [(run, e.TaskCompleted(task, answer, worker=self.by, started_at=0))])
        return Receipt(task_id=task_id(tree, task), landed=True)

    def _check_who(
        self, transaction: Transaction, spec: AgentSpec, order: e.TaskScheduled, answer: dict[str, Any]
    ) -> None:
        """Forbidden if who started the run may not approve its calls, and does."""
        tool = spec.tool(order.name) if order.purpose is Purpose.APPROVE else None
        if tool is None or not (tool.approval or {}).get("requesterMayNotApprove") or answer["approved"] is not True:
            return
        started = transaction.log(split_execution(self.execution)[0]).get(FIRST) or {}
        if (starter := started.get(STARTED_BY)) and (self.by in ("", starter) or self.behind == starter):
            raise Forbidden(
                f"{order.name} may not be approved by who asked for the run: answer as somebody else than {starter!r}"
            )


class Control(Ask, kw_only=True):
    """Pause, resume, stop, cancel, signal, retry: `facts` gives what happens, or raises Conflict."""

    execution: str
    facts: Callable[[Held, Run], Facts]

    def apply(self, transaction: Transaction, desk: Desk) -> None:
        tree, _ = split_execution(self.execution)
        held = transaction.tree(tree)
        if facts := self.facts(held, _found(transaction, held, self.execution)):
            again = any(isinstance(fact, e.ExecutionRetried) for _, fact in facts)
            transaction.append(tree, _again(transaction, held) if again else facts)


class Send(Ask, kw_only=True):
    """A message to an execution; gives the number of its event. Conflict if nobody will read it."""

    execution: str
    message: dict[str, Any]
    sender: str = ""

    def apply(self, transaction: Transaction, desk: Desk) -> int:
        tree, number = split_execution(self.execution)
        held = transaction.tree(tree)
        run = _found(transaction, held, self.execution)
        if run.ended:
            raise Conflict(f"execution {self.execution} is {run.status}: nobody would read the message")
        hearing = mail.hearers(held.spec, held.tree, number)
        if any(len(held.tree.runs[each].unread) >= mail.UNREAD_LIMIT for each in hearing):
            raise Conflict(f"{mail.UNREAD_LIMIT} messages wait for execution {self.execution} already; send it later")
        first = held.tree.seq + 1
        transaction.append(tree, mail.sent(hearing, first, self.message, self.sender))
        return first


class Allow(Ask, kw_only=True):
    """Other limits for a whole tree; if it was ended for the ones before, it goes on. Gives the limits."""

    execution: str
    budget: dict[str, Any]
    whole: bool = True

    def apply(self, transaction: Transaction, desk: Desk) -> Budget:
        tree, _ = split_execution(self.execution)
        held = transaction.tree(tree)
        _found(transaction, held, self.execution)
        root = held.tree.runs[ROOT]
        limits = budget(self.budget, root.budget)
        facts: Facts = [(ROOT, e.BudgetChanged(limits))]
        if root.ended and root.finish_reason != "budget":
            raise Conflict(f"execution {tree} is {root.status}, and not for its budget: it has no use for another one")
        if root.ended:
            facts += _again(transaction, held)
        transaction.append(tree, facts)
        return limits


class Expire(Ask, kw_only=True):
    """A task's deadline has passed, unless its lease was extended meanwhile."""

    task: tuple[str, int]

    def apply(self, transaction: Transaction, desk: Desk) -> None:
        tree, number = self.task
        row = queue.find(transaction.connection, [self.task]).get(self.task)
        held = transaction.held.get(tree)
        run = _holder(held, number) if held else None
        if row is None or run is None or not 0 < row.due_at <= transaction.at:
            return
        limit = _limit(row, run.tasks[number], transaction.at)
        transaction.append(tree, [(run.id, e.TaskTimedOut(number, limit, row.owner, row.leased_at))])


class ExpireExecution(Ask, kw_only=True):
    """An execution's total time is over."""

    execution: tuple[str, int]

    def apply(self, transaction: Transaction, desk: Desk) -> None:
        tree, number = self.execution
        held = transaction.held.get(tree)
        run = held.tree.runs.get(number) if held else None
        if held is None or run is None:
            return
        fact = overdue(held.spec.at(run.path), run, transaction.at)
        if fact is not None:
            transaction.append(tree, [(number, fact)])


class TakeOver(Ask, kw_only=True):
    """A server died: the attempts that it held are lost."""

    owner: str
    tasks: Sequence[tuple[str, int]]

    def apply(self, transaction: Transaction, desk: Desk) -> int:
        rows = queue.find(transaction.connection, self.tasks)
        lost = [key for key, row in rows.items() if row.owner == self.owner]
        for tree, number in lost:
            held = transaction.held.get(tree)
            if held and (run := _holder(held, number)):
                row = rows[(tree, number)]
                transaction.append(tree, [(run.id, e.TaskTimedOut(number, "server", row.owner, row.leased_at))])
        return len(lost)


class Match(Ask, kw_only=True):
    """Look into a queue for those who wait for it."""

    want: Want
    late: bool = True

    def apply(self, transaction: Transaction, desk: Desk) -> None:
        match(transaction, desk, self.want)


class Extend(Ask, kw_only=True):
    """Heartbeats. `lease_ms` gives the length of a lease by the name of the queue."""

    tasks: Sequence[tuple[str, int]]
    worker: str
    lease_ms: Callable[[str], int]
    late: bool = True

    def apply(self, transaction: Transaction, desk: Desk) -> set[tuple[str, int]]:
        by_length: dict[int, list[tuple[str, int]]] = {}
        for key, row in queue.find(transaction.connection, self.tasks).items():
            by_length.setdefault(self.lease_ms(row.queue), []).append(key)
        held: set[tuple[str, int]] = set()
        for length, keys in by_length.items():
            held |= queue.extend(transaction.connection, keys, self.worker, length, transaction.at)
            desk.due(transaction.at + length)
        return held


class Release(Ask, kw_only=True):
    """Tasks that their holder gives back unfinished."""

    tasks: Sequence[tuple[str, int]]
    after_ms: int = 0
    late: bool = True

    def apply(self, transaction: Transaction, desk: Desk) -> int:
        queues = queue.release(transaction.connection, self.tasks, transaction.at + self.after_ms)
        for key in self.tasks:
            desk.taken.pop(key, None)
        desk.put.update(Want(*each) for each in queues)
        desk.due(transaction.at + self.after_ms if self.after_ms else 0)
        return len(queues)


class Doubt(Ask, kw_only=True):
    """Leases, each with its owner and its beginning, of a commit that may not have been made: they are given back if
    it was."""

    leases: dict[tuple[str, int], tuple[str, int]]
    late: bool = True

    def apply(self, transaction: Transaction, desk: Desk) -> int:
        rows = queue.find(transaction.connection, self.leases)
        leased = {key: (row.owner, row.leased_at) for key, row in rows.items() if row.status == "IN_PROGRESS"}
        made = [key for key, lease in leased.items() if lease == self.leases[key]]
        return Release(tasks=made).apply(transaction, desk) if made else 0


class Fork(Ask, kw_only=True):
    """A new tree of the id `name` that shares the first `at` events of another. It is no part of a session."""

    source: str
    name: str
    events: Sequence[e.Event]
    at: int
    edits: dict[str, Any]
    other: tuple[AgentSpec, int] | None = None

    def apply(self, transaction: Transaction, desk: Desk) -> str:
        held = transaction.tree(self.source)
        if self.other:
            held = Held(replace(held.meta, version=self.other[1]), self.other[0], held.tree, held.stored)
            fits(self.other[0], self.events[: self.at])
        begun = branch(self.name, held.spec, self.events, self.at, self.edits)
        # A session has one writer, and this is not it: the conversation before it is known by the shared start.
        meta = replace(
            held.meta, tree=self.name, spec=wire.digest(begun.spec), session_id="", forked_from=self.source,
            forked_at=self.at,
        )  # fmt: skip
        transaction.create(meta, begun.spec)
        transaction.adopt(meta.tree, begun.tree, begun.events)
        forked = e.ExecutionForked(self.source, self.at, tuple(self.edits))
        transaction.append(meta.tree, carried(begun.spec, begun.tree, begun.events, forked))
        return meta.tree


class Write(Ask, kw_only=True):
    """A plain write beside the trees: definitions, logs."""

    work: Callable[[Transaction], Any]
    late: bool = True

    def apply(self, transaction: Transaction, desk: Desk) -> Any:
        return self.work(transaction)


def begin(transaction: Transaction, meta: Meta, spec: AgentSpec, given: dict[str, Any]) -> None:
    """Bring a tree into being. Conflict if its session is still being written."""
    before = None
    if meta.session_id:

        def is_open(tree: str) -> bool | None:
            held = transaction.held.get(tree)
            return None if held is None else not held.tree.runs[ROOT].ended

        before = sessions.claim_session(
            transaction.connection, spec.name, meta.session_id, meta.tree, transaction.at, is_open
        )
    transaction.create(meta, spec)
    after = {AFTER: before} if before else {}
    limits = {"budget": msgspec.to_builtins(spec.budget)} if spec.budget else {}
    transaction.append(meta.tree, [(ROOT, e.ExecutionStarted({**limits, **given, **after}))])


def reported(number: int, order: e.TaskScheduled, report: Report, taken: tuple[str, int]) -> e.AnyFact:
    """The fact that a report states."""
    worker, started = report.worker or taken[0], taken[1]
    if report.status == "COMPLETED" and (problem := unfit(order, report.output)):
        return e.TaskFailed(number, problem, terminal=True, worker=worker, started_at=started)
    if report.status == "COMPLETED":
        return e.TaskCompleted(
            number, report.output, worker=worker, started_at=started, code=report.code, outdated=report.outdated
        )
    if report.status not in ("FAILED", "FAILED_WITH_TERMINAL_ERROR", "CANCELED"):
        raise BadInput(f"a report's status is COMPLETED, FAILED or FAILED_WITH_TERMINAL_ERROR, got {report.status!r}")
    error = report.error or "the worker gave no reason"
    return e.TaskFailed(
        number, error, report.status != "FAILED", report.retry_after_ms, worker=worker, started_at=started,
        cause=report.cause, code=report.code, outdated=report.outdated,
    )  # fmt: skip


def pausing(held: Held, run: Run) -> Facts:
    _living(held, run)
    return [(n, e.ExecutionPaused()) for n in held.tree.below(run.id) if held.tree.runs[n].status is Status.RUNNING]


def resuming(held: Held, run: Run) -> Facts:
    _living(held, run)
    if run.status is not Status.PAUSED:
        raise Conflict(f"execution {execution_id(held.meta.tree, run.id)} is not paused")
    return [(n, e.ExecutionResumed()) for n in held.tree.below(run.id) if held.tree.runs[n].status is Status.PAUSED]


def stopping(held: Held, run: Run) -> Facts:
    _living(held, run)
    return [(n, e.StopRequested()) for n in held.tree.below(run.id) if not held.tree.runs[n].ended]


def canceling(reason: str) -> Callable[[Held, Run], Facts]:
    def facts(held: Held, run: Run) -> Facts:
        if run.status is Status.TERMINATED:
            return []
        _living(held, run)
        return [(run.id, e.ExecutionTerminated(reason or "canceled"))]

    return facts


def signaling(message: str) -> Callable[[Held, Run], Facts]:
    def facts(held: Held, run: Run) -> Facts:
        _living(held, run)
        return [(n, e.SignalReceived(message)) for n in held.tree.below(run.id) if not held.tree.runs[n].ended]

    return facts


def retrying(held: Held, run: Run) -> Facts:
    name = execution_id(held.meta.tree, run.id)
    if run.id != ROOT:
        raise Conflict(f"execution {name} is part of {held.meta.tree}; retry that one")
    if not run.ended:
        raise Conflict(f"execution {name} is {run.status}; only an ended one can be retried")
    if run.status is Status.COMPLETED:
        raise Conflict(f"execution {name} is COMPLETED; fork it to go on from one of its steps")
    return [(ROOT, e.ExecutionRetried())]


def _found(transaction: Transaction, held: Held, name: str) -> Run:
    """The run of an execution of a tree in hand. NotFound, or Conflict for a sub-agent that has ended."""
    tree, number = split_execution(name)
    if run := held.tree.runs.get(number):
        return run
    if not definitions.execution_exists(transaction.connection, tree, number):
        raise NotFound(f"there is no execution {name!r}")
    raise Conflict(f"execution {name} has ended")


def _again(transaction: Transaction, held: Held) -> Facts:
    """A tree that ended goes on, if its session has not gone on without it."""
    if held.meta.session_id:
        sessions.hold_session(transaction.connection, held.spec.name, held.meta.session_id, held.meta.tree)
    return [(ROOT, e.ExecutionRetried())]


def _limit(row: Any, order: e.TaskScheduled, at: int) -> str:
    """What of a task has run out."""
    if order.kind is Kind.HUMAN:
        return "deadline"
    if row.status == "SCHEDULED":
        return "start"
    return "attempt" if 0 < row.finish_by <= at else "lease"


def _living(held: Held, run: Run) -> None:
    if run.ended:
        raise Conflict(f"execution {execution_id(held.meta.tree, run.id)} is {run.status}")


def _holder(held: Held, number: int) -> Run | None:
    """The run that has this attempt open."""
    return next((run for run in held.tree.runs.values() if number in run.tasks), None)


def _lease_of(transaction: Transaction, key: tuple[str, int]) -> tuple[str, int]:
    row = queue.find(transaction.connection, [key]).get(key)
    return (row.owner, row.leased_at) if row else ("", 0)


STARTED_BY = "_started_by"
"""Where the input of an execution names who started it."""

AFTER = "_session_after"
"""Where the input of an execution names the one of its session before it."""

SETTLED = "the attempt is settled: it was reported before, ran out of time, or its execution ended"
UNKNOWN = "there is no such execution"
SUB_AGENT = "the task of a sub-agent ends with its execution"
NO_TOOL = "this is no task of a tool: the server makes calls itself, and people answer by POST /api/inbox/ID/respond"
