"""What readers and workers are shown: plain structs, no tables and no facts. Times are milliseconds since the epoch."""

from typing import Any

from msgspec import Struct

Json = dict[str, Any]


class TaskView(Struct, frozen=True, kw_only=True):
    """One attempt of a task. `input` holds a tool's arguments; `attempt` counts from 0 over retries and losses.

    `ref` is the task's name within the execution (`call_2_0` is the first call of turn 2) and the same in each attempt.
    `kind` is llm, worker, human or agent; `purpose` think, act, approve or speak. `child_id` is a sub-agent's
    execution. `credentials` are the names of the secrets that its worker is given.
    """

    task_id: str
    execution_id: str
    root_id: str
    agent_name: str
    name: str
    kind: str
    purpose: str
    ref: str
    status: str
    input: Json
    output: Json | None = None
    reason: str = ""
    attempt: int = 0
    turn: int = 0
    seq: int = 0
    retried_task_id: str = ""
    retried: bool = False
    domain: str = ""
    worker: str = ""
    scheduled_at: int = 0
    available_at: int = 0
    started_at: int = 0
    ended_at: int = 0
    lease_ms: int = 0
    poll_count: int = 0
    priority: int = 0
    correlation_id: str = ""
    session_id: str = ""
    child_id: str = ""
    idempotency_key: str = ""
    state: Json = {}
    credentials: tuple[str, ...] = ()


class ExecutionRow(Struct, frozen=True, kw_only=True):
    """One line of a list of executions. `cost` is in US dollars; `unpriced` calls have an unknown price."""

    execution_id: str
    root_id: str
    agent_name: str
    status: str
    started_at: int
    updated_at: int
    version: int = 1
    parent_id: str = ""
    ended_at: int = 0
    finish_reason: str = ""
    reason: str = ""
    session_id: str = ""
    correlation_id: str = ""
    run_id: str = ""
    priority: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cost: float = 0.0
    unpriced: int = 0
    turns: int = 0
    model: str = ""
    forked_from: str = ""
    forked_at: int = 0


class ExecutionView(Struct, frozen=True, kw_only=True):
    """One execution whole, tasks and events apart. `output` is {result, finishReason, context, subResults?} once ended.

    `path` names the agents from the root's child down to this one ([] for a root); `spec` is its agentConfig. A root
    that has a `budget` says what its whole tree has `spent` of it.
    """

    row: ExecutionRow
    input: Json
    output: Json | None
    state: Json
    path: tuple[str, ...]
    spec: Json
    parent_task_id: str = ""
    forked_from: str = ""
    forked_at: int = 0
    imported_from: str = ""
    seq: int = 0
    budget: Json | None = None
    spent: Json | None = None


class RequestView(Struct, frozen=True, kw_only=True):
    """An open task of kind human: what waits for a person. `kind` is approval, question, review, selection, message or
    turn; `arguments` are those of the call, or what else the person is shown. `deadline` is 0 for none, `to` whom it is
    addressed to. `root_agent` is the agent of the whole run. `arguments_schema`: of an approval's arguments, if known.

    `status` is open, answered, expired or canceled; then it says what was answered, by whom and when. `age`: how long
    it has waited, or did, in ms.
    """

    request_id: str
    execution_id: str
    root_id: str
    agent_name: str
    path: tuple[str, ...]
    tool: str
    ref: str
    arguments: Json
    since: int
    response_schema: Json
    kind: str = "approval"
    deadline: int = 0
    to: tuple[str, ...] = ()
    root_agent: str = ""
    arguments_schema: Json | None = None
    status: str = "open"
    answer: Json | None = None
    decided_by: str = ""
    decided_at: int = 0
    age: int = 0


class WaitingView(Struct, frozen=True, kw_only=True):
    """An open task that no live worker polls for. `last_poll` is 0 if none ever did."""

    task_id: str
    execution_id: str
    tool: str
    domain: str
    since: int
    last_poll: int
    reason: str


