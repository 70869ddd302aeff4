"""Run, the folded state of one execution, and `evolve`, which folds one event in.

A Run holds numbers, names and places in the log, never payloads: its size does not grow with turns.
An event that does not fit (a second report, a late one) changes nothing.
"""

from typing import Any, assert_never

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from agentspan.core import events as e
from agentspan.core.reports import unfit
from agentspan.core.states import ENDED, STEPS, CallState, Kind, Purpose, Status, Verdict
from agentspan.spec.agent import Path
from agentspan.spec.policy import Budget

ERROR_CHARS = 2000


class Call(Struct, frozen=True, omit_defaults=True):
    """One tool call of the present turn. `source` is the event that holds its arguments, `settled` its last result."""

    name: str
    source: int
    state: CallState = CallState.NEW
    valid: bool = True
    settled: int = 0


class Fault(Struct, frozen=True, omit_defaults=True):
    """An attempt that ended badly and has no successor yet. `lost`: through no fault of its own."""

    task: int
    order: e.TaskScheduled
    error: str
    terminal: bool = False
    lost: bool = False
    retry_after_ms: int = 0
    cause: str = ""


class Usage(Struct, frozen=True, omit_defaults=True):
    """Tokens and US dollars of the model calls so far; `unpriced` calls have an unknown price, which is not zero."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cost: float = 0.0
    unpriced: int = 0
    calls: int = 0


class Spent(Struct, frozen=True, omit_defaults=True):
    """What a whole tree has used of its budget. `open` model calls are under way; the largest so far stands for what
    one of them may use. `unpriced` calls have a price that nobody knows."""

    cost: float = 0.0
    tokens: int = 0
    model_calls: int = 0
    tool_calls: int = 0
    open: int = 0
    unpriced: int = 0
    largest_cost: float = 0.0
    largest_tokens: int = 0


class Run(Struct, frozen=True, omit_defaults=True):
    """The state of one execution. `answer` is the event of the present turn's model answer, 0 while it thinks.

    `marks` are the events that settled the slots of this turn and of the whole run, `verdicts` what checks said of
    them, `retries` how often each check has asked again, and `extra` the turns that it took. `fixed` is the event whose
    text stands for the result, `asked` the one whose prompt stands for the given. A team has `spoken` so often, `last`
    was its last speaker, `choice` is the next. `credentials` are the names that a root was started with.
    """

    id: int = 0
    parent: int = 0
    path: Path = ()
    after: tuple[e.Result, ...] = ()
    heard: int = 0
    reply: e.Result = e.Result()
    source: int = 0
    index: int = 0
    alone: bool = False
    status: Status = Status.RUNNING
    since: int = 0
    at: int = 0
    seq: int = 0
    turn: int = 0
    answer: int = 0
    finish: str = ""
    calls: tuple[Call, ...] = ()
    cut: tuple[int, ...] = ()
    words: int = 0
    rejected: bool = False
    tasks: dict[int, e.TaskScheduled] = {}
    faults: dict[str, Fault] = {}
    canceled: dict[int, e.TaskScheduled] = {}
    branches: dict[int, e.Branch] = {}
    marks: dict[str, int] = {}
    verdicts: dict[str, Verdict] = {}
    retries: dict[str, int] = {}
    extra: int = 0
    fixed: int = 0
    asked: int = 0
    line: tuple[int, int] | None = None
    spoken: int = 0
    last: int = e.NOBODY
    choice: int | None = None
    transfer: str = ""
    step: int = 0
    steps: dict[str, tuple[int, ...]] = {}
    unread: tuple[int, ...] = ()
    used: dict[str, int] = {}
    messages: int = 1
    team_tokens: tuple[int, int] = (0, 0)
    model: int = 0
    overflow: int = 0
    compacted: int = 0
    stopping: bool = False
    signal: int = 0
    state: dict[str, Any] = {}
    inherited: tuple[str, ...] = ()
    credentials: tuple[str, ...] = ()
    usage: Usage = Usage()
    budget: Budget | None = None
    spent: Spent = Spent()
    finish_reason: str = ""
    result: e.Result = e.Result()
    reason: str = ""

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def made(self) -> tuple[int, ...]:
        """The events that hold what the turn has made: the results of its calls, or else its answer."""
        return tuple(call.settled for call in self.calls) or (self.answer,)

    def may_become(self, status: Status) -> bool:
        return status in STEPS[self.status]

    def open(self, slot: str) -> int:
        """The open attempt of a slot, 0 if there is none."""
        return next((seq for seq, order in self.tasks.items() if order.slot == slot), 0)


def evolve(run: Run, event: e.Event) -> Run:
    """The state after `event`. Total: what does not fit the state leaves it as it was."""
    fact = event.fact
    run = replace(run, at=event.at, seq=event.seq)
    match fact:
        case e.ExecutionStarted():
            return _started(run, event.at, fact)
        case e.ExecutionPaused():
            return _become(run, Status.PAUSED)
        case e.ExecutionResumed():
            return _become(run, Status.RUNNING) if run.status is Status.PAUSED else run
        case e.ExecutionRetried():
            return _reopen(run)
        case e.ExecutionForked():
            return replace(run, since=event.at)
        case e.ExecutionCompleted(finish_reason=word, result=result, transfer_to=target):
            return _become(run, Status.COMPLETED, finish_reason=word, result=result, transfer=target)
        case e.ExecutionFailed():
            return _become(run, Status.FAILED, finish_reason=fact.finish_reason, reason=fact.reason, result=fact.result)
        case e.ExecutionTimedOut():
            return _become(run, Status.TIMED_OUT, finish_reason="timeout", reason=fact.reason, result=fact.result)
        case e.ExecutionTerminated(finish_reason=word):
            return _become(run, Status.TERMINATED, finish_reason=word, reason=fact.reason, result=fact.result)
        case e.TaskScheduled():
            return _scheduled(run, event.seq, fact)
        case e.TaskCompleted():
            return _completed(run, event.seq, fact) if fact.task in run.tasks else run
        case e.TaskFailed():
            late = fact.retry_after_ms
            return _fault(run, fact.task, fact.error, terminal=fact.terminal, retry_after_ms=late, cause=fact.cause)
        case e.TaskTimedOut():
            lost, never_taken = fact.limit in LOSSES, fact.limit in ("start", "deadline")
            return _fault(run, fact.task, TIME_OUTS[fact.limit], lost=lost, terminal=never_taken, cause="timeout")
        case e.TaskCanceled():
            return _canceled(run, fact)
        case e.CallRefused():
            return _refused(run, fact)
        case e.SignalReceived():
            return replace(run, signal=event.seq if fact.message else 0)
        case e.StopRequested():
            return replace(run, stopping=True)
        case e.MessageReceived():
            return replace(run, unread=(*run.unread, event.seq), messages=run.messages + 1)
        case e.MessagesTaken():
            return _taken(run, event.seq, fact)
        case e.VerdictGiven():
            return _judged(run, event.seq, fact)
        case e.SpeakerChosen():
            return replace(run, choice=fact.index)
        case e.AnswerGiven():
            return _answered(replace(run, turn=fact.turn), event.seq, fact.output)
        case e.StepBegun(index=index, text=text):
            return _stepped(run, index, bool(text))
        case e.ModelSwitched():
            run = replace(run, model=fact.index, overflow=0, faults={})
            return replace(run, turn=run.turn + 1, extra=run.extra + 1, answer=0) if run.answer else run
        case e.ContextCompacted():
            return replace(run, overflow=0, compacted=run.turn, faults={}, marks=without(run.marks, "condense"))
        case e.BudgetChanged():
            return replace(run, budget=fact.budget)
        case _:
            assert_never(fact)


def _stepped(run: Run, index: int, said: bool) -> Run:
    """The next step of a plan, which takes a turn of its own."""
    run = at_end_of_step(run, index)
    turn = run.turn + 1 if run.answer else max(run.turn, 1)
    return replace(
        _cleared(run), step=index + 1, turn=turn, extra=run.extra + 1, answer=0, calls=(), faults={},
        messages=run.messages + said,
    )  # fmt: skip


def at_end_of_step(run: Run, index: int) -> Run:
    """The run with the results of the step that ends where step `index` begins."""
    return replace(run, steps={**run.steps, str(index - 1): run.made}) if index else run


def _started(run: Run, at: int, fact: e.ExecutionStarted) -> Run:
    given = fact.input or {}
    budget = msgspec.convert(given["budget"], Budget, strict=False) if given.get("budget") else None
    return replace(
        run,
        since=at,
        path=fact.path,
        parent=fact.parent,
        after=fact.after,
        heard=fact.heard,
        reply=fact.reply,
        source=fact.source,
        index=fact.index,
        alone=fact.alone,
        signal=fact.signal,
        line=fact.line,
        state=dict(given.get("context") or {}),
        inherited=tuple(given.get("context") or ()) if fact.path else (),
        budget=budget,
        credentials=tuple(given.get("credentials") or ()),
    )


def _become(run: Run, status: Status, **changes: Any) -> Run:
    return replace(run, status=status, **changes) if run.may_become(status) else run


def _scheduled(run: Run, seq: int, order: e.TaskScheduled) -> Run:
    order = order if order.origin else replace(order, origin=seq)
    run = replace(run, tasks={**run.tasks, seq: order}, faults=without(run.faults, order.slot))
    match order.purpose:
        case Purpose.THINK:
            return _thinking(run, order)
        case Purpose.ACT:
            used = run.used.get(order.name, 0) + (order.attempt + order.lost == 0)
            return _call(replace(run, used={**run.used, order.name: used}), order.index, CallState.RUNNING)
        case Purpose.WAIT:
            return _call(run, order.index, CallState.RUNNING)
        case Purpose.APPROVE:
            return _call(run, order.index, CallState.ASKED)
        case _:
            return run


def _thinking(run: Run, order: e.TaskScheduled) -> Run:
    before = f"before_model.{order.turn}"
    kept = {before: run.marks[before]} if before in run.marks else {}
    rejected = _rejected(run)
    run = _cleared(run)
    return replace(
        run,
        turn=order.turn,
        answer=0,
        finish="",
        calls=(),
        marks={**run.marks, **kept},
        faults={},
        canceled={},
        rejected=rejected,
        unread=tuple(seq for seq in run.unread if seq > order.seen),
    )


def _cleared(run: Run) -> Run:
    """Without what belongs to a turn alone."""
    return replace(
        run,
        marks={slot: seq for slot, seq in run.marks.items() if lasting(slot)},
        verdicts={slot: word for slot, word in run.verdicts.items() if lasting(slot)},
        fixed=0,
    )


def lasting(slot: str) -> bool:
    """Does what a slot holds count for the whole run?"""
    return slot.partition(".")[0] in LASTING


def _rejected(run: Run) -> bool:
    """Whether a person refused a call of the turn that ends here, and no other call of it was done."""
    if not run.calls:
        return run.rejected
    states = {call.state for call in run.calls}
    return CallState.REJECTED in states and CallState.DONE not in states


def _completed(run: Run, seq: int, fact: e.TaskCompleted) -> Run:
    order, output = run.tasks[fact.task], fact.output or {}
    if problem := unfit(order, output):
        return _fault(run, fact.task, problem, terminal=True)
    run = _close(run, fact.task)
    if order.kind is Kind.LLM and "overflow" not in output:
        run = replace(run, usage=_add(run.usage, output))
    match order.purpose:
        case Purpose.THINK:
            return replace(run, overflow=seq) if "overflow" in output else _answered(run, seq, output)
        case Purpose.ACT:
            return _done(_updated(run, output), order.index, seq)
        case Purpose.WAIT:
            return _done(run, order.index, seq)
        case Purpose.APPROVE:
            return _approved(run, seq, order, output)
        case Purpose.SPEAK:
            return _spoken(_updated(run, output), seq, order, fact)
        case Purpose.HOOK:
            return _hooked(run, seq, order, output)
        case Purpose.JUDGE | Purpose.CHOOSE | Purpose.BRIEF | Purpose.CONDENSE:
            return replace(run, marks={**run.marks, order.slot: seq})
        case _:
            assert_never(order.purpose)


def _updated(run: Run, output: e.Json) -> Run:
    """The shared state after a tool or a sub-agent has changed it."""
    if not output.get("_state_updates") and not output.get("_state_deletions"):
        return run
    gone = output.get("_state_deletions") or ()
    state = {key: value for key, value in run.state.items() if key not in gone}
    return replace(run, state={**state, **(output.get("_state_updates") or {})})


def _done(run: Run, index: int, seq: int) -> Run:
    return _call(replace(run, messages=run.messages + 1), index, CallState.DONE, settled=seq)


def _approved(run: Run, seq: int, order: e.TaskScheduled, output: e.Json) -> Run:
    approved = output.get("approved") is True
    source = seq if approved and isinstance(output.get("arguments"), dict) else order.source
    return _call(run, order.index, CallState.APPROVED if approved else CallState.REJECTED, source=source)


def _spoken(run: Run, seq: int, order: e.TaskScheduled, fact: e.TaskCompleted) -> Run:
    """A sub-agent's reply, or the team's own words about the replies."""
    output = fact.output or {}
    if order.kind is Kind.LLM:
        return replace(run, answer=seq, words=seq, finish=str(output.get("finish_reason") or "stop"))
    branch = e.Branch(order.name, fact.result or e.Result())
    prompt, completion = output.get("tokens") or (0, 0)
    return replace(
        _cleared(run),
        branches={**run.branches, order.index: branch},
        spoken=run.spoken + 1,
        last=order.index,
        choice=None,
        faults={slot: fault for slot, fault in run.faults.items() if slot.startswith("agent.")},
        team_tokens=(run.team_tokens[0] + prompt, run.team_tokens[1] + completion),
        transfer=str(output.get("transfer_to") or ""),
        finish=str(output.get("finish_reason", "stop")),
        messages=run.messages + 1,
    )


def _hooked(run: Run, seq: int, order: e.TaskScheduled, output: e.Json) -> Run:
    """What a callback said takes the place of what it wraps."""
    run = replace(run, marks={**run.marks, order.slot: seq})
    replaced = "result" in output
    match order.slot.partition(".")[0]:
        case "before_agent":
            run = replace(run, asked=seq) if "prompt" in output else run
            return replace(run, fixed=seq) if replaced else run
        case "before_model" if replaced:
            return _answered(replace(_cleared(run), turn=order.turn, canceled={}), seq, {**output, **SAID})
        case "after_model" if replaced or "tool_calls" in output:
            return _reworded(run, seq, output, replaced=replaced)
        case "before_tool" if replaced:
            return _done(run, order.index, seq)
        case "before_tool" if "args" in output or "arguments" in output:
            return _call(run, order.index, run.calls[order.index].state, source=seq)
        case "after_tool" if replaced:
            return _call(run, order.index, CallState.DONE, settled=seq)
        case "after_agent" if replaced:
            return replace(run, fixed=seq)
    return run


def _reworded(run: Run, seq: int, output: e.Json, *, replaced: bool) -> Run:
    """A model's answer with other words, which are whole, or other calls."""
    calls = _calls(output, seq) if "tool_calls" in output else run.calls
    cut = tuple(each for each in run.cut if each != run.answer) if replaced or calls else run.cut
    run = replace(run, calls=calls, cut=cut)
    return replace(run, answer=seq, words=seq, finish="stop") if replaced else run


