"""Scripts of events, run by the real decider."""

from dataclasses import dataclass
from typing import Any

import pytest

from agentspan.agents import (
    Agent,
    EventType,
    GuardrailResult,
    LLMGuardrail,
    OnFail,
    OnTextMention,
    Position,
    RegexGuardrail,
    Status,
    TextMentionTermination,
    UserProxyAgent,
    agent_tool,
    guardrail,
    human_tool,
    tool,
)
from agentspan.agents.gate import TextGate
from agentspan.agents.guardrail import Guardrail
from agentspan.agents.testing import MockEvent, StrategyViolation, expect, mock_run, validate_strategy

MODEL = "openai/gpt-4o"


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool(name="renamed")
def search(query: str) -> str:
    """Search."""
    return f"about {query}"


@tool(approval_required=True)
def pay(amount: int) -> str:
    """Pay."""
    return f"paid {amount}"


def agent(name: str = "lone", **more: Any) -> Agent:
    return Agent(**{"name": name, "model": MODEL, **more})


def team(strategy: str, *names: str, **more: Any) -> Agent:
    return agent("team", agents=[agent(name) for name in names], strategy=strategy, **more)


def handoffs(result: Any) -> list[str]:
    return [event.target for event in result.events if event.type == EventType.HANDOFF]


def test_a_script_calls_the_function_and_ends_as_a_live_run_does() -> None:
    events = [MockEvent.tool_call("add", {"a": 2, "b": 3}), MockEvent.done("It is 5.")]
    result = mock_run(agent(tools=[add]), "2 + 3?", events)
    assert result.status is Status.COMPLETED
    assert result.output == {"result": "It is 5.", "finishReason": "stop", "context": {}}
    assert [(call["name"], call["args"], call["result"]) for call in result.tool_calls] == [
        ("add", {"a": 2, "b": 3}, 5)
    ]
    kinds = [event.type for event in result.events if event.type in (EventType.TOOL_CALL, EventType.TOOL_RESULT)]
    assert kinds == [EventType.TOOL_CALL, EventType.TOOL_RESULT]
    assert [message["role"] for message in result.messages] == ["user", "assistant", "tool", "assistant"]


def test_a_renamed_tool_is_found_by_its_name() -> None:
    result = mock_run(
        agent(tools=[search]), "x", [MockEvent.tool_call("renamed", {"query": "cats"}), MockEvent.done("ok")]
    )
    expect(result).completed().used_tool("renamed", args={"query": "cats"})
    assert result.tool_calls[0]["result"] == "about cats"


def test_arguments_are_checked_as_in_a_worker() -> None:
    result = mock_run(agent(tools=[add]), "x", [MockEvent.tool_call("add", {"a": "2"}), MockEvent.done("ok")])
    assert "b" in result.tool_calls[0]["error"]
    assert result.status is Status.COMPLETED


def test_results_of_the_script_stand_for_tools_that_are_not_run() -> None:
    events = [MockEvent.tool_call("add", {"a": 1, "b": 1}), MockEvent.tool_result("add", 42), MockEvent.done("ok")]
    assert mock_run(agent(tools=[add]), "x", events).tool_calls[0]["result"] == 2
    assert mock_run(agent(tools=[add]), "x", events, auto_execute_tools=False).tool_calls[0]["result"] == 42


def test_a_tool_that_the_agent_lacks_answers_as_the_script_says() -> None:
    events = [MockEvent.tool_call("lookup", {"id": 1}), MockEvent.tool_result("lookup", {"n": 7}), MockEvent.done("7")]
    result = mock_run(agent(), "x", events)
    expect(result).completed().used_tool("lookup", args={"id": 1}).event_sequence(
        [EventType.TOOL_CALL, EventType.TOOL_RESULT, EventType.DONE]
    )
    assert result.tool_calls[0]["result"] == {"n": 7}