class MessageView(Struct, frozen=True, kw_only=True):
    """What became of a message: `status` queued, seen (in `turn`) or run_ended (nobody saw it), since `at`."""

    message_id: str
    status: str
    message: Json
    sender: str = ""
    sent_at: int = 0
    turn: int = 0
    at: int = 0


class QueueView(Struct, frozen=True, kw_only=True):
    """A queue: how many tasks are ready or delayed, how many are leased, the age of the oldest ready one in ms."""

    name: str
    domain: str
    ready: int
    leased: int
    oldest_ms: int


class PollView(Struct, frozen=True, kw_only=True):
    """The last poll of a worker on a queue."""

    name: str
    domain: str
    worker: str
    at: int


class Story(Struct, frozen=True, kw_only=True):
    """One execution with all below it: `rows` from itself down, `tasks` of all of them, its own transcript, and what
    it waits for while it is open."""

    view: ExecutionView
    rows: list[ExecutionRow]
    tasks: list[TaskView]
    messages: list[Json]
    requests: list[RequestView]
    waiting: list[WaitingView]


class Receipt(Struct, frozen=True, kw_only=True):
    """What became of a report: it landed, or it changed nothing, and why. `decision`: what was answered before."""

    task_id: str
    landed: bool
    reason: str = ""
    decision: RequestView | None = None


class Want(Struct, frozen=True):
    """A queue that a worker polls: the task's name, optionally in a domain."""

    name: str
    domain: str = ""


class Report(Struct, frozen=True, kw_only=True):
    """A worker's statement of an attempt's outcome: COMPLETED, FAILED, FAILED_WITH_TERMINAL_ERROR or CANCELED.

    `output` of a failure is kept as data beside `error`. `retry_after_ms`: the least time before another attempt.
    `cause` is the kind of a model's failure. `code` and `outdated`: see TaskCompleted.
    """

    task_id: str
    status: str
    output: Json = {}
    error: str = ""
    worker: str = ""
    retry_after_ms: int = 0
    cause: str = ""
    logs: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    outdated: bool = False


class Started(Struct, frozen=True):
    """The answer to a start. `existing`: the same idempotency key had already started it."""

    execution_id: str
    existing: bool


class Template(Struct, frozen=True):
    """One version of a prompt template. `models` are the names that it is meant for, with commas between them."""

    name: str
    version: int
    text: str
    description: str
    models: str
    created_at: int


class Schedule(Struct, frozen=True, omit_defaults=True):
    """When an agent is started, and on what. `start_at` and `end_at` in ms, 0 for none.

    `overlap` says what happens when the run before has not ended: allow, skip (the new one) or cancel_running.
    """

    name: str
    agent: str
    cron: str
    zone: str = "UTC"
    version: int | None = None
    input: Json = {}
    catch_up: bool = False
    paused: bool = False
    start_at: int = 0
    end_at: int = 0
    overlap: str = "skip"
    description: str = ""
    priority: int = 0
    run_id: str = ""


class Kept(Struct, frozen=True):
    """A schedule as it is stored: when it is due (0: never), and what became of its last tick."""

    schedule: Schedule
    due_at: int
    last_at: int
    last_tree: str
    problem: str
    created_at: int
    updated_at: int


class Hook(Struct, frozen=True, omit_defaults=True):
    """A webhook. `tolerance_seconds` above 0: a call bears its time, signed with the body, and is no older. As it is
    kept it has no `secret`: that is sealed, beside it."""

    name: str
    agent: str
    secret: str = ""
    version: int | None = None
    prompt: str = ""
    tolerance_seconds: float = 0
    created_at: int = 0
    updated_at: int = 0


class SecretView(Struct, frozen=True):
    """A secret without its value; `partial` is a piece of a long one to know it by."""

    name: str
    partial: str
    created_at: int
    updated_at: int


class Rotation(Struct, frozen=True):
    """What became of sealing secrets anew: under which key, how many now, and how many are under others still, with
    some of their names."""

    key_id: str
    resealed: int
    left: int
    names: list[str]


class SecretUse(Struct, frozen=True):
    """Which task was first given which secret, and when."""

    task_id: str
    name: str
    at: int


