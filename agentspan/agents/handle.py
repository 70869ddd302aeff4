"""A reference to a run: ask how it stands, answer it, steer it, follow it, wait for it. Any process can hold one."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentspan.agents import watching
from agentspan.agents.budget import Budget
from agentspan.agents.deputy import Deputy, OnHuman, checked_interrupt, deputy
from agentspan.agents.exceptions import WorkerMissingError
from agentspan.agents.host import Host, own_host
from agentspan.agents.inbox import TOLD, Request, approval, message_of, rejection, request_of
from agentspan.agents.interrupt import Detached, shorten, waited
from agentspan.agents.result import (
    AgentEvent,
    AgentResult,
    AgentStatus,
    MessageStatus,
    RunReasons,
    RunStep,
    answer_text,
    event_of,
    message_status_of,
    reasons_of,
    result_of,
    status_of,
    step_of,
)
from agentspan.agents.showing import Shown
from agentspan.agents.stream import AgentStream, AsyncAgentStream, tell

if TYPE_CHECKING:
    from agentspan.agents.agent import Agent

Json = dict[str, Any]

log = logging.getLogger("agentspan")

LONG_WAIT_SECONDS = 20.0
EVENT_PAGE = 1000
ENDED = ("COMPLETED", "FAILED", "TERMINATED", "TIMED_OUT")
LAST_ROUND = "DONE"
UNCHANGED: Any = type("Unchanged", (), {"__repr__": lambda _: "UNCHANGED"})()


@dataclass(frozen=True)
class Origin:
    """What the process that serves a run knows of it: the agent, functions and memory included, and the prompt."""

    agent: "Agent"
    prompt: str


class AgentHandle(Shown):
    """The run `execution_id` on the server of `runtime` (the process's own if none is given).

    Each method has a twin with `_async`. A wrong id raises AgentNotFoundError when it is used. The run does not need
    its handle, nor the process that made it. `output_type`: what the output of its result is to be. `on_human` and
    `on_interrupt`: what waiting for it does (see `join_async`), if not what the runtime's settings say.
    """

    def __init__(
        self,
        execution_id: str,
        runtime: Host | None = None,
        correlation_id: str | None = None,
        run_id: str | None = None,
        *,
        output_type: Any = None,
        origin: Origin | None = None,
        on_human: OnHuman | None = None,
        on_interrupt: str | None = None,
    ) -> None:
        self.execution_id = execution_id
        self.runtime = runtime if runtime is not None else own_host()
        self.correlation_id = correlation_id
        self.run_id = run_id
        self.output_type = output_type
        self._origin = origin
        self.interrupts = checked_interrupt(on_interrupt or self.runtime.on_interrupt)
        self._deputy: Deputy | None = deputy(on_human if on_human is not None else self.runtime.on_human)

    def __repr__(self) -> str:
        return f"AgentHandle(execution_id={self.execution_id!r})"

    def __await__(self) -> Generator[Any, None, AgentResult]:
        """`await handle` waits for the end of the run; see `join_async`."""
        return self.join_async().__await__()

    def _ipython_display_(self) -> None:
        """As the value of a cell it goes on showing the run until it ends, where outputs can change."""
        watcher = watching.watcher()
        if watcher is None or not watcher.show(self):
            raise NotImplementedError  # IPython then shows it as it stands

    async def get_status_async(self) -> AgentStatus:
        """How the run stands now."""
        return status_of(await (await self.runtime.client()).status(self.execution_id))

    async def respond_async(self, output: Any, *, request_id: str | None = None, by: str | None = None) -> None:
        """Answer what the run asks a person: `request_id` of AgentStatus.requests, or else the oldest request.

        `output` is an object such as {"approved": true}; `by` says who answers. AgentAPIError (409) if nothing is
        asked.
        """
        await (await self.runtime.client()).respond(self.execution_id, output, request_id=request_id, by=by)

    async def approve_async(
        self, *, request_id: str | None = None, arguments: Json | None = None, by: str | None = None
    ) -> None:
        """Say yes; `arguments` replace those of the call."""
        await self.respond_async(approval(arguments), request_id=request_id, by=by)

    async def reject_async(self, reason: str = "", *, request_id: str | None = None, by: str | None = None) -> None:
        """Say no, and why: the model is told."""
        await self.respond_async(rejection(reason), request_id=request_id, by=by)

    async def select_async(self, name: str, *, request_id: str | None = None) -> None:
        """Say which agent speaks next, where a person chooses (strategy "manual")."""
        await self.respond_async({"selected": name}, request_id=request_id)

    async def finish_async(self, *, request_id: str | None = None) -> None:
        """Let no agent speak any more, where a person chooses: the run ends with what was said."""
        await self.select_async(LAST_ROUND, request_id=request_id)

    async def requests_async(self) -> list[Request]:
        """What the run, or an agent below it, asks a person now; oldest first."""
        status = await (await self.runtime.client()).status(self.execution_id)
        return [request_of(each, self.runtime) for each in status.get("requests") or ()]

    async def send_async(self, message: Any, *, request_id: str | None = None) -> str | None:
        """Answer the question that the run asks; if it asks none, tell it so that the model sees it in its next turn.

        Gives the message's id in the second case (see `message_status`). Approvals, reviews and selections are no
        questions: they go on waiting for `approve`, `reject` or `select`.
        """
        if request_id is None:
            question = next((each for each in await self.requests_async() if each.kind in TOLD), None)
            if question is None:
                return await self.send_message_async(message)
            request_id = question.request_id
        await self.respond_async(message_of(message), request_id=request_id)
        return None

    async def send_message_async(self, message: Any) -> str:
        """Tell the run something: the model sees it in its next turn, or a tool that waits for messages takes it.

        Gives the message's id, for `message_status`. Messages arrive in their order.
        """
        return await (await self.runtime.client()).send_message(self.execution_id, message_of(message))

    async def message_status_async(self, message_id: str) -> MessageStatus:
        """What became of a message."""
        return message_status_of(await (await self.runtime.client()).message_status(self.execution_id, message_id))

    async def pause_async(self) -> None:
        """Start nothing new in the run; what runs may end. AgentAPIError (409) if it has ended."""
        await (await self.runtime.client()).pause(self.execution_id)

    async def resume_async(self) -> None:
        """Let the paused run go on."""
        await (await self.runtime.client()).resume(self.execution_id)

    async def cancel_async(self, reason: str = "") -> None:
        """End the run and all below it now: TERMINATED."""
        await (await self.runtime.client()).cancel(self.execution_id, reason)

    async def stop_async(self) -> None:
        """Let the run end gracefully, without another turn: COMPLETED."""
        await (await self.runtime.client()).stop(self.execution_id)

    async def signal_async(self, message: str) -> None:
        """Text that the model sees from its next turn on; "" takes it back."""
        await (await self.runtime.client()).signal(self.execution_id, message)

    async def continue_with_async(self, budget: Budget | Json) -> "AgentHandle":
        """Give the run these limits instead of the ones before; one that was ended for them goes on where it was."""
        config = Budget.of(budget).to_config()
        await self._take_up()
        await (await self.runtime.client()).change_budget(self.execution_id, config)
        return self

    async def fork_async(
        self,
        at: int,
        *,
        prompt: str = UNCHANGED,
        model: str = UNCHANGED,
        instructions: str = UNCHANGED,
        agent: str = UNCHANGED,
        answer: str = UNCHANGED,
        output: Any = UNCHANGED,
        tool_result: Any = UNCHANGED,
        arguments: Json = UNCHANGED,
        budget: Budget | Json = UNCHANGED,
        version: int | str = UNCHANGED,
    ) -> "AgentHandle":
        """A new run whose history is this one's up to event `at` (see `steps`); nothing of it runs again.

        What is given is changed in the new run: the `prompt`; the `model` or the `instructions` of the agent at the
        event, or of the one that `agent` names; a model's `answer`, a `tool_result` or any `output` of the event, by
        which a failure becomes a success; the `arguments` of a call where it is made or asked for (where several are
        asked for, by their place or tool: `{"search": {...}}`); the `budget`, in which the shared part counts; the
        `version` of the deployed agent by which it goes on, a number or "latest".
        """
        edits = {
            "prompt": prompt,
            "model": model,
            "instructions": instructions,
            "agent": agent,
            "answer": answer,
            "output": output,
            "tool_result": tool_result,
            "arguments": arguments,
            "budget": budget if budget is UNCHANGED else Budget.of(budget).to_config(),
            "version": version,
        }
        await self._take_up()
        changed = {key: value for key, value in edits.items() if value is not UNCHANGED}
        told = await (await self.runtime.client()).fork(self.execution_id, at, changed)
        return AgentHandle(told["executionId"], self.runtime, None, self.run_id, output_type=self.output_type)

    async def retry_async(self) -> "AgentHandle":
        """Let the run, which has failed, go on from where it failed. AgentAPIError (409) if nothing failed."""
        await self._take_up()
        await (await self.runtime.client()).retry(self.execution_id)
        return self

    async def steps_async(self) -> list[RunStep]:
        """Every event of the run as a line, with what a fork at it can change."""
        return [step_of(each) for each in await (await self.runtime.client()).steps(self.execution_id)]

    async def timeline_async(self, after: int = 0) -> Json:
        """The run and all below it: `executions`, and `spans` for each attempt of a task, with when it waited and ran,
        what it was about and what it took; what is new since event `after`. `last` is the number to ask with next."""
        return await (await self.runtime.client()).timeline(self.execution_id, after)

    async def moment_async(self, seq: int) -> Json:
        """The run as it stood right after event `seq` (see `steps`): `messages`, `state`, `pending`, `cost`, ..."""
        return await (await self.runtime.client()).moment(self.execution_id, seq)

    async def why_async(self) -> RunReasons:
        """Why the run does not go on, what it does now, or at which step it failed, and what to do about it."""
        return reasons_of(await (await self.runtime.client()).why(self.execution_id))

    async def events_async(self, after: int = 0) -> list[AgentEvent]:
        """What has happened so far, from the event after the number `after` on."""
        client, events = await self.runtime.client(), list[AgentEvent]()
        while page := (await client.events(self.execution_id, after=after, limit=EVENT_PAGE))["events"]:
            events += [event_of(each) for each in page]
            after = page[-1]["id"]
            if len(page) < EVENT_PAGE:
                break
        return events

    async def join_async(
        self,
        timeout: float | None = None,  # noqa: ASYNC109
        *,
        output_type: Any = None,
        on_human: OnHuman | None = None,
        on_interrupt: str | None = None,
    ) -> AgentResult:
        """Wait for the end of the run, at most `timeout` seconds (for ever by default); its result, failed or not.

        `output_type`: what the output is to be, if not what this handle knows. A run that waits for a person is waited
        for. Raises TimeoutError (the run goes on), and WorkerMissingError when the run has waited for a tool that no
        live worker serves for the runtime's grace.

        `on_human` is what to do when the run asks a person: "wait"; "fail" (HumanNeededError); "approve" or "reject"
        what is to be approved, and fail at anything else; "prompt" at the standard input; or a function of each
        Request, whose value is the answer (None leaves it to others). `on_interrupt`: an interrupt of the waiting, or
        its cancellation, lets the run go on ("detach") or ends it ("cancel").
        """
        if on_human is not None:
            self._deputy = deputy(on_human)
        if on_interrupt is not None:
            self.interrupts = checked_interrupt(on_interrupt)
        return await self._joined(timeout, output_type)

    def get_status(self) -> AgentStatus:
        """See `get_status_async`."""
        return self.runtime.portal.call(self.get_status_async())

    def respond(self, output: Any, *, request_id: str | None = None, by: str | None = None) -> None:
        """See `respond_async`."""
        self.runtime.portal.call(self.respond_async(output, request_id=request_id, by=by))

    def approve(self, *, request_id: str | None = None, arguments: Json | None = None, by: str | None = None) -> None:
        """See `approve_async`."""
        self.runtime.portal.call(self.approve_async(request_id=request_id, arguments=arguments, by=by))

    def reject(self, reason: str = "", *, request_id: str | None = None, by: str | None = None) -> None:
        """See `reject_async`."""
        self.runtime.portal.call(self.reject_async(reason, request_id=request_id, by=by))

    def select(self, name: str, *, request_id: str | None = None) -> None:
        """See `select_async`."""
        self.runtime.portal.call(self.select_async(name, request_id=request_id))

    def finish(self, *, request_id: str | None = None) -> None:
        """See `finish_async`."""
        self.runtime.portal.call(self.finish_async(request_id=request_id))

    @property
    def pending(self) -> list[Request]:
        """What the run asks a person now, oldest first; in a notebook each of them is a card."""
        return self.requests()

    def requests(self) -> list[Request]:
        """See `requests_async`."""
        return self.runtime.portal.call(self.requests_async())

    def send(self, message: Any, *, request_id: str | None = None) -> str | None:
        """See `send_async`."""
        return self.runtime.portal.call(self.send_async(message, request_id=request_id))

    def send_message(self, message: Any) -> str:
        """See `send_message_async`."""
        return self.runtime.portal.call(self.send_message_async(message))

    def message_status(self, message_id: str) -> MessageStatus:
        """See `message_status_async`."""
        return self.runtime.portal.call(self.message_status_async(message_id))

    def pause(self) -> None:
        """See `pause_async`."""
        self.runtime.portal.call(self.pause_async())

    def resume(self) -> None:
        """See `resume_async`."""
        self.runtime.portal.call(self.resume_async())

    def cancel(self, reason: str = "") -> None:
        """See `cancel_async`."""
        self.runtime.portal.call(self.cancel_async(reason))

    def stop(self) -> None:
        """See `stop_async`."""
        self.runtime.portal.call(self.stop_async())

    def signal(self, message: str) -> None:
        """See `signal_async`."""
        self.runtime.portal.call(self.signal_async(message))

    def continue_with(self, budget: Budget | Json) -> "AgentHandle":
        """See `continue_with_async`."""
        return self.runtime.portal.call(self.continue_with_async(budget))

    def fork(
        self,
        at: int,
        *,
        prompt: str = UNCHANGED,
        model: str = UNCHANGED,
        instructions: str = UNCHANGED,
        agent: str = UNCHANGED,
        answer: str = UNCHANGED,
        output: Any = UNCHANGED,
        tool_result: Any = UNCHANGED,
        arguments: Json = UNCHANGED,
        budget: Budget | Json = UNCHANGED,
        version: int | str = UNCHANGED,
    ) -> "AgentHandle":
        """See `fork_async`."""
        return self.runtime.portal.call(
            self.fork_async(
                at,
                prompt=prompt,
                model=model,
                instructions=instructions,
                agent=agent,
                answer=answer,
                output=output,
                tool_result=tool_result,
                arguments=arguments,
                budget=budget,
                version=version,
            )
        )

    def retry(self) -> "AgentHandle":
        """See `retry_async`."""
        return self.runtime.portal.call(self.retry_async())

    def steps(self) -> list[RunStep]:
        """See `steps_async`."""
        return self.runtime.portal.call(self.steps_async())

    def timeline(self, after: int = 0) -> Json:
        """See `timeline_async`."""
        return self.runtime.portal.call(self.timeline_async(after))

    def moment(self, seq: int) -> Json:
        """See `moment_async`."""
        return self.runtime.portal.call(self.moment_async(seq))

    def why(self) -> RunReasons:
        """See `why_async`."""
        return self.runtime.portal.call(self.why_async())

    def events(self, after: int = 0) -> list[AgentEvent]:
        """See `events_async`."""
        return self.runtime.portal.call(self.events_async(after))

    def join(
        self,
        timeout: float | None = None,
        *,
        output_type: Any = None,
        on_human: OnHuman | None = None,
        on_interrupt: str | None = None,
    ) -> AgentResult:
        """See `join_async`. In a notebook a second interrupt within two seconds cancels the run."""
        joining = self.join_async(timeout, output_type=output_type, on_human=on_human, on_interrupt=on_interrupt)
        return waited(self.runtime.portal, joining)

    def stream(self) -> AgentStream:
        """The run's events from its first on, to iterate."""
        return AgentStream(self)

    def stream_async(self) -> AsyncAgentStream:
        """The same for `async for`."""
        return AsyncAgentStream(self)

    async def _follow(self, after: int = 0) -> AsyncGenerator[AgentEvent]:
        """The run's events from the number after `after` to its end, as they happen."""
        async with aclosing((await self.runtime.client()).follow(self.execution_id, after=after)) as events:
            async for event in events:
                yield event_of(event)

    async def _tell(self, on_event: Callable[[AgentEvent], Any], seconds: float | None) -> AgentResult:
        """Call `on_event` with each event as it happens, in the caller's thread; then as `join_async`."""
        told: list[AgentEvent] = []
        joining = asyncio.ensure_future(self._result(seconds, told))
        try:
            async with aclosing(self._follow()) as events:
                while (event := await _before(anext(events, None), joining)) is not None:
                    told += [event] if event.id is not None else []
                    await tell(on_event, event)
            return await joining
        except asyncio.CancelledError as stop:
            await self._interrupted(stop)
            raise
        finally:
            joining.cancel()

    async def _joined(self, seconds: float | None, output_type: Any = None) -> AgentResult:
        """See `join_async`."""
        try:
            return await self._result(seconds, output_type=output_type)
        except asyncio.CancelledError as stop:
            await self._interrupted(stop)
            raise

    async def _interrupted(self, stop: asyncio.CancelledError) -> None:
        """The waiting is over before the run: cancel it if that was wanted, and say how to wait on if not."""
        stop.__notes__ = []
        if self.interrupts == "cancel":
            await self.cancel_async("interrupted")
            stop.add_note(Detached(f"The run {self.execution_id} is cancelled.", self))
        else:
            stop.add_note(Detached(self._how_to_attach(), self))
        shorten(stop)

    async def _tell_aside(self, on_event: Callable[[AgentEvent], Any]) -> None:
        """Call `on_event` with each event as it happens, in a thread, for a run that nobody need wait for."""
        try:
            async with aclosing(self._follow()) as events:
                async for event in events:
                    said = await asyncio.to_thread(on_event, event)
                    if isinstance(said, Awaitable):
                        await said
        except Exception:  # nobody awaits this: what the listener raises ends the telling, and is told in the log
            log.exception("the listener of run %s failed; it is told no more", self.execution_id)

    async def _result(
        self, seconds: float | None, events: list[AgentEvent] | None = None, output_type: Any = None
    ) -> AgentResult:
        """See `join_async`; `events` are those that are known already."""
        watch = await watching.begin(self)
        try:
            body = await self._attended(self._ended(seconds))
            if self.run_id is not None:
                self.runtime.forget(self.run_id)
            events = await self.events_async() if events is None else events
            await self._remember(body)
        except BaseException as problem:
            if isinstance(problem, asyncio.CancelledError):
                problem.add_note(self._how_to_attach())
            await watching.left(watch, problem)
            raise
        wanted = self.output_type if output_type is None else output_type
        result = result_of(body, correlation_id=self.correlation_id, events=events, output_type=wanted)
        await watching.ended(watch, result)
        return result

    async def _attend(self) -> None:
        """Let the deputy answer what the run asks now."""
        if self._deputy is not None:
            await self._deputy.attend(self)

    async def _attended(self, ending: Coroutine[Any, Any, Json]) -> Json:
        """What `ending` gives, while the deputy, if there is one, answers what the run asks."""
        if self._deputy is None:
            return await ending
        waiting, attending = asyncio.ensure_future(ending), asyncio.ensure_future(self._deputy.stay(self))
        try:
            await asyncio.wait({waiting, attending}, return_when=asyncio.FIRST_COMPLETED)
            if attending.done():
                attending.result()
            return await waiting
        finally:
            both = (waiting, attending)
            for each in both:
                each.cancel()
            await asyncio.wait(both)

    async def _remember(self, body: Json) -> None:
        """Let the agent's memory take in a run that has completed, in a thread: a store may take its time."""
        memory = self._origin.agent.memory if self._origin is not None else None
        if self._origin is not None and memory is not None and body["status"] == "COMPLETED":
            answer = answer_text(body.get("output"))
            await asyncio.to_thread(memory.remember, self.execution_id, self._origin.prompt, answer)

    async def _take_up(self) -> None:
        """Serve the run's tools again: at its end this process stopped polling for those of a stateful run."""
        if self._origin is not None and self.run_id is not None:
            await self.runtime.take_up(self._origin.agent, self.run_id)

    async def _ended(self, seconds: float | None) -> Json:
        """The server's answer when the run has ended."""
        client, grace = await self.runtime.client(), self.runtime.missing_worker_grace_seconds
        deadline = None if seconds is None else time.monotonic() + seconds
        missing: dict[str, float] = {}
        while True:
            wait = min(LONG_WAIT_SECONDS, grace)
            if missing:
                wait = min(wait, max(0.05, min(missing.values()) + grace - time.monotonic()))
            if deadline is not None:
                wait = min(wait, max(0.0, deadline - time.monotonic()))
            body = await client.result(self.execution_id, wait_ms=int(wait * 1000))
            if body["status"] in ENDED:
                return body
            now = time.monotonic()
            if deadline is not None and now >= deadline:
                raise self._too_late(seconds)
            waiting = {each.get("taskId") or each["tool"]: each for each in body.get("waitingFor") or ()}
            missing = {key: missing.get(key, now) for key in waiting}
            if overdue := [waiting[key] for key, since in missing.items() if now - since >= grace]:
                raise self._unserved(overdue)

    def _too_late(self, seconds: float | None) -> TimeoutError:
        return TimeoutError(f"the run has not ended after {seconds:g} s. {self._how_to_attach()}")

    def _unserved(self, waiting: list[Json]) -> WorkerMissingError:
        told = ", ".join(f"{each['tool']!r} since {_time(each.get('since'))}" for each in waiting)
        return WorkerMissingError(
            f"the run {self.execution_id} waits for a tool that no live worker serves: {told}. Start a worker with "
            f"runtime.serve(agent), or runtime.resume({self.execution_id!r}, agent) in a process that defines it; "
            f"the run goes on from there",
            execution_id=self.execution_id,
            waiting_for=waiting,
        )

    def _how_to_attach(self) -> str:
        key = self.execution_id
        return f"The run goes on; wait for it with runtime.attach({key!r}).join(), end it with runtime.cancel({key!r})"


async def _before(event: Awaitable[AgentEvent | None], ending: "asyncio.Future[AgentResult]") -> AgentEvent | None:
    """The next event. A run that cannot end raises its problem; one that has ended still tells its last events."""
    waiting = asyncio.ensure_future(event)
    both: set[asyncio.Future[Any]] = {waiting, ending}
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done() and ending.exception() is not None:
            ending.result()
        return await waiting
    finally:
        waiting.cancel()
        await asyncio.wait({waiting})  # a generator can be closed only when it has stopped


def _time(ms: Any) -> str:
    if not ms:
        return "an unknown time"
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(int(ms) / 1000))
