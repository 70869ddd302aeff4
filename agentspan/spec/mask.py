"""Masked fields: the values of keys that an agent names are shown as "***", at any depth, in objects and in texts.

Models and tools get the values; whoever only looks does not.
"""

import json
import re
from functools import lru_cache
from typing import Any

from agentspan.spec.agent import AgentSpec
from agentspan.spec.check import below

MASK = "***"

Names = frozenset[str]
NOTHING: Names = frozenset()


def names(spec: AgentSpec) -> Names:
    """What an agent, and those that work for it, want masked: what one of them hides is hidden in the whole run."""
    own = {name.lower() for name in spec.masked_fields}
    return frozenset(own.union(*map(names, below(spec))))


def masked(value: Any, hidden: Names) -> Any:
    """The same value without what is hidden."""
    if not hidden:
        return value
    match value:
        case dict():
            return {k: MASK if str(k).lower() in hidden else masked(each, hidden) for k, each in value.items()}
        case list() | tuple():
            return [masked(each, hidden) for each in value]
        case str():
            return _masked_text(value, hidden)
        case _:
            return value


def _masked_text(text: str, hidden: Names) -> str:
    """A text in which JSON stands: what follows a hidden key is masked, to its end or to the end of the text."""
    pattern = _pattern(hidden)
    pieces, at = [], 0
    while found := pattern.search(text, at):
        pieces += [text[at : found.end()], f"{found['quote']}{MASK}{found['quote']}"]
        at = _end_of_value(text, found.end(), found["quote"])
    return "".join([*pieces, text[at:]]) if pieces else text


@lru_cache(maxsize=200)
def _pattern(hidden: Names) -> re.Pattern[str]:
    """A hidden key with its colon; in JSON within JSON the quotes have backslashes before them."""
    keys = "|".join(re.escape(name) for name in sorted(hidden, key=len, reverse=True))
    return re.compile(rf'(?P<quote>\\*["\'])(?:{keys})(?P=quote)\s*:\s*', re.IGNORECASE)


def _end_of_value(text: str, start: int, quote: str) -> int:
    """Where the value that begins at `start` ends. One that was cut off ends with the text."""
    if quote == '"':
        try:
            return _decoder.raw_decode(text, start)[1]
        except ValueError:
            pass
    if text.startswith(quote, start):
        end = text.find(quote, start + len(quote))
        while end > 0 and quote != '"' and text[end - 1] == "\\":
            end = text.find(quote, end + 1)
        return end + len(quote) if end >= 0 else len(text)
    if text[start : start + 1] in ("{", "["):
        return _end_of_nest(text, start)
    return _scalar.match(text, start).end()  # type: ignore[union-attr]


def _end_of_nest(text: str, start: int) -> int:
    depth = 0
    for at in range(start, len(text)):
        depth += (text[at] in "{[") - (text[at] in "}]")
        if not depth:
            return at + 1
    return len(text)


_decoder = json.JSONDecoder()
_scalar = re.compile(r"[^,}\]\s]*")
