"""Testing agents: scripted models, and events as data. Replaying, recording and evaluating are not built yet."""

from dataclasses import dataclass, field
from typing import Any

from agentspan.agents.exceptions import unbuilt
from agentspan.agents.result import AgentEvent, AgentResult, EventType
from agentspan.agents.testing.scripted import scripted_model as scripted_model


class MockEvent:
    """Makes events by hand."""

    @staticmethod
    def thinking(content: str) -> AgentEvent:
        """The model is asked."""
        return AgentEvent(EventType.THINKING, content=content)

    @staticmethod
    def tool_call(name: str, args: dict[str, Any] | None = None) -> AgentEvent:
        """A tool is called."""
        return AgentEvent(EventType.TOOL_CALL, tool_name=name, args=dict(args or {}))

    @staticmethod
    def tool_result(name: str, result: Any = None) -> AgentEvent:
        """A tool answers."""
        return AgentEvent(EventType.TOOL_RESULT, tool_name=name, result=result)

    @staticmethod
    def handoff(target: str) -> AgentEvent:
        """Another agent takes over."""
        return AgentEvent(EventType.HANDOFF, target=target)

    @staticmethod
    def message(content: str) -> AgentEvent:
        """The agent says something."""
        return AgentEvent(EventType.MESSAGE, content=content)

    @staticmethod
    def guardrail_pass(name: str, content: str = "") -> AgentEvent:
        """A check passes."""
        return AgentEvent(EventType.GUARDRAIL_PASS, guardrail_name=name, content=content)

    @staticmethod
    def guardrail_fail(name: str, content: str = "") -> AgentEvent:
        """A check fails."""
        return AgentEvent(EventType.GUARDRAIL_FAIL, guardrail_name=name, content=content)

    @staticmethod
    def waiting(content: str = "") -> AgentEvent:
        """A person is asked."""
        return AgentEvent(EventType.WAITING, content=content)

    @staticmethod
    def done(output: Any) -> AgentEvent:
        """The run ends."""
        return AgentEvent(EventType.DONE, output=output)

    @staticmethod
    def error(content: str) -> AgentEvent:
        """Something fails."""
        return AgentEvent(EventType.ERROR, content=content)


@dataclass
class EvalCase:
    """One case of an evaluation: an agent, a prompt, and what is expected."""

    name: str
    agent: Any
    prompt: str
    expect_tools: list[str] = field(default_factory=list)
    expect_tools_not_used: list[str] = field(default_factory=list)
    expect_tool_args: dict[str, dict[str, Any]] = field(default_factory=dict)
    expect_handoff_to: str | None = None
    expect_no_handoff_to: list[str] = field(default_factory=list)
    expect_output_contains: list[str] = field(default_factory=list)
    expect_output_matches: str | None = None
    expect_status: str = "COMPLETED"
    expect_no_errors: bool = True
    validate_orchestration: bool = True
    custom_assertions: list[Any] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)


@dataclass
class EvalCaseResult:
    """How one case went."""

    name: str
    passed: bool
    failures: list[str] = field(default_factory=list)
    result: AgentResult | None = None


@dataclass
class EvalSuiteResult:
    """How all cases went."""

    cases: list[EvalCaseResult] = field(default_factory=list)

    @property
    def all_passed(self) -> bool:
        """Did every case pass?"""
        return all(each.passed for each in self.cases)

    @property
    def pass_count(self) -> int:
        """How many passed?"""
        return sum(each.passed for each in self.cases)

    @property
    def fail_count(self) -> int:
        """How many failed?"""
        return self.total - self.pass_count

    @property
    def total(self) -> int:
        """How many were there?"""
        return len(self.cases)

    def failed_cases(self) -> list[EvalCaseResult]:
        """Those that failed."""
        return [each for each in self.cases if not each.passed]

    def print_summary(self) -> None:
        """Print how it went."""
        print(f"{self.pass_count} of {self.total} passed")
        for each in self.failed_cases():
            print(f"  {each.name}: {'; '.join(each.failures)}")


class StrategyViolation(AssertionError):
    """A run did not follow its strategy."""


class AgentResultExpectation:
    """Expectations on a result, chained."""

    def __init__(self, result: AgentResult) -> None:
        raise unbuilt("Expectations on results (expect)")


class CorrectnessEval:
    """Runs cases against a server."""

    def __init__(self, runtime: Any) -> None:
        raise unbuilt("Evaluations (CorrectnessEval)")


def mock_run(agent: Any, prompt: str, events: list[AgentEvent], *, auto_execute_tools: bool = True) -> AgentResult:
    """The result of a run that consists of these events."""
    raise unbuilt("Replaying scripted events (mock_run)")


def expect(result: AgentResult) -> AgentResultExpectation:
    """Expectations on a result."""
    return AgentResultExpectation(result)


def record(result: AgentResult, path: Any) -> None:
    """Write a result to a file."""
    raise unbuilt("Recording results (record)")


def replay(path: Any) -> AgentResult:
    """Read a result from a file."""
    raise unbuilt("Recording results (replay)")


def validate_strategy(agent: Any, result: AgentResult) -> None:
    """StrategyViolation if the result's events do not follow the agent's strategy."""
    raise unbuilt("Checking strategies (validate_strategy)")
