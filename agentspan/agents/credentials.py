"""Credentials of tools. This version does not deliver them: asking for one says so."""

from dataclasses import dataclass
from typing import Any

from agentspan.agents.exceptions import (
    CredentialAuthError,
    CredentialNotFoundError,
    CredentialRateLimitError,
    CredentialServiceError,
    unbuilt,
)

__all__ = [
    "CredentialAuthError",
    "CredentialFile",
    "CredentialNotFoundError",
    "CredentialRateLimitError",
    "CredentialServiceError",
    "SubprocessIsolator",
    "WorkerCredentialFetcher",
    "get_credential",
    "get_secret",
    "resolve_credentials",
]


@dataclass(frozen=True)
class CredentialFile:
    """A credential that a tool reads as a file: `env_var` holds its path, `relative_path` its place."""

    env_var: str
    relative_path: str
    content: str | None = None


def get_credential(name: str) -> str:
    """The value of a credential, inside a tool that declares it."""
    raise unbuilt(f"Delivering credentials to tools (get_credential({name!r}))")


def get_secret(name: str) -> str:
    """As `get_credential`."""
    raise unbuilt(f"Delivering credentials to tools (get_secret({name!r}))")


def resolve_credentials(input_data: Any, names: list[str]) -> dict[str, str]:
    """The credentials of a task, for workers of your own."""
    raise unbuilt("Delivering credentials to tools (resolve_credentials)")


class WorkerCredentialFetcher:
    """Fetches credentials for a worker."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise unbuilt("Delivering credentials to tools (WorkerCredentialFetcher)")


class SubprocessIsolator:
    """Runs a tool in a process that sees only its credentials."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise unbuilt("Running a tool in an isolated process (SubprocessIsolator)")


def names_of(credentials: list[Any]) -> list[str]:
    """The names as they go over the wire."""
    return [str(getattr(each, "env_var", each)) for each in credentials]
