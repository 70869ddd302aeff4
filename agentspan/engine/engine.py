"""The doors to every write, and what runs behind them in this process."""

import asyncio
import json
import logging
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, TypeVar

from agentspan.clock import new_id, not_before, now_ms
from agentspan.config import Settings
from agentspan.core import events as e
from agentspan.core.advance import ROOT
from agentspan.core.feed import Feed, Item
from agentspan.core.ids import message_id, split_execution, split_task, task_id
from agentspan.core.proxy import is_proxy
from agentspan.core.run import Run
from agentspan.core.turn import fallbacks
from agentspan.engine import commands, deltas, providers
from agentspan.engine.deltas import Deltas
from agentspan.engine.described import Descriptions
from agentspan.engine.desk import Desk
from agentspan.engine.figures import Figures
from agentspan.engine.history import History
from agentspan.engine.hub import Change, Hub, change
from agentspan.engine.life import Life
from agentspan.engine.outgoing import Outgoing
from agentspan.engine.pollers import Poller, Pollers
from agentspan.engine.quotas import Quotas
from agentspan.engine.resolve import refers, resolve
from agentspan.engine.retention import Retention
from agentspan.engine.roster import Roster, Sign, Signs, roster
from agentspan.engine.scheduler import Scheduler
from agentspan.engine.secrets import Secrets
from agentspan.engine.spans import CALLER, traced_by
from agentspan.engine.spending import Spending
from agentspan.engine.sweeper import Sweeper
from agentspan.engine.tracing import Tracing
from agentspan.engine.transcripts import Transcripts
from agentspan.engine.workers.builtin import Builtin
from agentspan.engine.workers.http import HttpWorker
from agentspan.engine.workers.llm import QUEUE as LLM_QUEUE
from agentspan.engine.workers.llm import LlmWorker
from agentspan.engine.workers.mcp import McpWorker
from agentspan.engine.workers.outward import Outward
from agentspan.engine.writer import Committed, Writer
from agentspan.errors import BadInput, Conflict, NotFound, Unavailable
from agentspan.spec import wire
from agentspan.spec.agent import AgentSpec
from agentspan.spec.check import below, check, check_schemas
from agentspan.spec.credentials import names_problem
from agentspan.spec.media import check as check_media
from agentspan.spec.plan import problems as plan_problems
from agentspan.spec.policy import Budget, budget, milliseconds
from agentspan.spec.tool import ToolSpec
from agentspan.store import definitions, queue, templates
from agentspan.store.database import Database, upgrade
from agentspan.store.ledger import Held, Ledger, Meta, Transaction, notify
from agentspan.store.presence import Presence, check_upgrade, living
from agentspan.store.reads import Reads, Scene
from agentspan.store.views import MessageView, Receipt, Report, RequestView, Started, TaskView, Want

log = logging.getLogger("agentspan.engine")

T = TypeVar("T")

HEARTBEAT_SECONDS = 15.0
TAKE_OVER_SECONDS = 1.0
"""How often a server looks for dead ones whose model calls it must take over, where there can be several."""
CHANGES_SECONDS = 0.1
"""What moves within this time is told at once to those who watch everything."""
LOOK_SECONDS = 5.0
"""How long a waiter trusts that it will be woken before it looks for itself."""
AGAIN_SECONDS = 0.25
OWNER = "server:"
SPARE_READERS = 4
POLLS_MS = 5_000
GIVEN_UP = (e.TaskTimedOut, e.TaskCanceled)


