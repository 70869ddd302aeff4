"""The part of the local model that is not a model: it chooses the tool, by the words it shares with the request.

The weights are too small to choose well (measured: the right tool in 8 cases of 18), and an honest rule is better than
a bad guess. It knows nothing of meaning: "rain" does not find a tool for the weather.
"""

import re
from typing import Any


def choose(tools: list[dict[str, Any]], text: str) -> dict[str, Any] | None:
    """The function of the tool that fits the text best, the first of equals; None if none shares a word with it."""
    asked = stems(text)
    functions = [tool["function"] for tool in tools if "function" in tool]
    scored = [(_score(function, asked), -place, function) for place, function in enumerate(functions)]
    best = max(scored, key=lambda each: each[:2], default=None)
    return best[2] if best and best[0] else None


def stems(text: str) -> set[str]:
    """The words of a text that mean something, without their endings; camelCase and snake_case are several words."""
    parted = re.sub(r"([a-z])([A-Z])", r"\1 \2", text).replace("_", " ")
    return {_stem(word) for word in re.findall(r"[^\W_]+", parted.lower()) if word not in STOP_WORDS}


def _score(function: dict[str, Any], asked: set[str]) -> int:
    fields = (function.get("parameters") or {}).get("properties") or {}
    values = " ".join(str(value) for field in fields.values() for value in field.get("enum") or ())
    return (
        3 * _shared(stems(function.get("name", "")), asked)
        + 2 * _shared(stems(values), asked)
        + _shared(stems(function.get("description") or ""), asked)
        + _shared(stems(" ".join(fields)), asked)
    )


def _shared(words: set[str], asked: set[str]) -> int:
    return sum(any(_alike(word, other) for other in asked) for word in words)


def _alike(one: str, other: str) -> bool:
    short, long = sorted((one, other), key=len)
    return short == long or (len(short) >= 4 and long.startswith(short))


def _stem(word: str) -> str:
    for ending in ("ing", "ies", "es", "ed", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word.removesuffix(ending)
    return word


STOP_WORDS = frozenset(
    re.findall(
        r"\S+",
        """a about all also an and any are as at be by call can could current currently do does done for from
        function get give given gives go has have help how i if in information input into is it its
        just let like make me my need new no not now of on one or our out output please provide
        return returns run should show so some string tell text that the their them then there these
        they this to tool use used using value want was we were what when where which who will with
        would you your""",
    )
)
