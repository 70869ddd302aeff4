"""The runtime: starts runs on a server, serves the tools of their agents from this process, waits for results."""

import asyncio
import atexit
import difflib
import logging
import signal
import sys
import threading
import uuid
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from agentspan.agents import watching
from agentspan.agents.agent import Agent, resolve_agent
from agentspan.agents.budget import Budget
from agentspan.agents.credentials import names_for_run
from agentspan.agents.deputy import OnHuman, checked_interrupt, deputy
from agentspan.agents.discovery import discover_agents
from agentspan.agents.exceptions import AgentConflictError, SessionBusyError, unbuilt
from agentspan.agents.frameworks import detect_framework
from agentspan.agents.handle import AgentHandle, Origin
from agentspan.agents.inbox import Request, request_of
from agentspan.agents.interrupt import waited
from agentspan.agents.memory import SemanticMemory
from agentspan.agents.planning import coerce_plan
from agentspan.agents.result import AgentEvent, AgentResult, AgentStatus, DeploymentInfo, MessageStatus, RunReasons
from agentspan.agents.runs import Runs, Since, runs_async
from agentspan.agents.runtime.config import DEFAULT_URL, AgentConfig
from agentspan.agents.runtime.preflight import preflight
from agentspan.agents.runtime.prompts import prompt_text
from agentspan.agents.schedules import all_named, save_async
from agentspan.agents.serialize import serialize, tree
from agentspan.agents.settings import RunSettings
from agentspan.agents.stream import AgentStream, AsyncAgentStream
from agentspan.agents.tool import get_tool_defs
from agentspan.agents.worker import GRACE_SECONDS, LEASE_SECONDS, Worker
from agentspan.client.client import Client
from agentspan.client.portal import Portal, in_caller, portal
from agentspan.errors import NotFound
from agentspan.spec.agent import AgentSpec
from agentspan.spec.check import check
from agentspan.spec.wire import decode, encode

Json = dict[str, Any]

log = logging.getLogger("agentspan")


@dataclass(frozen=True)
class _Start:
    """What is started: the definition on the wire, the prompt, and for an agent of this process itself and the domain
    that its tools are polled in."""

    definition: Json
    prompt: str
    agent: Agent | None = None
    domain: str | None = None


