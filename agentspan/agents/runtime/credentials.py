"""Credentials for workers of your own, and the names of `agentspan.agents.credentials` where programs look for them."""

from collections.abc import Sequence
from typing import Any

from agentspan.agents.credentials import (
    CredentialAuthError,
    CredentialFile,
    CredentialNotFoundError,
    CredentialRateLimitError,
    CredentialServiceError,
    asked,
    get_credential,
    get_secret,
    values_of,
)
from agentspan.agents.isolation import SubprocessIsolator
from agentspan.agents.runtime.config import AgentConfig
from agentspan.client.client import Client
from agentspan.client.portal import portal

Json = dict[str, Any]

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


def resolve_credentials(input_data: Any, names: list[str]) -> dict[str, str]:
    """The credentials of a task, for workers of your own: of a Conductor Task, its JSON, or its input data.

    What came with the task is used, the rest is asked of the server that the environment names. CredentialNotFoundError
    lists what is not stored or not declared.
    """
    fetcher = WorkerCredentialFetcher()
    return portal().call(values_of(_as_json(input_data), names, fetcher.fetch_async))


class WorkerCredentialFetcher:
    """Asks a server for credentials with an execution token: the server of `config`, or of the environment."""

    def __init__(self, server_url: str | None = None, api_key: str | None = None, *, config: Any = None) -> None:
        self._url, self._api_key, self._config = server_url, api_key, config

    def fetch(self, token: str, names: Sequence[str]) -> dict[str, str]:
        """See `fetch_async`."""
        return portal().call(self.fetch_async(token, names))

    async def fetch_async(self, token: str, names: Sequence[str]) -> dict[str, str]:
        """The values of those names that are stored and that the token's run declares. CredentialAuthError,
        CredentialRateLimitError, CredentialServiceError."""
        config = self._config or AgentConfig.from_env()
        async with Client(
            self._url or config.server_url,
            api_key=self._api_key or config.api_key,
            auth_key=config.auth_key,
            auth_secret=config.auth_secret,
        ) as client:
            return await asked(client, token, names)


def _as_json(given: Any) -> Json:
    """The parts of a task that count here, from any form of it."""
    if hasattr(given, "input_data"):
        return {"inputData": given.input_data, "runtimeMetadata": getattr(given, "runtime_metadata", None)}
    return given if "inputData" in given else {"inputData": given}
