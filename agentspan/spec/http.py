"""A tool that is an HTTP request: its placeholders, where its arguments go, and what makes it impossible to perform."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from agentspan.spec.tool import ToolSpec

ARGUMENT = re.compile(r"(?<![$#])\{(\w+)\}")
"""In a URL: the argument of that name stands here."""
CREDENTIAL = re.compile(r"[$#]\{([\w.-]+)\}")
"""In a header: the value of that credential stands here."""

METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
SAFE = ("GET", "HEAD", "OPTIONS")
WITHOUT_BODY = (*SAFE, "DELETE")
OWN = (
    "connection", "content-length", "expect", "host", "keep-alive", "proxy-authorization", "proxy-connection", "te",
    "trailer", "transfer-encoding", "upgrade",
)  # fmt: skip
"""Headers that belong to the connection."""


def problems(tool: ToolSpec) -> Iterator[str]:
    """Why a tool of type http can never be performed; nothing if it can."""
    url, method = tool.config.get("url"), str(tool.config.get("method") or "GET").upper()
    if not isinstance(url, str) or not _URL.fullmatch(url):
        yield f"its url must begin with http:// or https:// and a host without placeholders, got {url!r}"
        return
    if CREDENTIAL.search(url):
        yield "its url holds a credential, which would be seen in the logs of others: put it into a header"
    properties = tool.input_schema.get("properties") or {}
    if missing := [name for name in ARGUMENT.findall(url) if name not in properties]:
        yield f"its url has places for {', '.join(missing)}, which its inputSchema does not have"
    if method not in METHODS:
        yield f"its method must be one of {', '.join(METHODS)}, got {method!r}"
    yield from header_problems(tool)
    places = tool.config.get("places") or {}
    if not isinstance(places, dict):
        yield f"its places must be an object of texts, got {type(places).__name__}"
        return
    for argument, where in places.items():
        word, name = place({argument: str(where)}, argument, "")
        yield from filter(None, [place_problem(f"{word}:{name}")])
    if "multipart" in str(tool.config.get("contentType") or ""):
        yield "its contentType must be JSON, a form or text; multipart is not sent"


def header_problems(tool: ToolSpec) -> Iterator[str]:
    """Why its headers cannot be sent."""
    headers = tool.config.get("headers") or {}
    if not isinstance(headers, dict):
        yield f"its headers must be an object of texts, got {type(headers).__name__}"
        return
    for name, value in headers.items():
        if not _TOKEN.fullmatch(str(name)) or not isinstance(value, str) or not is_header(value):
            yield f"its header {name!r} is no header: a name of letters, digits and '-', a value of one ASCII line"
        elif name.lower() in OWN:
            yield f"its header {name!r} belongs to the connection: leave it out"


def place(places: Mapping[str, str], argument: str, usual: str) -> tuple[str, str]:
    """Where an argument goes (query, header, body, or whole: it is the body) and what it is called there."""
    where, _, name = places.get(argument, usual).partition(":")
    return where, name or argument


def place_problem(text: Any) -> str | None:
    """Why this is no place of an argument; None if it is one."""
    where, _, name = str(text).partition(":")
    if where not in ("query", "header", "body", "whole"):
        return "a place is query, header, body or whole, perhaps with a colon and another name"
    if where == "header" and name and (not _TOKEN.fullmatch(name) or name.lower() in OWN):
        return f"{name!r} is no header that an argument may fill"
    return None


def named(tool: ToolSpec) -> tuple[str, ...]:
    """The credentials that its headers hold."""
    headers: dict[str, Any] = tool.config.get("headers") or {}
    return tuple(dict.fromkeys(name for value in headers.values() for name in CREDENTIAL.findall(str(value))))


def is_header(value: str) -> bool:
    """Whether a text can stand in a header."""
    return value.isascii() and (not value or value.replace("\t", " ").isprintable())


_URL = re.compile(r"https?://[^/?#{}\s]+([/?#]\S*)?", re.IGNORECASE)
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