def _answered(run: Run, seq: int, output: e.Json) -> Run:
    """A model's answer: {content, tool_calls: [{name, arguments}], finish_reason, usage, cost}."""
    calls = _calls(output, seq)
    said = str(output.get("finish_reason") or "stop")
    finish = "stop" if said == "tool_calls" else said
    return replace(
        run,
        answer=seq,
        finish=finish,
        calls=calls,
        cut=(*run.cut, seq) if finish == "length" and not calls else run.cut if not calls else (),
        words=seq if output.get("content") or output.get("result") else run.words,
        messages=run.messages + 1,
    )


def _calls(output: e.Json, seq: int) -> tuple[Call, ...]:
    return tuple(
        Call(each["name"], seq, valid=isinstance(each.get("arguments"), dict))
        for each in output.get("tool_calls") or ()
    )


def _refused(run: Run, fact: e.CallRefused) -> Run:
    if fact.turn != run.turn:
        return run
    if fact.cause == "transfer":
        run = replace(run, transfer=run.transfer or fact.detail)
    return _call(replace(run, messages=run.messages + 1), fact.index, CallState.REFUSED)


def _taken(run: Run, seq: int, fact: e.MessagesTaken) -> Run:
    if fact.turn != run.turn or (fact.task and fact.task not in run.tasks):
        return run
    run = replace(_close(run, fact.task), unread=tuple(each for each in run.unread if each not in fact.messages))
    return _done(run, fact.index, seq)


