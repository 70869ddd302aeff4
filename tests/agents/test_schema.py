"""Type hints become JSON Schema, and what models write becomes what the hints ask for."""

import datetime
import decimal
import enum
import pathlib
import typing
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NewType, NotRequired, Optional, TypedDict, Union

import jsonschema
import pydantic
import pytest

from agentspan.agents import ToolArgumentError, ToolContext, tool
from agentspan.agents.convert import Misfit, arguments, convert
from agentspan.agents.schema import parameters_of, schema_of


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


@dataclass
class Point:
    """A place.

    Attributes:
        x: To the right.
    """

    x: int
    y: int = 0
    tags: list[str] = field(default_factory=list)


@dataclass
class Node:
    name: str
    children: list["Node"] = field(default_factory=list)


class Address(TypedDict):
    street: str
    number: NotRequired[int]


class Inner(pydantic.BaseModel):
    amount: int = pydantic.Field(ge=1)


class Order(pydantic.BaseModel):
    """An order."""

    inner: Inner
    note: str | None = None


class Pair(typing.NamedTuple):
    left: int
    right: str


UserId = NewType("UserId", int)

SCHEMAS: list[tuple[Any, dict[str, Any]]] = [
    (str, {"type": "string"}),
    (int, {"type": "integer"}),
    (float, {"type": "number"}),
    (bool, {"type": "boolean"}),
    (None, {"type": "null"}),
    (Any, {}),
    (list, {"type": "array", "items": {}}),
    (list[int], {"type": "array", "items": {"type": "integer"}}),
    (Sequence[str], {"type": "array", "items": {"type": "string"}}),
    (set[str], {"type": "array", "items": {"type": "string"}, "uniqueItems": True}),
    (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
    (
        tuple[int, str],
        {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "minItems": 2, "maxItems": 2},
    ),
    (dict, {"type": "object"}),
    (dict[str, float], {"type": "object", "additionalProperties": {"type": "number"}}),
    (Optional[int], {"anyOf": [{"type": "integer"}, {"type": "null"}]}),  # noqa: UP045
    (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
    (Union[int, str], {"anyOf": [{"type": "integer"}, {"type": "string"}]}),  # noqa: UP007
    (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
    (Literal["a", 1], {"enum": ["a", 1]}),
    (Colour, {"type": "string", "enum": ["red", "blue"]}),
    (Size, {"type": "integer", "enum": [1, 2]}),
    (datetime.date, {"type": "string", "format": "date"}),
    (datetime.datetime, {"type": "string", "format": "date-time"}),
    (datetime.time, {"type": "string", "format": "time"}),
    (uuid.UUID, {"type": "string", "format": "uuid"}),
    (decimal.Decimal, {"type": "number"}),
    (pathlib.Path, {"type": "string"}),
    (UserId, {"type": "integer"}),
    (Annotated[int, "how many"], {"type": "integer", "description": "how many"}),
    (
        Address,
        {
            "type": "object",
            "properties": {"street": {"type": "string"}, "number": {"type": "integer"}},
            "required": ["street"],
        },
    ),
    (
        Point,
        {
            "description": "A place.",
            "type": "object",
            "properties": {
                "x": {"type": "integer", "description": "To the right."},
                "y": {"type": "integer", "default": 0},
                "tags": {"type": "array", "items": {"type": "string"}},
            },
            "required": ["x"],
        },
    ),
]


@pytest.mark.parametrize(("hint", "schema"), SCHEMAS, ids=lambda value: str(value)[:40])
def test_a_hint_becomes_a_schema(hint: Any, schema: dict[str, Any]) -> None:
    assert schema_of(hint) == schema
    jsonschema.Draft202012Validator.check_schema(schema)


def test_a_recursive_type_becomes_a_definition() -> None:
    schema = schema_of(Node)
    assert schema["$ref"] == "#/$defs/Node"
    jsonschema.validate({"name": "a", "children": [{"name": "b"}]}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"name": "a", "children": [{"nome": "b"}]}, schema)


def test_pydantic_models_keep_their_references_and_limits_inside_a_tool() -> None:
    @tool
    def order(order: Order, count: Annotated[int, pydantic.Field(ge=1, description="how many")] = 1) -> str:
        """Order something."""
        return ""

    schema = order._tool_def.input_schema
    jsonschema.validate({"order": {"inner": {"amount": 1}}}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"order": {"inner": {"amount": 0}}}, schema)
    assert schema["properties"]["count"]["minimum"] == 1
    assert schema["properties"]["count"]["description"] == "how many"


def test_models_of_the_same_name_do_not_mix() -> None:
    def other() -> type[pydantic.BaseModel]:
        class Inner(pydantic.BaseModel):
            text: str

        class Wrapper(pydantic.BaseModel):
            inner: Inner

        return Wrapper

    wrapper = other()

    def function(one, two):  # type: ignore[no-untyped-def]
        pass

    function.__annotations__ = {"one": Order, "two": wrapper}
    schema = parameters_of(function).schema(None)
    jsonschema.validate({"one": {"inner": {"amount": 1}}, "two": {"inner": {"text": "x"}}}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"one": {"inner": {"amount": 1}}, "two": {"inner": {"amount": 1}}}, schema)


