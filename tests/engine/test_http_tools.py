"""Tools that are HTTP requests: what is sent, what comes back, what is tried again, and what nobody ever sees."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.web import RequestHandler

from agentspan.core import events as e
from agentspan.engine.engine import Engine
from agentspan.engine.outgoing import Answer, Outgoing
from agentspan.engine.why import asked
from agentspan.engine.workers.http import MOST_BYTES, output_of, request_of
from agentspan.errors import BadInput, InvalidSpec
from agentspan.spec import wire
from agentspan.spec.check import check
from agentspan.spec.tool import ToolSpec
from tests.engine.house import agent, calls, ended, facts, log, opened, requests, result, script, start, until
from tests.engine.site import Site, serve

CANARY = "sk-canary-0123456789"
ANY = {"type": "object", "properties": {name: {} for name in ("id", "city", "n", "tags", "body", "day")}}


@pytest.fixture
async def engine(sqlite_url: str, tmp_path: Path) -> AsyncIterator[Engine]:
    async with opened(sqlite_url, tmp_path) as engine:
        yield engine


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serve() as site:
        yield site


def http_tool(url: str, name: str = "fetch", **options: Any) -> ToolSpec:
    """`options` of the tool, and those of its config under their own names."""
    config = {key: options.pop(key) for key in CONFIG if key in options}
    more = {"retry_delay_seconds": 0.01, "input_schema": ANY, **options}
    return ToolSpec(name=name, tool_type="http", config={"url": url, **config}, **more)


CONFIG = ("method", "headers", "accept", "contentType", "credentials", "places")


async def read(engine: Engine, tool: ToolSpec, **arguments: Any) -> str:
    """What the model reads of one call."""
    spec = agent(script(calls("fetch", **arguments), "{result}"), tool)
    return str(await result(engine, await start(engine, spec)))


def says(body: Any = "", status: int = 200, **headers: str) -> Any:
    def answer(handler: RequestHandler) -> None:
        handler.set_status(status)
        for name, value in headers.items():
            handler.set_header(name.replace("_", "-"), value)
        handler.finish(body)

    return answer


# What is sent


def sent(tool: ToolSpec, arguments: Any, **values: str) -> httpx.Request:
    return request_of(tool, arguments, values, "the-key")


def test_arguments_fill_the_url_and_the_rest_is_the_query() -> None:
    tool = http_tool("https://a.example/{city}/days/{day}?units=m", method="get")
    asked = sent(tool, {"city": "New York/..", "day": 3, "tags": ["a", "b&c"], "n": None, "id": True})
    assert asked.method == "GET"
    assert str(asked.url) == "https://a.example/New%20York%2F../days/3?units=m&tags=a&tags=b%26c&id=true"
    assert asked.content == b""


@pytest.mark.parametrize("value", ["..", ".", "", None])
def test_an_argument_is_no_step_out_of_its_place_in_the_url(value: Any) -> None:
    with pytest.raises(BadInput, match="city"):
        sent(http_tool("https://a.example/{city}/x"), {"city": value})


@given(st.text())
def test_an_argument_never_changes_where_a_request_goes(text: str) -> None:
    tool = http_tool("https://a.example/v1/{city}?key={n}")
    try:
        url = sent(tool, {"city": text, "n": text}).url
    except BadInput:
        return
    assert (url.scheme, url.host, url.port, url.userinfo, url.fragment) == ("https", "a.example", None, b"", "")
    assert url.raw_path.split(b"?")[0].count(b"/") == 2
    assert list(url.params) == ["key"]


@pytest.mark.parametrize(
    ("kind", "arguments", "body"),
    [
        ("application/json", {"n": 1, "tags": ["ä"]}, '{"n":1,"tags":["ä"]}'),
        ("application/json", {}, "{}"),
        ("application/x-www-form-urlencoded", {"n": 1, "tags": ["a", "b c"]}, "n=1&tags=a&tags=b+c"),
        ("text/plain", {"body": "hello"}, "hello"),
        ("text/plain", {"n": 1}, '{"n":1}'),
    ],
)
def test_the_body_is_made_of_the_arguments(kind: str, arguments: Any, body: str) -> None:
    asked = sent(http_tool("https://a.example/", method="POST", contentType=kind), arguments)
    assert (asked.content.decode(), asked.headers["Content-Type"]) == (body, kind)


def test_an_argument_goes_where_its_place_is() -> None:
    places = {"n": "query", "id": "header", "body": "whole"}
    asked = sent(http_tool("https://a.example/", method="PUT", places=places), {"n": 1, "id": "x", "body": [1, 2]})
    assert (str(asked.url), asked.headers["id"], asked.content) == ("https://a.example/?n=1", "x", b"[1,2]")


def test_a_header_holds_the_values_of_credentials_under_either_sign() -> None:
    headers = {"Authorization": "Bearer ${KEY}", "X-Other": "#{OTHER}-${KEY}"}
    tool = http_tool("https://a.example/", headers=headers, accept=["text/csv", "text/plain"])
    found = sent(tool, {}, KEY="one", OTHER="two")
    assert found.headers["Authorization"] == "Bearer one"
    assert found.headers["X-Other"] == "two-one"
    assert found.headers["Accept"] == "text/csv, text/plain"


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "ä", "\x00"])
def test_what_is_no_header_is_not_sent_and_not_said(value: str) -> None:
    with pytest.raises(BadInput, match="one line of ASCII") as caught:
        sent(http_tool("https://a.example/", headers={"X": "${KEY}"}), {}, KEY=value)
    assert value not in str(caught.value)
    with pytest.raises(BadInput, match="one line of ASCII"):
        sent(http_tool("https://a.example/", places={"id": "header"}), {"id": value})


def test_a_call_that_changes_something_bears_its_key() -> None:
    assert sent(http_tool("https://a.example/", method="POST"), {}).headers["Idempotency-Key"] == "the-key"
    assert "Idempotency-Key" not in sent(http_tool("https://a.example/"), {}).headers
    own = http_tool("https://a.example/", method="POST", headers={"idempotency-key": "mine"})
    assert sent(own, {}).headers["Idempotency-Key"] == "mine"


@pytest.mark.parametrize(
    ("tool", "why"),
    [
        (http_tool(""), "begin with http"),
        (http_tool("ftp://a.example/"), "begin with http"),
        (http_tool("https://{city}/"), "host without placeholders"),
        (http_tool("https://a.{city}.example/"), "host without placeholders"),
        (http_tool("https://a.example/?key=${KEY}"), "put it into a header"),
        (http_tool("https://a.example/{zip}"), "places for zip"),
        (http_tool("https://a.example/", method="BREW"), "method"),
        (http_tool("https://a.example/", headers={"X": "a\nb"}), "no header"),
        (http_tool("https://a.example/", headers={"X Y": "a"}), "no header"),
        (http_tool("https://a.example/", headers={"X": 1}), "no header"),
        (http_tool("https://a.example/", headers=["X"]), "object of texts"),
        (http_tool("https://a.example/", headers={"Host": "b.example"}), "belongs to the connection"),
        (http_tool("https://a.example/", contentType="multipart/form-data"), "multipart"),
    ],
)
def test_a_tool_that_can_never_be_performed_is_refused_before_the_run(tool: ToolSpec, why: str) -> None:
    with pytest.raises(InvalidSpec, match=why):
        check(agent("scripted/x", tool))


# What comes back


@pytest.mark.parametrize(
    ("kind", "body", "output"),
    [
        ("application/json", b'{"a": [1]}', {"result": {"a": [1]}}),
        ("application/problem+json; charset=utf-8", b"[1]", {"result": [1]}),
        ("", b"7", {"result": 7}),
        ("", b"plain", {"result": "plain"}),
        ("application/json", b"{broken", {"result": "{broken"}),
        ("application/json", b"[" * 200 + b"]" * 200, {"result": "[" * 200 + "]" * 200}),
        ("application/json", b"[" * 100_000, {"result": "[" * 100_000}),
        ("application/json", b'{"_state_updates": {"a": 1}}', {"result": {"_state_updates": {"a": 1}}}),
        ("text/html; charset=latin-1", b"\xe4\x00", {"result": "ä"}),
        ("text/plain; charset=none-such", b"\xff", {"result": "�"}),
        ("image/png", b"\x89PNG", {"result": {"contentType": "image/png", "bytes": 4}}),
        ("text/plain", b"", {"status": 200}),
    ],
)
def test_an_answer_is_read_as_what_it_is(kind: str, body: bytes, output: Any) -> None:
    assert output_of(Answer(200, "OK", httpx.Headers({"Content-Type": kind} if kind else {}), body)) == output


@given(st.binary(max_size=200), st.sampled_from(("application/json", "text/plain; charset=utf-16", "x", "")))
def test_any_answer_can_be_stored(body: bytes, kind: str) -> None:
    output = output_of(Answer(200, "OK", httpx.Headers({"Content-Type": kind}), body))
    assert json.loads(json.dumps(output)) == output or "nan" in repr(output).lower()


# In a run


async def test_a_run_calls_a_site_and_goes_on_with_its_answer(database_url: str, tmp_path: Path, site: Site) -> None:
    site.answers["/weather/Oslo"] = says({"sky": "grey"})
    async with opened(database_url, tmp_path) as engine:
        assert json.loads(await read(engine, http_tool(site.url("/weather/{city}")), city="Oslo")) == {"sky": "grey"}
    [asked] = site.asked
    assert asked.headers["User-Agent"].startswith("agentspan/")


async def test_a_refusal_is_an_error_that_the_model_reads(engine: Engine, site: Site) -> None:
    site.answers["/"] = says({"detail": "x" * 5_000}, 404)
    said = await read(engine, http_tool(site.url()))
    assert said.startswith('Error: 127.0.0.1 answered 404 Not Found: {"detail": "xxx')
    assert len(said) < 2_100
    assert len(site.asked) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_passing_fault_is_tried_again_with_the_same_key(engine: Engine, site: Site, status: int) -> None:
    def answer(handler: RequestHandler) -> None:
        if len(site.asked) < 3:
            says("later", status)(handler)

    site.answers["/"] = answer
    execution = await start(engine, agent(script(calls("fetch"), "done"), http_tool(site.url(), method="POST")))
    assert await result(engine, execution) == "done"
    assert {each.headers["Idempotency-Key"] for each in site.asked} == {f"{execution}:1:0"}
    assert len(site.asked) == 3


async def test_the_site_says_how_long_to_wait(engine: Engine, site: Site) -> None:
    site.answers["/"] = says("later", 429, Retry_After="120")
    execution = await start(engine, agent(script(calls("fetch"), "done"), http_tool(site.url())))
    [failed] = await until(lambda: _of(engine, execution, e.TaskFailed))
    assert (failed.retry_after_ms, failed.terminal) == (120_000, False)
    [_, again] = [fact for fact in facts(await log(engine, execution), e.TaskScheduled) if fact.kind == "http"]
    assert again.delay_ms == 120_000
    await engine.cancel(execution)


async def _of(engine: Engine, execution: str, kind: type) -> list[Any]:
    return facts(await log(engine, execution), kind)


async def test_where_nobody_listens_is_told_after_the_last_attempt(engine: Engine) -> None:
    async with serve() as gone:
        url = gone.url()
    said = await read(engine, http_tool(url, retry_count=1))
    assert said.startswith("Error: 127.0.0.1 cannot be reached")


async def test_a_site_that_does_not_answer_in_time_is_given_up(engine: Engine, site: Site) -> None:
    site.answers["/"] = lambda handler: asyncio.sleep(30)
    said = await read(engine, http_tool(site.url(), timeout_seconds=0.2, retry_count=0))
    # Who notices first is a matter of chance: who calls, or who watches over all attempts.
    assert said.endswith(("did not answer within 0.2 s", "the attempt took longer than its time limit"))


async def test_an_answer_that_is_too_large_is_an_error(engine: Engine, site: Site) -> None:
    site.answers["/"] = says(b"a" * (MOST_BYTES + 1))
    assert "larger than 1048576 bytes" in await read(engine, http_tool(site.url()))
    assert len(site.asked) == 1


@pytest.mark.parametrize("url", ["http://169.254.169.254/latest/meta-data", "http://10.0.0.1/", "http://0x7f.1/"])
async def test_a_tool_does_not_go_where_the_server_may_not(engine: Engine, url: str) -> None:
    said = await read(engine, http_tool(url))
    assert "the server does not connect to" in said or "usual form" in said


async def test_a_server_that_others_reach_does_not_go_to_itself(sqlite_url: str, tmp_path: Path, site: Site) -> None:
    async with opened(sqlite_url, tmp_path, host="0.0.0.0", master_key=b"k" * 32) as engine:
        assert "an address of the server itself" in await read(engine, http_tool(site.url()))
    assert site.asked == []


async def test_many_calls_are_made_at_once(engine: Engine, site: Site) -> None:
    """Thirty calls that each wait for all thirty."""
    everybody = asyncio.Event()

    async def wait() -> None:
        if len(site.asked) == 30:
            everybody.set()
        await everybody.wait()

    site.answers["/"] = lambda handler: wait()
    spec = agent(script(calls(*["fetch"] * 30), "done"), http_tool(site.url(), timeout_seconds=15))
    assert await result(engine, await start(engine, spec)) == "done"
    assert len(site.asked) == 30


async def test_a_person_is_asked_before_the_call_goes_out(engine: Engine, site: Site) -> None:
    spec = agent(script(calls("fetch", n=1), "done"), http_tool(site.url(), method="POST", approval_required=True))
    execution = await start(engine, spec)
    [request] = await requests(engine, execution, 1)
    assert site.asked == []
    await engine.respond(execution, {"approved": True, "arguments": {"n": 2}}, request_id=request.request_id)
    assert await result(engine, execution) == "done"
    assert [json.loads(each.body) for each in site.asked] == [{"n": 2}]


async def test_a_guardrail_keeps_a_call_from_going_out(engine: Engine, site: Site) -> None:
    rail = {"name": "no_oslo", "guardrailType": "regex", "patterns": ["Oslo"], "position": "input", "onFail": "raise"}
    spec = agent(script(calls("fetch", city="Oslo"), "done"), http_tool(site.url(), guardrails=(rail,)))
    assert (await ended(engine, await start(engine, spec))).row.status == "FAILED"
    assert site.asked == []


async def test_a_run_says_what_it_waits_for(engine: Engine, site: Site) -> None:
    site.answers["/"] = lambda handler: asyncio.sleep(30)
    execution = await start(engine, agent(script(calls("fetch")), http_tool(site.url())))
    await until(lambda: site.asked)
    assert "helper waits for the answer of fetch" in (await asked(engine, execution)).sentence
    await engine.cancel(execution)


async def test_a_canceled_run_hangs_up(engine: Engine, site: Site) -> None:
    hung_up = asyncio.Event()

    def answer(handler: RequestHandler) -> Any:
        handler.request.connection.stream.set_close_callback(hung_up.set)  # type: ignore[union-attr]
        return hung_up.wait()

    site.answers["/"] = answer
    execution = await start(engine, agent(script(calls("fetch")), http_tool(site.url())))
    await until(lambda: site.asked)
    await engine.cancel(execution)
    await asyncio.wait_for(hung_up.wait(), 5)
    await until(lambda: not engine.builtin["http"].busy)


async def test_a_draining_server_hands_its_calls_to_the_next(database_url: str, tmp_path: Path, site: Site) -> None:
    began = asyncio.Event()

    async def first(handler: RequestHandler) -> None:
        if len(site.asked) == 1:
            began.set()
            await asyncio.sleep(30)

    site.answers["/"] = first
    async with opened(database_url, tmp_path) as engine:
        spec = agent(script(calls("fetch"), "done"), http_tool(site.url(), method="POST"))
        execution = await start(engine, spec)
        await began.wait()
        await engine.drain(0)
    async with opened(database_url, tmp_path) as engine:
        assert await result(engine, execution) == "done"
    assert len({each.headers["Idempotency-Key"] for each in site.asked}) == 1


async def test_a_draining_server_does_not_have_a_call_made_twice_that_may_not_be(
    sqlite_url: str, tmp_path: Path, site: Site
) -> None:
    site.answers["/"] = lambda handler: asyncio.sleep(30)
    async with opened(sqlite_url, tmp_path) as engine:
        execution = await start(engine, agent(script(calls("fetch"), "{result}"), http_tool(site.url(), retry_count=0)))
        await until(lambda: site.asked)
        await engine.drain(0)
    async with opened(sqlite_url, tmp_path) as engine:
        assert await result(engine, execution) == "Error: the server that ran it died"
    assert len(site.asked) == 1


async def test_who_makes_no_calls_leaves_them_to_others(sqlite_url: str, tmp_path: Path, site: Site) -> None:
    async with opened(sqlite_url, tmp_path, workers="llm") as engine:
        execution = await start(engine, agent(script(calls("fetch"), "done"), http_tool(site.url())))
        await until(lambda: _of(engine, execution, e.TaskCompleted))
        assert site.asked == []
    async with opened(sqlite_url, tmp_path) as engine:
        assert await result(engine, execution) == "done"


# Credentials


async def test_a_credential_is_sent_and_nobody_sees_it(sqlite_url: str, tmp_path: Path, site: Site) -> None:
    def echo(handler: RequestHandler) -> None:
        got = handler.request.headers["Authorization"]
        status = 200 if len(site.asked) == 1 else 403
        says({"you": got, got: [got.encode().hex()]}, status)(handler)

    site.answers["/"] = echo
    tool = http_tool(site.url(), headers={"Authorization": "Bearer ${KEY}"}, credentials=["KEY"])
    async with opened(sqlite_url, tmp_path) as engine:
        await engine.secrets.save("KEY", CANARY)
        spec = agent(script(calls("fetch"), calls("fetch"), "{result}"), tool)
        execution = await start(engine, spec)
        said = await result(engine, execution)
        assert "403" in said
        assert "Bearer ${KEY}" in said
        assert [use.name for use in await engine.secrets.uses(execution)] == ["KEY", "KEY"]
    assert [each.headers["Authorization"] for each in site.asked] == [f"Bearer {CANARY}"] * 2
    written = everything(tmp_path)
    assert b"${KEY}" in written
    assert CANARY.encode() not in written
    assert CANARY.encode().hex().encode() not in written


def everything(folder: Path) -> bytes:
    """What all files of a folder hold."""
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def test_an_error_is_cut_where_no_part_of_a_secret_is_left(sqlite_url: str, tmp_path: Path, site: Site) -> None:
    site.answers["/"] = lambda handler: says("x" * 1_950 + CANARY, 400)(handler)
    tool = http_tool(site.url(), headers={"Authorization": "${KEY}"}, credentials=["KEY"])
    async with opened(sqlite_url, tmp_path) as engine:
        await engine.secrets.save("KEY", f"{CANARY}\r\n")
        said = await read(engine, tool)
    assert site.asked[0].headers["Authorization"] == CANARY
    assert CANARY[:5] not in said


@pytest.mark.parametrize(
    ("credentials", "stored", "why"),
    [([], "KEY", "which its credentials do not list"), (["KEY"], "OTHER", "agentspan credentials set KEY")],
)
async def test_a_credential_that_is_not_there_is_named(
    sqlite_url: str, tmp_path: Path, site: Site, credentials: list[str], stored: str, why: str
) -> None:
    async with opened(sqlite_url, tmp_path) as engine:
        await engine.secrets.save(stored, CANARY)
        tool = http_tool(site.url(), headers={"X": "${KEY}"}, credentials=credentials)
        assert why in await read(engine, tool)
    assert site.asked == []


# Models at addresses of their own


async def test_a_model_is_not_asked_where_the_server_may_not_go(sqlite_url: str, tmp_path: Path, site: Site) -> None:
    """By its address the run is refused; by a name only the call can tell."""
    options = {"host": "0.0.0.0", "master_key": b"k" * 32, "outgoing_allow": ("localhost:1",)}
    async with opened(sqlite_url, tmp_path, **options) as engine:
        for url in (site.url("/v1"), "169.254.169.254", "http://localhost.:1/v1", "http://localhost:2/v1"):
            with pytest.raises(BadInput, match=r"does not connect|ends with a dot|asks no model"):
                await start(engine, agent("vllm/x", base_url=url))
    elsewhere = Outgoing(["a.example"], _leads_to("169.254.169.254"))
    async with opened(sqlite_url, tmp_path) as engine:
        engine.outgoing = elsewhere
        view = await ended(engine, await start(engine, agent("vllm/x", base_url="http://a.example/v1")))
    assert view.row.status == "FAILED"
    assert "gives out credentials" in view.row.reason
    assert site.asked == []


def _leads_to(address: str) -> Any:
    async def resolve(host: str, port: int) -> list[str]:
        return [address]

    return resolve


async def test_a_model_of_an_agent_s_own_is_asked_only_where_the_operator_says(sqlite_url: str, tmp_path: Path) -> None:
    theirs = agent("vllm/llama", base_url="https://models.example/v1")
    options = {"host": "0.0.0.0", "master_key": b"k" * 32}
    async with opened(sqlite_url, tmp_path, **options) as engine:
        with pytest.raises(BadInput, match=r"asks no model at models\.example"):
            engine._check(theirs)
    async with opened(sqlite_url, tmp_path, **options, outgoing_allow=("*.example",)) as engine:
        engine._check(theirs)
    async with opened(sqlite_url, tmp_path) as engine:
        engine._check(theirs)


# Tools that stand for the operations of an API


def pets(**more: Any) -> dict[str, Any]:
    operation = {"operationId": "addPet", "requestBody": {"content": {"application/json": {"schema": {}}}}}
    return {"openapi": "3.1.0", "paths": {"/pets": {"post": operation, "get": {"operationId": "listPets"}}}, **more}


def api_tool(url: str, **config: Any) -> ToolSpec:
    return ToolSpec(name="pets", tool_type="api", config={"url": url, **config})


async def test_an_api_is_a_tool_for_each_of_its_operations(database_url: str, tmp_path: Path, site: Site) -> None:
    site.answers["/openapi.json"] = says(pets())
    given_ = api_tool(site.url("/openapi.json"), headers={"X-Key": "${KEY}"}, credentials=["KEY"])
    async with opened(database_url, tmp_path, master_key=b"k" * 32) as engine:
        await engine.secrets.save("KEY", CANARY)
        below = agent(script(calls("addPet", body={"name": "Rex"}), "{result}"), given_, name="below")
        asks = ToolSpec(name="ask", tool_type="agent_tool", config={"agentConfig": wire.encode(below)})
        spec = agent(script(calls("ask", request="add Rex"), calls("listPets"), "{result}"), asks, given_)
        execution = await start(engine, spec)
        assert await result(engine, execution) == '{"path": "/pets"}'
        kept = await engine.reads.execution(execution)
    assert [tool["name"] for tool in kept.spec["tools"]] == ["ask", "listPets", "addPet"]
    described, added, listed = site.asked
    assert "X-Key" not in described.headers
    assert (added.method, json.loads(added.body), added.headers["X-Key"]) == ("POST", {"name": "Rex"}, CANARY)
    assert (listed.method, listed.path) == ("GET", "/pets")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (says("no", 500), "500 Internal Server Error"),
        (says("openapi: 3.0.0"), "is no JSON"),
        (says({"hello": 1}), "no OpenAPI description"),
        (lambda handler: handler.redirect("http://169.254.169.254/"), "gives out credentials"),
        (says(pets(servers=[{"url": "ftp://a.example"}])), "must begin with http"),
    ],
)
async def test_an_api_that_cannot_be_read_is_refused_at_the_start(
    engine: Engine, site: Site, answer: Any, why: str
) -> None:
    site.answers["/"] = answer
    with pytest.raises(BadInput, match=why):
        await start(engine, agent(script("done"), api_tool(site.url())))


async def test_a_deployed_agent_reads_its_api_anew_in_each_run(engine: Engine, site: Site) -> None:
    site.answers["/openapi.json"] = says(pets())
    await engine.deploy(agent(script("done"), api_tool(site.url("/openapi.json"))))
    assert site.asked == []
    spec, _ = await engine._deployed("helper", None)
    assert [tool.name for tool in spec.tools] == ["listPets", "addPet"]
    stored, *_ = await engine.definition("helper")
    assert [tool.tool_type for tool in stored.tools] == ["api"]
