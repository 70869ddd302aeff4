"""Tools of MCP servers: how they are found, what is called, what comes back, and what nobody ever sees."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from agentspan.engine import optional
from agentspan.engine.engine import Engine
from agentspan.engine.outgoing import Outgoing, Refused
from agentspan.engine.workers.outward import MOST_BYTES
from agentspan.errors import InvalidSpec, NotImplementedHere
from agentspan.spec.agent import AgentSpec
from agentspan.spec.check import check
from agentspan.spec.mcp import tools_of
from agentspan.spec.redact import forms
from agentspan.spec.tool import ToolSpec
from tests.engine.house import agent, calls, ended, opened, result, script, start, until
from tests.mcp_site import PNG, McpSite, mcp_site

CANARY = 'c4n4ry/+=&?"mcp-0123456789'
TOKEN = "tok-0123456789"


@pytest.fixture
async def engine(sqlite_url: str, tmp_path: Path) -> AsyncIterator[Engine]:
    async with opened(sqlite_url, tmp_path) as engine:
        yield engine


@pytest.fixture(scope="module")
def shared_site() -> Iterator[McpSite]:
    with mcp_site() as site:
        yield site


@pytest.fixture
def site(shared_site: McpSite) -> McpSite:
    shared_site.__init__(int(shared_site.url.rpartition(":")[2].partition("/")[0]))  # type: ignore[misc]
    return shared_site


def mcp_tool(site: McpSite | str, **config: Any) -> ToolSpec:
    url = site if isinstance(site, str) else site.url
    options = {"retry_delay_seconds": 0.01, **{key: config.pop(key) for key in ("retry_count",) if key in config}}
    return ToolSpec(name="mcp_tools", tool_type="mcp", config={"server_url": url, **config}, **options)


def bearing(site: McpSite) -> ToolSpec:
    return mcp_tool(site, headers={"Authorization": "Bearer ${KEY}"}, credentials=["KEY"])


async def read(engine: Engine, tool: ToolSpec, name: str, **arguments: Any) -> str:
    """What the model reads of one call."""
    return str(await result(engine, await start(engine, asks(tool, name, **arguments))))


def files(folder: Path) -> bytes:
    """All that is written there."""
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def tools(engine: Engine, execution: str) -> tuple[ToolSpec, ...]:
    """Those that a run has."""
    scene = await engine.reads.query(lambda connection: engine.reads.scene(connection, execution))
    return scene.spec.tools


def asks(tool: ToolSpec, name: str, **arguments: Any) -> AgentSpec:
    return agent(script(calls(name, **arguments), "{result}"), tool)


# What is found


@pytest.mark.parametrize(("json", "stateless"), [(False, False), (True, False), (False, True), (True, True)])
async def test_a_server_of_any_kind_is_a_tool_for_each_of_its_own(engine: Engine, json: bool, stateless: bool) -> None:
    with mcp_site(json=json, stateless=stateless) as site:
        execution = await start(engine, asks(mcp_tool(site), "add", a=2, b=40))
        assert "42" in await result(engine, execution)
        assert site.called == [("add", (2, 40))]
    offered = {each.name: each for each in await tools(engine, execution)}
    assert {"add", "pay", "pay_slowly", "whoami", "fail", "slow", "weather", "big", "picture"} == set(offered)
    assert offered["add"].description == "Add two numbers."
    assert set(offered["add"].input_schema["properties"]) == {"a", "b"}
    assert offered["weather"].input_schema["properties"]["where"]["properties"]["city"]["type"] == "string"


async def test_a_run_keeps_the_tools_that_it_began_with(engine: Engine, site: McpSite) -> None:
    execution = await start(engine, asks(mcp_tool(site, tool_names=["add", "pay"]), "add", a=1, b=1))
    await ended(engine, execution)
    kept = await tools(engine, execution)
    assert [each.name for each in kept] == [each.config["method"] for each in kept] == ["add", "pay"]
    again = await start(engine, agent(script(calls("add", a=2, b=2), "{result}"), *kept))
    assert "4" in await result(engine, again)


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"tool_names": ["add", "fly"]}, "has no tool fly; it has add, pay"),
        ({"headers": {"X": "${KEY}"}}, "its headers use KEY, which its credentials do not list"),
        ({"headers": {"Host": "evil"}}, "belongs to the connection"),
    ],
)
async def test_tools_that_cannot_be_had_are_said(engine: Engine, site: McpSite, config: Any, why: str) -> None:
    with pytest.raises(InvalidSpec, match=why):
        await start(engine, asks(mcp_tool(site, **config), "add"))


@pytest.mark.parametrize("url", ["", "ftp://a.example/mcp", "https://a.example/mcp?key=${KEY}"])
def test_a_url_that_leads_nowhere_or_holds_a_secret_is_refused(url: str) -> None:
    with pytest.raises(InvalidSpec, match="server_url"):
        check(agent(script("x"), mcp_tool(url)))


async def test_two_servers_stand_side_by_side(engine: Engine, site: McpSite) -> None:
    with mcp_site() as other:
        some = (mcp_tool(site, tool_names=["add"]), mcp_tool(other, tool_names=["pay"]))
        execution = await start(
            engine, agent(script(calls("add", a=1, b=2), calls("pay", amount=7), "{result}"), *some)
        )
        assert "paid 7" in await result(engine, execution)
        assert (site.called, other.called) == ([("add", (1, 2))], [("pay", 7)])


async def test_a_server_that_cannot_be_asked_is_said_at_the_start(engine: Engine, site: McpSite) -> None:
    with pytest.raises(
        InvalidSpec, match=r"the tools of http://127.0.0.1:9/mcp cannot be listed: it cannot be reached"
    ):
        await start(engine, asks(mcp_tool("http://127.0.0.1:9/mcp?a=b"), "add"))
    site.token = TOKEN
    with pytest.raises(InvalidSpec, match="cannot be listed: it answered 401"):
        await start(engine, asks(mcp_tool(site), "add"))


def test_what_a_server_says_of_its_tools_is_taken_within_bounds() -> None:
    deep: Any = {}
    for _ in range(200):
        deep = {"type": "array", "items": deep}
    listed = [
        {"name": "a b/c" * 40, "description": "d" * 5_000, "inputSchema": {"$ref": "http://evil.example/s"}},
        {"name": "deep", "inputSchema": {"type": "object", "properties": {"x": deep}}, "annotations": 7},
        {
            "name": "odd",
            "description": 3,
            "inputSchema": {"type": "banana", "properties": {"p": {"pattern": "(a+)+$"}}},
        },
        {"name": 4},
        {},
    ]
    made = {each.name: each for each in tools_of(listed, mcp_tool("https://a.example/mcp"))}
    assert len(made) == 3
    check(agent(script("x"), *made.values()))
    (long,) = (each for each in made.values() if each.name.startswith("a_b_c"))
    assert (len(long.name), len(long.description), long.input_schema) == (64, 1_000, {"type": "object"})
    assert made["odd"].input_schema == {"type": "object", "properties": {"p": {}}}
    assert str(made["deep"].input_schema).count("items") < 20


async def test_without_the_library_the_start_says_what_to_install(
    engine: Engine, site: McpSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "agentspan.engine.mcp", raising=False)
    monkeypatch.delattr("agentspan.engine.mcp", raising=False)
    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(NotImplementedHere, match=r'pip install "agentspan\[server,mcp\]"'):
        await optional.mcp()


async def test_of_too_many_tools_the_run_has_those_that_fit_its_prompt(engine: Engine, site: McpSite) -> None:
    spec = asks(mcp_tool(site, max_tools=1), "weather", where={"city": "Nice"})
    execution = await start(engine, spec, "What is the weather in Nice?")
    assert "blue" in str(await result(engine, execution))
    assert [each.name for each in await tools(engine, execution)] == ["weather"]


# What comes back


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("pay", {"amount": 3}, "paid 3"),
        ("weather", {"where": {"city": "Nice"}}, "'sky': 'blue'"),
        ("big", {"chars": 5}, "xxxxx"),
        ("picture", {}, f"'contentType': 'image/png', 'bytes': {len(PNG)}"),
        ("fail", {}, "the till is empty"),
    ],
)
async def test_the_model_reads_what_a_tool_says(
    engine: Engine, site: McpSite, name: str, arguments: Any, said: str
) -> None:
    assert said in (await read(engine, mcp_tool(site), name, **arguments)).replace('"', "'").replace("':'", "': '")


async def test_an_answer_that_is_too_large_is_said(engine: Engine, site: McpSite) -> None:
    told = await read(engine, mcp_tool(site), "big", chars=MOST_BYTES)
    assert f"larger than {MOST_BYTES} bytes" in told


async def test_what_failed_by_itself_is_not_tried_again(engine: Engine, site: McpSite) -> None:
    await read(engine, mcp_tool(site, retry_count=3), "fail")
    assert site.called == [("fail", None)]


@pytest.mark.parametrize(("name", "arguments"), [("add", {"a": 1, "b": 1}), ("pay", {"amount": 5})])
async def test_only_what_changes_nothing_is_tried_again_by_itself(
    engine: Engine, site: McpSite, name: str, arguments: Any
) -> None:
    spec = asks(mcp_tool(site), name, **arguments)
    await engine.descriptions.expanded(spec)
    site.down = 2
    told = str(await result(engine, await start(engine, spec)))
    if name == "add":
        assert "2" in told
        assert site.called == [("add", (1, 1))]
        keys = {each["idempotency-key"] for each in site.headers if "idempotency-key" in each}
        assert len(keys) == 1
    else:
        assert "it answered 503" in told
        assert site.called == []


async def test_a_tool_that_takes_too_long_is_given_up(engine: Engine, site: McpSite) -> None:
    spec = await engine.descriptions.expanded(asks(mcp_tool(site, tool_names=["slow"]), "slow"))
    hasty = replace(spec, tools=(replace(spec.tools[0], timeout_seconds=0.3),))
    told = str(await result(engine, await start(engine, hasty)))
    assert "longer than its time limit" in told
    site.hold.set()


async def test_a_cancelled_run_hangs_up(engine: Engine, site: McpSite) -> None:
    execution = await start(engine, asks(mcp_tool(site), "slow"))
    assert await asyncio.to_thread(site.begun.wait, 10)
    await engine.cancel(execution, "enough")
    assert (await ended(engine, execution)).row.status == "TERMINATED"
    await until(lambda: not engine.builtin["mcp"].busy)


# What nobody sees, and where nobody goes


async def test_credentials_go_to_the_server_and_nowhere_else(engine: Engine, site: McpSite, tmp_path: Path) -> None:
    site.token = CANARY
    await engine.secrets.save("KEY", CANARY + "\n")
    execution = await start(engine, asks(bearing(site), "whoami"))
    told = str(await result(engine, execution))
    assert "you are Bearer" in told
    assert {each["authorization"] for each in site.headers} == {f"Bearer {CANARY}"}
    assert not [form for form in forms(CANARY) if form.encode() in files(tmp_path) or form in told]


async def test_a_credential_that_is_not_stored_is_named(engine: Engine, site: McpSite) -> None:
    with pytest.raises(Exception, match=r"there is no credential KEY: store it with `agentspan credentials set KEY`"):
        await start(engine, asks(bearing(site), "add"))
    assert site.headers == []


async def test_a_server_does_not_lead_elsewhere(engine: Engine, site: McpSite) -> None:
    with mcp_site() as other:
        site.moved = other.url
        with pytest.raises(InvalidSpec, match="cannot be listed"):
            await start(engine, asks(mcp_tool(site, headers={"X-Key": "k"}), "add"))
        assert other.headers == []


async def test_a_tool_does_not_go_where_the_server_may_not(engine: Engine, site: McpSite) -> None:
    spec = await engine.descriptions.expanded(asks(mcp_tool(site), "add", a=1, b=1))
    site.headers.clear()
    for worker in (engine.descriptions, *engine.builtin.values()):
        if hasattr(worker, "outgoing"):
            worker.outgoing = Outgoing(("none",))
    engine.descriptions._kept.clear()
    with pytest.raises(Refused, match="the server does not connect to"):
        await start(engine, asks(mcp_tool(site), "add"))
    told = str(await result(engine, await start(engine, spec)))
    assert "does not connect to 127.0.0.1" in told
    assert site.headers == []
