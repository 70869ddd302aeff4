"""The server that commands speak to: found, or started if it is the local one, and as whom."""

import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from agentspan.cli import profiles
from agentspan.cli.extras import needs
from agentspan.client import launch
from agentspan.errors import ConfigurationProblem

if TYPE_CHECKING:
    from agentspan.agents import AgentRuntime
    from agentspan.client.client import Client

T = TypeVar("T")


class Place(NamedTuple):
    """A server's address, and the credentials for it."""

    url: str
    credentials: dict[str, str]
    is_local: bool


def place() -> Place:
    """The server that the options, the environment or the profile name, or else the local one."""
    shown = profiles.credentials()
    if url := profiles.setting("server_url"):
        return Place(url, shown, is_local=False)
    server = launch.find_or_start()
    if server.started:
        note(f"agentspan: started a local server at {server.url}")
    return Place(server.url, shown, is_local=True)


def client(at: Place | None = None) -> "Client":
    """A client of it; close it."""
    with needs("sdk"):
        from agentspan.client.client import Client
    at = at or place()
    return Client(at.url, **at.credentials, revive=launch.revive if at.is_local else None)  # type: ignore[arg-type]


def ask(work: "Callable[[Client], Awaitable[T]]", by: "Client | None" = None) -> T:
    """Do it with a client of the server, or with this one, and wait for it."""
    found = by or client()
    from agentspan.client.portal import portal

    async def asked() -> Any:
        async with found:
            return await work(found)

    answer: T = portal().call(asked())
    return answer


def runtime(**settings: Any) -> "AgentRuntime":
    """The SDK's runtime for the same server, as the same person; `settings`: what is otherwise than they say."""
    with needs("sdk"):
        from agentspan.agents import AgentConfig, AgentRuntime
    found = profiles.credentials()
    as_whom: dict[str, Any] = {key: found.get(key) for key in (*profiles.CREDENTIALS, "user")}
    try:
        config = replace(AgentConfig.from_env(), **as_whom, **settings)
    except ValueError as problem:
        raise ConfigurationProblem(str(problem)) from problem
    return AgentRuntime(server_url=profiles.setting("server_url"), config=config)


def note(text: str) -> None:
    """Say something that is no data."""
    print(text, file=sys.stderr, flush=True)
