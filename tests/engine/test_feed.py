"""The log as readers see it: whole from any place on, while it grows and after."""

import asyncio
from typing import Any

import pytest

from agentspan.engine.engine import Engine
from agentspan.errors import NotFound
from tests.engine.house import agent, calls, ended, requests, script, start, team, tool, working


async def read(engine: Engine, execution: str, after: int = 0) -> list[dict[str, Any]]:
    """The numbered items of a stream, to its end."""
    async with asyncio.timeout(20):
        return [item async for item in engine.stream(execution, after) if item and "id" in item]


def busy() -> Any:
    child = agent(script(calls("a", "nope"), calls("b"), "one"), "a", tool("b", approval_required=True), name="child")
    other = agent(script({"content": "two", "errors": [{"status": 500}], "chunk_ms": 2}), name="other")
    return team("t", "parallel", child, other)


async def test_a_stream_resumed_at_every_position_gives_the_same_log(engine: Engine) -> None:
    execution = await start(engine, busy())
    live = asyncio.create_task(read(engine, execution))
    async with working(engine, a="A", b="B"):
        await requests(engine, execution, 1)
        early = {after: asyncio.create_task(read(engine, execution, after)) for after in range(0, 12, 2)}
        await engine.respond(execution, {"approved": True})
        await ended(engine, execution)
    whole = await live
    assert [item["id"] for item in whole] == sorted({item["id"] for item in whole})
    assert whole[-1]["type"] == "done"
    for after, reader in early.items():
        assert await reader == [item for item in whole if item["id"] > after]
    for after in range(whole[-1]["id"] + 1):
        assert await read(engine, execution, after) == [item for item in whole if item["id"] > after]
        assert await engine.events(execution, after) == [item for item in whole if item["id"] > after]


async def test_a_stream_says_what_happens_in_the_words_that_clients_know(engine: Engine) -> None:
    execution = await start(engine, agent(script(calls("a", x=1), "done"), "a", name="solo"))
    async with working(engine, a=lambda x: x + 1):
        items = await read(engine, execution)
    assert [item["type"] for item in items] == ["thinking", "tool_call", "tool_result", "thinking", "message", "done"]
    assert items[1]["args"] == {"x": 1}
    assert items[2]["result"] == 2
    assert items[-1]["output"]["result"] == "done"


async def test_events_below_carry_their_path_and_a_childs_stream_is_a_part(engine: Engine) -> None:
    inner = team("inner", "sequential", agent(script("deep"), name="leaf"))
    execution = await start(engine, team("outer", "sequential", inner))
    items = await read(engine, execution)
    assert [item["path"] for item in items if item["type"] == "message"] == [["inner", "leaf"]]
    leaf = next(item["executionId"] for item in items if item["type"] == "message")
    own = await read(engine, leaf)
    assert [(item["type"], item["path"]) for item in own] == [("thinking", []), ("message", []), ("done", [])]


async def test_tokens_are_streamed_to_who_reads_along_and_are_never_the_only_copy(engine: Engine) -> None:
    model = script({"content": "a b c", "delay_ms": 50, "chunk_ms": 1})
    execution = await start(engine, agent(model))
    items = [item async for item in engine.stream(execution) if item]
    assert "".join(item["content"] for item in items if item["type"] == "token") == "a b c"
    assert all("id" not in item for item in items if item["type"] == "token")
    assert [item["content"] for item in items if item["type"] == "message"] == ["a b c"]


async def test_a_stream_goes_on_through_a_retry_of_the_run(engine: Engine) -> None:
    execution = await start(engine, agent(script(calls("a"), "done"), "a"))
    await engine.cancel(execution)
    first = await read(engine, execution)
    assert first[-1]["status"] == "TERMINATED"
    await engine.retry(execution)
    async with working(engine, a=1):
        whole = await read(engine, execution)
    assert whole[: len(first)] == first
    assert whole[-1]["type"] == "done"


async def test_a_hundred_readers_see_the_same(engine: Engine) -> None:
    execution = await start(engine, agent(script(*[calls("a")] * 10, "done"), "a"))
    readers = [asyncio.create_task(read(engine, execution)) for _ in range(100)]
    async with working(engine, a=1):
        seen = await asyncio.gather(*readers)
    assert all(each == seen[0] for each in seen)
    assert seen[0] == await engine.events(execution)


async def test_a_stream_of_nothing_is_not_found(engine: Engine) -> None:
    with pytest.raises(NotFound):
        await anext(engine.stream("01890000-0000-7000-8000-000000000000"))
