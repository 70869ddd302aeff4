"""What a handle needs of the runtime that it belongs to, and which runtime is the process's own."""

from collections.abc import Callable
from typing import Any, Protocol

from agentspan.client.client import Client
from agentspan.client.portal import Portal


class Host(Protocol):
    """A runtime, as handles see it."""

    @property
    def portal(self) -> Portal:
        """Where its coroutines run."""
        ...

    @property
    def missing_worker_grace_seconds(self) -> float:
        """How long to wait for a worker that is not there."""
        ...

    @property
    def on_human(self) -> str:
        """Who answers what runs ask, if the waiting does not say."""
        ...

    @property
    def on_interrupt(self) -> str:
        """What becomes of a run whose waiting is interrupted, if the waiting does not say."""
        ...

    async def client(self) -> Client:
        """The client of its server."""
        ...

    def forget(self, domain: str) -> None:
        """The run whose tools were served in this domain has ended."""
        ...

    async def take_up(self, agent: Any, domain: str | None) -> None:
        """Serve the tools of a run of this Agent in its domain (again)."""
        ...


def own_host() -> Host:
    """The process's own runtime, made at first use."""
    return _own[-1]()


def use(make: Callable[[], Host]) -> None:
    """Say how the process's own runtime is made."""
    _own.append(make)


_own: list[Callable[[], Host]] = []
