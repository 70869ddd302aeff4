"""Numbers for Prometheus, gathered when they are asked for: nothing is measured on an idle server.

`FAMILIES` says what there is; what is gathered is written on a `Sheet`, which knows no other names.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import agentspan
from agentspan.config import HOME
from agentspan.engine import limiter, vitals
from agentspan.engine.engine import Engine
from agentspan.engine.figures import Figures, Histogram
from agentspan.engine.limiter import Limiter
from agentspan.engine.spending import Spending
from agentspan.engine.vitals import Health
from agentspan.server.handler import Handler, Route
from agentspan.server.timings import BOUNDS, Timings

if TYPE_CHECKING:
    from prometheus_client.core import Metric

LAG_PROBE_SECONDS = 0.01


class Metrics(Handler):
    async def get(self) -> None:
        """The numbers of this server, in Prometheus' text format; for another tenant than the first, its own."""
        from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

        is_at_home = self.principal.tenant == HOME
        collected = await self._all() if is_at_home else list(merged([await sheet(self.engine)]))
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        self.finish(generate_latest(Families(collected)))

    async def _all(self) -> list["Metric"]:
        from prometheus_client import ProcessCollector

        engines = {house.name: house.engine for house in self.context.tenants}
        found = [sheet(engine, name if len(engines) > 1 else "") for name, engine in engines.items()]
        server = Sheet()
        await process(server, self.context.timings, engines)
        return [*merged([server, *await asyncio.gather(*found)]), *ProcessCollector(registry=None).collect()]


class Families:
    """What generate_latest asks of a registry: the numbers are here already."""

    def __init__(self, families: list["Metric"]) -> None:
        self._families = families

    def collect(self) -> list["Metric"]:
        return self._families


class Sheet:
    """Samples by family. Those of one of several tenants bear its name."""

    def __init__(self, tenant: str = "") -> None:
        self.tenant = tenant
        self.samples: dict[str, list[tuple[tuple[str, ...], Any]]] = {}

    def add(self, name: str, value: float, *labels: str) -> None:
        self._add(name, value, labels)

    def spread(self, name: str, histogram: Histogram, *labels: str) -> None:
        self._add(name, histogram, labels)

    def _add(self, name: str, value: Any, labels: tuple[str, ...]) -> None:
        family = BY_NAME[name]
        if len(labels) != len(family.labels):
            raise ValueError(f"{name} has the labels {family.labels}")
        self.samples.setdefault(name, []).append((labels, value))


def merged(sheets: list[Sheet]) -> Iterator["Metric"]:
    """The families of all sheets, in the order of the table."""
    is_shared = any(each.tenant for each in sheets)
    for family in FAMILIES:
        found = [(each.tenant, *sample) for each in sheets for sample in each.samples.get(family.name, ())]
        metric = family.metric(is_shared and any(tenant for tenant, _, _ in found))
        for tenant, labels, value in found:
            family.write(metric, [*labels, *([tenant] if tenant else [])], value)
        yield metric


# One engine


async def sheet(engine: Engine, tenant: str = "") -> Sheet:
    """The numbers of one engine."""
    sheet = Sheet(tenant)
    health = await vitals.health(engine)
    if health:
        database(sheet, health, engine)
    sheet.add("agentspan_ready", float(health is not None and not engine.draining))
    counted(sheet, engine.figures)
    spending(sheet, engine.spending)
    waiters(sheet, engine)
    return sheet


def database(sheet: Sheet, health: Health, engine: Engine) -> None:
    """What the database says."""
    kept = health.stored
    for status, count in kept.open.items():
        sheet.add("agentspan_executions", count, status)
    for queue in health.queues:
        place = (queue.name, queue.domain)
        sheet.add("agentspan_queue_ready", queue.ready, *place)
        sheet.add("agentspan_queue_in_flight", queue.leased, *place)
        sheet.add("agentspan_queue_oldest_seconds", queue.oldest_ms / 1000, *place)
        sheet.add("agentspan_queue_workers", queue.workers, *place)
    oldest = health.now - kept.oldest_request if kept.oldest_request else 0
    sheet.add("agentspan_requests_waiting", kept.requests)
    sheet.add("agentspan_requests_oldest_seconds", max(0, oldest) / 1000)
    for state, count in health.workers.items():
        sheet.add("agentspan_workers", count, state)
    sheet.add("agentspan_servers", health.servers)
    sheet.add("agentspan_database_bytes", kept.database_bytes)
    sheet.add("agentspan_credentials_unreadable", engine.secrets.unreadable(kept.secrets))


