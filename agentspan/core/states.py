"""The words for where a thing stands, and which step may follow which. Status words are Conductor's."""

from enum import StrEnum


class Status(StrEnum):
    """Of an execution."""

    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    TIMED_OUT = "TIMED_OUT"
    TERMINATED = "TERMINATED"


class Kind(StrEnum):
    """Who performs a task."""

    LLM = "llm"
    WORKER = "worker"
    HTTP = "http"
    MCP = "mcp"
    HUMAN = "human"
    AGENT = "agent"


class Purpose(StrEnum):
    """What a task's result is for."""

    THINK = "think"
    ACT = "act"
    APPROVE = "approve"
    SPEAK = "speak"
    JUDGE = "judge"
    CHOOSE = "choose"
    WAIT = "wait"
    HOOK = "hook"
    BRIEF = "brief"
    CONDENSE = "condense"


class Verdict(StrEnum):
    """What a guardrail says."""

    PASS = "pass"
    RETRY = "retry"
    RAISE = "raise"
    FIX = "fix"
    HUMAN = "human"


class CallState(StrEnum):
    """Of one tool call of the present turn."""

    NEW = "new"
    ASKED = "asked"
    APPROVED = "approved"
    REJECTED = "rejected"
    RUNNING = "running"
    DONE = "done"
    FAULTY = "faulty"
    REFUSED = "refused"


ENDED = frozenset({Status.COMPLETED, Status.FAILED, Status.TIMED_OUT, Status.TERMINATED})

STEPS: dict[Status, frozenset[Status]] = {
    Status.RUNNING: frozenset({Status.PAUSED, *ENDED}),
    Status.PAUSED: frozenset({Status.RUNNING, *ENDED}),
    Status.COMPLETED: frozenset(),
    Status.FAILED: frozenset({Status.RUNNING}),
    Status.TIMED_OUT: frozenset({Status.RUNNING}),
    Status.TERMINATED: frozenset({Status.RUNNING}),
}
"""Execution statuses. The only way out of an ending is a retry, which is an event of its own; COMPLETED has none."""
