"""`mock_run`: a list of events as the script of a run that the real decider makes.

The script says what models, people and services would say. Guardrails, strategies, terminations, approvals and retries
are not said but happen; where the script claims another outcome of them, it is wrong, and that is an AssertionError.
"""

import json
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from agentspan.agents.agent import resolve_agent
from agentspan.agents.registry import entries
from agentspan.agents.result import AgentEvent, EventType, Status
from agentspan.agents.serialize import tree
from agentspan.agents.testing.answers import NOT_GIVEN, Asked, Given, ToolCall
from agentspan.agents.testing.engine import LocalEngine, LocalResult, spec_of
from agentspan.agents.testing.strategies import StrategyViolation
from agentspan.core import events as e
from agentspan.core.ids import split_execution
from agentspan.core.retry import chance
from agentspan.errors import ModelFailure
from agentspan.spec.agent import AgentSpec
from agentspan.spec.tool import ToolSpec

Json = dict[str, Any]

DRAWS = 200_000
"""How many runs a random team is searched through for the one that draws what the script says."""


def mock_run(
    agent: Any,
    prompt: str,
    events: Sequence[AgentEvent],
    *,
    auto_execute_tools: bool = True,
    model: Any = None,
    people: Any = None,
    context: Json | None = None,
) -> LocalResult:
    """Run the agent in memory along a script of `MockEvent`s.

    TOOL_CALL is an answer of the model that calls the tool, whose function runs; TOOL_RESULT is the result of a tool
    without one, or of every tool if not `auto_execute_tools`. MESSAGE and DONE are what agents answer, HANDOFF says who
    is chosen, WAITING as the last event leaves a request open (others are approved, unless `people` says otherwise).
    ERROR is a failure of the model, or of the tool called before it. GUARDRAIL_PASS and GUARDRAIL_FAIL of a guardrail
    that the agent has are what its verdict must be. `model` answers what the script does not speak of, `people`
    requests; see `Given`. `context` is the shared state.
    """
    agent = resolve_agent(agent)
    script = Script(spec_of(agent), agent, list(events), auto_execute_tools, Given(model, None, people))
    engine = LocalEngine(agent, answering=script, spec=script.spec, id=script.id)
    result = engine.run(prompt, context=context)
    script.check(result)
    result.events = script.merged(result.events)
    return result


@dataclass
class Step:
    """One answer of a model: a text, calls, or a failure."""

    text: str = ""
    calls: list[AgentEvent] = field(default_factory=list)
    error: str | None = None


@dataclass
class Part:
    """What the script says of one agent, from the handoff to it on."""

    agent: str
    steps: deque[Step] = field(default_factory=deque)
    taken: bool = False
    is_first: bool = False


