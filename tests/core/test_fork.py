"""Forks and their edits."""

import pytest

from agentspan.core import events as e
from agentspan.core.fork import edited_spec, fork
from agentspan.errors import BadInput
from tests.core.story import Story, lone, team


def finished() -> Story:
    story = Story(lone())
    story.think("", "look")
    story.act(0, "sunny")
    story.think("It is sunny.")
    return story


def test_the_prompt_can_be_edited() -> None:
    shared = fork(finished().log, 1, {"prompt": "stay"})
    assert isinstance(shared[0].fact, e.ExecutionStarted)
    assert shared[0].fact.input == {"prompt": "stay"}


def test_a_tools_result_can_be_edited() -> None:
    shared = fork(finished().log, 5, {"output": "rainy"})
    assert isinstance(shared[-1].fact, e.TaskCompleted)
    assert shared[-1].fact.output == {"result": "rainy"}


def test_a_models_answer_can_be_written_by_hand() -> None:
    shared = fork(finished().log, 3, {"output": "I know it"})
    assert isinstance(shared[-1].fact, e.TaskCompleted)
    assert shared[-1].fact.output == {"content": "I know it", "finish_reason": "stop"}


@pytest.mark.parametrize("at", [3, 4])
def test_a_calls_arguments_can_be_edited_where_it_was_asked_for_or_scheduled(at: int) -> None:
    shared = fork(finished().log, at, {"arguments": {"city": "Rome"}})
    assert isinstance(shared[2].fact, e.TaskCompleted)
    assert [call["arguments"] for call in (shared[2].fact.output or {})["tool_calls"]] == [{"city": "Rome"}]
    assert len(shared) == at


def test_model_and_instructions_of_any_agent_of_the_team_can_be_edited() -> None:
    spec = edited_spec(team("parallel", "one", "two"), (1,), {"model": "scripted/other"})
    assert [agent.model for agent in spec.agents] == ["scripted/any", "scripted/other"]


@pytest.mark.parametrize(
    ("at", "edits", "said"),
    [
        (0, {}, "from 1 to 8"),
        (99, {}, "from 1 to 8"),
        (8, {}, "has ended"),
        (4, {"output": 1}, "no output to edit"),
        (4, {"color": 1}, "unknown edits color"),
        (5, {"arguments": {}}, "event 5 is no call"),
        (4, {"arguments": "Rome"}, "must be a JSON object"),
    ],
)
def test_a_fork_that_cannot_be_says_why(at: int, edits: dict[str, object], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        fork(finished().log, at, edits)
