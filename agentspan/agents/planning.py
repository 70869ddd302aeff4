"""Plans: what an agent does, step by step, decided before it begins.

A plan is given with the run (`run(agent, prompt, plan=Plan([...]))`), or made by a planner (`plan_execute`). Its steps
call tools or let a model write; each is stored, retried and resumed like any other step of a run.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from agentspan.agents.agent import Agent, Strategy, resolve_agent
from agentspan.agents.showing import Shown
from agentspan.agents.tool import get_tool_defs
from agentspan.spec.plan import problems

Json = dict[str, Any]


class Action(StrEnum):
    """What follows when a step fails: the fallback (or the agent itself) takes over, or the plan goes on."""

    STOP = "stop"
    CONTINUE = "continue"


@dataclass(frozen=True)
class Ref:
    """The result of the step `step`, or the field of it at `path` ("a.b")."""

    step: str
    path: str = ""

    def to_config(self) -> Json:
        return {"$ref": self.step, **({"path": self.path} if self.path else {})}


@dataclass(frozen=True)
class Op:
    """A call of a tool; its arguments may hold Refs."""

    tool: str
    args: Json = field(default_factory=dict)

    def to_config(self) -> Json:
        return {"tool": self.tool, "args": _plain(self.args)}


@dataclass(frozen=True)
class Generate:
    """Words of the agent's model; `${step}` in the prompt stands for a result."""

    prompt: str

    def to_config(self) -> Json:
        return {"prompt": self.prompt}


@dataclass(frozen=True)
class Validation:
    """What must hold of a step's result: `op` is one of == != > >= < <= in contains matches."""

    op: str
    value: Any = None
    argument: str = "result"

    def to_config(self) -> Json:
        return {"argument": self.argument, "op": self.op, "value": self.value}


@dataclass(frozen=True)
class Context:
    """What a planner must know beside the task and the tools: text or data."""

    data: Any

    def to_config(self) -> Any:
        return _plain(self.data)


@dataclass(frozen=True)
class Step:
    """One step: calls that run at the same time, or words of a model. ValueError if it is both or neither."""

    id: str
    ops: Op | Sequence[Op] = ()
    generate: Generate | str | None = None
    description: str = ""
    validation: Validation | Sequence[Validation] = ()
    on_fail: Action | str = Action.STOP

    def __post_init__(self) -> None:
        if bool(self.ops) == (self.generate is not None):
            raise ValueError(f"step {self.id!r} has either ops or generate")
        if self.on_fail not in list(Action):
            raise ValueError(f"on_fail must be 'stop' or 'continue', got {self.on_fail!r}")

    def to_config(self) -> Json:
        ops = [self.ops] if isinstance(self.ops, Op) else list(self.ops)
        rules = [self.validation] if isinstance(self.validation, Validation) else list(self.validation)
        words = Generate(self.generate) if isinstance(self.generate, str) else self.generate
        parts: Json = {
            "description": self.description,
            "ops": [op.to_config() for op in ops],
            "generate": words.to_config() if words else None,
            "validation": [rule.to_config() for rule in rules],
            "on_fail": str(self.on_fail) if self.on_fail != Action.STOP else "",
        }
        return {"id": self.id, **{key: value for key, value in parts.items() if value}}


@dataclass(frozen=True)
class Plan(Shown):
    """Steps in the order in which they are carried out."""

    steps: Sequence[Step | Json]

    def to_config(self) -> Json:
        return {"steps": [_plain(step) for step in self.steps]}

    def check(self, agent: Agent) -> None:
        """ValueError if the agent cannot carry it out."""
        tools = {tool.name for tool in get_tool_defs([t for t in agent.tools if not isinstance(t, str)])}
        if wrong := problems(self.to_config(), tools | {each.name for each in agent.agents}):
            raise ValueError(f"agent {agent.name!r} cannot carry out this plan: {'; '.join(wrong)}")


def coerce_plan(value: Any) -> Plan:
    """The Plan of a Plan, of its JSON (text or object), or of a list of steps; else ValueError."""
    if isinstance(value, Plan):
        return value
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as problem:
            raise ValueError(f"a plan must be JSON: {problem}") from problem
    if isinstance(value, Mapping) and isinstance(value.get("steps"), list):
        return Plan(list(value["steps"]))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return Plan(list(value))
    raise ValueError(f'a plan is a Plan, a list of steps, or {{"steps": [...]}}; got {type(value).__name__}')


def plan_execute(
    name: str,
    tools: list[Any] | None = None,
    *,
    model: str = "",
    planner: Any = None,
    fallback: Any = None,
    fallback_max_turns: int | None = None,
    context: Context | Any = None,
    plan: Any = None,
    **options: Any,
) -> Agent:
    """An agent that plans before it acts: `planner` (or its own model) makes the plan, the steps are carried out, and
    its model answers from their results.

    `fallback`: the agent that takes over when a step fails, for `fallback_max_turns` at most; without one the agent
    itself goes on. `context`: what the planner must know. `plan`: a plan that is known beforehand. `options` are
    further parameters of Agent.
    """
    return Agent(
        name=name,
        model=model,
        tools=tools,
        strategy=Strategy.PLAN_EXECUTE,
        planner=resolve_agent(planner, model) if planner is not None else False,
        fallback=fallback,
        fallback_max_turns=fallback_max_turns,
        planner_context=_plain(context),
        plan_source=None if plan is None else coerce_plan(plan).to_config(),
        **options,
    )


def _plain(value: Any) -> Any:
    """The value with everything of this module as JSON."""
    if hasattr(value, "to_config"):
        return value.to_config()
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value