def test_calls_whose_results_come_after_all_of_them_are_one_answer() -> None:
    events = [
        MockEvent.tool_call("add", {"a": 1, "b": 1}),
        MockEvent.tool_call("renamed", {"query": "x"}),
        MockEvent.tool_result("add", 2),
        MockEvent.tool_result("renamed", "y"),
        MockEvent.done("ok"),
    ]
    result = mock_run(agent(tools=[add, search]), "x", events)
    assert [len(message.get("tool_calls") or ()) for message in result.messages] == [0, 2, 0, 0, 0]


def test_words_that_nothing_stands_for_stay_where_they_were() -> None:
    events = [
        MockEvent.thinking("hm"),
        MockEvent.tool_call("add", {"a": 1, "b": 1}),
        MockEvent.message("nearly there"),
        MockEvent.done("2"),
    ]
    result = mock_run(agent(tools=[add]), "x", events)
    told = [event.content for event in result.events if event.type in (EventType.THINKING, EventType.MESSAGE)]
    assert told.index("hm") < told.index("nearly there")
    expect(result).events_contain(EventType.THINKING, content="hm").events_contain("message", content="nearly there")


def test_an_error_of_the_script_fails_the_run() -> None:
    result = mock_run(agent(tools=[add]), "x", [MockEvent.error("no quota")])
    expect(result).failed().status(Status.FAILED)
    assert result.error == "no quota"


def test_an_error_after_a_call_is_the_tool_s() -> None:
    events = [MockEvent.tool_call("lookup"), MockEvent.error("it is down"), MockEvent.done("I could not look.")]
    result = mock_run(agent(), "x", events)
    assert result.status is Status.COMPLETED
    assert "it is down" in result.tool_calls[0]["error"]


@dataclass
class Count:
    n: int


def test_the_output_has_the_type_that_the_agent_gives_it() -> None:
    assert mock_run(agent(), "x", [MockEvent.done({"n": 1})]).output["result"] == '{"n": 1}'
    assert mock_run(agent(output_type=Count), "x", [MockEvent.done({"n": 1})]).output == Count(1)
    repaired = mock_run(agent(output_type=Count), "x", [MockEvent.done("one"), MockEvent.done({"n": 1})])
    assert repaired.output == Count(1)


def test_an_empty_script_is_an_empty_answer() -> None:
    assert mock_run(agent(), "hi", []).output["result"] == ""


# Guardrails


@guardrail
def polite(text: str) -> GuardrailResult:
    """No rude words."""
    return GuardrailResult("idiot" not in text, "be polite")


def test_a_guardrail_really_judges_and_its_feedback_reaches_the_model() -> None:
    guarded = agent(guardrails=[Guardrail(polite, Position.OUTPUT, OnFail.RETRY)])
    events = [
        MockEvent.done("you idiot"),
        MockEvent.guardrail_fail("polite"),
        MockEvent.done("dear friend"),
        MockEvent.guardrail_pass("polite"),
    ]
    result = mock_run(guarded, "hi", events)
    expect(result).completed().output_contains("dear friend").guardrail_failed("polite").guardrail_passed("polite")
    assert any("be polite" in str(message["content"]) for message in result.messages)


def test_a_model_that_insists_is_stopped_by_the_guardrail() -> None:
    guarded = agent(guardrails=[Guardrail(polite, Position.OUTPUT, OnFail.RETRY, max_retries=2)])
    result = mock_run(guarded, "hi", [MockEvent.done("you idiot")])
    expect(result).failed().guardrail_failed("polite")
    assert result.finish_reason == "guardrail"


def test_a_verdict_that_the_guardrail_does_not_give_is_an_assertion_error() -> None:
    guarded = agent(guardrails=[Guardrail(polite, Position.OUTPUT, OnFail.RAISE)])
    with pytest.raises(AssertionError, match=r"guardrail 'polite' to fail; in the run it did pass"):
        mock_run(guarded, "hi", [MockEvent.guardrail_fail("polite"), MockEvent.done("hello")])


