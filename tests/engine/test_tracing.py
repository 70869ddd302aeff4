"""A run is one trace, made of its log: whole, in the words of the conventions, and the same whoever tells it."""

import asyncio
import gzip
import http.server
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from agentspan.core.ids import split_task
from agentspan.engine import commands
from agentspan.engine.engine import Engine
from agentspan.engine.spans import caller, span_of
from agentspan.engine.tracing import CONTENT, Tracing
from agentspan.errors import ConfigurationProblem
from tests.engine.house import (
    Hands,
    agent,
    calls,
    complete,
    ended,
    fail,
    log,
    opened,
    requests,
    script,
    start,
    take,
    team,
    tool,
    until,
    working,
)


def follow(engine: Engine, since: int = 0) -> InMemorySpanExporter:
    """Keep what an engine tells in memory."""
    exporter = InMemorySpanExporter()
    engine.tracing = Tracing(engine.reads, engine.settings, engine.replica, since, exporter)
    return exporter


async def told(engine: Engine, exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    """What was told so far, by name."""
    return {span.name: span for span in await all_told(engine, exporter)}


async def all_told(engine: Engine, exporter: InMemorySpanExporter) -> Sequence[ReadableSpan]:
    assert engine.tracing
    await engine.tracing.tell()
    engine.tracing._send.processor.force_flush()
    return exporter.get_finished_spans()


def parents(spans: dict[str, ReadableSpan]) -> dict[str, str]:
    """The name of the span above each."""
    names = {span.context.span_id: name for name, span in spans.items() if span.context}
    return {name: names[span.parent.span_id] if span.parent else "" for name, span in spans.items()}


@pytest.fixture
async def engine(sqlite_url: str, tmp_path: Path) -> AsyncIterator[Engine]:
    async with opened(sqlite_url, tmp_path) as engine:
        yield engine


async def test_a_run_is_one_trace_in_the_words_of_the_conventions(engine: Engine) -> None:
    exporter = follow(engine)
    spec = agent(script(calls("look", city="Oslo"), "Rain."), tool("look", description="Looks."), temperature=0.5)
    async with working(engine, look="wet"):
        execution = await start(engine, spec, session_id="s1")
        await ended(engine, execution)
    spans = await told(engine, exporter)
    model = spec.model.partition("/")[2]
    assert parents(spans) == {
        "invoke_agent helper": "",
        f"chat {model}": "invoke_agent helper",
        "execute_tool look": "invoke_agent helper",
    }
    assert {f"{span.context.trace_id:032x}" for span in spans.values() if span.context} == {execution.replace("-", "")}
    chat, run = spans[f"chat {model}"], spans["invoke_agent helper"]
    assert (chat.kind, run.kind) == (SpanKind.CLIENT, SpanKind.INTERNAL)
    expected = {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "scripted", "gen_ai.request.model": model,
        "gen_ai.request.temperature": 0.5, "gen_ai.response.finish_reasons": ["stop"], "gen_ai.conversation.id": "s1",
        "gen_ai.agent.name": "helper", "agentspan.execution.id": execution, "agentspan.task.attempt": 0,
    }  # fmt: skip
    assert expected.items() <= dict(chat.attributes or {}).items()
    usage = {"gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens", "agentspan.cost_usd"}
    assert usage <= (chat.attributes or {}).keys() & (run.attributes or {}).keys()
    expected = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "look", "gen_ai.tool.type": "function"}
    looked = dict(spans["execute_tool look"].attributes or {})
    assert {**expected, "gen_ai.tool.description": "Looks."}.items() <= looked.items()
    assert looked["gen_ai.tool.call.id"]
    assert (run.attributes or {})["agentspan.execution.status"] == "COMPLETED"
    assert all((span.start_time or 0) <= (span.end_time or 0) for span in spans.values())


