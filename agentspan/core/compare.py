"""Two runs side by side: their steps aligned, the first difference, tokens, cost and time of each.

A step is a task with all its attempts, a start, an end, or a decision that took no task. Steps are aligned by their
place (which agent, which turn, which call), so branches that ran in another order are no difference.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct

from agentspan.core import events as e
from agentspan.core import transcript
from agentspan.core.advance import ROOT
from agentspan.core.edits import calls_in, is_answer
from agentspan.core.fork import fold
from agentspan.core.material import Material
from agentspan.core.reports import unfit
from agentspan.core.run import TIME_OUTS, Run
from agentspan.core.states import Kind, Purpose, Status
from agentspan.core.steps import ASKED, answered, brief, log_of
from agentspan.spec import mask, wire
from agentspan.spec.agent import AgentSpec
from agentspan.spec.diff import diff

Json = dict[str, Any]
Key = tuple[Any, ...]


class Side(Struct, frozen=True):
    """A run as it is compared."""

    id: str
    spec: AgentSpec
    events: Sequence[e.Event]


class Deed(Struct):
    """One step of a run. `given` is what it was asked, `got` what came of it; times in ms."""

    key: Key
    seq: int
    kind: str
    agent: str
    name: str
    turn: int
    given: Json = {}
    got: Any = None
    status: str = "COMPLETED"
    attempts: int = 1
    tokens: int = 0
    cost: float = 0.0
    ms: int = 0
    last: int = 0


class Row(Struct, frozen=True, rename="camel", kw_only=True):
    """One step of both runs; `changes` are {path, before, after} each. A run that has no such step has None."""

    kind: str
    agent: str
    name: str
    turn: int
    same: bool
    shared: bool
    changes: list[Json]
    a: str | None
    b: str | None
    a_seq: int | None
    b_seq: int | None
    a_tokens: int | None
    b_tokens: int | None
    a_cost: float | None
    b_cost: float | None
    a_ms: int | None
    b_ms: int | None


class Difference(Struct, frozen=True, rename="camel"):
    """The first row that differs. `messages` is what differs in what a model was shown there."""

    row: int
    kind: str
    agent: str
    name: str
    turn: int
    a_seq: int | None
    b_seq: int | None
    changes: list[Json]
    messages: list[Json]


class Total(Struct, frozen=True, rename="camel", kw_only=True):
    """What a run took, sub-agents included. `ms` leaves out the time between a fork and what it shares."""

    execution_id: str
    agent_name: str
    status: str
    finish_reason: str
    result: str
    steps: int
    model_calls: int
    tool_calls: int
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cost: float
    cost_unknown: bool
    ms: int


class Comparison(Struct, frozen=True, rename="camel"):
    """`same`: every step of one is a step of the other. `shared` are so many events that one has from the other, or
    both from a third, by a fork; `definition` is what differs in the agents."""

    same: bool
    a: Total
    b: Total
    shared: int
    definition: list[Json]
    first_difference: Difference | None
    rows: list[Row]


def compare(a: Side, b: Side, shared: int = 0) -> Comparison:
    """The comparison of two runs; the first `shared` events of both have the same numbers."""
    left, right = deeds(a), deeds(b)
    hidden = mask.names(a.spec) | mask.names(b.spec)
    rows = [_row(left.get(key), right.get(key), shared, hidden) for key in _order(left, right)]
    at = next((place for place, row in enumerate(rows) if not row.same), None)
    return Comparison(
        same=at is None,
        a=_total(a, left.values(), hidden),
        b=_total(b, right.values(), hidden),
        shared=shared,
        definition=diff(wire.encode(a.spec), wire.encode(b.spec)),
        first_difference=None if at is None else _difference(at, rows[at], a, b, hidden),
        rows=rows,
    )


# The steps of one run


def deeds(side: Side) -> dict[Key, Deed]:
    """The steps of a run by their keys, in their order."""
    return _Deeds(side).all()


class _Deeds:
    """Folds a log into deeds."""

    def __init__(self, side: Side) -> None:
        self.side, self.log = side, log_of(side.events)
        self.found: dict[Key, Deed] = {}
        self.places: dict[int, Key] = {ROOT: ()}
        self.paths: dict[int, Any] = {ROOT: ()}
        self.tasks: dict[int, tuple[Deed, e.TaskScheduled]] = {}
        self.counted: dict[Key, int] = {}

    def all(self) -> dict[Key, Deed]:
        for event in self.side.events:
            self._fold(event)
        return self.found

    def _fold(self, event: e.Event) -> None:
        fact = event.fact
        match fact:
            case e.ExecutionStarted(path=path):
                self.paths[event.execution] = path
                if event.execution == ROOT:
                    given = {key: each for key, each in (fact.input or {}).items() if not key.startswith("_")}
                    self._add(event, "start", "", 0, ("start",), given=given)
            case e.TaskScheduled():
                self._scheduled(event, fact)
            case e.TaskCompleted() | e.TaskFailed() | e.TaskTimedOut() | e.TaskCanceled() if fact.task in self.tasks:
                self._settled(event, fact)
            case e.ExecutionCompleted() | e.ExecutionFailed() | e.ExecutionTimedOut() | e.ExecutionTerminated():
                self._ended(event, fact)
            case e.VerdictGiven(slot=slot, guardrail=guardrail):
                got = {"verdict": str(fact.verdict), "message": fact.message, "output": fact.output}
                self._add(event, "verdict", guardrail, 0, ("verdict", slot), got=got)
            case e.SpeakerChosen(name=name, by=by):
                self._add(event, "speaker", name, 0, ("speaker",), got={"speaker": name, "by": by})
            case e.CallRefused(turn=turn, index=index, cause=cause, detail=detail):
                got = {"cause": cause, "detail": detail}
                self._add(event, "refused_call", cause, turn, ("refused", turn, index), got=got)
            case e.AnswerGiven(turn=turn, output=output):
                self._add(event, "answer", "", turn, ("answer", turn), got=_answer(output))
            case e.MessageReceived(message=message):
                self._add(event, "message", "", 0, ("message",), given=message)
            case e.SignalReceived(message=message):
                self._add(event, "signal", "", 0, ("signal",), given={"message": message})
            case e.MessagesTaken(turn=turn, index=index, task=task):
                taken = transcript.visible(self.log.get(event.seq) or {})
                if task in self.tasks:
                    self.tasks[task][0].got = taken
                else:
                    self._add(event, "messages_taken", "", turn, ("taken", turn, index), got=taken)
            case e.ModelSwitched(model=model):
                self._add(event, "model_switched", model, 0, ("model",), got={"model": model})
            case e.ContextCompacted(kept=kept):
                self._add(event, "context_compacted", "", 0, ("compacted",), got={"kept": kept})

    def _add(self, event: e.Event, word: str, name: str, turn: int, place: Key, **more: Any) -> Deed:
        """A step at a place of its execution; the n-th one at the same place is compared with the n-th."""
        where = (self.places.get(event.execution, (event.execution,)), *place)
        number = self.counted[where] = self.counted.get(where, 0) + 1
        agent = self.side.spec.at(self.paths.get(event.execution, ())).name
        key = (*where, number)
        deed = Deed(key, event.seq, word, agent, name, turn, last=event.seq, **more)
        self.found[key] = deed
        return deed

    def _scheduled(self, event: e.Event, order: e.TaskScheduled) -> None:
        if order.origin in self.tasks:
            deed = self.tasks[order.origin][0]
            deed.attempts += 1
        else:
            deed = self._add(
                event, DEEDS[order.purpose], order.name, order.turn, (order.turn, order.slot),
                given=self._given(order), status="OPEN",
            )  # fmt: skip
        self.tasks[event.seq] = (deed, order)
        self.places[event.seq] = deed.key

    def _given(self, order: e.TaskScheduled) -> Json:
        if order.source and order.purpose in CALLS:
            return {"arguments": self.log.call(order.source, order.index)}
        about = self.log.text(order.about) if transcript.named(order.about) else ""
        given: Json = {"about": about} if about else {}
        return {**given, "model": order.name} if order.kind is Kind.LLM else given

    def _settled(self, event: e.Event, fact: e.TaskCompleted | e.TaskFailed | e.TaskTimedOut | e.TaskCanceled) -> None:
        deed, order = self.tasks[fact.task]
        deed.last = event.seq
        deed.ms = event.at - self.side.events[deed.seq - 1].at
        match fact:
            case e.TaskCompleted(output=output) if problem := unfit(order, output or {}):
                deed.status, deed.got = "FAILED", {"error": problem}
            case e.TaskCompleted(output=output):
                deed.status, deed.got = "COMPLETED", self._got(event.seq, order)
                if order.kind is Kind.LLM:
                    used = (output or {}).get("usage") or {}
                    deed.tokens += used.get("prompt_tokens", 0) + used.get("completion_tokens", 0)
                    deed.cost += (output or {}).get("cost") or 0.0
            case e.TaskFailed(error=error):
                deed.status, deed.got = "FAILED", {"error": error}
            case e.TaskTimedOut(limit=limit):
                deed.status, deed.got = "TIMED_OUT", {"error": TIME_OUTS[limit]}
            case e.TaskCanceled(reason=reason):
                deed.status, deed.got = "CANCELED", {"error": reason}

    def _got(self, seq: int, order: e.TaskScheduled) -> Any:
        output = self.log.get(seq) or {}
        return _answer(output) if is_answer(order) else transcript.visible(output)

    def _ended(self, event: e.Event, fact: Any) -> None:
        """How an execution ended: of the root, and of what ended otherwise than well."""
        if event.execution != ROOT and isinstance(fact, e.ExecutionCompleted):
            return
        got = {"finish_reason": getattr(fact, "finish_reason", "timeout"), "result": self.log.text(fact.result)}
        if reason := getattr(fact, "reason", ""):
            got["reason"] = reason
        self._add(event, "end", "", 0, ("end",), got=got, status=ENDS[type(fact)])


def _answer(output: Json) -> Json:
    """What a model said, without what it cost."""
    kept = ("name", "arguments", "raw")
    calls = [{key: call[key] for key in kept if key in call} for call in calls_in(output)]
    return {"content": str(output.get("content") or ""), "tool_calls": calls}


# Both runs


def _order(left: dict[Key, Deed], right: dict[Key, Deed]) -> list[Key]:
    """The keys of both: those of the first in its order, those of the second alone after what they follow there."""
    alone: dict[Key | None, list[Key]] = {}
    last: Key | None = None
    for key in right:
        if key in left:
            last = key
        else:
            alone.setdefault(last, []).append(key)
    return [*alone.get(None, ()), *(each for key in left for each in (key, *alone.get(key, ())))]


def _row(a: Deed | None, b: Deed | None, shared: int, hidden: mask.Names) -> Row:
    one = a or b
    assert one is not None
    changes = _shown(diff(_compared(a), _compared(b)), hidden) if a and b else []
    return Row(
        kind=one.kind,
        agent=one.agent,
        name=one.name,
        turn=one.turn,
        same=bool(a and b and not changes),
        shared=bool(a and b and max(a.last, b.last) <= shared and not changes),
        changes=changes,
        a=mask.masked(_told(a), hidden),
        b=mask.masked(_told(b), hidden),
        **{f"{side}_{each}": getattr(deed, each, None) for side, deed in (("a", a), ("b", b)) for each in NUMBERS},
    )


def _shown(changes: list[Json], hidden: mask.Names) -> list[Json]:
    """Changes without the values of masked fields."""
    if not hidden:
        return changes
    secret = [hidden & set(re.split(r"[.\[\]]", str(change["path"]).lower())) for change in changes]
    return [
        {**change, **dict.fromkeys(SIDES, mask.MASK)} if found else mask.masked(change, hidden)
        for change, found in zip(changes, secret, strict=True)
    ]


def _compared(deed: Deed) -> Json:
    """What makes a step what it is; how long it took and how often it was tried does not."""
    what = {"agent": deed.agent, "given": deed.given, "got": deed.got, "status": deed.status}
    return what if "model" in deed.given else {**what, "name": deed.name}


def _told(deed: Deed | None) -> str | None:
    if deed is None:
        return None
    given = deed.given.get("arguments", deed.given.get("prompt"))
    head = f"{deed.name}({brief(given, 60)})" if "arguments" in deed.given else brief(given or "", 100)
    return brief(" → ".join(part for part in (head, _outcome(deed)) if part) or deed.status, TOLD_CHARS)


def _outcome(deed: Deed) -> str:
    got = deed.got
    if got is None:
        return ""
    if not isinstance(got, dict):
        return brief(got, TOLD_CHARS)
    if deed.status == "COMPLETED" and {"content", "tool_calls"} <= got.keys():
        return answered(got)
    word = next((got[key] for key in ("error", "reason", "result") if got.get(key)), got)
    return brief(word, TOLD_CHARS)


def _difference(at: int, row: Row, a: Side, b: Side, hidden: mask.Names) -> Difference:
    messages = []
    if row.kind == DEEDS[Purpose.THINK] and row.a_seq and row.b_seq:
        messages = _shown(_messages_diff(shown(a, row.a_seq), shown(b, row.b_seq)), hidden)
    return Difference(at, row.kind, row.agent, row.name, row.turn, row.a_seq, row.b_seq, row.changes, messages)


def shown(side: Side, seq: int) -> list[Json]:
    """The messages that the model call which was scheduled at `seq` shows."""
    before = side.events[:seq]
    runs = fold(side.id, before).runs
    run = runs[before[-1].execution]
    material = Material(
        side.spec, log_of(before), lambda number: runs.get(number) or Run(id=number),
        lambda number: [event for event in before if event.execution == number],
    )  # fmt: skip
    return material.transcript(run).messages(side.spec.at(run.path))


def _messages_diff(a: list[Json], b: list[Json]) -> list[Json]:
    places = range(max(len(a), len(b)))
    return [
        {**change, "path": ".".join(part for part in (f"messages[{place}]", change["path"]) if part)}
        for place in places
        for change in diff(a[place] if place < len(a) else None, b[place] if place < len(b) else None)
    ]


def _total(side: Side, found: Iterable[Deed], hidden: mask.Names) -> Total:
    runs = list(fold(side.id, side.events).runs.values())
    root, found = runs[0], list(found)
    usage = [run.usage for run in runs]
    prompt, completion = sum(u.prompt_tokens for u in usage), sum(u.completion_tokens for u in usage)
    return Total(
        execution_id=side.id, agent_name=side.spec.name, status=str(root.status), finish_reason=root.finish_reason,
        result=mask.masked(log_of(side.events).text(root.result), hidden), steps=len(found),
        model_calls=sum(u.calls for u in usage),
        tool_calls=sum(deed.kind == DEEDS[Purpose.ACT] for deed in found), prompt_tokens=prompt,
        completion_tokens=completion, total_tokens=prompt + completion, cost=sum(u.cost for u in usage),
        cost_unknown=any(u.unpriced for u in usage), ms=_duration(side.events),
    )  # fmt: skip


def _duration(events: Sequence[e.Event]) -> int:
    idle = sum(
        event.at - events[place - 1].at
        for place, event in enumerate(events)
        if place and isinstance(event.fact, IDLE) and event.execution == ROOT
    )
    return events[-1].at - events[0].at - idle


IDLE = (e.ExecutionForked, e.ExecutionRetried)
"""Before these facts nobody was at work."""

TOLD_CHARS = 160
SIDES = ("before", "after")
NUMBERS = ("seq", "tokens", "cost", "ms")
"""What a row holds of each of the two steps."""

CALLS = frozenset({Purpose.ACT, Purpose.APPROVE, Purpose.WAIT})
DEEDS = {**ASKED, Purpose.THINK: "answer"}
ENDS: dict[Any, str] = {
    e.ExecutionCompleted: str(Status.COMPLETED),
    e.ExecutionFailed: str(Status.FAILED),
    e.ExecutionTimedOut: str(Status.TIMED_OUT),
    e.ExecutionTerminated: str(Status.TERMINATED),
}
