"""A tree's log as rows at hand, each fact decoded when it is asked for: readers of long logs need little of them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, overload

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from agentspan.core import events as e
from agentspan.core.log import Log
from agentspan.store import codec
from agentspan.store import tables as t

AT_ONCE = 10_000
"""So many events are asked for by their numbers in one statement."""


class Scroll(Sequence[e.Event]):
    """The log of `tree` up to event `last`, read from the event after `after` on; those before it are fetched where
    they are needed. `log` gives whole facts, payloads included."""

    def __init__(self, connection: Connection, tree: str, last: int, after: int = 0) -> None:
        self.tree, self.last = tree, last
        self.log = Log(self._find)
        self._connection = connection
        self._rows: dict[int, Any] = {}
        self._sketches: dict[int, e.Event] = {}
        rows = connection.execute(ROWS, {"tree": tree, "after": after, "last": last})
        self.fresh = self._keep(rows.all())
        """The numbers of the events that were read."""

    def __len__(self) -> int:
        return self.last

    @overload
    def __getitem__(self, index: int) -> e.Event: ...
    @overload
    def __getitem__(self, index: slice) -> list[e.Event]: ...
    def __getitem__(self, index: int | slice) -> e.Event | list[e.Event]:
        places = range(self.last)[index]
        if isinstance(places, range):
            return self.events(place + 1 for place in places)
        return self.events([places + 1])[0]

    def sketches(self, seqs: Iterable[int]) -> list[e.Event]:
        """Events without what tasks reported. What there is not, is left out."""
        wanted = list(seqs)
        self._fetch(wanted)
        return [self._sketch(seq) for seq in wanted if seq in self._rows]

    def events(self, seqs: Iterable[int]) -> list[e.Event]:
        """Whole events."""
        wanted = list(seqs)
        self._fetch(wanted)
        self.log.have(wanted)
        return [
            e.Event(seq, self._rows[seq].execution, self._rows[seq].at, fact)
            for seq in wanted
            if (fact := self.log.fact(seq)) is not None
        ]

    def of(self, execution: int, upto: int) -> list[e.Event]:
        """The whole events of one execution up to a number, of those at hand."""
        return self.events(seq for seq in self.fresh if seq <= upto and self._rows[seq].execution == execution)

    def attempts(self, execution: int, first: int, before: int) -> list[e.Event]:
        """Sketches of an execution's events from one number to before another."""
        given = {"tree": self.tree, "after": first - 1, "last": before - 1}
        rows = self._connection.execute(ROWS.where(t.events.c.execution == execution), given)
        return self.sketches(self._keep(rows))

    def _keep(self, rows: Iterable[Any]) -> list[int]:
        found = {row[0]: row for row in rows}
        self._rows.update(found)
        return list(found)

    def _fetch(self, seqs: Iterable[int]) -> None:
        missing = sorted({seq for seq in seqs if 0 < seq <= self.last} - self._rows.keys())
        for start in range(0, len(missing), AT_ONCE):
            given = {"tree": self.tree, "seqs": missing[start : start + AT_ONCE]}
            self._keep(self._connection.execute(SOME, given))

    def _sketch(self, seq: int) -> e.Event:
        if seq not in self._sketches:
            _, execution, at, data, _ = self._rows[seq]
            self._sketches[seq] = e.Event(seq, execution, at, codec.sketch(data))
        return self._sketches[seq]

    def _find(self, seqs: Iterable[int]) -> Mapping[int, e.AnyFact]:
        wanted = list(seqs)
        self._fetch(wanted)
        rows = [self._rows[seq] for seq in wanted if seq in self._rows]
        payloads = self._payloads({row.blob for row in rows if row.blob})
        return {row.seq: codec.decode(row.data, payloads.get(row.blob)) for row in rows}

    def _payloads(self, digests: set[str]) -> dict[str, bytes]:
        wanted, found = sorted(digests), dict[str, bytes]()
        for start in range(0, len(wanted), AT_ONCE):
            given = {"tree": self.tree, "digests": wanted[start : start + AT_ONCE]}
            found |= {row.digest: row.data for row in self._connection.execute(BLOBS, given)}
        return found


_x = t.events.c
_rows = sa.select(_x.seq, _x.execution, _x.at, _x.data, _x.blob).where(_x.tree == sa.bindparam("tree"))
ROWS = _rows.where(_x.seq > sa.bindparam("after"), _x.seq <= sa.bindparam("last")).order_by(_x.seq)
SOME = _rows.where(_x.seq.in_(sa.bindparam("seqs", expanding=True)))
BLOBS = sa.select(t.blobs.c.digest, t.blobs.c.data).where(
    t.blobs.c.tree == sa.bindparam("tree"), t.blobs.c.digest.in_(sa.bindparam("digests", expanding=True))
)