async def test_what_is_said_in_a_run_stays_out_of_its_trace_unless_asked_for(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = agent(script(calls("look", city="Oslo"), "Plums."), "look")
    async with working(engine, look="wet"):
        silent = follow(engine)
        await ended(engine, await start(engine, spec, prompt="Pears?"))
        words = str([dict(span.attributes or {}) for span in await all_told(engine, silent)])
        assert not any(word in words for word in ("Pears", "Oslo", "wet", "Plums"))
        monkeypatch.setenv(CONTENT, "true")
        frank = follow(engine)
        await ended(engine, await start(engine, spec, prompt="Pears?"))
        spans = await told(engine, frank)
    run, looked = (dict(spans[name].attributes or {}) for name in ("invoke_agent helper", "execute_tool look"))
    assert "Pears?" in str(run["gen_ai.input.messages"])
    assert "Plums." in str(run["gen_ai.output.messages"])
    assert (looked["gen_ai.tool.call.arguments"], looked["gen_ai.tool.call.result"]) == (
        '{"city":"Oslo"}', '{"result":"wet"}',
    )  # fmt: skip


async def test_agents_below_stand_under_the_one_that_began_them(engine: Engine) -> None:
    exporter = follow(engine)
    first, second = agent(script("one"), name="first"), agent(script("two"), name="second")
    await ended(engine, await start(engine, team("both", "sequential", first, second)))
    above = parents(await told(engine, exporter))
    assert above["invoke_agent both"] == ""
    assert above["invoke_agent first"] == above["invoke_agent second"] == "invoke_agent both"
    model = first.model.partition("/")[2]
    assert above[f"chat {model}"] == "invoke_agent first"


async def test_failures_have_their_kind_and_each_attempt_a_span(engine: Engine) -> None:
    exporter = follow(engine)
    spec = agent(script(calls("look"), "Sorry."), tool("look", retry_count=1))
    execution = await start(engine, spec)
    for _ in range(2):
        await fail(engine, await take(engine, "look"), "no light")
    await ended(engine, execution)
    looked = [span for span in await all_told(engine, exporter) if span.name == "execute_tool look"]
    assert [dict(span.attributes or {})["agentspan.task.attempt"] for span in looked] == [0, 1]
    assert {span.status.status_code for span in looked} == {StatusCode.ERROR}
    assert {span.status.description for span in looked} == {"no light"}
    assert {dict(span.attributes or {})["error.type"] for span in looked} == {"failed"}
    broken = {"content": "", "errors": [{"status": 401, "message": "the key is wrong"}]}
    await ended(engine, await start(engine, agent(script(broken), name="broken")))
    spans = await told(engine, exporter)
    assert spans["invoke_agent broken"].status.status_code is StatusCode.ERROR
    assert dict(spans["invoke_agent broken"].attributes or {})["error.type"] == "error"


async def test_a_person_is_waited_for_from_the_request_to_the_answer(
    sqlite_url: str, tmp_path: Path, hands: Hands
) -> None:
    async with opened(sqlite_url, tmp_path) as engine:
        exporter = follow(engine)
        spec = agent(script(calls("pay"), "Paid."), tool("pay", approval_required=True))
        execution = await start(engine, spec)
        [request] = await requests(engine, execution, 1)
        await hands.forward(engine, 3 * 86_400)
        await engine.respond(execution, {"approved": True}, request_id=request.request_id)
        async with working(engine, pay="ok"):
            await ended(engine, execution)
        waited = (await told(engine, exporter))["wait_for_person pay"]
        assert (waited.end_time or 0) - (waited.start_time or 0) == 3 * 86_400 * 10**9


async def test_a_run_joins_the_trace_in_which_it_was_started(engine: Engine) -> None:
    exporter = follow(engine)
    spec, line = agent(script("Yes.", "Yes.")), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await ended(engine, (await engine.start(spec, {"prompt": "Hi"}, traceparent=line)).execution_id)
    run = (await told(engine, exporter))["invoke_agent helper"]
    assert run.context
    assert run.parent
    assert (f"{run.context.trace_id:032x}", f"{run.parent.span_id:016x}", run.parent.is_remote) == (
        *line.split("-")[1:3],
        True,
    )
    exporter.clear()
    unsampled = f"{line[:-2]}00"
    await ended(engine, (await engine.start(spec, {"prompt": "Hi"}, traceparent=unsampled)).execution_id)
    assert await all_told(engine, exporter) == ()


@pytest.mark.parametrize(
    "text", ["", "00-0-0-01", "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", f"00-{'0' * 32}-{'0' * 16}-01"]
)
def test_what_is_no_traceparent_is_passed_over(text: str) -> None:
    assert caller(text) is None


async def test_a_retry_adds_to_the_trace_and_repeats_nothing(engine: Engine) -> None:
    exporter = follow(engine)
    spec = agent(script(calls("look"), "Fine."), "look")
    execution = await start(engine, spec)
    await take(engine, "look")
    await engine.cancel(execution)
    await ended(engine, execution)
    before = await all_told(engine, exporter)
    await engine.retry(execution)
    async with working(engine, look="light"):
        await ended(engine, execution)
    spans = await all_told(engine, exporter)
    ids = [span.context.span_id for span in spans if span.context]
    assert len(ids) == len(set(ids)) > len(before)
    runs = [span for span in spans if span.name == "invoke_agent helper"]
    assert [dict(span.attributes or {})["agentspan.execution.status"] for span in runs] == ["TERMINATED", "COMPLETED"]
    assert runs[1].parent
    assert runs[0].context
    assert runs[1].parent.span_id == runs[0].context.span_id == span_of(execution, 0)


async def test_a_fork_has_a_trace_of_its_own_that_points_back(engine: Engine) -> None:
    spec = agent(script(calls("look"), "One.", "Two."), "look")
    async with working(engine, look="light"):
        source = await start(engine, spec)
        await ended(engine, source)
        exporter = follow(engine)
        at = next(event.seq for event in await log(engine, source) if getattr(event.fact, "purpose", "") == "act")
        fork = await engine.fork(source, at + 1)
        await ended(engine, fork)
    spans = await told(engine, exporter)
    run = spans["invoke_agent helper"]
    assert "execute_tool look" not in spans
    assert run.context
    assert f"{run.context.trace_id:032x}" == fork.replace("-", "")
    assert [f"{link.context.trace_id:032x}" for link in run.links] == [source.replace("-", "")]


async def test_a_run_that_outlives_its_server_is_told_whole_under_the_same_ids(sqlite_url: str, tmp_path: Path) -> None:
    spec = agent(script(calls("look"), "Fine."), "look")
    async with opened(sqlite_url, tmp_path) as engine:
        first = follow(engine)
        execution = await start(engine, spec)
        [before] = await until(lambda: all_told(engine, first))
    async with opened(sqlite_url, tmp_path) as engine:
        second = follow(engine, since=engine.started_at)
        async with working(engine, look="light"):
            await ended(engine, execution)
        spans = [span for span in await all_told(engine, second) if span.context]
        after = {span.context.span_id: span for span in spans if span.context}
    assert len(after) == len(spans) == 4
    model = spec.model.partition("/")[2]
    assert sorted(span.name for span in spans) == [
        f"chat {model}",
        f"chat {model}",
        "execute_tool look",
        "invoke_agent helper",
    ]
    assert before.context
    again = after[before.context.span_id]
    same = ("name", "attributes", "start_time", "end_time", "parent")
    assert [getattr(again, each) for each in same] == [getattr(before, each) for each in same]


async def test_what_ends_while_a_run_is_told_of_is_told_once(engine: Engine) -> None:
    exporter = follow(engine)
    assert engine.tracing
    telling = asyncio.create_task(engine.tracing.run())
    spec = agent(script(calls("look"), calls("look"), calls("look"), "Fine."), "look")
    async with working(engine, look="light"):
        runs = await asyncio.gather(*(start(engine, spec) for _ in range(10)))
        while not all([(await engine.reads.row(run)).ended_at for run in runs]):
            await engine.tracing.tell()
    await cancelled(telling)
    spans = await all_told(engine, exporter)
    assert len(spans) == len({span.context.span_id for span in spans if span.context}) == 10 * (4 + 3 + 1)


async def cancelled(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_several_servers_tell_one_trace_and_no_span_twice(postgres_url: str, tmp_path: Path) -> None:
    spec = agent(script(calls("look"), calls("look"), "Fine."), "look")
    async with opened(postgres_url, tmp_path) as first, opened(postgres_url, tmp_path) as second:
        exporters = [follow(engine) for engine in (first, second)]
        execution = await start(first, spec)
        for engine in (second, first):
            await complete(engine, await take(engine, "look"))
        await ended(second, execution)
        told = [await all_told(engine, exporter) for engine, exporter in zip((first, second), exporters, strict=True)]
    assert all(told)
    ids = [span.context.span_id for spans in told for span in spans if span.context]
    names = Counter(span.name.partition(" ")[0] for spans in told for span in spans)
    assert len(ids) == len(set(ids))
    assert names == {"chat": 3, "execute_tool": 2, "invoke_agent": 1}


async def test_a_run_in_which_a_server_died_is_told_again_from_its_beginning(engine: Engine) -> None:
    exporter = follow(engine)
    execution = await start(engine, agent(script(calls("look"), {"content": "Late.", "delay_ms": 60_000}), "look"))
    await complete(engine, await take(engine, "look"))
    assert len(await all_told(engine, exporter)) == 2
    [call] = await until(lambda: engine._busy)
    exporter.clear()
    lost = commands.TakeOver(trees=(execution,), owner=engine.replica, tasks=[split_task(call)])
    await engine.writer.do(lost)
    spans = await all_told(engine, exporter)
    assert [span.name.partition(" ")[0] for span in spans].count("execute_tool") == 1
    assert sorted(str(span.status.status_code.name) for span in spans) == ["ERROR", "UNSET", "UNSET"]


# The way out


class Collector:
    """A receiver of OTLP over HTTP, as collectors are."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.services: set[str] = set()
        collector = self

        class Receiver(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.take(self.path, ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def take(self, path: str, request: ExportTraceServiceRequest) -> None:
        assert path == "/v1/traces"
        for resource in request.resource_spans:
            self.services |= {
                each.value.string_value for each in resource.resource.attributes if each.key == "service.name"
            }
            self.spans += [span for scope in resource.scope_spans for span in scope.spans]


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    thread = threading.Thread(target=collector.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield collector
    collector.server.shutdown()
    collector.server.server_close()
    thread.join()


async def test_spans_reach_a_collector_by_the_variables_of_opentelemetry(
    database_url: str, tmp_path: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    async with opened(database_url, tmp_path, tracing=True) as engine:
        execution = await start(engine, agent(script("Yes.")))
        await ended(engine, execution)
    assert sorted(span.name.partition(" ")[0] for span in collector.spans) == ["chat", "invoke_agent"]
    assert {span.trace_id.hex() for span in collector.spans} == {execution.replace("-", "")}
    assert collector.services == {"agentspan"}


async def test_tracing_without_its_package_stops_the_start_with_a_sentence(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    with pytest.raises(ConfigurationProblem, match=r"pip install .agentspan\[otel\]."):
        async with opened(sqlite_url, tmp_path, tracing=True):
            pass


async def test_nothing_is_told_where_tracing_is_off(engine: Engine) -> None:
    assert engine.tracing is None
