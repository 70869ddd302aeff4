"""The worker: polls the queues of this process's functions, runs them, reports what became of them.

It lives on the portal's loop. Plain functions run in daemon threads, `async def` ones on a loop of their own, so that
one that blocks stops neither polling nor heartbeats. One long poll serves all queues of a lane (tools in threads, tools
on the loop, checks), so that one lane's full house does not shut out another; when one task runs at a time, a report
and the next poll are one request. A result is sent again over restarts of the server until it has landed or is refused.
"""

import asyncio
import contextvars
import copy
import logging
import os
import socket
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from agentspan.agents.agent import Agent
from agentspan.agents.capture import Output, captured
from agentspan.agents.context import ToolContext
from agentspan.agents.convert import arguments
from agentspan.agents.credentials import EXECUTION, Given, Resolve, asked, come_with, given_to, known, nobody
from agentspan.agents.duties import Duty
from agentspan.agents.environment import lent
from agentspan.agents.isolation import Isolator, Order, Unfit, is_apart
from agentspan.agents.outcome import Failure, output_and_changes, reason_of, traceback_of
from agentspan.agents.pool import Pool, carried, cause_of
from agentspan.agents.registry import Entry, Lane, Queue, Registry, is_async
from agentspan.agents.tool import ToolDef
from agentspan.client.client import Client
from agentspan.client.errors import AgentAPIError
from agentspan.client.portal import Portal, portal
from agentspan.errors import AgentspanError
from agentspan.spec.redact import redacted

Json = dict[str, Any]

log = logging.getLogger("agentspan.worker")

LEASE_SECONDS = 10.0
LONG_POLL_MS = 25_000
REPORT_POLL_MS = 5_000
"""Shorter, because the results aboard must be known to have arrived before their leases end."""
HOLD_SECONDS = 0.01
"""After tasks came, how long to wait for a result that can travel with the next poll."""
ASYNC_LIMIT = 256
CHECKS_LIMIT = 64
REFUSALS_LIMIT = 20
BATCH_LIMIT = 100
GRACE_SECONDS = 5.0


