"""Guardrails: what is checked goes on only after every check has said that it may.

A check is a pattern (decided here), a model, a function in the user's process, or a person's review.
"""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from agentspan.core import transcript
from agentspan.core.events import CallRefused, ExecutionFailed, Fact, Result, TaskScheduled, VerdictGiven
from agentspan.core.log import Log
from agentspan.core.run import TOOLS, Run, tally
from agentspan.core.stage import stage
from agentspan.core.states import Kind, Purpose, Verdict
from agentspan.spec.policy import CHECK_RETRY, MODEL_RETRY
from agentspan.spec.rules import broken
from agentspan.spec.shape import parse

Json = dict[str, Any]


class Guarded(Struct, frozen=True):
    """What is checked: `place` begins the slots, `about` or `source` are the events that hold it."""

    place: str
    position: str
    about: Result = Result()
    source: int = 0
    model: str = ""
    may_retry: bool = True


def verdicts(
    rails: Sequence[tuple[int, Json]], run: Run, log: Log, seed: str, what: Guarded, content: Callable[[], str]
) -> list[Fact] | None:
    """What the checks still need, or what follows from the first that refuses; None if all have passed.

    `rails` are the guardrails with their places, since a slot must be the same at every look.
    """
    for place, rail in rails:
        slot = f"{what.place}.{place}"
        word = run.verdicts.get(slot)
        if word is None:
            return _judge(rail, run, log, seed, what, slot, content)
        if word is Verdict.HUMAN:
            return _review(rail, run, log, seed, what, slot)
        if word in (Verdict.RETRY, Verdict.RAISE):
            return [_refused(run, log, slot, word)]
    return None


def at(rails: Sequence[Json], position: str) -> list[tuple[int, Json]]:
    """The guardrails of a position, each with its place among all."""
    return [(place, rail) for place, rail in enumerate(rails) if (rail.get("position") or "output") == position]


def said(run: Run, log: Log, slot: str) -> VerdictGiven | None:
    """What the check of a slot said last, if it has not passed."""
    fact = log.fact(run.marks.get(f"said.{slot}", 0))
    return fact if isinstance(fact, VerdictGiven) else None


def _judge(
    rail: Json, run: Run, log: Log, seed: str, what: Guarded, slot: str, content: Callable[[], str]
) -> list[Fact]:
    kind = rail.get("guardrailType") or "custom"
    if kind == "regex":
        return [_given(rail, run, what, slot, broken(rail, content()), {})]
    follow = stage(run, _order(rail, run, what, slot, kind), seed)
    if follow is not None:
        return follow
    fault = run.faults.get(slot)
    if fault is not None:
        return [_given(rail, run, what, slot, f"Guardrail error: {fault.error}", {})]
    output = log.get(run.marks[slot]) or {}
    problem = _model_said(output) if kind == "llm" else _function_said(output)
    return [_given(rail, run, what, slot, problem, output)]


def _order(rail: Json, run: Run, what: Guarded, slot: str, kind: str) -> TaskScheduled:
    llm = kind == "llm"
    return TaskScheduled(
        Kind.LLM if llm else Kind.WORKER,
        Purpose.JUDGE,
        str(rail.get("model") or what.model) if llm else str(rail.get("taskName") or rail["name"]),
        slot,
        turn=run.turn,
        source=what.source,
        about=what.about,
        retry=MODEL_RETRY if llm else CHECK_RETRY,
    )


def _given(rail: Json, run: Run, what: Guarded, slot: str, problem: str | None, output: Json) -> Fact:
    """The verdict, after what is to happen when a check fails."""
    name = str(rail.get("name") or "guardrail")
    if problem is None:
        return VerdictGiven(slot, name, what.position, Verdict.PASS)
    said = str(output.get("on_fail") or "")
    word = Verdict(said if said in FAILURES else str(rail.get("onFail") or "retry"))
    fixed = output.get("fixed_output")
    if word is Verdict.RETRY:
        if not what.may_retry or what.position == "input":
            word = Verdict.RAISE
        elif run.retries.get(tally(run, slot, name), 0) >= int(rail.get("maxRetries") or 3):
            word, problem = Verdict.RAISE, f"{problem} (after {int(rail.get('maxRetries') or 3)} retries)"
    if word is Verdict.FIX:
        if fixed is None:
            return VerdictGiven(slot, name, what.position, Verdict.RAISE, problem)
        return VerdictGiven(slot, name, what.position, Verdict.FIX, problem, _replacement(what.position, fixed))
    return VerdictGiven(slot, name, what.position, word, problem)


def _review(rail: Json, run: Run, log: Log, seed: str, what: Guarded, slot: str) -> list[Fact]:
    """A person looks at what a check has stopped: approve, edit, or reject."""
    name, where = str(rail.get("name") or "guardrail"), f"review.{slot}"
    order = TaskScheduled(
        Kind.HUMAN, Purpose.JUDGE, name, where, turn=run.turn, source=what.source, about=what.about,
        retry=MODEL_RETRY,
    )  # fmt: skip
    follow = stage(run, order, seed)
    if follow is not None:
        return follow
    fault = run.faults.get(where)
    answer = log.get(run.marks.get(where, 0)) or {}
    edited = answer.get("edited_output", answer.get("arguments"))
    if fault is None and answer.get("approved") is True and edited is not None:
        return [VerdictGiven(slot, name, what.position, Verdict.FIX, "edited", _replacement(what.position, edited))]
    if fault is None and answer.get("approved") is True:
        return [VerdictGiven(slot, name, what.position, Verdict.PASS, "approved")]
    why = fault.error if fault else str(answer.get("reason") or "no reason given")
    return [VerdictGiven(slot, name, what.position, Verdict.RAISE, f"rejected by a person: {why}")]


def _refused(run: Run, log: Log, slot: str, word: Verdict) -> Fact:
    """What follows from a check that refuses: a model may make its call anew, all else ends the run."""
    last = said(run, log, slot)
    place, *numbers = slot.split(".")
    if word is Verdict.RETRY and place in TOOLS:
        return CallRefused(run.turn, int(numbers[0]), "guardrail", last.message if last else "")
    reason = f"guardrail {last.guardrail!r}: {last.message}" if last else "a guardrail refused it"
    return ExecutionFailed(reason, "guardrail")


def _replacement(position: str, fixed: Any) -> Json:
    """What takes the place of what was checked, as the event keeps it."""
    if position == "input":
        return {"prompt": transcript.text_of({"result": fixed})}
    if position == "tool_input":
        return {"arguments": transcript.as_object(fixed)}
    return {"result": fixed}


def _model_said(output: Json) -> str | None:
    """A model's verdict {passed, reason}. One that cannot be read is none, and counts as failed."""
    try:
        said = parse(str(output.get("content") or ""))
    except ValueError:
        return "the judging model gave no verdict"
    if not isinstance(said, dict) or not isinstance(said.get("passed"), bool):
        return "the judging model gave no verdict"
    return None if said["passed"] else str(said.get("reason") or "it breaks the policy")


def _function_said(output: Json) -> str | None:
    """A function's verdict: {passed, message}, {tripwire_triggered}, or a bare value; nothing means that it passed."""
    if "tripwire_triggered" in output:
        return str(output.get("output_info") or "the guardrail tripped") if output["tripwire_triggered"] else None
    passed = output.get("passed", output.get("result"))
    if isinstance(passed, dict):
        return _function_said(passed)
    return None if passed is None or passed else str(output.get("message") or "the check failed")


FAILURES = frozenset(Verdict) - {Verdict.PASS}