def test_a_guardrail_that_the_agent_lacks_is_only_recorded() -> None:
    result = mock_run(agent(), "hi", [MockEvent.guardrail_pass("elsewhere"), MockEvent.done("hello")])
    expect(result).completed().guardrail_passed("elsewhere")


def test_patterns_and_input_guardrails_are_exercised() -> None:
    guarded = agent(guardrails=[RegexGuardrail(patterns=[r"\d{4}"], name="no_pin", position="input", on_fail="raise")])
    result = mock_run(guarded, "my pin is 1234", [MockEvent.guardrail_fail("no_pin"), MockEvent.done("ok")])
    expect(result).failed()
    assert result.finish_reason == "guardrail"


def test_a_model_s_verdict_is_the_script_s() -> None:
    judge = LLMGuardrail(model=MODEL, policy="be kind", name="kind", position="output", on_fail="raise")
    assert mock_run(agent(guardrails=[judge]), "x", [MockEvent.done("hi")]).is_success
    events = [MockEvent.done("grr"), MockEvent.guardrail_fail("kind", "it growls")]
    result = mock_run(agent(guardrails=[judge]), "x", events)
    expect(result).failed().guardrail_failed("kind")
    assert "it growls" in str(result.error)


# People


def test_a_script_that_ends_with_waiting_leaves_the_request_open() -> None:
    result = mock_run(
        agent(tools=[pay]), "x", [MockEvent.tool_call("pay", {"amount": 5}), MockEvent.waiting("approve?")]
    )
    assert result.is_waiting
    assert not result.is_failed
    assert [(request["tool"], request["arguments"]) for request in result.pending] == [("pay", {"amount": 5})]


def test_a_script_that_goes_on_was_approved() -> None:
    events = [MockEvent.tool_call("pay", {"amount": 5}), MockEvent.waiting(), MockEvent.done("done")]
    result = mock_run(agent(tools=[pay]), "x", events)
    expect(result).completed().events_contain(EventType.WAITING)
    assert result.tool_calls[0]["result"] == "paid 5"


def test_people_may_say_no() -> None:
    events = [MockEvent.tool_call("pay", {"amount": 5}), MockEvent.done("I did not pay.")]
    result = mock_run(agent(tools=[pay]), "x", events, people=[{"approved": False, "reason": "too much"}])
    assert result.is_rejected
    assert result.tool_calls == []
    assert any("too much" in str(message["content"]) for message in result.messages)


def test_a_person_answers_a_question_as_the_script_says() -> None:
    asker = agent(tools=[human_tool("ask", "Ask a person.")])
    events = [
        MockEvent.tool_call("ask", {"question": "Colour?"}),
        MockEvent.waiting(),
        MockEvent.tool_result("ask", "blue"),
        MockEvent.done("It is blue."),
    ]
    result = mock_run(asker, "x", events)
    expect(result).completed()
    assert result.tool_calls[0]["result"] == "blue"


# Teams


def test_a_handoff_is_the_choice_of_the_team_s_model() -> None:
    crew = team("handoff", "maths", "poet")
    result = mock_run(crew, "x", [MockEvent.handoff("maths"), MockEvent.done("4")])
    expect(result).completed().handoff_to("maths").agent_ran("maths").output_contains("4")
    validate_strategy(crew, result)


def test_tools_of_a_member_are_called_by_it() -> None:
    crew = agent("team", agents=[agent("poet"), agent("maths", tools=[add])], strategy="handoff")
    events = [MockEvent.handoff("maths"), MockEvent.tool_call("add", {"a": 2, "b": 2}), MockEvent.done("4")]
    result = mock_run(crew, "x", events)
    assert result.tool_calls[0]["agentName"] == "maths"
    bare = mock_run(crew, "x", [MockEvent.tool_call("add", {"a": 2, "b": 2}), MockEvent.done("4")])
    assert bare.tool_calls[0]["agentName"] == "maths"


