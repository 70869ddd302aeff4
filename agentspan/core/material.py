"""What a task is about, put together from the log: the prompt of an agent, its transcript, the input of each task.

Used alike by those who hold a tree in a transaction and by those who read it, each giving its own way to the facts.
"""

from collections.abc import Callable, Iterable
from typing import Any

from agentspan.core import events as e
from agentspan.core import guards, transcript
from agentspan.core.advance import ROOT
from agentspan.core.log import Log
from agentspan.core.opening import FIRST
from agentspan.core.proxy import heard
from agentspan.core.run import Run
from agentspan.core.states import Kind, Purpose
from agentspan.core.strategies import allowed
from agentspan.core.transcript import Message, Transcript
from agentspan.spec.agent import AgentSpec

Json = dict[str, Any]


class Material:
    """One tree, as far as it is needed. `run_of` gives runs by number, `events_of` the events of one execution."""

    def __init__(
        self,
        spec: AgentSpec,
        log: Log,
        run_of: Callable[[int], Run],
        events_of: Callable[[int], Iterable[e.Event]],
        history: Callable[[Json], list[Message]] = lambda _: [],
    ) -> None:
        self.spec, self.log, self.run_of, self.events_of, self.history = spec, log, run_of, events_of, history

    def prompt(self, run: Run) -> str:
        """What an agent is asked, with what its team said before it."""
        given, said = self._line(run)
        said += self._heard(run)
        return self._prompt(run, given, said)

    def asked(self, run: Run) -> str:
        """The same as it stands after callbacks and guardrails have replaced it."""
        return self.log.prompt(run.asked) if run.asked else self.prompt(run)

    def _prompt(self, run: Run, given: str, said: list[tuple[str, str]]) -> str:
        self.log.have(set[int]().union(*map(transcript.named, run.after)))
        return transcript.prompt(given, [self.log.text(each) for each in run.after], transcript.told(said))

    def transcript(self, run: Run) -> Transcript:
        """The transcript of an execution, whole."""
        started = self.log.get(FIRST) or {}
        root = run.id == ROOT
        spec = self.spec.at(run.path)
        script = Transcript(
            self._prompt(run, *self._line(run)),
            () if run.source else started.get("media") or (),
            self.history(started) if root else (),
            transcript.dialogue(spec.name, self._heard(run)),
        )
        if run.signal and isinstance(fact := self.log.fact(run.signal), e.SignalReceived):
            script.signal = fact.message
        script.extend(self.events_of(run.id))
        self.log.have(script.wanted)
        return script.resolve(self.log)

    def conversation(self, run: Run, upto: int) -> list[tuple[str, str]]:
        """What was said in a team up to an event, names and words."""
        said = transcript.conversation(self.spec.at(run.path), self.events_of(run.id), upto)
        results = [words for _, words in said if isinstance(words, e.Result)]
        self.log.have(set[int]().union(*map(transcript.named, results)))
        return [(name, words if isinstance(words, str) else self.log.text(words)) for name, words in said]

    def given(self, run: Run, order: e.TaskScheduled) -> Json:
        """The input of a task."""
        spec = self.spec.at(run.path)
        place = order.slot.partition(".")[0]
        if order.kind is Kind.LLM:
            return _of_model(run, order)
        match order.purpose:
            case Purpose.ACT | Purpose.APPROVE | Purpose.WAIT:
                return self.log.call(order.source, order.index)
            case Purpose.JUDGE if place in JUDGES:
                return JUDGES[place](self, spec, run, order)
            case Purpose.JUDGE:
                return self.guarded(spec, run, order)
            case Purpose.HOOK:
                return self._wrapped(spec, run, order, place)
            case Purpose.CHOOSE:
                return self._choice(spec, run, order)
            case Purpose.BRIEF:
                agent = {"name": spec.name, "model": spec.model, "description": spec.description}
                return {"prompt": self.prompt(run), "context": run.state, "agent": agent}
            case Purpose.THINK if order.kind is Kind.HUMAN:
                return {"prompt": heard(run, self.log)}
            case _:
                return {}

    def _line(self, run: Run) -> tuple[str, list[tuple[str, str]]]:
        """The bare prompt of an execution, and what the teams above it said before it."""
        if run.source:
            return transcript.request(self.log.call(run.source, run.index)), []
        if run.id == ROOT:
            return self.log.prompt(FIRST), []
        parent = self.run_of(run.parent)
        given, said = self._line(parent)
        if parent.asked:
            given = self.log.prompt(parent.asked)
        return given, [] if run.alone else [*said, *self._heard(parent)]

    def _heard(self, run: Run) -> list[tuple[str, str]]:
        """What the team right above an execution said before it."""
        return self.conversation(self.run_of(run.parent), run.heard) if run.heard else []

    def guarded(self, spec: AgentSpec, run: Run, order: e.TaskScheduled) -> Json:
        """What a guardrail checks, for its function, its model, or a person."""
        parts = order.slot.removeprefix("review.").split(".")
        position = POSITIONS[parts[0]]
        given: Json = {"iteration": max(run.turn, 1), "position": position, "agent_name": spec.name}
        if parts[0] in ("tool_in", "tool_out"):
            given["tool_name"] = run.calls[int(parts[1])].name
        if parts[0] == "tool_in":
            arguments = self.log.call(order.source, int(parts[1]))
            given |= {"content": transcript.text_of(arguments), "arguments": arguments}
        else:
            given["content"] = self.asked(run) if parts[0] == "input" else self.log.text(order.about)
        last = guards.said(run, self.log, order.slot.removeprefix("review."))
        return {**given, "message": last.message} if last else given

    def _stops(self, spec: AgentSpec, run: Run, order: e.TaskScheduled) -> Json:
        messages = self.transcript(run).messages(spec) if spec.thinks else self.discussion(run)
        prompt, completion = (a + b for a, b in zip(_tokens(run), run.team_tokens, strict=True))
        return {
            "result": self.log.text(order.about),
            "iteration": max(run.turn, run.spoken),
            "messages": messages,
            "token_usage": {
                "promptTokens": prompt,
                "completionTokens": completion,
                "totalTokens": prompt + completion,
            },
        }

    def discussion(self, run: Run) -> list[Message]:
        """What was said in a team, as messages with the names of their speakers."""
        said = self.conversation(run, run.seq)
        spoken = [
            {"role": "assistant", "name": name, "content": words if words.strip() else transcript.NO_TEXT}
            for name, words in said
        ]
        return [{"role": "user", "content": self.prompt(run)}, *spoken]

    def _gate(self, spec: AgentSpec, run: Run, order: e.TaskScheduled) -> Json:
        return {"result": self.log.text(order.about)}

    def _policy(self, spec: AgentSpec, run: Run, order: e.TaskScheduled) -> Json:
        arguments = self.log.call(order.source, order.index)
        return {"tool_name": run.calls[order.index].name, "arguments": arguments, "agent_name": spec.name}

    def _choice(self, spec: AgentSpec, run: Run, order: e.TaskScheduled) -> Json:
        said = self.conversation(run, order.seen or run.seq)
        last = "" if not run.spoken else spec.name if run.last == e.SELF else spec.agents[run.last].name
        if order.kind is Kind.HUMAN:
            return {"choices": allowed(spec, run), "conversation": transcript.told(said), "last_agent": last}
        if order.name.endswith("_handoff_check"):
            return {
                "result": self.log.text(order.about), "active_agent": str(run.last + 1), "is_transfer": False,
                "conversation": transcript.told(said), "transfer_to": "", "iteration": run.spoken,
                "messages": self.discussion(run),
            }  # fmt: skip
        return {"prompt": self.asked(run), "conversation": transcript.told(said), "last_agent": last}

    def _wrapped(self, spec: AgentSpec, run: Run, order: e.TaskScheduled, position: str) -> Json:
        given: Json = {"agent_name": spec.name, "position": position, "turn": order.turn, "prompt": self.prompt(run)}
        match position:
            case "before_model":
                given["messages"] = self.transcript(run).messages(spec)
            case "after_model":
                answer = self.log.get(run.answer) or {}
                given |= {"llm_result": self.log.text(order.about), "tool_calls": answer.get("tool_calls") or []}
                given["messages"] = self.transcript(run).messages(spec)
            case "before_tool":
                given |= {"tool_name": run.calls[order.index].name, "args": self.log.call(order.source, order.index)}
            case "after_tool":
                given |= {"tool_name": run.calls[order.index].name, "args": self.log.call(order.source, order.index)}
                given["result"] = transcript.visible(self.log.get(run.calls[order.index].settled) or {})
            case "after_agent":
                given["result"] = self.log.text(order.about)
        return given


def _of_model(run: Run, order: e.TaskScheduled) -> Json:
    """What a model call must know beside its transcript: whose messages replace it, that it was made shorter."""
    source = {"messages_from": order.source} if order.source and order.purpose is Purpose.THINK else {}
    return {**source, **({"compacted": True} if run.compacted and run.compacted == order.turn else {})}


def _tokens(run: Run) -> tuple[int, int]:
    return run.usage.prompt_tokens, run.usage.completion_tokens


JUDGES: dict[str, Callable[[Material, AgentSpec, Run, e.TaskScheduled], Json]] = {
    "stop_when": Material._stops,
    "termination": Material._stops,
    "gate": Material._gate,
    "policy": Material._policy,
}
POSITIONS = {"input": "input", "output": "output", "tool_in": "tool_input", "tool_out": "tool_output"}
