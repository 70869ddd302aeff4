"""Rules that are data, in real runs: strategies, guardrails, endings and fallbacks need no process but the server's."""

import re
from typing import Any, NamedTuple

import pytest

from agentspan.agents import (
    Agent,
    AgentResult,
    AgentRuntime,
    EventType,
    LLMGuardrail,
    MaxMessageTermination,
    OnTextMention,
    OnToolResult,
    RegexGuardrail,
    TextMentionTermination,
    TokenUsageTermination,
    tool,
)
from tests.agents.serving import ServerProcess, tool_call

FOREVER = {"content": "I go on.", "times": "forever"}


class Stage(NamedTuple):
    """Makes agents whose models say what a test writes down, and runs them."""

    runtime: AgentRuntime
    server: ServerProcess
    name: str

    def model(self, name: str, *answers: Any) -> str:
        return self.server.script(f"{self.name}_{name}", *answers)

    def agent(self, name: str, *answers: Any, **more: Any) -> Agent:
        return Agent(name, self.model(name, *answers), **more)

    def run(self, agent: Agent, prompt: str = "go", **options: Any) -> AgentResult:
        return self.runtime.run(agent, prompt, timeout=30, **options)


@pytest.fixture
def stage(runtime: AgentRuntime, server: ServerProcess, request: pytest.FixtureRequest) -> Stage:
    return Stage(runtime, server, re.sub(r"\W", "_", request.node.name)[:80])


@tool
def look(what: str = "x") -> str:
    """Look."""
    return f"saw {what}"


def speakers(result: AgentResult) -> list[str]:
    return [event.target for event in result.events if event.type == EventType.SPEAKER and event.target]


def thoughts(result: AgentResult) -> int:
    """How often a model was asked."""
    return sum(event.type == EventType.THINKING for event in result.events)


# Teams


def test_a_choice_that_names_nobody_fails_the_run_with_its_words(stage: Stage) -> None:
    desk = stage.agent(
        "desk", "Hm.", "I would say: the third one.", agents=[stage.agent("a", "A"), stage.agent("b", "B")]
    )
    result = stage.run(desk)
    assert str(result.status) == "FAILED"
    assert "'I would say: the third one.' names none of a, b, DONE" in str(result.error)
    assert speakers(result) == []


def test_one_answer_needs_no_synthesis_and_two_are_put_together(stage: Stage) -> None:
    members = [stage.agent("a", "A"), stage.agent("b", "B")]
    alone = stage.run(stage.agent("alone", "a", "DONE", agents=members))
    assert (speakers(alone), alone.output["result"]) == (["a"], "A")
    both = stage.run(stage.agent("both", "a", "b", "DONE", "A and B", agents=members))
    assert (speakers(both), both.output["result"]) == (["a", "b"], "A and B")


def test_the_results_of_all_branches_stand_under_their_names(stage: Stage) -> None:
    broken = stage.agent("b", {"errors": [{"status": 401, "message": "no key"}]})
    team = Agent("team", agents=[stage.agent("a", "A"), broken, stage.agent("c", "C")], strategy="parallel")
    result = stage.run(team)
    assert result.is_success
    assert result.sub_results == {"a": "A", "b": "Error: no key", "c": "C"}
    team.fail_fast = True
    strict = stage.run(team)
    assert (strict.is_failed, "b: no key" in str(strict.error)) == (True, True)


def test_a_round_begins_with_the_first(stage: Stage) -> None:
    team = Agent(
        "team", agents=[stage.agent("a", FOREVER), stage.agent("b", FOREVER)], strategy="round_robin", max_turns=3
    )
    result = stage.run(team)
    assert (speakers(result), str(result.finish_reason)) == (["a", "b", "a"], "max_turns")


def test_members_have_the_tools_of_their_team(stage: Stage) -> None:
    member = stage.agent("member", tool_call("look", what="it"), "{result}")
    team = Agent("team", agents=[member], tools=[look], strategy="sequential")
    assert stage.run(team).output["result"] == "saw it"


