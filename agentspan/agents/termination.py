"""Conditions that end an agent's loop: plain data, combined with `&` (all of them) and `|` (any of them)."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass
class TerminationResult:
    """Whether to end, and why."""

    should_terminate: bool
    reason: str = ""


class TerminationCondition(ABC):
    """One condition. `context` has `result` (the last output), `messages`, `iteration` and `token_usage`.

    A subclass of your own is judged in your process; it may be `async def`, and may return a bool.
    """

    @abstractmethod
    def should_terminate(self, context: Mapping[str, Any]) -> TerminationResult:
        """Decide on one turn."""

    def to_config(self) -> Json:
        """The condition on the wire; that of a condition of your own is made with its agent."""
        return {"type": "unknown"}

    def __and__(self, other: "TerminationCondition") -> "TerminationCondition":
        return AndTermination(*_members(self, AndTermination), *_members(other, AndTermination))

    def __or__(self, other: "TerminationCondition") -> "TerminationCondition":
        return OrTermination(*_members(self, OrTermination), *_members(other, OrTermination))

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({values})"


class TextMentionTermination(TerminationCondition):
    """Ends when the output contains a text."""

    def __init__(self, text: str, *, case_sensitive: bool = False) -> None:
        self.text, self.case_sensitive = text, case_sensitive

    def should_terminate(self, context: Mapping[str, Any]) -> TerminationResult:
        result, text = str(context.get("result") or ""), self.text
        found = text in result if self.case_sensitive else text.lower() in result.lower()
        return TerminationResult(found, f"Text '{text}' mentioned" if found else "")

    def to_config(self) -> Json:
        return {"type": "text_mention", "text": self.text, "caseSensitive": self.case_sensitive}


class StopMessageTermination(TerminationCondition):
    """Ends when the output, stripped, equals a word."""

    def __init__(self, stop_message: str = "TERMINATE") -> None:
        self.stop_message = stop_message

    def should_terminate(self, context: Mapping[str, Any]) -> TerminationResult:
        equal = str(context.get("result") or "").strip() == self.stop_message.strip()
        return TerminationResult(equal, f"Stop message '{self.stop_message}' received" if equal else "")

    def to_config(self) -> Json:
        return {"type": "stop_message", "stopMessage": self.stop_message}


class MaxMessageTermination(TerminationCondition):
    """Ends after a number of messages."""

    def __init__(self, max_messages: int) -> None:
        if max_messages < 1:
            raise ValueError(f"max_messages must be 1 or more, got {max_messages}")
        self.max_messages = max_messages

    def should_terminate(self, context: Mapping[str, Any]) -> TerminationResult:
        count = len(context.get("messages") or ()) or int(context.get("iteration") or 0)
        over = count >= self.max_messages
        return TerminationResult(over, f"Reached {count} of {self.max_messages} messages" if over else "")

    def to_config(self) -> Json:
        return {"type": "max_message", "maxMessages": self.max_messages}


class TokenUsageTermination(TerminationCondition):
    """Ends when the run has used so many tokens."""

    def __init__(
        self,
        max_total_tokens: int | None = None,
        max_prompt_tokens: int | None = None,
        max_completion_tokens: int | None = None,
    ) -> None:
        if max_total_tokens is None and max_prompt_tokens is None and max_completion_tokens is None:
            raise ValueError("at least one of max_total_tokens, max_prompt_tokens, max_completion_tokens is needed")
        self.max_total_tokens = max_total_tokens
        self.max_prompt_tokens = max_prompt_tokens
        self.max_completion_tokens = max_completion_tokens

    def should_terminate(self, context: Mapping[str, Any]) -> TerminationResult:
        usage = context.get("token_usage") or {}
        for kind in ("total", "prompt", "completion"):
            limit = getattr(self, f"max_{kind}_tokens")
            used = int(usage.get(f"{kind}_tokens") or 0)
            if limit is not None and used >= limit:
                return TerminationResult(True, f"Used {used} of {limit} {kind} tokens")
        return TerminationResult(False)

    def to_config(self) -> Json:
        limits = {
            "maxTotalTokens": self.max_total_tokens,
            "maxPromptTokens": self.max_prompt_tokens,
            "maxCompletionTokens": self.max_completion_tokens,
        }
        return {"type": "token_usage", **{key: value for key, value in limits.items() if value is not None}}


class _Combined(TerminationCondition):
    kind = ""

    def __init__(self, *conditions: TerminationCondition) -> None:
        self.conditions = list(conditions)

    def to_config(self) -> Json:
        return {"type": self.kind, "conditions": [each.to_config() for each in self.conditions]}


class AndTermination(_Combined):
    """Ends when all conditions say so."""

    kind = "and"

    def should_terminate(self, context: Mapping[str, Any]) -> TerminationResult:
        results = [each.should_terminate(context) for each in self.conditions]
        if not all(each.should_terminate for each in results):
            return TerminationResult(False)
        return TerminationResult(True, " AND ".join(each.reason for each in results if each.reason))


class OrTermination(_Combined):
    """Ends when any condition says so."""

    kind = "or"

    def should_terminate(self, context: Mapping[str, Any]) -> TerminationResult:
        results = (each.should_terminate(context) for each in self.conditions)
        return next((each for each in results if each.should_terminate), TerminationResult(False))


def is_function(condition: TerminationCondition) -> bool:
    """Is a part of it such that only the user's process can judge it?"""
    if isinstance(condition, _Combined) and type(condition) in (AndTermination, OrTermination):
        return any(is_function(each) for each in condition.conditions)
    return type(condition).should_terminate not in [each.should_terminate for each in DATA]


def _members(condition: TerminationCondition, kind: type[_Combined]) -> list[TerminationCondition]:
    """A chain of the same operator is one condition."""
    return condition.conditions if isinstance(condition, kind) else [condition]


DATA: tuple[type[TerminationCondition], ...] = (
    TextMentionTermination,
    StopMessageTermination,
    MaxMessageTermination,
    TokenUsageTermination,
)
"""The conditions that are data; the server judges them."""
