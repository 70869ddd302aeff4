"""Structured output: a user's type becomes a JSON Schema, and the model's answer becomes an object of that type."""

import dataclasses
import datetime
import enum
import typing
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Generic, Literal, NotRequired, Optional, TypedDict, TypeVar, Union

import jsonschema
import pydantic
import pytest

from agentspan.agents import Agent, AgentRuntime, FinishReason, Status
from agentspan.agents.result import result_of
from agentspan.agents.serialize import serialize
from agentspan.agents.shape import Misfit, build, name_of, shape_of
from tests.agents.serving import ServerProcess

T = TypeVar("T")


class Mood(enum.Enum):
    GOOD = "good"
    BAD = "bad"


class City(pydantic.BaseModel):
    name: str
    people: int = pydantic.Field(ge=0)


class Tree(pydantic.BaseModel):
    label: str
    children: list["Tree"] = []


class Page(pydantic.BaseModel, Generic[T]):
    items: list[T]
    total: int


@dataclasses.dataclass
class Visit:
    """A stay in a city."""

    city: City
    day: datetime.date
    mood: Mood = Mood.GOOD
    before: Optional["Visit"] = None


@dataclasses.dataclass
class Box(Generic[T]):
    content: T


class Address(TypedDict):
    street: str
    number: NotRequired[int]


class Spot(typing.NamedTuple):
    x: int
    y: int


class Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)
    day: datetime.date


PARIS = {"name": "Paris", "people": 2}
DAY = datetime.date(2024, 5, 1)

SHAPES: list[tuple[Any, Any, Any]] = [
    (City, PARIS, City(name="Paris", people=2)),
    (
        Tree,
        {"label": "a", "children": [{"label": "b"}]},
        Tree(label="a", children=[Tree(label="b")]),
    ),
    (Page[City], {"items": [PARIS], "total": 1}, Page[City](items=[City(name="Paris", people=2)], total=1)),
    (
        Visit,
        {"city": PARIS, "day": "2024-05-01", "mood": "bad", "before": {"city": PARIS, "day": "2024-05-01"}},
        Visit(City(**PARIS), DAY, Mood.BAD, Visit(City(**PARIS), DAY)),  # type: ignore[arg-type]
    ),
    (Box[int], {"content": 3}, Box(3)),
    (Address, {"street": "Rue"}, {"street": "Rue"}),
    (list[Address], [{"street": "Rue", "number": 1}], [{"street": "Rue", "number": 1}]),
    (list[City], [PARIS], [City(name="Paris", people=2)]),
    (dict[str, City], {"a": PARIS}, {"a": City(name="Paris", people=2)}),
    (Union[City, int], 3, 3),  # noqa: UP007
    (City | None, None, None),
    (Mood, "bad", Mood.BAD),
    (Literal["a", "b"], "b", "b"),
    (Spot, [1, 2], Spot(1, 2)),
    (tuple[int, str], [1, "a"], (1, "a")),
    (set[int], [1, 2], {1, 2}),
    (Strict, {"day": "2024-05-01"}, Strict(day=DAY)),
    (Decimal, "1.5", Decimal("1.5")),
    (datetime.date, "2024-05-01", DAY),
    (int, 3, 3),
    (bool, True, True),
    (str, "text", "text"),
]


@pytest.mark.parametrize(("output_type", "value", "wanted"), SHAPES, ids=lambda each: getattr(each, "__name__", None))
def test_a_value_that_fits_the_schema_becomes_an_object_of_the_type(output_type: Any, value: Any, wanted: Any) -> None:
    schema = shape_of(output_type)["schema"]
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(value, schema)
    built = build(output_type, value)
    assert built == wanted
    assert type(built) is type(wanted)


@pytest.mark.parametrize(
    ("output_type", "value", "where"),
    [
        (City, {"name": "Paris"}, "people"),
        (City, {"name": "Paris", "people": -1}, "people"),
        (Visit, {"city": PARIS, "day": "soon"}, "day"),
        (list[City], [PARIS, {"name": 1}], "1.name"),
        (Address, {"number": 1}, "street"),
        (Mood, "so so", "good"),
        (int, {"result": 3}, "integer"),
    ],
)
def test_a_value_that_does_not_fit_is_told_where(output_type: Any, value: Any, where: str) -> None:
    with pytest.raises(Misfit, match=where):
        build(output_type, value)


