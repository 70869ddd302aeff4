"""The names of the OpenAI Agents SDK, for agents of ours."""

import copy
from dataclasses import dataclass
from typing import Any

from agentspan.agents.agent import Agent, resolve_agent
from agentspan.agents.default import run_async
from agentspan.agents.exceptions import unbuilt
from agentspan.agents.frameworks import detect_framework
from agentspan.agents.tool import tool
from agentspan.client.portal import portal

__all__ = ["RunResult", "Runner", "function_tool"]

function_tool = tool


@dataclass(frozen=True)
class RunResult:
    """What a run came to: the last agent's answer, and the run's id."""

    final_output: Any
    execution_id: str


class Runner:
    """Runs an Agent of ours under the names of that SDK; its own agents are not run by this version."""

    @classmethod
    async def run(cls, agent: Any, input: Any, *, context: Any = None, max_turns: int = 10, **kwargs: Any) -> RunResult:
        """Run to the end."""
        result = await run_async(_limited(agent, context, max_turns), _text(input), **kwargs)
        if result.is_failed:
            raise RuntimeError(f"the run {result.execution_id} ended {result.status}: {result.error}")
        output = result.output
        answer = output.get("result", output) if isinstance(output, dict) else output
        return RunResult(answer, result.execution_id)

    @classmethod
    def run_sync(cls, agent: Any, input: Any, *, context: Any = None, max_turns: int = 10, **kwargs: Any) -> RunResult:
        """The same for code that does not await."""
        return portal().call(cls.run(agent, input, context=context, max_turns=max_turns, **kwargs))

    @classmethod
    def run_streamed(cls, agent: Any, input: Any, **kwargs: Any) -> Any:
        """Run and tell the events."""
        raise unbuilt("Runner.run_streamed")


def _limited(agent: Any, context: Any, max_turns: int) -> Agent:
    if framework := detect_framework(agent):
        raise unbuilt(f"Running an agent of {framework}")
    if context is not None:
        raise unbuilt("The context of Runner.run")
    limited = copy.copy(resolve_agent(agent))
    limited.max_turns = max_turns
    return limited


def _text(given: Any) -> str:
    if not isinstance(given, str):
        raise unbuilt("A list of messages as the input of Runner.run")
    return given
