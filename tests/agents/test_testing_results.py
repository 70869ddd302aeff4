"""Assertions, strategies, recordings, evaluations and the plugin: what can be said of a result."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agentspan.agents import Agent, AgentEvent, AgentResult, EventType, FinishReason, Status, TokenUsage, tool
from agentspan.agents import testing as t
from agentspan.agents.testing import CorrectnessEval, EvalCase, MockEvent, StrategyViolation, expect, mock_run

MODEL = "openai/gpt-4o"


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool(approval_required=True)
def pay(amount: int) -> str:
    """Pay."""
    return f"paid {amount}"


def agent(name: str = "lone", **more: Any) -> Agent:
    return Agent(**{"name": name, "model": MODEL, **more})


def team(strategy: str, *names: str, **more: Any) -> Agent:
    return agent("team", agents=[agent(name) for name in names], strategy=strategy, **more)


@pytest.fixture
def sum_of_two() -> AgentResult:
    events = [
        MockEvent.tool_call("add", {"a": 1, "b": 2}),
        MockEvent.guardrail_pass("tidy"),
        MockEvent.tool_call("add", {"a": 3, "b": 3}),
        MockEvent.done("Together 9"),
    ]
    return mock_run(agent(tools=[add]), "x", events)


# Assertions

HOLDS: dict[str, Any] = {
    "assert_status": ["COMPLETED"],
    "assert_no_errors": [],
    "assert_tool_used": ["add"],
    "assert_tool_not_used": ["subtract"],
    "assert_tool_called_with": ["add", {"b": 3}],
    "assert_tool_call_order": [["add", "add"]],
    "assert_tools_used_exactly": [["add"]],
    "assert_output_contains": ["together", False],
    "assert_output_matches": [r"\d$"],
    "assert_output_type": [str],
    "assert_events_contain": ["tool_call", True],
    "assert_event_sequence": [[EventType.TOOL_CALL, "tool_result", EventType.DONE]],
    "assert_handoff_to": ["helper"],
    "assert_agent_ran": ["lone"],
    "assert_guardrail_passed": ["tidy"],
    "assert_guardrail_failed": ["strict"],
    "assert_max_turns": [3],
}
BREAKS: dict[str, Any] = {
    "assert_status": ["FAILED"],
    "assert_tool_used": ["subtract"],
    "assert_tool_not_used": ["add"],
    "assert_tool_called_with": ["add", {"b": 4}],
    "assert_tool_call_order": [["add", "subtract"]],
    "assert_tools_used_exactly": [["add", "subtract"]],
    "assert_output_contains": ["together"],
    "assert_output_matches": ["^9"],
    "assert_output_type": [list],
    "assert_events_contain": ["waiting"],
    "assert_event_sequence": [["done", "tool_call"]],
    "assert_handoff_to": ["stranger"],
    "assert_agent_ran": ["stranger"],
    "assert_guardrail_passed": ["strict"],
    "assert_guardrail_failed": ["tidy"],
    "assert_max_turns": [2],
}


@pytest.mark.parametrize("name", HOLDS)
def test_an_assertion_holds(sum_of_two: AgentResult, name: str) -> None:
    sum_of_two.events += [MockEvent.handoff("helper"), MockEvent.guardrail_fail("strict")]
    getattr(t, name)(sum_of_two, *HOLDS[name])


@pytest.mark.parametrize("name", BREAKS)
def test_an_assertion_breaks(sum_of_two: AgentResult, name: str) -> None:
    with pytest.raises(AssertionError):
        getattr(t, name)(sum_of_two, *BREAKS[name])


def test_errors_are_those_that_stayed() -> None:
    failed = mock_run(agent(), "x", [MockEvent.error("no quota")])
    with pytest.raises(AssertionError, match="no quota"):
        t.assert_no_errors(failed)
    flaky = t.LocalEngine(agent(), model=[{"content": "ok", "errors": [{"status": 503}]}]).run("x")
    assert any(event.type == EventType.ERROR for event in flaky.events)
    t.assert_no_errors(flaky)
    wrong = mock_run(agent(tools=[add]), "x", [MockEvent.tool_call("add", {}), MockEvent.done("?")])
    with pytest.raises(AssertionError, match="add: "):
        t.assert_no_errors(wrong)


def test_expectations_are_chained(sum_of_two: AgentResult) -> None:
    whole = (
        expect(sum_of_two)
        .completed()
        .no_errors()
        .status(Status.COMPLETED)
        .used_tool("add", args={"a": 1})
        .did_not_use_tool("subtract")
        .tool_call_order(["add"])
        .tools_used_exactly(["add"])
        .output_contains("TOGETHER", case_sensitive=False)
        .output_matches("9")
        .output_type(str)
        .events_contain(EventType.TOOL_CALL, args={"a": 3})
        .events_contain(EventType.WAITING, expected=False)
        .event_sequence(["tool_call", "done"])
        .agent_ran("lone")
        .guardrail_passed("tidy")
        .max_turns(3)
    )
    assert isinstance(whole, t.AgentResultExpectation)
    with pytest.raises(AssertionError, match="did not fail"):
        expect(sum_of_two).failed()
    with pytest.raises(AssertionError, match="gave no verdict"):
        expect(sum_of_two).guardrail_failed("none")


# Strategies


def spoken(*names: str, **more: Any) -> AgentResult:
    return AgentResult(events=[AgentEvent(EventType.HANDOFF, target=name) for name in names], **more)


FOLLOWED = [
    ("sequential", {}, "abc"),
    ("parallel", {}, "cab"),
    ("router", {}, "b"),
    ("round_robin", {}, "abcab"),
    ("round_robin", {"allowed_transitions": {"a": ["c"], "c": ["a"]}}, "acac"),
    ("random", {}, "ccab"),
    ("manual", {}, "ba"),
    ("manual", {}, ""),
    ("handoff", {}, "ab"),
    ("handoff", {"tools": [add]}, ""),
    ("swarm", {}, "abc"),
    ("swarm", {"allowed_transitions": {"a": ["b"]}}, "ab"),
]
BROKEN = [
    ("sequential", {}, "acb", "must run in the order a -> b -> c"),
    ("sequential", {}, "ab", "c did not run"),
    ("parallel", {}, "ab", "c did not run"),
    ("parallel", {}, "abca", "a ran more than once"),
    ("router", {}, "ab", "exactly one agent, 2 ran"),
    ("router", {}, "", "exactly one agent, 0 ran"),
    ("round_robin", {}, "acb", "after a comes b, not c"),
    ("round_robin", {}, "ba", "the first agent is a"),
    ("round_robin", {"max_turns": 2}, "abc", "more than max_turns=2"),
    ("random", {"max_turns": 1}, "ab", "more than max_turns=1"),
    ("random", {"allowed_transitions": {"a": ["b"]}}, "ac", "a may hand over to b, not to c"),
    ("manual", {"allowed_transitions": {"a": []}}, "ab", "a may hand over to nobody, not to b"),
    ("handoff", {}, "", "no agent was handed to"),
    ("handoff", {}, "abababab", "a handed over to b 4 times"),
    ("swarm", {"allowed_transitions": {"a": ["b"]}}, "ac", "not to c"),
]


@pytest.mark.parametrize(("strategy", "more", "names"), FOLLOWED)
def test_a_strategy_was_followed(strategy: str, more: dict[str, Any], names: str) -> None:
    t.validate_strategy(team(strategy, "a", "b", "c", **more, **routing(strategy)), spoken(*names))


@pytest.mark.parametrize(("strategy", "more", "names", "problem"), BROKEN)
def test_a_strategy_was_not_followed(strategy: str, more: dict[str, Any], names: str, problem: str) -> None:
    with pytest.raises(StrategyViolation, match=problem):
        t.validate_strategy(team(strategy, "a", "b", "c", **more, **routing(strategy)), spoken(*names))


def routing(strategy: str) -> dict[str, Any]:
    return {"router": agent("boss")} if strategy == "router" else {}


def test_a_run_that_failed_may_stop_early() -> None:
    t.validate_strategy(team("sequential", "a", "b"), spoken("a", status=Status.FAILED))
    t.validate_strategy(agent(), spoken())


def test_without_events_the_results_of_members_count() -> None:
    t.validate_strategy(team("parallel", "a", "b"), AgentResult(sub_results={"a": "1", "b": "2"}))
    with pytest.raises(StrategyViolation):
        t.validate_strategy(team("parallel", "a", "b"), AgentResult(sub_results={"a": "1"}))


# Recordings


def test_a_result_is_recorded_and_read_again(tmp_path: Path, sum_of_two: AgentResult) -> None:
    path = tmp_path / "results" / "sum.json"
    sum_of_two.sub_results, sum_of_two.cost = {"a": "1"}, 0.5
    t.record(sum_of_two, path)
    again = t.replay(path)
    for name in ("output", "status", "finish_reason", "tool_calls", "messages", "sub_results", "cost", "error"):
        assert getattr(again, name) == getattr(sum_of_two, name), name
    assert isinstance(again.token_usage, TokenUsage)
    assert again.finish_reason is FinishReason.STOP
    assert [(each.type, each.tool_name, each.args) for each in again.events] == [
        (each.type, each.tool_name, each.args) for each in sum_of_two.events
    ]
    expect(again).completed().used_tool("add", args={"a": 3}).output_contains("Together")


def test_a_failure_and_a_waiting_run_are_recorded_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "failed.json"
    t.record(mock_run(agent(), "x", [MockEvent.error("no quota")]), path)
    assert t.replay(path).error == "no quota"
    asking = mock_run(agent(tools=[pay]), "x", [MockEvent.tool_call("pay", {"amount": 1}), MockEvent.waiting()])
    t.record(asking, path)
    assert t.replay(path).status == "RUNNING"


def test_a_block_records_what_it_keeps(tmp_path: Path, sum_of_two: AgentResult) -> None:
    path = tmp_path / "kept.json"
    with t.record(path) as keep:
        assert keep(sum_of_two) is sum_of_two
    assert t.replay(path).output == sum_of_two.output
    with pytest.raises(ValueError, match="nothing was recorded"), t.record(path):
        pass
    path.write_text(json.dumps({"format": "other"}))
    with pytest.raises(ValueError, match="is no recorded result"):
        t.replay(path)


# Evaluations


class InMemory:
    """What CorrectnessEval needs of a runtime."""

    def run(self, agent: Agent, prompt: str) -> AgentResult:
        def answer(asked: t.Asked) -> Any:
            if asked.tools and asked.turn == 1:
                return {"tool_calls": [{"name": "add", "arguments": {"a": 2, "b": 2}}]}
            return "maths" if asked.purpose == "choose" else f"{asked.agent} says 4"

        return t.LocalEngine(agent, model=answer).run(prompt)


def test_cases_are_run_and_judged(capsys: pytest.CaptureFixture[str]) -> None:
    crew = agent("team", agents=[agent("poet"), agent("maths", tools=[add])], strategy="sequential")
    cases = [
        EvalCase(
            "adds", agent(tools=[add]), "2+2", expect_tools=["add"], expect_tools_not_used=["subtract"],
            expect_tool_args={"add": {"a": 2}}, expect_output_contains=["4"], expect_output_matches="4$", tags=["fast"],
        ),
        EvalCase("team", crew, "2+2", expect_handoff_to="maths", expect_no_handoff_to=["lawyer"]),
        EvalCase("wrong", agent(), "2+2", expect_tools=["add"], expect_output_contains=["5"], tags=["fast"]),
        EvalCase("custom", agent(), "2+2", custom_assertions=[lambda result: "5" in result.output["result"]]),
        EvalCase("broken", "no agent", "2+2"),
        EvalCase("nothing"),
    ]  # fmt: skip
    suite = CorrectnessEval(InMemory()).run(cases)
    assert [case.passed for case in suite.cases] == [True, True, False, False, False, False], suite.failed_cases()
    assert (suite.total, suite.pass_count, suite.fail_count, suite.all_passed) == (6, 2, 4, False)
    wrong = suite.failed_cases()[0]
    assert len(wrong.failures) == 2
    assert "'add' was not called" in wrong.failures[0]
    suite.print_summary()
    assert "2 of 6 passed" in capsys.readouterr().out
    assert suite.rows()[0]["tokens"] > 0
    assert [case.name for case in CorrectnessEval(InMemory()).run(cases, tags=["fast"]).cases] == ["adds", "wrong"]


def test_a_failure_may_be_what_is_expected(sum_of_two: AgentResult) -> None:
    failed = mock_run(agent(), "x", [MockEvent.error("no quota")])
    suite = CorrectnessEval().run(
        [
            EvalCase("fails", result=failed, expect_status="FAILED"),
            EvalCase("given", agent(tools=[add]), result=sum_of_two, expect_tools=["add"]),
            EvalCase("unrunnable", agent(), "x"),
        ]
    )
    assert [case.passed for case in suite.cases] == [True, True, False]


def test_a_model_judges_an_output(sum_of_two: AgentResult) -> None:
    asked: list[str] = []

    def judge(question: str) -> str:
        asked.append(question)
        return '{"score": 0.8, "reason": "close"}'

    assert t.assert_output_satisfies(sum_of_two, "it is a sum", model=judge) == 0.8
    assert "it is a sum" in asked[0]
    assert "Together 9" in asked[0]
    with pytest.raises(AssertionError, match="close"):
        t.assert_output_satisfies(sum_of_two, "it is a sum", model=judge, threshold=0.9)
    with pytest.raises(RuntimeError, match="gave no score"):
        t.assert_output_satisfies(sum_of_two, "it is a sum", model=lambda question: "fine")


# The plugin

PROGRAM = """
import sys
import pytest

LOADED = "agentspan.agents" in sys.modules

def test_nothing_is_loaded_at_first():
    assert not LOADED

@pytest.mark.agent_correctness
def test_mock(mock_agent_run, event, agentspan_event, agentspan_cassette, tmp_path):
    from agentspan.agents import Agent
    assert event is agentspan_event
    result = mock_agent_run(Agent("a", "openai/x"), "hi", [event.done("there")])
    assert result.output["result"] == "there"
    assert agentspan_cassette().path.name == "test_mock.json"

@pytest.mark.semantic
def test_marker():
    pass
"""


def test_the_plugin_gives_fixtures_and_markers(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(PROGRAM)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert "3 passed" in done.stdout, done.stdout + done.stderr