def test_a_pipeline_runs_in_its_order() -> None:
    line = agent("a") >> agent("b") >> agent("c")
    events = [
        MockEvent.handoff("a"),
        MockEvent.message("first"),
        MockEvent.handoff("b"),
        MockEvent.message("second"),
        MockEvent.handoff("c"),
        MockEvent.done("third"),
    ]
    result = mock_run(line, "x", events)
    assert handoffs(result) == ["a", "b", "c"]
    expect(result).completed().output_contains("third").events_contain("message", content="second")
    validate_strategy(line, result)


def test_a_script_in_another_order_than_the_run_is_a_violation() -> None:
    line = agent("a") >> agent("b")
    with pytest.raises(StrategyViolation, match=r"hands off to b -> a; .* handed off to a -> b"):
        mock_run(line, "x", [MockEvent.handoff("b"), MockEvent.handoff("a"), MockEvent.done("x")])


def test_a_gate_really_stops_the_pipeline() -> None:
    line = agent("a", gate=TextGate("STOP")) >> agent("b")
    result = mock_run(line, "x", [MockEvent.handoff("a"), MockEvent.message("STOP here")])
    assert handoffs(result) == ["a"]
    with pytest.raises(StrategyViolation):
        mock_run(line, "x", [MockEvent.handoff("a"), MockEvent.message("STOP"), MockEvent.handoff("b")])


def test_parallel_members_answer_side_by_side() -> None:
    crew = team("parallel", "a", "b")
    events = [
        MockEvent.handoff("b"),
        MockEvent.message("beta"),
        MockEvent.handoff("a"),
        MockEvent.message("alpha"),
        MockEvent.done(),
    ]
    result = mock_run(crew, "x", events)
    assert result.sub_results == {"a": "alpha", "b": "beta"}
    validate_strategy(crew, result)


def test_a_rotation_has_as_many_turns_as_the_script() -> None:
    crew = team("round_robin", "a", "b")
    result = mock_run(crew, "x", [MockEvent.handoff(each) for each in ("a", "b", "a")] + [MockEvent.done("end")])
    assert handoffs(result) == ["a", "b", "a"]
    expect(result).completed().output_contains("end")
    validate_strategy(crew, result)


def test_chance_falls_as_the_script_says() -> None:
    crew = team("random", "a", "b", "c")
    result = mock_run(crew, "x", [MockEvent.handoff(each) for each in ("c", "a", "a", "b")] + [MockEvent.done("end")])
    assert handoffs(result) == ["c", "a", "a", "b"]
    validate_strategy(crew, result)


def test_a_router_function_really_routes() -> None:
    crew = team("router", "a", "b", router=lambda prompt: "b")
    result = mock_run(crew, "x", [MockEvent.handoff("b"), MockEvent.done("end")])
    expect(result).completed().handoff_to("b")
    with pytest.raises(StrategyViolation):
        mock_run(crew, "x", [MockEvent.handoff("a"), MockEvent.done("end")])


def test_a_router_agent_routes_as_the_script_says() -> None:
    crew = team("router", "a", "b", router=agent("boss"))
    result = mock_run(crew, "x", [MockEvent.handoff("a"), MockEvent.done("end")])
    expect(result).completed().handoff_to("a").output_contains("end")
    validate_strategy(crew, result)


def test_members_of_a_swarm_hand_over_by_their_tools() -> None:
    crew = team("swarm", "a", "b")
    events = [MockEvent.handoff("a"), MockEvent.message("over to b"), MockEvent.handoff("b"), MockEvent.done("end")]
    result = mock_run(crew, "x", events)
    assert handoffs(result)[-2:] == ["a", "b"]
    expect(result).completed().output_contains("end")
    validate_strategy(crew, result)


