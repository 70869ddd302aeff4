"""Random agents for the laws: whatever an agent can be, drawn from a tape."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from agentspan.spec.agent import AgentSpec
from agentspan.spec.policy import Budget
from agentspan.spec.tool import ToolSpec

Json = dict[str, Any]
T = TypeVar("T")

MODEL = "scripted/any"
DEPTH = 3
MOST_AGENTS = 12
STRATEGIES = ("sequential", "parallel", "handoff", "router", "round_robin", "random", "swarm", "manual")
POSITIONS = ("before_agent", "after_agent", "before_model", "after_model", "before_tool", "after_tool")
SCHEMA = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}


class Tape:
    """Choices read off bytes; at the end all choices are 0."""

    def __init__(self, data: bytes) -> None:
        self._data = iter(data)

    def below(self, n: int) -> int:
        return next(self._data, 0) % n

    def odds(self, n: int) -> bool:
        """True once in n times; never at the end of the tape."""
        return self.below(n) == n - 1

    def pick(self, among: Sequence[T]) -> T:
        return among[self.below(len(among))]

    def some(self, among: Sequence[T], n: int = 3) -> tuple[T, ...]:
        """Each with a chance of one in n."""
        return tuple(each for each in among if self.odds(n))


class Maker:
    """Makes one tree of agents, each with a name of its own."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self.made = 0

    def agent(self, depth: int = 0) -> AgentSpec:
        """A lone agent, a proxy of a person, or a team."""
        tape = self.tape
        self.made += 1
        name = f"{tape.pick(('agent', 'writer', 'the critic', 'X-Ray', 'élan'))} {self.made}"
        if depth < DEPTH and self.made < MOST_AGENTS and tape.below(5) > 2:
            return self.team(name, depth)
        if tape.odds(12):
            mode = tape.pick(("ALWAYS", "TERMINATE", "NEVER"))
            return AgentSpec(name, model=MODEL, metadata={"_agent_type": "user_proxy", "_human_input_mode": mode})
        lone = AgentSpec(name, model=MODEL, tools=self.tools(depth), max_turns=1 + tape.below(4))
        return self.changed(lone, (*OF_ALL, *OF_THINKERS))

    def team(self, name: str, depth: int) -> AgentSpec:
        tape = self.tape
        members = tuple(self.agent(depth + 1) for _ in range(1 + tape.below(3)))
        strategy = tape.pick(STRATEGIES)
        team = AgentSpec(name, agents=members, strategy=strategy, max_turns=1 + tape.below(5))
        if strategy in ("handoff", "swarm") or tape.below(2):
            team = replace(team, model=MODEL)
        if strategy == "router":
            team = replace(team, router=self.router(name))
        if strategy == "swarm" or tape.odds(6):
            team = replace(team, handoffs=self.handoffs(name, members))
        if tape.odds(4):
            team = replace(team, tools=self.tools(depth))
        if tape.odds(3):
            names = [name, *(each.name for each in members)]
            team = replace(team, allowed_transitions={each: list(tape.some(names, 2)) for each in tape.some(names, 2)})
        return self.changed(team, (*OF_ALL, *OF_TEAMS, *(OF_THINKERS if team.thinks else ())))

    def changed(self, spec: AgentSpec, changes: Sequence[Callable[["Maker", AgentSpec], Json]]) -> AgentSpec:
        for change in changes:
            if self.tape.odds(5):
                spec = replace(spec, **change(self, spec))
        return spec

    def router(self, name: str) -> Json:
        if self.tape.below(2):
            return {"taskName": f"{name}_router_fn"}
        self.made += 1
        return {"name": f"router {self.made}", "model": MODEL, "maxTurns": 2}

    def handoffs(self, name: str, members: Sequence[AgentSpec]) -> tuple[Json, ...]:
        names = [name, *(each.name for each in members)]
        kinds: tuple[Json, ...] = (
            {"type": "on_text_mention", "text": "well"},
            {"type": "on_tool_result", "toolName": "look", "resultContains": "o"},
            {"type": "on_tool_result"},
            {"type": "on_condition", "taskName": f"{name}_handoff_check"},
        )
        return tuple({**each, "target": self.tape.pick(names)} for each in self.tape.some(kinds, 2))

    def tools(self, depth: int) -> tuple[ToolSpec, ...]:
        chosen = list(self.tape.some(TOOLS, 2)) or [TOOLS[0]]
        if depth < DEPTH and self.made < MOST_AGENTS and self.tape.odds(4):
            config: Json = {"agentConfig": msgspec.to_builtins(self.agent(depth + 1))}
            config |= self.tape.pick(({}, {"optional": False}, {"retryCount": 1}))
            chosen.append(ToolSpec(f"ask_{self.made}", tool_type="agent_tool", config=config))
        if self.tape.odds(4):
            at = self.tape.below(len(chosen))
            chosen[at] = replace(chosen[at], guardrails=self.rails(("input", "output")))
        if self.tape.odds(6):
            at = self.tape.below(len(chosen))
            chosen[at] = replace(chosen[at], approval={"taskName": f"{chosen[at].name}_approval"})
        if self.tape.odds(6):
            at = self.tape.below(len(chosen))
            chosen[at] = replace(chosen[at], max_calls=1 + self.tape.below(2))
        return tuple(chosen)

    def rails(self, positions: Sequence[str]) -> tuple[Json, ...]:
        return tuple(self.rail(place, positions) for place in range(1 + self.tape.below(2)))

    def rail(self, place: int, positions: Sequence[str]) -> Json:
        tape = self.tape
        kind = tape.pick(("regex", "custom", "llm", "external"))
        rail: Json = {"name": f"rail{place}", "guardrailType": kind, "position": tape.pick(positions)}
        rail |= {"onFail": tape.pick(("retry", "raise", "fix", "human")), "maxRetries": 1 + tape.below(2)}
        if kind == "regex":
            rail |= {"patterns": ["well|edited"], "mode": tape.pick(("block", "allow"))}
        return rail | ({"taskName": f"rail{place}"} if kind == "custom" else {})

    def termination(self, depth: int = 0) -> Json:
        kinds: list[Json] = [
            {"type": "text_mention", "text": "WELL", "caseSensitive": False},
            {"type": "stop_message"},
            {"type": "max_message", "maxMessages": 2 + self.tape.below(6)},
            {"type": "token_usage", "maxTotalTokens": 30},
            {"type": "unknown"},
        ]
        if depth < 2 and self.tape.odds(3):
            parts = [self.termination(depth + 1) for _ in range(1 + self.tape.below(2))]
            return {"type": self.tape.pick(("and", "or")), "conditions": parts}
        return self.tape.pick(kinds)

    def budget(self) -> Budget | None:
        if not self.tape.odds(4):
            return None
        return self.tape.pick((Budget(model_calls=4), Budget(tool_calls=2), Budget(tokens=90), Budget(cost=0.5)))


