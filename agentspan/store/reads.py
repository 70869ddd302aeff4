"""Everything that is only looked at. Reads run in threads on their own connections and never touch the writer."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.engine import Connection

from agentspan.clock import now_ms
from agentspan.core import events as e
from agentspan.core import mail, transcript
from agentspan.core import run as runs
from agentspan.core.advance import ROOT
from agentspan.core.asking import Question, question
from agentspan.core.ids import execution_id, message_id, message_number, split_execution, split_task, task_id
from agentspan.core.log import Log
from agentspan.core.material import Material
from agentspan.core.opening import FIRST
from agentspan.core.run import Run
from agentspan.core.transcript import Transcript
from agentspan.errors import BadInput, NotFound
from agentspan.spec import mask, wire
from agentspan.spec.agent import AgentSpec
from agentspan.store import codec, database, definitions, listing, queue, requests, showing, sizes, statistics
from agentspan.store import tables as t
from agentspan.store.database import Database, unavailable
from agentspan.store.ledger import EVENT_ROWS, Meta, stored_events
from agentspan.store.listing import FRESH_MS, HUMAN, ROW, SUMS, TOTALS, UNATTENDED_MS, Order, line
from agentspan.store.shared import Shared
from agentspan.store.views import (
    Costs,
    ExecutionRow,
    ExecutionView,
    Facets,
    LeaseView,
    MessageView,
    Page,
    QueueView,
    RequestView,
    Statistics,
    Story,
    TaskView,
    WaitingView,
    Want,
    Wanted,
)

T = TypeVar("T")

SESSION_RUNS = 50
"""How many runs of a session back its conversation goes."""
FAR_MS = 2**53
"""Later than any time."""
PAGE = 200
"""So many requests are read at a time."""


class Scene(Struct, frozen=True):
    """One execution as it is stored: its tree's record, its own agent's spec, its run."""

    meta: Meta
    root: AgentSpec
    run: Run
    row: Any
    seq: int

    @property
    def spec(self) -> AgentSpec:
        return self.root.at(self.run.path)

    @property
    def path(self) -> tuple[str, ...]:
        return requests.names(self.root, self.run.path)

    @property
    def hidden(self) -> mask.Names:
        """The fields that readers do not see."""
        return mask.names(self.root)


class Reads:
    """`last_poll` says when a queue was last polled: it is known to the server, not to the database."""

    def __init__(self, database: Database, threads: int, last_poll: Callable[[Want], int]) -> None:
        self.database = database
        self.last_poll = last_poll
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="agentspan-read")
        self._specs: dict[str, AgentSpec] = {}
        self._shared = Shared()

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)

    async def query(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on a connection in a thread. Unavailable if the database is away."""

        def with_connection() -> T:
            with self.database.reading.connect() as connection:
                return work(connection)

        answer: T = await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: unavailable(with_connection)
        )
        return answer

    async def ping(self) -> None:
        await self.query(lambda connection: connection.execute(sa.select(1)).scalar())

    async def row(self, name: str) -> ExecutionRow:
        return await self.query(lambda c: self._row(c, name))

    async def execution(self, name: str) -> ExecutionView:
        return await self.query(lambda c: self._execution(c, name))

    async def story(self, name: str) -> Story:
        """Everything about an execution at once: it is what a finished run is asked for."""
        return await self.query(lambda c: self._story(c, name))

    async def children(self, name: str) -> list[ExecutionRow]:
        """The executions below this one, all levels, in the order of their start."""
        return await self.query(lambda c: self._children(c, name))

    async def tasks(self, name: str) -> list[TaskView]:
        """All attempts of all tasks of this execution, in the order of their scheduling."""
        return await self.query(lambda c: self._tasks(c, name))

    async def task(self, name: str) -> TaskView:
        return await self.query(lambda c: self._task(c, name))

    async def logs(self, name: str) -> list[tuple[int, str]]:
        tree, number = split_task(name)
        statement = sa.select(t.logs.c.at, t.logs.c.text).where(t.logs.c.tree == tree, t.logs.c.task == number)

        def work(connection: Connection) -> list[tuple[int, str]]:
            found = connection.execute(statement.order_by(t.logs.c.line)).all()
            hidden = self.scene(connection, execution_id(tree, ROOT)).hidden if found else mask.NOTHING
            return [(row.at, mask.masked(row.text, hidden)) for row in found]

        return await self.query(work)

    async def begun(self, agent: str, keys: Sequence[str]) -> list[tuple[str, str, str]]:
        """Which of these idempotency keys have begun a run of this agent: key, execution id and status."""
        return await self.query(lambda c: definitions.begun(c, agent, keys))

    async def forks(self, tree: str) -> list[tuple[ExecutionRow, int]]:
        """The executions that were forked from this one, newest first, each with the event at which."""
        found = await self.query(lambda c: c.execute(FORKS, {"tree": tree}).all())
        return [(line(row), row.forked_at) for row in found]

    def written(self, connection: Connection, tree: str) -> list[tuple[int, int, str]]:
        """What all tasks of a tree wrote: task, time, text."""
        return [(row.task, row.at, row.text) for row in connection.execute(WRITTEN, {"tree": tree})]

    async def messages(self, name: str) -> list[dict[str, Any]]:
        """The transcript of this execution: {role, content, tool_calls?, tool_call_id?} each."""

        def work(connection: Connection) -> list[dict[str, Any]]:
            return self._messages(connection, name)

        return await self.query(work)

    async def transcript(self, name: str) -> tuple[AgentSpec, Transcript]:
        """The spec of the execution's agent and its transcript so far."""
        return await self.query(lambda c: self.transcript_of(c, name))

    async def question(self, name: str, task: int) -> tuple[AgentSpec, Question]:
        """What a model is asked by task `task`, which is no turn of an agent."""

        def work(connection: Connection) -> tuple[AgentSpec, Question]:
            scene = self.scene(connection, name)
            order = scene.run.tasks.get(task)
            if order is None:
                raise NotFound(f"task {task} of {name} is not open any more")
            return scene.spec, question(self.material(connection, scene), scene.spec, scene.run, order)

        return await self.query(work)

    async def replaced_messages(self, name: str, source: int) -> list[dict[str, Any]]:
        """The messages that a callback gave in event `source`."""
        tree, _ = split_execution(name)
        output = await self.query(lambda c: self.log(c, tree).get(source) or {})
        return list(output.get("messages") or ())

    async def requests(self, name: str = "", **wanted: str) -> list[RequestView]:
        """What waits for a person: in this execution and below it, or everywhere. `wanted`: see `requests.chosen`."""
        return requests.chosen(await self.query(lambda c: self.requests_in(c, name)), **wanted)

    async def all_requests(self, name: str, **wanted: str) -> list[RequestView]:
        """What people were ever asked in this execution and below it, with what became of it."""
        return requests.chosen(await self.query(lambda c: self._all_requests(c, name)), **wanted)

    async def inbox(self, cursor: str, limit: int, **wanted: str) -> tuple[list[RequestView], str]:
        """A page of the open requests of all executions that fit (see `requests.chosen`), oldest first, and where the
        next page begins; "" if this was the last."""
        return await self.query(lambda c: self._inbox(c, cursor, limit, wanted))

    async def decided(self, cursor: str, limit: int, **wanted: str) -> tuple[list[RequestView], str]:
        """Requests of all runs that were settled, the last one first, and the cursor of the next page or ""."""
        return await self.query(lambda c: self._decided(c, cursor, limit, wanted))

    async def decision(self, name: str, answer: dict[str, Any]) -> tuple[RequestView, bool]:
        """What became of a request, and whether `answer` says the same. NotFound if there never was such a request."""
        return await self.query(lambda c: self._decision(c, name, answer))

    async def message(self, name: str, message: str) -> MessageView:
        """What became of a message to this execution."""
        return await self.query(lambda c: self._message(c, name, message))

    async def waiting(self, name: str) -> list[WaitingView]:
        """Open tasks of this execution and below it that no live worker polls for."""
        return await self.query(lambda c: self._waiting(c, name))

    async def log_of(self, tree: str, after: int = 0, execution: int | None = None, limit: int = 0) -> list[e.Event]:
        """A tree's events after a sequence number."""
        return await self.query(lambda c: self.events(c, tree, after, execution, limit))

    async def search(
        self,
        *,
        start: int = 0,
        size: int = 20,
        sort: str = "started_at:DESC",
        status: Sequence[str] = (),
        names: Sequence[str] = (),
        text: str = "",
        session_id: str = "",
        correlation_id: str = "",
        roots_only: bool = True,
        started_after: int = 0,
        started_before: int = 0,
    ) -> tuple[int, list[ExecutionRow]]:
        """How many executions match, and a page of them. `text` is looked for in the prompt, the id and the reason."""
        x = t.executions.c
        wanted = [
            x.status.in_(status) if status else None,
            x.agent.in_(names) if names else None,
            x.session_id == session_id if session_id else None,
            t.trees.c.correlation_id == correlation_id if correlation_id else None,
            x.number == ROOT if roots_only else None,
            x.started_at >= started_after if started_after else None,
            x.started_at <= started_before if started_before else None,
            sa.or_(*(each.icontains(text, autoescape=True) for each in (x.preview, x.reason, x.agent, x.tree)))
            if text
            else None,
        ]
        where = [each for each in wanted if each is not None]
        name, _, direction = sort.partition(":")
        column = SORTABLE.get(name, x.started_at)
        order = column.asc() if direction.upper() == "ASC" else column.desc()
        source = t.executions.join(t.trees, t.trees.c.tree == x.tree)
        count = sa.select(sa.func.count()).select_from(source if correlation_id else t.executions).where(*where)
        page = sa.select(*ROW).select_from(source).where(*where).order_by(order, x.tree, x.number)

        def work(connection: Connection) -> tuple[int, list[ExecutionRow]]:
            total = connection.execute(count).scalar_one()
            found = connection.execute(page.offset(start).limit(size)).all() if size else []
            return total, [line(row) for row in found]

        return await self.query(work)

    async def page(
        self, wanted: Wanted, *, sort: str = "", newest_first: bool = True, cursor: str = "", size: int = 20,
        count: bool = False,
    ) -> Page:  # fmt: skip
        """A page of the runs that are wanted, by their `sort`: started, ended or updated."""
        order = Order(sort or "started", newest_first)
        return await self.query(lambda c: listing.page(c, wanted, order, cursor, size, self.last_poll, count=count))

    async def facets(self, wanted: Wanted) -> Facets:
        """The values that the newest of these runs have."""
        return await self._shared.ask(
            ("facets", wanted), lambda: self.query(lambda c: listing.facets(c, wanted, self.last_poll))
        )

    async def statistics(self, since: int, until: int, buckets: int, agent: str = "") -> Statistics:
        """What became of the runs of a time, what they cost, and what waits now."""

        def work(connection: Connection) -> Statistics:
            return statistics.statistics(connection, since, until, buckets, agent, self.last_poll)

        return await self._shared.ask(("statistics", since, until, buckets, agent), lambda: self.query(work))

    async def costs(self, by: str, since: int, until: int) -> Costs:
        """What was spent in a time, by agent, model, day or session."""
        return await self._shared.ask(
            ("costs", by, since, until), lambda: self.query(lambda c: statistics.costs(c, by, since, until))
        )

    async def leases(self) -> list[LeaseView]:
        """What is with workers, the longest first."""
        rows = await self.query(queue.leases)
        return [
            LeaseView(
                task_id=task_id(row.tree, row.number), name=row.queue, domain=row.domain, owner=row.owner,
                execution_id=execution_id(row.tree, row.execution), since=row.leased_at, lease_until=row.lease_until,
            )
            for row in rows
        ]  # fmt: skip

    async def schema_revision(self) -> str:
        """The revision of the schema."""
        return await self.query(database.revision) or ""

    async def sizes(self) -> dict[str, int]:
        """Bytes by table on PostgreSQL, of "all" on SQLite: what costs nothing to know."""
        return {each.table: each.bytes for each in await self.query(sizes.quick)}

    async def inputs(self, names: Iterable[str]) -> dict[str, tuple[dict[str, Any], dict[str, Any] | None]]:
        """Input and output of executions, by id."""

        def work(connection: Connection) -> dict[str, tuple[dict[str, Any], dict[str, Any] | None]]:
            views = [self._execution(connection, name) for name in names]
            return {view.row.execution_id: (view.input, view.output) for view in views}

        return await self.query(work)

    async def whole(self, rows: Sequence[ExecutionRow]) -> list[ExecutionRow]:
        """The same rows; those of roots count the tokens and the cost of all their executions."""
        trees = [row.root_id for row in rows if row.execution_id == row.root_id]
        found = await self.query(lambda c: c.execute(TOTALS, {"trees": trees}).all()) if trees else ()
        sums = {each.tree: {name: getattr(each, name) for name in SUMS} for each in found}
        return [msgspec.structs.replace(row, **sums.get(row.execution_id, {})) for row in rows]

    async def counts(self) -> dict[str, int]:
        """How many executions have which status."""
        statement = sa.select(t.executions.c.status, sa.func.count()).group_by(t.executions.c.status)
        return {row[0]: row[1] for row in await self.query(lambda c: c.execute(statement).all())}

    async def queues(self) -> list[QueueView]:
        now = now_ms()
        ready = t.tasks.c.status == "SCHEDULED"
        statement = sa.select(
            t.tasks.c.queue,
            t.tasks.c.domain,
            sa.func.sum(sa.case((ready, 1), else_=0)).label("ready"),
            sa.func.sum(sa.case((ready, 0), else_=1)).label("leased"),
            sa.func.min(sa.case((ready, t.tasks.c.available_at))).label("oldest"),
        ).group_by(t.tasks.c.queue, t.tasks.c.domain)
        found = await self.query(lambda c: c.execute(statement).all())
        return [
            QueueView(
                name=row.queue, domain=row.domain, ready=int(row.ready), leased=int(row.leased),
                oldest_ms=max(0, now - row.oldest) if row.oldest else 0,
            )
            for row in found
        ]  # fmt: skip

    async def definition(self, name: str, version: int | None = None) -> tuple[AgentSpec, int, int]:
        """Spec, version and time of a deployed agent. NotFound if there is none."""
        row = await self.query(lambda c: definitions.definition(c, name, version))
        if row is None:
            raise NotFound(f"no agent {name!r} is deployed" + (f" in version {version}" if version else ""))
        return wire.load(row.data), row.version, row.created_at

    async def definitions(self) -> list[tuple[str, int, int, str, AgentSpec]]:
        """Name, version, time, digest and spec of all deployed agents."""
        rows = await self.query(definitions.all_definitions)
        return [(row.name, row.version, row.created_at, row.digest, wire.load(row.data)) for row in rows]

    async def task_definitions(self) -> list[dict[str, Any]]:
        return await self.query(definitions.task_definitions)

    def scene(self, connection: Connection, name: str) -> Scene:
        """NotFound if there is no such execution."""
        tree, number = split_execution(name)
        row = connection.execute(SCENE, {"tree": tree, "number": number}).first()
        if row is None:
            raise NotFound(f"there is no execution {name!r}")
        meta = Meta(
            tree, row.spec, row.session_id, row.correlation_id, row.run_id, row.priority, row.version,
            row.forked_from, row.forked_at,
        )  # fmt: skip
        return Scene(meta, self._spec(connection, row.spec), runs.load(row.run), row, row.seq)

    def _spec(self, connection: Connection, digest: str) -> AgentSpec:
        if digest not in self._specs:
            if len(self._specs) > 500:
                self._specs.clear()
            self._specs[digest] = wire.load(connection.execute(SPEC, {"digest": digest}).scalar_one())
        return self._specs[digest]

    def _row(self, connection: Connection, name: str) -> ExecutionRow:
        tree, number = split_execution(name)
        row = connection.execute(LINE, {"tree": tree, "number": number}).first()
        if row is None:
            raise NotFound(f"there is no execution {name!r}")
        return line(row)

    def _story(self, connection: Connection, name: str) -> Story:
        view = self._execution(connection, name)
        rows = [view.row, *self._children(connection, name)]
        is_open = not view.row.ended_at
        return Story(
            view=view,
            rows=rows,
            tasks=[task for row in rows for task in self._tasks(connection, row.execution_id)],
            messages=self._messages(connection, name),
            requests=self.requests_in(connection, name) if is_open else [],
            waiting=self._waiting(connection, name) if is_open else [],
        )

    def _messages(self, connection: Connection, name: str) -> list[dict[str, Any]]:
        scene = self.scene(connection, name)
        messages = self.messages_of(connection, scene)
        return [mask.masked(message, scene.hidden) for message in messages]

    def _execution(self, connection: Connection, name: str) -> ExecutionView:
        scene = self.scene(connection, name)
        outputs = self.outputs(connection, scene.meta.tree, transcript.named(scene.run.result))
        view = ExecutionView(
            row=line(scene.row),
            input=self._given(connection, scene),
            output=showing.outcome(scene.spec, scene.run, outputs),
            state=scene.run.state,
            path=scene.path,
            spec=wire.encode(scene.spec),
            parent_task_id=task_id(scene.meta.tree, scene.run.id) if scene.run.id else "",
            forked_from=scene.meta.forked_from,
            forked_at=scene.meta.forked_at,
            imported_from=str((outputs.get(FIRST) or {}).get("_imported_from") or ""),
            seq=scene.seq,
            **showing.budget(scene.run),
        )
        return showing.hidden(view, scene.hidden)

    def material(self, connection: Connection, scene: Scene) -> Material:
        """What the tasks of a scene's tree are about."""
        tree = scene.meta.tree
        runs_: dict[int, Run] = {scene.run.id: scene.run}

        def run_of(number: int) -> Run:
            if number not in runs_:
                runs_[number] = self.scene(connection, execution_id(tree, number)).run
            return runs_[number]

        return Material(
            scene.root,
            self.log(connection, tree),
            run_of,
            lambda number: self.events(connection, tree, execution=number),
            lambda given: self.history(connection, given),
        )

    def log(self, connection: Connection, tree: str) -> Log:
        """A tree's log, read as it is asked for."""

        def find(seqs: Iterable[int]) -> dict[int, e.AnyFact]:
            rows = connection.execute(EVENT_ROWS, {"tree": tree, "seqs": list(seqs)})
            return {row.seq: codec.decode(row.data, row.payload) for row in rows}

        return Log(find)

    def history(self, connection: Connection, given: dict[str, Any]) -> list[dict[str, Any]]:
        """What was said in the executions of the same session before this, oldest first, as far as they are kept."""
        said: list[list[dict[str, Any]]] = []
        before, earlier = given.get("_session_after"), given.get("_history") or []
        while before and len(said) < SESSION_RUNS:
            try:
                scene = self.scene(connection, execution_id(str(before), ROOT))
            except NotFound:
                return [message for pair in reversed(said) for message in pair]
            log = self.log(connection, scene.meta.tree)
            log.have({FIRST, *transcript.named(scene.run.result)})
            started = log.get(FIRST) or {}
            words = log.text(scene.run.result)
            prompt = log.prompt(scene.run.asked or FIRST)
            if words:
                said.append([{"role": "user", "content": prompt}, {"role": "assistant", "content": words}])
            before, earlier = started.get("_session_after"), started.get("_history") or []
        return [*earlier, *(message for pair in reversed(said) for message in pair)]

    def _given(self, connection: Connection, scene: Scene) -> dict[str, Any]:
        """The input of an execution; a sub-agent's prompt is made of the root's and of what its team said before it."""
        material = self.material(connection, scene)
        started = (material.log.get(FIRST) or {}).items()
        given = {key: value for key, value in started if not key.startswith("_")}
        if scene.run.id == ROOT:
            return given
        begun = self.events(connection, scene.meta.tree, execution=scene.run.id, limit=1)[0].fact
        own = begun.input or {} if isinstance(begun, e.ExecutionStarted) else {}
        return {**given, "context": own.get("context") or {}, "prompt": material.prompt(scene.run)}

    def outputs(self, connection: Connection, tree: str, seqs: Iterable[int]) -> Log:
        """The outputs of events, by their sequence numbers."""
        log = self.log(connection, tree)
        log.have(seqs)
        return log

    def events(
        self, connection: Connection, tree: str, after: int = 0, execution: int | None = None, limit: int = 0
    ) -> list[e.Event]:
        return stored_events(connection, tree, after, execution, limit)

    def _children(self, connection: Connection, name: str) -> list[ExecutionRow]:
        tree, number = split_execution(name)
        statement = sa.select(*ROW).select_from(t.executions.join(t.trees, t.trees.c.tree == t.executions.c.tree))
        found = connection.execute(statement.where(t.executions.c.tree == tree).order_by(t.executions.c.number)).all()
        if not any(row.number == number for row in found):
            raise NotFound(f"there is no execution {name!r}")
        below = {number}
        for row in found:
            if row.number != ROOT and row.parent in below:
                below.add(row.number)
        return [line(row) for row in found if row.number in below and row.number != number]

    def _tasks(self, connection: Connection, name: str) -> list[TaskView]:
        scene = self.scene(connection, name)
        log = self.events(connection, scene.meta.tree, execution=scene.run.id)
        views = showing.attempts(scene.meta, scene.spec, scene.run, log, self.log(connection, scene.meta.tree))
        rows = queue.find(connection, [split_task(view.task_id) for view in views if not view.ended_at])
        views = [showing.with_lease(view, rows.get(split_task(view.task_id))) for view in views]
        return [showing.hidden(view, scene.hidden) for view in views]

    def _task(self, connection: Connection, name: str) -> TaskView:
        tree, number = split_task(name)
        row = connection.execute(EVENT_ROWS, {"tree": tree, "seqs": [number]}).first()
        if row is None:
            raise NotFound(f"there is no task {name!r}")
        for view in self._tasks(connection, execution_id(tree, row.execution)):
            if view.task_id == name:
                return view
        raise NotFound(f"there is no task {name!r}")

    def messages_of(self, connection: Connection, scene: Scene) -> list[dict[str, Any]]:
        """The transcript of an agent that thinks; of a team, what its agents said."""
        material = self.material(connection, scene)
        if scene.spec.thinks:
            return material.transcript(scene.run).messages(scene.spec)
        return material.discussion(scene.run)

    def transcript_of(self, connection: Connection, name: str) -> tuple[AgentSpec, Transcript]:
        scene = self.scene(connection, name)
        return scene.spec, self.material(connection, scene).transcript(scene.run)

    def requests_in(self, connection: Connection, name: str) -> list[RequestView]:
        """What waits for a person, of an execution and below it if a name is given."""
        rows = self._open(connection, name, HUMAN)
        return [view for row in rows if (view := self._request(connection, row))]

    def _request(self, connection: Connection, row: Any) -> RequestView | None:
        """The request of an open task, unless it was answered meanwhile."""
        scene = self.scene(connection, execution_id(row.tree, row.execution))
        order = scene.run.tasks.get(row.number)
        if order is None:
            return None
        material = self.material(connection, scene)
        view = requests.request(row.tree, scene.root, scene.run, row.number, order, material, row.scheduled_at)
        return showing.hidden(requests.aged(view, now_ms()), scene.hidden)

    def _all_requests(self, connection: Connection, name: str) -> list[RequestView]:
        """Every request of an execution and below it, ever."""
        tree, _ = split_execution(name)
        scene = self.scene(connection, name)
        below = {name, *(row.execution_id for row in self._children(connection, name))}
        found = requests.asked(tree, scene.root, self.events(connection, tree))
        views = [requests.aged(each.view, now_ms()) for each in found if each.view.execution_id in below]
        return [showing.hidden(view, scene.hidden) for view in views]

    def _inbox(
        self, connection: Connection, cursor: str, limit: int, wanted: dict[str, str]
    ) -> tuple[list[RequestView], str]:
        found: list[RequestView] = []
        while True:
            rows = connection.execute(OPEN_REQUESTS, {**_after(cursor), "count": PAGE}).all()
            for row in rows:
                view = self._request(connection, row)
                found += requests.chosen([view] if view else [], **wanted)
                cursor = f"{row.scheduled_at}:{row.tree}:{row.number}"
                if len(found) == limit:
                    return found, cursor
            if len(rows) < PAGE:
                return found, ""

    def _decided(
        self, connection: Connection, cursor: str, limit: int, wanted: dict[str, str]
    ) -> tuple[list[RequestView], str]:
        found: list[RequestView] = []
        known: dict[str, dict[str, RequestView]] = {}
        while True:
            after = _after(cursor) if cursor else {"at": FAR_MS, "tree": "", "number": 0}
            rows = connection.execute(SETTLED_REQUESTS, {**after, "count": PAGE}).all()
            for row in rows:
                if row.tree not in known:
                    views = self._all_requests(connection, execution_id(row.tree, ROOT))
                    known[row.tree] = {view.request_id: view for view in views}
                view = known[row.tree].get(task_id(row.tree, row.number))
                found += requests.chosen([view] if view else [], **wanted)
                cursor = f"{row.at}:{row.tree}:{row.number}"
                if len(found) == limit:
                    return found, cursor
            if len(rows) < PAGE:
                return found, ""

    def _decision(self, connection: Connection, name: str, answer: dict[str, Any]) -> tuple[RequestView, bool]:
        tree, _ = split_task(name)
        scene = self.scene(connection, execution_id(tree, ROOT))
        found = requests.asked(tree, scene.root, self.events(connection, tree))
        each = next((each for each in found if each.view.request_id == name), None)
        if each is None:
            raise NotFound(f"there is no request {name!r}")
        is_same = requests.same_answer(scene.root, each, answer)
        return showing.hidden(each.view, scene.hidden), is_same

    def _message(self, connection: Connection, name: str, message: str) -> MessageView:
        tree, _ = split_execution(name)
        number = message_number(message)
        scene = self.scene(connection, name)
        events = self.events(connection, tree, number - 1)
        first = events[0] if events and number else None
        if first is None or first.seq != number or not isinstance(first.fact, e.MessageReceived):
            raise NotFound(f"execution {name} got no message {message!r}")
        if first.fact.of:
            return self._message(connection, name, message_id(first.fact.of))
        ended = self._row(connection, execution_id(tree, ROOT)).ended_at
        seen = mail.seen(events, number)
        status = "seen" if seen else "run_ended" if ended else "queued"
        turn, at = seen or (0, ended or first.at)
        return MessageView(
            message_id=message, status=status, message=mask.masked(first.fact.message, scene.hidden),
            sender=first.fact.sender, sent_at=first.at, turn=turn, at=at,
        )  # fmt: skip

    def _waiting(self, connection: Connection, name: str) -> list[WaitingView]:
        now = now_ms()
        ready = sa.and_(t.tasks.c.status == "SCHEDULED", t.tasks.c.available_at < now - FRESH_MS)
        found: list[WaitingView] = []
        for row in self._open(connection, name, ready):
            last = self.last_poll(Want(row.queue, row.domain))
            if row.queue.startswith("@") or now - last < UNATTENDED_MS:
                continue
            where = f" in domain {row.domain!r}" if row.domain else ""
            ever = f"the last poll was {(now - last) // 1000} s ago" if last else "no worker ever polled for it"
            found.append(
                WaitingView(
                    task_id=task_id(row.tree, row.number), execution_id=execution_id(row.tree, row.execution),
                    tool=row.queue, domain=row.domain, since=row.available_at, last_poll=last,
                    reason=f"no live worker serves {row.queue!r}{where}: {ever}",
                )
            )  # fmt: skip
        return found

    def _open(self, connection: Connection, name: str, where: Any) -> list[Any]:
        """Rows of open tasks, of an execution and below it if a name is given."""
        statement = sa.select(t.tasks).where(where).order_by(t.tasks.c.scheduled_at, t.tasks.c.number)
        if not name:
            return list(connection.execute(statement.limit(1000)))
        tree, number = split_execution(name)
        below = {number, *(split_execution(row.execution_id)[1] for row in self._children(connection, name))}
        rows = connection.execute(statement.where(t.tasks.c.tree == tree))
        return [row for row in rows if row.execution in below]


