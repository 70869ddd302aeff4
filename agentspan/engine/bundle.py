"""A run as one file: what it is, its spec, every event with its payload, and the logs of its tasks, as JSON Lines.

The first line says what the file is and which version of the format, the last one how many lines there are and their
digest. What the run's agents mask is masked in it; secrets are in no log and so in no file.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import asdict, replace

import agentspan
from agentspan.core import events as e
from agentspan.core.advance import ROOT, Tree
from agentspan.core.fork import carried, fold
from agentspan.engine.commands import Ask
from agentspan.engine.desk import Desk
from agentspan.errors import BadInput
from agentspan.spec import mask, wire
from agentspan.spec.agent import AgentSpec
from agentspan.spec.nesting import NESTING, is_deep
from agentspan.store import definitions
from agentspan.store.ledger import Meta, Transaction

Json = dict[str, Any]

FORMAT = "agentspan.run"
VERSION = 1

HISTORY = "_history"
"""Where the input of an execution holds what was said in its session before it, if that is not on this server."""
AFTER = "_session_after"
ORIGIN = "_imported_from"
"""Where the input of an imported execution holds the id that it had."""

DEEPEST = NESTING + 10
"""A line holds what came in, in a fact in an event."""


class Head(Struct, frozen=True, rename="camel", tag="run", tag_field="line", kw_only=True):
    """What the file is."""

    format: str
    version: int
    agentspan: str
    execution_id: str
    agent_name: str
    agent_version: int = 1
    status: str = ""
    events: int = 0
    session_id: str = ""
    correlation_id: str = ""
    run_id: str = ""
    priority: int = 0
    forked_from: str = ""
    forked_at: int = 0


class Agent(Struct, frozen=True, tag="spec", tag_field="line"):
    spec: Json


class Happened(Struct, frozen=True, tag="event", tag_field="line"):
    event: e.Event


class Wrote(Struct, frozen=True, tag="log", tag_field="line"):
    """A line that a task wrote."""

    task: int
    at: int
    text: str


class End(Struct, frozen=True, tag="end", tag_field="line"):
    """The number of the lines before this one and the SHA-256 of their bytes."""

    lines: int
    sha256: str


class Bundle(NamedTuple):
    """What stands in a file."""

    head: Head
    spec: AgentSpec
    events: list[e.Event]
    logs: list[Wrote]
    tree: Tree


class TakeIn(Ask, kw_only=True):
    """A new tree of the id `name` out of a file. One that had not ended ends, unless it is to go on here."""

    name: str
    bundle: Bundle
    resume: bool = False

    def apply(self, transaction: Transaction, desk: Desk) -> None:
        head, spec, events, logs, tree = self.bundle
        meta = Meta(
            self.name, wire.digest(spec), correlation_id=head.correlation_id, run_id=head.run_id,
            priority=head.priority, version=head.agent_version, forked_from=head.forked_from, forked_at=head.forked_at,
        )  # fmt: skip
        transaction.create(meta, spec)
        transaction.adopt(self.name, replace(tree, id=self.name), events)
        if not tree.runs[ROOT].ended:
            forked = e.ExecutionForked(head.execution_id, tree.seq, ("import",))
            ended = e.ExecutionTerminated(f"imported while it was {tree.runs[ROOT].status}", "imported")
            facts = carried(spec, tree, events, forked) if self.resume else [(ROOT, ended)]
            transaction.append(self.name, facts)
        for wrote in logs:
            definitions.write_log(transaction.connection, self.name, wrote.task, wrote.at, [wrote.text])


def write(
    meta: Meta,
    spec: AgentSpec,
    events: Sequence[e.Event],
    logs: Sequence[tuple[int, int, str]],
    history: list[Json],
) -> bytes:
    """The file of a run. `logs` are (task, time, text), `history` what was said in its session before it."""
    root = fold(meta.tree, events).runs[ROOT]
    head = Head(
        format=FORMAT, version=VERSION, agentspan=agentspan.__version__, execution_id=meta.tree, agent_name=spec.name,
        agent_version=meta.version, status=str(root.status), events=len(events), session_id=meta.session_id,
        correlation_id=meta.correlation_id, run_id=meta.run_id, priority=meta.priority, forked_from=meta.forked_from,
        forked_at=meta.forked_at,
    )  # fmt: skip
    hidden = mask.names(spec)
    first = _with_history(events[0], history)
    lines: list[Any] = [head, Agent(wire.encode(spec))]
    lines += [Happened(_masked(event, hidden)) for event in (first, *events[1:])]
    lines += [Wrote(task, at, str(mask.masked(text, hidden))) for task, at, text in logs]
    body = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
    end = End(len(lines), hashlib.sha256(body).hexdigest())
    return body + msgspec.json.encode(end) + b"\n"


def read(data: bytes) -> Bundle:
    """What stands in a file; BadInput says what is wrong with it."""
    lines = list(_lines(data))
    head = lines[0] if lines else None
    if not isinstance(head, Head) or head.format != FORMAT:
        raise BadInput("this file is no exported run; `agentspan export ID FILE` writes one")
    if head.version > VERSION:
        raise BadInput(
            f"this file has version {head.version} of the format (written by agentspan {head.agentspan}), and this "
            f"server reads up to {VERSION}: upgrade it"
        )
    _check_whole(data, lines)
    spec = next((wire.decode(line.spec) for line in lines if isinstance(line, Agent)), None)
    events = [line.event for line in lines if isinstance(line, Happened)]
    if spec is None or not events or [event.seq for event in events] != list(range(1, len(events) + 1)):
        raise BadInput("this file lacks the run's agent or some of its events")
    events[0] = _with_input(events[0], **{ORIGIN: head.execution_id})
    return Bundle(head, spec, events, [line for line in lines if isinstance(line, Wrote)], _told(spec, events))


def _lines(data: bytes) -> Iterator[Any]:
    for number, line in enumerate(data.splitlines(), 1):
        if is_deep(line, DEEPEST):
            raise BadInput(f"line {number} of the file is nested deeper than an exported run is")
        try:
            yield _decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as problem:
            raise BadInput(f"line {number} of the file is not one of an exported run: {problem}") from problem


def _check_whole(data: bytes, lines: list[Any]) -> None:
    end = lines[-1]
    if not isinstance(end, End) or end.lines != len(lines) - 1:
        raise BadInput("this file is not whole: its end is missing")
    body = data[: data.rstrip(b"\n").rfind(b"\n") + 1]
    if hashlib.sha256(body).hexdigest() != end.sha256:
        raise BadInput("this file was changed after it was written: its digest does not fit")


def _told(spec: AgentSpec, events: list[e.Event]) -> Tree:
    """The tree of a log that comes from elsewhere."""
    try:
        tree = fold("", events)
        for run in tree.runs.values():
            spec.at(run.path)
    except Exception as problem:  # the edge of the file: whatever it holds must not be more than refused
        raise BadInput(f"the events of this file do not make a run: {type(problem).__name__}: {problem}") from problem
    if not isinstance(events[0].fact, e.ExecutionStarted) or events[0].execution != ROOT:
        raise BadInput("the events of this file do not begin with the start of a run")
    return tree


def _with_history(first: e.Event, history: list[Json]) -> e.Event:
    """The start of a run that stands alone: what was said before it comes with it."""
    given = first.fact.input if isinstance(first.fact, e.ExecutionStarted) else None
    if not given or AFTER not in given:
        return first
    rest = {key: value for key, value in given.items() if key != AFTER}
    return replace(first, fact=replace(first.fact, input={**rest, HISTORY: history}))


def _with_input(first: e.Event, **more: Any) -> e.Event:
    if not isinstance(first.fact, e.ExecutionStarted):
        return first
    return replace(first, fact=replace(first.fact, input={**(first.fact.input or {}), **more}))


def _masked(event: e.Event, hidden: mask.Names) -> e.Event:
    """The event without the values of masked fields. The names of its own fields are no keys of the user's."""
    if not hidden:
        return event
    fields = {key: value for key, value in asdict(event.fact).items() if key in TEXTS and value}
    return replace(event, fact=replace(event.fact, **{key: mask.masked(each, hidden) for key, each in fields.items()}))


TEXTS = frozenset({"input", "output", "error", "message", "reason", "detail"})
"""The fields of facts that hold what users, models and tools said."""

_decoder = msgspec.json.Decoder(Head | Agent | Happened | Wrote | End)
