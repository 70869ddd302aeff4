"""Run, the folded state of one execution, and `evolve`, which folds one event in.

A Run holds numbers, names and places in the log, never payloads: its size does not grow with turns.
An event that does not fit (a second report, a late one) changes nothing.
"""

from typing import Any, assert_never

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from agentspan.core import events as e
from agentspan.core.states import ENDED, STEPS, CallState, Kind, Purpose, Status

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


class Usage(Struct, frozen=True, omit_defaults=True):
    """Tokens and US dollars of the model calls so far; `unpriced` calls have an unknown price, which is not zero."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cost: float = 0.0
    unpriced: int = 0
    calls: int = 0


class Run(Struct, frozen=True, omit_defaults=True):
    """The state of one execution. `answer` is the event of the present turn's model answer, 0 while it thinks."""

    id: int = 0
    parent: int = 0
    path: tuple[int, ...] = ()
    after: tuple[e.Result, ...] = ()
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
    stopping: bool = False
    signal: int = 0
    state: dict[str, Any] = {}
    usage: Usage = Usage()
    finish_reason: str = ""
    result: e.Result = e.Result()
    reason: str = ""

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    def may_become(self, status: Status) -> bool:
        return status in STEPS[self.status]


def evolve(run: Run, event: e.Event) -> Run:
    """The state after `event`. Total: what does not fit the state leaves it as it was."""
    fact = event.fact
    run = replace(run, at=event.at, seq=event.seq)
    match fact:
        case e.ExecutionStarted():
            context = (fact.input or {}).get("context") or {}
            run = replace(run, since=event.at, path=fact.path, parent=fact.parent, after=fact.after)
            return replace(run, signal=fact.signal, state=dict(context))
        case e.ExecutionPaused():
            return _become(run, Status.PAUSED)
        case e.ExecutionResumed():
            return _become(run, Status.RUNNING) if run.status is Status.PAUSED else run
        case e.ExecutionRetried():
            return _reopen(run)
        case e.ExecutionForked():
            return replace(run, since=event.at)
        case e.ExecutionCompleted():
            return _become(run, Status.COMPLETED, finish_reason=fact.finish_reason, result=fact.result)
        case e.ExecutionFailed():
            return _become(run, Status.FAILED, finish_reason="error", reason=fact.reason)
        case e.ExecutionTimedOut():
            return _become(run, Status.TIMED_OUT, finish_reason="timeout", reason=fact.reason)
        case e.ExecutionTerminated():
            return _become(run, Status.TERMINATED, finish_reason="cancelled", reason=fact.reason)
        case e.TaskScheduled():
            return _scheduled(run, event.seq, fact)
        case e.TaskCompleted():
            return _completed(run, event.seq, fact) if fact.task in run.tasks else run
        case e.TaskFailed():
            return _fault(run, fact.task, fact.error, terminal=fact.terminal, retry_after_ms=fact.retry_after_ms)
        case e.TaskTimedOut():
            lost, never_taken = fact.limit in LOSSES, fact.limit == "start"
            return _fault(run, fact.task, TIME_OUTS[fact.limit], lost=lost, terminal=never_taken)
        case e.TaskCanceled():
            return _canceled(run, fact)
        case e.CallRefused():
            return _call(run, fact.index, CallState.REFUSED) if fact.turn == run.turn else run
        case e.SignalReceived():
            return replace(run, signal=event.seq if fact.message else 0)
        case e.StopRequested():
            return replace(run, stopping=True)
        case _:
            assert_never(fact)


def _become(run: Run, status: Status, **changes: Any) -> Run:
    return replace(run, status=status, **changes) if run.may_become(status) else run


def _scheduled(run: Run, seq: int, order: e.TaskScheduled) -> Run:
    order = order if order.origin else replace(order, origin=seq)
    run = replace(
        run,
        tasks={**run.tasks, seq: order},
        faults={slot: fault for slot, fault in run.faults.items() if slot != order.slot},
    )
    match order.purpose:
        case Purpose.THINK:
            return replace(
                run, turn=order.turn, answer=0, finish="", calls=(), faults={}, canceled={}, rejected=_rejected(run)
            )
        case Purpose.ACT:
            return _call(run, order.index, CallState.RUNNING)
        case Purpose.APPROVE:
            return _call(run, order.index, CallState.ASKED)
        case Purpose.SPEAK:
            return run
        case _:
            assert_never(order.purpose)


def _rejected(run: Run) -> bool:
    """Whether a person refused a call of the turn that ends here, and no other call of it was done."""
    if not run.calls:
        return run.rejected
    states = {call.state for call in run.calls}
    return CallState.REJECTED in states and CallState.DONE not in states


