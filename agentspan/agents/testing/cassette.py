"""Cassettes: the model and tool exchanges of a run, keyed by what was asked, to be played again with no network.

A cassette is made from the log of a run that is over, whichever agent it was and whenever it ran; nothing is changed
in how runs are made. Playing runs the same decider in memory: guardrails, strategies and endings happen anew, models
and tools say what they said. A question that was not recorded fails the run, and shows the recorded one next to it.
"""

import difflib
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from agentspan.agents.agent import Agent, resolve_agent
from agentspan.agents.encode import plain_of
from agentspan.agents.result import AgentResult
from agentspan.agents.testing import secrets as keys
from agentspan.agents.testing.answers import NOT_GIVEN, Asked, Recorded, ToolCall
from agentspan.agents.testing.engine import HISTORY, LocalEngine, LocalResult, LocalRun, history, question
from agentspan.core import events as e
from agentspan.core import transcript
from agentspan.core.log import Log
from agentspan.core.material import Material
from agentspan.core.people import KINDS
from agentspan.core.run import TIME_OUTS, Run, evolve
from agentspan.core.states import Kind, Purpose
from agentspan.errors import ModelFailure
from agentspan.spec import mask
from agentspan.spec.agent import AgentSpec
from agentspan.spec.wire import decode

Json = dict[str, Any]

FORMAT = "agentspan-cassette/1"
DIFF_LINES = 40


class CassetteMiss(AssertionError):
    """A run asked what its cassette has no answer for."""


@dataclass
class Exchange:
    """What was asked, and what came of it: `answer` is an output, or {"error", "terminal", "cause"}."""

    kind: str
    request: Json
    answer: Json
    key: str = ""

    def __post_init__(self) -> None:
        self.key = self.key or key_of(self.kind, self.request)


@dataclass
class Cassette:
    """The exchanges of a run, in their order."""

    exchanges: list[Exchange] = field(default_factory=list)
    agent: str = ""
    prompt: str = ""
    given: Json = field(default_factory=dict)
    execution_id: str = ""
    masked: list[str] = field(default_factory=list)

    @classmethod
    def from_run(cls, runtime: Any, execution_id: str) -> "Cassette":
        """The cassette of a run that a server keeps."""
        return cls.from_export(runtime.portal.call(_exported(runtime, execution_id)))

    @classmethod
    def from_export(cls, data: bytes) -> "Cassette":
        """The cassette of an exported run: the content of its file."""
        name, spec, events = _read(data)
        return cls.from_log(spec, events, name)

    @classmethod
    def from_log(
        cls, spec: AgentSpec, events: Sequence[e.Event], execution_id: str = "", *, functions: bool = False
    ) -> "Cassette":
        """The cassette of a log; with `functions`, also of what guardrails, callbacks and the like gave."""
        started = events[0].fact if events else None
        given = dict(started.input or {}) if isinstance(started, e.ExecutionStarted) else {}
        prompt = str(given.pop("prompt", ""))
        kept = {key: value for key, value in given.items() if key in GIVEN and value}
        hidden = mask.names(spec)
        shown = [
            Exchange(each.kind, mask.masked(each.request, hidden), mask.masked(each.answer, hidden))
            for each in _exchanges(spec, events, functions)
        ]
        return cls(shown, spec.name, prompt, kept, execution_id, sorted(hidden))

    @classmethod
    def from_result(cls, run: LocalRun) -> "Cassette":
        """The cassette of a run in memory."""
        return cls.from_log(run.spec, run.log, run.engine.id)

    @classmethod
    def load(cls, path: Any) -> "Cassette":
        """Read a cassette."""
        body = json.loads(Path(path).read_text(encoding="utf-8"))
        if body.get("format") != FORMAT:
            raise ValueError(f"{path} is no cassette: its format is {body.get('format')!r}, not {FORMAT!r}")
        exchanges = [Exchange(each["kind"], each["request"], each["answer"], each["key"]) for each in body["exchanges"]]
        names = ("agent", "prompt", "given", "execution_id", "masked")
        return cls(exchanges, **{name: body[name] for name in names if name in body})

    def result(self, tool: str, arguments: Json) -> Any:
        """What a tool gave for these arguments (defaults may be among them), the last time. CassetteMiss if it was not
        called so; RuntimeError if it failed."""
        called = [each for each in self.exchanges if each.kind == "tool" and each.request["name"] == tool]
        known = [each for each in called if _are_among(each.request["args"], arguments)]
        if not known:
            raise CassetteMiss(f"the tool {tool!r} was not called with {arguments}")
        found = max(reversed(known), key=lambda each: len(each.request["args"]))
        if "error" in found.answer:
            raise RuntimeError(str(found.answer["error"]))
        return transcript.visible(found.answer)

    def save(self, path: Any, *, secrets: Iterable[str] = ()) -> Path:
        """Write it without secrets: keys, tokens and passwords by their names and forms, values of such environment
        variables, and those given. SecretLeft, and no file, if one would be left."""
        hidden = list(secrets)
        body: Json = keys.scrubbed(self._body(), hidden)
        for each in body["exchanges"]:
            each["key"] = key_of(each["kind"], each["request"])
        text = json.dumps(body, indent=1, ensure_ascii=False)
        keys.verify(text, hidden)
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text + "\n", encoding="utf-8")
        return target

    def _body(self) -> Json:
        exchanges = [{"kind": x.kind, "key": x.key, "request": x.request, "answer": x.answer} for x in self.exchanges]
        body = {"format": FORMAT, "agent": self.agent, "prompt": self.prompt, "given": self.given}
        more = {"execution_id": self.execution_id, "masked": self.masked, "exchanges": exchanges}
        whole: Json = plain_of({**body, **more}, "the cassette")
        return whole


