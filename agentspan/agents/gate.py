"""A gate stops a pipeline after its stage."""

from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class TextGate:
    """Stop when the stage's output contains a text."""

    text: str
    case_sensitive: bool = True

    def to_config(self) -> Json:
        """The gate on the wire."""
        return {"type": "text_contains", "text": self.text, "caseSensitive": self.case_sensitive}


def gate_config(gate: Any, agent_name: str) -> Json:
    """The gate of that agent on the wire: text, or a function of `{"result": ...}` that says whether to go on."""
    if isinstance(gate, TextGate):
        return gate.to_config()
    if callable(gate):
        return {"taskName": f"{agent_name}_gate"}
    raise ValueError(f"gate must be a TextGate or a function, got {type(gate).__name__}")