def _judged(run: Run, seq: int, fact: e.VerdictGiven) -> Run:
    """A verdict: passing and fixing let the guarded thing go on, asking again begins a turn of its own."""
    said = {} if fact.verdict is Verdict.PASS else {f"said.{fact.slot}": seq}
    run = replace(run, verdicts={**run.verdicts, fact.slot: fact.verdict}, marks={**run.marks, **said})
    index = int(fact.slot.split(".")[1]) if "." in fact.slot else 0
    if fact.verdict is Verdict.RETRY:
        check = tally(run, fact.slot, fact.guardrail)
        run = replace(run, retries={**run.retries, check: run.retries.get(check, 0) + 1})
    match fact.position, fact.verdict:
        case "output_type", Verdict.RETRY if run.spoken or run.branches:
            return replace(_cleared(run), answer=0)
        case "output" | "output_type" | "required_tools", Verdict.RETRY:
            return _again(run)
        case "input", Verdict.FIX:
            return replace(run, asked=seq)
        case "output", Verdict.FIX:
            return replace(run, fixed=seq)
        case "tool_input", Verdict.FIX:
            return _call(run, index, run.calls[index].state, source=seq)
        case "tool_output", Verdict.FIX:
            return _call(run, index, CallState.DONE, settled=seq)
        case "approval", Verdict.PASS:
            return _call(replace(run, faults=without(run.faults, fact.slot)), index, CallState.APPROVED)
        case "approval", _:
            return _call(replace(run, faults=without(run.faults, fact.slot)), index, CallState.REJECTED)
    return run


