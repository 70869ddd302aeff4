"""Evaluations: agents on prompts with what is expected, run one by one, or looked at where they ran before."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from agentspan.agents.result import AgentResult
from agentspan.agents.testing import assertions as a
from agentspan.agents.testing.recording import stored
from agentspan.agents.testing.strategies import validate_strategy


@dataclass
class EvalCase:
    """One case: an agent, a prompt, and what is expected.

    With `execution_id`, a run that the server keeps is looked at and nothing is run; with `result`, that result.
    `custom_assertions` are functions of the result that raise, or give False.
    """

    name: str
    agent: Any = None
    prompt: str = ""
    expect_tools: list[str] | None = field(default_factory=list)
    expect_tools_not_used: list[str] | None = field(default_factory=list)
    expect_tool_args: dict[str, dict[str, Any]] | None = field(default_factory=dict)
    expect_handoff_to: str | None = None
    expect_no_handoff_to: list[str] | None = field(default_factory=list)
    expect_output_contains: list[str] | None = field(default_factory=list)
    expect_output_matches: str | None = None
    expect_status: str = "COMPLETED"
    expect_no_errors: bool = True
    validate_orchestration: bool = True
    custom_assertions: list[Callable[[AgentResult], Any]] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    execution_id: str | None = None
    result: AgentResult | None = None


@dataclass
class EvalCaseResult:
    """How one case went."""

    name: str
    passed: bool
    failures: list[str] = field(default_factory=list)
    result: AgentResult | None = None
    tags: list[str] = field(default_factory=list)


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

    def rows(self) -> list[dict[str, Any]]:
        """A row for each case: name, passed, failures, execution id, status, tokens and cost."""
        return [_row(each) for each in self.cases]

    def print_summary(self) -> None:
        """Print how it went."""
        print(f"{self.pass_count} of {self.total} passed")
        for each in self.failed_cases():
            print(f"  {each.name}: {'; '.join(each.failures)}")


class CorrectnessEval:
    """Runs cases on a runtime: anything with `run(agent, prompt)`, such as an AgentRuntime.

    Without a runtime, only cases with a `result` can be looked at.
    """

    def __init__(self, runtime: Any = None) -> None:
        self.runtime = runtime

    def run(self, cases: Iterable[EvalCase], *, tags: Iterable[str] | None = None) -> EvalSuiteResult:
        """All cases, or those with one of the tags. A case that cannot be run has failed; the others go on."""
        wanted = None if tags is None else set(tags)
        chosen = [each for each in cases if wanted is None or wanted & set(each.tags)]
        return EvalSuiteResult([self._one(each) for each in chosen])

    def _one(self, case: EvalCase) -> EvalCaseResult:
        try:
            result = self._result(case)
        except Exception as problem:  # one case that breaks must not take the others with it
            return EvalCaseResult(case.name, False, [f"it could not be run: {_told(problem)}"], None, case.tags)
        failures = [failure for check in _checks(case) if (failure := _failure(check, result))]
        return EvalCaseResult(case.name, not failures, failures, result, case.tags)

    def _result(self, case: EvalCase) -> AgentResult:
        if case.result is not None:
            return case.result
        if self.runtime is None:
            raise ValueError("CorrectnessEval needs a runtime to run a case, or to read a stored run")
        if case.execution_id is not None:
            return stored(self.runtime, case.execution_id)
        if case.agent is None:
            raise ValueError("a case needs an agent and a prompt, an execution_id, or a result")
        result: AgentResult = self.runtime.run(case.agent, case.prompt)
        return result


Check = Callable[[AgentResult], Any]


def _checks(case: EvalCase) -> Iterator[Check]:
    yield partial(a.assert_status, status=case.expect_status)
    if case.expect_no_errors and str(case.expect_status).upper() == "COMPLETED":
        yield a.assert_no_errors
    for name in case.expect_tools or ():
        yield partial(a.assert_tool_used, name=name)
    for name in case.expect_tools_not_used or ():
        yield partial(a.assert_tool_not_used, name=name)
    for name, args in (case.expect_tool_args or {}).items():
        yield partial(a.assert_tool_used, name=name, args=args)
    if case.expect_handoff_to:
        yield partial(a.assert_handoff_to, agent=case.expect_handoff_to)
    for name in case.expect_no_handoff_to or ():
        yield partial(a.assert_events_contain, event_type="handoff", expected=False, target=name)
    texts = case.expect_output_contains or ()
    for text in [texts] if isinstance(texts, str) else texts:
        yield partial(a.assert_output_contains, text=text)
    if case.expect_output_matches:
        yield partial(a.assert_output_matches, pattern=case.expect_output_matches)
    if case.validate_orchestration and case.agent is not None and not isinstance(case.agent, str):
        yield partial(validate_strategy, case.agent)
    yield from case.custom_assertions


def _failure(check: Check, result: AgentResult) -> str | None:
    """Why a check does not hold; None if it does."""
    try:
        held = check(result)
    except Exception as problem:  # an assertion of the user's may fail in any way
        return _told(problem)
    return f"{getattr(check, '__name__', 'an assertion')} gave False" if held is False else None


def _told(problem: Exception) -> str:
    text = str(problem)
    return text if isinstance(problem, AssertionError) and text else f"{type(problem).__name__}: {text}"


def _row(case: EvalCaseResult) -> dict[str, Any]:
    result, used = case.result, case.result.token_usage if case.result else None
    return {
        "name": case.name,
        "passed": case.passed,
        "failures": "; ".join(case.failures),
        "execution_id": result.execution_id if result else None,
        "status": str(result.status) if result else None,
        "tokens": used.total_tokens if used else None,
        "cost": result.cost if result else None,
    }
