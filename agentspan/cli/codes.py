"""The exit codes of every command: what a script can tell apart."""

from agentspan.errors import AgentspanError

DONE = 0
FAILED = 1
USAGE = 2
RUN_FAILED = 3
WAITING = 4
TIMEOUT = 5
CANCELLED = 6
AUTH = 7
NOT_FOUND = 8
UNREACHABLE = 9
INTERRUPTED = 130


def code_of(problem: BaseException) -> int:
    """The exit code of an error."""
    if isinstance(problem, ConnectionError):
        return UNREACHABLE
    if isinstance(problem, TimeoutError):
        return TIMEOUT
    return BY_HTTP_STATUS.get(problem.status, FAILED) if isinstance(problem, AgentspanError) else FAILED


def code_of_run(status: str) -> int:
    """The exit code of a command that waited for a run; a run that has not ended is no failure."""
    return BY_RUN_STATUS.get(status, DONE)


BY_HTTP_STATUS = {
    400: USAGE,
    401: AUTH,
    403: AUTH,
    404: NOT_FOUND,
    413: USAGE,
    502: UNREACHABLE,
    503: UNREACHABLE,
    504: UNREACHABLE,
}
BY_RUN_STATUS = {"COMPLETED": DONE, "FAILED": RUN_FAILED, "TIMED_OUT": TIMEOUT, "TERMINATED": CANCELLED}
MEANINGS = {
    DONE: "done",
    FAILED: "anything else: the state does not allow it, a setting is wrong, `diff` found a difference",
    USAGE: "the command line is wrong, or what it gave cannot be used",
    RUN_FAILED: "the run failed",
    WAITING: "the run waits for a person",
    TIMEOUT: "the run, or the waiting for it, took longer than its time",
    CANCELLED: "the run was cancelled",
    AUTH: "no or wrong credentials, or a role that may not do this",
    NOT_FOUND: "there is no such run, agent, request or other thing",
    UNREACHABLE: "no server answers, or it cannot serve now",
    INTERRUPTED: "interrupted by Ctrl-C; the run goes on",
}
"""What each code says; the docs are drawn from it."""
