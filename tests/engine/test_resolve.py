"""What a definition refers to takes its place: deployed agents, wherever they stand, and prompt templates."""

from typing import Any

import msgspec
import pytest

from agentspan.engine import resolve as module
from agentspan.engine.resolve import refers, resolve
from agentspan.errors import BadInput, InvalidSpec
from agentspan.spec import wire
from agentspan.spec.agent import AgentSpec
from agentspan.spec.tool import ToolSpec


def thinker(name: str, **more: Any) -> AgentSpec:
    return AgentSpec(name=name, model="scripted/x", **more)


def team(name: str, *agents: AgentSpec, **more: Any) -> AgentSpec:
    return AgentSpec(name=name, model="scripted/x", strategy="sequential", agents=agents, **more)


def reference(name: str, **more: Any) -> AgentSpec:
    return AgentSpec(name=name, **more)


def deployed(spec: AgentSpec) -> AgentSpec:
    """The definition as a part of another: others serve its functions."""
    return msgspec.structs.replace(spec, deployed=True, agents=tuple(map(deployed, spec.agents)))


def whole(spec: AgentSpec, *deployed: AgentSpec, texts: dict[tuple[str, int | None], str] | None = None) -> AgentSpec:
    agents = {each.name: each for each in deployed}
    return resolve(spec, agents.get, lambda name, version: (texts or {}).get((name, version)))


def test_a_sub_agent_that_is_only_named_becomes_the_deployed_one() -> None:
    helper = thinker("helper", instructions="Help.", tools=(ToolSpec("add"),))
    assert whole(team("both", thinker("own"), reference("helper")), helper).agents == (thinker("own"), deployed(helper))


def test_what_the_reference_says_for_itself_wins() -> None:
    helper = thinker("helper", description="old", max_turns=3, instructions="Help.")
    found = whole(team("t", reference("helper", description="new", external=True)), helper).agents[0]
    assert (found.description, found.max_turns, found.instructions, found.external) == ("new", 3, "Help.", False)


def test_references_within_references_are_followed() -> None:
    inner, outer = thinker("inner"), team("outer", reference("inner"))
    assert whole(team("top", reference("outer")), inner, outer).at((0, 0)) == deployed(inner)


def test_an_agent_behind_a_tool_is_found_by_name() -> None:
    helper = thinker("helper")
    for config in ({"agentConfig": {"name": "helper", "external": True}}, {"workflowName": "helper"}):
        tool = ToolSpec("ask", tool_type="agent_tool", config=config)
        [found] = whole(thinker("a", tools=(tool,)), helper).tools
        assert wire.decode(found.config["agentConfig"]) == deployed(helper)


@pytest.mark.parametrize("field", ["router", "planner", "fallback"])
def test_an_agent_in_a_field_is_found_by_name(field: str) -> None:
    helper = thinker("helper")
    spec = team("t", thinker("a"), **{field: wire.encode(reference("helper"))})
    assert wire.decode(getattr(whole(spec, helper), field)) == deployed(helper)


def test_a_function_is_no_reference() -> None:
    spec = team("t", thinker("a"), router={"taskName": "t_router_fn"}, fallback="openai/gpt-4o", planner=True)
    assert not refers(spec)
    assert whole(spec) == spec


def test_a_name_under_which_nothing_is_deployed_is_said() -> None:
    with pytest.raises(InvalidSpec, match=r"agent 'nobody' has no model .* no agent is deployed under this name"):
        whole(team("t", reference("nobody")))


def test_a_circle_is_shown() -> None:
    a, b = team("a", reference("b")), team("b", reference("a"))
    with pytest.raises(InvalidSpec, match="in a circle: a > b > a"):
        whole(team("t", reference("a")), a, b)


def test_references_do_not_go_down_for_ever() -> None:
    chain = [team(f"n{n}", reference(f"n{n + 1}")) for n in range(module.DEEPEST + 1)]
    with pytest.raises(InvalidSpec, match="too many references"):
        whole(team("t", reference("n0")), *chain, thinker(f"n{module.DEEPEST + 1}"))


def test_references_do_not_multiply_for_ever() -> None:
    wide = [team(f"n{n}", *[team(f"m{k}", reference(f"n{n + 1}")) for k in range(10)]) for n in range(4)]
    with pytest.raises(InvalidSpec, match="too many references"):
        whole(team("t", reference("n0")), *wide, thinker("n4"))


def template(name: str, **more: Any) -> dict[str, Any]:
    return {"type": "prompt_template", "name": name, **more}


def test_a_template_becomes_its_text_with_its_variables() -> None:
    spec = team("t", thinker("a", instructions=template("greet", variables={"who": "Kim", "n": 3})))
    found = whole(spec, texts={("greet", None): "Greet ${who} {{ n }} times."})
    assert found.agents[0].instructions == "Greet Kim 3 times."


def test_a_template_of_a_version_is_that_version() -> None:
    texts = {("greet", None): "new", ("greet", 1): "old"}
    assert whole(thinker("a", instructions=template("greet", version=1)), texts=texts).instructions == "old"


def test_a_template_that_is_not_there_is_said() -> None:
    with pytest.raises(InvalidSpec, match="no prompt template 'greet' in version 7"):
        whole(thinker("a", instructions=template("greet", version=7)))


def test_a_variable_without_a_value_is_said() -> None:
    with pytest.raises(BadInput, match="'greet' needs who, when"):
        whole(thinker("a", instructions=template("greet")), texts={("greet", None): "${who} ${when} ${who}"})


def test_templates_of_deployed_agents_are_filled_in_too() -> None:
    helper = thinker("helper", instructions=template("greet"))
    assert whole(team("t", reference("helper")), helper, texts={("greet", None): "Hi."}).agents[0].instructions == "Hi."
