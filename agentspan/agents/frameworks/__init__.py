"""Agents of other frameworks. This version recognises them and says that it does not run them yet."""

from dataclasses import dataclass, field
from typing import Any

from agentspan.agents.agent import Agent
from agentspan.agents.exceptions import unbuilt

__all__ = ["WorkerInfo", "detect_framework", "serialize_agent"]


@dataclass
class WorkerInfo:
    """A function of a framework's agent that a worker serves."""

    name: str
    description: str = ""
    input_schema: dict[str, Any] = field(default_factory=dict)
    func: Any = None


def detect_framework(agent: Any) -> str | None:
    """The framework of an agent that is none of ours; None for ours and for what is no agent at all."""
    if isinstance(agent, Agent) or hasattr(agent, "_agent_def"):
        return None
    for kind in type(agent).__mro__:
        if kind.__name__ in BY_CLASS:
            return BY_CLASS[kind.__name__]
        module = kind.__module__
        if module.startswith("google.adk"):
            return "google_adk"
        if module.split(".")[0] == "agents" and kind.__name__ == "Agent":
            return "openai"
    return None


def serialize_agent(agent: Any) -> tuple[dict[str, Any], list[WorkerInfo]]:
    """An agent of another framework as the server takes it, and the workers it needs."""
    raise unbuilt(f"Running an agent of {detect_framework(agent) or type(agent).__name__}")


BY_CLASS = {
    "CompiledStateGraph": "langgraph",
    "Pregel": "langgraph",
    "CompiledGraph": "langgraph",
    "AgentExecutor": "langchain",
    "ClaudeCodeOptions": "claude_agent_sdk",
    "ClaudeAgentOptions": "claude_agent_sdk",
}
