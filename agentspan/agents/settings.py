"""Settings of one run that override the agent's own."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RunSettings:
    """What this run does otherwise than its (root) agent says; None keeps the agent's."""

    model: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    reasoning_effort: str | None = None
    thinking_budget_tokens: int | None = None

    def spec_fields(self) -> dict[str, Any]:
        """The fields of the spec to replace."""
        names = ("model", "temperature", "max_tokens", "reasoning_effort")
        fields = {name: value for name in names if (value := getattr(self, name)) is not None}
        if self.thinking_budget_tokens is not None:
            fields["thinking_config"] = {"enabled": True, "budgetTokens": self.thinking_budget_tokens}
        return fields