class Delivery(Struct, frozen=True):
    """What goes with a task to the worker that takes it, and nowhere else: the values of its secrets, and a token to
    ask for more; or the problem that kept them back."""

    token: str = ""
    values: dict[str, str] = {}
    problem: str = ""


class Wanted(Struct, frozen=True, kw_only=True):
    """Which runs (roots) a list or a sum is about; where several values are given, any of them. `waiting`: person or
    worker. `text` is looked for in the prompt, the reason, the agent and the id."""

    status: tuple[str, ...] = ()
    agent: tuple[str, ...] = ()
    model: tuple[str, ...] = ()
    finish_reason: tuple[str, ...] = ()
    session_id: str = ""
    correlation_id: str = ""
    version: int | None = None
    min_cost: float | None = None
    waiting: str = ""
    text: str = ""
    since: int = 0
    until: int = 0


class Listed(Struct, frozen=True, kw_only=True):
    """A run in a list: its tokens and cost are those of its whole tree. `waiting`: person, worker or ""."""

    row: ExecutionRow
    preview: str
    waiting: str


class Page(Struct, frozen=True, kw_only=True):
    """A page of runs. `cursor` is where the next one begins: "" if there is none. A page may be short, or empty, and
    yet have a next one: then the search has not come to its end. `total` is -1 if nobody counted."""

    runs: list[Listed]
    cursor: str
    total: int = -1
    capped: bool = False


class Facets(Struct, frozen=True, kw_only=True, rename="camel"):
    """How many of the runs have which value, the most frequent first; `capped`: of the newest only."""

    status: dict[str, int]
    agent_name: dict[str, int]
    model: dict[str, int]
    finish_reason: dict[str, int]
    waiting: dict[str, int]
    capped: bool


class Bucket(Struct, frozen=True, kw_only=True, rename="camel"):
    """The runs that began in one stretch of time, by status, and what was spent in it."""

    at: int
    counts: dict[str, int]
    cost: float
    tokens: int


class Totals(Struct, frozen=True, kw_only=True, rename="camel"):
    runs: int
    status: dict[str, int]
    cost: float
    cost_unknown: bool
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int


class Durations(Struct, frozen=True, kw_only=True):
    """Milliseconds from start to end, of the newest `count` runs that have ended."""

    p50: int
    p95: int
    count: int


class Failure(Struct, frozen=True, kw_only=True, rename="camel"):
    """A reason for which runs of an agent failed, how many of the newest that failed, and the last of them."""

    agent_name: str
    reason: str
    count: int
    last_execution_id: str
    last_at: int


class AgentSum(Struct, frozen=True, kw_only=True, rename="camel"):
    agent_name: str
    runs: int
    failed: int
    p50: int
    p95: int
    cost: float


class Waits(Struct, frozen=True, kw_only=True, rename="camel"):
    """What waits now: open requests, and runs with a task that no live worker polls for."""

    requests: int
    oldest_request_at: int
    without_worker: int


class Statistics(Struct, frozen=True, kw_only=True, rename="camel"):
    """The runs that began from `since` to `until`, and what was spent then."""

    since: int
    until: int
    bucket_ms: int
    buckets: list[Bucket]
    totals: Totals
    durations: Durations
    failures: list[Failure]
    agents: list[AgentSum]
    waiting: Waits


class CostRow(Struct, frozen=True, kw_only=True, rename="camel"):
    """What was spent on one agent, model, day or session; `unpriced` calls have an unknown price."""

    key: str
    runs: int
    calls: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    cost: float
    unpriced: int


class Costs(Struct, frozen=True, kw_only=True, rename="camel"):
    since: int
    until: int
    by: str
    rows: list[CostRow]
    total: CostRow


class LeaseView(Struct, frozen=True, kw_only=True, rename="camel"):
    """A task that is with a worker; `lease_until` is 0 for as long as the worker lives."""

    task_id: str
    name: str
    execution_id: str
    domain: str
    owner: str
    since: int
    lease_until: int
