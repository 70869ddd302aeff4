"""Durable AI agents that start in a notebook cell. What users import is in `agentspan.agents`."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_ELSEWHERE = {"Runner": "runner", "RunResult": "runner", "function_tool": "runner"}
"""Names that programs written for the OpenAI Agents SDK look for here, loaded when they are asked for."""


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext agentspan`: the magics, of which `%agentspan?` and `%runs?` tell."""
    import_module("agentspan.notebook.magics").register(shell)


def __getattr__(name: str) -> Any:
    if name in _ELSEWHERE:
        return getattr(import_module(f"agentspan.agents.{_ELSEWHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
