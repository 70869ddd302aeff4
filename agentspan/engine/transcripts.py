"""One transcript per thinking agent kept hot, and extended by what is committed; losing it costs a read."""

from collections import OrderedDict
from typing import Any

from agentspan.core import events as e
from agentspan.core.advance import ROOT, Tree
from agentspan.core.asking import Question
from agentspan.core.ids import execution_id
from agentspan.core.run import Run
from agentspan.core.states import Status
from agentspan.core.transcript import Transcript
from agentspan.spec.agent import AgentSpec
from agentspan.store.ledger import Held
from agentspan.store.reads import Reads

HOT = 1_000
ENDED_RUN = Run(status=Status.TERMINATED)


class Transcripts:
    """Several servers may append to one log: a hot transcript is extended only if it holds all that came before, and
    dropped if something of another server's is missing from it."""

    def __init__(self, reads: Reads) -> None:
        self.reads = reads
        self._hot: OrderedDict[tuple[str, int], tuple[AgentSpec, Transcript]] = OrderedDict()
        self._read_now: dict[tuple[str, int], list[e.Event]] = {}

    def follow(self, held: Held, events: list[e.Event], before: Tree | None) -> None:
        """Extend the hot ones by committed events; begin those of executions that start here.

        `before` is the tree as it was before the events.
        """
        for event in events:
            key = (held.meta.tree, event.execution)
            if key in self._read_now:
                self._read_now[key].append(event)
            if isinstance(event.fact, e.ExecutionStarted) and event.execution == ROOT and held.spec.thinks:
                given: dict[str, Any] = event.fact.input or {}
                if not (given.get("_session_after") or given.get("_history")):
                    script = Transcript(str(given.get("prompt", "")), given.get("media") or ())
                    self._keep(key, held.spec, script)
        for number in {event.execution for event in events}:
            hot = self._hot.get((held.meta.tree, number))
            if hot is None:
                continue
            run = before.runs.get(number) if before else None
            if hot[1].seq != (run.seq if run else 0) or held.tree.runs.get(number, ENDED_RUN).ended:
                del self._hot[held.meta.tree, number]
            else:
                hot[1].extend(event for event in events if event.execution == number)

    async def get(self, tree: str, number: int, seq: int) -> tuple[AgentSpec, Transcript]:
        """The spec of the execution's agent and its transcript, at least up to event `seq`."""
        hot = self._hot.get((tree, number))
        if hot is None or hot[1].seq < seq or hot[1].wanted:
            return await self._read(tree, number)
        self._hot.move_to_end((tree, number))
        return hot

    async def question(self, tree: str, number: int, task: int) -> tuple[AgentSpec, Question]:
        """What a model is asked by a task that is no turn of an agent."""
        return await self.reads.question(execution_id(tree, number), task)

    async def callback(self, tree: str, number: int, source: int) -> list[dict[str, Any]]:
        """The messages that a callback has put in the place of a turn's, in event `source`."""
        return await self.reads.replaced_messages(execution_id(tree, number), source)

    async def _read(self, tree: str, number: int) -> tuple[AgentSpec, Transcript]:
        """From the log; kept hot if nothing was committed while it was read."""
        key = (tree, number)
        meanwhile = self._read_now.setdefault(key, [])
        try:
            read = await self.reads.transcript(execution_id(tree, number))
        finally:
            self._read_now.pop(key, None)
        if not meanwhile:
            self._keep(key, *read)
        return read

    def _keep(self, key: tuple[str, int], spec: AgentSpec, script: Transcript) -> None:
        self._hot[key] = (spec, script)
        self._hot.move_to_end(key)
        while len(self._hot) > HOT:
            self._hot.popitem(last=False)
