"""What can go wrong between a client and a server.

AgentspanError
├── AgentAPIError               the server answered with an error status; its own message is the message
│   ├── AgentNotFoundError      404
│   ├── AgentConflictError      409
│   └── AgentNotImplementedError  501 (a NotImplementedError too)
└── ServerUnreachableError      nobody answers at that address (a ConnectionError too)
"""

from typing import Any

from agentspan.errors import AgentspanError

TEXT_LIMIT = 500


class AgentAPIError(AgentspanError):
    """The server answered with an error.

    `status_code` is the HTTP status, `message` the server's own sentence, `url` the address that was asked.
    """

    def __init__(self, status_code: int, message: str, url: str = "", *, retryable: bool = False) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.status = status_code
        self.url = url
        self.retryable = retryable

    def __str__(self) -> str:
        return f"{self.status_code}: {self.message}" + (f" ({self.url})" if self.url else "")


class AgentNotFoundError(AgentAPIError):
    """The server knows no such execution, agent or task."""


class AgentConflictError(AgentAPIError):
    """What is asked does not fit how things stand: answered already, ended already, being written by another run."""


class AgentNotImplementedError(AgentAPIError, NotImplementedError):
    """The server does not have this feature."""


class ServerUnreachableError(AgentspanError, ConnectionError):
    """No agentspan server answers; the message says at which address and what to start."""


def api_error(status_code: int, body: Any, text: str, url: str) -> AgentAPIError:
    """The error of an answer: `body` is its JSON if it is JSON, `text` the raw text."""
    fields = body if isinstance(body, dict) else {}
    message = fields.get("message") or fields.get("error") or text.strip()[:TEXT_LIMIT] or "no explanation given"
    kind = KINDS.get(status_code, AgentAPIError)
    return kind(status_code, str(message), url, retryable=bool(fields.get("retryable")))


KINDS: dict[int, type[AgentAPIError]] = {
    404: AgentNotFoundError,
    409: AgentConflictError,
    501: AgentNotImplementedError,
}