class Worker:
    """Serves the registered functions of one server until it is stopped. `threads` plain tools run at once."""

    def __init__(self, client: Client, *, threads: int = 16, lease_seconds: float = LEASE_SECONDS) -> None:
        self.id = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self.registry = Registry()
        self._client, self._lease = client, lease_seconds
        self._places = {Lane.CHECKS: CHECKS_LIMIT, Lane.LOOP: ASYNC_LIMIT, Lane.THREADS: threads}
        self._pool, self._isolator = Pool("agentspan-tool"), Isolator()
        self._calls: dict[str, Call] = {}
        self._outbox: list[Json] = []
        self._refused: dict[str, int] = {}
        self._polls: dict[Lane, asyncio.Task[list[Json]]] = {}
        self._send: asyncio.Task[list[Json]] | None = None
        self._wake: asyncio.Event | None = None
        self._serving: asyncio.Task[None] | None = None
        self._beating: asyncio.Task[None] | None = None
        self._closing = False
        self._hold_until = 0.0

    async def serve(self, agent: Agent, domain: str | None = None) -> None:
        """Take in an agent's functions and be polling for them; returns at once."""
        if self.registry.add(agent, domain):
            await portal().bridge(self._start())
        if self.registry.any_apart():
            await self._pool.run(self._isolator.warm)

    async def stop(self, grace: float = GRACE_SECONDS) -> None:
        """Take no new tasks, give running ones `grace` seconds, report what there is, and give the rest back."""
        await portal().bridge(self._stop(grace))
        await self._pool.run(self._isolator.close)

    @property
    def running(self) -> int:
        """How many tasks run now."""
        return len(self._calls)

    async def _start(self) -> None:
        """Begin to serve, or let a waiting poll begin again with the queues that are new."""
        self._wake = self._wake or asyncio.Event()
        if self._serving is None or self._serving.done():
            self._closing = False
            fresh = contextvars.Context()
            self._serving = asyncio.create_task(self._serve(), name="agentspan-worker", context=fresh)
            self._beating = asyncio.create_task(self._beat(), name="agentspan-heartbeat", context=fresh)
        for poll in self._polls.values():
            poll.cancel()
        self._wake.set()

    async def _stop(self, grace: float) -> None:
        self._closing = True
        if self._serving is None or self._wake is None:
            return
        for poll in self._polls.values():
            poll.cancel()
        self._wake.set()
        await asyncio.wait({self._serving}, timeout=grace)
        own = (self._serving, self._beating, self._send, *self._polls.values())
        tasks = {each for each in own if each is not None}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._serving = self._beating = self._send = None
        self._polls.clear()
        await self._give_back()

    async def _give_back(self) -> None:
        """What has not ended goes to another worker now, and not when its lease is over."""
        left = [_result(call.context.execution_id, call.id, self.id, "IN_PROGRESS") for call in self._calls.values()]
        if not left:
            return
        try:
            await self._client.report([*self._take(), *left], None)
        except AgentspanError as problem:
            _tell(problem)
        log.warning("%d tasks did not end in time and were given back", len(left))

    async def _serve(self) -> None:
        """Keep one poll of each lane and one plain report under way; results travel with a poll where they can."""
        assert self._wake is not None
        while not (self._closing and not self._calls and not self._outbox and self._send is None):
            self._begin_requests()
            is_holding = bool(self._calls) and not self._outbox and bool(self._wishes())
            pause = max(0.0, self._hold_until - time.monotonic()) if is_holding else None
            await self._news({each for each in (self._send, *self._polls.values()) if each is not None}, pause)
            for lane, poll in list(self._polls.items()):
                if poll.done():
                    del self._polls[lane]
                    self._begin_calls(poll)
            if self._send is not None and self._send.done():
                self._send = None

    def _begin_requests(self) -> None:
        wishes = self._wishes()
        if self._outbox and wishes:
            lane, wish = wishes.popitem()
            self._polls[lane] = _task(self._report(self._take(), {**wish, "timeoutMs": REPORT_POLL_MS}))
        elif self._outbox and self._send is None:
            self._send = _task(self._report(self._take(), None))
        if self._calls and time.monotonic() < self._hold_until:
            return
        for lane, wish in wishes.items():
            self._polls[lane] = _task(self._lease_tasks({**wish, "timeoutMs": LONG_POLL_MS}))

    async def _news(self, requests: set["asyncio.Task[list[Json]]"], pause: float | None) -> None:
        """Wait for an answer, a result or a new queue; at most `pause` seconds."""
        assert self._wake is not None
        woken = asyncio.create_task(self._wake.wait())
        try:
            await asyncio.wait({*requests, woken}, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
        finally:
            woken.cancel()
        self._wake.clear()

    def _wishes(self) -> dict[Lane, Json]:
        """What to poll for: the queues of each lane that has a free place and no poll yet."""
        if self._closing:
            return {}
        taken = Counter(call.lane for call in self._calls.values())
        queues: dict[Lane, list[Queue]] = {lane: [] for lane in self._places}
        for queue in self.registry.queues():
            if (entry := self.registry.find("", queue.name)) is not None:
                queues[entry.lane].append(queue)
        return {
            lane: {
                "workerId": self.id,
                "queues": [queue.on_wire() for queue in queues[lane]],
                "count": places - taken[lane],
                "leaseSeconds": self._lease,
            }
            for lane, places in self._places.items()
            if queues[lane] and places > taken[lane] and lane not in self._polls
        }

    def _take(self) -> list[Json]:
        taken, self._outbox = self._outbox[:BATCH_LIMIT], self._outbox[BATCH_LIMIT:]
        return taken

    # Requests: each answers the tasks that came, and bears whatever goes wrong

    async def _lease_tasks(self, request: Json) -> list[Json]:
        waits = self._client.transport.waits()
        while True:
            try:
                return await self._client.poll(request)
            except AgentspanError as problem:
                _tell(problem)
                await asyncio.sleep(waits.next())

    async def _report(self, results: list[Json], poll: Json | None) -> list[Json]:
        waits = self._client.transport.waits()
        try:
            while results:
                try:
                    answer = await self._client.report(results, poll)
                except AgentAPIError as problem:
                    _tell(problem)
                    results = self._without_refused(results, problem)
                    await asyncio.sleep(waits.next())
                except AgentspanError as problem:
                    _tell(problem)
                    await asyncio.sleep(waits.next())
                except Exception:  # the edge of the worker: a defect must not keep it busy, nor lose results
                    log.exception("results could not be sent; they are sent again")
                    await asyncio.sleep(waits.next())
                else:
                    results = []
                    self._settle(answer.get("receipts") or ())
                    return list(answer.get("tasks") or ())
        finally:
            # Cut off by a stop or by a new queue: what may not have arrived is sent again, which does no harm.
            self._outbox[:0] = results
        return []

    def _settle(self, receipts: Any) -> None:
        for receipt in receipts:
            self._refused.pop(receipt["taskId"], None)
            if not receipt.get("landed"):
                log.info("the result of task %s came too late: %s", receipt["taskId"], receipt.get("reason"))

    def _without_refused(self, results: list[Json], problem: AgentAPIError) -> list[Json]:
        """What to send again after an error: one by one if the server cannot take them, a failure instead of a result
        that it will never take."""
        if problem.retryable or problem.status_code in (401, 403, 429, 502, 503, 504):
            return results
        if len(results) > 1:
            self._outbox[:0] = results[1:]
            return results[:1]
        result = results[0]
        tries = self._refused[result["taskId"]] = self._refused.get(result["taskId"], 0) + 1
        if problem.status_code >= 500 and tries < REFUSALS_LIMIT:
            return results
        del self._refused[result["taskId"]]
        if result["status"] == "COMPLETED":
            reason = f"the server does not take the result: {problem.message}"
            return [_failure(result["workflowInstanceId"], result["taskId"], self.id, reason, terminal=True)]
        log.error("the outcome of task %s could not be reported: %s", result["taskId"], problem)
        return []

    async def _beat(self) -> None:
        """Keep the leases of what runs or waits to be reported, and tell calls that have lost theirs."""
        pause = self._lease / 3
        while True:
            await asyncio.sleep(pause)
            self._isolator.sweep()
            held = [*self._calls, *(result["taskId"] for result in self._outbox)]
            if not held:
                continue
            try:
                answer = await self._client.extend(held, self.id, self._lease)
            except AgentspanError as problem:
                _tell(problem)
                pause = min(1.0, self._lease / 10)
                continue
            pause = self._lease / 3
            for task_id in answer.get("lost") or ():
                if call := self._calls.get(task_id):
                    call.lose()

    # Calls

    def _begin_calls(self, poll: "asyncio.Task[list[Json]]") -> None:
        tasks = [] if poll.cancelled() or poll.exception() is not None else poll.result()
        for task in tasks:
            name = task.get("agentName") or task.get("workflowType") or ""
            entry = self.registry.find(name, _name(task), task.get("domain"))
            call = Call(
                task,
                entry,
                call_context(task, entry),
                self._pool,
                resolve=partial(asked, self._client),
                isolator=self._isolator,
            )
            self._calls[call.id] = call
            _task(self._perform(call))
        if tasks:
            self._hold_until = time.monotonic() + HOLD_SECONDS

    async def _perform(self, call: "Call") -> None:
        try:
            result = await call.perform(self.id)
        finally:
            self._calls.pop(call.id, None)
        self._outbox.append(result)
        if self._wake is not None:
            self._wake.set()


@dataclass
class Call:
    """One attempt of one task while it runs here. Without an isolator, all runs in this process."""

    task: Json
    entry: Entry | None
    context: ToolContext
    pool: Pool
    output: Output = field(default_factory=Output)
    resolve: Resolve = nobody
    given: Given | None = None
    ran: ToolDef | None = None
    isolator: Isolator | None = None
    _end: Callable[[], None] | None = None

    @property
    def id(self) -> str:
        return str(self.task["taskId"])

    @property
    def lane(self) -> Lane:
        return self.entry.lane if self.entry is not None else Lane.THREADS

    async def perform(self, worker_id: str) -> Json:
        """Run the function; the TaskResult of whatever comes of it."""
        execution_id = self.task["workflowInstanceId"]
        try:
            outcome = await self._run()
        except Exception as raised:  # the edge of the worker: every failure of a function is its result
            failure = Failure.of(raised)
            self.output.write("\n".join(["", *failure.lines]))
            result = _failure(execution_id, self.id, worker_id, failure.reason, terminal=failure.is_final)
        else:
            result = {**_result(execution_id, self.id, worker_id, "COMPLETED"), "outputData": outcome}
        if lines := [line for line in self.output.lines() if line.strip()]:
            stamp = int(time.time() * 1000)
            result["logs"] = [{"log": line, "taskId": self.id, "createdTime": stamp} for line in lines]
        result = {**result, **self._version()}
        return {**result, **redacted(said(result), self.given.values)} if self.given else result

    async def invoke(self, function: Callable[..., Any], /, *places: Any, **names: Any) -> Any:
        """Call a function of the user's where it belongs."""
        if is_async(function):
            return await tools_portal().bridge(self._await(function, places, names))
        value = await self.pool.run(lambda: self._call(function, places, names))
        if asyncio.iscoroutine(value):  # a plain function that hands on a coroutine
            value = await tools_portal().bridge(self._finish(value))
        return value

    def tell(self, problem: BaseException) -> None:
        """Put an exception that changes nothing into the log of the task, and of this process."""
        problem = cause_of(problem)
        self.output.write("\n".join(["", *traceback_of(problem)]))
        reason = redacted(reason_of(problem), self.given.values if self.given else {})
        log.warning("%s: %s (it changes nothing)", _name(self.task), reason)

    def lose(self) -> None:
        """Tell the call that it was cancelled, or handed to another worker; one in a process of its own ends soon."""
        self.context._lost.set()
        if self._end is not None:
            self._end()

    def _version(self) -> Json:
        """Which source of a tool has run: its digest and that of the one it took the place of, and whether the cell or
        module was run again meanwhile."""
        if self.ran is None or self.entry is None or not self.ran.source_digest:
            return {}
        began = self.entry.work.source_digest if isinstance(self.entry.work, ToolDef) else ""
        digests = list(dict.fromkeys(filter(None, (self.ran.source_digest, began))))
        newest = self.ran.newest().source_digest
        return {"sourceDigests": digests, **({"outdated": True} if newest != self.ran.source_digest else {})}

    async def _run(self) -> Json:
        if self.entry is None:
            raise LookupError(f"this worker has no function for the task {_name(self.task)!r}")
        given = {key: value for key, value in (self.task.get("inputData") or {}).items() if key not in PRIVATE}
        work, agent = self.entry.work, self.entry.agent
        if isinstance(work, Duty):
            self.given = come_with(work.name, self.task)
            return await work.perform(given, self)
        tool = self.ran = work.newest()
        self.given = await given_to(tool.name, tool.credentials, agent.credentials, self.task, self.resolve)
        return await self._use(tool, given)

    async def _use(self, tool: ToolDef, given: Json) -> Json:
        state = copy.deepcopy(self.context.state)
        assert tool.func is not None
        takes = tool.parameters()
        places, names = arguments(tool.name, takes, given)
        if self.isolator is not None and self.given is not None and is_apart(tool):
            with suppress(Unfit):  # it runs here then; the log says why
                return await self._use_apart(self.isolator, Order(tool, self.given, places, names, self.context))
        if takes.context is not None:
            names[takes.context] = self.context
        value = await self.invoke(tool.func, *places, **names)
        return output_and_changes(tool.name, value, state, self.context.state)

    async def _use_apart(self, isolator: Isolator, order: Order) -> Json:
        def begun(end: Callable[[], None]) -> None:
            self._end = end
            if self.context.cancelled:
                end()

        output: Json = await self.pool.run(lambda: isolator.run(order, self.output, begun))
        return output

    def _call(self, function: Callable[..., Any], places: tuple[Any, ...], names: Json) -> Any:
        with captured(self.output), known(self.given), lent(self.given):
            return function(*places, **names)

    async def _await(self, function: Callable[..., Awaitable[Any]], places: tuple[Any, ...], names: Json) -> Any:
        return await self._finish(function(*places, **names))

    async def _finish(self, awaited: Awaitable[Any]) -> Any:
        try:
            with captured(self.output), known(self.given):
                return await awaited
        except BaseException as problem:  # SystemExit would end the loop, a cancellation of its own the worker
            raise carried(problem) from problem


def tools_portal() -> Portal:
    """The loop of `async def` functions: not the portal, for one that blocks would stop heartbeats."""
    return _TOOLS


def call_context(task: Json, entry: Entry | None) -> ToolContext:
    """What a function may know about the task that it serves."""
    agent = entry.agent if entry is not None else None
    state = (task.get("inputData") or {}).get("_agent_state")
    return ToolContext(
        session_id=task.get("sessionId") or "",
        execution_id=task["workflowInstanceId"],
        agent_name=task.get("agentName") or task.get("workflowType") or "",
        metadata=dict(agent.metadata) if agent is not None else {},
        dependencies=dict(agent.dependencies) if agent is not None else {},
        state=dict(state) if isinstance(state, dict) else {},
        idempotency_key=task.get("idempotencyKey") or "",
        attempt=int(task.get("retryCount") or 0),
        task_id=str(task["taskId"]),
    )


def _result(execution_id: str, task_id: str, worker_id: str, status: str) -> Json:
    return {"workflowInstanceId": execution_id, "taskId": task_id, "workerId": worker_id, "status": status}


def _failure(execution_id: str, task_id: str, worker_id: str, reason: str, *, terminal: bool) -> Json:
    status = "FAILED_WITH_TERMINAL_ERROR" if terminal else "FAILED"
    return {**_result(execution_id, task_id, worker_id, status), "reasonForIncompletion": reason, "outputData": {}}


def said(result: Json) -> Json:
    """What of a result the user's function has said."""
    return {key: result[key] for key in ("outputData", "reasonForIncompletion", "logs") if key in result}


def _name(task: Json) -> str:
    return str(task.get("taskDefName") or task.get("taskType") or "")


def _task(coroutine: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
    task = asyncio.create_task(coroutine)
    _KEPT.add(task)
    task.add_done_callback(_KEPT.discard)
    return task


def _tell(problem: AgentspanError) -> None:
    log.debug("the worker could not reach the server: %s", problem)


PRIVATE = ("_agent_state", EXECUTION)
_KEPT: set["asyncio.Task[Any]"] = set()
_TOOLS = Portal("tools")
