"""Every exception of agentspan, each with the HTTP status that reports it.

AgentspanError (500)
├── BadInput (400)              what was sent cannot be used; the message says what to change
│   └── InvalidSpec (400)       an agent definition that cannot run
├── Unauthorized (401)          no or wrong credentials
├── Forbidden (403)             a request from a foreign origin or host
├── NotFound (404)              no such execution, task or definition
├── Conflict (409)              the state does not allow it: already answered, already ended, not paused
├── TooLarge (413)              a body over the limit
├── TooMany (429)               asked too often; wait and try again
├── NotImplementedHere (501)    a documented feature that this version does not have yet (a NotImplementedError too)
├── Unavailable (503)           the database is away or the server is draining; try again
├── ConfigurationProblem (500)  a setting that stops the start
├── StoreProblem (500)          the database cannot be opened: locked, wrong schema, wrong password
└── ModelFailure (502)          a provider's error, retryable or not
"""


class AgentspanError(Exception):
    """Base of every error that agentspan raises."""

    status = 500
    retryable = False

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (self.__doc__ or "").strip().splitlines()[0])

    @property
    def message(self) -> str:
        return str(self.args[0])


class BadInput(AgentspanError):
    """What was sent cannot be used."""

    status = 400


class InvalidSpec(BadInput):
    """The agent definition cannot run."""


class Unauthorized(AgentspanError):
    """No or wrong credentials."""

    status = 401


class Forbidden(AgentspanError):
    """The request comes from a host or an origin that is not allowed."""

    status = 403


class NotFound(AgentspanError):
    """There is no such thing."""

    status = 404


class Conflict(AgentspanError):
    """The present state does not allow this."""

    status = 409


class TooLarge(AgentspanError):
    """The body is larger than this server accepts."""

    status = 413


class TooMany(AgentspanError):
    """This was asked too often. It may be asked again after `after_seconds`, where that is known."""

    status = 429
    retryable = True

    def __init__(self, message: str = "", after_seconds: float = 0) -> None:
        super().__init__(message)
        self.after_seconds = after_seconds


class NotImplementedHere(AgentspanError, NotImplementedError):
    """This version does not have this feature yet."""

    status = 501


class Unavailable(AgentspanError):
    """The server cannot do this right now; try again."""

    status = 503
    retryable = True


class ConfigurationProblem(AgentspanError):
    """A setting is wrong."""


class StoreProblem(AgentspanError):
    """The database cannot be opened."""


class ModelFailure(AgentspanError):
    """A model provider answered with an error.

    `retryable` says whether another attempt can succeed; `retry_after_ms` is the provider's own wish, if it gave one.
    `cause` is rate_limit, timeout, context (the conversation is too long), refusal or error.
    """

    status = 502

    def __init__(
        self, message: str, *, retryable: bool = False, retry_after_ms: int | None = None, cause: str = "error"
    ) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.retry_after_ms = retry_after_ms
        self.cause = cause