def _completed(run: Run, seq: int, fact: e.TaskCompleted) -> Run:
    order = run.tasks[fact.task]
    run = _close(run, fact.task)
    output = fact.output or {}
    match order.purpose:
        case Purpose.THINK:
            return _answered(run, seq, output)
        case Purpose.ACT:
            state = {k: v for k, v in run.state.items() if k not in output.get("_state_deletions", ())}
            run = replace(run, state={**state, **output.get("_state_updates", {})})
            return _call(run, order.index, CallState.DONE, settled=seq)
        case Purpose.APPROVE:
            approved = output.get("approved") is True
            source = seq if approved and isinstance(output.get("arguments"), dict) else order.source
            return _call(run, order.index, CallState.APPROVED if approved else CallState.REJECTED, source=source)
        case Purpose.SPEAK:
            branch = e.Branch(order.name, fact.result or e.Result())
            finish = str(output.get("finish_reason", "stop"))
            return replace(run, branches={**run.branches, order.index: branch}, finish=finish)
        case _:
            assert_never(order.purpose)


def _answered(run: Run, seq: int, output: e.Json) -> Run:
    """A model's answer: {content, tool_calls: [{name, arguments}], finish_reason, usage, cost}."""
    calls = tuple(
        Call(each["name"], seq, valid=isinstance(each.get("arguments"), dict)) for each in output.get("tool_calls", ())
    )
    finish = str(output.get("finish_reason") or "stop")
    return replace(
        run,
        answer=seq,
        finish=finish,
        calls=calls,
        cut=(*run.cut, seq) if finish == "length" and not calls else run.cut if not calls else (),
        words=seq if output.get("content") else run.words,
        usage=_add(run.usage, output),
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
    run: Run, task: int, error: str, *, terminal: bool = False, lost: bool = False, retry_after_ms: int = 0
) -> Run:
    if task not in run.tasks:
        return run
    order = run.tasks[task]
    run = _close(run, task)
    if order.purpose is Purpose.APPROVE:
        return _call(run, order.index, CallState.REJECTED)
    fault = Fault(task, order, error[:ERROR_CHARS], terminal, lost, retry_after_ms)
    run = replace(run, faults={**run.faults, order.slot: fault})
    return _call(run, order.index, CallState.FAULTY) if order.purpose is Purpose.ACT else run


def _canceled(run: Run, fact: e.TaskCanceled) -> Run:
    if fact.task not in run.tasks:
        return run
    return replace(_close(run, fact.task), canceled={**run.canceled, fact.task: run.tasks[fact.task]})


def _reopen(run: Run) -> Run:
    """Back to the point of failure: calls that failed are called again, sub-agents that failed go on."""
    if not run.may_become(Status.RUNNING):
        return run
    broken = {**run.canceled, **{fault.task: fault.order for fault in run.faults.values()}}
    again = {order.index: AGAIN[order.purpose] for order in broken.values() if order.purpose in AGAIN}
    calls = tuple(replace(call, state=again.get(i, call.state)) for i, call in enumerate(run.calls))
    teams = {task: order for task, order in broken.items() if order.kind is Kind.AGENT}
    return replace(
        run,
        status=Status.RUNNING,
        since=run.at,
        calls=calls,
        tasks={**run.tasks, **teams},
        faults={},
        canceled={},
        stopping=False,
        finish_reason="",
        reason="",
    )


def _close(run: Run, task: int) -> Run:
    return replace(run, tasks={seq: order for seq, order in run.tasks.items() if seq != task})


def _call(run: Run, index: int, state: CallState, **changes: int) -> Run:
    if index >= len(run.calls):
        return run
    call = replace(run.calls[index], state=state, **changes)
    return replace(run, calls=(*run.calls[:index], call, *run.calls[index + 1 :]))


TIME_OUTS = {
    "start": "no worker took the task in time",
    "attempt": "the attempt took longer than its time limit",
    "lease": "the worker went silent and lost its lease",
    "server": "the server that ran it died",
}
AGAIN = {Purpose.ACT: CallState.APPROVED, Purpose.APPROVE: CallState.NEW}
LOSSES = frozenset({"lease", "server"})

_decoder = msgspec.json.Decoder(Run)


def dump(run: Run) -> bytes:
    """The snapshot of a run."""
    return msgspec.json.encode(run)


def load(data: bytes) -> Run:
    """The run of a snapshot."""
    return _decoder.decode(data)