class AgentRuntime:
    """Runs agents on the server at `server_url` (with or without `/api`).

    Without an address, here or in the environment, a local server is found or started when the first call needs it.
    The constructor never waits. Each method has a twin with `_async`, for `await` in any event loop. Runs live on the
    server: they go on when this process ends, and `attach` and `resume` take them up again from any other.
    """

    def __init__(
        self,
        *,
        server_url: str | None = None,
        api_key: str | None = None,
        api_secret: str | None = None,
        config: AgentConfig | None = None,
    ) -> None:
        config = config if config is not None else AgentConfig.from_env()
        if server_url is not None:
            config = replace(config, server_url=server_url)
        if api_key is not None and api_secret is not None:
            config = replace(config, api_key=None, auth_key=api_key, auth_secret=api_secret)
        elif api_key is not None:
            config = replace(config, api_key=api_key)
        self.config = config
        self.portal: Portal = portal()
        self._may_launch = config.auto_start_server and server_url is None and config.server_url == DEFAULT_URL
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._worker: Worker | None = None
        self._last = ""
        self._stopping = asyncio.Event()
        _configure_logging(config.log_level)

    def __repr__(self) -> str:
        return f"AgentRuntime(server_url={self.config.server_url!r})"

    @property
    def missing_worker_grace_seconds(self) -> float:
        """How long `run` and `join` wait for a worker that is not there."""
        return self.config.missing_worker_grace_seconds

    @property
    def on_human(self) -> str:
        """Who answers what runs ask, if the waiting does not say."""
        return self.config.on_human

    @property
    def on_interrupt(self) -> str:
        """What becomes of a run whose waiting is interrupted, if the waiting does not say."""
        return self.config.on_interrupt

    # Runs

    async def run_async(
        self,
        agent: Any,
        prompt: Any = None,
        *,
        version: int | None = None,
        media: list[str] | None = None,
        session_id: str | None = None,
        idempotency_key: str | None = None,
        on_event: Callable[[AgentEvent], Any] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
        credentials: list[Any] | None = None,
        context: Json | None = None,
        run_settings: RunSettings | None = None,
        budget: Budget | Json | None = None,
        plan: Any = None,
        on_human: OnHuman | None = None,
        on_interrupt: str | None = None,
        **kwargs: Any,
    ) -> AgentResult:
        """Start a run and wait for its end; a failed run is a result too (`status`, `error`, `finish_reason`).

        `agent`: an Agent, an `@agent` function, or the name of a deployed agent (`version` of it). `on_event` is
        called with each AgentEvent as it happens. `timeout` (seconds) bounds the waiting, not the run: TimeoutError
        says how to wait on. `media`: images, audio and documents, by address or as base64. `context`: the first shared
        state. `plan`: a Plan that the agent carries out. `session_id`: the run goes on with the conversation of the
        runs before it; SessionBusyError while one of them has not ended. With an `idempotency_key`, the same start
        twice is one run. `run_settings` and `budget`: instead of the agent's own. A prompt that an input guardrail
        refuses raises ValueError. A run that waits for a person is waited for; one that waits for a tool that no live
        worker serves raises WorkerMissingError. `on_human` and `on_interrupt`: see AgentHandle.join_async.
        Definitions that cannot run raise InvalidSpec, features that this version lacks NotImplementedError.
        """
        handle = await self.start_async(
            agent,
            prompt,
            version=version,
            media=media,
            session_id=session_id,
            idempotency_key=idempotency_key,
            context=context,
            credentials=credentials,
            run_settings=run_settings,
            budget=budget,
            plan=plan,
            on_human=on_human,
            on_interrupt=on_interrupt,
            **kwargs,
        )
        return await (handle.join_async(timeout) if on_event is None else handle._tell(on_event, timeout))

    async def start_async(
        self,
        agent: Any,
        prompt: Any = None,
        *,
        version: int | None = None,
        media: list[str] | None = None,
        session_id: str | None = None,
        idempotency_key: str | None = None,
        on_event: Callable[[AgentEvent], Any] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
        credentials: list[Any] | None = None,
        context: Json | None = None,
        run_settings: RunSettings | None = None,
        budget: Budget | Json | None = None,
        plan: Any = None,
        on_human: OnHuman | None = None,
        on_interrupt: str | None = None,
        **kwargs: Any,
    ) -> AgentHandle:
        """Start a run; returns when the server has stored it. `timeout` (seconds) bounds the whole run, on the server.

        `on_event` is called in a thread of its own as events happen. This process serves the agent's tools until
        `shutdown`; see `run_async` for the rest.
        """
        _warn_of_unknown(kwargs)
        deputy(on_human or "wait"), checked_interrupt(on_interrupt or "detach")  # before anything is started
        names = names_for_run(credentials)
        limits = None if budget is None else Budget.of(budget).to_config()
        words, named = await prompt_text(prompt, self.client), [each for each in media or () if each]
        if not (words.strip() or named or context):
            raise ValueError("a run needs a prompt that is not blank, media or context")
        run = await self._begun(agent, words, version, run_settings)
        correlation_id = uuid.uuid4().hex
        watcher = watching.watcher()
        cell = watcher.key(run.definition, words) if watcher is not None and not idempotency_key else ""
        given: Json = {"context": context, "timeoutSeconds": timeout, "runId": run.domain, "budget": limits}
        given["credentials"] = names
        if plan is not None:
            given["plan"] = coerce_plan(plan).to_config()
        request = {
            **run.definition,
            "prompt": run.prompt,
            "sessionId": session_id or "",
            "media": named,
            # A key in any case: the request may be sent again when its answer is lost.
            "idempotencyKey": idempotency_key or cell or correlation_id,
            "correlationId": correlation_id,
            **{key: value for key, value in given.items() if value},
        }
        try:
            answer = await (await self.client()).start(request)
        except AgentConflictError as conflict:
            raise SessionBusyError(conflict, session_id) if session_id else conflict from None
        waiting: Json = {"on_human": on_human, "on_interrupt": on_interrupt}
        handle = self._handle(answer["executionId"], correlation_id, run.domain, run.agent, run.prompt, **waiting)
        if cell and run.domain and run.agent is not None:  # it may be served in the domain of its first start
            taken_up = await self.resume_async(handle.execution_id, run.agent)
            handle.run_id = taken_up.run_id
        self._last = handle.execution_id
        if watcher is not None:
            watcher.started(handle)
        if on_event is not None:
            self.portal.spawn(handle._tell_aside(on_event), "events")
        return handle

    async def stream_async(
        self,
        agent: Any = None,
        prompt: Any = None,
        *,
        version: int | None = None,
        handle: AgentHandle | None = None,
        media: list[str] | None = None,
        session_id: str | None = None,
        idempotency_key: str | None = None,
        on_event: Callable[[AgentEvent], Any] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
        credentials: list[Any] | None = None,
        context: Json | None = None,
        run_settings: RunSettings | None = None,
        budget: Budget | Json | None = None,
        plan: Any = None,
        on_human: OnHuman | None = None,
        on_interrupt: str | None = None,
        **kwargs: Any,
    ) -> AsyncAgentStream:
        """Start a run (or take up the one of `handle`) and return its events, to iterate with `async for`.

        `on_event` is called with each event before it is yielded; see `start_async` for the rest.
        """
        if handle is None:
            handle = await self._streamed(
                agent,
                prompt,
                version=version,
                media=media,
                session_id=session_id,
                idempotency_key=idempotency_key,
                timeout=timeout,
                credentials=credentials,
                context=context,
                run_settings=run_settings,
                budget=budget,
                plan=plan,
                on_human=on_human,
                on_interrupt=on_interrupt,
                **kwargs,
            )
        return AsyncAgentStream(handle, on_event)

    async def resume_async(self, execution_id: str, agent: Any, *, timeout: float | None = None) -> AgentHandle:  # noqa: ASYNC109
        """Serve the tools of a run that was started elsewhere, or before this process; AgentNotFoundError if there is
        no such run. (A paused run goes on by `handle.resume()`.)"""
        agent = resolve_agent(agent)
        client = await self.client()
        run = await client.workflow(execution_id, include_tasks=False)
        domains = [each for each in (run.get("taskToDomain") or {}).values() if each]
        domain = max(domains, key=domains.count) if domains else None
        await self._serve(agent, domain)
        prompt = str((run.get("input") or {}).get("prompt") or "")
        return self._handle(execution_id, run.get("correlationId"), domain, agent, prompt)

    def attach(self, execution_id: str, *, output_type: Any = None) -> AgentHandle:
        """A handle on a run by its id; `output_type` is what its output is to be. Serves no tools: see `resume`."""
        return AgentHandle(execution_id, self, output_type=output_type)

    async def runs_async(
        self,
        agent: str | Sequence[str] | None = None,
        *,
        status: str | Sequence[str] | None = None,
        session: str | None = None,
        since: Since = None,
        text: str | None = None,
        limit: int = 20,
        **filters: Any,
    ) -> Runs:
        """The newest runs on the server, at most `limit`: of an agent, in a status, of a session, begun `since` (a
        datetime, or a timedelta: so long ago), with a text; `filters`: see `runs`. A table in a notebook."""
        return await runs_async(
            agent, status=status, session=session, since=since, text=text, limit=limit, runtime=self, **filters
        )

    def last(self) -> AgentHandle:
        """The run that was started last by this runtime, or else by this notebook before its kernel was restarted."""
        watcher = watching.watcher()
        found = self._last or (watcher.last(self) if watcher is not None else "")
        if not found:
            raise NotFound("no run was started here yet; runs() lists those of the server")
        return self.attach(found)

    async def plan_async(self, agent: Any) -> Json:
        """What a start would register: `{workflowDef, requiredWorkers}`. Nothing is started or stored."""
        definition, _, _ = await self._definition(agent, None, None)
        return await (await self.client()).compile(definition)

    async def deploy_async(
        self, *agents: Any, packages: list[str] | None = None, schedules: list[Any] | None = None
    ) -> list[DeploymentInfo]:
        """Store agents under their names, to be run by name, with `schedules` to start each. No tools are served: see
        `serve`. What has not changed keeps its version; runs that have begun go on as they began."""
        timed, found = all_named(schedules), _all_agents(agents, packages)
        client, deployed = await self.client(), []
        for each in found:
            spec = await in_caller(_checked, resolve_agent(each))
            answer = await client.deploy({"agentConfig": encode(spec)})
            name = answer.get("agentName") or spec.name
            deployed.append(DeploymentInfo(name, spec.name, answer.get("version")))
            for schedule in timed:
                await save_async(spec.name, schedule, runtime=self)
        return deployed

    async def versions_async(self, name: str) -> list[Json]:
        """The versions of a deployed agent, the newest first: `{version, createTime, checksum, ...}` each."""
        return await (await self.client()).versions(name)

    async def rollback_async(self, name: str, version: int) -> int:
        """Make an old version's content the latest again, as a new version, whose number this gives. Runs that have
        begun go on as they began."""
        return int((await (await self.client()).rollback(name, version))["version"])

    async def diff_async(self, name: str, before: int, after: int) -> list[Json]:
        """What differs between two versions of a deployed agent: `{path, before, after}` each."""
        return await (await self.client()).diff(name, before, after)

    async def save_prompt_async(self, name: str, text: str, *, description: str | None = None) -> int:
        """Keep a prompt on the server, for `PromptTemplate(name)`; its version, a new one if the text is new."""
        return int((await (await self.client()).save_prompt(name, text, description))["version"])

    async def serve_async(self, *agents: Any, packages: list[str] | None = None, blocking: bool = True) -> None:
        """Serve the tools of agents, for runs that others start; with `blocking` until `shutdown` or cancellation."""
        for each in _all_agents(agents, packages):
            await self._serve(resolve_agent(each), None)
        if blocking:
            await self.portal.bridge(self._until_shutdown())

    async def prepare_async(self, agent: Any) -> None:
        """Be ready to serve an agent's tools."""
        await self._serve(resolve_agent(agent), None)

    # One run

    async def get_status_async(self, execution_id: str) -> AgentStatus:
        """See AgentHandle.get_status_async."""
        return await self.attach(execution_id).get_status_async()

    async def respond_async(
        self, execution_id: str, output: Any, *, request_id: str | None = None, by: str | None = None
    ) -> None:
        """See AgentHandle.respond_async."""
        await self.attach(execution_id).respond_async(output, request_id=request_id, by=by)

    async def approve_async(
        self,
        execution_id: str,
        *,
        request_id: str | None = None,
        arguments: Json | None = None,
        by: str | None = None,
    ) -> None:
        """See AgentHandle.approve_async."""
        await self.attach(execution_id).approve_async(request_id=request_id, arguments=arguments, by=by)

    async def reject_async(
        self, execution_id: str, reason: str = "", *, request_id: str | None = None, by: str | None = None
    ) -> None:
        """See AgentHandle.reject_async."""
        await self.attach(execution_id).reject_async(reason, request_id=request_id, by=by)

    async def inbox_async(
        self,
        status: str = "open",
        *,
        execution_id: str | None = None,
        agent_name: str | None = None,
        kind: str | None = None,
        to: str | None = None,
    ) -> list[Request]:
        """What all runs ask people, oldest first; with `execution_id` what this run and those below it ask.

        `agent_name`, `kind` (see Request) and `to` (whom it is addressed to) leave out the others. `status` may be
        "answered" for one run: what was asked, and who decided what and when.
        """
        found = await (await self.client()).inbox(
            status=status, execution_id=execution_id, agent_name=agent_name, kind=kind, to=to
        )
        return [request_of(each, self) for each in found]

    async def send_message_async(self, execution_id: str, message: Any) -> str:
        """See AgentHandle.send_message_async."""
        return await self.attach(execution_id).send_message_async(message)

    async def message_status_async(self, execution_id: str, message_id: str) -> MessageStatus:
        """See AgentHandle.message_status_async."""
        return await self.attach(execution_id).message_status_async(message_id)

    async def timeline_async(self, execution_id: str, after: int = 0) -> Json:
        """See AgentHandle.timeline_async."""
        return await self.attach(execution_id).timeline_async(after)

    async def moment_async(self, execution_id: str, seq: int) -> Json:
        """See AgentHandle.moment_async."""
        return await self.attach(execution_id).moment_async(seq)

    async def why_async(self, execution_id: str) -> RunReasons:
        """See AgentHandle.why_async."""
        return await self.attach(execution_id).why_async()

    async def pause_async(self, execution_id: str) -> None:
        """See AgentHandle.pause_async."""
        await self.attach(execution_id).pause_async()

    async def unpause_async(self, execution_id: str) -> None:
        """See AgentHandle.resume_async."""
        await self.attach(execution_id).resume_async()

    async def cancel_async(self, execution_id: str, reason: str = "") -> None:
        """See AgentHandle.cancel_async."""
        await self.attach(execution_id).cancel_async(reason)

    async def stop_async(self, execution_id: str) -> None:
        """See AgentHandle.stop_async."""
        await self.attach(execution_id).stop_async()

    async def signal_async(self, execution_id: str, message: str) -> None:
        """See AgentHandle.signal_async."""
        await self.attach(execution_id).signal_async(message)

    async def continue_run_async(self, execution_id: str, *, budget: Budget | Json) -> AgentHandle:
        """See AgentHandle.continue_with_async. Serves no tools: see `resume`."""
        return await self.attach(execution_id).continue_with_async(budget)

    async def fork_async(self, execution_id: str, at: int, **edits: Any) -> AgentHandle:
        """See AgentHandle.fork_async."""
        return await self.attach(execution_id).fork_async(at, **edits)

    async def retry_async(self, execution_id: str) -> AgentHandle:
        """See AgentHandle.retry_async."""
        return await self.attach(execution_id).retry_async()

    async def export_async(self, execution_id: str, path: str | Path) -> Path:
        """Write a run into a file (in a folder: one named after it); gives its path. `import_run` takes it in.

        A path that ends in `.ipynb` gets the run as a notebook, which runs by itself and offline.
        """
        client, target = await self.client(), Path(path)
        text = await client.export(execution_id)
        if target.suffix == ".ipynb":
            from agentspan.agents.story import told

            text = await told(client, execution_id, text)
        return await asyncio.to_thread(_write, target, f"{execution_id}.jsonl", text)

    async def import_run_async(self, path: str | Path, *, resume: bool = False) -> AgentHandle:
        """Take in a run out of a file, under a new id, to be read, forked and compared; it needs no keys.

        A run that had not ended is ended (TERMINATED, "imported"), unless it is to `resume` here.
        """
        data = await asyncio.to_thread(Path(path).read_bytes)
        taken = await (await self.client()).import_run(data, resume=resume)
        return AgentHandle(taken["executionId"], self)

    # The runtime itself

    async def client(self) -> Client:
        """The client of the server, which is found or started now if none is configured."""
        if self._client is None:
            await self._connect()
        assert self._client is not None
        return self._client

    @property
    def worker_id(self) -> str:
        """By what name this process polls; "" if it serves nothing yet."""
        return self._worker.id if self._worker is not None else ""

    async def take_up(self, agent: Agent, domain: str | None) -> None:
        """Serve the tools of a run in its domain (again)."""
        await self._serve(agent, domain)

    def forget(self, domain: str) -> None:
        """Poll no more for the tools of a stateful run that has ended."""
        if self._worker is not None:
            self._worker.registry.drop(domain)

    async def shutdown_async(self, grace: float = GRACE_SECONDS) -> None:
        """Serve no tools any more and close the connections. Runs go on: what runs here gets `grace` seconds, and is
        given back to be done by another worker then."""
        self._end_serving()
        with self._lock:
            worker, self._worker = self._worker, None
            client, self._client = self._client, None
        if worker is not None:
            await worker.stop(grace)
        if client is not None:
            await client.aclose()

    def __enter__(self) -> "AgentRuntime":
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()

    async def __aenter__(self) -> "AgentRuntime":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.shutdown_async()

    # The same for code that does not await

    def run(
        self,
        agent: Any,
        prompt: Any = None,
        *,
        version: int | None = None,
        media: list[str] | None = None,
        session_id: str | None = None,
        idempotency_key: str | None = None,
        on_event: Callable[[AgentEvent], Any] | None = None,
        timeout: float | None = None,
        credentials: list[Any] | None = None,
        context: Json | None = None,
        run_settings: RunSettings | None = None,
        budget: Budget | Json | None = None,
        plan: Any = None,
        on_human: OnHuman | None = None,
        on_interrupt: str | None = None,
        **kwargs: Any,
    ) -> AgentResult:
        """See `run_async`. A KeyboardInterrupt leaves the run alone; its note says how to wait on. In a notebook a
        second one within two seconds cancels the run."""
        return waited(
            self.portal,
            self.run_async(
                agent,
                prompt,
                version=version,
                media=media,
                session_id=session_id,
                idempotency_key=idempotency_key,
                on_event=on_event,
                timeout=timeout,
                credentials=credentials,
                context=context,
                run_settings=run_settings,
                budget=budget,
                plan=plan,
                on_human=on_human,
                on_interrupt=on_interrupt,
                **kwargs,
            ),
        )

    def start(
        self,
        agent: Any,
        prompt: Any = None,
        *,
        version: int | None = None,
        media: list[str] | None = None,
        session_id: str | None = None,
        idempotency_key: str | None = None,
        on_event: Callable[[AgentEvent], Any] | None = None,
        timeout: float | None = None,
        credentials: list[Any] | None = None,
        context: Json | None = None,
        run_settings: RunSettings | None = None,
        budget: Budget | Json | None = None,
        plan: Any = None,
        on_human: OnHuman | None = None,
        on_interrupt: str | None = None,
        **kwargs: Any,
    ) -> AgentHandle:
        """See `start_async`."""
        return self.portal.call(
            self.start_async(
                agent,
                prompt,
                version=version,
                media=media,
                session_id=session_id,
                idempotency_key=idempotency_key,
                on_event=on_event,
                timeout=timeout,
                credentials=credentials,
                context=context,
                run_settings=run_settings,
                budget=budget,
                plan=plan,
                on_human=on_human,
                on_interrupt=on_interrupt,
                **kwargs,
            )
        )

    def stream(
        self,
        agent: Any = None,
        prompt: Any = None,
        *,
        version: int | None = None,
        handle: AgentHandle | None = None,
        media: list[str] | None = None,
        session_id: str | None = None,
        idempotency_key: str | None = None,
        on_event: Callable[[AgentEvent], Any] | None = None,
        timeout: float | None = None,
        credentials: list[Any] | None = None,
        context: Json | None = None,
        run_settings: RunSettings | None = None,
        budget: Budget | Json | None = None,
        plan: Any = None,
        on_human: OnHuman | None = None,
        on_interrupt: str | None = None,
        **kwargs: Any,
    ) -> AgentStream:
        """See `stream_async`; to iterate with `for`."""
        if handle is None:
            handle = self.portal.call(
                self._streamed(
                    agent,
                    prompt,
                    version=version,
                    media=media,
                    session_id=session_id,
                    idempotency_key=idempotency_key,
                    timeout=timeout,
                    credentials=credentials,
                    context=context,
                    run_settings=run_settings,
                    budget=budget,
                    plan=plan,
                    on_human=on_human,
                    on_interrupt=on_interrupt,
                    **kwargs,
                )
            )
        return AgentStream(handle, on_event)

    def resume(self, execution_id: str, agent: Any, *, timeout: float | None = None) -> AgentHandle:
        """See `resume_async`."""
        return self.portal.call(self.resume_async(execution_id, agent, timeout=timeout))

    def runs(
        self,
        agent: str | Sequence[str] | None = None,
        *,
        status: str | Sequence[str] | None = None,
        session: str | None = None,
        since: Since = None,
        text: str | None = None,
        limit: int = 20,
        **filters: Any,
    ) -> Runs:
        """See `runs_async`."""
        return self.portal.call(
            self.runs_async(agent, status=status, session=session, since=since, text=text, limit=limit, **filters)
        )

    def plan(self, agent: Any) -> Json:
        """See `plan_async`."""
        return self.portal.call(self.plan_async(agent))

    def deploy(
        self, *agents: Any, packages: list[str] | None = None, schedules: list[Any] | None = None
    ) -> list[DeploymentInfo]:
        """See `deploy_async`."""
        return self.portal.call(self.deploy_async(*agents, packages=packages, schedules=schedules))

    def versions(self, name: str) -> list[Json]:
        """See `versions_async`."""
        return self.portal.call(self.versions_async(name))

    def rollback(self, name: str, version: int) -> int:
        """See `rollback_async`."""
        return self.portal.call(self.rollback_async(name, version))

    def diff(self, name: str, before: int, after: int) -> list[Json]:
        """See `diff_async`."""
        return self.portal.call(self.diff_async(name, before, after))

    def save_prompt(self, name: str, text: str, *, description: str | None = None) -> int:
        """See `save_prompt_async`."""
        return self.portal.call(self.save_prompt_async(name, text, description=description))

    def serve(self, *agents: Any, packages: list[str] | None = None, blocking: bool = True) -> None:
        """See `serve_async`. In the main thread, SIGTERM and SIGINT end it gracefully."""
        with _ended_by_signals(self._end_serving if blocking else None):
            self.portal.call(self.serve_async(*agents, packages=packages, blocking=blocking))
        if blocking:
            self.shutdown()

    def prepare(self, agent: Any) -> None:
        """See `prepare_async`."""
        self.portal.call(self.prepare_async(agent))

    def get_status(self, execution_id: str) -> AgentStatus:
        """See `get_status_async`."""
        return self.portal.call(self.get_status_async(execution_id))

    def respond(self, execution_id: str, output: Any, *, request_id: str | None = None, by: str | None = None) -> None:
        """See `respond_async`."""
        self.portal.call(self.respond_async(execution_id, output, request_id=request_id, by=by))

    def approve(
        self,
        execution_id: str,
        *,
        request_id: str | None = None,
        arguments: Json | None = None,
        by: str | None = None,
    ) -> None:
        """See `approve_async`."""
        self.portal.call(self.approve_async(execution_id, request_id=request_id, arguments=arguments, by=by))

    def reject(
        self, execution_id: str, reason: str = "", *, request_id: str | None = None, by: str | None = None
    ) -> None:
        """See `reject_async`."""
        self.portal.call(self.reject_async(execution_id, reason, request_id=request_id, by=by))

    def inbox(
        self,
        status: str = "open",
        *,
        execution_id: str | None = None,
        agent_name: str | None = None,
        kind: str | None = None,
        to: str | None = None,
    ) -> list[Request]:
        """See `inbox_async`."""
        return self.portal.call(
            self.inbox_async(status, execution_id=execution_id, agent_name=agent_name, kind=kind, to=to)
        )

    def send_message(self, execution_id: str, message: Any) -> str:
        """See `send_message_async`."""
        return self.portal.call(self.send_message_async(execution_id, message))

    def message_status(self, execution_id: str, message_id: str) -> MessageStatus:
        """See `message_status_async`."""
        return self.portal.call(self.message_status_async(execution_id, message_id))

    def timeline(self, execution_id: str, after: int = 0) -> Json:
        """See `timeline_async`."""
        return self.portal.call(self.timeline_async(execution_id, after))

    def moment(self, execution_id: str, seq: int) -> Json:
        """See `moment_async`."""
        return self.portal.call(self.moment_async(execution_id, seq))

    def why(self, execution_id: str) -> RunReasons:
        """See `why_async`."""
        return self.portal.call(self.why_async(execution_id))

    def pause(self, execution_id: str) -> None:
        """See `pause_async`."""
        self.portal.call(self.pause_async(execution_id))

    def unpause(self, execution_id: str) -> None:
        """See `unpause_async`."""
        self.portal.call(self.unpause_async(execution_id))

    def cancel(self, execution_id: str, reason: str = "") -> None:
        """See `cancel_async`."""
        self.portal.call(self.cancel_async(execution_id, reason))

    def stop(self, execution_id: str) -> None:
        """See `stop_async`."""
        self.portal.call(self.stop_async(execution_id))

    def signal(self, execution_id: str, message: str) -> None:
        """See `signal_async`."""
        self.portal.call(self.signal_async(execution_id, message))

    def continue_run(self, execution_id: str, *, budget: Budget | Json) -> AgentHandle:
        """See `continue_run_async`."""
        return self.portal.call(self.continue_run_async(execution_id, budget=budget))

    def fork(self, execution_id: str, at: int, **edits: Any) -> AgentHandle:
        """See `fork_async`."""
        return self.portal.call(self.fork_async(execution_id, at, **edits))

    def retry(self, execution_id: str) -> AgentHandle:
        """See `retry_async`."""
        return self.portal.call(self.retry_async(execution_id))

    def export(self, execution_id: str, path: str | Path) -> Path:
        """See `export_async`."""
        return self.portal.call(self.export_async(execution_id, path))

    def import_run(self, path: str | Path, *, resume: bool = False) -> AgentHandle:
        """See `import_run_async`."""
        return self.portal.call(self.import_run_async(path, resume=resume))

    def shutdown(self, grace: float = GRACE_SECONDS) -> None:
        """See `shutdown_async`. It can be called twice."""
        self.portal.call(self.shutdown_async(grace))

    # Parts

    async def _begun(self, agent: Any, prompt: str, version: int | None, settings: RunSettings | None) -> "_Start":
        """What a start needs to know of its agent; the agent's tools are served from now on."""
        definition, spec, found = await self._definition(agent, version, settings)
        if found is None or spec is None:
            return _Start(definition, prompt)
        prompt = await preflight(found, prompt)
        if isinstance(found.memory, SemanticMemory):
            known = await asyncio.to_thread(found.memory.recall, prompt, self)
            definition = {"agentConfig": encode(msgspec.structs.replace(spec, memory=known or None))}
        domain = uuid.uuid4().hex if _is_stateful(found) else None
        await self._serve(found, domain)
        return _Start(definition, prompt, found, domain)

    async def _definition(
        self, agent: Any, version: int | None, settings: RunSettings | None
    ) -> tuple[Json, AgentSpec | None, Agent | None]:
        """The part of a request that says which agent; its spec and the agent itself, if they are here."""
        if isinstance(agent, str):
            named: Json = {} if version is None else {"version": version}
            if settings is None:
                return {"agentName": agent, **named}, None, None
            spec = decode(await (await self.client()).agent(agent, version))
            return {"agentConfig": encode(_with(spec, settings)), **named}, None, None
        if framework := detect_framework(agent):
            raise unbuilt(f"Running an agent of {framework}")
        agent = resolve_agent(agent)
        spec = await in_caller(_checked, agent, settings)
        return {"agentConfig": encode(spec)}, spec, agent

    async def _streamed(self, agent: Any, prompt: Any, **options: Any) -> AgentHandle:
        if agent is None or (prompt is None and not (options["media"] or options["context"])):
            raise ValueError("stream needs an agent and a prompt, or a handle")
        return await self.start_async(agent, prompt, **options)

    def _handle(
        self,
        execution_id: str,
        correlation_id: str | None,
        domain: str | None,
        agent: Agent | None,
        prompt: str,
        **waiting: Any,
    ) -> AgentHandle:
        if agent is None:
            return AgentHandle(execution_id, self, correlation_id, domain, **waiting)
        wanted, origin = agent.output_type, Origin(agent, prompt)
        return AgentHandle(execution_id, self, correlation_id, domain, output_type=wanted, origin=origin, **waiting)

    async def _serve(self, agent: Agent, domain: str | None) -> None:
        """Serve the tools of an agent from this process."""
        if not self.config.auto_start_workers:
            return
        client = await self.client()
        with self._lock:
            if self._worker is None:
                self._worker = Worker(client, threads=self.config.worker_thread_count, lease_seconds=LEASE_SECONDS)
            worker = self._worker
        await worker.serve(agent, domain)

    async def _until_shutdown(self) -> None:
        await self._stopping.wait()

    def _end_serving(self) -> None:
        """From any thread: let `serve` return."""
        self.portal.loop.call_soon_threadsafe(self._stopping.set)

    async def _connect(self) -> None:
        """Make the client; with no server configured, find or start one."""
        from agentspan.client.launch import revive

        url = await asyncio.to_thread(_launched) if self._may_launch else self.config.server_url
        with self._lock:
            if self._client is None:
                config = self.config
                self._client = Client(
                    url,
                    api_key=config.api_key,
                    auth_key=config.auth_key,
                    auth_secret=config.auth_secret,
                    token=config.token,
                    user=config.user,
                    revive=revive if self._may_launch else None,
                )
                self._stopping = asyncio.Event()
                _close_at_exit(self)


