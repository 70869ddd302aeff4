"""Numbers for Prometheus, gathered when they are asked for: nothing is measured on an idle server."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import agentspan
from agentspan.engine import limiter
from agentspan.engine.limiter import Limiter
from agentspan.engine.spending import Spending
from agentspan.server.handler import Handler, Route
from agentspan.server.timings import BOUNDS, Timings
from agentspan.store.views import QueueView

if TYPE_CHECKING:
    from prometheus_client.core import Metric

LAG_PROBE_SECONDS = 0.01


class Metrics(Handler):
    async def get(self) -> None:
        """The numbers of this server, in Prometheus' text format."""
        from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

        counts, queues, lag = await self.reads.counts(), await self.reads.queues(), await loop_lag()
        families = [
            *executions(counts),
            *depths(queues),
            *spending(self.engine.spending),
            *quotas(limiter.here()),
            *latencies(self.context.timings),
            *process(lag),
        ]
        text = generate_latest(Families(families))
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        self.finish(text)


class Families:
    """What generate_latest asks of a registry: the numbers are here already."""

    def __init__(self, families: Sequence["Metric"]) -> None:
        self._families = families

    def collect(self) -> Sequence["Metric"]:
        return self._families


def executions(counts: dict[str, int]) -> Iterator["Metric"]:
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily("agentspan_executions", "Executions by status", labels=["status"])
    for status, count in counts.items():
        family.add_metric([status], count)
    yield family


def spending(spent: Spending) -> Iterator["Metric"]:
    """Of the model calls that this server committed."""
    from prometheus_client.core import CounterMetricFamily

    tokens = CounterMetricFamily("agentspan_model_tokens", "Tokens of model calls", labels=["model", "kind"])
    for (model, kind), count in spent.tokens.items():
        tokens.add_metric([model, kind], count)
    yield tokens
    for name, text, counts in (
        ("agentspan_model_calls", "Model calls that were answered", spent.calls),
        ("agentspan_model_calls_unpriced", "Model calls whose price is unknown", spent.unpriced),
        ("agentspan_model_cost_dollars", "US dollars of the model calls whose price is known", spent.dollars),
    ):
        family = CounterMetricFamily(name, text, labels=["model"])
        for model, value in counts.items():
            family.add_metric([model], value)
        yield family


def quotas(limits: Limiter) -> Iterator["Metric"]:
    """Of the providers' quotas, all keys and addresses of a provider together."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    waiting = GaugeMetricFamily(
        "agentspan_provider_waiting_calls", "Model calls that wait for their provider's quota", labels=["provider"]
    )
    open_calls = GaugeMetricFamily("agentspan_provider_open_calls", "Model calls under way", labels=["provider"])
    rested = CounterMetricFamily(
        "agentspan_provider_rest_seconds", "Seconds for which a provider wanted to be left alone", labels=["provider"]
    )
    for provider, found in sorted(limits.by_provider().items()):
        waiting.add_metric([provider], sum(each.waiting for each in found))
        open_calls.add_metric([provider], sum(each.open for each in found))
        rested.add_metric([provider], sum(each.rested for each in found))
    yield from (waiting, open_calls, rested)


def depths(queues: Sequence[QueueView]) -> Iterator["Metric"]:
    from prometheus_client.core import GaugeMetricFamily

    labels = ["queue", "domain"]
    ready = GaugeMetricFamily("agentspan_queue_ready", "Tasks that wait for a worker", labels=labels)
    leased = GaugeMetricFamily("agentspan_queue_in_flight", "Tasks that are with a worker", labels=labels)
    oldest = GaugeMetricFamily("agentspan_queue_oldest_seconds", "Age of the oldest waiting task", labels=labels)
    for queue in queues:
        place = [queue.name, queue.domain]
        ready.add_metric(place, queue.ready)
        leased.add_metric(place, queue.leased)
        oldest.add_metric(place, queue.oldest_ms / 1000)
    yield from (ready, leased, oldest)


def latencies(timings: Timings) -> Iterator["Metric"]:
    from prometheus_client.core import HistogramMetricFamily

    family = HistogramMetricFamily(
        "agentspan_http_request_seconds", "Time to answer a request", labels=["method", "route", "status"]
    )
    for (method, route, status), counts in timings.buckets.items():
        total, buckets = 0, []
        for bound, count in zip((*map(str, BOUNDS), "+Inf"), counts, strict=True):
            total += count
            buckets.append((bound, total))
        family.add_metric([method, route, str(status)], buckets, timings.sums[method, route, status])
    yield family


def process(lag: float) -> Iterator["Metric"]:
    from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily

    yield GaugeMetricFamily("agentspan_loop_lag_seconds", "How late the event loop wakes a sleeper", value=lag)
    yield InfoMetricFamily("agentspan_build", "What runs here", value={"version": agentspan.__version__})


async def loop_lag() -> float:
    """How much later than asked the event loop wakes a sleeper."""
    start = time.perf_counter()
    await asyncio.sleep(LAG_PROBE_SECONDS)
    return max(0.0, time.perf_counter() - start - LAG_PROBE_SECONDS)


ROUTES = [Route("/metrics", Metrics), Route("/actuator/prometheus", Metrics)]