def tally(run: Run, slot: str, guardrail: str) -> str:
    """The name under which a check counts how often it has asked again: one for the agent, one for each tool."""
    place, _, rest = slot.partition(".")
    return f"{place}.{run.calls[int(rest.partition('.')[0])].name}.{guardrail}" if place in TOOLS else guardrail


def _again(run: Run) -> Run:
    """One more turn for an agent, one more round for a team."""
    return replace(
        _cleared(run),
        turn=run.turn + 1,
        extra=run.extra + 1,
        messages=run.messages + 1,
        answer=0,
        calls=(),
        cut=(),
        branches={},
        spoken=0,
        last=e.NOBODY,
        choice=None,
        transfer="",
    )


def _add(usage: Usage, output: e.Json) -> Usage:
    tokens = output.get("usage") or {}
    cost = output.get("cost")
    return Usage(
        prompt_tokens=usage.prompt_tokens + tokens.get("prompt_tokens", 0),
        completion_tokens=usage.completion_tokens + tokens.get("completion_tokens", 0),
        cached_tokens=usage.cached_tokens + tokens.get("cached_tokens", 0),
        reasoning_tokens=usage.reasoning_tokens + tokens.get("reasoning_tokens", 0),
        cost=usage.cost + (cost or 0.0),
        unpriced=usage.unpriced + (cost is None),
        calls=usage.calls + 1,
    )