GOOGLE = """Do it.

    Args:
        city (str): The city,
            with its country.
        days: How many.

    Returns:
        Nothing.
    """
NUMPY = """Do it.

    Parameters
    ----------
    city : str
        The city,
        with its country.
    days
        How many.

    Returns
    -------
    None
    """
SPHINX = """Do it.

    :param str city: The city,
        with its country.
    :param days: How many.
    :returns: Nothing.
    """


@pytest.mark.parametrize("docstring", [GOOGLE, NUMPY, SPHINX], ids=["google", "numpy", "sphinx"])
def test_parameter_descriptions_come_from_the_docstring(docstring: str) -> None:
    def function(city: str, days: int = 3) -> None: ...

    function.__doc__ = docstring
    properties = tool(function)._tool_def.input_schema["properties"]
    assert properties["city"]["description"] == "The city, with its country."
    assert properties["days"] == {"type": "integer", "description": "How many.", "default": 3}


def test_the_context_is_no_parameter_of_the_model() -> None:
    @tool
    def first(a: int, context: ToolContext) -> int:
        return a

    @tool
    def second(a: int, ctx: ToolContext | None = None) -> int:
        return a

    @tool
    def third(a: int, context) -> int:  # type: ignore[no-untyped-def]
        return a

    for each in (first, second, third):
        assert list(each._tool_def.input_schema["properties"]) == ["a"]


def test_a_parameter_called_context_of_another_type_is_one_of_the_models() -> None:
    @tool
    def search(context: str, self: int = 1) -> str:
        return context

    assert list(search._tool_def.input_schema["properties"]) == ["context", "self"]
    assert search._tool_def.input_schema["required"] == ["context"]


def test_variable_arguments_are_not_parameters_named_args() -> None:
    @tool
    def anything(a: int, *args: int, **rest: str) -> int:
        return a

    schema = anything._tool_def.input_schema
    assert list(schema["properties"]) == ["a"]
    assert schema["additionalProperties"] is True
    assert arguments("anything", anything._tool_def.parameters(), {"a": 1, "b": "x"}) == ([], {"a": 1, "b": "x"})


def test_hints_written_as_text_are_resolved_where_the_tool_stands() -> None:
    @dataclass
    class Local:
        a: int

    @tool
    def function(local: "Local", missing: "Nowhere" = None) -> "str":  # type: ignore[name-defined]  # noqa: F821
        return ""

    properties = function._tool_def.input_schema["properties"]
    assert properties["local"]["properties"] == {"a": {"type": "integer"}}
    assert properties["missing"] == {}


