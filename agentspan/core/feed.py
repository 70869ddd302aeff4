"""The log as clients see it: one pure mapping of facts to the stream's event types.

A Feed folds a tree's events in order and gives a dict for each that clients know: {id, type, executionId, timestamp,
path, ...}. `tool_call` goes out when the call is scheduled, not when it is over.
"""

from collections.abc import Iterable
from typing import Any, assert_never

import msgspec

from agentspan.core import events as e
from agentspan.core import people, transcript
from agentspan.core.advance import ROOT
from agentspan.core.ids import execution_id, message_id, task_id
from agentspan.core.log import Log
from agentspan.core.material import Material
from agentspan.core.outcome import outcome, reference
from agentspan.core.run import TIME_OUTS, Run, evolve
from agentspan.core.states import Kind, Purpose, Verdict
from agentspan.spec import mask
from agentspan.spec.agent import AgentSpec

Item = dict[str, Any]


class Feed:
    """What a reader of one execution sees. `ended` once its last event went by."""

    def __init__(self, tree: str, spec: AgentSpec, execution: int = ROOT) -> None:
        self.tree, self.spec, self.execution = tree, spec, execution
        self.seq = 0
        self.ended = False
        self._runs: dict[int, Run] = {}
        self._teams: dict[int, list[e.Event]] = {}
        self._told: set[int] = set()
        self._hidden = mask.names(spec)
        self._log = Log()

    def extend(self, events: Iterable[e.Event]) -> list[Item]:
        """The items of events that come after `seq`."""
        items: list[Item] = []
        for event in events:
            if event.seq <= self.seq:
                continue
            self.seq = event.seq
            before = self._runs.get(event.execution) or Run(id=event.execution)
            after = self._runs[event.execution] = evolve(before, event)
            if isinstance(event.fact, KEPT):
                self._log.add(event.seq, event.fact)
            if isinstance(event.fact, e.ExecutionStarted) and self.spec.at(after.path).agents:
                self._teams[event.execution] = []
            if event.execution in self._teams:
                self._teams[event.execution].append(event)
            if self._below(event.execution):
                items += [self._item(event, after, each) for each in self._seen(event, before, after)]
        return items

    def token(self, execution: int, text: str) -> Item | None:
        """A piece of an answer that is being written; it has no id, since the log does not keep it.

        None for an agent with masked fields: what must be masked cannot be known before it is whole.
        """
        if self._hidden or not self._below(execution) or execution not in self._runs:
            return None
        return {
            "type": "token", "content": text, "executionId": execution_id(self.tree, execution),
            "path": list(self._path(self._runs[execution])),
        }  # fmt: skip

    def _below(self, execution: int) -> bool:
        while execution != self.execution and execution != ROOT:
            run = self._runs.get(execution)
            if run is None:
                return False
            execution = run.parent
        return execution == self.execution

    def _path(self, run: Run) -> list[str]:
        depth = len(self._runs[self.execution].path) if self.execution in self._runs else 0
        return [self.spec.at(run.path[: n + 1]).name for n in range(depth, len(run.path))]

    def _item(self, event: e.Event, run: Run, rest: Item) -> Item:
        return {
            "id": event.seq, "type": rest["type"], "executionId": execution_id(self.tree, event.execution),
            "timestamp": event.at, "path": self._path(run), **self._shown(rest),
        }  # fmt: skip

    def _shown(self, item: Item) -> Item:
        """An item without what is masked. What a form asks for is no data."""
        if not self._hidden:
            return item
        shown: Item = mask.masked(item, self._hidden)
        if form := item.get("pendingTool", {}).get("response_schema"):
            shown["pendingTool"]["response_schema"] = form
        return shown

    def _seen(self, event: e.Event, before: Run, run: Run) -> list[Item]:
        """What clients see of one fact: nothing or one item."""
        fact = event.fact
        agent = self.spec.at(run.path)
        match fact:
            case e.ExecutionStarted():
                inner = event.execution == self.execution or fact.path[-1:] == ("router",)
                return [] if inner else [{"type": "handoff", "target": agent.name}]
            case e.ExecutionPaused():
                return [{"type": "waiting", "pendingTool": {}, "content": "paused"}]
            case e.ExecutionCompleted() if event.execution == self.execution:
                self.ended = True
                return [{"type": "done", "output": outcome(agent, run, self._log)}]
            case e.ExecutionFailed() | e.ExecutionTimedOut() | e.ExecutionTerminated():
                last = event.execution == self.execution
                self.ended = self.ended or last
                return [
                    {
                        "type": "error",
                        "content": fact.reason,
                        "toolName": "workflow",
                        "final": last,
                        "status": str(run.status),
                    }
                ]
            case e.ExecutionRetried():
                self.ended = self.ended and event.execution != self.execution
                return []
            case e.TaskScheduled():
                waiting = self._waiting(event, fact, run, agent) if fact.kind is Kind.HUMAN else []
                return [*self._scheduled(event, fact, agent), *waiting]
            case e.TaskCompleted():
                return self._completed(event.seq, fact, before.tasks.get(fact.task), agent)
            case e.TaskFailed():
                return self._failed(fact.task, fact.error, before, agent)
            case e.TaskTimedOut():
                return self._failed(fact.task, TIME_OUTS[fact.limit], before, agent)
            case e.CallRefused():
                call = transcript.call_id(fact.turn, fact.index)
                problem = {"error": fact.detail or transcript.REFUSALS[fact.cause]}
                name = run.calls[fact.index].name
                if fact.cause == "transfer":
                    return [{"type": "tool_result", "toolName": name, "callId": call, "result": fact.detail}]
                return [{"type": "tool_result", "toolName": name, "callId": call, "result": problem}]
            case e.VerdictGiven():
                return _verdict(fact)
            case e.MessagesTaken():
                call, name = transcript.call_id(fact.turn, fact.index), run.calls[fact.index].name
                taken = self._log.get(event.seq)
                return [{"type": "tool_result", "toolName": name, "callId": call, "result": taken}]
            case e.MessageReceived(message=message, sender=sender, of=of):
                if of in self._told:
                    return []
                self._told.add(of or event.seq)
                said = {"content": transcript.mail_text(message), "messageId": message_id(of or event.seq)}
                return [{"type": "user_message", **said, **({"sender": sender} if sender else {})}]
            case e.SpeakerChosen(index=e.NOBODY):
                return []
            case e.SpeakerChosen(index=index, by=by):
                target = agent.name if index == e.SELF else agent.agents[index].name
                return [{"type": "speaker", "target": target, "content": by}]
            case e.StepBegun(name=name, text=text):
                return [{"type": "step", "target": name, "content": text}]
            case e.ModelSwitched(model=model, reason=reason):
                return [{"type": "model_switched", "target": model, "content": reason}]
            case e.ContextCompacted(messages_before=before_, kept=kept, summary=summary):
                return [_condensed(before_, kept, summary)]
            case e.BudgetChanged(budget=budget):
                return [{"type": "budget", "content": msgspec.to_builtins(budget)}]
            case e.AnswerGiven(output=output) if output.get("content"):
                return [{"type": "message", "content": output["content"]}]
            case (
                e.ExecutionResumed()
                | e.ExecutionForked()
                | e.ExecutionCompleted()
                | e.TaskCanceled()
                | e.SignalReceived()
                | e.StopRequested()
                | e.AnswerGiven()
            ):
                return []
            case _:
                assert_never(fact)

    def _scheduled(self, event: e.Event, order: e.TaskScheduled, agent: AgentSpec) -> list[Item]:
        name = {"taskId": task_id(self.tree, event.seq)}
        match order.purpose:
            case Purpose.THINK if order.kind is Kind.LLM:
                return [
                    {"type": "thinking", "content": f"{agent.name}_llm", "attempt": order.attempt + order.lost, **name}
                ]
            case Purpose.ACT if order.attempt + order.lost == 0:
                given = self._arguments(order)
                call = transcript.call_id(order.turn, order.index)
                return [{"type": "tool_call", "toolName": order.name, "args": given, "callId": call, **name}]
        return []

    def _waiting(self, event: e.Event, order: e.TaskScheduled, run: Run, agent: AgentSpec) -> list[Item]:
        """A person is asked."""
        number = task_id(self.tree, event.seq)
        material = Material(self.spec, self._log, lambda n: self._runs[n], lambda n: self._teams.get(n, []))
        pending = {
            "taskRefName": reference(agent, order),
            "requestId": number,
            "kind": people.KINDS[order.purpose],
            "tool_name": order.name,
            "parameters": material.given(run, order),
            "response_schema": people.schema(agent, run, order),
        }
        return [{"type": "waiting", "pendingTool": pending, "taskId": number}]

    def _arguments(self, order: e.TaskScheduled) -> e.Json:
        return self._log.call(order.source, order.index)

    def _completed(
        self, seq: int, fact: e.TaskCompleted, order: e.TaskScheduled | None, agent: AgentSpec
    ) -> list[Item]:
        output = fact.output or {}
        match order and order.purpose:
            case Purpose.THINK if output.get("content"):
                return [{"type": "message", "content": output["content"]}]
            case Purpose.ACT | Purpose.WAIT if order:
                call = transcript.call_id(order.turn, order.index)
                return [
                    {
                        "type": "tool_result",
                        "toolName": order.name,
                        "callId": call,
                        "result": transcript.visible(self._log.get(seq) or {}),
                    }
                ]
            case Purpose.APPROVE if order and output.get("approved") is not True:
                call = transcript.call_id(order.turn, order.index)
                reason = {"error": f"rejected: {output.get('reason') or 'no reason given'}"}
                return [{"type": "tool_result", "toolName": order.name, "callId": call, "result": reason}]
        return []

    def _failed(self, task: int, error: str, before: Run, agent: AgentSpec) -> list[Item]:
        order = before.tasks.get(task)
        if order is None:
            return []
        return [{"type": "error", "content": error, "toolName": reference(agent, order), "final": False}]


def _verdict(fact: e.VerdictGiven) -> list[Item]:
    if fact.position == "approval":
        return []
    kind = "guardrail_pass" if fact.verdict is Verdict.PASS else "guardrail_fail"
    said = {"content": fact.message, "verdict": str(fact.verdict), "position": fact.position}
    return [{"type": kind, "guardrailName": fact.guardrail, **said}]


def _condensed(before: int, kept: int, summary: int) -> Item:
    return {
        "type": "context_condensed", "content": "summary" if summary else "cut", "messagesBefore": before,
        "messagesAfter": kept + 1, "exchangesCondensed": max(0, before - kept),
    }  # fmt: skip


KEPT = (e.ExecutionStarted, e.TaskCompleted, e.VerdictGiven, e.AnswerGiven, e.MessageReceived, e.MessagesTaken)
"""The facts whose texts others point to."""
