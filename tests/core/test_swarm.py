"""Swarms: members hand over to each other, by a tool, by a word, by a tool's result or by a condition."""

from typing import Any

import pytest

from agentspan.core import events as e
from agentspan.core.states import Status
from agentspan.spec.agent import AgentSpec
from agentspan.spec.tool import ToolSpec
from tests.core.story import Story, only, slots, team


def swarm(*names: str, **changes: Any) -> AgentSpec:
    return team("swarm", *names, **changes)


def speak(story: Story, name: str, content: str = "", *calls: str) -> list[e.AnyFact]:
    return story.think(content, *calls, execution=story.child(name))


def test_the_swarms_own_agent_speaks_first_and_is_a_member() -> None:
    story = Story(swarm("one", "two", model="scripted/any"))
    assert story.speakers == ["team"]
    speak(story, "team", "", "team_transfer_to_one")
    speak(story, "one", "", "one_transfer_to_team")
    assert story.speakers == ["team", "one", "team"]


def test_a_swarm_without_a_model_begins_with_its_first_member() -> None:
    assert Story(swarm("one", "two")).speakers == ["one"]


def test_a_member_is_offered_a_way_to_each_of_the_others() -> None:
    spec = swarm("one", "two", model="scripted/any")
    assert [tool.name for tool in spec.at((0,)).own_tools] == ["one_transfer_to_team", "one_transfer_to_two"]
    assert [tool.name for tool in spec.at(("self",)).own_tools] == ["team_transfer_to_one", "team_transfer_to_two"]


def test_the_transition_table_takes_the_other_ways_away() -> None:
    spec = swarm("one", "two", "three", allowed_transitions={"one": ["three"]})
    assert [tool.name for tool in spec.at((0,)).own_tools] == ["one_transfer_to_three"]
    story = Story(spec)
    (refused, *_) = speak(story, "one", "", "one_transfer_to_two")
    assert isinstance(refused, e.CallRefused)
    assert refused.cause == "unknown_tool"


def test_who_takes_over_hears_what_was_said() -> None:
    story = Story(swarm("one", "two"))
    speak(story, "one", "I know the price: 7.", "one_transfer_to_two")
    assert "I know the price: 7." in str(story.messages(story.child("two")))


def test_the_other_calls_of_a_turn_that_hands_over_are_made_before_it_does() -> None:
    one = AgentSpec("one", model="scripted/any", tools=(ToolSpec("look"),))
    story = Story(team("swarm", agents=(one, AgentSpec("two", model="scripted/any"))))
    first = story.child("one")
    speak(story, "one", "", "one_transfer_to_two", "look")
    assert story.speakers == ["one"]
    story.act(1, execution=first)
    assert story.speakers == ["one", "two"]


def test_of_two_transfers_in_one_answer_the_first_counts() -> None:
    story = Story(swarm("one", "two", "three"))
    facts = speak(story, "one", "", "one_transfer_to_two", "one_transfer_to_three")
    assert [refused.cause for refused in only(e.CallRefused, facts)] == ["transfer", "handed_over"]
    assert story.speakers == ["one", "two"]


def test_a_word_in_the_answer_hands_over_whatever_its_case() -> None:
    story = Story(swarm("one", "two", handoffs=({"type": "on_text_mention", "text": "Billing", "target": "two"},)))
    speak(story, "one", "this is about billing")
    assert story.speakers == ["one", "two"]
    speak(story, "two", "all is paid")
    assert story.end == (Status.COMPLETED, "stop", "all is paid")


def test_a_tools_result_hands_over_from_within_the_members_turn() -> None:
    one = AgentSpec("one", model="scripted/any", tools=(ToolSpec("look"),))
    condition = {"type": "on_tool_result", "toolName": "look", "resultContains": "refund", "target": "two"}
    story = Story(team("swarm", agents=(one, AgentSpec("two", model="scripted/any")), handoffs=(condition,)))
    first = story.child("one")
    speak(story, "one", "let me see", "look")
    story.act(0, "a REFUND is due", execution=first)
    assert story.run(first).ended
    assert story.speakers == ["one", "two"]


def test_a_tools_result_without_the_word_hands_over_to_nobody() -> None:
    one = AgentSpec("one", model="scripted/any", tools=(ToolSpec("look"),))
    condition = {"type": "on_tool_result", "toolName": "look", "resultContains": "refund", "target": "two"}
    story = Story(team("swarm", agents=(one, AgentSpec("two", model="scripted/any")), handoffs=(condition,)))
    first = story.child("one")
    speak(story, "one", "", "look")
    story.act(0, "nothing", execution=first)
    assert not story.run(first).ended


@pytest.mark.parametrize(("said", "speakers"), [("2", ["one", "two"]), ("two", ["one", "two"]), ("9", ["one"])])
def test_a_condition_is_a_function_that_names_a_member_or_its_number(said: str, speakers: list[str]) -> None:
    conditions = ({"type": "on_condition", "target": "two", "taskName": "team_handoff_two"},)
    story = Story(swarm("one", "two", handoffs=conditions))
    speak(story, "one", "hm")
    given = story.given("choose.1")
    assert (given["result"], given["active_agent"]) == ("hm", "1")
    story.settle("choose.1", active_agent=said, handoff=True)
    assert story.speakers == speakers


def test_a_condition_that_says_no_or_fails_ends_the_swarm_with_the_last_words() -> None:
    conditions = ({"type": "on_condition", "target": "two", "taskName": "team_handoff_two"},)
    for outcome in ("no", "fails"):
        story = Story(swarm("one", "two", handoffs=conditions))
        speak(story, "one", "hm")
        if outcome == "no":
            story.settle("choose.1", active_agent="1", handoff=False)
        else:
            story.fail("choose.1")
            story.fail("choose.1")
        assert story.end == (Status.COMPLETED, "stop", "hm")


def test_hops_have_a_limit() -> None:
    story = Story(swarm("one", "two", max_turns=3))
    for name, other in (("one", "two"), ("two", "one"), ("one", "two")):
        speak(story, name, "you do it", f"{name}_transfer_to_{other}")
    assert story.speakers == ["one", "two", "one"]
    assert story.end == (Status.COMPLETED, "max_turns", "you do it")


def test_a_tools_result_hands_over_to_nobody_out_of_reach_and_to_nobody_who_has_it_already() -> None:
    one = AgentSpec("one", model="scripted/any", tools=(ToolSpec("look"),))
    others = tuple(AgentSpec(name, model="scripted/any") for name in ("two", "three"))
    conditions = tuple({"type": "on_tool_result", "target": name} for name in ("one", "two"))
    story = Story(team("swarm", agents=(one, *others), allowed_transitions={"one": ["three"]}, handoffs=conditions))
    first = story.child("one")
    speak(story, "one", "looking", "look")
    assert slots(story.act(0, execution=first)) == ["think"]


def test_a_team_may_be_a_member() -> None:
    inner = team("sequential", "x", "y", name="inner")
    story = Story(team("swarm", agents=(AgentSpec("one", model="scripted/any"), inner)))
    speak(story, "one", "", "one_transfer_to_inner")
    speak(story, "x", "from x")
    speak(story, "y", "from y")
    assert story.text() == "from y"