class Player:
    """Answers from a cassette. `misses` are the questions that it has no answer for, each with the nearest one."""

    def __init__(
        self, tape: Cassette, *, run_tools: bool = False, functions: bool = False, secrets: Iterable[str] = ()
    ) -> None:
        self.misses: list[str] = []
        self._tape, self._run_tools, self._functions, self._secrets = tape, run_tools, functions, list(secrets)
        self._played: Counter[str] = Counter()

    def model(self, asked: Asked) -> Any:
        """What the model said."""
        found = self._find("model", _of_model(asked))
        if found is None:
            raise ModelFailure(self.misses[-1])
        if "error" in found.answer:
            failed = found.answer
            raise ModelFailure(
                str(failed["error"]), retryable=not failed.get("terminal"), cause=str(failed.get("cause") or "error")
            )
        return Recorded(found.answer)

    def tool(self, call: ToolCall) -> Any:
        """What the tool gave. Guardrails, callbacks and the like run as they are, unless theirs are on the cassette."""
        is_tool = call.purpose == Purpose.ACT
        if self._run_tools if is_tool else not self._functions:
            return NOT_GIVEN
        found = self._find("tool" if is_tool else call.purpose, _of_tool(call.name, call.args, call.agent))
        if found is None:
            raise CassetteMiss(self.misses[-1])
        return e.TaskFailed(0, **found.answer) if "error" in found.answer else Recorded(found.answer)

    def person(self, request: Json) -> Any:
        """What the person answered; a request that was not answered then waits now."""
        wanted = {"kind": request["kind"], "tool": request["tool"], "arguments": request["arguments"]}
        found = self._find("person", wanted, may_miss=True)
        return NOT_GIVEN if found is None or "error" in found.answer else Recorded(found.answer)

    def _find(self, kind: str, request: Json, *, may_miss: bool = False) -> Exchange | None:
        """The next exchange with this request: one that was made twice is played twice."""
        request = keys.scrubbed(mask.masked(request, frozenset(self._tape.masked)), self._secrets)
        key = key_of(kind, request)
        known = [each for each in self._tape.exchanges if each.key == key]
        played = self._played[key]
        self._played[key] += 1
        if played < len(known):
            return known[played]
        if not may_miss:
            self.misses.append(self._miss(kind, request, len(known)))
        return None

    def _miss(self, kind: str, request: Json, recorded: int) -> str:
        what = f"{kind} request of {request.get('agent') or 'a person'}"
        if recorded:
            return f"the cassette has this {what} {recorded} times, and it is made once more: {_text(request)[:500]}"
        others = [_text(each.request) for each in self._tape.exchanges if each.kind == kind]
        if not others:
            return f"the cassette has no {kind} requests, and this was made: {_text(request)[:500]}"
        wanted = _text(request)
        nearest = max(others, key=lambda other: _likeness(wanted, other))
        return f"the cassette has no such {what}; the nearest recorded one differs:\n{_diff(nearest, wanted)}"


