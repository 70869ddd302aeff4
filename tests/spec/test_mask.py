"""Masked fields: hidden at any depth, in objects and in the JSON within texts, and nothing else is."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentspan.spec.agent import AgentSpec
from agentspan.spec.mask import masked, names
from agentspan.spec.tool import ToolSpec

HIDDEN = frozenset({"password", "ssn"})


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"Password": "x", "a": [{"ssn": {"deep": 1}}]}, {"Password": "***", "a": [{"ssn": "***"}]}),
        ("the password is mine", "the password is mine"),
        ('say {"password": "a\\"b", "c": 1} twice', 'say {"password": "***", "c": 1} twice'),
        ('{"ssn": {"a": [1, "}"]}, "b": 2}', '{"ssn": "***", "b": 2}'),
        ('cut off {"password": "hun', 'cut off {"password": "***"'),
        ("{'password': 'x', 'b': 1}", "{'password': '***', 'b': 1}"),
        (json.dumps({"c": json.dumps({"ssn": 'a"b', "d": 1})}), json.dumps({"c": json.dumps({"ssn": "***", "d": 1})})),
        (("password", 3, None), ["password", 3, None]),
    ],
)
def test_what_follows_a_hidden_key_is_masked(value: Any, shown: Any) -> None:
    assert masked(value, HIDDEN) == shown


SECRET = "s3cr3t"
SECRETS = st.recursive(
    st.just(SECRET), lambda inner: st.lists(inner, min_size=1, max_size=2) | st.fixed_dictionaries({"x": inner})
)
HOLDERS = st.recursive(
    st.fixed_dictionaries({"password": SECRETS, "other": st.text()}),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3) | inner.map(json.dumps),
)


@given(HOLDERS)
def test_no_secret_is_left_however_it_is_packed(value: Any) -> None:
    assert SECRET not in json.dumps(masked(value, HIDDEN))
    assert SECRET not in masked(json.dumps(value), HIDDEN)


@given(st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_what_is_not_hidden_stays(value: Any) -> None:
    assert masked(value, frozenset({"no such key"})) == value


def test_what_one_agent_hides_is_hidden_in_the_whole_run() -> None:
    helper = {"name": "deep", "model": "scripted/x", "maskedFields": ["Three"]}
    inner = AgentSpec(
        name="in",
        tools=(ToolSpec(name="t", tool_type="agent_tool", config={"agentConfig": helper}),),
        masked_fields=("two",),
    )
    outer = AgentSpec(
        name="out", agents=(inner,), router={"name": "r", "maskedFields": ["four"]}, masked_fields=("ONE",)
    )
    assert names(outer) == {"one", "two", "three", "four"}
