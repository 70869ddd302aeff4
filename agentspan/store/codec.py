"""Facts to bytes and back. A payload above the limit moves to a blob, stored once per tree by its digest."""

import hashlib
from functools import reduce
from operator import or_
from typing import Any, get_args

import msgspec
from msgspec.structs import replace

from agentspan.core import events as e

PAYLOADS: dict[type[e.Fact], str] = {
    e.ExecutionStarted: "input",
    e.TaskCompleted: "output",
    e.TaskFailed: "error",
    e.SignalReceived: "message",
    e.MessageReceived: "message",
    e.VerdictGiven: "output",
    e.AnswerGiven: "output",
}
"""The field of a fact that may be large."""

EMPTY: dict[type[e.Fact], Any] = {e.TaskFailed: "", e.SignalReceived: "", e.MessageReceived: {}, e.AnswerGiven: {}}

_fact: msgspec.json.Decoder[e.AnyFact] = msgspec.json.Decoder(e.AnyFact)


class _Settled(e.Fact, frozen=True, tag="TaskCompleted"):
    """A TaskCompleted without what was reported."""

    task: int
    result: e.Result | None = None
    worker: str = ""
    started_at: int = 0
    code: tuple[str, ...] = ()
    outdated: bool = False


_SKETCHED = reduce(or_, [_Settled, *(each for each in get_args(e.AnyFact) if each is not e.TaskCompleted)])
_sketch: msgspec.json.Decoder[Any] = msgspec.json.Decoder(_SKETCHED)


def encode(fact: e.AnyFact, limit: int) -> tuple[bytes, str | None, bytes | None]:
    """The row's bytes, and the digest and bytes of the payload that was too large for it, or None and None."""
    data = msgspec.json.encode(fact)
    field = PAYLOADS.get(type(fact))
    if len(data) <= limit or field is None:
        return data, None, None
    payload = msgspec.json.encode(getattr(fact, field))
    if len(payload) <= limit:
        return data, None, None
    rest = msgspec.json.encode(replace(fact, **{field: EMPTY.get(type(fact))}))
    return rest, hashlib.sha256(payload).hexdigest(), payload


def decode(data: bytes, blob: bytes | None = None) -> e.AnyFact:
    """The fact of `encode`."""
    fact = _fact.decode(data)
    if blob is None:
        return fact
    whole: e.AnyFact = replace(fact, **{PAYLOADS[type(fact)]: msgspec.json.decode(blob)})
    return whole


def sketch(data: bytes) -> e.AnyFact:
    """The fact without what a task reported, however much that is, and without a payload that stands elsewhere."""
    fact: e.AnyFact | _Settled = _sketch.decode(data)
    if isinstance(fact, _Settled):
        return e.TaskCompleted(
            fact.task, None, fact.result, fact.worker, fact.started_at, fact.code, fact.outdated
        )  # fmt: skip
    return fact
