"""What can be asked of histories: a run's steps and spans, a task, a moment, its forks, two runs compared, a file."""

import os
from collections.abc import Callable
from typing import Any

from agentspan.clock import new_id
from agentspan.core import events as e
from agentspan.core.advance import ROOT
from agentspan.core.compare import Comparison, Side, compare
from agentspan.core.ids import split_execution
from agentspan.core.steps import Step, steps
from agentspan.engine import bundle, commands, providers
from agentspan.engine.inspection import Inspection, inspect
from agentspan.engine.writer import Writer
from agentspan.errors import BadInput, NotFound
from agentspan.spec.agent import AgentSpec
from agentspan.store.ledger import Meta
from agentspan.store.moments import Moment, moment
from agentspan.store.reads import Reads
from agentspan.store.timeline import Timeline, timeline
from agentspan.store.views import ExecutionRow


class History:
    """`check` says whether a spec can run here."""

    def __init__(self, reads: Reads, writer: Writer, check: Callable[[AgentSpec], None]) -> None:
        self.reads, self.writer, self._check = reads, writer, check

    async def fork(
        self, execution: str, at: int, edits: dict[str, Any], other: tuple[AgentSpec, int] | None = None
    ) -> str:
        """A new execution that shares the first `at` events, with edits; gives its id. `other`: the definition that it
        goes on by, and its version."""
        tree, number = split_execution(execution)
        if number:
            raise BadInput(f"fork the root execution {tree}; the events of {execution} are in its log")
        events = await self.reads.log_of(tree)
        if not events:
            raise NotFound(f"there is no execution {execution!r}")
        if edits.get("model"):
            providers.check_model(str(edits["model"]), os.environ)
        command = commands.Fork(
            trees=(tree,), source=tree, name=new_id(), events=events, at=at, edits=edits, other=other
        )
        return await self.writer.do(command)

    async def forks(self, execution: str) -> list[tuple[ExecutionRow, int]]:
        """The executions that were forked from this one, each with the event at which."""
        await self.reads.row(execution)
        return await self.reads.forks(split_execution(execution)[0])

    async def steps(self, execution: str) -> list[Step]:
        """Every event of the run as a line: where it can be forked, and with which edits."""
        _, spec, events = await self._whole(execution)
        return steps(spec, events)

    async def timeline(self, execution: str, after: int = 0) -> Timeline:
        """An execution and all below it as spans of time; what is new since event `after`."""
        return await self.reads.query(lambda connection: timeline(self.reads, connection, execution, after))

    async def moment(self, execution: str, seq: int) -> Moment:
        """The run as it stood right after an event."""
        return await self.reads.query(lambda connection: moment(self.reads, connection, execution, seq))

    async def task(self, task: str) -> Inspection:
        """One task closely."""
        return await inspect(self.reads, task)

    async def compare(self, a: str, b: str) -> Comparison:
        """Two runs step by step."""
        (first, spec_a, events_a), (second, spec_b, events_b) = await self._whole(a), await self._whole(b)
        sides = Side(first.tree, spec_a, events_a), Side(second.tree, spec_b, events_b)
        return compare(*sides, shared_of(first, second))

    async def export(self, execution: str) -> bytes:
        """The run as a file."""
        meta, spec, events = await self._whole(execution)

        def work(connection: Any) -> tuple[list[tuple[int, int, str]], list[dict[str, Any]]]:
            given = events[0].fact.input if isinstance(events[0].fact, e.ExecutionStarted) else None
            return self.reads.written(connection, meta.tree), self.reads.history(connection, given or {})

        return bundle.write(meta, spec, events, *await self.reads.query(work))

    async def take_in(self, data: bytes, *, resume: bool = False) -> tuple[str, str]:
        """A run out of a file, under a new id; gives that and the id that it had. To be read it needs no keys."""
        read = bundle.read(data)
        if resume and not read.tree.runs[ROOT].ended:
            self._check(read.spec)
        name = new_id()
        await self.writer.do(bundle.TakeIn(name=name, bundle=read, resume=resume))
        return name, read.head.execution_id

    async def _whole(self, execution: str) -> tuple[Meta, AgentSpec, list[e.Event]]:
        """A tree's record, spec and log."""
        tree, number = split_execution(execution)
        if number:
            raise BadInput(f"{execution} is a part of the run {tree}; name that one")

        def work(connection: Any) -> tuple[Meta, AgentSpec, list[e.Event]]:
            scene = self.reads.scene(connection, tree)
            return scene.meta, scene.root, self.reads.events(connection, tree)

        return await self.reads.query(work)


def shared_of(a: Meta, b: Meta) -> int:
    """So many events two runs have in common by a fork of one from the other, or of both from a third."""
    if a.tree == b.tree:
        return 0
    if b.forked_from == a.tree:
        return b.forked_at
    if a.forked_from == b.tree:
        return a.forked_at
    return min(a.forked_at, b.forked_at) if a.forked_from and a.forked_from == b.forked_from else 0
