"""LangChain's `create_agent`. This version does not run its agents."""

from typing import Any

from agentspan.agents.exceptions import unbuilt


def create_agent(*args: Any, **kwargs: Any) -> Any:
    """LangChain's agent, to be run here."""
    raise unbuilt("Running an agent of LangChain (create_agent)")