def test_members_of_a_swarm_hand_over_by_tool_by_word_and_by_result(stage: Stage) -> None:
    looks = stage.agent("b", tool_call("look"), "never", tools=[look])
    swarm = stage.agent(
        "front",
        tool_call("front_transfer_to_a"),
        agents=[stage.agent("a", "This is for B."), looks, stage.agent("c", "C")],
        strategy="swarm",
        handoffs=[OnTextMention(target="b", text="for b"), OnToolResult(target="c", tool_name="look")],
    )
    result = stage.run(swarm)
    assert (speakers(result), result.output["result"]) == (["front", "a", "b", "c"], "C")


# Checks


def test_an_input_that_is_refused_costs_nothing(stage: Stage) -> None:
    guard = RegexGuardrail("secret", position="input", on_fail="raise", name="no_secrets")
    agent = stage.agent("a", "never", guardrails=[guard])
    with pytest.raises(ValueError, match="no_secrets"):
        stage.run(agent, "the secret is 7")
    result = stage.run(Agent("team", agents=[agent], strategy="sequential"), "the secret is 7")
    assert (str(result.status), thoughts(result)) == ("FAILED", 0)
    assert "no_secrets" in str(result.error)


@pytest.mark.parametrize("verdict", ["Looks good to me!", '{"passed": "yes"}', "{"])
def test_a_judge_that_gives_no_verdict_has_not_passed_anything(stage: Stage, verdict: str) -> None:
    judge = LLMGuardrail(stage.model("judge", verdict), "Be kind.", on_fail="raise")
    result = stage.run(stage.agent("a", "Fine.", guardrails=[judge]))
    assert (str(result.finish_reason), "gave no verdict" in str(result.error)) == ("guardrail", True)


def test_a_guardrail_asks_again_so_often_and_no_more(stage: Stage) -> None:
    guard = RegexGuardrail("go on", max_retries=2, name="no_going_on")
    result = stage.run(stage.agent("a", FOREVER, guardrails=[guard]))
    assert (str(result.finish_reason), thoughts(result)) == ("guardrail", 3)
    assert "after 2 retries" in str(result.error)


def test_an_answer_without_its_shape_is_asked_for_again_twice(stage: Stage) -> None:
    right = stage.run(stage.agent("a", "seven", '{"x": 1}', "[7, 8]", output_type=list[int]))
    assert (right.output, thoughts(right)) == ([7, 8], 3)
    wrong = stage.run(stage.agent("b", FOREVER, output_type=list[int]))
    assert (str(wrong.status), thoughts(wrong)) == ("FAILED", 3)
    assert "has not the shape" in str(wrong.error)


def test_required_tools_are_called_before_an_answer_counts(stage: Stage) -> None:
    agent = stage.agent("a", "Done.", tool_call("look"), "Now.", tools=[look], required_tools=["look"])
    assert stage.run(agent).output["result"] == "Now."


# Ends


def test_tokens_end_a_run_and_are_really_counted(stage: Stage) -> None:
    costly = {**tool_call("look"), "content": "hm", "usage": {"prompt_tokens": 30, "completion_tokens": 20}, "times": 9}
    rule = TokenUsageTermination(max_total_tokens=100) | TextMentionTermination("never said")
    result = stage.run(stage.agent("a", costly, "end", tools=[look], termination=rule))
    assert (result.is_success, thoughts(result)) == (True, 2)
    assert result.token_usage is not None
    assert result.token_usage.total_tokens == 100


def test_messages_end_a_run_when_there_are_so_many(stage: Stage) -> None:
    again = {**tool_call("look"), "times": "forever"}
    result = stage.run(stage.agent("a", again, tools=[look], termination=MaxMessageTermination(5)))
    assert (result.is_success, thoughts(result), len(result.messages)) == (True, 2, 5)


# Models


def test_the_switch_to_another_model_is_an_event(stage: Stage) -> None:
    broken = stage.model("broken", {"errors": [{"status": 429, "retryable": False}]})
    never = {"model": stage.model("never", "never"), "on": ["timeout"]}
    agent = Agent("a", broken, fallback=[never, stage.model("other", "I can.")])
    result = stage.run(agent)
    assert result.output["result"] == "I can."
    (switch,) = [event for event in result.events if event.type == EventType.MODEL_SWITCHED]
    assert "other" in str(switch.data)
