"""Everything that reads a text of somebody else's reads any text: it understands it, or says that it does not."""

import asyncio
import datetime
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agentspan.client import sse
from agentspan.config import Settings
from agentspan.engine import bundle, cron, signing
from agentspan.engine.providers.model import tool_call
from agentspan.errors import AgentspanError, BadInput, ConfigurationProblem
from agentspan.server import conductor, search
from agentspan.server.limits import check_nesting, head_problem
from agentspan.spec import check, mask, media, plan, rules, script, shape, template, wire
from agentspan.spec.agent import AgentSpec
from agentspan.spec.misfit import misfit
from agentspan.store import listing, reads
from tests.sizes import size, sized

pytestmark = sized
many = settings(max_examples=int(os.environ.get("FUZZ") or size(60, 5_000)), deadline=None)

texts = st.text(max_size=200) | st.text("{}[]()\"'\\,:;*?/-+.#$% \n\x000123456789aAzZé²٣", max_size=60)
plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
values = st.recursive(
    plain, lambda below: st.lists(below, max_size=4) | st.dictionaries(texts, below, max_size=4), max_leaves=12
)
objects = st.dictionaries(texts, values, max_size=5)


def refusal(read: Callable[[], Any]) -> str:
    """What is said of a text that cannot be read; "" of one that can."""
    try:
        read()
    except AgentspanError as problem:
        if problem.status >= 500 and not isinstance(problem, ConfigurationProblem):
            raise
        return problem.message
    return ""


def fields(of: type) -> list[str]:
    return [each.encode_name for each in msgspec.structs.fields(of)]


