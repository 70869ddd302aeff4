"""Performs model calls: transcript to provider to report, thousands at once, each an asyncio task."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec

from agentspan.core.asking import Question
from agentspan.core.ids import split_execution
from agentspan.engine import providers
from agentspan.engine.pollers import Pollers
from agentspan.engine.providers import CallSettings, ModelAnswer, ModelRequest
from agentspan.engine.transcripts import Transcripts
from agentspan.engine.workers.builtin import Calls
from agentspan.errors import AgentspanError, ModelFailure
from agentspan.spec.agent import AgentSpec
from agentspan.spec.shape import form
from agentspan.spec.tool import ToolSpec
from agentspan.store.views import Receipt, Report, TaskView, Want

log = logging.getLogger("agentspan.llm")

QUEUE = Want("@llm")
MOST_AT_ONCE = 4_000
CHARS_PER_TOKEN = 3.5
FEWEST_ANSWERS = 2
"""A conversation with fewer answers has nothing that could be summed up."""


class LlmWorker(Calls):
    """`stream` shows a piece of an answer while it is written, `check` refuses an address of the agent's own that this
    server does not go to; the rest is as in Calls."""

    def __init__(
        self,
        owner: str,
        settings: CallSettings,
        pollers: Pollers,
        transcripts: Transcripts,
        report: Callable[[Report], Awaitable[Receipt]],
        stream: Callable[[str, int, str], None],
        look: Callable[[], None],
        check: Callable[[str], Awaitable[None]],
    ) -> None:
        super().__init__(QUEUE, owner, MOST_AT_ONCE, pollers, report, look)
        self.settings, self.transcripts, self.stream, self.check = settings, transcripts, stream, check
        self.heard: Callable[[str, float], None] = lambda model, seconds: None
        """Told how long a model took to begin its answer."""

    async def outcome(self, view: TaskView) -> Report:
        tree, number = split_execution(view.execution_id)
        try:
            spec, request, streams = await self.patiently(lambda: self._request(view, tree, number))
            if request.base_url:
                await self.check(request.base_url)
            if view.purpose == "think" and (too_long := overflow(spec, request, self._compacted(view))):
                return Report(task_id=view.task_id, status="COMPLETED", output=too_long, worker=view.worker)
            shown = partial(self.stream, tree, number) if streams else None
            answer = await providers.complete(request, self.settings, self._timed(view.name, shown))
        except ModelFailure as failure:
            if failure.cause == "context" and view.purpose == "think" and not self._compacted(view):
                output = {"overflow": {"reason": failure.message[:500]}}
                return Report(task_id=view.task_id, status="COMPLETED", output=output, worker=view.worker)
            return Report(
                task_id=view.task_id,
                status="FAILED" if failure.retryable else "FAILED_WITH_TERMINAL_ERROR",
                error=failure.message,
                retry_after_ms=failure.retry_after_ms or 0,
                cause=failure.cause,
                worker=view.worker,
            )
        except AgentspanError as failure:
            return Report(
                task_id=view.task_id, status="FAILED_WITH_TERMINAL_ERROR", error=failure.message, worker=view.worker
            )
        except Exception as failure:  # the edge of the worker: a defect of ours or of a provider's library
            log.exception("model call %s failed", view.task_id)
            return Report(
                task_id=view.task_id, status="FAILED", error=f"{type(failure).__name__}: {failure}", worker=view.worker
            )
        return Report(task_id=view.task_id, status="COMPLETED", output=output_of(answer), worker=view.worker)

    def _timed(self, model: str, shown: Callable[[str], None] | None) -> Callable[[str], None]:
        """What gets the pieces of an answer, the first of which is timed."""
        now = asyncio.get_running_loop().time
        began, waits = now(), True

        def emit(piece: str) -> None:
            nonlocal waits
            if waits:
                waits = False
                self.heard(model, now() - began)
            if shown is not None:
                shown(piece)

        return emit

    def _compacted(self, view: TaskView) -> bool:
        """Was the history of this turn made shorter already?"""
        return bool(view.input.get("compacted"))

    async def _request(self, view: TaskView, tree: str, number: int) -> tuple[AgentSpec, ModelRequest, bool]:
        """What the model is asked, and whether its answer is shown while it is written."""
        if view.purpose != "think":
            spec, asked = await self.transcripts.question(tree, number, view.seq)
            return spec, question_of(spec, asked, view), asked.streams
        spec, script = await self.transcripts.get(tree, number, view.seq)
        messages = script.messages(spec)
        if source := view.input.get("messages_from"):
            messages = await self.transcripts.callback(tree, number, source)
        return spec, request_of(spec, messages, view), True


def question_of(spec: AgentSpec, asked: Question, view: TaskView) -> ModelRequest:
    """What the model is asked beside the turns of the agent."""
    return ModelRequest(
        model=view.name, messages=asked.messages, temperature=asked.temperature, max_tokens=asked.max_tokens,
        base_url=spec.base_url if view.name == spec.model else None, response_schema=asked.response_schema,
        attempt=view.attempt, seed=f"{view.execution_id}:{view.ref}",
    )  # fmt: skip


def request_of(spec: AgentSpec, messages: list[dict[str, Any]], view: TaskView) -> ModelRequest:
    """What the model is asked for a turn of the agent."""
    thinking = spec.thinking_config or {}
    return ModelRequest(
        model=view.name,
        messages=messages,
        tools=[function(tool) for tool in spec.own_tools],
        temperature=spec.temperature,
        max_tokens=spec.max_tokens,
        base_url=spec.base_url if view.name == spec.model else None,
        thinking_budget_tokens=thinking.get("budgetTokens") if thinking.get("enabled", True) else None,
        reasoning_effort=spec.reasoning_effort,
        response_schema=form(spec.output_type),
        attempt=view.attempt,
        seed=f"{view.execution_id}:{view.turn}",
    )


def overflow(spec: AgentSpec, request: ModelRequest, compacted: bool) -> dict[str, Any] | None:
    """Says that a conversation is too long for its model; None if it fits, or was made shorter just now."""
    if compacted:
        return None
    window = spec.context_window_budget or providers.window(request.model)
    if not window:
        return None
    size = (len(msgspec.json.encode(request.messages)) + len(msgspec.json.encode(request.tools))) / CHARS_PER_TOKEN
    room = window - min(request.max_tokens or 0, window // 2)
    if size <= room or sum(message["role"] == "assistant" for message in request.messages) < FEWEST_ANSWERS:
        return None
    return {"overflow": {"tokens": int(size), "window": window}}


def function(tool: ToolSpec) -> dict[str, Any]:
    """A tool in the providers' shape."""
    parameters = tool.input_schema or {"type": "object", "properties": {}}
    return {
        "type": "function",
        "function": {"name": tool.name, "description": tool.description, "parameters": parameters},
    }


def output_of(answer: ModelAnswer) -> dict[str, Any]:
    """The answer as the log keeps it: {content, tool_calls, finish_reason, usage, cost, model}."""
    calls = [
        {"name": call.name, "arguments": call.arguments}
        if call.arguments is not None
        else {"name": call.name, "raw": call.raw}
        for call in answer.tool_calls
    ]
    usage = {
        "prompt_tokens": answer.usage.prompt_tokens,
        "completion_tokens": answer.usage.completion_tokens,
        "cached_tokens": answer.usage.cached_tokens,
        "reasoning_tokens": answer.usage.reasoning_tokens,
    }
    return {
        "content": answer.content, **({"tool_calls": calls} if calls else {}), "finish_reason": answer.finish_reason,
        "usage": usage, "cost": answer.cost, "model": answer.model,
        **({"thoughts": list(answer.thoughts)} if answer.thoughts else {}),
    }  # fmt: skip
