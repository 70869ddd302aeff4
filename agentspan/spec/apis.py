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
from agentspan.spec.found import chosen, shown, word
from agentspan.spec.http import METHODS, place_problem
from agentspan.spec.schemas import TEXT_CHARS, Foreign
from agentspan.spec.tool import ToolSpec

Json = dict[str, Any]


def tools_of(document: Any, tool: ToolSpec, about: str = "") -> tuple[ToolSpec, ...]:
    """The operations that a tool of type api stands for, each a tool of type http with the options of that tool.

    `about`: what the agent is for, which decides if there are too many. InvalidSpec if the description cannot be read,
    or lacks an operation that was named.
    """
    url = str(tool.config.get("url"))
    if not isinstance(document, dict) or not isinstance(document.get("paths"), dict):
        raise InvalidSpec(f"{shown(url)} is no OpenAPI description: it must be a JSON object with paths")
    base = _base(document, url)
    made = {each.name: each for each in _operations(document, base, tool)}
    return chosen(made, tool, place=shown(url), what="operation", about=about)


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
        self.of, self.schemas = tool, Foreign(document)

    def tool(self, base: str, path: str, method: str, operation: Json, shared: Any) -> ToolSpec:
        properties: Json = {}
        places: dict[str, str] = {}
        required: list[str] = []
        for parameter in self._parameters(shared, operation.get("parameters")):
            name, where = str(parameter["name"]), str(parameter["in"])
            argument = _free(word(name), properties)
            properties[argument] = self._described(parameter)
            if where == "path":
                path = path.replace(f"{{{name}}}", f"{{{argument}}}")
            else:
                places[argument] = f"{where}:{name}"
            if where == "path" or parameter.get("required") is True:
                required.append(argument)
        for name in PLACE.findall(path):
            if name not in properties:
                argument = _free(word(name), properties)
                properties[argument] = {"type": "string"}
                path = path.replace(f"{{{name}}}", f"{{{argument}}}")
                required.append(argument)
        kind, body = self._body(operation, shared)
        if body is not None and method not in ("GET", "HEAD", "OPTIONS", "DELETE"):
            argument = _free("body", properties)
            properties[argument], places[argument] = self.schemas.schema(body.get("schema") or {}), "whole"
            if body.get("required") is True:
                required.append(argument)
        config = {key: value for key, value in self.of.config.items() if key in KEPT}
        schema: Json = {"type": "object", "properties": properties, **({"required": required} if required else {})}
        return replace(
            self.of,
            name=word(str(operation.get("operationId") or f"{method.lower()} {path}")),
            description=_text(operation, method, path),
            input_schema=schema,
            tool_type="http",
            config={**config, "url": base + path, "method": method, "contentType": kind, "places": places},
        )

    def _parameters(self, *lists: Any) -> list[Json]:
        """Those of the path and of the operation, which win."""
        found: dict[tuple[str, str], Json] = {}
        for each in (each for some in lists if isinstance(some, list) for each in some):
            parameter = self.schemas.followed(each)
            name, where = parameter.get("name"), parameter.get("in")
            if isinstance(name, str) and (where in ("path", "query") or (where == "header" and _may_fill(name))):
                found[name, where] = parameter
        return list(found.values())

    def _body(self, operation: Json, shared: Any) -> tuple[str, Json | None]:
        """What kind of body an operation takes, and its schema."""
        body = self.schemas.followed(operation.get("requestBody"))
        content = body.get("content")
        if isinstance(content, dict):
            for kind in sorted(map(str, content), key=lambda kind: ("json" not in kind, "urlencoded" not in kind)):
                if "multipart" not in kind and isinstance(content[kind], dict):
                    return kind, {**content[kind], "required": body.get("required")}
        given = (each for some in (shared, operation.get("parameters")) if isinstance(some, list) for each in some)
        old = next((each for each in map(self.schemas.followed, given) if each.get("in") == "body"), None)
        return "application/json", old

    def _described(self, parameter: Json) -> Json:
        """The schema of a parameter, with its description."""
        schema = self.schemas.schema(parameter.get("schema") or parameter)
        text = parameter.get("description")
        return {**schema, "description": text[:TEXT_CHARS]} if isinstance(text, str) else schema


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


def _free(name: str, taken: Json) -> str:
    return next(each for each in (name, *(f"{name}_{n}" for n in range(2, len(taken) + 3))) if each not in taken)


KEPT = ("headers", "credentials", "accept")
"""What the operations have of the tool that stands for them."""
PLACE = re.compile(r"\{([^{}]+)\}")
UNSAID = ("accept", "authorization", "content-type", "cookie")
"""Headers that no model fills."""
