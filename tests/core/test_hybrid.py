"""An agent with tools of its own and sub-agents: it works until it hands over."""

from agentspan.core.states import Status
from agentspan.spec.agent import AgentSpec
from tests.core.story import Story, lone, slots


def hybrid() -> AgentSpec:
    helper = AgentSpec("helper", model="scripted/any", description="knows prices")
    return lone(agents=(helper, AgentSpec("other", model="scripted/any")))


def test_it_is_offered_its_tools_and_the_ways_to_its_agents() -> None:
    names = [tool.name for tool in hybrid().own_tools]
    assert names == ["look", "pay", "lone_transfer_to_helper", "lone_transfer_to_other"]
    assert "knows prices" in hybrid().own_tools[2].description


def test_it_uses_its_tools_and_may_answer_itself() -> None:
    story = Story(hybrid())
    assert slots(story.think("", "look")) == ["call.0"]
    story.act()
    story.think("sunny")
    assert story.end == (Status.COMPLETED, "stop", "sunny")


def test_it_hands_over_and_the_answer_of_who_took_over_is_its_own() -> None:
    story = Story(hybrid())
    story.think("I ask the expert.", "lone_transfer_to_helper")
    helper = story.child("helper")
    assert "I ask the expert." in str(story.messages(helper))
    story.think("7 euros", execution=helper)
    assert story.end == (Status.COMPLETED, "stop", "7 euros")
    assert story.speakers == ["helper"]


def test_what_it_asked_of_its_tools_is_known_to_who_takes_over() -> None:
    story = Story(hybrid())
    story.think("", "look")
    story.act(0, "the sky is green")
    story.think("", "lone_transfer_to_helper")
    assert "the sky is green" in str(story.messages(story.child("helper")))


def test_the_other_calls_are_made_first() -> None:
    story = Story(hybrid())
    story.think("", "lone_transfer_to_helper", "look")
    assert story.speakers == []
    story.act(1)
    assert story.speakers == ["helper"]


def test_an_agent_that_took_over_and_failed_fails_it() -> None:
    story = Story(hybrid())
    story.think("", "lone_transfer_to_helper")
    story.fail("think", "no key", execution=story.child("helper"), terminal=True)
    assert story.run().status is Status.FAILED
    assert story.run().reason == "helper: no key"


def test_its_guardrails_check_the_answer_of_who_took_over() -> None:
    rail = {"name": "polite", "guardrailType": "regex", "patterns": ["damn"], "onFail": "raise"}
    story = Story(lone(agents=(AgentSpec("helper", model="scripted/any"),), guardrails=(rail,)))
    story.think("", "lone_transfer_to_helper")
    story.think("damn", execution=story.child("helper"))
    assert (story.run().status, story.run().finish_reason) == (Status.FAILED, "guardrail")


def test_an_answer_that_is_not_accepted_is_made_anew_by_the_agent_itself() -> None:
    rail = {"name": "polite", "guardrailType": "regex", "patterns": ["damn"], "onFail": "retry"}
    story = Story(lone(agents=(AgentSpec("helper", model="scripted/any"),), guardrails=(rail,)))
    story.think("", "lone_transfer_to_helper")
    story.think("damn", execution=story.child("helper"))
    story.think("dear", execution=0)
    assert story.end == (Status.COMPLETED, "stop", "dear")
