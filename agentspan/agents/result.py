"""What a run gives back: its result, its state, its events, and the words for them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, ClassVar

from agentspan.agents.showing import Shown

Json = dict[str, Any]


class Status(StrEnum):
    """How a run ended."""

    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    TERMINATED = "TERMINATED"
    TIMED_OUT = "TIMED_OUT"


class FinishReason(StrEnum):
    """Why the agent stopped."""

    STOP = "stop"
    LENGTH = "LENGTH"
    TOOL_CALLS = "tool_calls"
    ERROR = "error"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"
    GUARDRAIL = "guardrail"
    REJECTED = "rejected"
    STOPPED = "stopped"
    MAX_TURNS = "max_turns"
    BUDGET = "budget"


class EventType(StrEnum):
    """What an event tells. TOKEN is a piece of an answer while the model writes it: not kept, never the only copy.

    SPEAKER: who speaks next in a team. CONTEXT_CONDENSED: the model sees a summary of the older messages.
    MODEL_SWITCHED: the model failed, another goes on. BUDGET: the limits of the run were changed.
    """

    THINKING = "thinking"
    TOOL_CALL = "tool_call"
    TOOL_RESULT = "tool_result"
    HANDOFF = "handoff"
    WAITING = "waiting"
    MESSAGE = "message"
    ERROR = "error"
    DONE = "done"
    GUARDRAIL_PASS = "guardrail_pass"
    GUARDRAIL_FAIL = "guardrail_fail"
    TOKEN = "token"
    SPEAKER = "speaker"
    CONTEXT_CONDENSED = "context_condensed"
    MODEL_SWITCHED = "model_switched"
    BUDGET = "budget"


@dataclass
class TokenUsage(Shown):
    """Tokens of all model calls of the run; cached and reasoning tokens are part of prompt and completion."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass
class AgentEvent:
    """Something that happened in a run. Which fields are set depends on `type`.

    `id`: its place in the run's log, None for TOKEN. `timestamp`: ms since the epoch. `path`: the names of the agents
    from the root down to the one it happened in. `final`: for ERROR, whether the run ended with it (an attempt that
    will be tried again is an ERROR too). `call_id`: the same for a TOOL_CALL and its TOOL_RESULT. `pending_tool`: for
    WAITING, what a person is asked. `data`: all of it, as the server sent it.
    """

    type: EventType | str
    content: Any = None
    tool_name: str | None = None
    args: Json | None = None
    result: Any = None
    target: str | None = None
    output: Any = None
    execution_id: str = ""
    guardrail_name: str | None = None
    id: int | None = None
    timestamp: int | None = None
    path: list[str] = field(default_factory=list)
    final: bool = False
    pending_tool: Json | None = None
    call_id: str | None = None
    data: Json = field(default_factory=dict, repr=False)


@dataclass
class AgentStatus(Shown):
    """How a run stands.

    `status`: RUNNING, PAUSED or one of Status. `is_waiting`: a person is asked; `pending_tool` is the oldest request,
    `requests` all of them as `{requestId, tool, arguments, executionId, path, since}`. `waiting_for`: tools that no
    live worker serves, as `{tool, queue, since, reason}`. `since` is in ms since the epoch.
    """

    execution_id: str
    is_complete: bool = False
    is_running: bool = False
    is_waiting: bool = False
    output: Any = None
    status: str = ""
    reason: str | None = None
    current_task: str | None = None
    messages: list[Json] = field(default_factory=list)
    pending_tool: Json | None = None
    requests: list[Json] = field(default_factory=list)
    waiting_for: list[Json] = field(default_factory=list)


