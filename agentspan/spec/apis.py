"""The operations of an OpenAPI description as tools. Pure.

Of a description, which anybody may have written, only what a tool needs is taken: names, texts within bounds, schemas
without references and with keywords that are known.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

from msgspec.structs import replace

from agentspan.errors import InvalidSpec
from agentspan.spec.http import METHODS, place_problem
from agentspan.spec.tool import ToolSpec

Json = dict[str, Any]

MOST_TOOLS = 64
NAME_CHARS = 64
TEXT_CHARS = 1_000
DEEPEST = 8
"""How deeply references within a schema are followed; what lies deeper may be anything."""
MOST_NODES = 2_000
"""How large the schema of one operation may become."""


def tools_of(document: Any, tool: ToolSpec) -> tuple[ToolSpec, ...]:
    """The operations that a tool of type api stands for, each a tool of type http with the options of that tool.

    InvalidSpec if the description cannot be read, has too many operations, or lacks one that was named.
    """
    url = str(tool.config.get("url"))
    if not isinstance(document, dict) or not isinstance(document.get("paths"), dict):
        raise InvalidSpec(f"{_shown(url)} is no OpenAPI description: it must be a JSON object with paths")
    base = _base(document, url)
    made = {each.name: each for each in _operations(document, base, tool)}
    wanted = tool.config.get("tool_names") or tool.config.get("toolNames")
    if wanted:
        if missing := [str(name) for name in wanted if name not in made]:
            raise InvalidSpec(f"{_shown(url)} has no operation {', '.join(missing)}; it has {_some(made)}")
        made = {name: made[name] for name in wanted}
    most = tool.config.get("max_tools") or tool.config.get("maxTools") or MOST_TOOLS
    if len(made) > most:
        raise InvalidSpec(
            f"{_shown(url)} has {len(made)} operations, and max_tools is {most}: name those that the agent needs by "
            f"tool_names, such as {_some(made)}"
        )
    return tuple(made.values())


def _operations(document: Json, base: str, tool: ToolSpec) -> Iterator[ToolSpec]:
    for path, item in document["paths"].items():
        if not isinstance(item, dict) or not isinstance(path, str):
            continue
        shared = item.get("parameters")
        for method in METHODS:
            operation = item.get(method.lower())
            if isinstance(operation, dict):
                yield _Operation(document, tool).tool(base, path, method, operation, shared)


class _Operation:
    """One operation, whose schemas may not grow beyond all bounds together."""

    def __init__(self, document: Json, tool: ToolSpec) -> None:
        self.document, self.of, self.left = document, tool, MOST_NODES

    def tool(self, base: str, path: str, method: str, operation: Json, shared: Any) -> ToolSpec:
        properties: Json = {}
        places: dict[str, str] = {}
        required: list[str] = []
        for parameter in self._parameters(shared, operation.get("parameters")):
            name, where = str(parameter["name"]), str(parameter["in"])
            argument = _free(_word(name), properties)
            properties[argument] = self._described(parameter)
            if where == "path":
                path = path.replace(f"{{{name}}}", f"{{{argument}}}")
            else:
                places[argument] = f"{where}:{name}"
            if where == "path" or parameter.get("required") is True:
                required.append(argument)
        for name in PLACE.findall(path):
            if name not in properties:
                argument = _free(_word(name), properties)
                properties[argument] = {"type": "string"}
                path = path.replace(f"{{{name}}}", f"{{{argument}}}")
                required.append(argument)
        kind, body = self._body(operation, shared)
        if body is not None and method not in ("GET", "HEAD", "OPTIONS", "DELETE"):
            argument = _free("body", properties)
            properties[argument], places[argument] = self._schema(body.get("schema") or {}), "whole"
            if body.get("required") is True:
                required.append(argument)
        config = {key: value for key, value in self.of.config.items() if key in KEPT}
        schema: Json = {"type": "object", "properties": properties, **({"required": required} if required else {})}
        return replace(
            self.of,
            name=_word(str(operation.get("operationId") or f"{method.lower()} {path}"))[:NAME_CHARS],
            description=_text(operation, method, path),
            input_schema=schema,
            tool_type="http",
            config={**config, "url": base + path, "method": method, "contentType": kind, "places": places},
        )

    def _parameters(self, *lists: Any) -> list[Json]:
        """Those of the path and of the operation, which win."""
        found: dict[tuple[str, str], Json] = {}
        for each in (each for some in lists if isinstance(some, list) for each in some):
            parameter = self._followed(each)
            name, where = parameter.get("name"), parameter.get("in")
            if isinstance(name, str) and (where in ("path", "query") or (where == "header" and _may_fill(name))):
                found[name, where] = parameter
        return list(found.values())

    def _body(self, operation: Json, shared: Any) -> tuple[str, Json | None]:
        """What kind of body an operation takes, and its schema."""
        body = self._followed(operation.get("requestBody"))
        content = body.get("content")
        if isinstance(content, dict):
            for kind in sorted(map(str, content), key=lambda kind: ("json" not in kind, "urlencoded" not in kind)):
                if "multipart" not in kind and isinstance(content[kind], dict):
                    return kind, {**content[kind], "required": body.get("required")}
        given = (each for some in (shared, operation.get("parameters")) if isinstance(some, list) for each in some)
        old = next((each for each in map(self._followed, given) if each.get("in") == "body"), None)
        return "application/json", old

    def _described(self, parameter: Json) -> Json:
        """The schema of a parameter, with its description."""
        schema = self._schema(parameter.get("schema") or parameter)
        text = parameter.get("description")
        return {**schema, "description": text[:TEXT_CHARS]} if isinstance(text, str) else schema

    def _schema(self, given: Any, depth: int = 0) -> Json:
        self.left -= 1
        schema = self._followed(given)
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
            made["properties"] = {str(k): self._schema(v, depth + 1) for k, v in schema["properties"].items()}
            if _are_texts(schema.get("required")):
                made["required"] = schema["required"]
        for key in ("items", "additionalProperties"):
            if isinstance(schema.get(key), dict):
                made[key] = self._schema(schema[key], depth + 1)
        for key in ("anyOf", "oneOf", "allOf"):
            if isinstance(schema.get(key), list) and schema[key]:
                made[key] = [self._schema(each, depth + 1) for each in schema[key]]
        return made

    def _followed(self, given: Any) -> Json:
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


def _base(document: Json, url: str) -> str:
    """Where the operations are: as the description says, else where it was found."""
    servers = document.get("servers")
    first: Json = servers[0] if isinstance(servers, list) and servers and isinstance(servers[0], dict) else {}
    place = str(first["url"]) if isinstance(first.get("url"), str) else _old_base(document, url)
    variables = first.get("variables")
    for name, variable in variables.items() if isinstance(variables, dict) else ():
        if isinstance(variable, Mapping):
            place = place.replace(f"{{{name}}}", str(variable.get("default", "")))
    return urljoin(url, place).rstrip("/")


def _old_base(document: Json, url: str) -> str:
    """Of Swagger 2."""
    scheme = urlsplit(url).scheme
    schemes = document.get("schemes")
    if isinstance(schemes, list) and schemes and scheme not in schemes:
        scheme = str(schemes[0])
    path = document.get("basePath") if isinstance(document.get("basePath"), str) else "/"
    return f"{scheme}://{document['host']}{path}" if isinstance(document.get("host"), str) else str(path)


def _text(operation: Json, method: str, path: str) -> str:
    said = [text for key in ("summary", "description") if isinstance(text := operation.get(key), str) and text.strip()]
    return ("\n".join(dict.fromkeys(said)) or f"{method} {path}")[:TEXT_CHARS]


def _may_fill(header: str) -> bool:
    """May a model fill this header?"""
    return header.lower() not in UNSAID and place_problem(f"header:{header}") is None


def _word(text: str) -> str:
    """A text as models take it for a name."""
    return re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_")[:NAME_CHARS] or "value"


def _free(name: str, taken: Json) -> str:
    return next(each for each in (name, *(f"{name}_{n}" for n in range(2, len(taken) + 3))) if each not in taken)


def _some(names: Mapping[str, Any]) -> str:
    return ", ".join(list(names)[:10]) + (", ..." if len(names) > 10 else "")


def _shown(url: str) -> str:
    return url.partition("?")[0]


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
KEPT = ("headers", "credentials", "accept")
"""What the operations have of the tool that stands for them."""
PLACE = re.compile(r"\{([^{}]+)\}")
UNSAID = ("accept", "authorization", "content-type", "cookie")
"""Headers that no model fills."""
