"""Agents run by Claude Code: the configuration. This version does not run them."""

from dataclasses import dataclass
from enum import StrEnum


class PermissionMode(StrEnum):
    """What Claude Code may do without asking."""

    DEFAULT = "default"
    ACCEPT_EDITS = "acceptEdits"
    PLAN = "plan"
    BYPASS_PERMISSIONS = "bypassPermissions"


@dataclass(frozen=True)
class ClaudeCode:
    """Claude Code as an agent's model; `model_name` is opus, sonnet, haiku or a full model id; empty: its default."""

    model_name: str = ""
    permission_mode: PermissionMode = PermissionMode.ACCEPT_EDITS

    def to_model_string(self) -> str:
        """The model on the wire."""
        name = ALIASES.get(self.model_name, self.model_name)
        return f"claude-code/{name}" if name else "claude-code"


ALIASES = {"opus": "claude-opus-4-6", "sonnet": "claude-sonnet-4-6", "haiku": "claude-haiku-4-5"}
