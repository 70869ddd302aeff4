"""Settings of one run that override the agent's own."""

from dataclasses import dataclass
from math import inf
from typing import Any


@dataclass(frozen=True)
class RunSettings:
    """What this run does otherwise than its (root) agent says; None keeps the agent's.

    Sub-agents keep theirs. What the model's provider does not take ends the run with a sentence that names it.
    """

    model: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    reasoning_effort: str | None = None
    thinking_budget_tokens: int | None = None

    def __post_init__(self) -> None:
        for name in ("model", "reasoning_effort"):
            _check(name, getattr(self, name), str, "text that is not blank", lambda value: bool(value.strip()))
        for name in ("max_tokens", "thinking_budget_tokens"):
            _check(name, getattr(self, name), int, "a whole number, 1 or more", lambda value: value >= 1)
        _check("temperature", self.temperature, (int, float), "a number, 0 or more", lambda value: 0 <= value < inf)

    def spec_fields(self) -> dict[str, Any]:
        """The fields of the spec to replace."""
        names = ("model", "temperature", "max_tokens", "reasoning_effort")
        fields = {name: value for name in names if (value := getattr(self, name)) is not None}
        if self.thinking_budget_tokens is not None:
            fields["thinking_config"] = {"enabled": True, "budgetTokens": self.thinking_budget_tokens}
        return fields


def _check(name: str, value: Any, kind: Any, wanted: str, is_right: Any) -> None:
    """ValueError, or TypeError for a wrong type, for a setting that no provider could take."""
    if value is None:
        return
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"{name} must be {wanted}, got {type(value).__name__}")
    if not is_right(value):
        raise ValueError(f"{name} must be {wanted}, got {value!r}")