def shaped(names: Iterable[str], more: st.SearchStrategy[Any] = values) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with some of these keys, and others."""
    return st.dictionaries(st.sampled_from(sorted(names)) | texts, more, max_size=8)


TOOL = shaped(
    {"name", "description", "toolType", "inputSchema", "config", "approvalRequired", "approval", "credentials"}
)
SCHEMA = st.recursive(
    shaped({"type", "pattern", "enum", "minimum", "required", "$ref", "const", "format", "multipleOf"}),
    lambda below: shaped({"properties", "items", "allOf", "not", "additionalProperties", "patternProperties"}, below),
    max_leaves=6,
)
RAIL = shaped({"name", "guardrailType", "onFail", "position", "patterns", "mode", "model", "maxRetries"})
CONFIG = st.recursive(
    st.fixed_dictionaries(
        {"name": st.just("a")},
        optional={
            **dict.fromkeys(sorted(set(fields(AgentSpec)) - {"name"}), values),
            "model": st.just("scripted/x"),
            "tools": st.lists(TOOL, max_size=2),
            "guardrails": st.lists(RAIL, max_size=2),
            "outputType": st.fixed_dictionaries({"schema": SCHEMA}),
            "strategy": st.sampled_from(["handoff", "sequential", "router", "swarm", "none"]),
        },
    ),
    lambda below: st.fixed_dictionaries({"name": texts, "agents": st.lists(below, max_size=2)}),
    max_leaves=3,
)


@many
@given(CONFIG | objects)
def test_an_agent_of_any_shape_is_taken_or_refused(config: dict[str, Any]) -> None:
    def read() -> None:
        spec = wire.decode(config)
        check.check(spec)
        check.check_schemas(spec)
        assert wire.load(wire.dump(spec)) == spec
        assert wire.encode(spec)["name"] == spec.name

    refusal(read)


@many
@given(shaped(fields(conductor.TaskResult)), st.sampled_from([conductor.TaskResult, conductor.StartWorkflow]))
@example({"taskId": "t", "status": "COMPLETED", "callbackAfterSeconds": 1e300}, conductor.TaskResult)
@example({"taskId": "t", "status": "COMPLETED", "callbackAfterSeconds": -1e300}, conductor.TaskResult)
def test_a_report_in_conductors_words_is_taken_or_refused(body: dict[str, Any], shape_of: Any) -> None:
    try:
        found = msgspec.json.decode(msgspec.json.encode(body), type=shape_of, strict=False)
        report = conductor.report(found) if isinstance(found, conductor.TaskResult) else None
    except (BadInput, msgspec.ValidationError):
        return
    assert report is None or 0 <= report.retry_after_ms < 2**53


CRON = st.lists(st.text("0123456789*/-,?LW#JANFMONhr@ ", max_size=8), min_size=4, max_size=7).map(" ".join)


@many
@given(CRON | texts, st.sampled_from(["UTC", "Europe/Berlin"]) | texts)
@example("0 0 30 2 *", "UTC")
@example("* * * * *", "../../etc/passwd")
@example("0-99999999999 * * * *", "UTC")
@example("*/0 * * * *", "UTC")
@example("0 0 31 2,4,6,9,11 *", "UTC")
def test_a_cron_expression_is_read_or_refused_soon(expression: str, zone: str) -> None:
    def read() -> None:
        cron.check(expression, zone)
        moment = next(cron.moments(expression, zone, 1_700_000_000_000))
        assert moment > 1_700_000_000_000
        assert datetime.datetime.fromtimestamp(moment / 1000, datetime.UTC)

    began = time.process_time()
    refusal(read)
    assert time.process_time() - began < 5


URLS = st.builds(
    "{}://{}:{}@{}:{}/{}?{}".format,
    st.sampled_from(["postgresql", "sqlite", "jdbc:postgresql", "mysql", "http", ""]) | texts,
    texts,
    st.just("hunter2"),
    texts,
    texts,
    texts,
    texts,
)


@many
@given(URLS | texts)
@example("postgresql://user:hunter2@[::1/db")
@example("postgresql://@:hunter2@:/0")
@example("postgresql://user:hunter2@host:99999999/db")
@example("jdbc:postgresql://h/db?user=u&password=hunter2&%zz")
def test_an_address_of_a_database_is_read_or_refused_without_its_password(url: str) -> None:
    def read() -> None:
        settings = Settings.load({"AGENTSPAN_DATABASE_URL": url, "AGENTSPAN_DATA_DIR": "/nowhere"})
        assert "hunter2" not in repr(settings)

    assert "hunter2" not in refusal(read)


@many
@given(st.sampled_from([*Settings.__struct_fields__]), texts)
def test_a_setting_is_read_or_refused(field: str, text: str) -> None:
    for name in (f"AGENTSPAN_{field.upper()}", "AGENTSPAN_RATE_LIMIT", "AGENTSPAN_LIMITS"):
        refusal(lambda name=name: Settings.load({"AGENTSPAN_DATA_DIR": "/nowhere", name: text}).describe())


LINES = st.lists(
    st.builds("{}:{}".format, st.sampled_from(["id", "event", "data", "retry", ""]), texts) | st.just("") | texts,
    max_size=12,
)


@many
@given(LINES)
@example(["id: ²", "data: {}", ""])
@example(["id: " + "9" * 5_000, "data: {}", ""])
@example(["data: " + "[" * 100_000, ""])
def test_a_stream_of_any_lines_is_read(lines: list[str]) -> None:
    async def read() -> list[dict[str, Any]]:
        async def each() -> AsyncIterator[str]:
            for line in lines:
                yield line

        return [event async for event in sse.frames(each())]

    for event in asyncio.run(read()):
        assert isinstance(event["type"], str)
        assert isinstance(event.get("id", 0), int)


@many
@given(texts, objects)
def test_a_template_is_filled_or_names_what_it_lacks(text: str, given_values: dict[str, Any]) -> None:
    names = template.variables(text)
    problem = refusal(lambda: template.render("t", text, given_values))
    assert not problem or any(name in problem for name in names)


CONDITION = shaped({"type", "text", "stopMessage", "maxMessages", "maxTotalTokens", "conditions", "caseSensitive"})
OP = st.fixed_dictionaries(
    {"argument": texts, "op": st.sampled_from([*rules.COMPARISONS, "?"])}, optional={"value": values}
)


@many
@given(st.lists(OP, max_size=3), objects, texts, st.lists(texts, min_size=1, max_size=3, unique=True))
@example([{"argument": "a", "op": "matches", "value": "(a|a)*$"}], {"a": "a" * 50 + "!"}, "{" * 100_000, ["a"])
def test_rules_that_are_data_decide_about_anything(
    when: list[Any], arguments: dict[str, Any], text: str, names: list[str]
) -> None:
    assert rules.asks(when, arguments) in (True, False)
    assert rules.chosen(text, names) in (None, *names)
    assert rules.broken({"name": "g", "patterns": [text], "mode": "allow"}, text) is None or True
    assert rules.mentioned([{"type": "on_text_mention", "text": text, "target": "b"}], text) in (None, "b")


@many
@given(SCHEMA, values)
def test_any_schema_is_checked_against_any_value(schema: dict[str, Any], value: Any) -> None:
    config = {"name": "a", "model": "scripted/x", "tools": [{"name": "t", "inputSchema": schema}]}
    try:
        check.check_schemas(wire.decode(config))
    except BadInput:
        return
    assert misfit(schema, value) is None or misfit(schema, value)


@many
@given(texts | st.binary(max_size=100).map(lambda data: data.decode("latin-1")), st.booleans())
@example("[" * 100_000, False)
@example('{"a":' * 100_000, True)
@example("```json\n" + "[" * 100_000 + "\n```", False)
@example("1" * 10_000, True)
def test_what_a_model_says_is_read_or_not(text: str, fenced: bool) -> None:
    said = f"```json\n{text}\n```" if fenced else text
    assert isinstance(shape.problem({"schema": {"type": "object"}}, said), str | None)
    call = tool_call("1", "add", said)
    assert isinstance(call.arguments, dict | None)
    signing.payload_of(said.encode(errors="replace"))


HEAD = {
    "line": "run", "format": bundle.FORMAT, "version": 1, "agentspan": "1", "executionId": "x", "agentName": "a",
    "agentVersion": 1, "status": "COMPLETED", "events": 1, "sessionId": "", "correlationId": "", "runId": "",
    "priority": 0, "forkedFrom": "", "forkedAt": 0,
}  # fmt: skip


def signed(lines: list[Any]) -> bytes:
    """A file whose digest fits, whatever stands in it."""
    import hashlib

    body = b"".join(json.dumps(each).encode() + b"\n" for each in lines)
    return body + json.dumps({"line": "end", "lines": len(lines), "sha256": hashlib.sha256(body).hexdigest()}).encode()


FACT = shaped({"fact", "type", "input", "task", "kind", "purpose", "slot", "output"})
LINE = st.fixed_dictionaries(
    {"line": st.sampled_from(["run", "agent", "event", "log", "end", "x"])},
    optional={"spec": CONFIG, "event": shaped({"seq", "execution", "at", "fact"}, FACT | values), "text": texts},
)


@many
@given(st.lists(LINE, max_size=4).map(lambda lines: signed([HEAD, *lines])) | st.binary(max_size=200))
@example(b"")
@example(b"\n" * 100_000)
@example(b"[" * 1_000_000)
@example(signed([{**HEAD, "version": 10**30}]))
@example(signed([HEAD, {"line": "agent", "spec": {"name": "a", "agents": [{"name": "a"}] * 50}}]))
@example(signed([HEAD]) + b"\n" + b"x" * 1000)
def test_a_file_of_a_run_is_taken_or_refused(data: bytes) -> None:
    began = time.process_time()
    with pytest.raises(BadInput) as problem:
        bundle.read(data)
    assert len(problem.value.message) < 10_000
    assert time.process_time() - began < 5


@many
@given(texts)
@example("s1:" + "9" * 5_000 + ":a")
@example("s1:²:a")
@example(f"s1:{2**70}:a")
def test_a_cursor_that_somebody_made_is_read_or_refused(cursor: str) -> None:
    order = listing.Order(by="started_at", newest_first=True)
    for read in (partial(listing._place, order=order), reads._after):
        try:
            found = read(cursor)
        except BadInput:
            continue
        numbers = [found[0]] if isinstance(found, tuple) else [found["at"], found["number"]] if found else []
        assert all(0 <= each < 2**63 for each in numbers)


QUERY = st.lists(
    st.builds(
        "{} {} {}".format,
        st.sampled_from([*search.FIELDS, "x"]),
        st.sampled_from(["=", "IN", ">", "<", ">=", "!="]),
        texts,
    ),
    max_size=4,
).map(" AND ".join)


@many
@given(QUERY | texts)
@example("startTime > " + "9" * 5_000)
@example(f"startTime > {2**70}")
def test_a_query_is_read_or_refused(query: str) -> None:
    try:
        found = search.arguments(query)
    except BadInput:
        return
    assert all(abs(found.get(name, 0)) < 2**63 for name in ("started_after", "started_before"))


@many
@given(values)
def test_scripts_plans_and_media_are_read_or_refused(value: Any) -> None:
    for read in (
        lambda: script.scripts(msgspec.json.encode(value), "s"),
        lambda: plan.problems(value, {"add"}),
        lambda: plan.references(value),
        lambda: plan.filled(value, lambda name: value),
        lambda: media.check(value),
        lambda: check_nesting(msgspec.json.encode(value)),
    ):
        refusal(read)


@many
@given(values, st.lists(texts, min_size=1, max_size=2))
def test_masking_bears_any_value(value: Any, names: list[str]) -> None:
    mask.masked(value, frozenset(names))


@many
@given(texts, st.lists(st.tuples(texts, texts), max_size=5))
def test_a_head_is_looked_at_whatever_it_holds(target: str, headers: list[tuple[str, str]]) -> None:
    problem = head_problem(target, headers)
    assert problem is None or problem.status in (414, 415, 431)