@dataclass
class AgentResult(Shown):
    """What a run came to.

    `output` is a dict: `{"result", "finishReason", "context", ...}`, or `{"error", "status"}` when it failed, with what
    there is of a `result`. Of an agent with an `output_type` it is an object of that type; where the answer is none,
    it stays a dict and `error` says why. `messages`: the conversation. `tool_calls`: `{id, name, args, result, error,
    status, executionId, agentName, attempts}` each. `sub_results`: by sub-agent. `cost` is in US dollars, None if the
    price of a model is unknown.
    """

    output: Any = None
    execution_id: str = ""
    correlation_id: str | None = None
    messages: list[Json] = field(default_factory=list)
    tool_calls: list[Json] = field(default_factory=list)
    status: Status = Status.COMPLETED
    token_usage: TokenUsage | None = None
    metadata: Json = field(default_factory=dict)
    finish_reason: FinishReason | str = FinishReason.STOP
    error: str | None = None
    events: list[AgentEvent] = field(default_factory=list)
    sub_results: Json = field(default_factory=dict)
    cost: float | None = None
    agent_name: str = ""

    _surroundings: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    @property
    def is_success(self) -> bool:
        """Did it complete?"""
        return self.status == Status.COMPLETED

    @property
    def is_failed(self) -> bool:
        """Did it end in any other way?"""
        return not self.is_success

    @property
    def is_rejected(self) -> bool:
        """Did a person say no?"""
        return self.finish_reason == FinishReason.REJECTED

    def surround(self, **known: Any) -> None:
        """Keep what else is known of the run for the picture of the result: its `timeline`, its `url`."""
        self.__dict__["_surroundings"] = known

    def print_result(self) -> None:
        """Print the answer and what it took."""
        print(self._told())

    def _told(self) -> str:
        title = f" {self.agent_name or 'Agent'}: {self.status} "
        lines = [title.center(60, "─")]
        lines += [f"Error: {self.error}"] if self.error else []
        has_answer = isinstance(self.output, Mapping) and "result" in self.output
        if has_answer or not self.error:
            lines.append(str(self.output["result"] if has_answer else self.output))
        lines += [f"[{name}] {answer}" for name, answer in self.sub_results.items()]
        lines.append("─" * 60)
        if self.tool_calls:
            lines.append(f"Tool calls: {len(self.tool_calls)}")
        if self.token_usage is not None and self.token_usage.total_tokens:
            used = self.token_usage
            lines.append(f"Tokens: {used.total_tokens} ({used.prompt_tokens} in, {used.completion_tokens} out)")
        if self.cost:
            lines.append(f"Cost: ${self.cost:.4f}")
        if self.finish_reason:
            lines.append(f"Finish reason: {self.finish_reason}")
        return "\n".join([*lines, f"Execution: {self.execution_id}"])


@dataclass(frozen=True)
class DeploymentInfo:
    """A deployed agent: the name it is run by, and its own."""

    registered_name: str
    agent_name: str
    version: int | None = None


@dataclass(frozen=True)
class MessageStatus:
    """What became of a message to a run: queued, seen (by the model of turn `turn`) or run_ended before it was seen."""

    message_id: str
    status: str
    turn: int | None = None


@dataclass(frozen=True)
class RunStep:
    """One event of a run, `seq` its number: whether it can be forked there, and what a fork can change of the event.

    `path` names the agents from the run's own down to the one that it is about.
    """

    seq: int
    kind: str
    agent: str
    summary: str
    forkable: bool
    edits: list[str] = field(default_factory=list)
    path: list[str] = field(default_factory=list)
    turn: int = 0
    timestamp: int = 0


@dataclass(frozen=True)
class RunReasons:
    """Why a run does not go on, what it does, or why it failed. `sentence` is the first of `reasons`, with what to do:
    `{code, sentence, remedy, taskId, executionId, since, seq}` each, what holds the run up first."""

    status: str
    sentence: str
    reasons: list[Json] = field(default_factory=list)

    def __str__(self) -> str:
        return self.sentence


def reasons_of(body: Json) -> RunReasons:
    """The RunReasons of the server's answer."""
    return RunReasons(str(body.get("status") or ""), str(body.get("sentence") or ""), list(body.get("reasons") or ()))


def step_of(body: Json) -> RunStep:
    """The RunStep of the server's answer."""
    return RunStep(
        seq=body["seq"],
        kind=body["kind"],
        agent=body["agent"],
        summary=body.get("summary") or "",
        forkable=bool(body.get("forkable")),
        edits=list(body.get("edits") or ()),
        path=list(body.get("path") or ()),
        turn=body.get("turn") or 0,
        timestamp=body.get("at") or 0,
    )


def result_of(
    body: Json,
    *,
    correlation_id: str | None = None,
    events: list[AgentEvent] | None = None,
    output_type: Any = None,
) -> AgentResult:
    """The AgentResult of the server's answer; `output_type` is what its output is to be."""
    status = Status(body["status"])
    reason = finish_reason_of(body.get("finishReason"), status)
    problem = body.get("reasonForIncompletion")
    error = None if status is Status.COMPLETED else str(problem or ERRORS[status])
    output: Any = _output(body, status, reason, error)
    if output_type is not None and status is Status.COMPLETED:
        output, error = _typed(output, output_type)
    return AgentResult(
        output=output,
        execution_id=body["executionId"],
        correlation_id=correlation_id,
        messages=list(body.get("messages") or ()),
        tool_calls=list(body.get("toolCalls") or ()),
        status=status,
        token_usage=usage_of(body.get("tokenUsage")),
        metadata=dict(body.get("metadata") or {}),
        finish_reason=reason,
        error=error,
        events=events or [],
        sub_results=dict(body.get("subResults") or {}),
        cost=None if body.get("costUnknown") else body.get("cost"),
        agent_name=body.get("agentName") or "",
    )


