"""Values that must not leave the process that has them, taken out of what does: in every form that is common."""

import base64
import html
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

ESCAPE = re.compile("%[0-9A-F]{2}")
SHORTEST = 6
"""Shorter values are words that occur by chance."""
SHORTEST_LINE = 16
"""A line of a value of many lines, such as a key, is looked for by itself if it is as long."""


def redacted(value: Any, secrets: Mapping[str, str]) -> Any:
    """A JSON value with `${NAME}` wherever the value of a secret was."""
    return redactor(secrets)(value)


def redactor(secrets: Mapping[str, str]) -> Callable[[Any], Any]:
    """`redacted` for many values."""
    found = {form: name for name, secret in secrets.items() for form in forms(secret)}
    if not found:
        return lambda value: value
    pattern = re.compile("|".join(map(re.escape, sorted(found, key=len, reverse=True))))

    def replaced(text: str) -> str:
        return pattern.sub(lambda match: f"${{{found[match[0]]}}}", text)

    def walk(each: Any) -> Any:
        if isinstance(each, str):
            return replaced(each)
        if isinstance(each, dict):
            return {walk(key): walk(one) for key, one in each.items()}
        return [walk(one) for one in each] if isinstance(each, (list, tuple)) else each

    return walk


def forms(secret: str) -> set[str]:
    """The texts that give a secret away: as it is, quoted in the ways of JSON, Python, HTML and addresses, in
    hexadecimal, in base64 (also inside of a longer text)."""
    if len(secret) < SHORTEST:
        return set()
    lines = {line for line in secret.splitlines() if len(line) >= SHORTEST_LINE}
    data = secret.encode()
    in_json = {_in_json(secret), _in_json(_in_json(secret)), json.dumps(secret, ensure_ascii=False)[1:-1]}
    slashed = {each.replace("/", "\\/") for each in in_json}
    addresses = {quote(secret, safe=""), quote(secret), quote_plus(secret)}
    lower = {ESCAPE.sub(lambda found: found[0].lower(), each) for each in addresses}
    pages = {html.escape(secret), html.escape(secret, quote=False)}
    plain = {secret, repr(secret)[1:-1], data.hex(), data.hex().upper()}
    return {*plain, *lines, *in_json, *slashed, *addresses, *lower, *pages, *_base64(data)}


def _in_json(text: str) -> str:
    return json.dumps(text)[1:-1]


def _base64(data: bytes) -> Iterator[str]:
    """The letters that encode the data wherever it begins in a longer text."""
    for before, unsure in ((0, 0), (1, 2), (2, 3)):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            text = encode(bytes(before) + data).decode()
            yield text[unsure : (before + len(data)) * 8 // 6]
