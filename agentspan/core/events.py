"""The facts of a tree's history, and the envelope that numbers them. Small, additive, and read for ever.

Inside a tree everything is known by a number: an execution by the sequence number of the task that began it (the root
is 0), an attempt of a task by the sequence number of its `TaskScheduled`.
"""

from typing import Any

from msgspec import Struct

from agentspan.core.states import Kind, Purpose, Verdict
from agentspan.spec.agent import Path
from agentspan.spec.policy import NO_LIMITS, NO_RETRY, Budget, Limits, RetryPolicy

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


class Fact(Struct, frozen=True, omit_defaults=True, tag_field="type", gc=False):
    """One thing that happened."""


class ExecutionStarted(Fact, frozen=True, tag=True):
    """`input` of a root: {prompt, media?, context?, session_id?, budget?, plan?}. A child has at most a context: its
    prompt is the root's, the results in `after`, and what its parent's team said up to event `heard` (`reply` last).
    An agent that is called as a tool has the arguments of call `index` of event `source` instead of the root's prompt.
    One that is `alone` has the bare prompt. `line`: where the prompt stands that it has instead of the root's, when an
    agent above it was called as a tool or had its prompt replaced: the event, and the call in it or -1.

    `signal` is the event of the signal that is in force when a child starts.
    """

    input: Json | None = None
    path: Path = ()
    parent: int = 0
    after: tuple[Result, ...] = ()
    heard: int = 0
    reply: Result = Result()
    source: int = 0
    index: int = 0
    alone: bool = False
    signal: int = 0
    line: tuple[int, int] | None = None


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
    """`transfer_to`: the member of a swarm, or the sub-agent, that goes on."""

    finish_reason: str
    result: Result = Result()
    transfer_to: str = ""


class ExecutionFailed(Fact, frozen=True, tag=True):
    """`finish_reason` is error unless a guardrail or a rejection ended it."""

    reason: str
    finish_reason: str = "error"
    result: Result = Result()


class ExecutionTimedOut(Fact, frozen=True, tag=True):
    reason: str
    result: Result = Result()


class ExecutionTerminated(Fact, frozen=True, tag=True):
    """Canceled, or a budget was used up (`finish_reason` budget): `result` is what there is by then."""

    reason: str
    finish_reason: str = "cancelled"
    result: Result = Result()


class TaskScheduled(Fact, frozen=True, tag=True):
    """Both the order and the record of one attempt.

    `slot` is where its result goes: "think", "call.2", "approve.2", "agent.0", "output.1" (see docs). `source` is the
    event that holds the arguments of a call, `about` the texts that it is to judge. `origin` is the first attempt. It
    may be taken `delay_ms` after it was scheduled. `seen` is the last message that a model call shows, `to` whom a
    request is addressed to.
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
    about: Result = Result()
    seen: int = 0
    to: tuple[str, ...] = ()

    @property
    def index(self) -> int:
        """The place of the call or the sub-agent in its turn or team."""
        return next((int(part) for part in self.slot.split(".")[1:] if part.lstrip("-").isdigit()), 0)


class TaskCompleted(Fact, frozen=True, tag=True):
    """`output` is what the worker reported; a sub-agent's has none and points to its `result`.

    `code` are the digests of the source that ran, and of the one that it had taken the place of in its process;
    `outdated`: a newer one was there when it ended.
    """

    task: int
    output: Json | None = None
    result: Result | None = None
    worker: str = ""
    started_at: int = 0
    code: tuple[str, ...] = ()
    outdated: bool = False


class TaskFailed(Fact, frozen=True, tag=True):
    """`terminal`: no other attempt can succeed. `retry_after_ms`: the least time to wait, by the provider's word.
    `cause` is the kind of a model's failure: rate_limit, timeout, ... `code` and `outdated`: see TaskCompleted."""

    task: int
    error: str
    terminal: bool = False
    retry_after_ms: int = 0
    worker: str = ""
    started_at: int = 0
    cause: str = ""
    code: tuple[str, ...] = ()
    outdated: bool = False


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
    """A call without a result of its own: `cause` is unknown_tool, bad_arguments, stopped, guardrail or call_limit."""

    turn: int
    index: int
    cause: str
    detail: str = ""


class SignalReceived(Fact, frozen=True, tag=True):
    """Text that the model sees in each turn until the next signal; "" clears it."""

    message: str


class StopRequested(Fact, frozen=True, tag=True):
    """End gracefully: finish what runs, ask nothing new."""


class MessageReceived(Fact, frozen=True, tag=True):
    """A message from outside. The model sees it in its next turn, or a tool that waits for messages takes it.

    One that several hear, or that was handed on by an agent that ended, is the same as event `of`.
    """

    message: Json
    sender: str = ""
    of: int = 0


class MessagesTaken(Fact, frozen=True, tag=True):
    """A call that waits for messages has them: the result of call `index`, and the end of its `task` if it waited."""

    turn: int
    index: int
    messages: tuple[int, ...] = ()
    task: int = 0


class VerdictGiven(Fact, frozen=True, tag=True):
    """What a check found. `slot` names the check, `position` what is checked: input, output, tool_input, tool_output,
    output_type, required_tools, approval. `output` is what takes its place, under fix."""

    slot: str
    guardrail: str
    position: str
    verdict: Verdict
    message: str = ""
    output: Json | None = None


class SpeakerChosen(Fact, frozen=True, tag=True):
    """Who speaks next in a team: the index among its agents, SELF for the team's own agent, NOBODY for the end."""

    index: int
    name: str = ""
    by: str = ""


class AnswerGiven(Fact, frozen=True, tag=True):
    """An answer for which no model was asked: calls that come with the agent, or the words of a proxy."""

    turn: int
    output: Json


class StepBegun(Fact, frozen=True, tag=True):
    """The next step of a plan, by its place from 0; the last one is the answer. `text` is put to the model."""

    index: int
    name: str = ""
    text: str = ""


class ModelSwitched(Fact, frozen=True, tag=True):
    """The model failed for good; the agent goes on with its `index`-th fallback (from 1)."""

    model: str
    index: int
    reason: str = ""


class ContextCompacted(Fact, frozen=True, tag=True):
    """The view of the history before the last `kept` messages is a summary: the output of event `summary`, or, where
    that is 0, the first words of each message."""

    kept: int
    summary: int = 0
    messages_before: int = 0


class BudgetChanged(Fact, frozen=True, tag=True):
    """The limits of the whole tree, which replace those before."""

    budget: Budget


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
    | MessageReceived
    | MessagesTaken
    | VerdictGiven
    | SpeakerChosen
    | AnswerGiven
    | StepBegun
    | ModelSwitched
    | ContextCompacted
    | BudgetChanged
)


class Event(Struct, frozen=True, gc=False):
    """A fact with its place: number in the tree, the execution it is about, and milliseconds since the epoch."""

    seq: int
    execution: int
    at: int
    fact: AnyFact


SELF = -1
NOBODY = -2

ENDINGS = (ExecutionCompleted, ExecutionFailed, ExecutionTimedOut, ExecutionTerminated)
SETTLEMENTS = (TaskCompleted, TaskFailed, TaskTimedOut, TaskCanceled)
