"""The engine in memory: the same decider, without a server, a database or a network.

Time is virtual: a back-off, a scripted delay or a deadline passes at once. The agent's functions run for real, through
the code that a worker runs them with.
"""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any

import msgspec
from msgspec.structs import replace

from agentspan.agents.agent import resolve_agent
from agentspan.agents.budget import Budget
from agentspan.agents.credentials import names_of
from agentspan.agents.encode import output_of
from agentspan.agents.outcome import FINAL
from agentspan.agents.pool import Pool
from agentspan.agents.registry import Registry
from agentspan.agents.result import AgentEvent, AgentResult, event_of, result_of
from agentspan.agents.serialize import serialize
from agentspan.agents.testing.answers import NOT_GIVEN, Answering, Asked, Given, Recorded, ToolCall, as_person, said
from agentspan.agents.worker import Call, call_context
from agentspan.client.portal import portal
from agentspan.core import asking, people, transcript
from agentspan.core import events as e
from agentspan.core.advance import ROOT, Tree, advance
from agentspan.core.decide import overdue
from agentspan.core.feed import Feed
from agentspan.core.ids import execution_id, split_task, task_id
from agentspan.core.log import Log
from agentspan.core.material import Material
from agentspan.core.outcome import outcome, reference
from agentspan.core.run import TIME_OUTS, Run
from agentspan.core.states import Kind, Purpose
from agentspan.errors import Conflict, ModelFailure
from agentspan.spec.agent import AgentSpec
from agentspan.spec.check import check
from agentspan.spec.tool import ToolSpec
from agentspan.spec.wire import decode, encode

Json = dict[str, Any]

BEGINNING_MS = 1_000_000_000_000
HISTORY = "_history"
"""Where the input of an exported run holds what was said in its session before."""
EXECUTION = "__agentspan_ctx__"
"""Where a task's input says which credentials its agent has."""
WORKER, PERSON = "local", "a person"


@dataclass
class LocalResult(AgentResult):
    """What a run in memory came to. While it waits for people, `status` is RUNNING and `pending` are their requests.

    `asked` are the questions to models, in their order.
    """

    pending: list[Json] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)

    @property
    def is_waiting(self) -> bool:
        """Does it wait for a person, or for a message?"""
        return str(self.status) == "RUNNING"

    @property
    def is_failed(self) -> bool:
        """Did it end in any way but with an answer?"""
        return not self.is_success and not self.is_waiting


class LocalEngine:
    """Runs an Agent in this process. What is not given is done for real (functions) or fails (models, services).

    `model`, `tools`, `people`: the answers, see `Given`; or `answering`, one object for all. `credentials`: values by
    name, for tools that declare them. With `deadlines`, nobody comes any more: the deadlines of requests that nobody
    answers pass.
    """

    def __init__(
        self,
        agent: Any,
        *,
        model: Any = None,
        tools: dict[str, Any] | None = None,
        people: Any = None,
        credentials: dict[str, str] | None = None,
        answering: Answering | None = None,
        deadlines: bool = False,
        id: str = "local",
        spec: AgentSpec | None = None,
    ) -> None:
        self.agent = resolve_agent(agent)
        self.spec = spec or spec_of(self.agent)
        self.answering = answering or Given(model, tools, people)
        self.credentials = dict(credentials or {})
        self.deadlines, self.id = deadlines, id

    def run(self, prompt: str, **given: Any) -> LocalResult:
        """Run until the end, or until nothing but people can go on. `given`: context, media, budget, as for a run."""
        return self.start(prompt, **given).result()

    async def run_async(self, prompt: str, **given: Any) -> LocalResult:
        """The same, awaited."""
        run = self._begun(prompt, given)
        await portal().bridge(run.go_on())
        return run.result()

    def start(self, prompt: str, **given: Any) -> "LocalRun":
        """The same, as a run that can be answered, messaged, stopped and looked at."""
        run = self._begun(prompt, given)
        portal().call(run.go_on())
        return run

    def _begun(self, prompt: str, given: Json) -> "LocalRun":
        if unknown := set(given) - {"context", "media", "budget", HISTORY}:
            raise TypeError(f"unknown options {', '.join(sorted(unknown))}: a run takes context, media, budget")
        limits: Any = given.get("budget")
        budget = limits.to_config() if isinstance(limits, Budget) else limits or msgspec.to_builtins(self.spec.budget)
        wanted = {**given, "budget": budget}
        return LocalRun(self, {"prompt": prompt, **{key: value for key, value in wanted.items() if value}})


