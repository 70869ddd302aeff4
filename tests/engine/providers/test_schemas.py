"""Schemas as providers take them for their answers."""

from typing import Any

import pydantic
import pytest

from agentspan.engine.providers.schemas import is_object, is_recursive, strict, wire_name


class Leaf(pydantic.BaseModel):
    """A leaf."""

    color: str = pydantic.Field("green", min_length=1, description="its colour")
    size: int | None = None


class Tree(pydantic.BaseModel):
    name: str
    leaves: list[Leaf] = []
    left: "Tree | None" = None


class Free(pydantic.BaseModel):
    notes: dict[str, Any]


def objects(schema: Any) -> list[dict[str, Any]]:
    inside = schema if isinstance(schema, list) else schema.values() if isinstance(schema, dict) else ()
    found = [each for part in inside for each in objects(part)]
    return [schema, *found] if isinstance(schema, dict) and schema.get("type") == "object" else found


def test_every_object_is_closed_and_asks_for_each_of_its_fields() -> None:
    closed = strict(Tree.model_json_schema())
    assert closed is not None
    assert len(objects(closed)) == 3
    for each in objects(closed):
        assert each["additionalProperties"] is False
        assert each["required"] == list(each["properties"])


def test_what_a_strict_mode_refuses_is_gone_and_what_helps_the_model_stays() -> None:
    closed = strict(Leaf.model_json_schema())
    assert closed is not None
    assert closed["properties"]["color"] == {"type": "string", "title": "Color", "description": "its colour"}
    assert closed["description"] == "A leaf."


def test_a_recursive_schema_has_its_root_spelled_out_and_keeps_its_definitions() -> None:
    schema = Tree.model_json_schema()
    assert is_recursive(schema)
    closed = strict(schema)
    assert closed is not None
    assert closed["type"] == "object"
    assert closed["properties"]["left"]["anyOf"][0] == {"$ref": "#/$defs/Tree"}
    assert closed["$defs"]["Tree"]["additionalProperties"] is False


def test_a_schema_that_uses_a_definition_twice_is_not_recursive() -> None:
    twice = {"$defs": {"A": {"type": "string"}}, "anyOf": [{"$ref": "#/$defs/A"}, {"$ref": "#/$defs/A"}]}
    assert not is_recursive(twice)
    assert is_recursive({"type": "object", "properties": {"next": {"$ref": "#"}}})
    around = {"A": {"items": {"$ref": "#/$defs/B"}}, "B": {"items": {"$ref": "#/$defs/A"}}}
    assert is_recursive({"$defs": around, "$ref": "#/$defs/A"})


@pytest.mark.parametrize(
    "schema",
    [
        Free.model_json_schema(),
        pydantic.TypeAdapter(list[Leaf]).json_schema(),
        {"type": "object"},
        {"type": "object", "properties": {"a": {}}},
        {"type": "object", "properties": {"a": {"allOf": [{"type": "string"}, {"pattern": "a"}]}}},
    ],
)
def test_what_cannot_be_closed_has_no_strict_form(schema: dict[str, Any]) -> None:
    assert strict(schema) is None


def test_an_alternative_may_be_one_of() -> None:
    schema = {"type": "object", "properties": {"a": {"oneOf": [{"type": "string"}, {"type": "null"}]}}}
    closed = strict(schema)
    assert closed is not None
    assert closed["properties"]["a"] == {"anyOf": [{"type": "string"}, {"type": "null"}]}


def test_only_an_object_can_come_from_a_json_mode() -> None:
    assert is_object(Tree.model_json_schema())
    assert not is_object(pydantic.TypeAdapter(list[Leaf]).json_schema())


@pytest.mark.parametrize(("name", "sent"), [("Report", "Report"), ("list[Leaf]", "list_Leaf"), ("é", "answer")])
def test_the_name_of_a_schema_is_one_that_providers_accept(name: str, sent: str) -> None:
    assert wire_name(name) == sent
