"""Schemas that anybody may have written, reduced to what a tool needs: keywords that are known, texts within bounds,
no references. Pure."""

from typing import Any

Json = dict[str, Any]

TEXT_CHARS = 1_000
DEEPEST = 8
"""How deeply references within a schema are followed; what lies deeper may be anything."""
MOST_NODES = 2_000
"""How large the schemas of one tool may become together."""


class Foreign:
    """The schemas within one document, which may not grow beyond all bounds together."""

    def __init__(self, document: Json) -> None:
        self.document, self.left = document, MOST_NODES

    def schema(self, given: Any, depth: int = 0) -> Json:
        self.left -= 1
        schema = self.followed(given)
        if depth > DEEPEST or self.left < 0:
            return {}
        made: Json = {}
        for key, fits in PLAIN.items():
            if key in schema and fits(schema[key]):
                made[key] = schema[key][:TEXT_CHARS] if key == "description" else schema[key]
        if isinstance(schema.get("type"), str) and schema["type"] in TYPES:
            made["type"] = [schema["type"], "null"] if schema.get("nullable") is True else schema["type"]
        elif isinstance(schema.get("type"), list) and schema["type"] and set(map(str, schema["type"])) <= TYPES:
            made["type"] = schema["type"]
        if isinstance(schema.get("properties"), dict):
            made["properties"] = {str(k): self.schema(v, depth + 1) for k, v in schema["properties"].items()}
            if _are_texts(schema.get("required")):
                made["required"] = schema["required"]
        for key in ("items", "additionalProperties"):
            if isinstance(schema.get(key), dict):
                made[key] = self.schema(schema[key], depth + 1)
        for key in ("anyOf", "oneOf", "allOf"):
            if isinstance(schema.get(key), list) and schema[key]:
                made[key] = [self.schema(each, depth + 1) for each in schema[key]]
        return made

    def followed(self, given: Any) -> Json:
        """What a reference within the description leads to; {} for what is no object."""
        for _ in range(DEEPEST):
            if not isinstance(given, dict):
                return {}
            if not isinstance(place := given.get("$ref"), str):
                return given
            given = _at(self.document, place)
        return {}


def _at(document: Json, place: str) -> Any:
    """A place in the document: #/a/b. Others are not looked up."""
    found: Any = document if place.startswith("#/") else None
    for part in place[2:].split("/"):
        key = part.replace("~1", "/").replace("~0", "~")
        found = found.get(key) if isinstance(found, dict) else None
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value)) and len(set(value)) == len(value)


def _are_some(value: Any) -> bool:
    return isinstance(value, list) and 0 < len(value) <= 200


TYPES = {"array", "boolean", "integer", "null", "number", "object", "string"}
PLAIN = {
    "description": _is_text, "enum": _are_some, "format": _is_text, "minimum": _is_number, "maximum": _is_number,
    "minLength": _is_count, "maxLength": _is_count, "minItems": _is_count, "maxItems": _is_count,
}  # fmt: skip
"""Keywords that mean the same in every version, and what they may say."""