def counted(sheet: Sheet, figures: Figures) -> None:
    """What this server has committed."""
    sheet.add("agentspan_executions_started", figures.started)
    for status, count in figures.ended.items():
        sheet.add("agentspan_executions_ended", count, status)
    for (kind, status), count in sorted(figures.tasks.items()):
        sheet.add("agentspan_tasks", count, kind, status)
    for kind, count in figures.retries.items():
        sheet.add("agentspan_task_retries", count, kind)
    for limit, count in figures.timeouts.items():
        sheet.add("agentspan_task_timeouts", count, limit)
    sheet.add("agentspan_leases_expired", figures.timeouts["lease"] + figures.timeouts["server"])
    for (model, cause), count in sorted(figures.model_errors.items()):
        sheet.add("agentspan_model_errors", count, model, cause)
    for name, histograms in (
        ("agentspan_task_seconds", figures.task_seconds),
        ("agentspan_model_call_seconds", figures.model_seconds),
        ("agentspan_model_first_token_seconds", figures.first_token),
    ):
        for label, histogram in sorted(histograms.items()):
            sheet.spread(name, histogram, label)
    sheet.spread("agentspan_writer_batch_size", figures.batches)
    sheet.spread("agentspan_writer_commit_seconds", figures.commit_seconds)
    sheet.add("agentspan_writer_failed_commits", figures.failed_commits)


def spending(sheet: Sheet, spent: Spending) -> None:
    """Of the model calls that this server committed."""
    for (model, kind), count in spent.tokens.items():
        sheet.add("agentspan_model_tokens", count, model, kind)
    for name, counts in (
        ("agentspan_model_calls", spent.calls),
        ("agentspan_model_calls_unpriced", spent.unpriced),
        ("agentspan_model_cost_dollars", spent.dollars),
    ):
        for model, value in counts.items():
            sheet.add(name, value, model)


def waiters(sheet: Sheet, engine: Engine) -> None:
    """What waits in this process, and how it keeps up."""
    streams, watches = engine.hub.readers()
    sheet.add("agentspan_stream_readers", streams, "run")
    sheet.add("agentspan_stream_readers", watches, "all")
    sheet.add("agentspan_waiting_polls", engine.pollers.count())
    pool = vitals.pool(engine)
    sheet.add("agentspan_database_connections", pool.used, "used")
    sheet.add("agentspan_database_connections", pool.size - pool.used, "free")
    sheet.add("agentspan_writer_waiting", engine.writer.waiting)
    sheet.add("agentspan_sweep_lag_seconds", engine.sweeper.late_ms / 1000)
    if engine.tracing:
        sheet.add("agentspan_trace_spans", engine.tracing.told)
        sheet.add("agentspan_trace_runs_left_out", engine.tracing.left_out)


# The process


async def process(sheet: Sheet, timings: Timings, engines: Mapping[str, Engine]) -> None:
    """What is the same for all tenants."""
    quotas(sheet, limiter.here())
    for (method, route, status), counts in timings.buckets.items():
        histogram = Histogram(BOUNDS)
        histogram.counts, histogram.sum = counts, timings.sums[method, route, status]
        sheet.spread("agentspan_http_request_seconds", histogram, method, route, str(status))
    sheet.add("agentspan_loop_lag_seconds", await loop_lag())
    settings = next(iter(engines.values())).settings
    sheet.add("agentspan_disk_free_bytes", vitals.free_bytes(settings.data_dir))
    sheet.add("agentspan_build_info", 1, agentspan.__version__, vitals.SCHEMA)


def quotas(sheet: Sheet, limits: Limiter) -> None:
    """Of the providers' quotas, all keys and addresses of a provider together."""
    for provider, found in sorted(limits.by_provider().items()):
        sheet.add("agentspan_provider_waiting_calls", sum(each.waiting for each in found), provider)
        sheet.add("agentspan_provider_open_calls", sum(each.open for each in found), provider)
        sheet.add("agentspan_provider_rest_seconds", sum(each.rested for each in found), provider)


async def loop_lag() -> float:
    """How much later than asked the event loop wakes a sleeper."""
    start = time.perf_counter()
    await asyncio.sleep(LAG_PROBE_SECONDS)
    return max(0.0, time.perf_counter() - start - LAG_PROBE_SECONDS)


# What there is


class Family(NamedTuple):
    """A family of samples. The name of a counter is without its `_total`."""

    name: str
    kind: str
    text: str
    labels: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """The name by which queries know it."""
        return f"{self.name}_total" if self.kind == "counter" else self.name

    def metric(self, by_tenant: bool) -> Any:
        """An empty family of Prometheus' own."""
        from prometheus_client import core

        kinds = {
            "gauge": core.GaugeMetricFamily,
            "counter": core.CounterMetricFamily,
            "histogram": core.HistogramMetricFamily,
        }
        labels = [*self.labels, *(["tenant"] if by_tenant else [])]
        return kinds[self.kind](self.name, self.text, labels=labels)

    def write(self, metric: Any, labels: list[str], value: Any) -> None:
        if isinstance(value, Histogram):
            metric.add_metric(labels, list(_cumulated(value)), value.sum)
        else:
            metric.add_metric(labels, value)


def _cumulated(histogram: Histogram) -> Iterator[tuple[str, float]]:
    total = 0
    for bound, count in zip((*map(str, histogram.bounds), "+Inf"), histogram.counts, strict=True):
        total += count
        yield bound, total


