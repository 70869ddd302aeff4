"""An agent as a graph that people read: who is asked, who may follow whom, what is checked, where a person is asked.

`nodes` are {id, kind, name}, `edges` {source, target, label}. An id is the agent's path, and behind a "#" the part of
it. Nothing here is executed.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from msgspec import Struct, field

from agentspan.spec.agent import AgentSpec

Json = dict[str, Any]
START, END = "start", "end"


class Graph(Struct):
    nodes: list[Json] = field(default_factory=list)
    edges: list[Json] = field(default_factory=list)

    def node(self, name: str, kind: str, label: str, **more: Any) -> str:
        self.nodes.append({"id": name, "kind": kind, "name": label, **more})
        return name

    def edge(self, source: str, target: str, label: str = "") -> None:
        self.edges.append({"source": source, "target": target, "label": label})


def graph(spec: AgentSpec) -> Json:
    """The whole tree of an agent, between its start and its end."""
    found = Graph()
    found.node(START, "start", "start")
    found.node(END, "end", "end")
    first, lasts = agent(found, spec, spec.name)
    found.edge(START, first)
    for last in lasts:
        found.edge(last, END)
    return {"nodes": found.nodes, "edges": found.edges}


def agent(found: Graph, spec: AgentSpec, path: str) -> tuple[str, list[str]]:
    """One agent with all that belongs to it: where one comes in, and where one can come out."""
    team = {} if spec.thinks else {"strategy": spec.strategy}
    me = found.node(path, "agent" if spec.thinks else "team", spec.name, **team)
    _guardrails(found, spec.guardrails, me)
    if not spec.thinks:
        return me, TEAMS[spec.strategy](found, spec, path)
    for tool in spec.tools:
        _tool(found, spec, path, tool.name)
    for role in ("planner", "fallback"):
        if isinstance(getattr(spec, role), dict) and getattr(spec, role).get("name"):
            first, _ = agent(found, spec.child(role), f"{path}/{role}")
            found.edge(me, first, PARTS[role])
    outs = [me]
    for each in spec.agents if spec.hybrid else ():
        first, lasts = agent(found, each, f"{path}/{each.name}")
        found.edge(me, first, "hands over")
        outs += lasts
    return me, outs


def _tool(found: Graph, spec: AgentSpec, path: str, name: str) -> None:
    tool = spec.tool(name)
    assert tool is not None
    kind = "person" if tool.tool_type == "human" else "tool"
    called = found.node(f"{path}#{name}", kind, name, type=tool.tool_type)
    if (tool.approval_required or tool.approval) and not tool.audits:
        person = found.node(f"{path}#{name}#approval", "person", f"approval of {name}")
        found.edge(path, person, "asks")
        found.edge(person, called, "approves")
    else:
        found.edge(path, called, "calls")
    for rail in tool.guardrails:
        guard = found.node(f"{path}#{name}#{rail.get('name')}", "guardrail", str(rail.get("name")))
        found.edge(
            called, guard, f"checks the {rail.get('position') or 'output'}, else {rail.get('onFail') or 'retry'}"
        )
    if tool.tool_type == "agent_tool":
        inner = spec.child(f"tool:{name}")
        first, _ = agent(found, inner, f"{path}#{name}/{inner.name}")
        found.edge(called, first, "runs")


def _guardrails(found: Graph, rails: Iterable[Json], of: str) -> None:
    for place, rail in enumerate(rails):
        guard = found.node(f"{of}#guardrail.{place}", "guardrail", str(rail.get("name") or "guardrail"))
        found.edge(of, guard, f"checks the {rail.get('position') or 'output'}, else {rail.get('onFail') or 'retry'}")


# Teams: each gives where one can come out


def _members(found: Graph, spec: AgentSpec, path: str) -> Iterator[tuple[AgentSpec, str, list[str]]]:
    for each in spec.agents:
        yield (each, *agent(found, each, f"{path}/{each.name}"))


def _pipeline(found: Graph, spec: AgentSpec, path: str) -> list[str]:
    outs, gated = [path], list[str]()
    label = "first"
    for place, (each, first, lasts) in enumerate(_members(found, spec, path)):
        for out in outs:
            found.edge(out, first, label)
        outs, label = lasts, "then"
        if each.gate and place < len(spec.agents) - 1:
            gate = found.node(f"{first}#gate", "gate", f"gate of {each.name}")
            for out in outs:
                found.edge(out, gate)
            gated, outs, label = [*gated, gate], [gate], "if it lets pass"
    return [*outs, *gated]


def _fan(found: Graph, spec: AgentSpec, path: str) -> list[str]:
    join = found.node(f"{path}#join", "join", "all results")
    for _, first, lasts in _members(found, spec, path):
        found.edge(path, first, "at once")
        for last in lasts:
            found.edge(last, join)
    return [join]


def _chosen(kind: str, label: str, *, again: bool = True) -> Callable[[Graph, AgentSpec, str], list[str]]:
    """Somebody, or something, chooses who speaks: once, or until it is over."""

    def team(found: Graph, spec: AgentSpec, path: str) -> list[str]:
        chooser = found.node(f"{path}#choice", kind, label)
        found.edge(path, chooser)
        outs: list[str] = []
        for _, first, lasts in _members(found, spec, path):
            found.edge(chooser, first, "chooses")
            outs += lasts
        for out in outs if again else ():
            found.edge(out, chooser, "again")
        return [chooser] if again else outs

    return team


def _rotation(found: Graph, spec: AgentSpec, path: str) -> list[str]:
    members = list(_members(found, spec, path))
    found.edge(path, members[0][1], "first")
    for place, (_, _, lasts) in enumerate(members):
        for last in lasts:
            found.edge(last, members[(place + 1) % len(members)][1], "then")
    return [last for _, _, lasts in members for last in lasts]


def _swarm(found: Graph, spec: AgentSpec, path: str) -> list[str]:
    own = [(spec.child("self"), *agent(found, spec.child("self"), f"{path}/self"))] if spec.model else []
    members = [*own, *_members(found, spec, path)]
    found.edge(path, members[0][1], "first")
    allowed = spec.allowed_transitions or {}
    for each, _, lasts in members:
        for other, first, _ in members:
            if other.name != each.name and other.name in allowed.get(each.name, [other.name]):
                for last in lasts:
                    found.edge(last, first, "hands over")
    return [last for _, _, lasts in members for last in lasts]


TEAMS: dict[str, Callable[[Graph, AgentSpec, str], list[str]]] = {
    "sequential": _pipeline,
    "parallel": _fan,
    "handoff": _chosen("model", "who is next"),
    "router": _chosen("model", "who answers", again=False),
    "round_robin": _rotation,
    "random": _chosen("chance", "anybody"),
    "manual": _chosen("person", "who is next"),
    "swarm": _swarm,
}
PARTS = {"planner": "asks for a plan", "fallback": "gives up to"}
