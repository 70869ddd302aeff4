"""Agents that stand for something other than a model: a person, or an assistant that OpenAI keeps."""

import asyncio
import os
from typing import Any

from agentspan.agents.agent import Agent, instructions_of
from agentspan.agents.tool import tool
from agentspan.errors import AgentspanError


class UserProxyAgent(Agent):
    """A person in the place of an agent.

    `human_input_mode`: ALWAYS asks a person at each turn, TERMINATE only when the conversation would end, NEVER says
    `default_response` without asking.
    """

    def __init__(
        self,
        name: str = "user",
        human_input_mode: str = "ALWAYS",
        default_response: str = "Continue.",
        model: str = "openai/gpt-4o",
        instructions: str = "",
        **kwargs: Any,
    ) -> None:
        if human_input_mode not in MODES:
            raise ValueError(f"human_input_mode must be one of {', '.join(MODES)}, got {human_input_mode!r}")
        own = {
            "_agent_type": "user_proxy",
            "_human_input_mode": human_input_mode,
            "_default_response": default_response,
        }
        metadata = {**kwargs.pop("metadata", {}), **own}
        super().__init__(name=name, model=model, instructions=instructions, metadata=metadata, **kwargs)
        self.human_input_mode, self.default_response = human_input_mode, default_response


class GPTAssistantAgent(Agent):
    """An assistant of OpenAI's Assistants API as an agent: its one tool `{name}_assistant_call` asks the assistant.

    Without an `assistant_id` an assistant is made of `model`, `instructions` and `openai_tools` at the first call, once
    in a process. The tool runs in this process and says what went wrong as its answer. `api_key` (or OPENAI_API_KEY,
    read at each call) stays here; OPENAI_BASE_URL leads to another address.
    """

    def __init__(
        self,
        name: str,
        assistant_id: str | None = None,
        model: str = "openai/gpt-4o",
        instructions: str = "",
        openai_tools: list[Any] | None = None,
        api_key: str | None = None,
        **kwargs: Any,
    ) -> None:
        self._making = asyncio.Lock()
        self._api_key = api_key
        self.assistant_id, self.openai_tools = assistant_id, list(openai_tools or ())
        tools = [*(kwargs.pop("tools", None) or ()), _call_tool(self, name)]
        super().__init__(name=name, model=model, instructions=instructions, tools=tools, **{"max_turns": 1, **kwargs})

    async def ask(self, message: str) -> str:
        """The assistant's answer, or a sentence on why there is none."""
        from agentspan.client.assistants import ask_assistant

        key = self._api_key or os.environ.get("OPENAI_API_KEY")
        if not key:
            return "Error: there is no key for OpenAI: give api_key=, or set OPENAI_API_KEY in this process"
        try:
            return await ask_assistant(key, await self._made(key), message)
        except AgentspanError as problem:
            return f"Error: {problem}"

    async def _made(self, key: str) -> str:
        """The assistant's id; calls at once make one assistant."""
        from agentspan.client.assistants import create_assistant

        async with self._making:
            if self.assistant_id is None:
                self.assistant_id = await create_assistant(key, self._description())
            return self.assistant_id

    def _description(self) -> dict[str, Any]:
        told = instructions_of(self)
        if isinstance(told, dict):
            raise AgentspanError("an assistant is made of instructions that are text: give text, or an assistant_id")
        given = {"instructions": told, "tools": [_openai_tool(each) for each in self.openai_tools]}
        own = {"name": self.name, "model": self.model.removeprefix("openai/")}
        return {**own, **{key: value for key, value in given.items() if value}}


def _call_tool(agent: GPTAssistantAgent, name: str) -> Any:
    async def call(message: str) -> str:
        return await agent.ask(message)

    return tool(name=f"{name}_assistant_call", description=f"Send a message to the OpenAI assistant {name}.")(call)


def _openai_tool(given: Any) -> Any:
    """A tool by its type alone, such as "code_interpreter", as the API takes it."""
    return {"type": given} if isinstance(given, str) else given


MODES = ("ALWAYS", "TERMINATE", "NEVER")
