"""A JSON schema as a provider takes it for its answers: closed, complete, without words that it refuses."""

import re
from typing import Any

Json = dict[str, Any]


def strict(schema: Json) -> Json | None:
    """The schema in the form of a strict mode: objects that are closed and ask for each of their fields.

    None if there is no such form, as for a mapping or a list.
    """
    root = _rooted(schema)
    if root.get("type") != "object":
        return None
    try:
        closed: Json = _strict(root)
    except _Open:
        return None
    return closed


def is_recursive(schema: Json) -> bool:
    """True if a definition refers to itself, if only through others."""
    defs = {f"#/{place}/{name}": each for place in DEFS for name, each in (schema.get(place) or {}).items()}
    refers = {name: set(_refs(each)) for name, each in defs.items()}
    return "#" in _refs(schema) or any(name in _reach(name, refers) for name in refers)


def is_object(schema: Json) -> bool:
    """True if the answer is a JSON object, which is all that a provider's JSON mode gives."""
    return _rooted(schema).get("type") == "object"


def wire_name(name: str) -> str:
    """A name for the schema that every provider accepts."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name)[:64].strip("_") or "answer"


class _Open(Exception):
    """There is an object in the schema that cannot be closed."""


def _rooted(schema: Json) -> Json:
    """The schema with its root spelled out: a recursive model's is only a reference."""
    match schema.get("$ref", "").split("/"):
        case ["#", place, name] if name in schema.get(place, {}):
            return {**schema[place][name], place: schema[place]}
    return schema


def _strict(schema: Any) -> Any:
    if isinstance(schema, bool):
        if schema:
            raise _Open
        return schema
    if "$ref" in schema:
        return {"$ref": schema["$ref"]}
    kept = {("anyOf" if key == "oneOf" else key): value for key, value in schema.items() if key not in DROPPED}
    if one := kept.pop("allOf", None):
        if len(one) > 1:
            raise _Open
        return _strict({**one[0], **kept})
    if kept.get("type") == "object" or "properties" in kept:
        fields = kept.get("properties") or {}
        if kept.get("additionalProperties") not in (None, False) or not fields:
            raise _Open
        kept |= {"required": list(fields), "additionalProperties": False}
    if not kept:
        raise _Open
    return {key: _inside(key, value) for key, value in kept.items()}


def _inside(key: str, value: Any) -> Any:
    if key in ("properties", *DEFS):
        return {name: _strict(each) for name, each in value.items()}
    if key in ("anyOf", "prefixItems"):
        return [_strict(each) for each in value]
    return _strict(value) if key == "items" else value


def _refs(value: Any) -> list[str]:
    """All references in a schema, but not those of its definitions."""
    if isinstance(value, list):
        return [ref for each in value for ref in _refs(each)]
    if not isinstance(value, dict):
        return []
    own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
    return own + [ref for key, each in value.items() if key not in DEFS for ref in _refs(each)]


def _reach(start: str, refers: dict[str, set[str]]) -> set[str]:
    """What a definition refers to, however far."""
    reached: set[str] = set()
    due = [start]
    while due:
        new = refers.get(due.pop(), set()) - reached
        reached |= new
        due += new
    return reached


DEFS = ("$defs", "definitions")
DROPPED = frozenset(
    (
        *("$schema", "$id", "$comment", "default", "examples", "example", "discriminator", "deprecated"),
        *("minLength", "maxLength", "uniqueItems", "readOnly", "writeOnly", "contentEncoding", "contentMediaType"),
    )
)
"""Words that say nothing to a model, or that strict modes refuse: the caller checks the answer in any case."""