class Script:
    """The events as answers to what a run asks."""

    def __init__(self, spec: AgentSpec, agent: Any, events: list[AgentEvent], auto: bool, given: Given) -> None:
        self._events, self._auto, self._given = events, auto, given
        self._specs = {each.name: each for each in _specs(spec)}
        self._root = spec.name
        self._served = {entry.work.name for each in tree(agent) for entry in entries(each)}
        self._rails = {str(rail.get("name")) for each in self._specs.values() for rail in _rails(each)}
        self._verdicts: dict[str, deque[AgentEvent]] = {}
        self._results: dict[str, deque[AgentEvent]] = {}
        self._targets = [str(each.target) for each in events if each.type == EventType.HANDOFF and self._knows(each)]
        self._finals = [_text(each.output) for each in events if each.type == EventType.DONE]
        teams = [each for each in self._specs.values() if each.strategy == "parallel"]
        self._beside = {each.name for team in teams for each in team.agents}
        self._parts = self._read(events)
        self._claimed: dict[int, Part] = {}
        self._last: dict[int, str] = {}
        self.spec = self._fitted(spec)
        self.id = self._drawn(spec)

    # What the run asks

    def model(self, asked: Asked) -> Any:
        """The answer of a model."""
        match asked.purpose:
            case "think":
                return self._turn(asked)
            case "choose":
                if asked.agent != self._root:
                    self._part(asked.execution, asked.agent)
                return self._next_of(self._specs[asked.agent]) or "DONE"
            case "judge":
                return self._judgement(asked)
            case "speak":
                return self._final()
        return self._given.model(asked)

    def tool(self, call: ToolCall) -> Any:
        """What a tool gives: its function, or the script."""
        given = self._given.tool(call)
        if given is not NOT_GIVEN:
            return given
        if call.purpose != "act":
            return NOT_GIVEN if call.name in self._served else self._verdict(call.name)
        if self._auto and call.name in self._served:
            return NOT_GIVEN
        said = self._result(call.name)
        return None if said is NOT_GIVEN else said

    def person(self, request: Json) -> Any:
        """What a person answers."""
        given = self._given.person(request)
        if given is not NOT_GIVEN:
            return given
        if self._ends_waiting():
            return NOT_GIVEN
        return PEOPLE[request["kind"]](self, request)

    # How the run and the script compare

    def check(self, result: LocalResult) -> None:
        """AssertionError where the run did not go as the script says."""
        self._check_verdicts(result)
        happened = [str(each.target) for each in result.events if each.type == EventType.HANDOFF]
        if any(each.strategy == "parallel" and each.agents for each in self._specs.values()):
            lost = Counter(self._targets) - Counter(happened)
        else:
            lost = Counter(self._targets if _beyond(self._targets, happened) else [])
        if lost and result.status == Status.COMPLETED:
            raise StrategyViolation(
                f"the script hands off to {' -> '.join(self._targets)}; the run of {self._root!r} "
                f"({self.spec.strategy}) handed off to {' -> '.join(happened) or 'nobody'}"
            )

    def merged(self, happened: list[AgentEvent]) -> list[AgentEvent]:
        """The run's events, with those of the script that no run has: words and names that nothing stands for."""
        whole, place = list(happened), 0
        for event in self._events:
            found = next((at for at in range(place, len(whole)) if _same(whole[at], event)), None)
            if found is not None:
                place = found + 1
            elif event.type in ASIDES or not self._is_real(event):
                whole.insert(place, event)
                place += 1
        return whole

    # Parts

    def _read(self, events: list[AgentEvent]) -> list[Part]:
        parts = [Part(self._root, is_first=True)]
        words: list[str] = []
        rest = deque(events)
        while rest:
            event, part = rest.popleft(), parts[-1]
            match event.type:
                case EventType.HANDOFF if self._knows(event):
                    part.steps += [Step(text) for text in words[-1:]]
                    parts.append(Part(str(event.target)))
                    words = []
                case EventType.MESSAGE:
                    words.append(str(event.content))
                case EventType.TOOL_CALL:
                    part.steps.append(Step("".join(words[-1:]), [event, *_beside(event, rest)]))
                    words = []
                case EventType.TOOL_RESULT:
                    self._results.setdefault(str(event.tool_name), deque()).append(event)
                case EventType.DONE:
                    aside = event.output is None or part.agent in self._beside
                    part.steps.append(Step(words[-1] if words and aside else _text(event.output)))
                    words = []
                case EventType.ERROR:
                    self._read_error(event, part, is_last=not rest)
                case EventType.GUARDRAIL_PASS | EventType.GUARDRAIL_FAIL if self._is_real(event):
                    self._verdicts.setdefault(str(event.guardrail_name), deque()).append(event)
        parts[-1].steps += [Step(text) for text in words[-1:]]
        return parts

    def _read_error(self, event: AgentEvent, part: Part, *, is_last: bool) -> None:
        """A failure of the tool that was called and has no result yet, else of the model."""
        called = part.steps[-1].calls[-1].tool_name if part.steps and part.steps[-1].calls else None
        if called and not (self._auto and called in self._served) and not self._results.get(called):
            self._results.setdefault(called, deque()).append(event)
            if not is_last:
                return
        part.steps.append(Step(error=str(event.content)))

    def _turn(self, asked: Asked) -> Any:
        if team := self._routed(asked):
            return self._next_of(team) or self._final()
        part = self._part(asked.execution, asked.agent)
        if part is None and asked.called_as:
            said = self._result(asked.called_as)
            if isinstance(said, e.TaskFailed):
                return ModelFailure(said.error)
            return "" if said is NOT_GIVEN else _text(said)
        return self._said(part, asked)

    def _said(self, part: Part | None, asked: Asked) -> Any:
        way = self._way(asked)
        if part is not None and part.steps:
            step = part.steps.popleft()
            if step.error is not None:
                return ModelFailure(step.error)
            calls = [{"name": str(each.tool_name), "arguments": dict(each.args or {})} for each in step.calls]
            if not calls and way and not part.steps:
                calls = [{"name": way, "arguments": {}}]
            if not calls:
                self._last[asked.execution] = step.text
            return {"content": step.text, "tool_calls": calls}
        if way:
            return {"tool_calls": [{"name": way, "arguments": {}}]}
        if asked.execution in self._last:
            return self._last[asked.execution]
        return self._final() if all(each.taken for each in self._parts[1:]) else ""

    def _part(self, execution: int, agent: str) -> Part | None:
        """What the script says of an execution: the next part of its agent."""
        if execution not in self._claimed:
            found = next((each for each in self._parts if each.agent == agent and not each.taken), None)
            if found is None:
                return None
            self._claimed[execution] = found
            for each in self._parts[: self._parts.index(found)]:
                each.taken = each.taken or not self._specs[each.agent].thinks
            found.taken = True
        return self._claimed[execution]

    def _following(self) -> Part | None:
        """Who is next by the script."""
        return next((each for each in self._parts if not each.taken and not each.is_first), None)

    def _next_of(self, team: AgentSpec) -> str | None:
        """The member of a team who is next by the script: handed off to, or owner of the tool that is called."""
        names = [each.name for each in team.agents]
        if (following := self._following()) is not None:
            if following.agent not in names:
                return None
            following.taken = not self._specs[following.agent].thinks
            return following.agent
        first = self._parts[0]
        if first.taken or not first.steps or team.name != self._root or not first.steps[0].calls:
            return None
        called = first.steps[0].calls[0].tool_name
        owners = [each.name for each in team.agents if any(tool.name == called for tool in each.tools)]
        first.agent = (owners or names)[0]
        return first.agent

    def _way(self, asked: Asked) -> str | None:
        """The tool by which the agent hands over to who is next."""
        following = self._following()
        target = following.agent if following else ""
        tools = [str(each["name"]) for each in asked.tools]
        way = next((each for each in tools if target and each.endswith(f"_transfer_to_{target}")), None)
        conditions = [each for team in self._specs.values() for each in team.handoffs if each.get("target") == target]
        return None if conditions else way

    def _routed(self, asked: Asked) -> AgentSpec | None:
        """The team for which this agent is the router."""
        teams = (each for each in self._specs.values() if (each.router or {}).get("name") == asked.agent)
        return next(teams, None)

    def _judgement(self, asked: Asked) -> Any:
        """What the model of a guardrail finds."""
        verdicts = self._verdicts.get(asked.check)
        if not verdicts:
            return PASSED
        said = verdicts[0]
        verdicts.rotate(-1)
        passed = said.type == EventType.GUARDRAIL_PASS
        return json.dumps({"passed": passed, "reason": str(said.content or "")})

    def _verdict(self, name: str) -> Json:
        """What a guardrail without a function here finds."""
        said = next(iter(self._verdicts.get(name) or ()), None)
        return {"passed": said is None or said.type == EventType.GUARDRAIL_PASS, "message": str(said and said.content)}

    def _result(self, name: str) -> Any:
        left = self._results.get(name)
        if not left:
            return NOT_GIVEN
        event = left.popleft()
        return e.TaskFailed(0, str(event.content), terminal=True) if event.type == EventType.ERROR else event.result

    def _final(self) -> str:
        return self._finals[-1] if self._finals else ""

    def _ends_waiting(self) -> bool:
        """Is nothing left of the script but that somebody is asked?"""
        is_over = all(not part.steps for part in self._parts)
        return is_over and bool(self._events) and self._events[-1].type == EventType.WAITING

    def _asked(self, request: Json) -> Json:
        said = self._result(request["tool"])
        if isinstance(said, dict):
            return said
        return {"response": "" if said is NOT_GIVEN else said}

    def _selected(self, request: Json) -> Json:
        team = self._specs[request["agentName"]]
        target = self._next_of(team)
        return {"selected": target} if target else {"done": True}

    def _message(self, request: Json) -> Any:
        said = self._result(request["tool"])
        return said if said is NOT_GIVEN or isinstance(said, dict) else {"message": _text(said)}

    def _words(self, request: Json) -> Json:
        part = self._part(split_execution(request["executionId"])[1], request["agentName"])
        return {"message": part.steps.popleft().text if part and part.steps else self._final()}

    def _check_verdicts(self, result: LocalResult) -> None:
        found: dict[str, list[bool]] = {}
        for event in result.events:
            if event.type in (EventType.GUARDRAIL_PASS, EventType.GUARDRAIL_FAIL):
                found.setdefault(str(event.guardrail_name), []).append(event.type == EventType.GUARDRAIL_PASS)
        wanted: dict[str, list[bool]] = {}
        for event in self._events:
            if event.type in (EventType.GUARDRAIL_PASS, EventType.GUARDRAIL_FAIL) and self._is_real(event):
                wanted.setdefault(str(event.guardrail_name), []).append(event.type == EventType.GUARDRAIL_PASS)
        for name, verdicts in wanted.items():
            if _beyond(verdicts, found.get(name, [])):
                raise AssertionError(
                    f"the script expects the guardrail {name!r} to {_verdicts(verdicts)}; "
                    f"in the run it did {_verdicts(found.get(name, []))}"
                )

    def _is_real(self, event: AgentEvent) -> bool:
        """Is there something in the agent that makes such an event?"""
        match event.type:
            case EventType.GUARDRAIL_PASS | EventType.GUARDRAIL_FAIL:
                return event.guardrail_name in self._rails
            case EventType.HANDOFF:
                return self._knows(event)
        return True

    def _knows(self, event: AgentEvent) -> bool:
        return event.target in self._specs and event.target != self._root

    def _fitted(self, spec: AgentSpec) -> AgentSpec:
        """The spec with stand-ins for tools that the script calls and no agent has, and turns for as many speakers as
        the script names."""
        known = {tool.name for each in self._specs.values() for tool in each.own_tools}
        calls = (call for part in self._parts for step in part.steps for call in step.calls)
        names = {str(call.tool_name): None for call in calls if not _is_way(str(call.tool_name))}
        unknown = tuple(ToolSpec(name, input_schema={"type": "object"}) for name in names if name not in known)
        return self._refitted(spec, unknown)

    def _refitted(self, spec: AgentSpec, unknown: tuple[ToolSpec, ...]) -> AgentSpec:
        if not spec.agents:
            return replace(spec, tools=(*spec.tools, *unknown))
        members = tuple(self._refitted(each, unknown) for each in spec.agents)
        own = unknown if spec.hybrid else ()
        spec = replace(spec, agents=members, tools=(*spec.tools, *own))
        if spec.strategy in ROTATING:
            spoken = sum(target in {each.name for each in spec.agents} for target in self._targets)
            spec = replace(spec, max_turns=min(spec.max_turns, max(1, spoken)))
        return spec

    def _drawn(self, spec: AgentSpec) -> str:
        """An id for the run: of a random team, one with which it draws what the script says."""
        names = [each.name for each in spec.agents]
        wanted = [each for each in self._targets if each in names]
        if spec.strategy != "random" or not wanted:
            return "mock"
        for draw in range(DRAWS):
            if _draws(spec, f"mock-{draw}", wanted):
                return f"mock-{draw}"
        raise StrategyViolation(f"no draw of {spec.name!r} gives {' -> '.join(wanted)}: are these transitions allowed?")


