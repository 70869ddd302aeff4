"""Functions of the user's that are called around an agent, its model and its tools."""

from typing import Any

Json = dict[str, Any]

POSITIONS = {
    "before_agent": "on_agent_start",
    "after_agent": "on_agent_end",
    "before_model": "on_model_start",
    "after_model": "on_model_end",
    "before_tool": "on_tool_start",
    "after_tool": "on_tool_end",
}
"""The wire's name of each position, and the method that serves it."""


class CallbackHandler:
    """Override what you need. Each method gets keywords and may return a dict that overrides; None changes nothing."""

    def on_agent_start(self, **kwargs: Any) -> Json | None:
        """Before the agent's first turn."""
        return None

    def on_agent_end(self, **kwargs: Any) -> Json | None:
        """After the agent's last turn."""
        return None

    def on_model_start(self, **kwargs: Any) -> Json | None:
        """Before each call of the model."""
        return None

    def on_model_end(self, **kwargs: Any) -> Json | None:
        """After each call of the model."""
        return None

    def on_tool_start(self, **kwargs: Any) -> Json | None:
        """Before each tool call."""
        return None

    def on_tool_end(self, **kwargs: Any) -> Json | None:
        """After each tool call."""
        return None


def used_positions(handlers: list[CallbackHandler], legacy: dict[str, Any]) -> list[str]:
    """The positions that some handler overrides or some legacy callable (by position) serves, in the wire's order."""
    return [
        position
        for position, method in POSITIONS.items()
        if legacy.get(position) is not None or any(_overrides(handler, method) for handler in handlers)
    ]


def _overrides(handler: Any, method: str) -> bool:
    return getattr(type(handler), method, None) is not getattr(CallbackHandler, method)