CONVERSIONS: list[tuple[Any, Any, Any]] = [
    (int, 3, 3),
    (int, "3", 3),
    (int, 3.0, 3),
    (int, "3.0", 3),
    (float, 3, 3.0),
    (float, "2.5", 2.5),
    (bool, "true", True),
    (bool, "False", False),
    (bool, 1, True),
    (str, 5, "5"),
    (str, {"a": 1}, '{"a": 1}'),
    (list[int], ["1", 2], [1, 2]),
    (list[int], "[1, 2]", [1, 2]),
    (list, ["a"], ["a"]),
    (dict, '{"a": 1}', {"a": 1}),
    (dict[str, int], {"a": "1"}, {"a": 1}),
    (dict[int, str], {"1": "a"}, {1: "a"}),
    (set[int], [1, 1, 2], {1, 2}),
    (frozenset[str], ["a"], frozenset({"a"})),
    (tuple[int, str], ["1", "a"], (1, "a")),
    (tuple[int, ...], [1, 2, 3], (1, 2, 3)),
    (Pair, [1, "a"], Pair(1, "a")),
    (int | None, None, None),
    (int | None, "7", 7),
    (int | str, "7", "7"),
    (int | float, 7, 7),
    (int | float, 7.5, 7.5),
    (str | list[str], ["a"], ["a"]),
    (Point | None, {"x": 1}, Point(1)),
    (Literal["a", "b"], "b", "b"),
    (Literal[1, 2], "2", 2),
    (Colour, "red", Colour.RED),
    (Colour, "RED", Colour.RED),
    (Size, 2, Size.LARGE),
    (Size, "2", Size.LARGE),
    (Point, {"x": "1", "tags": ["t"]}, Point(1, 0, ["t"])),
    (Node, {"name": "a", "children": [{"name": "b"}]}, Node("a", [Node("b")])),
    (Address, {"street": "Here", "number": "4"}, {"street": "Here", "number": 4}),
    (Order, {"inner": {"amount": 2}}, Order(inner=Inner(amount=2))),
    (Order, '{"inner": {"amount": 2}}', Order(inner=Inner(amount=2))),
    (datetime.date, "2024-05-01", datetime.date(2024, 5, 1)),
    (datetime.datetime, "2024-05-01T12:00:00Z", datetime.datetime(2024, 5, 1, 12, tzinfo=datetime.UTC)),
    (datetime.time, "12:30", datetime.time(12, 30)),
    (datetime.timedelta, 90, datetime.timedelta(seconds=90)),
    (uuid.UUID, "12345678-1234-5678-1234-567812345678", uuid.UUID("12345678-1234-5678-1234-567812345678")),
    (decimal.Decimal, 1.5, decimal.Decimal("1.5")),
    (pathlib.Path, "/tmp", pathlib.Path("/tmp")),
    (bytes, "aGk=", b"hi"),
    (UserId, "4", 4),
    (Any, {"x": [1]}, {"x": [1]}),
]


@pytest.mark.parametrize(("hint", "given", "wanted"), CONVERSIONS, ids=lambda value: str(value)[:30])
def test_an_argument_becomes_what_its_hint_asks_for(hint: Any, given: Any, wanted: Any) -> None:
    made = convert(given, hint)
    assert made == wanted
    assert type(made) is type(wanted)


MISFITS: list[tuple[Any, Any, str]] = [
    (int, "three", 'must be a whole number, got "three"'),
    (int, 3.5, "must be a whole number, got 3.5"),
    (int, True, "must be a whole number"),
    (int, None, "must be a whole number, got null"),
    (str, None, "must be text, got null"),
    (bool, "maybe", "must be true or false"),
    (list[int], ["a"], "[0] must be a whole number"),
    (list[int], "nothing", "must be an array"),
    (dict[str, int], {"a": "b"}, ".a must be a whole number"),
    (Literal["a", "b"], "c", "must be one of 'a', 'b', got \"c\""),
    (Colour, "green", "must be one of 'red', 'blue'"),
    (Point, {"y": 1}, ".x is missing (integer)"),
    (Point, {"x": "?"}, ".x must be a whole number"),
    (Node, {"name": "a", "children": [{}]}, ".children[0].name is missing"),
    (tuple[int, str], [1], "must be an array of 2 items, got 1"),
    (datetime.date, "tomorrow", "must be a date such as 2024-05-01"),
    (int | None, "x", "must be a whole number"),
    (int | list[int], {"a": 1}, "must be integer or array"),
    (Order, {"inner": {"amount": 0}}, ".inner.amount: Input should be greater than or equal to 1"),
]


@pytest.mark.parametrize(("hint", "given", "told"), MISFITS, ids=lambda value: str(value)[:30])
def test_an_argument_that_does_not_fit_says_what_would(hint: Any, given: Any, told: str) -> None:
    with pytest.raises(Misfit) as caught:
        convert(given, hint)
    assert told in str(caught.value)


def test_all_problems_of_a_call_are_told_at_once() -> None:
    @tool
    def book(city: str, days: int, kind: Literal["a", "b"] = "a") -> None: ...

    takes = book._tool_def.parameters()
    with pytest.raises(ToolArgumentError) as caught:
        arguments("book", takes, {"town": "Paris", "days": "x"})
    assert str(caught.value) == (
        "book(city, days, kind) was called wrongly: argument 'city' is missing (string); "
        "argument 'days' must be a whole number, got \"x\"; there is no argument 'town'"
    )


def test_a_missing_argument_with_a_default_keeps_its_default() -> None:
    @tool
    def book(city: str, /, days: int = 3) -> None: ...

    assert arguments("book", book._tool_def.parameters(), {"city": "Paris"}) == (["Paris"], {})
