"""What an engine has counted since it began: what became of runs and tasks, how long they took, how commits went.

Nothing is measured on an idle engine, and what comes from the log is counted by the server that committed it: the sum
over all servers is the truth.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence

from agentspan.core import events as e
from agentspan.core.advance import Tree
from agentspan.core.states import Kind

QUICK = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
SLOW = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)
MODELS_KEPT = 200
"""So many models are told apart; names of models come from users, and more of them are counted together."""
OTHERS = "other"

Settlement = e.TaskCompleted | e.TaskFailed | e.TaskTimedOut | e.TaskCanceled


class Histogram:
    """Counts by upper bound; the last one holds what is above every bound."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Figures:
    """Events are counted on the loop's thread, commits on the writer's."""

    def __init__(self) -> None:
        self.started = 0
        self.ended = Counter[str](dict.fromkeys(ENDINGS.values(), 0))
        self.tasks = Counter[tuple[str, str]]()
        self.retries = Counter[str]({str(kind): 0 for kind in (Kind.LLM, Kind.WORKER)})
        self.timeouts = Counter[str](dict.fromkeys(LIMITS, 0))
        self.model_errors = Counter[tuple[str, str]]()
        self.task_seconds: dict[str, Histogram] = {}
        self.model_seconds: dict[str, Histogram] = {}
        self.first_token: dict[str, Histogram] = {}
        self.batches, self.commit_seconds = Histogram(SIZES), Histogram(QUICK)
        self.failed_commits = 0

    def commit(self, size: int, seconds: float) -> None:
        """The writer has committed a batch."""
        self.batches.add(size)
        self.commit_seconds.add(seconds)

    def heard(self, model: str, seconds: float) -> None:
        """A model has begun to answer."""
        _of(self.first_token, model).add(seconds)

    def add(self, before: Tree | None, events: Iterable[e.Event]) -> None:
        """Count what was committed to one tree, which stood as in `before`."""
        orders = dict[int, e.TaskScheduled]()
        for event in events:
            # By type and not by `match`: this is done for every event that is ever committed.
            fact = event.fact
            if isinstance(fact, e.TaskScheduled):
                orders[event.seq] = fact
                if fact.attempt or fact.lost:
                    self.retries[fact.kind] += 1
            elif isinstance(fact, e.SETTLEMENTS):
                if order := orders.get(fact.task) or _order(before, event.execution, fact.task):
                    self._settled(event, order, fact)
            elif (kind := type(fact)) in ENDINGS:
                self.ended[ENDINGS[kind]] += 1
            elif kind is e.ExecutionStarted:
                self.started += 1

    def _settled(self, event: e.Event, order: e.TaskScheduled, fact: Settlement) -> None:
        self.tasks[order.kind, SETTLED[type(fact)]] += 1
        is_model = order.kind is Kind.LLM
        if isinstance(fact, e.TaskTimedOut):
            self.timeouts[fact.limit] += 1
        if is_model and isinstance(fact, e.TaskFailed):
            self.model_errors[_kept(self.model_errors, order.name), fact.cause or "error"] += 1
        began = getattr(fact, "started_at", 0)
        if began and not isinstance(fact, e.TaskTimedOut):
            seconds = max(0, event.at - began) / 1000
            _of(self.task_seconds, order.kind).add(seconds)
            if is_model:
                _of(self.model_seconds, order.name).add(seconds)


def _order(before: Tree | None, execution: int, task: int) -> e.TaskScheduled | None:
    run = before.runs.get(execution) if before else None
    return run.tasks.get(task) if run else None


def _of(known: dict[str, Histogram], name: str) -> Histogram:
    if name not in known and len(known) >= MODELS_KEPT:
        name = OTHERS
    return known.setdefault(name, Histogram(SLOW))


def _kept(known: Counter[tuple[str, str]], model: str) -> str:
    names = {name for name, _ in known}
    return model if model in names or len(names) < MODELS_KEPT else OTHERS


ENDINGS: dict[type[e.Fact], str] = {
    e.ExecutionCompleted: "COMPLETED",
    e.ExecutionFailed: "FAILED",
    e.ExecutionTimedOut: "TIMED_OUT",
    e.ExecutionTerminated: "TERMINATED",
}
SETTLED: dict[type[e.Fact], str] = {
    e.TaskCompleted: "COMPLETED",
    e.TaskFailed: "FAILED",
    e.TaskTimedOut: "TIMED_OUT",
    e.TaskCanceled: "CANCELED",
}
LIMITS = ("start", "attempt", "deadline", "lease", "server")
"""What a task may run out of: the last two are leases that ended with their worker or their server."""
