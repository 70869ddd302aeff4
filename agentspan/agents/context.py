"""What a tool may know about the call it serves."""

import threading
from dataclasses import dataclass, field
from typing import Any


@dataclass
class ToolContext:
    """Injected into a tool's parameter annotated `ToolContext` (or called `context` and not annotated).

    `session_id`, `execution_id`, `agent_name`: of the run and of the agent that made the call. `metadata` and
    `dependencies`: what the Agent was made with. `state`: the run's shared state; what the tool sets or deletes in it
    is seen by the later calls of the run. `idempotency_key`: the same for every attempt of one call and for no other:
    pass it on to whatever must not happen twice. `attempt`: 0 for the first. `task_id`: of this attempt.
    """

    session_id: str = ""
    execution_id: str = ""
    agent_name: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    dependencies: dict[str, Any] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)
    idempotency_key: str = ""
    attempt: int = 0
    task_id: str = ""
    _lost: threading.Event = field(default_factory=threading.Event, repr=False, compare=False)

    @property
    def cancelled(self) -> bool:
        """Was the call cancelled, or handed to another worker? A long tool should look now and then, and return."""
        return self._lost.is_set()

    def wait_cancelled(self, timeout: float) -> bool:
        """Sleep `timeout` seconds unless the call is cancelled before; True if it was."""
        return self._lost.wait(timeout)
