"""One transcript per thinking agent kept hot, and extended by what is committed; losing it costs a read."""

from collections import OrderedDict
from typing import Any

from agentspan.core import events as e
from agentspan.core.advance import ROOT
from agentspan.core.ids import execution_id
from agentspan.core.transcript import Transcript
from agentspan.spec.agent import AgentSpec
from agentspan.store.ledger import Held
from agentspan.store.reads import Reads

HOT = 1_000


class Transcripts:
    """`alone`: nobody else appends to the log, so that a hot transcript is whole. Where others do, what is committed
    here may come after something of theirs, and each `get` reads the rest of the log instead."""

    def __init__(self, reads: Reads, *, alone: bool) -> None:
        self.reads, self.alone = reads, alone
        self._hot: OrderedDict[tuple[str, int], tuple[AgentSpec, Transcript]] = OrderedDict()
        self._read_now: dict[tuple[str, int], list[e.Event]] = {}

    def follow(self, held: Held, events: list[e.Event]) -> None:
        """Extend the hot ones by committed events; begin those of executions that start here."""
        begun: set[tuple[str, int]] = set()
        for event in events:
            key = (held.meta.tree, event.execution)
            if key in self._read_now:
                self._read_now[key].append(event)
            if isinstance(event.fact, e.ExecutionStarted) and event.execution == ROOT and not held.spec.agents:
                given: dict[str, Any] = event.fact.input or {}
                self._keep(key, held.spec, Transcript(str(given.get("prompt", "")), given.get("context") or {}))
                begun.add(key)
            if hot := self._hot.get(key):
                if isinstance(event.fact, e.ENDINGS):
                    del self._hot[key]
                elif self.alone or key in begun:
                    hot[1].extend([event])

    async def get(self, tree: str, number: int) -> tuple[AgentSpec, Transcript]:
        """The spec of the execution's agent and its transcript as committed."""
        hot = self._hot.get((tree, number))
        if hot is None:
            hot = await self._read(tree, number)
        elif not self.alone:
            hot[1].extend(await self.reads.log_of(tree, after=hot[1].seq, execution=number))
        self._keep((tree, number), *hot)
        return hot

    async def _read(self, tree: str, number: int) -> tuple[AgentSpec, Transcript]:
        """From the log, and with what is committed while it is read."""
        key = (tree, number)
        meanwhile = self._read_now.setdefault(key, [])
        try:
            spec, script = await self.reads.transcript(execution_id(tree, number))
            return spec, script.extend(meanwhile if self.alone else ())
        finally:
            self._read_now.pop(key, None)

    def forget(self, tree: str) -> None:
        for key in [key for key in self._hot if key[0] == tree]:
            del self._hot[key]

    def _keep(self, key: tuple[str, int], spec: AgentSpec, script: Transcript) -> None:
        self._hot[key] = (spec, script)
        self._hot.move_to_end(key)
        while len(self._hot) > HOT:
            self._hot.popitem(last=False)
