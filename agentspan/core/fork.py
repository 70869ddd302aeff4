"""A new history that shares a prefix with another, with edits. Nothing of the shared part is done again."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from agentspan.core import events as e
from agentspan.core.advance import ROOT, Tree, spend
from agentspan.core.run import Run, evolve
from agentspan.errors import BadInput
from agentspan.spec.agent import AgentSpec, Path

SPEC_EDITS = ("model", "instructions")
EDITS = ("prompt", "output", "arguments", *SPEC_EDITS)


def fold(tree: str, events: Sequence[e.Event]) -> Tree:
    """The tree of a whole log: what its snapshots must equal."""
    runs: dict[int, Run] = {}
    for event in events:
        before = runs.get(event.execution) or Run(id=event.execution)
        runs[event.execution] = evolve(before, event)
        spend(runs, before, event)
    return Tree(tree, events[-1].seq if events else 0, runs)


def fork(events: Sequence[e.Event], at: int, edits: dict[str, Any]) -> list[e.Event]:
    """The first `at` events, edited: `prompt` replaces the prompt, `output` the output of event `at`, `arguments` those
    of the call that event `at` scheduled or asked for."""
    if unknown := set(edits) - set(EDITS):
        raise BadInput(f"unknown edits {', '.join(sorted(unknown))}; what can be edited is {', '.join(EDITS)}")
    if not 1 <= at <= len(events):
        raise BadInput(f"a fork is at an event from 1 to {len(events)}, got {at}")
    if fold("", events[:at]).runs[ROOT].ended:
        raise BadInput(f"the execution has ended at event {at}; fork at an event before its end")
    shared = list(events[:at])
    if "prompt" in edits:
        shared[0] = _edited(shared[0], prompt=edits["prompt"])
    if "output" in edits:
        shared[-1] = _with_output(shared[-1], edits["output"])
    if "arguments" in edits:
        place, index = _call(shared[-1])
        shared[place - 1] = _with_arguments(shared[place - 1], index, edits["arguments"])
    return shared


def edited_spec(spec: AgentSpec, path: Path, edits: dict[str, Any]) -> AgentSpec:
    """The spec with `model` and `instructions` of the agent at `path` replaced."""
    if path and isinstance(path[0], int):
        agents = list(spec.agents)
        agents[path[0]] = edited_spec(agents[path[0]], path[1:], edits)
        return replace(spec, agents=tuple(agents))
    return replace(spec, **{key: edits[key] for key in SPEC_EDITS if key in edits})


def _edited(event: e.Event, **changes: Any) -> e.Event:
    if not isinstance(event.fact, e.ExecutionStarted):
        raise BadInput("this log does not begin with a start")
    return replace(event, fact=replace(event.fact, input={**(event.fact.input or {}), **changes}))


def _with_output(event: e.Event, output: Any) -> e.Event:
    if not isinstance(event.fact, e.TaskCompleted):
        raise BadInput(f"event {event.seq} has no output to edit; fork at the event of an answer or a tool's result")
    value = output if isinstance(output, dict) else {"result": output}
    if event.fact.output and "content" in event.fact.output and "content" not in value:
        content = output if isinstance(output, str) else str(output.get("result", output))
        value = {"content": content, "finish_reason": "stop"}
    return replace(event, fact=replace(event.fact, output=value))


def _call(event: e.Event) -> tuple[int, int]:
    """The event that holds the arguments of the call at an event, and the call's place in it."""
    match event.fact:
        case e.TaskScheduled(source=source) if source:
            return source, event.fact.index
        case e.TaskCompleted(output=output) if output and len(output.get("tool_calls") or ()) == 1:
            return event.seq, 0
    raise BadInput(
        f"event {event.seq} is no call; to edit arguments, fork at the event at which the call was scheduled"
    )


def _with_arguments(event: e.Event, index: int, arguments: Any) -> e.Event:
    if not isinstance(arguments, dict):
        raise BadInput("arguments must be a JSON object: it takes the place of the call's arguments")
    output = event.fact.output if isinstance(event.fact, e.TaskCompleted) else None
    if output is None:
        raise BadInput(f"event {event.seq} holds no arguments that can be edited")
    if "tool_calls" not in output:
        return replace(event, fact=replace(event.fact, output={**output, "arguments": arguments}))
    calls = [{**call, "arguments": arguments} if at == index else call for at, call in enumerate(output["tool_calls"])]
    return replace(event, fact=replace(event.fact, output={**output, "tool_calls": calls}))
