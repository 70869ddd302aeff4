"""LangGraph: marks on the nodes of a graph."""

from collections.abc import Callable
from typing import Any


def human_task(func: Callable[..., Any] | None = None, *, prompt: str = "") -> Any:
    """Mark a node as a pause for a person: `@human_task` or `@human_task(prompt=...)`."""

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        function._agentspan_human_task = True  # type: ignore[attr-defined]
        function._agentspan_human_prompt = prompt  # type: ignore[attr-defined]
        return function

    return mark if func is None else mark(func)
