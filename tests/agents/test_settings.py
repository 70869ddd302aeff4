"""The settings of one run: what they hold, and what they refuse where they are made."""

from typing import Any

import pytest

from agentspan.agents import RunSettings


def test_only_what_is_set_takes_the_place_of_the_agents_fields() -> None:
    assert RunSettings().spec_fields() == {}
    assert RunSettings(temperature=0).spec_fields() == {"temperature": 0}
    assert RunSettings("openai/gpt-4o", 0.5, 100, "low", 2048).spec_fields() == {
        "model": "openai/gpt-4o",
        "temperature": 0.5,
        "max_tokens": 100,
        "reasoning_effort": "low",
        "thinking_config": {"enabled": True, "budgetTokens": 2048},
    }


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("model", " ", ValueError),
        ("model", 4, TypeError),
        ("reasoning_effort", "", ValueError),
        ("temperature", -0.1, ValueError),
        ("temperature", float("inf"), ValueError),
        ("temperature", float("nan"), ValueError),
        ("temperature", "hot", TypeError),
        ("max_tokens", 0, ValueError),
        ("max_tokens", 1.5, TypeError),
        ("max_tokens", True, TypeError),
        ("thinking_budget_tokens", -1, ValueError),
    ],
)
def test_what_no_provider_could_take_is_refused(field: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"{field} must be"):
        RunSettings(**{field: value})