def spec_of(agent: Any) -> AgentSpec:
    """The agent's spec after its way over the wire; InvalidSpec if it cannot run."""
    spec = decode(encode(serialize(resolve_agent(agent))))
    check(spec)
    return spec


class LocalRun:
    """One run in memory: its log, its state, and what may be said to it from outside."""

    def __init__(self, engine: LocalEngine, given: Json) -> None:
        self.engine, self.spec = engine, engine.spec
        self.tree = Tree(engine.id)
        self.log: list[e.Event] = []
        self.events: list[AgentEvent] = []
        self.asked: list[Asked] = []
        self.now = BEGINNING_MS
        self._feed = Feed(engine.id, engine.spec)
        self._registry = Registry()
        self._registry.add(engine.agent)
        self._pool = Pool("agentspan-local")
        self._begun: set[int] = set()
        self._due: list[tuple[int, int, int, e.AnyFact | None]] = []
        self.happen((ROOT, e.ExecutionStarted(given)))

    # What may be said from outside

    def respond(self, answer: Any, request_id: str | None = None) -> LocalResult:
        """Answer a request (the oldest, without its id) and go on."""
        number, run = self._request(request_id)
        self.happen((run.id, self._answered(run, number, as_person(answer))))
        return self._onward()

    def approve(self, request_id: str | None = None, arguments: Json | None = None) -> LocalResult:
        """Say yes; `arguments` replace those of the call."""
        return self.respond({"approved": True, **({"arguments": arguments} if arguments else {})}, request_id)

    def reject(self, reason: str = "", request_id: str | None = None) -> LocalResult:
        """Say no, and why."""
        return self.respond({"approved": False, "reason": reason}, request_id)

    def send(self, message: Any) -> LocalResult:
        """A message, which the model sees in its next turn."""
        body = message if isinstance(message, dict) else {"message": str(message)}
        self.happen((ROOT, e.MessageReceived(body)))
        return self._onward()

    def signal(self, message: str) -> LocalResult:
        """Text that the model sees in each turn."""
        self.happen(*((each, e.SignalReceived(message)) for each in self._living()))
        return self._onward()

    def stop(self) -> LocalResult:
        """End gracefully."""
        self.happen(*((each, e.StopRequested()) for each in self._living()))
        return self._onward()

    def cancel(self, reason: str = "canceled") -> LocalResult:
        """End now."""
        self.happen((ROOT, e.ExecutionTerminated(reason)))
        return self._onward()

    def result(self) -> LocalResult:
        """How the run stands."""
        run = self.tree.runs[ROOT]
        body = _body(self, run)
        if run.ended:
            whole = result_of(body, events=self.events, output_type=self.engine.agent.output_type)
            shown = {each.name: getattr(whole, each.name) for each in fields(whole) if each.init}
        else:
            shown = _open(body, self.events)
        return LocalResult(**shown, pending=self.requests(), asked=self.asked)

    def requests(self) -> list[Json]:
        """What people are asked now, oldest first."""
        return [self._shown(run, number, order) for run, number, order in self.open() if order.kind is Kind.HUMAN]

    # The shell

    async def go_on(self) -> None:
        """Do what can be done, in the order of its time."""
        while True:
            self._plan()
            if self._due:
                at, number, execution, fact = heapq.heappop(self._due)
                self._pass_time(at)
                if number in self.tree.runs[execution].tasks:
                    await self._step(number, execution, fact)
            elif not (self.engine.deadlines and self._pass_deadline()):
                return

    def happen(self, *facts: tuple[int, e.AnyFact]) -> None:
        """Fold facts in, and all that follows."""
        self.tree, events = advance(self.spec, self.tree, list(facts), self.now, self.facts())
        self.log += events
        self.events += [event_of(item) for item in self._feed.extend(events)]

    def facts(self) -> Log:
        """The log as those who decide read it."""
        return Log(lambda seqs: {seq: self.log[seq - 1].fact for seq in seqs if 0 < seq <= len(self.log)})

    def material(self) -> Material:
        """What the tasks are about."""
        return Material(
            self.spec,
            self.facts(),
            lambda number: self.tree.runs[number],
            lambda number: [each for each in self.log if each.execution == number],
            history,
        )

    def open(self) -> list[tuple[Run, int, e.TaskScheduled]]:
        """The open tasks, in the order of their scheduling."""
        found = [(run, number, order) for run in self.tree.runs.values() for number, order in run.tasks.items()]
        return sorted(found, key=lambda each: each[1])

    def agent_of(self, run: Run) -> AgentSpec:
        """The agent of an execution."""
        return self.spec.at(run.path)

    def _pass_time(self, at: int) -> None:
        """Let it be later: executions whose time is over by then end."""
        self.now = max(self.now, at)
        for number in self._living():
            run = self.tree.runs[number]
            fact = overdue(self.agent_of(run), run, self.now)
            if fact is not None:
                self.happen((number, fact))

    def _plan(self) -> None:
        """Every task that is new is due at its time."""
        for run, number, order in self.open():
            if number not in self._begun and order.kind is not Kind.AGENT:
                heapq.heappush(self._due, (self.log[number - 1].at + order.delay_ms, number, run.id, None))
                self._begun.add(number)

    async def _step(self, number: int, execution: int, fact: e.AnyFact | None) -> None:
        """Begin a task, or fold in what became of it."""
        if fact is not None:
            self.happen((execution, fact))
            return
        run = self.tree.runs[execution]
        outcome_, took = await self._perform(run, number, run.tasks[number])
        if outcome_ is not None and took:
            heapq.heappush(self._due, (self.now + took, number, execution, outcome_))
        elif outcome_ is not None:
            self.happen((execution, outcome_))

    async def _perform(self, run: Run, number: int, order: e.TaskScheduled) -> tuple[e.AnyFact | None, int]:
        """What becomes of a task, and how long it takes; None for a request that nobody answers."""
        if order.kind is Kind.LLM:
            return self._think(run, number, order)
        if order.kind is Kind.HUMAN:
            return self._ask(run, number, order), 0
        return await self._work(run, number, order), 0

    def _ask(self, run: Run, number: int, order: e.TaskScheduled) -> e.AnyFact | None:
        answer = self.engine.answering.person(self._shown(run, number, order))
        if isinstance(answer, Recorded):
            return e.TaskCompleted(number, dict(answer), worker=PERSON)
        return None if answer is NOT_GIVEN or answer is None else self._answered(run, number, as_person(answer))

    def _think(self, run: Run, number: int, order: e.TaskScheduled) -> tuple[e.AnyFact, int]:
        asked = question(self.material(), run, number, order)
        self.asked.append(asked)
        try:
            answer = self.engine.answering.model(asked)
            output = said(answer, asked)
        except ModelFailure as failure:
            wait = failure.retry_after_ms or 0
            return e.TaskFailed(number, failure.message, not failure.retryable, wait, cause=failure.cause), 0
        return e.TaskCompleted(number, _as_json(output)), int(getattr(answer, "delay_ms", 0))

    async def _work(self, run: Run, number: int, order: e.TaskScheduled) -> e.AnyFact:
        """A worker's task: as the test says, or by the function."""
        spec, given = self.agent_of(run), _as_json(self.material().given(run, order))
        call = ToolCall(order.name, given, spec.name, str(order.purpose), task_id(self.engine.id, number))
        try:
            answer = self.engine.answering.tool(call)
        except Exception as problem:  # the stand-in is the test's own function: as a tool's, its failure is a result
            answer = problem
        if isinstance(answer, e.TaskFailed):
            return replace(answer, task=number)
        if isinstance(answer, BaseException):
            return e.TaskFailed(number, f"{type(answer).__name__}: {answer}", isinstance(answer, FINAL))
        if isinstance(answer, Recorded):
            return e.TaskCompleted(number, dict(answer))
        if answer is not NOT_GIVEN:
            return e.TaskCompleted(number, _as_json(output_of(order.name, answer)))
        return await self._call(run, number, order, spec, given)

    async def _call(self, run: Run, number: int, order: e.TaskScheduled, spec: AgentSpec, given: Json) -> e.AnyFact:
        entry = self._registry.find(spec.name, order.name)
        if entry is None:
            problem = f"no function of this process serves {order.name!r}: give its result with tools={{...}}"
            return e.TaskFailed(number, problem, terminal=True)
        state = {"_agent_state": _as_json(run.state)} if order.purpose is Purpose.ACT else {}
        task = {
            "taskId": task_id(self.engine.id, number),
            "workflowInstanceId": execution_id(self.engine.id, run.id),
            "taskDefName": order.name,
            "agentName": spec.name,
            "retryCount": order.attempt + order.lost,
            "idempotencyKey": f"{execution_id(self.engine.id, run.id)}:{order.turn}:{order.index}",
            "inputData": {**given, EXECUTION: {"credentials": names_of(entry.agent.credentials)}, **state},
            "runtimeMetadata": self.engine.credentials,
        }
        done = await Call(task, entry, call_context(task, entry), self._pool).perform(WORKER)
        if done["status"] == "COMPLETED":
            return e.TaskCompleted(number, _as_json(done["outputData"]))
        return e.TaskFailed(number, done["reasonForIncompletion"], done["status"] != "FAILED")

    def _answered(self, run: Run, number: int, answer: Json) -> e.AnyFact:
        output = people.answered(self.agent_of(run), run, run.tasks[number], answer)
        return e.TaskCompleted(number, _as_json(output), worker=PERSON)

    def _pass_deadline(self) -> bool:
        """Let the next deadline of a request pass; False if there is none."""
        waits = [
            (self.log[number - 1].at + order.limits.start_ms, number, run.id)
            for run, number, order in self.open()
            if order.kind is Kind.HUMAN and order.limits.start_ms
        ]
        if not waits:
            return False
        at, number, execution = min(waits)
        self._pass_time(at)
        if number in self.tree.runs[execution].tasks:
            self.happen((execution, e.TaskTimedOut(number, "deadline")))
        return True

    def _onward(self) -> LocalResult:
        portal().call(self.go_on())
        return self.result()

    def _living(self) -> list[int]:
        return [number for number, run in sorted(self.tree.runs.items()) if not run.ended]

    def _request(self, request_id: str | None) -> tuple[int, Run]:
        waiting = {number: run for run, number, order in self.open() if order.kind is Kind.HUMAN}
        if request_id is not None and split_task(request_id)[1] not in waiting:
            raise Conflict(f"there is no open request {request_id!r}")
        if not waiting:
            raise Conflict("nothing is asked of a person")
        number = min(waiting) if request_id is None else split_task(request_id)[1]
        return number, waiting[number]

    def _shown(self, run: Run, number: int, order: e.TaskScheduled) -> Json:
        spec = self.agent_of(run)
        return {
            "requestId": task_id(self.engine.id, number),
            "executionId": execution_id(self.engine.id, run.id),
            "agentName": spec.name,
            "path": [self.spec.at(run.path[: depth + 1]).name for depth in range(len(run.path))],
            "kind": people.KINDS[order.purpose],
            "tool": order.name,
            "arguments": self.material().given(run, order),
            "responseSchema": people.schema(spec, run, order),
            "to": list(order.to),
        }


