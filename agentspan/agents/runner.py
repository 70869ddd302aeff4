"""The names of the OpenAI Agents SDK, for agents of ours."""

import asyncio
import copy
import dataclasses
from collections.abc import AsyncIterator, Generator
from dataclasses import dataclass, field
from typing import Any

from agentspan.agents.agent import Agent, resolve_agent
from agentspan.agents.default import run_async, stream_async
from agentspan.agents.exceptions import unbuilt
from agentspan.agents.frameworks import detect_framework
from agentspan.agents.memory import ConversationMemory
from agentspan.agents.result import AgentEvent, AgentResult, EventType, answer_text
from agentspan.agents.serialize import tree
from agentspan.agents.stream import AsyncAgentStream
from agentspan.agents.tool import get_tool_def, tool
from agentspan.client.portal import portal

__all__ = ["RunResult", "RunResultStreaming", "Runner", "function_tool"]

Json = dict[str, Any]

function_tool = tool


@dataclass(frozen=True)
class RunResult:
    """What a run came to: the last agent's answer, who that agent is, and the run's id."""

    final_output: Any
    execution_id: str
    last_agent: Agent | None = None
    input: str | list[Json] = ""

    def to_input_list(self) -> list[Json]:
        """What was asked and answered, as the input of a next run: add the user's next message."""
        given = [{"role": "user", "content": self.input}] if isinstance(self.input, str) else copy.deepcopy(self.input)
        return [*given, {"role": "assistant", "content": answer_text({"result": self.final_output})}]


class RunResultStreaming:
    """A run that goes on: iterate `stream_events()`; `final_output` is None until they are over.

    `await` gives this same object as soon as the server has stored the run.
    """

    def __init__(self, order: "_Order") -> None:
        self._order = order
        self._result: RunResult | None = None
        begun = stream_async(order.agent, order.prompt, **order.options)
        self._stream = asyncio.run_coroutine_threadsafe(begun, portal().loop)

    def __await__(self) -> Generator[Any, None, "RunResultStreaming"]:
        yield from self._begun().__await__()
        return self

    @property
    def execution_id(self) -> str:
        """The run's id; "" until the server has stored it."""
        stream = self._stream
        return stream.result().execution_id if stream.done() and stream.exception() is None else ""

    @property
    def is_complete(self) -> bool:
        """Are the events over?"""
        return self._result is not None

    @property
    def final_output(self) -> Any:
        """The last agent's answer."""
        return self._result and self._result.final_output

    @property
    def last_agent(self) -> Agent:
        """Who answered; until the end the agent that was started."""
        return (self._result and self._result.last_agent) or self._order.agent

    async def stream_events(self) -> AsyncIterator[AgentEvent]:
        """The events as they happen; RuntimeError after the last if the run did not complete."""
        stream = await self._begun()
        async for event in stream:
            yield event
        await self.get_result()

    async def get_result(self) -> RunResult:
        """Wait for the end of the run."""
        if self._result is None:
            stream = await self._begun()
            self._result = self._order.result(await stream.get_result())
        return self._result

    def to_input_list(self) -> list[Json]:
        """See RunResult; RuntimeError before the end."""
        if self._result is None:
            raise RuntimeError("the run has not ended: iterate stream_events() to the end, or await get_result()")
        return self._result.to_input_list()

    async def _begun(self) -> AsyncAgentStream:
        return await asyncio.wrap_future(self._stream)


class Runner:
    """Runs an Agent of ours under the names of that SDK; its own agents are not run by this version.

    `input`: text, or messages `{"role", "content"}` of which the last is the user's. `context`: a dict is the first
    shared state; any other object is `dependencies["context"]` of the tools in this process, for this run alone.
    `max_turns` is the run's, not the agent's. `session`: an id, or an object with `session_id`. The rest of the
    keywords are those of `run`.
    """

    @classmethod
    async def run(cls, agent: Any, input: Any, *, context: Any = None, max_turns: int = 10, **kwargs: Any) -> RunResult:
        """Run to the end; RuntimeError if the run does not complete."""
        order = _order(agent, input, context, max_turns, kwargs)
        return order.result(await run_async(order.agent, order.prompt, **order.options))

    @classmethod
    def run_sync(cls, agent: Any, input: Any, *, context: Any = None, max_turns: int = 10, **kwargs: Any) -> RunResult:
        """The same for code that does not await."""
        return portal().call(cls.run(agent, input, context=context, max_turns=max_turns, **kwargs))

    @classmethod
    def run_streamed(
        cls, agent: Any, input: Any, *, context: Any = None, max_turns: int = 10, **kwargs: Any
    ) -> RunResultStreaming:
        """Start a run and return at once; its events come from `stream_events()`."""
        return RunResultStreaming(_order(agent, input, context, max_turns, kwargs))


