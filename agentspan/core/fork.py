"""A new history that shares a prefix with another, with edits. Nothing of the shared part is done again."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from agentspan.core import events as e
from agentspan.core.advance import ROOT, Tree, resumed, spend
from agentspan.core.decide import partial
from agentspan.core.edits import AT_EVENT, edited_events
from agentspan.core.run import Run, evolve
from agentspan.core.states import Kind, Purpose
from agentspan.errors import BadInput
from agentspan.spec import wire
from agentspan.spec.agent import AgentSpec, Path
from agentspan.spec.policy import budget

SPEC_EDITS = ("model", "instructions")
EDITS = ("prompt", "budget", "agent", *SPEC_EDITS, *AT_EVENT)


class Branch(Struct, frozen=True):
    """What a fork begins with: its spec, the shared events as they are in it, and their tree."""

    spec: AgentSpec
    events: list[e.Event]
    tree: Tree


def fold(tree: str, events: Sequence[e.Event]) -> Tree:
    """The tree of a whole log: what its snapshots must equal."""
    runs: dict[int, Run] = {}
    for event in events:
        before = runs.get(event.execution) or Run(id=event.execution)
        runs[event.execution] = evolve(before, event)
        spend(runs, before, event)
    return Tree(tree, events[-1].seq if events else 0, runs)


def branch(tree: str, spec: AgentSpec, events: Sequence[e.Event], at: int, edits: dict[str, Any]) -> Branch:
    """The fork, of the id `tree`, of a log at event `at`.

    `model` and `instructions` are those of the agent that event `at` is about, or of the one that `agent` names. The
    rest is as in `fork`.
    """
    shared = fork(events, at, edits)
    runs = fold(tree, shared).runs
    if "agent" in edits and not any(key in edits for key in SPEC_EDITS):
        raise BadInput("agent says whose model or instructions are edited: give one of them too")
    if any(key in edits for key in SPEC_EDITS):
        paths = _named(spec, str(edits["agent"])) if "agent" in edits else [runs[shared[-1].execution].path]
        for path in paths:
            spec = edited_spec(spec, path, edits)
        spec, shared = _switched(spec, shared, runs, [_plain(path) for path in paths], edits)
    return Branch(spec, shared, fold(tree, shared))


def fork(events: Sequence[e.Event], at: int, edits: dict[str, Any]) -> list[e.Event]:
    """The first `at` events, edited: `prompt` and `budget` replace those of the run, `output`, `tool_result`, `answer`
    and `arguments` what event `at` holds (see `edits`)."""
    _check(edits)
    last = forkable(events)
    if not 1 <= at <= len(events):
        raise BadInput(f"a fork is at an event {last}, got {at}")
    if fold("", events[:at]).runs[ROOT].ended:
        raise BadInput(f"the execution has ended at event {at}; fork at an event {last}, before its end")
    shared = list(events[:at])
    if "prompt" in edits:
        shared[0] = _begun(shared[0], prompt=edits["prompt"])
    if "budget" in edits:
        shared = _bounded(shared, edits["budget"])
    return edited_events(events, shared, {key: edits[key] for key in AT_EVENT if key in edits})


def fits(spec: AgentSpec, shared: Sequence[e.Event]) -> None:
    """BadInput if a history cannot go on by another definition: an agent that lives in it must be there too."""
    for run in fold("", shared).runs.values():
        if not run.ended and not _is_in(spec, run.path):
            raise BadInput(
                f"the other version has no agent at {run.path!r}, where this run stands; fork at another event"
            )


def _is_in(spec: AgentSpec, path: Path) -> bool:
    try:
        return not spec.at(path).name.startswith("tool:")
    except (IndexError, KeyError, StopIteration, msgspec.ValidationError):
        return False


def carried(spec: AgentSpec, tree: Tree, events: Sequence[e.Event], fact: e.AnyFact) -> list[tuple[int, e.AnyFact]]:
    """`fact` for all that lives, and what a log lacks that was cut while one fact led to others in its tree."""
    retried = {event.execution: event.seq for event in events if isinstance(event.fact, e.ExecutionRetried)}
    unheard = [run for _, run in sorted(tree.runs.items()) if run.ended and run.id in tree.runs[run.parent].tasks]
    if again := [run.id for run in unheard if run.seq < retried.get(run.parent, 0)]:
        # What a retry had not reached yet is reached first: its parent must not hear of the old end.
        living = [number for number, run in sorted(tree.runs.items()) if not run.ended]
        return [*((number, fact) for number in living), *((number, e.ExecutionRetried()) for number in again)]
    if reason := next((run.reason for run in unheard if run.finish_reason == "budget"), ""):
        return [(ROOT, fact), (ROOT, e.ExecutionTerminated(reason, "budget", partial(spec, tree.runs[ROOT])))]
    return resumed(spec, tree, fact)


def forkable(events: Sequence[e.Event]) -> str:
    """The events at which a log can be forked, in words: those after which its root has not ended."""
    runs: dict[int, Run] = {}
    places: list[int] = []
    for event in (event for event in events if event.execution == ROOT):
        runs[ROOT] = evolve(runs.get(ROOT) or Run(), event)
        if runs[ROOT].ended:
            places.append(event.seq)
    return f"from 1 to {places[0] - 1 if places else len(events)}" + (" or after a retry" if _again(events) else "")


def edited_spec(spec: AgentSpec, path: Path, edits: dict[str, Any]) -> AgentSpec:
    """The spec with `model` and `instructions` of the agent at `path` replaced."""
    found = _edited(spec, _plain(path), {key: edits[key] for key in SPEC_EDITS if key in edits})
    if found is None:
        raise BadInput(f"there is no agent at {list(path)}")
    return found


def _check(edits: dict[str, Any]) -> None:
    if unknown := set(edits) - set(EDITS):
        raise BadInput(f"unknown edits {', '.join(sorted(unknown))}; what can be edited is {', '.join(EDITS)}")
    for key in ("prompt", "agent", *SPEC_EDITS, "answer"):
        if key in edits and not isinstance(edits[key], str):
            raise BadInput(f"{key} must be text, got {type(edits[key]).__name__}")
    if "model" in edits and not edits["model"].strip():
        raise BadInput("model must name a model")


def _again(events: Sequence[e.Event]) -> bool:
    return any(isinstance(event.fact, e.ExecutionRetried) for event in events)


def _begun(event: e.Event, **changes: Any) -> e.Event:
    if not isinstance(event.fact, e.ExecutionStarted):
        raise BadInput("this log does not begin with a start")
    return replace(event, fact=replace(event.fact, input={**(event.fact.input or {}), **changes}))


def _bounded(shared: list[e.Event], given: Any) -> list[e.Event]:
    """The events under another budget from the first one on: what they have used of it is booked."""
    limits = budget(given, fold("", shared).runs[ROOT].budget)
    first = _begun(shared[0], budget=msgspec.to_builtins(limits))
    changed = [
        replace(event, fact=replace(event.fact, budget=limits)) if isinstance(event.fact, e.BudgetChanged) else event
        for event in shared[1:]
    ]
    return [first, *changed]


def _plain(path: Path) -> Path:
    """The path to where a spec is written down: a swarm's own agent is the team's."""
    return tuple(step for step in path if step != "self")


def _edited(spec: AgentSpec, path: Path, changes: dict[str, Any]) -> AgentSpec | None:
    """The spec with changes at `path`; None if its first step leads nowhere, as where a member has its team's tools."""
    if not path:
        if "model" in changes and not spec.model:
            raise BadInput(
                f"agent {spec.name!r} has no model of its own; say with agent= whose model is edited: "
                f"{', '.join(dict.fromkeys(_names(spec)))}"
            )
        return replace(spec, **changes)
    step, rest = path[0], path[1:]
    if isinstance(step, int):
        member = _edited(spec.agents[step], rest, changes)
        if member is None:
            return _edited(spec, rest, changes)
        return replace(spec, agents=(*spec.agents[:step], member, *spec.agents[step + 1 :]))
    if step == "router":
        agent = _edited(wire.decode(spec.router), rest, changes)
        return agent and replace(spec, router=wire.encode(agent))
    for place, tool in enumerate(spec.tools):
        if step == f"tool:{tool.name}" and "agentConfig" in tool.config:
            agent = _edited(wire.decode(tool.config["agentConfig"]), rest, changes)
            config = {**tool.config, "agentConfig": wire.encode(agent)} if agent else tool.config
            return agent and replace(
                spec, tools=(*spec.tools[:place], replace(tool, config=config), *spec.tools[place + 1 :])
            )
    return None


