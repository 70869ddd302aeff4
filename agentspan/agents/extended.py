"""Agents that stand for something other than a model: a person, or an assistant that OpenAI keeps."""

from typing import Any

from agentspan.agents.agent import Agent
from agentspan.agents.exceptions import unbuilt


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
    """An assistant of OpenAI's Assistants API as an agent."""

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
        super().__init__(name=name, model=model, instructions=instructions, **{"max_turns": 1, **kwargs})
        self.assistant_id, self.openai_tools = assistant_id, list(openai_tools or ())
        self.unbuilt = unbuilt(f"GPTAssistantAgent ({name!r})")


MODES = ("ALWAYS", "TERMINATE", "NEVER")