def replay_run(
    agent: Any,
    prompt: str | None = None,
    cassette: Any = None,
    *,
    run_tools: bool = False,
    strict: bool = True,
    secrets: Iterable[str] = (),
) -> LocalResult:
    """Run an agent on a cassette (or its path): with the recorded prompt if none is given.

    Tools say what they said, unless `run_tools`. CassetteMiss if a question has no recorded answer; not `strict`, the
    run fails with it.
    """
    tape = cassette if isinstance(cassette, Cassette) else Cassette.load(cassette)
    player = Player(tape, run_tools=run_tools, secrets=secrets)
    engine = LocalEngine(agent, answering=player, id=tape.execution_id.partition(".")[0] or "cassette")
    return _played(engine, tape, player, tape.prompt if prompt is None else prompt, strict)


def replay_file(file: Any, agent: Any = None, *, strict: bool = True) -> LocalResult:
    """Play the file of an exported run (its path or its content): the same definition, with what its models, functions
    and people said. With `agent`, that agent instead of the definition. See `replay_run`."""
    name, spec, events = _read(file if isinstance(file, bytes) else Path(file).read_bytes())
    tape = Cassette.from_log(spec, events, name, functions=True)
    player = Player(tape, functions=True)
    stand_in = Agent("recorded", "recorded/model") if agent is None else agent
    own = spec if agent is None else None
    engine = LocalEngine(stand_in, answering=player, id=name.partition(".")[0], spec=own)
    return _played(engine, tape, player, tape.prompt, strict)


def _played(engine: LocalEngine, tape: Cassette, player: Player, prompt: str, strict: bool) -> LocalResult:
    result = engine.run(prompt, **tape.given)
    if strict and player.misses:
        raise CassetteMiss("\n\n".join(player.misses))
    return result


class Tape:
    """`with cassette("weather.json", runtime) as tape: result = tape.run(agent, "How is it?")`

    The first time, the run is made on the runtime and recorded; from then on it is played from the file.
    """

    def __init__(self, path: Any, runtime: Any, mode: str, secrets: Sequence[str]) -> None:
        if mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")
        self.path, self.mode = Path(path), mode
        self._runtime, self._secrets = runtime, list(secrets)

    def __enter__(self) -> "Tape":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    @property
    def is_playing(self) -> bool:
        """Is nothing run on the runtime?"""
        return self.mode == "replay" or (self.mode == "auto" and self.path.exists())

    def run(self, agent: Any, prompt: str, **options: Any) -> AgentResult:
        """The result of the run, recorded or played."""
        if self.is_playing:
            if not self.path.exists():
                raise FileNotFoundError(f"there is no cassette {self.path}: record it with mode='record'")
            return replay_run(agent, prompt, self.path, secrets=self._secrets)
        result: AgentResult = self._own_runtime().run(resolve_agent(agent), prompt, **options)
        Cassette.from_run(self._own_runtime(), result.execution_id).save(self.path, secrets=self._secrets)
        return result

    def _own_runtime(self) -> Any:
        if self._runtime is None:
            from agentspan.agents.host import own_host

            self._runtime = own_host()
        return self._runtime


def cassette(path: Any, runtime: Any = None, *, mode: str = "auto", secrets: Sequence[str] = ()) -> Tape:
    """A tape on a file. `mode`: auto (play the file if it is there), record (always run), replay (never run)."""
    return Tape(path, runtime, mode, secrets)


