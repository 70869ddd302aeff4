"""A check against a schema ends soon, stays in the schema, and says what is wrong."""

import time

import pytest

from agentspan.core.people import _fits
from agentspan.errors import BadInput
from agentspan.spec import shape
from agentspan.spec.misfit import misfit
from agentspan.spec.rules import broken, chosen, pattern_problem, patterns_problem

CATASTROPHE = r"^(?:a|aa|a.)+(?:b|a+)*$"
TRAP = "a" * 60 + "!!"


@pytest.mark.parametrize(
    ("schema", "fitting", "odd", "said"),
    [
        ({"pattern": "^a+$"}, "aa", "b", "at $: 'b' does not match '^a+$'"),
        ({"patternProperties": {"^n": {"type": "integer"}}}, {"n1": 1, "x": ""}, {"n1": ""}, "at $.n1: '' is not"),
        (
            {"properties": {"a": {}}, "patternProperties": {"^n": {}}, "additionalProperties": False},
            {"a": 1, "n": 2},
            {"b": 1, "c": 2},
            "'b', 'c' were unexpected",
        ),
        ({"additionalProperties": {"type": "string"}}, {"a": ""}, {"a": 1}, "at $.a: 1 is not of type 'string'"),
        ({"uniqueItems": True}, [{"a": 1}, {"a": 2}], [{"a": 1}, {"a": 1}], "has non-unique elements"),
        ({"$ref": "#/$defs/n", "$defs": {"n": {"type": "number"}}}, 1, "1", "is not of type 'number'"),
        ({"properties": {"a": {}}, "unevaluatedProperties": False}, {"a": 1}, {"b": 1}, "'b' was unexpected"),
    ],
)
def test_what_does_not_fit_is_said(schema: dict, fitting: object, odd: object, said: str) -> None:
    assert misfit(schema, fitting) is None
    assert said in str(misfit(schema, odd))


def doubling(depth: int) -> dict:
    defs = {f"a{each}": {"allOf": [{"$ref": f"#/$defs/a{each + 1}"}] * 2} for each in range(depth)}
    return {"$ref": "#/$defs/a0", "$defs": {**defs, f"a{depth}": {"type": "string"}}}


def nested(depth: int) -> dict:
    value: dict = {}
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("schema", "value", "said"),
    [
        pytest.param({"pattern": CATASTROPHE}, TRAP, "took longer than", id="pattern"),
        pytest.param({"patternProperties": {CATASTROPHE: {}}}, {TRAP: 1}, "took longer than", id="names"),
        pytest.param(
            {"patternProperties": {CATASTROPHE: {}}, "additionalProperties": False}, {TRAP: 1}, "took longer", id="rest"
        ),
        pytest.param(
            {"patternProperties": {CATASTROPHE: {}}, "unevaluatedProperties": False},
            {TRAP: 1},
            "in one schema",
            id="un",
        ),
        pytest.param({"pattern": "a" * 3_000}, "a", "longer than the 2000 characters", id="long pattern"),
        pytest.param({"pattern": "("}, "a", "is no regular expression", id="no pattern"),
        pytest.param(doubling(40), "a", "too large for its schema", id="doubling"),
        pytest.param({"uniqueItems": True}, [{"a": n} for n in range(9_000)], "too large for its schema", id="unique"),
        pytest.param({"items": {"type": "integer"}}, list(range(300_000)), "too large for its schema", id="many"),
        pytest.param({"$ref": "#"}, "a", "refers to itself", id="circle"),
        pytest.param({"properties": {"a": {"$ref": "#"}}}, nested(900), "nested too deeply", id="deep"),
        pytest.param({"$ref": "http://127.0.0.1:9/schema"}, "a", "schema cannot be used", id="elsewhere"),
        pytest.param({"$ref": "file:///etc/passwd"}, "a", "schema cannot be used", id="file"),
        pytest.param({"type": "strnig"}, "a", "schema cannot be used", id="unknown type"),
    ],
)
def test_a_hostile_schema_is_given_up_soon(schema: dict, value: object, said: str) -> None:
    began = time.process_time()
    assert said in str(misfit(schema, value))
    assert time.process_time() - began < 10


def test_nesting_in_an_answer_is_no_answer() -> None:
    deep = '{"a":' * 100_000
    assert "not JSON" in str(shape.problem({"schema": {"type": "object"}}, deep))
    assert chosen(deep, ["one", "two"]) is None


def test_a_form_with_a_hostile_pattern_refuses_the_answer() -> None:
    with pytest.raises(BadInput, match="took longer"):
        _fits({"text": TRAP}, {"properties": {"text": {"pattern": CATASTROPHE}}}, "the answer")


@pytest.mark.parametrize("pattern", ["(" * 900 + ")" * 900, "a" * 2_001, "(", 5])
def test_a_pattern_that_cannot_be_used_is_refused_and_never_passes(pattern: object) -> None:
    assert pattern_problem(pattern)
    assert broken({"patterns": [pattern]}, "text") == pattern_problem(pattern)


def test_so_many_patterns_are_too_many() -> None:
    assert "join some" in str(patterns_problem(["a"] * 101))
    assert patterns_problem(["a"] * 100) is None


def test_many_hostile_patterns_take_no_longer_than_one() -> None:
    began = time.process_time()
    assert "took longer" in str(broken({"name": "g", "patterns": ["b", CATASTROPHE] * 50}, TRAP))
    assert time.process_time() - began < 5
