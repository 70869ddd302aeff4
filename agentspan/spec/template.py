"""Texts with variables, `${name}` or `{{name}}`: found and filled in the same way on both sides of the wire."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from agentspan.errors import BadInput

VARIABLE = re.compile(r"\$\{\s*(\w+)\s*\}|\{\{\s*(\w+)\s*\}\}")


def variables(text: str) -> list[str]:
    """The names that a text needs, each once, in order."""
    return list(dict.fromkeys(found[1] or found[2] for found in VARIABLE.finditer(text)))


def render(name: str, text: str, values: Mapping[str, Any]) -> str:
    """The text of template `name` with its variables filled in. BadInput names those that are missing.

    What is filled in is not looked into again: a value may hold braces of its own.
    """
    if missing := [each for each in variables(text) if each not in values]:
        raise BadInput(
            f"prompt template {name!r} needs {', '.join(missing)}: give PromptTemplate({name!r}, variables={{...}})"
        )
    return VARIABLE.sub(lambda found: _text(values[found[1] or found[2]]), text)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
