"""Structured output: the JSON Schema of a type of the user's, and an object of that type made of a JSON value.

pydantic does both, so that what the model is told and what its answer is checked against are one thing. A type that
pydantic does not take (a `typing.TypedDict` before Python 3.12) goes the way of tools' parameters.
"""

import json
import re
from typing import TYPE_CHECKING, Any

from agentspan.spec import shape as text

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Json = dict[str, Any]


class Misfit(ValueError):
    """A value that is not of the type; the message says where."""


def shape_of(output_type: Any) -> Json:
    """The type on the wire: `{schema, className}`; TypeError if it has no JSON."""
    adapter, name = _adapter(output_type), name_of(output_type)
    if adapter is None:
        from agentspan.agents.schema import schema_of

        schema = schema_of(output_type)
    else:
        from pydantic import PydanticUserError
        from pydantic.errors import PydanticInvalidForJsonSchema

        try:
            schema = adapter.json_schema()
        except (PydanticInvalidForJsonSchema, PydanticUserError) as problem:
            raise _unusable(output_type, problem) from None
    return {"schema": schema, "className": name}


def build(output_type: Any, value: Any) -> Any:
    """The user's object of a JSON value; of its text too, for a model that was cut short may have said it as text."""
    try:
        return _build(output_type, value)
    except Misfit as misfit:
        if not isinstance(value, str):
            raise
        try:
            value = text.parse(value)
        except ValueError:
            raise misfit from None
        return _build(output_type, value)


def name_of(output_type: Any) -> str:
    """A name that providers accept: letters, digits, `_` and `-`."""
    plain = isinstance(output_type, type) and not getattr(output_type, "__args__", ())
    name = output_type.__name__ if plain else re.sub(r"\b(?:\w+\.)+", "", str(output_type))
    return re.sub(r"[^a-zA-Z0-9_-]+", "_", name).strip("_") or "output"


def _build(output_type: Any, value: Any) -> Any:
    adapter = _adapter(output_type)
    if adapter is None:
        return _converted(output_type, value)
    from pydantic import ValidationError

    try:
        return adapter.validate_json(json.dumps(value))
    except ValidationError as problem:
        told = [f"{'.'.join(map(str, each['loc'])) or 'the value'}: {each['msg']}" for each in problem.errors()]
        raise Misfit("; ".join(told)) from None


def _converted(output_type: Any, value: Any) -> Any:
    from agentspan.agents import convert

    try:
        return convert.convert(value, output_type)
    except convert.Misfit as problem:
        raise Misfit(f"the value{problem}") from None


def _adapter(output_type: Any) -> "TypeAdapter[Any] | None":
    """What checks values of the type; None where pydantic leaves it to us."""
    from pydantic import PydanticUserError, TypeAdapter

    try:
        return TypeAdapter(output_type)
    except (PydanticUserError, NameError) as problem:
        if getattr(problem, "code", None) == "typed-dict-version":
            return None
        raise _unusable(output_type, problem) from None


def _unusable(output_type: Any, problem: Exception) -> TypeError:
    reason = str(problem).splitlines()[0]
    return TypeError(
        f"output_type {name_of(output_type)} has no JSON: {reason} (use a pydantic model, a dataclass, a TypedDict, "
        "or types made of them)"
    )