def test_conditions_of_a_swarm_are_exercised() -> None:
    crew = team("swarm", "a", "b", handoffs=[OnTextMention("b", "escalate"), OnTextMention("a", "start")])
    events = [
        MockEvent.message("let us start"),
        MockEvent.handoff("a"),
        MockEvent.message("I escalate"),
        MockEvent.handoff("b"),
        MockEvent.done("end"),
    ]
    expect(mock_run(crew, "x", events)).completed().handoff_to("b").output_contains("end")
    events[2] = MockEvent.message("all is well")
    with pytest.raises(StrategyViolation):
        mock_run(crew, "x", events)


def test_a_person_chooses_in_a_manual_team_as_the_script_says() -> None:
    crew = team("manual", "a", "b")
    result = mock_run(crew, "x", [MockEvent.handoff("b"), MockEvent.handoff("a"), MockEvent.done("end")])
    assert handoffs(result) == ["b", "a"]
    expect(result).completed().events_contain(EventType.WAITING)
    validate_strategy(crew, result)


def test_a_hybrid_calls_its_tools_and_hands_over() -> None:
    crew = agent("team", tools=[add], agents=[agent("a"), agent("b")], strategy="handoff")
    events = [MockEvent.tool_call("add", {"a": 1, "b": 1}), MockEvent.handoff("b"), MockEvent.done("end")]
    result = mock_run(crew, "x", events)
    expect(result).completed().used_tool("add").handoff_to("b").output_contains("end")
    validate_strategy(crew, result)


def test_teams_in_teams_follow_one_script() -> None:
    inner = agent("pair", agents=[agent("a"), agent("b")], strategy="sequential")
    crew = agent("team", agents=[inner, agent("c")], strategy="handoff")
    events = [MockEvent.handoff("pair"), MockEvent.handoff("a"), MockEvent.handoff("b"), MockEvent.done("end")]
    result = mock_run(crew, "x", events)
    assert handoffs(result) == ["pair", "a", "b"]
    expect(result).completed().output_contains("end")
    validate_strategy(crew, result)


def test_an_agent_that_is_a_tool_answers_with_the_tool_s_result() -> None:
    boss = agent("boss", tools=[agent_tool(agent("researcher"), name="research")])
    events = [
        MockEvent.tool_call("research", {"request": "cats"}),
        MockEvent.tool_result("research", "cats are fine"),
        MockEvent.done("fine"),
    ]
    result = mock_run(boss, "x", events)
    expect(result).completed().used_tool("research")
    assert result.tool_calls[0]["result"] == "cats are fine"


def test_a_handoff_to_nobody_that_exists_is_only_recorded() -> None:
    result = mock_run(agent(), "x", [MockEvent.handoff("stranger"), MockEvent.done("end")])
    expect(result).completed().handoff_to("stranger")


def test_transitions_that_are_not_allowed_do_not_happen() -> None:
    crew = team("handoff", "a", "b", allowed_transitions={"a": [], "b": ["a"]})
    result = mock_run(crew, "x", [MockEvent.handoff("a"), MockEvent.handoff("b"), MockEvent.done("end")])
    assert result.is_failed
    assert handoffs(result) == ["a"]


def test_a_proxy_for_a_person_says_what_the_script_says() -> None:
    crew = agent("team", agents=[agent("a"), UserProxyAgent("me")], strategy="round_robin", max_turns=2)
    events = [MockEvent.handoff("a"), MockEvent.message("well?"), MockEvent.handoff("me"), MockEvent.message("fine")]
    result = mock_run(crew, "x", events)
    expect(result).completed().output_contains("fine")


def test_terminations_are_exercised() -> None:
    crew = team("round_robin", "a", "b", termination=TextMentionTermination("DONE"))
    events = [MockEvent.handoff("a"), MockEvent.message("DONE"), MockEvent.handoff("b"), MockEvent.message("more")]
    with pytest.raises(StrategyViolation):
        mock_run(crew, "x", events)
    expect(mock_run(crew, "x", events[:2])).completed().output_contains("DONE")


def test_shared_state_is_what_the_test_gives() -> None:
    result = mock_run(agent(), "x", [MockEvent.done("end")], context={"colour": "blue"})
    assert result.output["context"] == {"colour": "blue"}