def test_an_answer_that_came_as_text_is_read() -> None:
    assert build(City, '{"name": "Paris", "people": 2}') == City(name="Paris", people=2)
    assert build(City, 'Here it is:\n```json\n{"name": "Paris", "people": 2}\n```') == City(name="Paris", people=2)
    with pytest.raises(Misfit, match="object"):
        build(City, "I could not finish")


NAMES = [(City, "City"), (Page[City], "Page_City"), (list[City], "list_City"), (dict[str, int], "dict_str_int")]


@pytest.mark.parametrize(("output_type", "name"), NAMES)
def test_a_name_is_one_that_providers_accept(output_type: Any, name: str) -> None:
    assert name_of(output_type) == shape_of(output_type)["className"] == name


@pytest.mark.parametrize("output_type", [object(), Callable[[int], int], type("Own", (), {}), "Nobody"])
def test_a_type_that_has_no_json_is_refused_before_the_run(output_type: Any) -> None:
    with pytest.raises(TypeError, match="has no JSON"):
        serialize(Agent("a", "m/x", output_type=output_type))


def ended(result: Any, status: str = "COMPLETED", reason: str = "stop") -> dict[str, Any]:
    output = {"result": result, "finishReason": reason}
    return {"executionId": "e", "status": status, "output": output, "finishReason": reason}


def test_the_output_of_a_result_is_the_user_s_object() -> None:
    result = result_of(ended(PARIS), output_type=City)
    assert result.output == City(name="Paris", people=2)
    assert result.error is None
    assert result.is_success


def test_an_output_that_is_no_such_object_stays_as_it_is_and_says_why() -> None:
    result = result_of(ended("half an ans", reason="max_turns"), output_type=City)
    assert result.output["result"] == "half an ans"
    assert result.status is Status.COMPLETED
    assert result.finish_reason is FinishReason.MAX_TURNS
    assert "the answer is no City: the value: Input should be an object" in str(result.error)


def test_the_output_of_a_failed_run_is_a_dict() -> None:
    result = result_of(ended("half", status="FAILED", reason="error"), output_type=City)
    assert result.output["status"] == "FAILED"
    assert result.output["result"] == "half"


# With a server


@pytest.fixture
def geographer(server: ServerProcess) -> Agent:
    return Agent("geographer", server.script("geographer", '{"name": "Paris", "people": 2}'), output_type=City)


async def test_every_way_to_a_result_gives_the_user_s_object(server: ServerProcess, geographer: Agent) -> None:
    wanted = City(name="Paris", people=2)
    async with AgentRuntime(server_url=server.url) as runtime:
        first = await runtime.run_async(geographer, "Where?")
        assert first.output == wanted
        heard = await runtime.run_async(geographer, "Where?", on_event=lambda event: None)
        assert heard.output == wanted
        handle = await runtime.start_async(geographer, "Where?")
        assert (await handle.join_async()).output == wanted
        stream = await runtime.stream_async(geographer, "Where?")
        kinds = [event.type async for event in stream]
        assert kinds[-1] == "done"
        assert (await stream.get_result()).output == wanted
        again = runtime.attach(first.execution_id)
        assert (await again.join_async()).output["result"] == {"name": "Paris", "people": 2}
        assert (await again.join_async(output_type=City)).output == wanted
        assert (await runtime.attach(first.execution_id, output_type=City).join_async()).output == wanted
        resumed = await runtime.resume_async(first.execution_id, geographer)
        assert (await resumed.join_async()).output == wanted


def test_blocking_code_gets_the_user_s_object_too(runtime: AgentRuntime, geographer: Agent) -> None:
    wanted = City(name="Paris", people=2)
    assert runtime.run(geographer, "Where?").output == wanted
    assert runtime.start(geographer, "Where?").join().output == wanted
    assert runtime.stream(geographer, "Where?").result.output == wanted
