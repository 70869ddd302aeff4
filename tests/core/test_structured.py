"""Answers with a shape: read tolerantly, repaired a few times, and checked where they are made."""

from typing import Any

import pytest

from agentspan.core import events as e
from agentspan.core.outcome import outcome
from agentspan.core.states import Status
from agentspan.spec.agent import AgentSpec
from tests.core.story import Story, lone, slots, team

SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
SHAPE = {"schema": SCHEMA, "className": "Person"}


def shaped(**changes: Any) -> Story:
    return Story(lone(output_type=SHAPE, **changes))


def value(story: Story) -> Any:
    told = outcome(story.spec, story.run(), story.facts())
    assert told is not None
    return told["result"]


def test_the_model_is_told_the_shape() -> None:
    assert '"age"' in shaped().messages()[0]["content"]


@pytest.mark.parametrize(
    "answer", ['{"age": 7}', '```json\n{"age": 7}\n```', '```\n{"age": 7}\n```', 'Here it is: {"age": 7}. Bye!']
)
def test_the_value_is_found_in_the_text(answer: str) -> None:
    story = shaped()
    story.think(answer)
    assert story.run().status is Status.COMPLETED
    assert value(story) == {"age": 7}


@pytest.mark.parametrize(
    ("answer", "said"), [("seven", "not JSON"), ('{"age": "7"}', "$.age"), ("{}", "'age' is a required")]
)
def test_an_answer_of_another_shape_is_asked_for_again_with_what_is_wrong(answer: str, said: str) -> None:
    story = shaped()
    assert slots(story.think(answer)) == ["think"]
    assert said in story.messages()[-1]["content"]
    story.think('{"age": 7}')
    assert value(story) == {"age": 7}


def test_repairs_are_verdicts_in_the_log_and_take_no_turn_away() -> None:
    story = shaped(max_turns=1)
    story.think("seven")
    story.think('{"age": 7}')
    positions = [x.fact.position for x in story.log if isinstance(x.fact, e.VerdictGiven)]
    assert positions == ["output_type"]
    assert story.run().status is Status.COMPLETED


def test_repairs_are_bounded_and_the_failure_says_what_was_wrong() -> None:
    story = shaped()
    for _ in range(3):
        story.think("seven")
    assert story.run().status is Status.FAILED
    assert "not JSON" in story.run().reason
    assert story.text() == "seven"


def test_an_answer_in_pieces_is_read_as_one() -> None:
    story = shaped()
    story.think('{"age"', finish_reason="length")
    story.think(": 7}")
    assert value(story) == {"age": 7}


def test_a_list_may_be_asked_for() -> None:
    story = Story(lone(output_type={"schema": {"type": "array", "items": SCHEMA}}))
    story.think('[{"age": 7}, {"age": 8}]')
    assert value(story) == [{"age": 7}, {"age": 8}]


def test_a_shape_may_refer_to_itself() -> None:
    tree = {"type": "object", "properties": {"left": {"$ref": "#"}}, "additionalProperties": False}
    story = Story(lone(output_type={"schema": tree}))
    assert slots(story.think('{"left": {"left": {"right": 1}}}')) == ["think"]
    story.think('{"left": {"left": {}}}')
    assert value(story) == {"left": {"left": {}}}


def test_a_member_of_a_pipeline_may_have_a_shape() -> None:
    one = AgentSpec("one", model="scripted/any", output_type=SHAPE)
    story = Story(team("sequential", agents=(one, AgentSpec("two", model="scripted/any"))))
    assert slots(story.think("seven", execution=story.child("one"))) == ["think"]
    assert story.speakers == ["one"]


def test_a_run_that_failed_for_its_shape_and_is_retried_is_asked_again() -> None:
    story = shaped()
    for _ in range(3):
        story.think("seven")
    assert slots(story.when(e.ExecutionRetried())) == ["think"]
    story.think('{"age": 7}')
    assert value(story) == {"age": 7}


def test_guardrails_see_an_answer_once_it_has_its_shape() -> None:
    rail = {"name": "check", "guardrailType": "custom", "taskName": "check"}
    story = shaped(guardrails=(rail,))
    assert slots(story.think("seven")) == ["think"]
    assert slots(story.think('{"age": 7}')) == ["output.0"]
