"""What is told of a call of the user's function: the result as JSON, what it did to the state, why it failed."""

import os
import traceback
from typing import Any

from agentspan.agents.encode import output_of
from agentspan.agents.exceptions import (
    CredentialAuthError,
    CredentialNotFoundError,
    CredentialRateLimitError,
    CredentialServiceError,
    TerminalToolError,
    ToolArgumentError,
    ToolSerializationError,
)
from agentspan.agents.pool import cause_of

Json = dict[str, Any]

TRACEBACK_LINES = 30


class Failure(Exception):
    """A call that has failed, told and done with. `reason`: one sentence; `lines`: the traceback, for the task's log;
    `is_final`: another attempt cannot change it."""

    def __init__(self, reason: str, lines: list[str], *, is_final: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.lines, self.is_final = reason, lines, is_final

    @classmethod
    def of(cls, raised: BaseException) -> "Failure":
        """What there is to tell of an exception."""
        if isinstance(raised, Failure):
            return raised
        problem = cause_of(raised)
        # What is wrong with a call is told by its reason; the lines would be ours, not the user's.
        lines = [] if isinstance(problem, (ToolArgumentError, ToolSerializationError)) else traceback_of(problem)
        return cls(reason_of(problem), lines, is_final=isinstance(problem, FINAL))


def output_and_changes(tool: str, value: Any, before: Json, after: Json) -> Json:
    """A tool's result, and what it did to the shared state in the keys that the server knows."""
    changed = {key: one for key, one in after.items() if key not in before or before[key] != one}
    gone = [key for key in before if key not in after]
    told: Json = {"_state_updates": output_of("the state", changed)} if changed else {}
    return {**output_of(tool, value), **told, **({"_state_deletions": gone} if gone else {})}


def reason_of(problem: BaseException) -> str:
    text = str(problem)
    return f"{type(problem).__name__}: {text}" if text else type(problem).__name__


def traceback_of(problem: BaseException) -> list[str]:
    """The last lines of the traceback, without the frames of this package."""
    frames = [each for each in traceback.extract_tb(problem.__traceback__) if _HERE not in each.filename]
    lines = [
        *traceback.format_list(frames),
        *traceback.format_exception_only(type(problem), problem),
    ]
    return "".join(lines).rstrip().splitlines()[-TRACEBACK_LINES:]


FINAL = (
    TerminalToolError,
    ToolArgumentError,
    ToolSerializationError,
    NotImplementedError,
    CredentialAuthError,
    CredentialNotFoundError,
    CredentialRateLimitError,
    CredentialServiceError,
)
"""What another attempt cannot change; the model gets the message at once."""

_HERE = os.path.dirname(os.path.abspath(__file__))
