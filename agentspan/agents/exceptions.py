"""The exceptions of the SDK's users, and how a feature that this version lacks is refused.

AgentspanError (agentspan.errors)
├── AgentAPIError, AgentNotFoundError, AgentConflictError, ServerUnreachableError (agentspan.client.errors)
│   └── SessionBusyError        another run writes the session (an AgentConflictError)
├── WorkerMissingError          a run waits for a tool that no live worker serves
├── HumanNeededError            a run waits for a person, and nobody is to be waited for
├── CredentialNotFoundError, CredentialAuthError, CredentialRateLimitError, CredentialServiceError
└── ScheduleError               ├── ScheduleNameConflict, ScheduleNotFound, InvalidCronExpression
ConfigurationError (ValueError)      a definition that cannot be used
ToolSerializationError (TypeError)   a tool's result is not JSON
ToolArgumentError (ValueError)       a tool was called with arguments that do not fit
TerminalToolError (Exception)        raised in a tool: do not try again
SkillLoadError (Exception)           a skill's folder cannot be read
"""

import re
from typing import Any

from agentspan.client.errors import (
    AgentAPIError,
    AgentConflictError,
    AgentNotFoundError,
    AgentNotImplementedError,
    ServerUnreachableError,
)
from agentspan.errors import AgentspanError, NotImplementedHere

__all__ = [
    "AgentAPIError",
    "AgentConflictError",
    "AgentNotFoundError",
    "AgentNotImplementedError",
    "AgentspanError",
    "ConfigurationError",
    "CredentialAuthError",
    "CredentialNotFoundError",
    "CredentialRateLimitError",
    "CredentialServiceError",
    "HumanNeededError",
    "InvalidCronExpression",
    "ScheduleError",
    "ScheduleNameConflict",
    "ScheduleNotFound",
    "ServerUnreachableError",
    "SessionBusyError",
    "SkillLoadError",
    "TerminalToolError",
    "ToolArgumentError",
    "ToolSerializationError",
    "WorkerMissingError",
    "unbuilt",
]


def unbuilt(feature: str) -> NotImplementedHere:
    """The error for a documented feature that this version does not have; `feature` begins the sentence."""
    return NotImplementedHere(f"{feature} is not available in this version of agentspan yet")


class WorkerMissingError(AgentspanError):
    """The run waits for a tool that no live worker serves.

    `waiting_for` lists `{tool, queue, since (ms since the epoch), reason}`; `execution_id` is the run, which goes on.
    """

    def __init__(self, message: str = "", *, execution_id: str = "", waiting_for: list[dict[str, Any]] | None = None):
        super().__init__(message)
        self.execution_id = execution_id
        self.waiting_for = waiting_for or []


class HumanNeededError(AgentspanError):
    """The run waits for a person, and nobody is to be waited for (`on_human`).

    `request` is what is asked; `execution_id` is the run, which goes on waiting.
    """

    def __init__(self, message: str = "", *, execution_id: str = "", request: Any = None):
        super().__init__(message)
        self.execution_id = execution_id
        self.request = request


class SessionBusyError(AgentConflictError):
    """Another run writes the session: wait for its end, or cancel it.

    `session_id` is the session, `execution_id` the run that writes it ("" if the server did not name it).
    """

    def __init__(self, conflict: AgentConflictError, session_id: str) -> None:
        super().__init__(conflict.status_code, conflict.message, conflict.url)
        self.session_id = session_id
        named = re.search(r"execution ([\w.-]+)", conflict.message)
        self.execution_id = named[1] if named else ""


class ConfigurationError(ValueError):
    """A definition that cannot be used."""


class ToolSerializationError(TypeError):
    """A tool's result is not JSON."""


class ToolArgumentError(ValueError):
    """A tool was called with arguments that do not fit its parameters."""


class TerminalToolError(Exception):
    """Raise it in a tool when trying again cannot help: the task fails at once."""


class SkillLoadError(Exception):
    """A skill's folder cannot be read."""


class CredentialNotFoundError(AgentspanError):
    """A credential is not stored or not declared; `missing_names` lists which."""

    def __init__(self, missing_names: list[str] | str = (), detail: str = "") -> None:  # type: ignore[assignment]
        self.missing_names = [missing_names] if isinstance(missing_names, str) else list(missing_names)
        super().__init__(f"no such credential: {', '.join(self.missing_names)}" + (f" ({detail})" if detail else ""))


class CredentialAuthError(AgentspanError):
    """The server refused to hand out credentials (401)."""


class CredentialRateLimitError(AgentspanError):
    """Credentials were asked for too often (429)."""


class CredentialServiceError(AgentspanError):
    """Credentials could not be fetched; `status_code` is the HTTP status, 0 for no answer at all."""

    def __init__(self, status_code: int = 0, message: str = "") -> None:
        super().__init__(message or f"credentials could not be fetched (status {status_code})")
        self.status_code = status_code


class ScheduleError(AgentspanError):
    """A schedule cannot be used."""


class ScheduleNameConflict(ScheduleError):
    """A schedule of that name exists."""


class ScheduleNotFound(ScheduleError):
    """There is no schedule of that name."""


class InvalidCronExpression(ScheduleError):
    """The cron expression cannot be read."""
