"""Secrets: taken out of what is written to a file, and looked for in what is about to be."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

REMOVED = "<removed>"
FEWEST_CHARS = 8


class SecretLeft(AssertionError):
    """A secret would have been written to a file; nothing was written."""


def scrubbed(value: Any, secrets: Iterable[str] = ()) -> Any:
    """A JSON value without keys, tokens and passwords: by the name of a field, by their form, or as given."""
    known = sorted({*_of_environment(), *(each for each in secrets if each)}, key=len, reverse=True)
    return _scrub(value, known)


def verify(text: str, secrets: Iterable[str] = ()) -> None:
    """SecretLeft if a text still holds a secret."""
    for name, value in _named(secrets):
        if value in text or value.encode("unicode_escape").decode() in text:
            raise SecretLeft(
                f"{name} would have been written to the file; pass secrets=[...] or keep it out of the run"
            )
    if found := SHAPES.search(text):
        raise SecretLeft(f"what looks like a key would have been written to the file: {found[0][:6]}...")


def _scrub(value: Any, known: list[str]) -> Any:
    match value:
        case str():
            return _text(value, known)
        case Mapping():
            return {_text(str(key), known): _field(str(key), each, known) for key, each in value.items()}
        case list() | tuple():
            return [_scrub(each, known) for each in value]
        case _:
            return value


def _field(name: str, value: Any, known: list[str]) -> Any:
    if isinstance(value, str) and value and FIELDS.search(name):
        return REMOVED
    return _scrub(value, known)


def _text(text: str, known: list[str]) -> str:
    for each in known:
        text = text.replace(each, REMOVED)
    # JSON within a text, such as the arguments of a call.
    text = QUOTED.sub(lambda found: f"{found[1]}{REMOVED}{found[3]}" if FIELDS.search(found[2]) else found[0], text)
    return SHAPES.sub(REMOVED, text)


def _named(secrets: Iterable[str]) -> Iterator[tuple[str, str]]:
    for each in secrets:
        if each:
            yield "a given secret", each
    for name, value in os.environ.items():
        if _is_secret(name, value):
            yield f"the value of {name}", value


def _of_environment() -> list[str]:
    return [value for name, value in os.environ.items() if _is_secret(name, value)]


def _is_secret(name: str, value: str) -> bool:
    """A variable whose name says so, and whose value is no word, number or path."""
    if not VARIABLES.search(name) or len(value) < FEWEST_CHARS or any(each.isspace() for each in value):
        return False
    return not value.isalpha() and not value.isdigit() and not Path(value).exists()


FIELDS = re.compile(
    r"(^|[_-])(api[_-]?key|authorization|passw(or)?d|secret|(access|auth|refresh|bearer|id)[_-]?token|token|"
    r"private[_-]?key|credentials?|cookie)$|^(apiKey|accessToken|authToken|clientSecret|privateKey)$",
    re.IGNORECASE,
)
VARIABLES = re.compile(r"(^|_)(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$", re.IGNORECASE)
QUOTED = re.compile(r"""(\\?["']([\w-]{2,40})\\?["']\s*:\s*\\?["'])[^"'\\]+(\\?["'])""")
SHAPES = re.compile(
    r"\b(sk-[A-Za-z0-9_-]{16,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|xox[abprs]-[A-Za-z0-9-]{10,}"
    r"|AKIA[0-9A-Z]{16}|AIza[0-9A-Za-z_-]{30,}|hf_[A-Za-z0-9]{20,}|glpat-[\w-]{16,}"
    r"|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}|Bearer\s+[A-Za-z0-9._~+/=-]{12,})"
)
