"""Credentials of tools: declared by name, fetched for one call, there while it runs, kept out of what it says.

A tool reads them by `get_credential(name)`; a plain function finds them in its environment too. Where a result, an
error or a printed line holds a value, it leaves this process as `${NAME}`: neither the model nor the history sees it.
"""

import contextvars
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from agentspan.agents.exceptions import (
    CredentialAuthError,
    CredentialNotFoundError,
    CredentialRateLimitError,
    CredentialServiceError,
)
from agentspan.client.client import Client
from agentspan.client.errors import AgentAPIError, ServerUnreachableError
from agentspan.spec.credentials import name_problem

__all__ = [
    "CredentialAuthError",
    "CredentialFile",
    "CredentialNotFoundError",
    "CredentialRateLimitError",
    "CredentialServiceError",
    "get_credential",
    "get_secret",
]

Json = dict[str, Any]
Resolve = Callable[[str, Sequence[str]], Awaitable[dict[str, str]]]
"""Asks the server for the values of names, with an execution token."""

EXECUTION = "__agentspan_ctx__"
"""Where a task's input holds its execution token."""


@dataclass(frozen=True)
class CredentialFile:
    """A credential that a tool reads as a file. While the tool runs, the variable `env_var` holds the path of a file
    at `relative_path` in a folder of its own. The content is the credential stored under the name `env_var`, or
    `content`."""

    env_var: str
    relative_path: str
    content: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        path = PurePath(self.relative_path)
        if not path.parts or path.is_absolute() or ".." in path.parts:
            raise ValueError(f"relative_path must be a path within the call's folder, got {self.relative_path!r}")


@dataclass(frozen=True)
class Given:
    """What one call is given: values by name, and which of them it reads as files."""

    tool: str = ""
    values: dict[str, str] = field(default_factory=dict, repr=False)
    files: dict[str, CredentialFile] = field(default_factory=dict)


def get_credential(name: str) -> str:
    """The value of a credential that the running tool, its agent or its run declares; CredentialNotFoundError.

    A thread that a tool starts by itself knows it only if it runs in a copy of the tool's context, as those of
    `asyncio.to_thread` do.
    """
    given = _given.get()
    if given is None:
        raise CredentialNotFoundError([name], "credentials are there inside a tool that declares them")
    if name not in given.values:
        has = ", ".join(given.values) or "none"
        raise CredentialNotFoundError([name], f"{given.tool} is given: {has}; declare it by credentials=[{name!r}]")
    return given.values[name]


def get_secret(name: str) -> str:
    """As `get_credential`."""
    return get_credential(name)


# For the worker


async def given_to(tool: str, own: Sequence[Any], inherited: Sequence[Any], task: Json, resolve: Resolve) -> Given:
    """What a call of a tool is given: what it declares itself, else what the server says that the agent and the run
    do. CredentialNotFoundError if something is missing."""
    files = {each.env_var: each for each in own or inherited if isinstance(each, CredentialFile)}
    names = names_of(own) if own else list(_told(task).get("credentials") or ())
    values = await values_of(task, names, resolve)
    here = {name: each.content for name, each in files.items() if each.content is not None}
    return Given(tool, {**values, **here}, files)


def come_with(name: str, task: Json) -> Given | None:
    """What came with a task that is no tool's: nobody misses what is not there."""
    values = task.get("runtimeMetadata")
    return Given(name, dict(values)) if values else None


async def values_of(task: Json, names: Sequence[str], resolve: Resolve) -> dict[str, str]:
    """The values of all these names: those that came with the task, and the rest by its token."""
    have = {name: value for name, value in (task.get("runtimeMetadata") or {}).items() if name in names}
    missing = [name for name in names if name not in have]
    if not missing:
        return have
    told = _told(task)
    if problem := told.get("problem"):
        raise CredentialServiceError(0, str(problem))
    token = told.get("execution_token")
    if token:
        have |= await resolve(token, missing)
    if missing := [name for name in missing if name not in have]:
        hint = f"store it with `agentspan credentials set {missing[0]}`" if token else "the task came without a token"
        raise CredentialNotFoundError(missing, hint)
    return have


async def asked(client: Client, token: str, names: Sequence[str]) -> dict[str, str]:
    """What the server says, or one of the errors of credentials."""
    try:
        return await client.resolve_credentials(token, names)
    except AgentAPIError as problem:
        match problem.status_code:
            case 401 | 403:
                raise CredentialAuthError(problem.message) from problem
            case 429:
                raise CredentialRateLimitError(problem.message) from problem
            case status:
                raise CredentialServiceError(status, problem.message) from problem
    except ServerUnreachableError as problem:
        raise CredentialServiceError(0, problem.message) from problem


async def nobody(token: str, names: Sequence[str]) -> dict[str, str]:
    """Where there is no server to ask, nothing is stored."""
    return {}


@contextmanager
def known(given: Given | None) -> Iterator[None]:
    """While this lasts, the code of the present context may ask for what is given."""
    token = _given.set(given)
    try:
        yield
    finally:
        _given.reset(token)


# What may be declared


def checked(credentials: Sequence[Any] | None) -> list[Any]:
    """Credentials as they are declared: names, or CredentialFiles. TypeError, ValueError."""
    if isinstance(credentials, str):
        raise TypeError(f"credentials must be a list of names: [{credentials!r}]")
    for each in credentials or ():
        if not isinstance(each, (str, CredentialFile)):
            raise TypeError(f"a credential is a name or a CredentialFile, got {type(each).__name__}")
        if problem := name_problem(getattr(each, "env_var", each)):
            raise ValueError(problem)
    return list(credentials or ())


def names_of(credentials: Sequence[Any]) -> list[str]:
    """The names as they go over the wire: not of files whose content is here."""
    return [str(getattr(each, "env_var", each)) for each in credentials if getattr(each, "content", None) is None]


def names_for_run(credentials: Sequence[Any] | None) -> list[str]:
    """The names that a whole run is started with. TypeError for files, which belong to the tools that read them."""
    if file := next((each for each in checked(credentials) if isinstance(each, CredentialFile)), None):
        raise TypeError(f"a run is started with names; declare CredentialFile({file.env_var!r}) where a tool reads it")
    return list(credentials or ())


def _told(task: Json) -> Json:
    """What the server says of the credentials of a task."""
    data = task.get("inputData") or {}
    told = data.get(EXECUTION) or (data.get("workflow_input") or {}).get(EXECUTION) or {}
    return told if isinstance(told, dict) else {"execution_token": told}


_given: contextvars.ContextVar[Given | None] = contextvars.ContextVar("agentspan_credentials", default=None)
