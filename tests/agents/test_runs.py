"""Runs from start to result, against a real server."""

import asyncio

import pytest

from agentspan.agents import Agent, AgentRuntime, EventType, ToolContext, run_async, tool
from tests.agents.serving import ServerProcess, tool_call


@pytest.fixture
def weather(server: ServerProcess) -> Agent:
    model = server.script("weather", tool_call("get_weather", city="Paris"), "It is {result} in Paris.")

    @tool
    def get_weather(city: str) -> str:
        """The weather in a city."""
        return f"sunny in {city}"

    return Agent("forecaster", model, "Be brief.", [get_weather])


def test_an_agent_calls_a_tool_and_answers(runtime: AgentRuntime, weather: Agent) -> None:
    result = runtime.run(weather, "How is it in Paris?")
    assert result.status == "COMPLETED", result.error
    assert result.output["result"] == "It is sunny in Paris in Paris."
    assert result.finish_reason == "stop"
    assert [(call["name"], call["args"], call["result"]) for call in result.tool_calls] == [
        ("get_weather", {"city": "Paris"}, "sunny in Paris")
    ]
    kinds = [event.type for event in result.events]
    assert kinds[-1] is EventType.DONE
    assert EventType.TOOL_CALL in kinds
    assert EventType.TOOL_RESULT in kinds
    assert result.token_usage is not None
    assert result.token_usage.total_tokens > 0
    assert [message["role"] for message in result.messages][-1] == "assistant"