def _write(target: Path, name: str, text: str) -> Path:
    """Write a file, in a folder under this name; gives its path."""
    target = target / name if target.is_dir() else target
    target.write_text(text, encoding="utf-8", newline="\n")
    return target


def _launched() -> str:
    """The address of the local server, found or started; says so in one line when it was started."""
    from agentspan.client.launch import find_or_start

    with _launching:
        server = find_or_start()
        if server.started:
            print(f"agentspan: started a local server at {server.url}", file=sys.stderr)
        return server.url


def _checked(agent: Agent, settings: RunSettings | None = None) -> AgentSpec:
    """The agent's spec, which can run."""
    for each in tree(agent):
        get_tool_defs([] if each.is_claude_code else each.tools)
    spec = serialize(agent)
    if settings is not None:
        spec = _with(spec, settings)
    check(spec)
    return spec


def _with(spec: AgentSpec, settings: RunSettings) -> AgentSpec:
    return msgspec.structs.replace(spec, **settings.spec_fields())


def _is_stateful(agent: Agent) -> bool:
    return any(
        each.stateful or any(tool.stateful for tool in get_tool_defs([] if each.is_claude_code else each.tools))
        for each in tree(agent)
    )


def _all_agents(agents: tuple[Any, ...], packages: list[str] | None) -> list[Any]:
    found = [*agents, *(discover_agents(packages) if packages else ())]
    if not found:
        raise ValueError("no agents were given, and none were found in the packages")
    return found


