"""`agentspan credentials`: store, list, delete, and let names stand for others. A value never is an argument."""

import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from agentspan.cli.extras import needs
from agentspan.errors import BadInput

if TYPE_CHECKING:
    from agentspan.client.client import Client

app = typer.Typer(help="The secrets of tools, kept by the server.", no_args_is_help=True)

T = TypeVar("T")

Name = typer.Argument(help="Name of the credential, such as GITHUB_TOKEN.")
FromFile = typer.Option(None, "--from-file", help="Take the content of a file, as it is.")


@app.command("set")
def store(
    name: str = Name,
    from_file: Path | None = FromFile,
    from_env: str | None = typer.Option(None, "--from-env", help="Take the value of an environment variable."),
) -> None:
    """Store a credential, or replace it: a value that is typed in, or read from standard input."""
    value = _value(name, from_file, from_env)
    _ask(lambda client: client.save_credential(name, value))
    print(f"stored {name}")


@app.command("list")
def names(as_json: bool = typer.Option(False, "--json", help="As JSON.")) -> None:
    """List the credentials by name; their values are never shown."""
    found = _ask(lambda client: client.credentials())
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for each in found:
        print(f"{each['name']:<32} {each['partial']:<12} {each['updated_at']}")


@app.command()
def delete(name: str = Name) -> None:
    """Delete a credential."""
    _ask(lambda client: client.delete_credential(name))
    print(f"deleted {name}")


@app.command()
def bind(
    name: str = typer.Argument(help="The name that tools declare."),
    stored: str = typer.Argument(help="The name of the stored credential that it stands for."),
) -> None:
    """Let a name stand for a stored credential."""
    _ask(lambda client: client.bind_credential(name, stored))
    print(f"{name} stands for {stored}")


@app.command()
def unbind(name: str = typer.Argument(help="The name that tools declare.")) -> None:
    """Let a name stand for itself again."""
    _ask(lambda client: client.unbind_credential(name))
    print(f"{name} stands for itself")


@app.command()
def bindings(as_json: bool = typer.Option(False, "--json", help="As JSON.")) -> None:
    """List the names that stand for stored credentials of other names."""
    found = _ask(lambda client: client.bindings())
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for each in found:
        print(f"{each['logical_key']:<32} {each['store_name']}")


def _value(name: str, from_file: Path | None, from_env: str | None) -> str:
    """The value from where it is; BadInput with where to put it."""
    if from_file is not None and from_env is not None:
        raise BadInput("take the value from a file or from a variable, not from both")
    if from_file is not None:
        try:
            return from_file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as problem:
            raise BadInput(f"{from_file} cannot be read as text: {problem}") from problem
    if from_env is not None:
        if from_env not in os.environ:
            raise BadInput(f"there is no environment variable {from_env}")
        return os.environ[from_env]
    if sys.stdin.isatty():
        typed: str = typer.prompt(f"Value of {name}", hide_input=True)
        return typed
    return sys.stdin.read().removesuffix("\n").removesuffix("\r")


def _ask(work: "Callable[[Client], Awaitable[T]]") -> T:
    """Do it with the client of the server that the environment names, or of the local one."""
    with needs("sdk"):
        from agentspan.agents import AgentRuntime

    with AgentRuntime() as runtime:

        async def asked() -> Any:
            return await work(await runtime.client())

        answer: T = runtime.portal.call(asked())
        return answer
