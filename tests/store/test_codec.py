"""Facts to bytes and back: nothing is lost, and what is large is kept apart and once."""

import typing
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agentspan.core import events as e
from agentspan.core.states import Kind, Purpose, Verdict
from agentspan.spec.agent import Path
from agentspan.spec.policy import Budget, Limits, RetryPolicy
from agentspan.store import codec

numbers = st.integers(0, 2**53)
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
scalars = (
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | words
)
json = st.dictionaries(
    words, st.recursive(scalars, lambda x: st.lists(x, max_size=3) | st.dictionaries(words, x, max_size=3)), max_size=4
)
results = st.recursive(
    st.builds(e.Result, answers=st.lists(numbers, max_size=3).map(tuple)),
    lambda inner: st.builds(
        e.Result,
        answers=st.lists(numbers, max_size=2).map(tuple),
        branches=st.lists(st.builds(e.Branch, words, inner, words), max_size=2).map(tuple),
    ),
    max_leaves=4,
)
BY_TYPE: dict[Any, st.SearchStrategy[Any]] = {
    int: numbers,
    str: words,
    bool: st.booleans(),
    Kind: st.sampled_from(Kind),
    Purpose: st.sampled_from(Purpose),
    e.Result: results,
    RetryPolicy: st.builds(RetryPolicy, limit=numbers, delay_ms=numbers, back_off=st.sampled_from(["fixed", "linear"])),
    Limits: st.builds(Limits, start_ms=numbers, attempt_ms=numbers),
    tuple[int, ...]: st.lists(numbers, max_size=4).map(tuple),
    tuple[str, ...]: st.lists(words, max_size=4).map(tuple),
    tuple[e.Result, ...]: st.lists(results, max_size=2).map(tuple),
    Path: st.lists(numbers | words, max_size=3).map(tuple),
    Verdict: st.sampled_from(Verdict),
    Budget: st.builds(Budget, cost=st.none() | st.floats(0, 1e6), tokens=st.none() | numbers),
    e.Json: json,
    (e.Json | None): st.none() | json,
    (e.Result | None): st.none() | results,
    (tuple[int, int] | None): st.none() | st.tuples(numbers, numbers),
}


def _facts(kind: type) -> st.SearchStrategy[Any]:
    hints = typing.get_type_hints(kind)
    return st.builds(kind, **{name: BY_TYPE[hints[name]] for name in kind.__struct_fields__})  # type: ignore[attr-defined]


facts = st.one_of(*map(_facts, typing.get_args(e.AnyFact)))


@given(facts, st.sampled_from([0, 20, 100, 65_536]))
def test_what_is_decoded_is_what_was_encoded(fact: e.AnyFact, limit: int) -> None:
    data, _, payload = codec.encode(fact, limit)
    assert codec.decode(data, payload) == fact


@given(facts)
def test_a_row_that_is_too_large_gives_its_payload_away(fact: e.AnyFact) -> None:
    data, digest, payload = codec.encode(fact, 100)
    assert (digest is None) == (payload is None)
    if payload is not None:
        assert len(payload) > 100
        assert payload not in data


def test_a_payload_up_to_the_limit_stays_in_the_row() -> None:
    small, large = (e.TaskCompleted(4, {"result": "x" * count}) for count in (1_000, 100_000))
    assert codec.encode(small, 65_536)[1:] == (None, None)
    data, digest, payload = codec.encode(large, 65_536)
    assert len(data) < 100
    assert len(str(digest)) == 64
    assert payload is not None
    assert len(payload) > 100_000


def test_equal_payloads_have_one_digest() -> None:
    one, two, three = (e.TaskCompleted(n, {"result": text * 1000}) for n, text in ((1, "a"), (2, "a"), (3, "b")))
    digests = [codec.encode(fact, 100)[1] for fact in (one, two, three)]
    assert digests[0] == digests[1] != digests[2]
