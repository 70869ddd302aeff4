"""The settings of a runtime: given, or read from the environment."""

import functools
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from importlib import import_module
from typing import Any

from agentspan.agents.deputy import checked_interrupt, deputy
from agentspan.agents.exceptions import ConfigurationError

DEFAULT_URL = "http://localhost:6767/api"


@dataclass
class AgentConfig:
    """Which server, as whom, and how tools are run.

    `server_url`: with or without `/api`; left at its default, a local server is found or started. `api_key`, or
    `auth_key` with `auth_secret`, or the `token` of a login: the credentials. `worker_thread_count`: how many tools
    that are plain functions run at once. `missing_worker_grace_seconds`: how long `run` and `join` wait for a worker
    that is not there before they raise WorkerMissingError. `auto_start_server`: may a local server be started?
    `auto_start_workers`: does this process serve the tools of the agents it starts? `on_human` (wait, fail, approve,
    reject, prompt) and `on_interrupt` (detach, cancel): what `run` and `join` do when a run waits for a person, and
    when they are interrupted. `user`: who starts runs and answers requests here, kept with both.
    `worker_poll_interval_ms`, `llm_retry_count`, `daemon_workers`,
    `streaming_enabled` and `credential_strict_mode` are kept for older programs: workers wait in long polls, model
    retries belong to the server, and threads never hold up the end of the process. `auto_register_integrations` warns:
    a server enables the models whose keys it has.
    """

    server_url: str = DEFAULT_URL
    api_key: str | None = None
    auth_key: str | None = None
    auth_secret: str | None = None
    llm_retry_count: int = 3
    worker_poll_interval_ms: int = 100
    worker_thread_count: int = 16
    auto_start_workers: bool = True
    auto_start_server: bool = True
    daemon_workers: bool = True
    auto_register_integrations: bool = False
    streaming_enabled: bool = True
    credential_strict_mode: bool = False
    log_level: str = "INFO"
    missing_worker_grace_seconds: float = 30.0
    on_human: str = "wait"
    on_interrupt: str = "detach"
    user: str | None = None
    token: str | None = None

    def __post_init__(self) -> None:
        url = self.server_url.strip().rstrip("/")
        self.server_url = url if url.endswith("/api") else f"{url}/api"
        if self.worker_thread_count < 1:
            raise ConfigurationError(f"worker_thread_count must be 1 or more, got {self.worker_thread_count}")
        if self.missing_worker_grace_seconds <= 0:
            raise ConfigurationError("missing_worker_grace_seconds must be above 0")
        deputy(self.on_human)
        checked_interrupt(self.on_interrupt)
        if self.user is not None and not (self.user.isascii() and self.user.isprintable()):
            raise ConfigurationError(f"user must be plain ASCII text, such as a login or an address, got {self.user!r}")
        if self.auto_register_integrations:
            _say_where_keys_belong()

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> "AgentConfig":
        """The settings of the environment; ConfigurationError names the variable that cannot be read."""
        return cls(**values_of_environment(os.environ if environ is None else environ))

    def to_conductor_configuration(self) -> Any:
        """The same server and credentials as a Configuration of conductor-python, for workers written with it.

        That package logs in with `auth_key` and `auth_secret`; ConfigurationError if there is only an `api_key`.
        """
        login = bool(self.auth_key and self.auth_secret)
        if self.api_key and not login:
            raise ConfigurationError("conductor-python needs auth_key and auth_secret: it cannot send an api_key")
        try:
            configuration = import_module("conductor.client.configuration.configuration").Configuration
            settings = import_module("conductor.client.configuration.settings.authentication_settings")
        except ImportError:
            raise ImportError(
                "to_conductor_configuration needs conductor-python: pip install conductor-python"
            ) from None
        keys = settings.AuthenticationSettings(key_id=self.auth_key, key_secret=self.auth_secret) if login else None
        return configuration(server_api_url=self.server_url, authentication_settings=keys)


def values_of_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """The fields that the environment sets."""
    values = {}
    kinds = {field.name: field.type for field in fields(AgentConfig)}
    for name, variable in VARIABLES.items():
        if (text := environ.get(variable, "").strip()) != "":
            values[name] = _read(variable, text, kinds[name])
    return values


@functools.cache
def _say_where_keys_belong() -> None:
    """Once in a process."""
    warnings.warn(KEYS_BELONG_TO_THE_SERVER, UserWarning, stacklevel=5)


def _read(variable: str, text: str, kind: Any) -> Any:
    read = READERS.get(kind, str)
    try:
        return read(text)
    except (ValueError, KeyError):
        raise ConfigurationError(f"{variable}={text!r} must be {WORDS[kind]}") from None


def _truth(text: str) -> bool:
    return {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}[
        text.lower()
    ]


KEYS_BELONG_TO_THE_SERVER = (
    "auto_register_integrations has nothing to register: models are enabled by their keys on the server "
    "(OPENAI_API_KEY and the like in its environment); the keys of this process are not sent"
)

READERS: dict[Any, Callable[[str], Any]] = {int: int, float: float, bool: _truth}
WORDS = {int: "a whole number", float: "a number", bool: "true or false"}

VARIABLES = {
    "server_url": "AGENTSPAN_SERVER_URL",
    "api_key": "AGENTSPAN_API_KEY",
    "auth_key": "AGENTSPAN_AUTH_KEY",
    "auth_secret": "AGENTSPAN_AUTH_SECRET",
    "llm_retry_count": "AGENTSPAN_LLM_RETRY_COUNT",
    "worker_poll_interval_ms": "AGENTSPAN_WORKER_POLL_INTERVAL",
    "worker_thread_count": "AGENTSPAN_WORKER_THREADS",
    "auto_start_workers": "AGENTSPAN_AUTO_START_WORKERS",
    "auto_start_server": "AGENTSPAN_AUTO_START_SERVER",
    "daemon_workers": "AGENTSPAN_DAEMON_WORKERS",
    "auto_register_integrations": "AGENTSPAN_INTEGRATIONS_AUTO_REGISTER",
    "streaming_enabled": "AGENTSPAN_STREAMING_ENABLED",
    "credential_strict_mode": "AGENTSPAN_CREDENTIAL_STRICT_MODE",
    "log_level": "AGENTSPAN_LOG_LEVEL",
    "missing_worker_grace_seconds": "AGENTSPAN_MISSING_WORKER_GRACE",
    "on_human": "AGENTSPAN_ON_HUMAN",
    "on_interrupt": "AGENTSPAN_ON_INTERRUPT",
    "user": "AGENTSPAN_USER",
    "token": "AGENTSPAN_TOKEN",
}
"""The environment variable of each setting."""