def _fault(
    run: Run,
    task: int,
    error: str,
    *,
    terminal: bool = False,
    lost: bool = False,
    retry_after_ms: int = 0,
    cause: str = "",
) -> Run:
    if task not in run.tasks:
        return run
    order = run.tasks[task]
    if order.purpose is Purpose.HOOK and not lost:
        return replace(_close(run, task), marks={**run.marks, order.slot: task})
    fault = Fault(task, order, error[:ERROR_CHARS], terminal, lost, retry_after_ms, cause)
    run = replace(_close(run, task), faults={**run.faults, order.slot: fault})
    return _call(run, order.index, CallState.FAULTY) if order.purpose in AGAIN_ACTS else run


def _canceled(run: Run, fact: e.TaskCanceled) -> Run:
    if fact.task not in run.tasks:
        return run
    return replace(_close(run, fact.task), canceled={**run.canceled, fact.task: run.tasks[fact.task]})


def _reopen(run: Run) -> Run:
    """Back to the point of failure: calls that failed are called again, sub-agents that failed go on, and what a check
    refused for good is made anew."""
    if not run.may_become(Status.RUNNING):
        return run
    broken = {**run.canceled, **{fault.task: fault.order for fault in run.faults.values()}}
    again = {order.index: _anew(order) for order in broken.values() if order.purpose in AGAIN}
    calls = tuple(replace(call, state=again.get(i, call.state)) for i, call in enumerate(run.calls))
    teams = {task: order for task, order in broken.items() if order.kind is Kind.AGENT}
    raised = [slot for slot, word in run.verdicts.items() if word is Verdict.RAISE]
    refused = any(slot.partition(".")[0] in RESULTS for slot in raised)
    stale = {part for slot in raised for part in (slot, f"said.{slot}", f"review.{slot}")}
    run = replace(
        run,
        status=Status.RUNNING,
        since=run.at,
        calls=calls,
        tasks={**run.tasks, **teams},
        faults={},
        canceled={},
        verdicts={slot: word for slot, word in run.verdicts.items() if slot not in stale},
        marks={slot: seq for slot, seq in run.marks.items() if slot not in stale},
        retries={},
        overflow=0,
        stopping=False,
        finish_reason="",
        reason="",
        result=e.Result(),
    )
    return _again(run) if refused else run