def _rails(maker: Maker, spec: AgentSpec) -> Json:
    return {"guardrails": maker.rails(("input", "output", "output", "tool_input", "tool_output", "tool"))}


def _callbacks(maker: Maker, spec: AgentSpec) -> Json:
    chosen = maker.tape.some(POSITIONS, 2)
    return {"callbacks": tuple({"position": each, "taskName": f"{spec.name}_{each}"} for each in chosen)}


def _fallback(maker: Maker, spec: AgentSpec) -> Json:
    causes = ("error", "refusal", "timeout", "length")
    third: Json = {"model": "scripted/third", "on": list(maker.tape.some(causes, 2))}
    return {"fallback": ["scripted/second", *([third] if maker.tape.below(2) else [])]}


def _required(maker: Maker, spec: AgentSpec) -> Json:
    return {"required_tools": (spec.tools[0].name,) if spec.tools else ()}


def _prefill(maker: Maker, spec: AgentSpec) -> Json:
    return {"prefill_tools": ({"name": spec.tools[0].name, "arguments": {"i": 1}},) if spec.tools else ()}


def _plan(maker: Maker, spec: AgentSpec) -> Json:
    """A lone agent that carries out a plan: its own, or one that its planner makes."""
    if spec.agents:
        return {}
    first: Json = {"id": "a", "ops": [{"tool": spec.tools[0].name, "args": {"i": 1}}]}
    rule = {"argument": "result", "op": "==", "value": "ok"}
    first |= maker.tape.pick(({}, {"on_fail": "continue"}, {"validation": [rule]}))
    steps = [first, {"id": "b", "generate": {"prompt": "${a}"}}]
    other = {"name": f"{spec.name}_other", "model": MODEL} if maker.tape.below(2) else None
    made = {"plan_source": {"steps": steps}} if maker.tape.below(2) else {}
    return {"strategy": "plan_execute", "fallback": other, **made}


def _gate(maker: Maker, spec: AgentSpec) -> Json:
    return {"gate": maker.tape.pick(({"text": "well"}, {"taskName": f"{spec.name}_gate"}))}


Change = Callable[[Maker, AgentSpec], Json]
OF_ALL: tuple[Change, ...] = (
    _rails,
    _callbacks,
    _gate,
    lambda maker, spec: {"termination": maker.termination()},
    lambda maker, spec: {"stop_when": {"taskName": f"{spec.name}_stop_when"}},
    lambda maker, spec: {"instructions": {"_worker_ref": f"{spec.name}_instructions"}},
    lambda maker, spec: {"include_contents": "none"},
    lambda maker, spec: {"introduction": f"I am {spec.name}."},
    lambda maker, spec: {"output_type": {"schema": SCHEMA, "className": "X"}},
)
OF_THINKERS: tuple[Change, ...] = (
    _fallback,
    _required,
    _prefill,
    _plan,
    lambda maker, spec: {"memory": {"messages": [{"role": "assistant", "message": "I remember."}]}},
    lambda maker, spec: {"planner": True},
)
OF_TEAMS: tuple[Change, ...] = (
    lambda maker, spec: {"fail_fast": True},
    lambda maker, spec: {"width": 1},
    lambda maker, spec: {"synthesize": False},
)

POLICY = {
    "when": [{"argument": "i", "op": ">", "value": 0}],
    "deadlineSeconds": 5,
    "onDeadline": "approve",
    "to": ["ann"],
    "escalation": [{"to": ["bob"], "afterSeconds": 2}],
}
TOOLS = (
    ToolSpec("look", retry_count=1, retry_delay_seconds=1),
    ToolSpec("pay", approval_required=True, retry_count=2, retry_logic="exponential_backoff", retry_jitter_ms=50),
    ToolSpec("once", retry_count=0, timeout_seconds=5, start_timeout_seconds=5),
    ToolSpec("send", approval_required=True, approval=POLICY),
    ToolSpec("ask_person", tool_type="human", config={"deadlineSeconds": 9}),
    ToolSpec("next_mail", tool_type="pull_workflow_messages", config={"batchSize": 2}),
    ToolSpec("any_mail", tool_type="pull_workflow_messages", config={"blocking": False}),
)