def _draws(spec: AgentSpec, tree_id: str, wanted: list[str]) -> bool:
    """Does a random team with this id choose these agents?"""
    names = last = [each.name for each in spec.agents]
    for spoken, target in enumerate(wanted):
        if not last or last[chance(f"{tree_id}:0:{spoken}", len(last))] != target:
            return False
        allowed = (spec.allowed_transitions or {}).get(target)
        last = names if allowed is None else [name for name in names if name in allowed]
    return True


def _specs(spec: AgentSpec) -> Iterator[AgentSpec]:
    """The agent and all below it, as they run within their teams."""
    yield spec
    for place in range(len(spec.agents)):
        yield from _specs(spec.child(place))
    for tool in spec.tools:
        if tool.tool_type == "agent_tool":
            yield from _specs(spec.child(f"tool:{tool.name}"))


def _rails(spec: AgentSpec) -> Iterator[Json]:
    yield from spec.guardrails
    for tool in spec.tools:
        yield from tool.guardrails


def _beside(first: AgentEvent, rest: deque[AgentEvent]) -> list[AgentEvent]:
    """The calls of the same answer: those that follow at once, if all their results come after them."""
    count = next((at for at, each in enumerate(rest) if each.type != EventType.TOOL_CALL), len(rest))
    calls = [rest[at] for at in range(count)]
    results = [rest[at].tool_name for at in range(count, len(rest)) if rest[at].type == EventType.TOOL_RESULT]
    if not calls or Counter(each.tool_name for each in [first, *calls]) - Counter(results[: count + 1]):
        return []
    return [rest.popleft() for _ in calls]