def _after(cursor: str) -> dict[str, Any]:
    """The place in the list of requests that a cursor names."""
    at, _, rest = cursor.partition(":")
    tree, _, number = rest.partition(":")
    if cursor and not (listing.is_number(at) and listing.is_number(number) and "\x00" not in tree):
        raise BadInput("cursor must be the nextCursor of the page before")
    return {"at": int(at or 0), "tree": tree, "number": int(number or 0)}


_x = t.executions.c
SORTABLE = {
    "started_at": _x.started_at, "startTime": _x.started_at, "updated_at": _x.updated_at, "updateTime": _x.updated_at,
    "ended_at": _x.ended_at, "endTime": _x.ended_at, "status": _x.status, "agent_name": _x.agent, "cost": _x.cost,
}  # fmt: skip
SCENE = (
    sa.select(*ROW, _x.run, t.trees.c.spec, t.trees.c.seq)
    .select_from(t.executions.join(t.trees, t.trees.c.tree == _x.tree))
    .where(_x.tree == sa.bindparam("tree"), _x.number == sa.bindparam("number"))
)
LINE = (
    sa.select(*ROW)
    .select_from(t.executions.join(t.trees, t.trees.c.tree == _x.tree))
    .where(_x.tree == sa.bindparam("tree"), _x.number == sa.bindparam("number"))
)
_place = sa.tuple_(t.tasks.c.scheduled_at, t.tasks.c.tree, t.tasks.c.number)
OPEN_REQUESTS = (
    sa.select(t.tasks)
    .where(HUMAN, _place > sa.tuple_(sa.bindparam("at"), sa.bindparam("tree"), sa.bindparam("number")))
    .order_by(t.tasks.c.scheduled_at, t.tasks.c.tree, t.tasks.c.number)
    .limit(sa.bindparam("count"))
)
_settled = sa.tuple_(t.decisions.c.at, t.decisions.c.tree, t.decisions.c.number)
SETTLED_REQUESTS = (
    sa.select(t.decisions)
    .where(_settled < sa.tuple_(sa.bindparam("at"), sa.bindparam("tree"), sa.bindparam("number")))
    .order_by(t.decisions.c.at.desc(), t.decisions.c.tree.desc(), t.decisions.c.number.desc())
    .limit(sa.bindparam("count"))
)
FORKS = (
    sa.select(*ROW)
    .select_from(t.executions.join(t.trees, t.trees.c.tree == _x.tree))
    .where(t.trees.c.forked_from == sa.bindparam("tree"), t.trees.c.forked_from != "", _x.number == ROOT)
    .order_by(_x.tree.desc())
)
WRITTEN = (
    sa.select(t.logs.c.task, t.logs.c.at, t.logs.c.text)
    .where(t.logs.c.tree == sa.bindparam("tree"))
    .order_by(t.logs.c.task, t.logs.c.line)
)
SPEC = sa.select(t.specs.c.data).where(t.specs.c.digest == sa.bindparam("digest"))
