"""What is given on the command line, read: JSON, files, the standard input, times, secrets."""

import json
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import typer

from agentspan.errors import AgentspanError, BadInput

Json = dict[str, Any]


def plain_url(url: str | None) -> str | None:
    """The URL of a database, of a command line, where a password could be read by everybody on this machine."""
    if url and urlsplit(url.removeprefix("jdbc:")).password:
        raise typer.BadParameter(
            "a password is no argument: put the URL into AGENTSPAN_DATABASE_URL, or the password into PGPASSWORD or a"
            " password file"
        )
    return url


def text_of(given: str) -> str:
    """The text itself, the content of `@FILE`, or with `-` the standard input."""
    if given == "-":
        return sys.stdin.read()
    return file_text(Path(given[1:])) if given.startswith("@") else given


def json_of(given: str, what: str) -> Any:
    """JSON, or JSON in `@FILE` or at the standard input."""
    text = text_of(given)
    try:
        return json.loads(text)
    except ValueError as problem:
        raise BadInput(f"{what} is not JSON: {text[:200]!r} ({problem})") from problem


def object_of(given: str, what: str) -> Json:
    """A JSON object."""
    value = json_of(given, what)
    if not isinstance(value, dict):
        raise BadInput(f"{what} must be a JSON object, not {given!r}")
    return value


def value_of(text: str) -> Any:
    """JSON where it is JSON, else the text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def limits_of(given: str) -> Json:
    """Limits such as `cost=0.5,tokens=1000`, or a JSON object of them."""
    if given.lstrip().startswith(("{", "@")):
        return object_of(given, "--budget")
    pairs = [part.partition("=") for part in given.split(",") if part.strip()]
    if not pairs or not all(equals for _, equals, _ in pairs):
        raise BadInput(f"--budget is such as cost=0.5,tokens=1000, not {given!r}")
    return {name.strip(): value_of(text.strip()) for name, _, text in pairs}


def since_of(given: str | None, what: str = "--since") -> int | None:
    """A moment in ms since the epoch: how long ago, or a date with or without a time."""
    if not given:
        return None
    if ago := AGO.fullmatch(given):
        return int((time.time() - float(ago[1]) * SECONDS[ago[2]]) * 1000)
    try:
        return int(datetime.fromisoformat(given).timestamp() * 1000)
    except ValueError:
        raise BadInput(f"{what} is such as 15min, 2h, 7d or 2026-01-31T12:00, not {given!r}") from None


def seconds_of(given: str | None, what: str) -> float | None:
    """A length of time such as 30, 90s, 15min, 2h or 7d."""
    if given is None:
        return None
    if found := AGO.fullmatch(given if given[-1:].isalpha() else f"{given}s"):
        return float(found[1]) * SECONDS[found[2]]
    raise BadInput(f"{what} is such as 90s, 15min, 2h or 7d, not {given!r}")


def words_of(given: str | None) -> list[str] | None:
    """Words between commas."""
    return [part.strip() for part in given.split(",") if part.strip()] if given else None


def file_text(path: Path) -> str:
    """The text of a file; BadInput if it has none."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise BadInput(f"{path} cannot be read as text: {problem}") from problem


def readable(value: Any) -> str:
    """A value as text for a person."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2, default=str)


def secret_of(name: str, from_file: Path | None, from_env: str | None, stdin: bool = False, twice: bool = False) -> str:
    """A secret from where nobody sees it: a file, a variable, the standard input, or typed without an echo."""
    if sum((from_file is not None, from_env is not None, stdin)) > 1:
        raise BadInput("take the value from a file, a variable or the standard input, not from both")
    if from_file is not None:
        return file_text(from_file)
    if from_env is not None:
        if from_env not in os.environ:
            raise BadInput(f"there is no environment variable {from_env}")
        return os.environ[from_env]
    if sys.stdin.isatty() and not stdin:
        typed: str = typer.prompt(f"Value of {name}", hide_input=True, confirmation_prompt=twice, err=True)
        return typed
    return sys.stdin.read().removesuffix("\n").removesuffix("\r")


def sure(question: str, yes: bool) -> None:
    """Ask whoever is at the terminal before something is lost; a program says --yes."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise BadInput(f"{question} Say so with --yes")
    if not typer.confirm(question, err=True):
        raise typer.Exit(1)


@contextmanager
def one_sentence(what: str) -> Iterator[None]:
    """Whatever the user's own code raises when it is loaded is told in a sentence."""
    try:
        yield
    except AgentspanError:
        raise
    except Exception as problem:  # a module may fail with anything
        raise BadInput(f"{what} cannot be loaded: {type(problem).__name__}: {problem}") from problem


AGO = re.compile(r"(\d+(?:\.\d+)?) *(s|min|m|h|d|w)")
SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}

FromFile = typer.Option(None, "--from-file", help="Take the content of a file, as it is.")
FromEnv = typer.Option(None, "--from-env", help="Take the value of an environment variable.")
FromStdin = typer.Option(False, "--stdin", help="Take what the standard input says.")