def history(given: Json) -> list[Json]:
    """What was said in the session before, where the input holds it."""
    return list(given.get(HISTORY) or ())


def question(material: Material, run: Run, number: int, order: e.TaskScheduled) -> Asked:
    """What a model is asked by a task, as the server asks it."""
    spec = material.spec.at(run.path)
    of = f"{run.id}:{order.turn}:{order.slot}"
    place: Json = {
        "turn": max(order.turn, 1),
        "attempt": order.attempt + order.lost,
        "purpose": str(order.purpose),
        "of": of,
    }
    if order.purpose is not Purpose.THINK:
        asked = asking.question(material, spec, run, order)
        options: Json = {
            "temperature": asked.temperature,
            "max_tokens": asked.max_tokens,
            "schema": asked.response_schema,
        }
        judges = order.purpose is Purpose.JUDGE
        place["check"] = str(asking.guardrail(spec, run, order.slot).get("name") or "") if judges else ""
        return Asked(spec.name, order.name, asked.messages, options=_set(options), **place)
    changed = (material.log.get(order.source) or {}).get("messages") if order.source else None
    messages = changed or material.transcript(run).messages(spec)
    options = {
        "temperature": spec.temperature,
        "max_tokens": spec.max_tokens,
        "reasoning_effort": spec.reasoning_effort,
        "thinking": spec.thinking_config,
        "schema": (spec.output_type or {}).get("schema"),
    }
    tools = [_tool(each) for each in spec.own_tools]
    last = str(run.path[-1]) if run.path else ""
    place["called_as"] = last.partition(":")[2]
    return Asked(spec.name, order.name, _as_json(messages), tools, options=_set(options), **place)


