"""What the engine asks of each of its built-in workers, whatever they perform."""

from typing import Protocol

from agentspan.store.views import Want


class Builtin(Protocol):
    """Performs the tasks of one kind in this process, each as an asyncio task, leased to the server that it is in."""

    queue: Want

    @property
    def busy(self) -> list[str]:
        """The tasks in flight."""
        ...

    def start(self) -> None:
        """Begin to take tasks."""
        ...

    def cancel(self, task_id: str) -> None:
        """The attempt was settled elsewhere: stop it. One that is not here is no matter."""
        ...

    async def drain(self, seconds: float) -> list[str]:
        """Take nothing new, wait, then give up what is still running; gives those tasks."""
        ...
