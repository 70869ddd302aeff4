"""The log as readers see it: whole from any place on, while it grows and after."""

import asyncio
from typing import Any

import pytest

from agentspan.core import events as e
from agentspan.core.feed import Feed
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


async def test_a_stream_tells_what_each_guardrail_found(engine: Engine) -> None:
    rail = {"name": "polite", "guardrailType": "regex", "patterns": ["fool"], "position": "output", "onFail": "retry"}
    execution = await start(engine, agent(script("you fool", "dear friend"), guardrails=(rail,)))
    items = [item for item in await read(engine, execution) if item["type"].startswith("guardrail")]
    assert [(item["type"], item["guardrailName"], item["verdict"], item["position"]) for item in items] == [
        ("guardrail_fail", "polite", "retry", "output"),
        ("guardrail_pass", "polite", "pass", "output"),
    ]
    assert items[0]["content"]


async def test_a_stream_tells_who_speaks_next(engine: Engine) -> None:
    members = [agent(script("one"), name="one"), agent(script("two"), name="two")]
    execution = await start(engine, team("talk", "round_robin", *members, max_turns=2))
    items = await read(engine, execution)
    assert [item["target"] for item in items if item["type"] == "speaker"] == ["one", "two"]
    assert [item["target"] for item in items if item["type"] == "handoff"] == ["one", "two"]


async def test_a_stream_tells_when_another_model_takes_over(engine: Engine) -> None:
    broken = script({"content": "", "errors": [{"status": 401, "message": "the key is wrong"}]})
    spare = script("saved")
    execution = await start(engine, agent(broken, fallback=[spare]))
    items = await read(engine, execution)
    assert items[-1]["output"]["result"] == "saved"
    (switched,) = [item for item in items if item["type"] == "model_switched"]
    assert switched["target"] == spare
    assert "the key is wrong" in switched["content"]


async def test_a_stream_shows_messages_from_outside_and_who_sent_them(engine: Engine) -> None:
    execution = await start(engine, agent(script(calls("a"), "done"), "a"))
    sent = await engine.send(execution, {"message": "hurry up"}, "kim")
    async with working(engine, a=1):
        items = await read(engine, execution)
    (told,) = [item for item in items if item["type"] == "user_message"]
    assert (told["content"], told["messageId"], told["sender"]) == ("hurry up", sent, "kim")


async def test_masked_fields_are_seen_by_models_and_tools_and_by_nobody_else(engine: Engine) -> None:
    seen: list[Any] = []
    model = script(calls("login", password="hunter2", user="kim"), '{"token": {"SSN": "078-05"}, "ok": 1} {result}')
    inner = agent(model, tool("login", approval_required=True), name="clerk", masked_fields=("Password", "ssn"))
    execution = await start(engine, team("office", "sequential", inner), '{"password": "swordfish"} please')
    (request,) = await requests(engine, execution, 1)
    assert request.arguments == {"password": "***", "user": "kim"}
    assert "password" not in request.response_schema["properties"]
    await engine.respond(execution, {"approved": True})

    def login(password: str, user: str) -> Any:
        seen.append(password)
        return {"_state_updates": {"ssn": "078-05"}, "result": {"ssn": "078-05", "user": user}}

    async with working(engine, login=login):
        items = [item async for item in engine.stream(execution) if item]
        view = await ended(engine, execution)
    assert seen == ["hunter2"]
    assert "078-05" in str(await engine.reads.log_of(execution))
    child = (await engine.reads.children(execution))[0].execution_id
    shown = [
        items, view, await engine.reads.tasks(child), await engine.reads.messages(child),
        await engine.reads.story(execution), await engine.reads.story(child),
        await engine.reads.all_requests(execution), await engine.events(execution),
        await engine.reads.inputs([execution, child]),
    ]  # fmt: skip
    for each in shown:
        assert "***" in str(each)
        assert not any(secret in str(each) for secret in ("hunter2", "078-05", "swordfish")), each
    assert (await engine.reads.search(text="swordfish"))[0] == 0
    assert view.input["prompt"] == '{"password": "***"} please'
    assert "token" not in {item["type"] for item in items}


async def test_a_log_line_hides_masked_fields(engine: Engine) -> None:
    execution = await start(engine, agent(script(calls("a"), "done"), "a", masked_fields=("password",)))
    async with working(engine, a=1):
        await ended(engine, execution)
    (task,) = [task for task in await engine.reads.tasks(execution) if task.name == "a"]
    await engine.log(task.task_id, ['sent {"password": "hunter2"} to the bank'])
    assert [text for _, text in await engine.reads.logs(task.task_id)] == ['sent {"password": "***"} to the bank']


@pytest.mark.parametrize(("summary", "word"), [(7, "summary"), (0, "cut")])
def test_a_stream_tells_when_the_history_was_condensed(summary: int, word: str) -> None:
    facts: list[e.AnyFact] = [e.ExecutionStarted({"prompt": "hello"}), e.ContextCompacted(8, summary, 20)]
    feed = Feed("tree", agent("scripted/x"))
    (item,) = feed.extend(e.Event(seq, 0, 1000, fact) for seq, fact in enumerate(facts, start=1))
    assert (item["type"], item["content"]) == ("context_condensed", word)
    assert (item["messagesBefore"], item["messagesAfter"], item["exchangesCondensed"]) == (20, 9, 12)
