"""Structured output: the JSON value in a model's text, and what its schema has against it. Pure."""

import json
from typing import Any

from agentspan.spec.misfit import misfit

Json = dict[str, Any]

REPAIRS = 2
"""How often a model is asked again for an answer of the right shape."""


def ask(output_type: Json) -> str:
    """What the system message says about the shape of the answer."""
    schema = output_type.get("schema")
    if not schema:
        return "Answer with one JSON value and nothing else."
    text = json.dumps(schema, ensure_ascii=False, separators=(",", ":"))
    return f"Your final answer must be one JSON value, and nothing else, that fits this JSON Schema:\n{text}"


def form(output_type: Json | None) -> Json | None:
    """The schema of the answer with its name, as a provider is given it; None where no schema is asked for."""
    given = output_type or {}
    schema = given.get("schema")
    return {"name": given.get("className") or "answer", "schema": schema} if schema else None


def parse(text: str) -> Any:
    """The JSON value of an answer, which may stand in a code fence or in a sentence; ValueError if there is none."""
    text = text.strip()
    for candidate in (text, _fenced(text), _outermost(text, "{", "}"), _outermost(text, "[", "]")):
        if candidate:
            try:
                return json.loads(candidate)
            except (ValueError, RecursionError):
                continue
    raise ValueError("the answer is not JSON")


def problem(output_type: Json, text: str) -> str | None:
    """Why a text is no answer of that type; None if it is one."""
    try:
        value = parse(text)
    except ValueError as wrong:
        return str(wrong)
    schema = output_type.get("schema")
    return misfit(schema, value) if schema else None


def _fenced(text: str) -> str:
    parts = text.split("```")
    return parts[1].removeprefix("json").strip() if len(parts) > 2 else ""


def _outermost(text: str, opening: str, closing: str) -> str:
    first, last = text.find(opening), text.rfind(closing)
    return text[first : last + 1] if 0 <= first < last else ""
