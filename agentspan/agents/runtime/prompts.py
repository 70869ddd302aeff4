"""The prompt of a run as text: what the user gave, or a template of the server filled in."""

from collections.abc import Awaitable, Callable
from typing import Any

from agentspan.agents.agent import PromptTemplate
from agentspan.client.client import Client
from agentspan.client.errors import AgentNotFoundError
from agentspan.errors import BadInput
from agentspan.spec.template import render


async def prompt_text(prompt: Any, client: Callable[[], Awaitable[Client]]) -> str:
    """The prompt. ValueError for a template that is not there, or one whose variables are not all given."""
    if not isinstance(prompt, PromptTemplate):
        return "" if prompt is None else str(prompt)
    try:
        found = await (await client()).prompt(prompt.name, prompt.version)
        return render(prompt.name, str(found.get("template") or ""), prompt.variables)
    except (AgentNotFoundError, BadInput) as problem:
        raise ValueError(problem.message) from problem