def _anew(order: e.TaskScheduled) -> CallState:
    """The state of a call that is to be made again. An agent that was called goes on where it was."""
    return CallState.RUNNING if order.kind is Kind.AGENT else AGAIN[order.purpose]


def without(table: dict[str, Any], slot: str) -> dict[str, Any]:
    return {key: value for key, value in table.items() if key != slot}


def _close(run: Run, task: int) -> Run:
    return replace(run, tasks={seq: order for seq, order in run.tasks.items() if seq != task})


def _call(run: Run, index: int, state: CallState, **changes: int) -> Run:
    if index >= len(run.calls):
        return run
    call = replace(run.calls[index], state=state, **changes)
    return replace(run, calls=(*run.calls[:index], call, *run.calls[index + 1 :]))


TIME_OUTS = {
    "start": "no worker took the task in time",
    "deadline": "nobody answered before the deadline",
    "attempt": "the attempt took longer than its time limit",
    "lease": "the worker went silent and lost its lease",
    "server": "the server that ran it died",
}
AGAIN = {Purpose.ACT: CallState.APPROVED, Purpose.WAIT: CallState.APPROVED, Purpose.APPROVE: CallState.NEW}
AGAIN_ACTS = (Purpose.ACT, Purpose.WAIT)
LASTING = frozenset({"before_agent", "brief", "input", "plan"})
"""The first words of slots that are settled once in a run."""

TOOLS = frozenset({"tool_in", "tool_out"})
"""The first words of slots that check a call."""

RESULTS = frozenset({"output", "output_type", "required_tools"})
"""The first words of slots that check the result."""

SAID = {"finish_reason": "stop"}
"""What a callback that answers for the model says of how the answer ended."""

LOSSES = frozenset({"lease", "server"})

_decoder = msgspec.json.Decoder(Run)


def dump(run: Run) -> bytes:
    """The snapshot of a run."""
    return msgspec.json.encode(run)


def load(data: bytes) -> Run:
    """The run of a snapshot."""
    return _decoder.decode(data)