def message_status_of(body: Json) -> MessageStatus:
    """The MessageStatus of the server's answer."""
    return MessageStatus(str(body.get("messageId") or ""), str(body.get("status") or "queued"), body.get("turn"))


def answer_text(output: Any) -> str:
    """The answer in the server's output as text."""
    value = output.get("result") if isinstance(output, Mapping) else output
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def status_of(body: Json) -> AgentStatus:
    """The AgentStatus of the server's answer."""
    requests = list(body.get("requests") or ())
    status = str(body.get("status") or "")
    return AgentStatus(
        execution_id=body["executionId"],
        is_complete=bool(body.get("isComplete")),
        is_running=bool(body.get("isRunning")),
        is_waiting=bool(body.get("isWaiting") or requests),
        output=body.get("output"),
        status=status,
        reason=body.get("reasonForIncompletion"),
        current_task=body.get("currentTask"),
        messages=list(body.get("messages") or ()),
        pending_tool=body.get("pendingTool") or (pending_tool_of(requests[0]) if requests else None),
        requests=requests,
        waiting_for=list(body.get("waitingFor") or ()),
    )


def event_of(data: Json) -> AgentEvent:
    """The AgentEvent of one event of the stream or the log."""
    kind = data.get("type", "message")
    args = data.get("args")
    return AgentEvent(
        type=EVENT_TYPES.get(kind) or str(kind),
        content=data.get("content"),
        tool_name=data.get("toolName"),
        args={key: value for key, value in args.items() if key not in HIDDEN} if isinstance(args, dict) else args,
        result=data.get("result"),
        target=data.get("target"),
        output=data.get("output"),
        execution_id=data.get("executionId") or "",
        guardrail_name=data.get("guardrailName"),
        id=data.get("id"),
        timestamp=data.get("timestamp"),
        path=list(data.get("path") or ()),
        final=bool(data.get("final")),
        pending_tool=data.get("pendingTool"),
        call_id=data.get("callId"),
        data=data,
    )


def usage_of(body: Json | None) -> TokenUsage | None:
    """The TokenUsage of the server's answer."""
    if not body:
        return None
    return TokenUsage(
        prompt_tokens=body.get("promptTokens") or 0,
        completion_tokens=body.get("completionTokens") or 0,
        total_tokens=body.get("totalTokens") or 0,
        cached_tokens=body.get("cachedTokens") or 0,
        reasoning_tokens=body.get("reasoningTokens") or 0,
    )


def finish_reason_of(word: str | None, status: Status) -> FinishReason | str:
    """The reason by its word, in whatever case (providers disagree); without one, by the status."""
    if not word:
        return REASONS[status]
    known = {each.value.lower(): each for each in FinishReason}
    return known.get(word.lower(), word)


def pending_tool_of(request: Json) -> Json:
    """A request in the older form of one pending tool."""
    return {"taskRefName": request.get("requestId"), "tool_name": request.get("tool"),
            "parameters": request.get("arguments")}  # fmt: skip


def _output(body: Json, status: Status, reason: FinishReason | str, error: str | None) -> Json:
    output = body.get("output")
    if status is not Status.COMPLETED:
        partial = output if isinstance(output, dict) else {"result": output}
        kept = {key: value for key, value in partial.items() if value is not None and key != "finishReason"}
        return {**kept, "error": error, "status": str(status)}
    if isinstance(output, dict) and "result" in output:
        return {"finishReason": str(reason), **output}
    return {"result": output, "finishReason": str(reason), "context": body.get("context") or {}}


def _typed(output: Json, output_type: Any) -> tuple[Any, str | None]:
    """The user's object, or the dict as it is and why there is none."""
    from agentspan.agents import shape

    try:
        return shape.build(output_type, output["result"]), None
    except shape.Misfit as problem:
        return output, f"the answer is no {shape.name_of(output_type)}: {problem}"


EVENT_TYPES = {each.value: each for each in EventType}
HIDDEN = ("_agent_state", "__agentspan_ctx__")

ERRORS = {
    Status.COMPLETED: "",
    Status.FAILED: "the run failed",
    Status.TERMINATED: "the run was cancelled",
    Status.TIMED_OUT: "the run took longer than its time limit",
}

REASONS = {
    Status.COMPLETED: FinishReason.STOP,
    Status.FAILED: FinishReason.ERROR,
    Status.TERMINATED: FinishReason.CANCELLED,
    Status.TIMED_OUT: FinishReason.TIMEOUT,
}
