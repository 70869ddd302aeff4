"""The facts of a tree's history, and the envelope that numbers them. Small, additive, and read for ever.

Inside a tree everything is known by a number: an execution by the sequence number of the task that began it (the root
is 0), an attempt of a task by the sequence number of its `TaskScheduled`.
"""

from typing import Any

from msgspec import Struct

from agentspan.core.states import Kind, Purpose
from agentspan.spec.policy import NO_LIMITS, NO_RETRY, Limits, RetryPolicy

Json = dict[str, Any]


class Result(Struct, frozen=True, omit_defaults=True):
    """Where a result stands in the log: the answers whose texts it is made of, or the branches of a parallel agent."""

    answers: tuple[int, ...] = ()
    branches: tuple["Branch", ...] = ()


class Branch(Struct, frozen=True, omit_defaults=True):
    """What became of one sub-agent: a result or an error."""

    name: str
    result: Result = Result()
    error: str = ""


class Fact(Struct, frozen=True, omit_defaults=True, tag_field="type"):
    """One thing that happened."""


class ExecutionStarted(Fact, frozen=True, tag=True):
    """`input` of a root: {prompt, context?, session_id?}. A child has none: its prompt is the root's, and `after`.

    `signal` is the event of the signal that is in force when a child starts.
    """

    input: Json | None = None
    path: tuple[int, ...] = ()
    parent: int = 0
    after: tuple[Result, ...] = ()
    signal: int = 0


class ExecutionPaused(Fact, frozen=True, tag=True):
    pass


class ExecutionResumed(Fact, frozen=True, tag=True):
    pass


class ExecutionRetried(Fact, frozen=True, tag=True):
    """An ended execution goes on from the point where it failed."""


class ExecutionForked(Fact, frozen=True, tag=True):
    """The history up to here is a prefix of another tree's, with edits."""

    tree: str
    seq: int
    edits: tuple[str, ...] = ()


class ExecutionCompleted(Fact, frozen=True, tag=True):
    finish_reason: str
    result: Result = Result()


class ExecutionFailed(Fact, frozen=True, tag=True):
    reason: str


class ExecutionTimedOut(Fact, frozen=True, tag=True):
    reason: str


class ExecutionTerminated(Fact, frozen=True, tag=True):
    reason: str


class TaskScheduled(Fact, frozen=True, tag=True):
    """Both the order and the record of one attempt.

    `slot` is where its result goes: "think", "call.2", "approve.2", "agent.0". `source` is the event that holds the
    arguments of a call. `origin` is the first attempt. It may be taken `delay_ms` after it was scheduled.
    """

    kind: Kind
    purpose: Purpose
    name: str
    slot: str
    turn: int = 0
    source: int = 0
    attempt: int = 0
    lost: int = 0
    origin: int = 0
    delay_ms: int = 0
    retry: RetryPolicy = NO_RETRY
    limits: Limits = NO_LIMITS

    @property
    def index(self) -> int:
        """The place of the call or the sub-agent in its turn or team."""
        return int(self.slot.partition(".")[2] or 0)


class TaskCompleted(Fact, frozen=True, tag=True):
    """`output` is what the worker reported; a sub-agent's has none and points to its `result`."""

    task: int
    output: Json | None = None
    result: Result | None = None
    worker: str = ""
    started_at: int = 0


class TaskFailed(Fact, frozen=True, tag=True):
    """`terminal`: no other attempt can succeed. `retry_after_ms`: the least time to wait, by the provider's word."""

    task: int
    error: str
    terminal: bool = False
    retry_after_ms: int = 0
    worker: str = ""
    started_at: int = 0


class TaskTimedOut(Fact, frozen=True, tag=True):
    """`limit` is what ran out: start, attempt, lease (its worker went silent) or server (its server died)."""

    task: int
    limit: str
    worker: str = ""
    started_at: int = 0


class TaskCanceled(Fact, frozen=True, tag=True):
    task: int
    reason: str = ""


class CallRefused(Fact, frozen=True, tag=True):
    """A call that no worker will see: `cause` is unknown_tool, bad_arguments, rejected or stopped."""

    turn: int
    index: int
    cause: str
    detail: str = ""


class SignalReceived(Fact, frozen=True, tag=True):
    """Text that the model sees in each turn until the next signal; "" clears it."""

    message: str


class StopRequested(Fact, frozen=True, tag=True):
    """End gracefully: finish what runs, ask nothing new."""


AnyFact = (
    ExecutionStarted
    | ExecutionPaused
    | ExecutionResumed
    | ExecutionRetried
    | ExecutionForked
    | ExecutionCompleted
    | ExecutionFailed
    | ExecutionTimedOut
    | ExecutionTerminated
    | TaskScheduled
    | TaskCompleted
    | TaskFailed
    | TaskTimedOut
    | TaskCanceled
    | CallRefused
    | SignalReceived
    | StopRequested
)


class Event(Struct, frozen=True):
    """A fact with its place: number in the tree, the execution it is about, and milliseconds since the epoch."""

    seq: int
    execution: int
    at: int
    fact: AnyFact


ENDINGS = (ExecutionCompleted, ExecutionFailed, ExecutionTimedOut, ExecutionTerminated)
SETTLEMENTS = (TaskCompleted, TaskFailed, TaskTimedOut, TaskCanceled)