FAMILIES = (
    Family("agentspan_ready", "gauge", "1 if work can be done here, 0 while draining or without the database"),
    Family("agentspan_executions", "gauge", "Open executions by status, up to 100,000 of each", ("status",)),
    Family("agentspan_executions_started", "counter", "Executions started, sub-agents included"),
    Family("agentspan_executions_ended", "counter", "Executions ended, by how", ("status",)),
    Family("agentspan_tasks", "counter", "Attempts of tasks that were settled", ("kind", "status")),
    Family("agentspan_task_retries", "counter", "Attempts that were not the first", ("kind",)),
    Family(
        "agentspan_task_timeouts",
        "counter",
        "Attempts that ran out of time: to start, for the attempt, of their lease, or with their server",
        ("limit",),
    ),
    Family("agentspan_leases_expired", "counter", "Leases that ended because a worker or a server went silent"),
    Family("agentspan_task_seconds", "histogram", "Time from taking a task to its result", ("kind",)),
    Family("agentspan_queue_ready", "gauge", "Tasks that wait for a worker", ("queue", "domain")),
    Family("agentspan_queue_in_flight", "gauge", "Tasks that are with a worker", ("queue", "domain")),
    Family("agentspan_queue_oldest_seconds", "gauge", "Age of the oldest waiting task", ("queue", "domain")),
    Family("agentspan_queue_workers", "gauge", "Workers that poll the queue now", ("queue", "domain")),
    Family("agentspan_workers", "gauge", "Workers by state: busy, idle, silent, gone within the hour", ("state",)),
    Family("agentspan_servers", "gauge", "Servers that share the database"),
    Family("agentspan_requests_waiting", "gauge", "Requests that wait for people"),
    Family("agentspan_requests_oldest_seconds", "gauge", "Age of the oldest request that waits for people"),
    Family("agentspan_model_calls", "counter", "Model calls that were answered", ("model",)),
    Family("agentspan_model_errors", "counter", "Model calls that failed", ("model", "cause")),
    Family("agentspan_model_call_seconds", "histogram", "Time from taking a model call to its answer", ("model",)),
    Family("agentspan_model_first_token_seconds", "histogram", "Time to the first piece of an answer", ("model",)),
    Family("agentspan_model_tokens", "counter", "Tokens of model calls", ("model", "kind")),
    Family("agentspan_model_cost_dollars", "counter", "US dollars of calls whose price is known", ("model",)),
    Family("agentspan_model_calls_unpriced", "counter", "Model calls whose price is unknown", ("model",)),
    Family(
        "agentspan_provider_waiting_calls", "gauge", "Model calls that wait for their provider's quota", ("provider",)
    ),
    Family("agentspan_provider_open_calls", "gauge", "Model calls under way", ("provider",)),
    Family(
        "agentspan_provider_rest_seconds",
        "counter",
        "Seconds for which a provider wanted to be left alone",
        ("provider",),
    ),
    Family("agentspan_stream_readers", "gauge", "Readers of one run's stream, and of all changes", ("of",)),
    Family("agentspan_waiting_polls", "gauge", "Polls that wait for a task"),
    Family("agentspan_http_request_seconds", "histogram", "Time to answer a request", ("method", "route", "status")),
    Family("agentspan_loop_lag_seconds", "gauge", "How late the event loop wakes a sleeper"),
    Family("agentspan_sweep_lag_seconds", "gauge", "How late the last look for expired leases and deadlines was"),
    Family("agentspan_writer_waiting", "gauge", "Writes that wait for the next commit"),
    Family("agentspan_writer_batch_size", "histogram", "Writes in one commit"),
    Family("agentspan_writer_commit_seconds", "histogram", "Time of a commit"),
    Family("agentspan_writer_failed_commits", "counter", "Commits that failed"),
    Family("agentspan_database_connections", "gauge", "Connections for reading, used and free", ("state",)),
    Family("agentspan_database_bytes", "gauge", "Size of the database"),
    Family("agentspan_disk_free_bytes", "gauge", "Free on the disk of the data folder"),
    Family("agentspan_credentials_unreadable", "gauge", "Stored credentials that no key of this server opens"),
    Family("agentspan_trace_spans", "counter", "Spans given to the exporter"),
    Family("agentspan_trace_runs_left_out", "counter", "Runs of which some spans were not told"),
    Family("agentspan_build_info", "gauge", "Version and schema of this server", ("version", "schema")),
)
BY_NAME = {family.name: family for family in FAMILIES}


def table() -> str:
    """What there is, for the documents."""
    rows = ["| metric | type | labels | what it is |", "|---|---|---|---|"]
    for family in FAMILIES:
        labels = ", ".join(f"`{label}`" for label in family.labels)
        rows.append(f"| `{family.shown}` | {family.kind} | {labels} | {family.text} |")
    return "\n".join(rows)


ROUTES = [Route("/metrics", Metrics), Route("/actuator/prometheus", Metrics)]
