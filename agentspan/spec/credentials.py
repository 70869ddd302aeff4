"""The names of the secrets that agents and tools declare: which they may be, and which task is given which."""

import re
from typing import Any

from agentspan.spec.agent import AgentSpec
from agentspan.spec.tool import ToolSpec

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
RESERVED = ("bindings", "resolve", "rotate")
"""Names that are words of the API."""


def name_problem(name: Any) -> str | None:
    """Why this is no name of a secret; None if it is one."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        return f"a credential is named by letters, digits, '_', '-' and '.', at most 128 of them, got {name!r}"
    return f"a credential cannot be named {name!r}, which is a word of the API" if name in RESERVED else None


def names_problem(names: Any) -> str | None:
    """Why this is no list of names of secrets; None if it is one."""
    if not isinstance(names, list | tuple):
        return f"credentials must be a list of names, got {type(names).__name__}"
    return next(filter(None, map(name_problem, names)), None)


def of_tool(tool: ToolSpec) -> tuple[str, ...]:
    """The names that a tool declares itself."""
    return tuple(tool.config.get("credentials") or ())


def given_to(spec: AgentSpec, tool: str | None, of_run: tuple[str, ...]) -> tuple[str, ...]:
    """What a task of this agent is given: what its tool declares, else what the agent and the whole run do."""
    found = spec.tool(tool) if tool else None
    own = of_tool(found) if found else ()
    return own or tuple(dict.fromkeys((*spec.credentials, *of_run)))
