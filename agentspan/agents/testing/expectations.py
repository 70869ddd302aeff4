"""Expectations on a result, chained: `expect(result).completed().used_tool("search").output_contains("42")`."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from agentspan.agents.result import AgentResult
from agentspan.agents.testing import assertions as a


class AgentResultExpectation:
    """Each expectation raises AssertionError if it is not met, and gives the same object."""

    def __init__(self, result: AgentResult) -> None:
        self.result = result

    def completed(self) -> "AgentResultExpectation":
        """The run completed."""
        return self.status("COMPLETED")

    def failed(self) -> "AgentResultExpectation":
        """The run ended in another way."""
        if not self.result.is_failed:
            raise AssertionError(f"the run did not fail: it is {self.result.status}")
        return self

    def status(self, status: Any) -> "AgentResultExpectation":
        """The run stands so."""
        a.assert_status(self.result, status)
        return self

    def no_errors(self) -> "AgentResultExpectation":
        """Nothing went wrong for good."""
        a.assert_no_errors(self.result)
        return self

    def used_tool(self, name: str, args: Mapping[str, Any] | None = None) -> "AgentResultExpectation":
        """The tool was called, with at least these arguments."""
        a.assert_tool_used(self.result, name, args)
        return self

    def did_not_use_tool(self, name: str) -> "AgentResultExpectation":
        """The tool was not called."""
        a.assert_tool_not_used(self.result, name)
        return self

    def tool_call_order(self, names: Sequence[str]) -> "AgentResultExpectation":
        """The tools were called in this order."""
        a.assert_tool_call_order(self.result, names)
        return self

    def tools_used_exactly(self, names: Iterable[str]) -> "AgentResultExpectation":
        """These tools were called, and no others."""
        a.assert_tools_used_exactly(self.result, names)
        return self

    def output_contains(self, text: str, case_sensitive: bool = True) -> "AgentResultExpectation":
        """The text stands in the answer."""
        a.assert_output_contains(self.result, text, case_sensitive)
        return self

    def output_matches(self, pattern: str) -> "AgentResultExpectation":
        """The regular expression is found in the answer."""
        a.assert_output_matches(self.result, pattern)
        return self

    def output_type(self, kind: Any) -> "AgentResultExpectation":
        """The output is of this type."""
        a.assert_output_type(self.result, kind)
        return self

    def events_contain(self, event_type: Any, expected: bool = True, **attrs: Any) -> "AgentResultExpectation":
        """There is such an event; or, not `expected`, there is none."""
        a.assert_events_contain(self.result, event_type, expected, **attrs)
        return self

    def event_sequence(self, types: Sequence[Any]) -> "AgentResultExpectation":
        """Events of these types came in this order."""
        a.assert_event_sequence(self.result, types)
        return self

    def handoff_to(self, agent: str) -> "AgentResultExpectation":
        """An agent was handed to."""
        a.assert_handoff_to(self.result, agent)
        return self

    def agent_ran(self, agent: str) -> "AgentResultExpectation":
        """An agent took part."""
        a.assert_agent_ran(self.result, agent)
        return self

    def guardrail_passed(self, name: str) -> "AgentResultExpectation":
        """A guardrail let something pass."""
        a.assert_guardrail_passed(self.result, name)
        return self

    def guardrail_failed(self, name: str) -> "AgentResultExpectation":
        """A guardrail stopped something."""
        a.assert_guardrail_failed(self.result, name)
        return self

    def max_turns(self, most: int) -> "AgentResultExpectation":
        """There were at most so many tool calls and final answers."""
        a.assert_max_turns(self.result, most)
        return self


def expect(result: AgentResult) -> AgentResultExpectation:
    """Expectations on a result."""
    return AgentResultExpectation(result)
