"""Conditions that pass the word to another agent of a swarm."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass
class HandoffCondition:
    """When true, `target` (an agent's name) speaks next. A subclass of your own says when in `should_handoff`."""

    target: str

    def should_handoff(self, context: Mapping[str, Any]) -> bool:
        """Decide on `context`: `result`, `messages`, `conversation`, `tool_name`, `tool_result`, `iteration`,
        `active_agent`."""
        raise NotImplementedError("a condition says when in should_handoff")

    def to_config(self, agent_name: str) -> Json:
        """The condition on the wire, for the agent of that name."""
        return {"target": self.target, "type": "on_condition", "taskName": f"{agent_name}_handoff_{self.target}"}


@dataclass
class OnToolResult(HandoffCondition):
    """After a tool answered, if its result contains a text (any result for None)."""

    tool_name: str = ""
    result_contains: str | None = None

    def should_handoff(self, context: Mapping[str, Any]) -> bool:
        if context.get("tool_name") != self.tool_name:
            return False
        return self.result_contains is None or self.result_contains in str(context.get("tool_result", ""))

    def to_config(self, agent_name: str) -> Json:
        config = {"target": self.target, "type": "on_tool_result", "toolName": self.tool_name}
        return config if self.result_contains is None else {**config, "resultContains": self.result_contains}


@dataclass
class OnTextMention(HandoffCondition):
    """When the output mentions a text, in whatever case."""

    text: str = ""

    def should_handoff(self, context: Mapping[str, Any]) -> bool:
        return self.text.lower() in str(context.get("result", "")).lower()

    def to_config(self, agent_name: str) -> Json:
        return {"target": self.target, "type": "on_text_mention", "text": self.text}


@dataclass
class OnCondition(HandoffCondition):
    """When a function of the context says so; an exception in it counts as no."""

    condition: Callable[[Mapping[str, Any]], bool] | None = None

    def should_handoff(self, context: Mapping[str, Any]) -> bool:
        try:
            return bool(self.condition and self.condition(context))
        except Exception:  # the function is the user's, and a handoff must not fail a run
            return False


def is_function(condition: HandoffCondition) -> bool:
    """Can only the user's process judge it?"""
    return type(condition).should_handoff not in (OnToolResult.should_handoff, OnTextMention.should_handoff)
