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
    """Override what you need; a method may be `async def`.

    Each gets keywords: `agent_name`, `position`, `turn`, `prompt`, and by position `messages`, `llm_result`,
    `tool_calls`, `tool_name`, `args`, `result`. It may return a dict that overrides what it names: `prompt` or `result`
    before the agent, `messages` or `result` before the model, `result` or `tool_calls` after it, `args` or `result`
    before a tool, `result` after it and after the agent. None changes nothing. State on `self` is kept from one call to
    the next.
    """

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
        if legacy.get(position) is not None or any(overrides(handler, method) for handler in handlers)
    ]


def overrides(handler: Any, method: str) -> bool:
    """Has the handler a method of its own for this?"""
    own = getattr(type(handler), method, None) or getattr(handler, method, None)
    return own is not None and own is not getattr(CallbackHandler, method)