def _beyond(wanted: Iterable[Any], happened: Iterable[Any]) -> bool:
    """Is there something wanted that did not happen, in this order?"""
    left = iter(happened)
    return not all(any(each == other for other in left) for each in wanted)


def _same(happened: AgentEvent, event: AgentEvent) -> bool:
    """Is this what the script says?"""
    names = (event.type, event.tool_name, event.target, event.guardrail_name)
    if (happened.type, happened.tool_name, happened.target, happened.guardrail_name) != names:
        return event.type == happened.type == EventType.WAITING
    return event.type not in (EventType.THINKING, EventType.MESSAGE) or event.content == happened.content


def _is_way(name: str) -> bool:
    return "_transfer_to_" in name


def _verdicts(passed: list[bool]) -> str:
    return ", then ".join("pass" if each else "fail" for each in passed) or "nothing: it was not asked"


def _text(value: Any) -> str:
    """An output as the words of a model."""
    if isinstance(value, dict) and "result" in value:
        value = value["result"]
    if value is None or isinstance(value, str):
        return value or ""
    from agentspan.agents.encode import plain_of

    return json.dumps(plain_of(value, "the output"), ensure_ascii=False)


PEOPLE = {
    "approval": lambda script, request: {"approved": True},
    "review": lambda script, request: {"approved": True},
    "question": Script._asked,
    "selection": Script._selected,
    "message": Script._message,
    "turn": Script._words,
}
ASIDES = (EventType.THINKING, EventType.MESSAGE, EventType.WAITING)
ROTATING = ("round_robin", "random")
PASSED = '{"passed": true, "reason": ""}'