def _tool(tool: ToolSpec) -> Json:
    return {"name": tool.name, "description": tool.description, "parameters": tool.input_schema}


def _set(options: Json) -> Json:
    return {key: value for key, value in options.items() if value is not None}


def _as_json(value: Any) -> Any:
    """The value after its way over a wire."""
    return msgspec.json.decode(msgspec.json.encode(value))


def _body(run: LocalRun, root: Run) -> Json:
    """A run as the server tells its result."""
    runs = list(run.tree.runs.values())
    log = run.facts()
    output = outcome(run.spec, root, log)
    prompt = sum(each.usage.prompt_tokens for each in runs)
    completion = sum(each.usage.completion_tokens for each in runs)
    return {
        "executionId": run.engine.id,
        "agentName": run.spec.name,
        "status": str(root.status),
        "output": output,
        "finishReason": root.finish_reason,
        "reasonForIncompletion": root.reason or None,
        "tokenUsage": {
            "promptTokens": prompt,
            "completionTokens": completion,
            "totalTokens": prompt + completion,
            "cachedTokens": sum(each.usage.cached_tokens for each in runs),
            "reasoningTokens": sum(each.usage.reasoning_tokens for each in runs),
        },
        "cost": sum(each.usage.cost for each in runs),
        "costUnknown": any(each.usage.unpriced for each in runs),
        "subResults": (output or {}).get("subResults") or {},
        "messages": run.material().transcript(root).messages(run.spec),
        "toolCalls": tool_calls(run.engine.id, run.spec, run.tree.runs, run.log, log),
        "context": root.state,
    }


