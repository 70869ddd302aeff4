"""Traces for OpenTelemetry: what a commit of this server ended is read back from the log and sent as spans.

A run is one trace, however long it takes and however many servers work on it: ids come from the log, and each event is
told by the server that committed it. When a server has died, and when a run outlives the server that began it, the
whole run is told again under the same ids, because nobody knows what was still on its way.
"""

import asyncio
import logging
import os
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

import agentspan
from agentspan.config import HOME, Settings
from agentspan.core import events as e
from agentspan.core.advance import ROOT
from agentspan.engine.spans import Traced, span_of, spans, trace_of
from agentspan.errors import ConfigurationProblem, Unavailable
from agentspan.store.ledger import Held
from agentspan.store.reads import Reads

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter

log = logging.getLogger("agentspan.tracing")

TELL_SECONDS = 2.0
"""What ends within this time is read at once."""
RUNS_KEPT = 20_000
"""So many runs may wait to be told of; those that have waited longest are left out."""
SPANS_KEPT = 65_536
AGAIN_SECONDS = 2.0
FLUSH_MS = 5_000
SCOPE = "agentspan"
CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"

Ends = set[int] | None
"""The events of a tree that ended something; None: everything that has ended in it."""


class Tracing:
    """Runs that began before `since` are told of whole at their end. `exporter` takes the spans: by default the one
    that OpenTelemetry's variables name."""

    def __init__(
        self, reads: Reads, settings: Settings, replica: str, since: int, exporter: "SpanExporter | None" = None
    ) -> None:
        self.reads, self.since = reads, since
        self.told = self.left_out = 0
        self._content = os.environ.get(CONTENT, "").strip().lower() in ("1", "true", "yes", "on")
        self._send = _Sender(settings, replica, exporter)
        self._due: dict[str, Ends] = {}
        self._woken = asyncio.Event()

    def follow(self, held: Held, events: Iterable[e.Event]) -> None:
        """A commit of this server to one tree."""
        ends = {event.seq for event in events if isinstance(event.fact, ENDS)}
        if ends:
            self._note(held.meta.tree, None if self._is_doubtful(held, events) else ends)

    def _is_doubtful(self, held: Held, events: Iterable[e.Event]) -> bool:
        """May a server that is no more have ended something here without telling of it?"""
        root = held.tree.runs[ROOT]
        lost = any(isinstance(event.fact, e.TaskTimedOut) and event.fact.limit == "server" for event in events)
        return lost or (root.ended and root.since < self.since)

    async def run(self) -> None:
        while True:
            await self._woken.wait()
            await asyncio.sleep(TELL_SECONDS)
            try:
                await self.tell()
            except Unavailable as problem:
                log.warning("traces wait: %s", problem)
                await asyncio.sleep(AGAIN_SECONDS)

    async def tell(self) -> None:
        """Send what is due. Unavailable if the database is away: then it stays due."""
        self._woken.clear()
        while self._due:
            tree, ends = next(iter(self._due.items()))
            del self._due[tree]
            found = await self._spans(tree, ends)
            self._send.all(found)
            self.told += len(found)

    async def _spans(self, tree: str, ends: Ends) -> list[Traced]:
        work = partial(spans, self.reads, tree=tree, ends=ends, content=self._content)
        try:
            return await self.reads.query(work)
        except Unavailable:
            self._note(tree, ends)
            raise
        except Exception:  # the edge: a run that cannot be told of must not silence the others
            log.exception("run %s cannot be traced", tree)
            self.left_out += 1
            return []

    def _note(self, tree: str, ends: Ends) -> None:
        """These are due; what was due already stays so."""
        known = self._due.pop(tree, set[int]())
        self._due[tree] = None if known is None or ends is None else known | ends
        if len(self._due) > RUNS_KEPT:
            self._due.pop(next(iter(self._due)))
            self.left_out += 1
        self._woken.set()

    async def close(self) -> None:
        """Send what is left."""
        try:
            await self.tell()
        except Unavailable as problem:
            log.warning("traces of %d runs are lost: %s", len(self._due), problem)
        await asyncio.to_thread(self._send.close)


class _Sender:
    """The way to OpenTelemetry's exporter: the only place that knows its types."""

    def __init__(self, settings: Settings, replica: str, exporter: "SpanExporter | None") -> None:
        try:
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.sdk.util.instrumentation import InstrumentationScope
        except ModuleNotFoundError as problem:
            raise ConfigurationProblem(MISSING) from problem
        found = Resource.create({"service.version": agentspan.__version__, "service.instance.id": replica})
        unnamed = str(found.attributes.get("service.name", "")).startswith("unknown_service")
        named = {"service.name": SCOPE} if unnamed else {}
        tenant = {} if settings.tenant == HOME else {"agentspan.tenant": settings.tenant}
        self.resource = found.merge(Resource({**named, **tenant}))
        self.scope = InstrumentationScope(SCOPE, agentspan.__version__)
        size = None if os.environ.get("OTEL_BSP_MAX_QUEUE_SIZE") else SPANS_KEPT
        self.processor = BatchSpanProcessor(exporter or _exporter(), max_queue_size=size)

    def all(self, traced: Iterable[Traced]) -> None:
        for each in traced:
            self.processor.on_end(self._span(each))

    def close(self) -> None:
        self.processor.force_flush(FLUSH_MS)
        self.processor.shutdown()  # type: ignore[no-untyped-call]

    def _span(self, traced: Traced) -> "ReadableSpan":
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

        def context(trace_id: int, span_id: int, is_remote: bool = False) -> SpanContext:
            return SpanContext(trace_id, span_id, is_remote, TraceFlags(TraceFlags.SAMPLED))

        links = []
        if traced.link:
            source = context(trace_of(traced.link), span_of(traced.link, ROOT))
            links = [Link(source, {"agentspan.link": "forked_from"})]
        return ReadableSpan(
            name=traced.name,
            context=context(traced.trace_id, traced.span_id),
            parent=context(traced.trace_id, traced.parent_id, traced.is_remote) if traced.parent_id else None,
            resource=self.resource,
            attributes=traced.attributes,
            links=links,
            kind=SpanKind.CLIENT if traced.calls_out else SpanKind.INTERNAL,
            status=Status(StatusCode.ERROR, traced.error) if traced.error else Status(),
            start_time=traced.start * 1_000_000,
            end_time=traced.end * 1_000_000,
            instrumentation_scope=self.scope,
        )


def _exporter() -> "SpanExporter":
    """What sends to the collector that OpenTelemetry's variables name."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ModuleNotFoundError as problem:
        raise ConfigurationProblem(MISSING) from problem
    return OTLPSpanExporter()


ENDS = (*e.SETTLEMENTS, e.MessagesTaken, *e.ENDINGS)
MISSING = 'traces need OpenTelemetry: pip install "agentspan[otel]", or set AGENTSPAN_TRACING=false to do without them'