def _warn_of_unknown(kwargs: Json) -> None:
    for name in kwargs:
        near = difflib.get_close_matches(name, START_PARAMETERS, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        warnings.warn(f"unknown parameter {name!r} is ignored{hint}", UserWarning, stacklevel=2)


def _configure_logging(level: str) -> None:
    """Set the level of this package's logger; where it goes is the program's choice."""
    log.setLevel(level.upper())
    if not log.handlers:
        log.addHandler(logging.NullHandler())


def _close_at_exit(runtime: AgentRuntime) -> None:
    """Report what has been done before the process ends. The portal's own ending was registered before: it is later."""
    runtime.portal.loop  # noqa: B018
    _OPEN.add(runtime)
    global _registered
    if not _registered:
        _registered = True
        atexit.register(_close_all)


def _close_all() -> None:
    for runtime in list(_OPEN):
        runtime.shutdown()


@contextmanager
def _ended_by_signals(stop: Callable[[], None] | None) -> Iterator[None]:
    """In the main thread, let SIGTERM and SIGINT call `stop` instead of ending the process."""
    if stop is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {each: signal.signal(each, lambda *_: stop()) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


START_PARAMETERS = (
    "version", "media", "session_id", "idempotency_key", "on_event", "timeout", "credentials", "context",
    "run_settings", "budget", "plan", "on_human", "on_interrupt",
)  # fmt: skip

_launching = threading.Lock()
_OPEN: "weakref.WeakSet[AgentRuntime]" = weakref.WeakSet()
_registered = False
