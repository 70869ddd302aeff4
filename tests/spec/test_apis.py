"""The operations of an OpenAPI description as tools."""

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentspan.errors import InvalidSpec
from agentspan.spec.agent import AgentSpec
from agentspan.spec.apis import tools_of
from agentspan.spec.check import check, check_schemas
from agentspan.spec.tool import ToolSpec

Json = dict[str, Any]
URL = "https://pets.example/docs/openapi.json"
PET: Json = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "pattern": "(unsure", "nullable": True},
        "age": {"type": "integer", "minimum": 0, "exclusiveMinimum": True},
        "mother": {"$ref": "#/components/schemas/Pet"},
    },
}
PETS: Json = {
    "openapi": "3.0.3",
    "servers": [{"url": "/v{version}", "variables": {"version": {"default": "2"}}}],
    "components": {
        "schemas": {"Pet": PET},
        "parameters": {"limit": {"name": "page[limit]", "in": "query", "schema": {"type": "integer"}}},
    },
    "paths": {
        "/pets": {
            "get": {
                "operationId": "listPets",
                "summary": "List the pets",
                "parameters": [{"$ref": "#/components/parameters/limit"}],
            },
            "post": {
                "operationId": "addPet",
                "requestBody": {
                    "required": True,
                    "content": {
                        "multipart/form-data": {},
                        "application/json": {"schema": {"$ref": "#/components/schemas/Pet"}},
                    },
                },
            },
        },
        "/pets/{pet-id}": {
            "parameters": [{"name": "pet-id", "in": "path", "required": True, "schema": {"type": "string"}}],
            "get": {"parameters": [{"name": "X-Trace", "in": "header"}, {"name": "Authorization", "in": "header"}]},
        },
    },
}


def api(**config: Any) -> ToolSpec:
    return ToolSpec(name="pets", tool_type="api", config={"url": URL, **config})


def found(document: Any, **config: Any) -> dict[str, ToolSpec]:
    return {tool.name: tool for tool in tools_of(document, api(**config))}


def test_each_operation_is_a_tool_with_its_arguments_in_their_places() -> None:
    tools = found(PETS, headers={"X-Key": "${KEY}"}, credentials=["KEY"])
    assert list(tools) == ["listPets", "addPet", "get_pets_pet_id"]
    one, two, three = tools.values()
    assert one.description == "List the pets"
    assert one.config == {
        "url": "https://pets.example/v2/pets", "method": "GET", "contentType": "application/json",
        "places": {"page_limit": "query:page[limit]"}, "headers": {"X-Key": "${KEY}"}, "credentials": ["KEY"],
    }  # fmt: skip
    assert two.input_schema["required"] == ["body"]
    assert two.config["places"] == {"body": "whole"}
    assert three.config["url"] == "https://pets.example/v2/pets/{pet_id}"
    assert three.config["places"] == {"X_Trace": "header:X-Trace"}
    assert three.input_schema["required"] == ["pet_id"]
    spec = AgentSpec(name="a", model="scripted/x", tools=tuple(tools.values()))
    check(spec)
    check_schemas(spec)


def test_schemas_are_whole_and_in_the_words_of_today() -> None:
    body = found(PETS)["addPet"].input_schema["properties"]["body"]
    assert "$ref" not in json.dumps(body)
    assert body["properties"]["name"] == {"type": ["string", "null"]}
    assert body["properties"]["age"] == {"type": "integer", "minimum": 0}
    assert body["properties"]["mother"]["properties"]["mother"]["required"] == ["name"]
    jsonschema.Draft202012Validator.check_schema(body)


def test_a_description_of_the_second_version_is_read_too() -> None:
    old = {
        "swagger": "2.0", "host": "api.example", "basePath": "/v1", "schemes": ["https"],
        "paths": {
            "/a/{b}": {
                "post": {
                    "operationId": "a.b",
                    "parameters": [
                        {"name": "n", "in": "query", "type": "integer", "required": True},
                        {"name": "pet", "in": "body", "required": True, "schema": {"type": "object"}},
                    ],
                }
            }
        },
    }  # fmt: skip
    tool = found(old)["a_b"]
    assert tool.config["url"] == "https://api.example/v1/a/{b}"
    assert tool.input_schema == {
        "type": "object", "required": ["n", "b", "body"],
        "properties": {"n": {"type": "integer"}, "b": {"type": "string"}, "body": {"type": "object"}},
    }  # fmt: skip


def test_some_operations_are_picked_by_name() -> None:
    assert list(found(PETS, tool_names=["addPet"])) == ["addPet"]
    with pytest.raises(InvalidSpec, match="no operation eat; it has listPets"):
        found(PETS, tool_names=["eat"])
    with pytest.raises(InvalidSpec, match="no operation eat"):
        found(PETS, tool_names=["addPet", "eat"], max_tools=1)


@pytest.mark.parametrize(
    ("about", "names"),
    [
        ("", ["bookFlight", "cancelFlight"]),
        ("Find hotels by the sea.", ["bookFlight", "findHotels"]),
        ("CANCEL my Flight and my hotel!", ["cancelFlight", "cancelHotel"]),
    ],
)
def test_of_too_many_operations_those_that_fit_are_there(about: str, names: list[str]) -> None:
    all_of_them = ("bookFlight", "cancelFlight", "bookHotel", "cancelHotel", "findHotels")
    document = {"openapi": "3.1.0", "paths": {f"/{name}": {"get": {"operationId": name}} for name in all_of_them}}
    assert [tool.name for tool in tools_of(document, api(max_tools=2), about)] == names


@pytest.mark.parametrize("document", [None, [], {}, {"paths": []}, "openapi: 3"])
def test_what_is_no_description_says_so(document: Any) -> None:
    with pytest.raises(InvalidSpec, match="no OpenAPI description"):
        found(document)


def test_a_schema_that_would_grow_without_end_is_cut() -> None:
    wide = {"type": "object", "properties": {f"p{n}": {"$ref": "#/components/schemas/Pet"} for n in range(20)}}
    document = {**PETS, "components": {"schemas": {"Pet": wide}}}
    assert len(json.dumps(found(document)["addPet"].input_schema)) < 200_000


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ("get", "post", "parameters", "name", "in", "schema", "type", "properties", "items", "$ref", "required",
             "requestBody", "content", "application/json", "operationId", "description", "enum", "anyOf")
        ),
        inner | st.sampled_from(("query", "path", "header", "body", "object", "string", "array", "#/paths", "#/")),
        max_size=5,
    ),
    max_leaves=25,
)  # fmt: skip


@given(
    st.dictionaries(st.text(max_size=5) | st.just("/a/{b}"), json_values, max_size=3),
    st.dictionaries(st.sampled_from(("servers", "host", "basePath", "schemes", "components")), json_values, max_size=3),
)
def test_any_json_is_a_description_or_refused(paths: Json, rest: Json) -> None:
    try:
        tools = tools_of({**rest, "paths": paths}, api())
        spec = AgentSpec(name="a", model="scripted/x", tools=tools)
        check(spec)
    except InvalidSpec:
        return
    check_schemas(spec)
