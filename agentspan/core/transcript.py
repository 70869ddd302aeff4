"""The message list of one agent, derived from events, in the chat shape that providers accept.

For any prefix of the log it is legal: every tool call is answered, if only by the word that there is no answer yet.
Calls get ids of our own (`call_<turn>_<index>`), since some providers use one id twice.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from agentspan.core import events as e
from agentspan.core.run import TIME_OUTS
from agentspan.core.states import Purpose
from agentspan.spec.agent import AgentSpec

Message = dict[str, Any]

CONTINUE = "Continue exactly where you stopped."
NO_ANSWER = "Error: this call has no result."
PRIVATE_KEYS = frozenset({"_state_updates", "_state_deletions"})


def call_id(turn: int, index: int) -> str:
    return f"call_{turn}_{index}"


class Transcript:
    """Grows by one event at a time; `messages` gives what a model would be sent now."""

    def __init__(self, prompt: str, state: Mapping[str, Any] | None = None) -> None:
        self.prompt = prompt
        self.state: dict[str, Any] = dict(state or {})
        self.signal = ""
        self.seq = 0
        self.answers = 0
        self._said: list[Message] = []
        self._open: dict[str, Message] = {}
        self._slots: dict[int, e.TaskScheduled] = {}

    def extend(self, events: Iterable[e.Event]) -> "Transcript":
        """Fold in the events of this execution that come after `seq`."""
        for event in events:
            if event.seq > self.seq:
                self.seq = event.seq
                self._fold(event.fact)
        return self

    def messages(self, spec: AgentSpec) -> list[Message]:
        """System (instructions, signal), user (context, prompt), and what was said since."""
        return [*self._opening(spec), *self._said]

    def _opening(self, spec: AgentSpec) -> list[Message]:
        signal = f"Signal from outside, in force until replaced: {self.signal}" if self.signal else ""
        system = "\n\n".join(part for part in (instructions(spec), signal) if part)
        context = f"Context: {json.dumps(self.state, ensure_ascii=False)}" if self.state else ""
        user = "\n\n".join(part for part in (context, self.prompt) if part)
        opening = [{"role": "system", "content": system}] if system else []
        return [*opening, {"role": "user", "content": user}]

    def _fold(self, fact: e.AnyFact) -> None:
        match fact:
            case e.TaskScheduled():
                self._slots[self.seq] = fact
            case e.TaskCompleted(task=task, output=output):
                self._completed(self._slots.pop(task, None), output or {})
            case e.TaskFailed(task=task, error=error):
                self._failed(self._slots.pop(task, None), error)
            case e.TaskTimedOut(task=task, limit=limit):
                self._failed(self._slots.pop(task, None), TIME_OUTS[limit])
            case e.TaskCanceled(task=task, reason=reason):
                self._failed(self._slots.pop(task, None), f"canceled: {reason}")
            case e.CallRefused(turn=turn, index=index, cause=cause, detail=detail):
                self._answer(call_id(turn, index), f"Error: {detail or REFUSALS[cause]}")
            case e.SignalReceived(message=message):
                self.signal = message
            case _:
                pass

    def _completed(self, order: e.TaskScheduled | None, output: e.Json) -> None:
        match order and order.purpose:
            case Purpose.THINK:
                self._heard(order.turn if order else 0, output)
            case Purpose.ACT if order:
                gone = output.get("_state_deletions", ())
                self.state = {k: v for k, v in self.state.items() if k not in gone} | output.get("_state_updates", {})
                self._answer(call_id(order.turn, order.index), text_of(output))
            case Purpose.APPROVE if order and output.get("approved") is not True:
                reason = f": {output['reason']}" if output.get("reason") else ""
                self._answer(call_id(order.turn, order.index), f"Rejected by a person{reason}")

    def _heard(self, turn: int, output: e.Json) -> None:
        self.answers += 1
        calls = output.get("tool_calls") or ()
        message: Message = {"role": "assistant", "content": output.get("content") or ("" if calls else "(no answer)")}
        if calls:
            message["tool_calls"] = [_call(turn, index, call) for index, call in enumerate(calls)]
        self._said.append(message)
        self._open = {}
        for index in range(len(calls)):
            result = {"role": "tool", "tool_call_id": call_id(turn, index), "content": NO_ANSWER}
            self._open[call_id(turn, index)] = result
            self._said.append(result)
        if not calls and output.get("finish_reason") == "length":
            self._said.append({"role": "user", "content": CONTINUE})

    def _failed(self, order: e.TaskScheduled | None, error: str) -> None:
        if order and order.purpose in (Purpose.ACT, Purpose.APPROVE):
            prefix = "Error" if order.purpose is Purpose.ACT else "Error: not approved"
            self._answer(call_id(order.turn, order.index), f"{prefix}: {error}")

    def _answer(self, call: str, text: str) -> None:
        if call in self._open:
            self._open[call]["content"] = text


def _call(turn: int, index: int, call: e.Json) -> Message:
    arguments = json.dumps(call.get("arguments") or {}, ensure_ascii=False)
    return {
        "id": call_id(turn, index),
        "type": "function",
        "function": {"name": call["name"], "arguments": arguments},
    }


def instructions(spec: AgentSpec) -> str:
    return spec.instructions if isinstance(spec.instructions, str) else ""


def visible(output: Mapping[str, Any]) -> Any:
    """A tool's result without what the runtime keeps beside it: the value of `result` if nothing else is there."""
    rest = {key: value for key, value in output.items() if key not in PRIVATE_KEYS}
    return rest["result"] if list(rest) == ["result"] else rest


def text_of(output: e.Json) -> str:
    """What a model reads of a tool's output."""
    value = visible(output)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _words(output: e.Json) -> str:
    """What a person reads of an event that a result names: a model's answer, or a tool's result for want of words."""
    return str(output["content"]) if "content" in output and "finish_reason" in output else text_of(output)


def text(result: e.Result, outputs: Mapping[int, e.Json]) -> str:
    """The text of a result. `outputs` holds the output of each event that it names."""
    if result.branches:
        parts = (f"[{branch.name}]: {_branch_text(branch, outputs)}" for branch in result.branches)
        return "\n\n".join(parts)
    return "".join(_words(outputs.get(seq) or {}) for seq in result.answers)


def sub_results(result: e.Result, outputs: Mapping[int, e.Json]) -> dict[str, str]:
    """The texts of a parallel agent's branches, by agent name."""
    return {branch.name: _branch_text(branch, outputs) for branch in result.branches}


def _branch_text(branch: e.Branch, outputs: Mapping[int, e.Json]) -> str:
    return f"Error: {branch.error}" if branch.error else text(branch.result, outputs)


def named(result: e.Result) -> set[int]:
    """The events that a result is made of."""
    return set(result.answers).union(*(named(branch.result) for branch in result.branches))


def prompt(given: str, before: Iterable[str]) -> str:
    """The prompt of an agent: what the person gave, and the results of the agents before it."""
    return "\n\n".join([given, *(f"Result of the step before:\n{each}" for each in before)])


REFUSALS = {
    "unknown_tool": "there is no such tool",
    "bad_arguments": "the arguments are not a JSON object",
    "stopped": "the run was asked to stop before this call was made",
}