@dataclass(frozen=True)
class _Order:
    """What is run: a copy of the agent for this run alone."""

    agent: Agent
    prompt: str
    input: str | list[Json]
    options: Json = field(default_factory=dict)

    def result(self, result: AgentResult) -> RunResult:
        if result.is_failed:
            raise RuntimeError(f"the run {result.execution_id} ended {result.status}: {result.error}")
        output = result.output
        answer = output.get("result", output) if isinstance(output, dict) else output
        return RunResult(answer, result.execution_id, _last_agent(self.agent, result.events), self.input)


def _order(agent: Any, given: Any, context: Any, max_turns: int, options: Json) -> _Order:
    if framework := detect_framework(agent):
        raise unbuilt(f"Running an agent of {framework}")
    if max_turns < 1:
        raise ValueError(f"max_turns must be 1 or more, got {max_turns}")
    options = _options(options)
    own = copy.copy(resolve_agent(agent))
    own.max_turns = max_turns
    earlier, prompt = _messages(given)
    if earlier:
        own.memory = _history(own, earlier, options)
    if isinstance(context, dict):
        options["context"] = context
    elif context is not None:
        own = _with_context(own, context)
        own.stateful = True  # a domain of its own, so that no other run's tools see this object
    return _Order(own, prompt, given, options)


def _options(given: Json) -> Json:
    """The keywords of a start; those of that SDK that are left at None say nothing."""
    options = {key: value for key, value in given.items() if value is not None}
    if (session := options.pop("session", None)) is None:
        return options
    session_id = session if isinstance(session, str) else getattr(session, "session_id", None)
    if not isinstance(session_id, str) or not session_id:
        raise TypeError(f"session must be an id or an object with a session_id, got {type(session).__name__}")
    return {"session_id": session_id, **options}


def _messages(given: Any) -> tuple[list[tuple[str, str]], str]:
    """What was said before, as role and words, and the prompt."""
    if isinstance(given, str):
        return [], given
    if not isinstance(given, list) or not given:
        raise TypeError(f"input must be text or a list of messages, got {type(given).__name__}")
    *earlier, (role, prompt) = [(_role(each), _words(each)) for each in given]
    if role != "user":
        raise ValueError(f"the last message of the input must be the user's, its role is {role!r}")
    return earlier, prompt


def _role(message: Any) -> str:
    role = message.get("role") if isinstance(message, dict) else None
    if role not in ROLES:
        raise ValueError(f'a message is {{"role", "content"}} with a role of {", ".join(ROLES)}; got {message!r}')
    return ROLES[role]


def _words(message: Json) -> str:
    content = message.get("content")
    parts = content if isinstance(content, list) else [{"text": content}]
    told = [part.get("text") if isinstance(part, dict) else part for part in parts]
    words = [each for each in told if isinstance(each, str)]
    if len(words) < len(told):
        raise ValueError(f"the content of a message must be text; media are given by media=[...]; got {content!r}")
    return "\n".join(words)


def _history(agent: Agent, earlier: list[tuple[str, str]], options: Json) -> ConversationMemory:
    if agent.memory is not None or "session_id" in options:
        owner = "the session" if agent.memory is None else f"the memory of agent {agent.name!r}"
        raise ValueError(f"{owner} has the conversation already: give the newest message alone as the input")
    return ConversationMemory([{"role": role, "message": words} for role, words in earlier])


def _with_context(agent: Agent, context: Any) -> Agent:
    """A copy of the agent and of all below it, whose tools have the object."""
    own = copy.copy(agent)
    own.dependencies = {**agent.dependencies, "context": context}
    own.agents = [_with_context(each, context) for each in agent.agents]
    own.tools = [each if isinstance(each, str) else _tool_with_context(each, context) for each in agent.tools]
    for name in ("router", "planner", "fallback"):
        other = getattr(agent, name)
        if isinstance(other, Agent) or hasattr(other, "_agent_def"):
            setattr(own, name, _with_context(resolve_agent(other, agent.model), context))
    return own


def _tool_with_context(given: Any, context: Any) -> Any:
    definition = get_tool_def(given)
    if (nested := definition.config.get("agent")) is None:
        return given
    config = {**definition.config, "agent": _with_context(resolve_agent(nested), context)}
    return dataclasses.replace(definition, config=config)


def _last_agent(agent: Agent, events: list[AgentEvent]) -> Agent:
    """The agent that was handed to last, or the one that was started if it handed to none."""
    known = {each.name: each for each in tree(agent)}
    heard = [event.target for event in events if event.type == EventType.HANDOFF and event.target in known]
    return known[str(heard[-1])] if heard else agent


ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
"""The roles of messages, and what they are called here."""
