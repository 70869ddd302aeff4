"""What a JSON Schema has against a value, within bounds: users and models write both, and all runs wait for the check.

Patterns are searched by an engine that can be told to stop, references stay within the schema, and a check that takes
too many steps is given up: a sentence says so, as it does of what does not fit. Pure.
"""

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import cache
from typing import Any

import msgspec

from agentspan.spec.rules import PATTERN_SECONDS, pattern_problem

Json = dict[str, Any]
Keyword = Callable[[Any, Any, Any, Json], Iterator[Any] | None]

MOST_STEPS = 100_000
"""So many keywords one check may look at: a second."""


class GivenUp(Exception):
    """The check cannot be made, or takes too long."""


def misfit(schema: Json, value: Any) -> str | None:
    """The first thing that a schema has against a value; None if it fits."""
    import jsonschema  # type: ignore[import-untyped]
    from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]
    from referencing.exceptions import Unresolvable

    steps = _STEPS.set([MOST_STEPS])
    try:
        _refuse_mixture(schema)
        found = next(_validator()(schema, registry=REGISTRY).iter_errors(value), None)
    except GivenUp as problem:
        return str(problem)
    except RecursionError:
        return "the schema or the value is nested too deeply to be checked, or the schema refers to itself"
    except (jsonschema.exceptions.UnknownType, Unresolvable, *ODD) as problem:
        return f"the schema cannot be used: {_first_line(problem)}"
    finally:
        _STEPS.reset(steps)
    return None if found is None else f"at {found.json_path}: {found.message}"


def _refuse_mixture(schema: Json) -> None:
    """The library itself looks for patterns where these two meet, for as long as they take."""
    text = msgspec.json.encode(schema)
    if b'"unevaluatedProperties"' in text and b'"patternProperties"' in text:
        raise GivenUp("the schema cannot be used: unevaluatedProperties and patternProperties in one schema")


@cache
def _validator() -> Any:
    """Draft 2020-12 with our keywords, each of which counts its steps."""
    import jsonschema

    base = jsonschema.Draft202012Validator
    keywords = {**base.VALIDATORS, **KEYWORDS}
    return jsonschema.validators.extend(base, {name: _counted(each) for name, each in keywords.items()})


def _counted(keyword: Keyword) -> Keyword:
    def counting(validator: Any, value: Any, instance: Any, schema: Json) -> Iterator[Any]:
        _spend(1)
        yield from keyword(validator, value, instance, schema) or ()

    return counting


def _spend(steps: int) -> None:
    left = _STEPS.get()
    left[0] -= steps
    if left[0] < 0:
        raise GivenUp(f"the value is too large for its schema: checking it takes more than {MOST_STEPS} steps")


def _matches(pattern: str, text: str) -> bool:
    import regex  # type: ignore[import-untyped]

    if problem := pattern_problem(pattern):
        raise GivenUp(f"the schema cannot be used: {problem}")
    try:
        return regex.search(pattern, text, timeout=PATTERN_SECONDS) is not None
    except TimeoutError:
        raise GivenUp(f"the pattern {pattern!r} of the schema took longer than {PATTERN_SECONDS} s") from None


def _pattern(validator: Any, pattern: str, instance: Any, schema: Json) -> Iterator[Any]:
    from jsonschema import ValidationError

    if validator.is_type(instance, "string") and not _matches(pattern, instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: Json, instance: Any, schema: Json) -> Iterator[Any]:
    if not validator.is_type(instance, "object"):
        return
    for pattern, below in patterns.items():
        for name, value in instance.items():
            _spend(1)
            if _matches(pattern, name):
                yield from validator.descend(value, below, path=name, schema_path=pattern)


def _additional_properties(validator: Any, below: Any, instance: Any, schema: Json) -> Iterator[Any]:
    from jsonschema import ValidationError

    if not validator.is_type(instance, "object"):
        return
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    extra = [name for name in instance if name not in known and not any(_matches(each, name) for each in patterns)]
    if validator.is_type(below, "object"):
        for name in extra:
            yield from validator.descend(instance[name], below, path=name)
    elif not below and extra:
        named = ", ".join(map(repr, sorted(extra)))
        yield ValidationError(
            f"Additional properties are not allowed ({named} {'was' if len(extra) == 1 else 'were'} unexpected)"
        )


def _unique_items(validator: Any, wanted: Any, instance: Any, schema: Json) -> Iterator[Any] | None:
    """The library compares each with each where some are no plain values."""
    import jsonschema

    if isinstance(instance, list) and any(isinstance(each, dict | list) for each in instance):
        _spend(len(instance) ** 2 // 50)
    inner: Keyword = jsonschema.Draft202012Validator.VALIDATORS["uniqueItems"]
    return inner(validator, wanted, instance, schema)


def _first_line(problem: Exception) -> str:
    return str(problem).strip().partition("\n")[0]


KEYWORDS: dict[str, Keyword] = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "uniqueItems": _unique_items,
}

ODD = (AttributeError, KeyError, TypeError, ValueError)
"""What the library raises of a schema that is none."""

_STEPS: ContextVar[list[int]] = ContextVar("steps left of the check that is being made")
