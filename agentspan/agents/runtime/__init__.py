"""Where runs are started: `AgentRuntime`, configured by `AgentConfig`."""

from agentspan.agents.runtime.config import AgentConfig
from agentspan.agents.runtime.runtime import AgentRuntime

__all__ = ["AgentConfig", "AgentRuntime"]