def _open(body: Json, events: list[AgentEvent]) -> Json:
    """The fields of the result of a run that has not ended."""
    return {
        "output": {"result": None, "finishReason": "", "context": body["context"]},
        "execution_id": body["executionId"],
        "messages": body["messages"],
        "tool_calls": body["toolCalls"],
        "status": "RUNNING",
        "finish_reason": "",
        "events": events,
        "agent_name": body["agentName"],
    }


def tool_calls(tree: str, spec: AgentSpec, runs: dict[int, Run], events: Iterable[e.Event], log: Log) -> list[Json]:
    """Each call once, with its last attempt, in the order in which they were made."""
    calls: dict[tuple[int, int, str], Json] = {}
    open_: dict[int, Json] = {}
    for event in events:
        fact = event.fact
        if isinstance(fact, e.TaskScheduled) and fact.purpose is Purpose.ACT:
            agent = spec.at(runs[event.execution].path)
            key = (event.execution, fact.turn, fact.slot)
            attempts = calls[key]["attempts"] + 1 if key in calls else 1
            calls[key] = open_[event.seq] = {
                "id": reference(agent, fact), "name": fact.name, "args": log.call(fact.source, fact.index),
                "result": None, "error": None, "status": "SCHEDULED", "agentName": agent.name,
                "executionId": execution_id(tree, event.execution), "taskId": task_id(tree, event.seq),
                "attempts": attempts,
            }  # fmt: skip
        elif isinstance(fact, e.SETTLEMENTS) and fact.task in open_:
            open_[fact.task] |= _settled(fact, log.get(event.seq) or {})
    return list(calls.values())


def _settled(fact: e.AnyFact, output: Json) -> Json:
    match fact:
        case e.TaskCompleted():
            return {"status": "COMPLETED", "result": transcript.visible(output)}
        case e.TaskFailed(error=error):
            return {"status": "FAILED", "error": error}
        case e.TaskTimedOut(limit=limit):
            return {"status": "TIMED_OUT", "error": TIME_OUTS[limit]}
        case e.TaskCanceled(reason=reason):
            return {"status": "CANCELED", "error": reason}
    return {}
