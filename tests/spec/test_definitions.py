"""Texts with variables, and what differs between two definitions."""

import pytest

from agentspan.errors import BadInput, InvalidSpec
from agentspan.spec import wire
from agentspan.spec.agent import AgentSpec
from agentspan.spec.check import check
from agentspan.spec.diff import diff
from agentspan.spec.template import render, variables
from agentspan.spec.tool import ToolSpec


def test_variables_are_found_in_both_forms_once_each_in_order() -> None:
    assert variables("${b} {{a}} ${ b } $c {d} ${x y}") == ["b", "a"]


def test_a_value_is_not_looked_into_again() -> None:
    assert render("t", "${a} {{b}}", {"a": "${b}", "b": [1, "é"]}) == '${b} [1,"é"]'


def test_a_missing_value_is_named() -> None:
    with pytest.raises(BadInput, match="'t' needs b: give PromptTemplate"):
        render("t", "${a} ${b}", {"a": 1})


def test_equal_definitions_do_not_differ() -> None:
    spec = wire.encode(AgentSpec("a", model="m", tools=(ToolSpec("x"),)))
    assert diff(spec, spec) == []


def test_things_with_names_are_compared_by_name() -> None:
    before = AgentSpec("a", model="m", tools=(ToolSpec("x", "old"), ToolSpec("y")), instructions="one")
    after = AgentSpec("a", model="n", tools=(ToolSpec("y"), ToolSpec("x", "new"), ToolSpec("z")), max_tokens=5)
    found = {each["path"]: (each["before"], each["after"]) for each in diff(wire.encode(before), wire.encode(after))}
    assert found.pop("tools[z]")[0] is None
    assert found == {
        "model": ("m", "n"),
        "instructions": ("one", None),
        "maxTokens": (None, 5),
        "tools[x].description": ("old", "new"),
        "tools[order]": (["x", "y"], ["y", "x", "z"]),
    }


def test_lists_of_other_things_are_compared_whole() -> None:
    assert diff({"a": [1, 2]}, {"a": [1]}) == [{"path": "a", "before": [1, 2], "after": [1]}]


def test_a_root_without_a_model_says_what_to_do() -> None:
    for spec in (AgentSpec("a"), AgentSpec("a", model="m/x", external=True)):
        with pytest.raises(InvalidSpec, match=r"give it a model .* or run the deployed agent by its name"):
            check(spec)


def test_a_sub_agent_may_be_a_reference() -> None:
    check(AgentSpec("t", strategy="sequential", agents=(AgentSpec("a", model="m/x"), AgentSpec("b"))))


def test_a_sub_agent_whose_model_was_forgotten_is_no_reference() -> None:
    forgotten = AgentSpec("b", instructions="Help.", tools=(ToolSpec("x"),))
    with pytest.raises(InvalidSpec, match="agent 't/b': it has instructions and tools but no model"):
        check(AgentSpec("t", strategy="sequential", agents=(forgotten,)))


@pytest.mark.parametrize("instructions", [{}, {"type": "prompt_template"}, {"text": "x"}])
def test_instructions_of_no_known_kind_are_refused(instructions: dict[str, str]) -> None:
    with pytest.raises(InvalidSpec, match="instructions must be text"):
        check(AgentSpec("a", model="m/x", instructions=instructions))
