"""The tools that the worker of compose.yaml serves: put your own here, or mount your own package."""

from agentspan.agents import tool


@tool
def word_count(text: str) -> int:
    """Count the words of a text."""
    return len(text.split())
