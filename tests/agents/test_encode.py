"""What tools return becomes JSON, or a clear failure."""

import datetime
import decimal
import enum
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pydantic
import pytest

from agentspan.agents import ToolSerializationError
from agentspan.agents.encode import output_of


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Point:
    x: int
    when: datetime.date


class Model(pydantic.BaseModel):
    when: datetime.datetime


class Pair(NamedTuple):
    left: int


class Array:
    """As numpy's."""

    def tolist(self) -> list[int]:
        return [1, 2]


DAY = datetime.date(2024, 5, 1)

OUTPUTS: list[tuple[Any, Any]] = [
    ({"a": 1}, {"a": 1}),
    ("text", {"result": "text"}),
    (None, {"result": None}),
    (3, {"result": 3}),
    (True, {"result": True}),
    ([1, (2, 3)], {"result": [1, [2, 3]]}),
    ({1, 2}, {"result": [1, 2]}),
    (Point(1, DAY), {"x": 1, "when": "2024-05-01"}),
    (Model(when=datetime.datetime(2024, 5, 1)), {"when": "2024-05-01T00:00:00"}),
    ([Model(when=datetime.datetime(2024, 5, 1))], {"result": [{"when": "2024-05-01T00:00:00"}]}),
    (Pair(1), {"left": 1}),
    (Colour.RED, {"result": "red"}),
    ({"day": DAY, Colour.RED: {1: "one"}}, {"day": "2024-05-01", "red": {"1": "one"}}),
    (datetime.timedelta(minutes=1), {"result": 60.0}),
    (decimal.Decimal("1.50"), {"result": 1.5}),
    (decimal.Decimal("2"), {"result": 2}),
    (b"text", {"result": "text"}),
    (b"\xff\xfe", {"result": "//4="}),
    (Path("/tmp/a"), {"result": "/tmp/a"}),
    (uuid.UUID(int=1), {"result": "00000000-0000-0000-0000-000000000001"}),
    (Array(), {"result": [1, 2]}),
]


@pytest.mark.parametrize(("value", "output"), OUTPUTS, ids=lambda value: str(value)[:30])
def test_a_value_becomes_json(value: Any, output: Any) -> None:
    assert output_of("tool", value) == output


def numbers() -> Any:
    yield 1


LOOP: list[Any] = []
LOOP.append(LOOP)

FAILURES: list[tuple[Any, str]] = [
    (object(), "the result of tool is of type object, which is not JSON"),
    ({"a": [1, object()]}, "the result of tool.a[1] is of type object"),
    ({(1, 2): 3}, "has a key of type tuple"),
    (numbers(), "is a generator; return its items as a list"),
    (float("nan"), "is nan, which JSON does not have"),
    (LOOP, "nested too deeply or contains itself"),
    (lambda: 1, "is of type function"),
    (Point, "is of type type"),
]


@pytest.mark.parametrize(("value", "told"), FAILURES, ids=[each[1] for each in FAILURES])
def test_what_is_not_json_says_where_and_what(value: Any, told: str) -> None:
    with pytest.raises(ToolSerializationError) as caught:
        output_of("tool", value)
    assert told in str(caught.value)
