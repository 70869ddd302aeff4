"""Events made by hand: the script of a run."""

from typing import Any

from agentspan.agents.result import AgentEvent, EventType


class MockEvent:
    """Makes events."""

    @staticmethod
    def thinking(content: str = "") -> AgentEvent:
        """The model is asked."""
        return AgentEvent(EventType.THINKING, content=content)

    @staticmethod
    def tool_call(name: str, args: dict[str, Any] | None = None, **more: Any) -> AgentEvent:
        """A tool is called."""
        return AgentEvent(EventType.TOOL_CALL, tool_name=name, args={**(args or {}), **more})

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
    def done(output: Any = None) -> AgentEvent:
        """The run ends."""
        return AgentEvent(EventType.DONE, output=output)

    @staticmethod
    def error(content: str) -> AgentEvent:
        """Something fails."""
        return AgentEvent(EventType.ERROR, content=content)