class Engine:
    """One server's engine. Made by `Engine.open`; its methods are called on the loop that opened it."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings, self.database = settings, database
        self.number = secrets.randbelow(2**31 - 1) + 1
        self.replica = f"{OWNER}{self.number}"
        self.draining = False
        alone = database.is_sqlite
        self.pollers = Pollers(alone=alone)
        self.reads = Reads(database, settings.pool_size + SPARE_READERS, self.pollers.last_poll)
        self.hub = Hub()
        self.pollers.came = lambda: self.hub.tell(Change(workers=True))
        if not alone:
            self.hub.came = lambda tree: self._spawn(self._tell_readers([tree]))
        self.deltas = Deltas()
        self.spending, self.figures = Spending(), Figures()
        self.tracing: Tracing | None = None
        self.signs = Signs()
        self.started_at = now_ms()
        self.transcripts = Transcripts(self.reads)
        self.desk = Desk(self.pollers, self.replica)
        self.writer = Writer(
            Ledger(database, settings.blob_bytes), self.desk, asyncio.get_running_loop(), self._committed, self.figures
        )
        self.writer.doubted = lambda leases: self._spawn(self._doubt(leases))
        self.scheduler = Scheduler(self.reads, self.writer, self._deployed)
        self.sweeper = Sweeper(self.reads, self.writer, self.pollers, self._match, self.scheduler.run)
        self.outgoing = Outgoing.of(settings)
        self.secrets = Secrets(self.reads, self.writer, settings)
        self.descriptions = Descriptions(self.outgoing, self.secrets.open)
        self.quotas = Quotas(self.reads)
        self.life = Life(self.reads, self.writer, self.sweeper.due, self.start, self._deployed, self.secrets)
        self.history = History(self.reads, self.writer, self._check)
        self.retention = Retention(settings.retention, self.reads.query, self.writer.do, self._is_first)
        kinds: dict[str, Callable[[], Builtin]] = {
            "llm": self._llm,
            "http": partial(self._outward, HttpWorker),
            "mcp": partial(self._outward, McpWorker),
        }
        self.builtin = {kind: make() for kind, make in kinds.items() if settings.performs(kind)}
        hello = json.dumps({"from": self.replica, "all": True})
        self.presence = None if alone else Presence(database, self.number, hello, self._heard)
        self._leases: dict[str, int] = {}
        self._background: list[asyncio.Task[None]] = []

    @classmethod
    async def open(cls, settings: Settings) -> "Engine":
        """Open the database and begin to work. StoreProblem with a sentence if that cannot be."""
        providers.check_limits(settings.limits)
        Outgoing.of(settings)
        database = Database(
            settings.database_url, pool_size=settings.pool_size, synchronous=settings.sqlite_synchronous,
            silence=settings.lease_seconds,
        )  # fmt: skip
        await asyncio.to_thread(database.open)
        engine = cls(settings, database)
        try:
            await engine._begin()
        except BaseException:
            await engine.close()
            raise
        return engine

    async def _begin(self) -> None:
        if self.settings.tracing:
            self.tracing = Tracing(self.reads, self.settings, self.replica, self.started_at)
            self._spawn(self.tracing.run())
        if self.presence:
            await self.presence.open()
            self._spawn(self.presence.listen())
        not_before(await self.reads.query(queue.newest))
        await self.secrets.begin()
        await self._learn_leases()
        await self._take_over()
        for worker in self.builtin.values():
            worker.start()
        await self._match([worker.queue for worker in self.builtin.values()])
        self._spawn(self.sweeper.run())
        self._spawn(self.retention.run())
        if self.presence:
            self._spawn(self._watch())

    @staticmethod
    def upgrade(settings: Settings) -> str | None:
        """Bring the schema to this version's, with no server running that could not bear it; gives the copy's path."""
        database = Database(settings.database_url, synchronous=settings.sqlite_synchronous)
        try:
            database.lock()
            check_upgrade(database)
            return upgrade(database)
        finally:
            database.close()

    @property
    def now(self) -> int:
        """The time, in milliseconds since the epoch."""
        return now_ms()

    async def ping(self) -> None:
        """Unavailable if the database does not answer."""
        await self.reads.ping()

    async def preload(self) -> None:
        """Load what the first model call would wait for."""
        await providers.preload()

    async def drain(self, seconds: float) -> None:
        """No new leases; what built-in workers do gets `seconds` to end, the rest is handed back at once."""
        self.draining = True
        self.pollers.dismiss()
        left = await self._drain(seconds)
        if left:
            await self.writer.do(commands.Release(tasks=[split_task(name) for name in left]))

    async def close(self) -> None:
        self.draining = True
        self.pollers.dismiss()
        await self._drain(0)
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await asyncio.to_thread(self.writer.stop)
        if self.presence:
            await self.presence.close()
        if self.tracing:
            await self.tracing.close()
        await asyncio.to_thread(self.reads.close)
        self.database.close()

    async def start(
        self,
        spec: AgentSpec,
        input: dict[str, Any],
        *,
        idempotency_key: str = "",
        session_id: str = "",
        run_id: str = "",
        correlation_id: str = "",
        priority: int = 0,
        version: int = 1,
        by: str = "",
        traceparent: str = "",
    ) -> Started:
        """Begin an execution of `spec` on {prompt, media?, context?} for `by`; it is committed when this returns.

        The same idempotency key for the same agent gives the same execution, for ever. InvalidSpec, BadInput.
        """
        spec = await self._whole(spec, str(input.get("prompt") or ""))
        check_media(input.get("media") or [])
        told = [input.get("prompt"), *(input.get("media") or [])]
        if not any(str(each or "").strip() for each in told) and not input.get("context"):
            raise BadInput("an execution needs a prompt, media or a context")
        if not isinstance(input.get("context") or {}, dict):
            raise BadInput("the context of an execution is a JSON object")
        if input.get("budget") is not None:
            budget(input["budget"])
        if problem := names_problem(input.get("credentials") or ()):
            raise BadInput(problem)
        if (plan := input.get("plan")) is not None:
            _check_plan(spec, plan)
        meta = Meta(
            new_id(), wire.digest(spec), _clean(session_id), _clean(correlation_id or idempotency_key), _clean(run_id),
            priority, version,
        )  # fmt: skip
        given = {**input, commands.STARTED_BY: _clean(by)} if by else input
        given = {**given, CALLER: traced} if (traced := traced_by([traceparent])) else given
        async with self.quotas.room():
            return await self.writer.do(commands.Start(meta=meta, spec=spec, input=given, key=_clean(idempotency_key)))

    async def poll(
        self,
        wants: Sequence[Want],
        worker: str,
        *,
        count: int = 1,
        wait_ms: int = 0,
        lease_ms: int | None = None,
        first: Awaitable[Any] | None = None,
    ) -> list[TaskView]:
        """Up to `count` tasks of those queues, leased to `worker`: as soon as there is one, or none after `wait_ms`.

        Without `lease_ms` the lease is the task definition's responseTimeoutSeconds, else the server's default.
        `first` is awaited while the worker already waits: what its reports bring about finds it there.
        """
        if self.draining or count < 1:
            return []
        for name in (worker, *(part for want in wants for part in (want.name, want.domain))):
            _clean(name)
        got: list[TaskView] = []
        woken = asyncio.Event()

        def deliver(views: list[TaskView]) -> None:
            got.extend(views)
            woken.set()

        poller = Poller(wants, worker, count, self._lease_for if lease_ms is None else lambda _: lease_ms, deliver)
        self.pollers.enter(poller)
        try:
            if first is not None:
                await first
            if not got:
                await self._match(self.pollers.may_be_ready(wants))
            if not got and not self.draining:
                await _wait(woken, wait_ms / 1000)
        except BaseException:
            self.pollers.leave(poller)
            self._spawn(self._hand_back(poller, got))
            raise
        self.pollers.leave(poller)
        await self._owed(poller)
        if got:
            self.signs.note(worker, "received", now_ms())
        return got

    async def report(self, reports: Sequence[Report]) -> list[Receipt]:
        """State outcomes. A late or double report changes nothing, and its receipt says so."""
        clean = await self.secrets.cleaned(reports)
        return await asyncio.gather(*(self._report_one(report, outside=True) for report in clean))

    async def extend(
        self, task_ids: Sequence[str], worker: str, lease_ms: int | None = None
    ) -> tuple[list[str], list[str]]:
        """Heartbeats: which leases were lengthened, and which are lost (settled, cancelled or taken over).

        Without `worker`, whoever holds the lease; without `lease_ms`, by the length that `poll` gives.
        """
        self.signs.note(worker, "extended", now_ms())
        keys = [split_task(name) for name in task_ids]
        length = self._lease_for if lease_ms is None else lambda _: lease_ms
        held = await self.writer.do(commands.Extend(tasks=keys, worker=worker, lease_ms=length))
        names = dict(zip(keys, task_ids, strict=True))
        return [names[key] for key in keys if key in held], [names[key] for key in keys if key not in held]

    async def roster(self) -> Roster:
        """Every worker and every queue, and how they are."""
        leases, queues = await self.reads.leases(), await self.reads.queues()
        now = now_ms()
        polls = [*self.pollers.polls(), *self.pollers.fresh_polls(now)]
        return await asyncio.to_thread(roster, now, polls, self.signs, leases, queues)

    async def postpone(self, task_id: str, worker: str, after_ms: int) -> Receipt:
        """Put a leased task back into its queue, to be taken again after `after_ms`."""
        done = await self.writer.do(commands.Release(tasks=[split_task(task_id)], after_ms=after_ms))
        return Receipt(task_id=task_id, landed=bool(done), reason="" if done else "the task is not leased")

    async def log(self, task_id: str, lines: Sequence[str]) -> None:
        if lines:
            await self._log(task_id, await self.secrets.cleaned_lines(task_id, lines))

    async def respond(
        self, execution: str, answer: dict[str, Any], *, request_id: str = "", by: str = "", behind: str = ""
    ) -> Receipt:
        """A person's answer; `behind`: who has let them give it. The same answer again changes nothing, and its receipt
        says what was decided; another one, or one to nothing, is a Conflict."""
        command = commands.Respond(
            trees=_tree(execution), execution=execution, answer=_answer(answer), request=request_id, by=_clean(by),
            behind=behind,
        )  # fmt: skip
        receipt = await self.writer.do(command)
        if receipt.landed:
            return receipt
        decision, is_same = await self.reads.decision(request_id, answer)
        if decision.status == "open":
            raise NotFound(f"execution {execution} has no request {request_id}")
        if not is_same:
            raise Conflict(_decided(decision))
        return Receipt(task_id=request_id, landed=False, reason="already answered", decision=decision)

    async def pause(self, execution: str) -> None:
        """Decide nothing more; what runs goes on and its results are kept. Reaches everything below."""
        await self._control(execution, commands.pausing)

    async def resume(self, execution: str) -> None:
        await self._control(execution, commands.resuming)

    async def stop(self, execution: str) -> None:
        """End gracefully: what runs is finished, nothing new is asked."""
        await self._control(execution, commands.stopping)

    async def cancel(self, execution: str, reason: str = "") -> None:
        """End now, with everything below."""
        await self._control(execution, commands.canceling(reason))

    async def send(self, execution: str, message: dict[str, Any], sender: str = "") -> str:
        """A message that the next turn sees, or a tool that waits for messages takes; gives its id. Conflict."""
        command = commands.Send(
            trees=_tree(execution), execution=execution, message=_message(message), sender=_clean(sender)
        )
        return message_id(await self.writer.do(command))

    async def message(self, execution: str, message: str) -> MessageView:
        """What became of a message. NotFound if the execution got none of that id."""
        return await self.reads.message(execution, message)

    async def budget(self, execution: str, limits: dict[str, Any]) -> Budget:
        """Other limits for the whole run (null takes one away); gives all of them.

        A run that was ended for the ones before goes on where it was. BadInput, Conflict if it ended otherwise.
        """
        budget(limits)
        return await self.writer.do(commands.Allow(trees=_tree(execution), execution=execution, budget=limits))

    async def signal(self, execution: str, message: str) -> None:
        """Text that the models see in each turn from now on; "" clears it."""
        await self._control(execution, commands.signaling(message))

    async def retry(self, execution: str) -> None:
        """An execution that failed, timed out or was cancelled goes on from the point where it ended."""
        async with self.quotas.room():
            await self._control(execution, commands.retrying, whole=True)

    async def fork(self, execution: str, at: int, edits: dict[str, Any] | None = None) -> str:
        """A new execution that shares the first `at` events, with edits; gives its id. The edit `version` lets it go on
        by another version of the deployed agent: its number, or "latest"."""
        given = dict(edits or {})
        other = None
        if "version" in given:
            version = given.pop("version")
            name = (await self.reads.execution(execution)).row.agent_name
            other = await self._deployed(name, None if version in (None, "latest") else int(version))
        async with self.quotas.room():
            return await self.history.fork(execution, at, given, other)

    async def rerun(self, execution: str, task: str = "", input: dict[str, Any] | None = None) -> str:
        """A fork from just before a task was scheduled, or from the start; gives its id."""
        tree, _ = split_execution(execution)
        at = split_task(task)[1] - 1 if task else 1
        edits = {"prompt": str(input["prompt"])} if input and "prompt" in input else {}
        return await self.fork(tree, at, edits)

    async def deploy(self, spec: AgentSpec) -> int:
        """Store a definition to be started by name; gives its version. What it refers to may be deployed later."""
        check(spec)
        check_schemas(spec)
        version: int = await self._write(lambda txn: definitions.deploy(txn.connection, spec, txn.at))
        return version

    async def undeploy(self, name: str, version: int | None = None) -> None:
        if not await self._write(lambda txn: definitions.undeploy(txn.connection, name, version)):
            raise NotFound(f"no agent {name!r} is deployed")

    async def definition(self, name: str, version: int | None = None) -> tuple[AgentSpec, int, int]:
        return await self.reads.definition(name, version)

    async def definitions(self) -> list[tuple[str, int, int, int, str, AgentSpec]]:
        """Name, version, created, updated, digest and spec of what is deployed."""
        return [(name, v, at, at, digest, spec) for name, v, at, digest, spec in await self.reads.definitions()]

    async def put_task_defs(self, rows: Sequence[dict[str, Any]]) -> None:
        """Task definitions of workers. What counts here is responseTimeoutSeconds: the length of a lease."""
        for row in rows:
            if not isinstance(row.get("name"), str) or not row["name"]:
                raise BadInput("a task definition needs a name")
        await self._write(lambda txn: definitions.put_task_definitions(txn.connection, rows, txn.at))
        await self._learn_leases()

    async def task_def(self, name: str) -> dict[str, Any] | None:
        return next((row for row in await self.task_defs() if row["name"] == name), None)

    async def task_defs(self) -> list[dict[str, Any]]:
        return await self.reads.task_definitions()

    async def delete_task_def(self, name: str) -> None:
        if not await self._write(lambda txn: definitions.delete_task_definition(txn.connection, name)):
            raise NotFound(f"there is no task definition {name!r}")
        await self._learn_leases()

    async def events(self, execution: str, after: int = 0, limit: int = 500) -> list[Item]:
        """The feed of an execution after a sequence number."""
        feed, log_ = await self._feed(execution)
        return [item for item in feed.extend(log_) if item["id"] > after][:limit]

    async def stream(self, execution: str, after: int = 0) -> AsyncIterator[Item | None]:
        """The feed from `after` on, as it grows, with token deltas; None when nothing came for a while.

        Ends after the execution's last event. NotFound if there is no such execution.
        """
        tree, _ = split_execution(execution)
        with self.hub.subscribe(tree) as subscription:
            subscription.take()
            feed, log_ = await self._feed(execution)
            for item in feed.extend(log_):
                if item["id"] > after:
                    yield item
            while not feed.ended:
                if not await subscription.wait(HEARTBEAT_SECONDS):
                    yield None
                    if self.database.is_sqlite:
                        continue
                    # Another replica's notification may have been lost.
                    subscription.put(None)
                async for item in self._news(feed, tree, *subscription.take()):
                    if item.get("id", after + 1) > after:
                        yield item

    async def _news(self, feed: Feed, tree: str, items: list[Any], missed: bool) -> AsyncIterator[Item]:
        """What a wake-up brings: from memory where it is whole, else from the log."""
        for item in items:
            if isinstance(item, dict):
                if piece := feed.token(item["execution"], item["content"]):
                    yield piece
                continue
            if item[0].seq > feed.seq + 1:
                missed = True
                break
            for each in feed.extend(item):
                yield each
        if missed:
            for each in feed.extend(await self.reads.log_of(tree, after=feed.seq)):
                yield each

    async def changes(self) -> AsyncIterator[Change | None]:
        """What moves anywhere, on any server: everything from the first None on. None also when nothing came for a
        while."""
        with self.hub.watch() as watch:
            yield None
            while True:
                if not await watch.wait(HEARTBEAT_SECONDS):
                    yield None
                    continue
                yield watch.take()
                await asyncio.sleep(CHANGES_SECONDS)

    async def wait(self, execution: str, wait_ms: int) -> None:
        """Return when the execution has ended, or after `wait_ms`."""
        tree, number = split_execution(execution)
        deadline = _seconds() + wait_ms / 1000
        with self.hub.subscribe(tree, ends=True, of_tree=number == ROOT) as subscription:
            while not (await self.reads.row(execution)).ended_at and (left := deadline - _seconds()) > 0:
                await subscription.wait(left if self.pollers.alone else min(left, LOOK_SECONDS))
                items, _ = subscription.take()
                if any(event.execution == number and isinstance(event.fact, e.ENDINGS) for event in _events(items)):
                    return

    async def _feed(self, execution: str) -> tuple[Feed, list[e.Event]]:
        """A feed at its beginning, and the tree's log."""
        tree, number = split_execution(execution)

        def work(connection: Any) -> tuple[Scene, list[e.Event]]:
            return self.reads.scene(connection, execution), self.reads.events(connection, tree)

        scene, log_ = await self.reads.query(work)
        return Feed(tree, scene.root, number), log_

    async def _whole(self, spec: AgentSpec, prompt: str = "") -> AgentSpec:
        """The spec with all that it refers to in its place, which can run. InvalidSpec, NotImplementedHere."""
        if refers(spec):
            check(spec)

            def work(connection: Any) -> AgentSpec:
                def agent(name: str) -> AgentSpec | None:
                    row = definitions.definition(connection, name, None)
                    return wire.load(row.data) if row else None

                def text(name: str, version: int | None) -> str | None:
                    row = templates.find(connection, name, version)
                    return str(row.text) if row else None

                return resolve(spec, agent, text)

            spec = await self.reads.query(work)
        spec = await self.descriptions.expanded(spec, prompt)
        self._check(spec)
        return spec

    async def _deployed(self, name: str, version: int | None) -> tuple[AgentSpec, int]:
        """A deployed agent as a run of it would begin now, and its version."""
        spec, found, _ = await self.definition(name, version)
        return await self._whole(spec), found

    def _check(self, spec: AgentSpec) -> None:
        check(spec)
        check_schemas(spec)
        for name in _names(spec):
            _clean(name)
        for model, base in _models(spec):
            providers.check_model(model, os.environ, base, here=self.settings.performs("llm"))
            if base:
                self._check_address(base)

    async def _report_one(self, report: Report, *, outside: bool = False) -> Receipt:
        tree, number = split_task(report.task_id)
        taken = self.desk.taken.get((tree, number), ("", 0))
        self.signs.note(report.worker or taken[0], "reported", now_ms())
        receipt = await self.writer.do(commands.Land(trees=(tree,), report=report, outside=outside))
        if report.logs:
            await self._log(report.task_id, report.logs)
        return receipt

    async def _log(self, task_id: str, lines: Sequence[str]) -> None:
        tree, number = split_task(task_id)
        await self._write(lambda txn: definitions.write_log(txn.connection, tree, number, txn.at, lines))

    async def _control(
        self, execution: str, facts: Callable[[Held, Run], commands.Facts], *, whole: bool = False
    ) -> None:
        await self.writer.do(commands.Control(trees=_tree(execution), execution=execution, facts=facts, whole=whole))

    async def _write(self, work: Callable[[Any], Any]) -> Any:
        return await self.writer.do(commands.Write(work=work))

    async def _match(self, wants: Sequence[Want]) -> None:
        """Look for tasks for those who wait."""
        if wanted := [want for want in wants if self.pollers.waiting(want)]:
            await asyncio.gather(*(self.writer.do(commands.Match(want=want)) for want in wanted))

    def _llm(self) -> Builtin:
        look = partial(self._look, LLM_QUEUE)
        worker = LlmWorker(
            self.replica, self.settings, self.pollers, self.transcripts, self._report_one, self._token, look,
            self.goes,
        )  # fmt: skip
        worker.heard = self.figures.heard
        return worker

    def _check_address(self, base: str) -> None:
        """BadInput for an address of an agent's own at which this server asks no model: it would be sent the operator's
        key, and could lead the model's library, which connects by itself, on to anywhere."""
        url = self.outgoing.url(base)
        if not self.outgoing.trusts(url):
            raise BadInput(
                f"this server asks no model at {url.host}: leave out base_url, or have the operator name that host in "
                "AGENTSPAN_OUTGOING_ALLOW"
            )

    async def goes(self, base: str) -> None:
        """The same, as names resolve now."""
        self._check_address(base)
        await self.outgoing.check(base)

    def _outward(self, kind: type[Outward]) -> Builtin:
        look = partial(self._look, Want(f"@{kind.kind}"))
        return kind(
            self.replica, self.outgoing, self.pollers, self._tool_of, self.secrets.values, self._report_one, look
        )

    async def _tool_of(self, view: TaskView) -> ToolSpec:
        """The tool that a task calls. NotFound if its agent has it no more."""
        scene = await self.reads.query(lambda connection: self.reads.scene(connection, view.execution_id))
        if (found := scene.spec.tool(view.name)) is None:
            raise NotFound(f"the tool {view.name!r} is gone")
        return found

    def _look(self, queue: Want) -> None:
        """A built-in worker has room for more: it takes what had to wait for it."""
        if not self.draining and (wants := self.pollers.may_be_ready([queue])):
            self._spawn(self._match(wants))

    @property
    def _busy(self) -> list[str]:
        """The tasks that the built-in workers of this server have in flight."""
        return [name for worker in self.builtin.values() for name in worker.busy]

    def _cancel(self, name: str) -> None:
        """The attempt was settled elsewhere."""
        for worker in self.builtin.values():
            worker.cancel(name)

    async def _drain(self, seconds: float) -> list[str]:
        """Let the built-in workers end; gives the tasks that they did not end in time."""
        left = await asyncio.gather(*(worker.drain(seconds) for worker in self.builtin.values()))
        return [name for names in left for name in names]

    async def _owed(self, poller: Poller) -> None:
        """Wait until what the writer reserved has been delivered or given up."""
        while poller.reserved:
            await self.writer.do(commands.Write(work=lambda _: None))

    async def _hand_back(self, poller: Poller, got: list[TaskView]) -> None:
        """The waiter is gone: what it was given goes back."""
        await self._owed(poller)
        if got:
            await self._surely(commands.Release(tasks=[split_task(view.task_id) for view in got]))

    async def _doubt(self, leases: list[TaskView]) -> None:
        """Nobody works on these, and yet they may be leased."""
        doubtful = {split_task(view.task_id): (view.worker, view.started_at) for view in leases}
        await self._surely(commands.Doubt(leases=doubtful))

    async def _surely(self, command: commands.Release | commands.Doubt) -> None:
        """Write it as soon as the database answers."""
        while True:
            try:
                await self.writer.do(command)
                return
            except Unavailable:
                if self.draining:
                    return
                await asyncio.sleep(AGAIN_SECONDS)

    def _committed(self, news: Committed) -> None:
        """After a commit, on the loop's thread."""
        for held, events in news.events:
            self.transcripts.follow(held, events, news.before.get(held.meta.tree))
            self.hub.publish(held.meta.tree, events)
            # What a fork shares, or a file brings, was paid for before.
            fresh = [event for event in events if event.at == news.at]
            self.spending.add(fresh)
            self.figures.add(news.before.get(held.meta.tree), fresh)
            if self.tracing:
                self.tracing.follow(held, fresh)
            for event in events:
                if isinstance(event.fact, e.SETTLEMENTS):
                    self.deltas.drop(held.meta.tree, event.execution)
                if isinstance(event.fact, GIVEN_UP):
                    self._cancel(task_id(held.meta.tree, event.fact.task))
        if self.hub.overseen and news.events:
            trees = ((held.meta.tree, news.before.get(held.meta.tree), events) for held, events in news.events)
            self.hub.tell(change(trees))
        by_poller: dict[Poller, list[TaskView]] = {}
        for poller, view in news.deliveries:
            by_poller.setdefault(poller, []).append(view)
        for poller, views in by_poller.items():
            for _ in views:
                self.pollers.settle(poller)
            poller.deliver(views)
        for want in news.put:
            self.pollers.put(want)
            if self.pollers.waiting(want):
                self._spawn(self._match([want]))
        self.sweeper.due(news.soonest)

    def _token(self, tree: str, number: int, piece: str) -> None:
        if self.hub.watched(tree):
            self.hub.publish(tree, {"execution": number, "content": piece})
        if self.deltas.watched and self.deltas.add(tree, number, piece, now_ms()):
            self._spawn(self._tell_pieces())

    async def _tell_pieces(self) -> None:
        """Readers at other servers see an answer while it is written, in larger pieces."""
        await asyncio.sleep(deltas.TELL_SECONDS)
        if notices := self.deltas.take():
            payloads = [{**self._nothing, "pieces": pieces} for pieces in notices]
            await self._tell(payloads)

    async def _tell_readers(self, trees: list[str]) -> None:
        """The other servers must know whose answers somebody reads along here."""
        if not self.writer.alone:
            await self._tell([{**self._nothing, "watched": some} for some in _chunks(trees, 100)])

    async def _tell(self, payloads: list[dict[str, Any]]) -> None:
        """Notifications that no event comes with; losing them is harmless."""

        def work(transaction: Transaction) -> None:
            for payload in payloads:
                notify(transaction, payload)

        try:
            if payloads:
                await self._write(work)
        except Unavailable as problem:
            log.debug("the other servers were not told: %s", problem)

    def _heard(self, payload: str | None) -> None:
        """Another server has committed something, or notifications were lost."""
        notice: dict[str, Any] = json.loads(payload) if payload else {"all": True}
        if notice.get("from") == self.replica:
            return
        self.writer.alone = False
        if notice.get("all"):
            self.pollers.doubt()
            self.hub.publish_all()
            self._spawn(self._tell_readers(self.hub.read()))
            self._spawn(self._match(self.pollers.wanted()))
            self._spawn(self._drop_settled(self._busy))
            return
        for name, domain, worker in notice.get("polls", ()):
            self.pollers.seen(Want(name, domain), worker, now_ms())
        for worker, times in notice.get("signs", ()):
            self.signs.told(worker, Sign(*times))
        self.deltas.watch(notice.get("watched", ()), now_ms())
        for tree, number, content in notice.get("pieces", ()):
            self.hub.publish(tree, {"execution": number, "content": content})
        trees = notice["trees"]
        ended = tuple(trees[place] for place in notice.get("ended", ()))
        for tree in trees:
            self.hub.publish(tree, None, ended=tree in ended)
        if trees:
            moved = set(trees)
            if calls := [name for name in self._busy if split_task(name)[0] in moved]:
                self._spawn(self._drop_settled(calls))
            self.hub.tell(Change(tuple(trees), ended, bool(notice.get("requests"))))
        wants = [Want(*each) for each in notice["queues"]]
        for want in wants:
            self.pollers.put(want)
        self._spawn(self._match(wants))

    async def _watch(self) -> None:
        """Where there can be several servers: notice the dead, and whether anybody listens."""
        told = now_ms()
        while True:
            await asyncio.sleep(TAKE_OVER_SECONDS)
            try:
                await self._take_over()
                if not self.writer.alone:
                    await self._drop_settled(self._busy)
                await self._match(self.pollers.may_be_ready(self.pollers.wanted()))
                await self._tell_workers()
                if now_ms() - told >= deltas.RENEW_MS:
                    told = now_ms()
                    await self._tell_readers(self.hub.read())
            except Unavailable as problem:
                log.warning("cannot look for dead servers: %s", problem)

    @property
    def _nothing(self) -> dict[str, Any]:
        """The notice of this server that tells of nothing."""
        return {"from": self.replica, "trees": [], "queues": []}

    async def _drop_settled(self, calls: list[str]) -> None:
        """Stop paying for those model calls of this server whose attempts another one has settled."""
        if not calls:
            return
        rows = await self.reads.query(lambda c: queue.find(c, map(split_task, calls)))
        for name in calls:
            row = rows.get(split_task(name))
            if row is None or row.owner != self.replica:
                self._cancel(name)

    async def _tell_workers(self) -> None:
        """The other servers must know which queues have a live worker here, and which workers were heard of."""
        if self.writer.alone:
            return
        since = now_ms() - POLLS_MS
        for some in _chunks(self.pollers.fresh_polls(since), 50):
            rows = [[poll.name, poll.domain, poll.worker] for poll in some]
            await self._write(partial(notify, payload={**self._nothing, "polls": rows}))
        for heard in _chunks(self.signs.fresh(since), 50):
            await self._write(partial(notify, payload={**self._nothing, "signs": heard}))

    async def _take_over(self) -> None:
        """Lost attempts of servers that are no more get successors."""
        if self.database.is_sqlite:
            alive = {self.number}
        else:
            # Its own connection may just be lost: a server never takes itself for dead.
            alive = await self.reads.query(living) | {self.number}
            self.writer.alone = alive <= {self.number}
        for owner in await self.reads.query(lambda c: queue.owners(c, OWNER)):
            if int(owner.removeprefix(OWNER)) in alive:
                continue
            keys = await self.reads.query(partial(queue.held_by, owner=owner))
            for some in _chunks(keys, 200):
                trees = tuple({tree for tree, _ in some})
                await self.writer.do(commands.TakeOver(trees=trees, owner=owner, tasks=some))

    async def _is_first(self) -> bool:
        """Whether this is the server that does what one of them is to do."""
        return self.database.is_sqlite or self.number <= min(await self.reads.query(living), default=0)

    async def _learn_leases(self) -> None:
        rows = await self.reads.task_definitions()
        self._leases = {
            row["name"]: milliseconds(row["responseTimeoutSeconds"])
            for row in rows
            if row.get("responseTimeoutSeconds")
        }

    def _lease_for(self, name: str) -> int:
        return self._leases.get(name) or int(self.settings.foreign_lease_seconds * 1000)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.append(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._background.remove(task)
        if task.cancelled() or not (problem := task.exception()):
            return
        if isinstance(problem, Unavailable):
            log.warning("background work is left for later: %s", problem.message)
        else:
            log.error("background work failed", exc_info=problem)


def _seconds() -> float:
    """A clock to wait by, which goes on when the one on the wall is set back."""
    return asyncio.get_running_loop().time()


def _events(items: Sequence[Any]) -> list[e.Event]:
    """The events among what a subscription brings."""
    return [event for item in items if isinstance(item, list) for event in item]


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


def _chunks(keys: list[T], size: int) -> list[list[T]]:
    return [keys[start : start + size] for start in range(0, len(keys), size)]


def _tree(execution: str) -> tuple[str]:
    return (split_execution(execution)[0],)


def _clean(text: str) -> str:
    if "\x00" in text:
        raise BadInput("a NUL character is not allowed in ids and keys")
    return text


def _decided(decision: RequestView) -> str:
    """Why a request takes no other answer."""
    by = f" by {decision.decided_by}" if decision.decided_by else ""
    said = f": {json.dumps(decision.answer, ensure_ascii=False)[:200]}" if decision.answer else ""
    return f"request {decision.request_id} is not open: it was {decision.status}{by}{said}"


def _message(message: Any) -> dict[str, Any]:
    if not isinstance(message, dict) or not message:
        raise BadInput('a message is a JSON object such as {"message": "hurry up"}')
    return message


def _answer(answer: Any) -> dict[str, Any]:
    if not isinstance(answer, dict):
        raise BadInput('an answer is a JSON object such as {"approved": true}')
    return answer


def _names(spec: AgentSpec) -> list[str]:
    """What names rows: agents and tools."""
    return [spec.name, *(tool.name for tool in spec.tools), *(name for each in spec.agents for name in _names(each))]


def _models(spec: AgentSpec) -> list[tuple[str, str | None]]:
    """The models that a run of the agent may ask."""
    asked = (spec.thinks or spec.strategy in ("handoff", "swarm")) and spec.model and not is_proxy(spec)
    own = [(spec.model, spec.base_url)] if asked else []
    rails = (*spec.guardrails, *(rail for tool in spec.tools for rail in tool.guardrails))
    others = [model for model, _ in fallbacks(spec)]
    others += [str(rail["model"]) for rail in rails if rail.get("guardrailType") == "llm" and rail.get("model")]
    return [*own, *((model, None) for model in others), *(pair for child in below(spec) for pair in _models(child))]


def _check_plan(spec: AgentSpec, plan: Any) -> None:
    if not spec.thinks:
        raise BadInput(f"agent {spec.name!r} is a team; a plan is for an agent that calls tools")
    if wrong := plan_problems(plan, {tool.name for tool in spec.own_tools}):
        raise BadInput(f"agent {spec.name!r} cannot carry out this plan: {'; '.join(wrong)}")