def _named(spec: AgentSpec, name: str) -> list[Path]:
    """The ways to the agents of a name."""
    found = [path for path, each in _agents(spec, ()) if each.name == name]
    if not found:
        raise BadInput(f"there is no agent {name!r}; the agents are {', '.join(dict.fromkeys(_names(spec)))}")
    return found


def _names(spec: AgentSpec) -> list[str]:
    return [agent.name for _, agent in _agents(spec, ())]


def _agents(spec: AgentSpec, path: Path) -> Iterator[tuple[Path, AgentSpec]]:
    yield path, spec
    for place, agent in enumerate(spec.agents):
        yield from _agents(agent, (*path, place))
    if spec.router and not spec.router.get("taskName"):
        yield from _agents(wire.decode(spec.router), (*path, "router"))
    for tool in spec.tools:
        if isinstance(tool.config.get("agentConfig"), dict):
            yield from _agents(wire.decode(tool.config["agentConfig"]), (*path, f"tool:{tool.name}"))


def _switched(
    spec: AgentSpec, shared: list[e.Event], runs: dict[int, Run], paths: list[Path], edits: dict[str, Any]
) -> tuple[AgentSpec, list[e.Event]]:
    """The calls of the agents at `paths` that are open, or will be made again, go to the edited model; so does an agent
    that had gone on with a fallback."""
    if "model" not in edits:
        return spec, shared
    shared = list(shared)
    for run in (run for run in runs.values() if _plain(run.path) in paths and not run.ended):
        for seq in {*run.tasks, *(fault.task for fault in run.faults.values())}:
            order = shared[seq - 1].fact
            if isinstance(order, e.TaskScheduled) and order.kind is Kind.LLM and order.purpose is not Purpose.JUDGE:
                shared[seq - 1] = replace(shared[seq - 1], fact=replace(order, name=edits["model"]))
        if run.model:
            spec = _instead(spec, _plain(run.path), run.model, edits["model"])
    return spec, shared


def _instead(spec: AgentSpec, path: Path, place: int, model: str) -> AgentSpec:
    """The agent at `path` with another model as its `place`-th fallback."""
    agent = spec.at(path)
    listed = agent.fallback if isinstance(agent.fallback, list | tuple) else [agent.fallback]
    each = listed[place - 1]
    other = {**each, "model": model} if isinstance(each, dict) else model
    found = _edited(spec, path, {"fallback": [*listed[: place - 1], other, *listed[place:]]})
    return spec if found is None else found