def key_of(kind: str, request: Json) -> str:
    """The key of a request: a hash of its JSON in one form."""
    text = json.dumps([kind, request], sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _exchanges(spec: AgentSpec, events: Sequence[e.Event], functions: bool) -> Iterator[Exchange]:
    """What was asked and answered, from a log: each question as it stood when it was asked."""
    log = Log(lambda seqs: {seq: events[seq - 1].fact for seq in seqs if 0 < seq <= len(events)})
    runs: dict[int, Run] = {}
    asked: dict[int, tuple[str, Json]] = {}
    for event in events:
        fact = event.fact
        runs[event.execution] = evolve(runs.get(event.execution) or Run(id=event.execution), event)
        if isinstance(fact, e.TaskScheduled):
            shown = _asked(spec, log, dict(runs), events[: event.seq], event, fact, functions)
            asked |= {event.seq: shown} if shown else {}
        elif isinstance(fact, e.SETTLEMENTS) and fact.task in asked:
            kind, request = asked.pop(fact.task)
            if (answer := _answer(fact)) is not None:
                yield Exchange(kind, request, answer)


def _asked(
    spec: AgentSpec,
    log: Log,
    runs: dict[int, Run],
    so_far: Sequence[e.Event],
    event: e.Event,
    order: e.TaskScheduled,
    functions: bool,
) -> tuple[str, Json] | None:
    run = runs[event.execution]

    def own(number: int) -> list[e.Event]:
        return [each for each in so_far if each.execution == number]

    material = Material(spec, log, lambda number: runs[number], own, history)
    if order.kind is Kind.LLM:
        return "model", _of_model(question(material, run, event.seq, order))
    if order.kind is Kind.HUMAN:
        given = material.given(run, order)
        return "person", {"kind": KINDS[order.purpose], "tool": order.name, "arguments": plain_of(given, order.name)}
    if order.kind is not Kind.AGENT and order.purpose is Purpose.ACT:
        return "tool", _of_tool(order.name, material.given(run, order), spec.at(run.path).name)
    if order.kind is Kind.WORKER and functions:
        return str(order.purpose), _of_tool(order.name, material.given(run, order), spec.at(run.path).name)
    return None


def _answer(fact: e.AnyFact) -> Json | None:
    match fact:
        case e.TaskCompleted(output=output):
            return output or {}
        case e.TaskFailed(error=error, terminal=terminal, cause=cause):
            return {"error": error, "terminal": terminal, "cause": cause}
        case e.TaskTimedOut(limit=limit):
            return {"error": TIME_OUTS[limit], "terminal": False, "cause": "timeout"}
    return None


def _of_model(asked: Asked) -> Json:
    shown = {"agent": asked.agent, "model": asked.model, "purpose": asked.purpose, "messages": asked.messages}
    request: Json = plain_of({**shown, "tools": asked.tools, "options": asked.options}, "the request")
    return request


def _of_tool(name: str, args: Json, agent: str) -> Json:
    request: Json = plain_of({"agent": agent, "name": name, "args": args}, "the call")
    return request


def _are_among(arguments: Json, others: Json) -> bool:
    return all(name in others and others[name] == value for name, value in arguments.items())


def _text(request: Json) -> str:
    return json.dumps(request, indent=1, sort_keys=True, ensure_ascii=False)


def _likeness(one: str, other: str) -> float:
    matcher = difflib.SequenceMatcher(None, one.splitlines(), other.splitlines(), autojunk=False)
    return matcher.ratio()


def _diff(recorded: str, made: str) -> str:
    lines = list(difflib.unified_diff(recorded.splitlines(), made.splitlines(), "recorded", "made", lineterm="", n=1))
    more = [f"... and {len(lines) - DIFF_LINES} more lines"] if len(lines) > DIFF_LINES else []
    return "\n".join([*lines[:DIFF_LINES], *more])


async def _exported(runtime: Any, execution_id: str) -> bytes:
    text: str = await (await runtime.client()).export(execution_id)
    return text.encode()


def _read(data: bytes) -> tuple[str, AgentSpec, list[e.Event]]:
    """Id, spec and events of the file of an exported run."""
    lines = [msgspec.json.decode(line) for line in data.splitlines() if line.strip()]
    if not lines or lines[0].get("format") != "agentspan.run":
        raise ValueError("this is no exported run: `agentspan export ID FILE` writes one")
    specs = [decode(each["spec"]) for each in lines if each.get("line") == "spec"]
    events = [msgspec.convert(each["event"], e.Event) for each in lines if each.get("line") == "event"]
    return str(lines[0]["executionId"]), specs[0], events


GIVEN = ("context", "media", "budget", HISTORY)
"""What of a run's input it needs to be played."""

MODES = ("auto", "record", "replay")
