"""Replaces what a definition only refers to by what is stored: agents deployed elsewhere, prompt templates.

Pure, given how to look them up. A run begins with the result, so that it stays what it was whatever is deployed later.
"""

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec.structs import fields

from agentspan.errors import InvalidSpec
from agentspan.spec import template, wire
from agentspan.spec.agent import AgentSpec
from agentspan.spec.check import is_reference
from agentspan.spec.tool import ToolSpec

Json = dict[str, Any]
FindAgent = Callable[[str], AgentSpec | None]
FindText = Callable[[str, int | None], str | None]

DEEPEST = 20
MOST = 500
"""References within references, and in all: more of them is a mistake that would fill the memory."""


def resolve(spec: AgentSpec, agent: FindAgent, text: FindText, path: tuple[str, ...] = ()) -> AgentSpec:
    """The spec without references. InvalidSpec for one that leads nowhere or in a circle.

    `agent` gives the deployed definition of a name, `text` that of a template and a version (None: the latest).
    `path` are the deployed agents that the spec itself came from.
    """
    return _Resolver(agent, text).spec(spec, path)


def refers(spec: AgentSpec) -> bool:
    """Is there anything to replace in it? Most definitions are whole, and need no look at the database."""
    configs = [*(getattr(spec, name) for name in NESTED), *(tool.config.get("agentConfig") for tool in spec.tools)]
    return (
        is_reference(spec)
        or _is_template(spec.instructions)
        or any(tool.config.get("workflowName") and not tool.config.get("agentConfig") for tool in spec.tools)
        or any(refers(each) for each in spec.agents)
        or any(refers(wire.decode(each)) for each in configs if _is_agent(each))
    )


class _Resolver:
    def __init__(self, agent: FindAgent, text: FindText) -> None:
        self.agent, self.text = agent, text
        self.count = 0

    def spec(self, spec: AgentSpec, path: tuple[str, ...]) -> AgentSpec:
        if is_reference(spec):
            return self._deployed(spec, path)
        changed: dict[str, Any] = {
            "instructions": self._instructions(spec),
            "agents": tuple(self.spec(each, path) for each in spec.agents),
            "tools": tuple(self._tool(each, path) for each in spec.tools),
            **{name: self._config(getattr(spec, name), path) for name in NESTED},
            "deployed": bool(path),
        }
        return msgspec.structs.replace(spec, **changed)

    def _deployed(self, reference: AgentSpec, path: tuple[str, ...]) -> AgentSpec:
        """The definition that a reference names, with what the reference says for itself."""
        name = reference.name
        if name in path:
            raise InvalidSpec(f"deployed agents refer to each other in a circle: {' > '.join([*path, name])}")
        self.count += 1
        if len(path) >= DEEPEST or self.count > MOST:
            raise InvalidSpec(
                f"too many references to deployed agents, at {' > '.join([*path, name])}: "
                f"at most {DEEPEST} within each other and {MOST} in all"
            )
        found = self.agent(name)
        if found is None:
            raise InvalidSpec(
                f"agent {name!r} has no model and no sub-agents, so it refers to a deployed agent, and no agent is "
                f"deployed under this name: deploy it first, or give it a model"
            )
        return self.spec(msgspec.structs.replace(found, **_own(reference)), (*path, name))

    def _instructions(self, spec: AgentSpec) -> str | Json | None:
        given = spec.instructions
        if not isinstance(given, dict) or not _is_template(given):
            return given
        name, version = str(given.get("name") or ""), given.get("version")
        text = self.text(name, version)
        if text is None:
            which = f" in version {version}" if version else ""
            raise InvalidSpec(
                f"agent {spec.name!r}: there is no prompt template {name!r}{which}: "
                f"store it by POST /api/prompts/{name} or runtime.save_prompt"
            )
        return template.render(name, text, given.get("variables") or {})

    def _tool(self, tool: ToolSpec, path: tuple[str, ...]) -> ToolSpec:
        if not _is_agent_tool(tool):
            return tool
        given = tool.config.get("agentConfig") or {"name": tool.config["workflowName"], "external": True}
        return msgspec.structs.replace(tool, config={**tool.config, "agentConfig": self._config(given, path)})

    def _config(self, given: Any, path: tuple[str, ...]) -> Any:
        """A definition inside a definition, as JSON; anything else stays."""
        if not _is_agent(given):
            return given
        spec = wire.decode(given)
        return wire.encode(self.spec(spec, path)) if path or refers(spec) else given


def _own(reference: AgentSpec) -> Json:
    """What a reference says that is not the default: it wins over the definition."""
    default = AgentSpec(name=reference.name, external=reference.external)
    names = [each.name for each in fields(reference)]
    return {name: getattr(reference, name) for name in names if getattr(reference, name) != getattr(default, name)}


def _is_agent_tool(tool: ToolSpec) -> bool:
    """Is it an agent as a tool?"""
    return tool.tool_type == "agent_tool" and bool(tool.config.get("agentConfig") or tool.config.get("workflowName"))


def _is_agent(value: Any) -> bool:
    """A definition as JSON, and not the task of a function."""
    return isinstance(value, dict) and bool(value.get("name")) and "taskName" not in value


def _is_template(instructions: Any) -> bool:
    return isinstance(instructions, dict) and instructions.get("type") == "prompt_template"


NESTED = ("router", "planner", "fallback")
"""Fields that may hold a whole agent as JSON."""
