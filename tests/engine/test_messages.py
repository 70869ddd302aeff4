"""Messages to running agents: durable, in their order, each with a receipt."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agentspan.core import events as e
from agentspan.core import mail
from agentspan.engine.engine import Engine
from agentspan.errors import BadInput, Conflict, NotFound
from tests.engine.house import (
    agent,
    calls,
    complete,
    ended,
    facts,
    log,
    opened,
    requests,
    result,
    script,
    start,
    take,
    team,
    tool,
    working,
)  # fmt: skip

WAIT = tool("inbox", tool_type="pull_workflow_messages", config={"batchSize": 10})


def said(messages: list[dict[str, Any]]) -> list[str]:
    return [each["content"] for each in messages if each["role"] == "user"]


async def read(engine: Engine, execution: str) -> list[str]:
    """What a user has said by the transcript."""
    return said(await engine.reads.messages(execution))


async def test_a_message_is_queued_then_seen_in_the_next_turn(engine: Engine) -> None:
    execution = await start(engine, agent(script(calls("a"), "done"), "a"))
    task = await take(engine, "a")
    sent = await engine.send(execution, {"message": "hurry up"}, "kim")
    queued = await engine.message(execution, sent)
    assert (queued.status, queued.turn, queued.sender, queued.message) == ("queued", 0, "kim", {"message": "hurry up"})
    await complete(engine, task)
    await ended(engine, execution)
    seen = await engine.message(execution, sent)
    assert (seen.status, seen.turn) == ("seen", 2)
    assert seen.at >= seen.sent_at > 0
    assert await read(engine, execution) == ["hello", "hurry up"]


async def test_an_agent_that_was_about_to_end_reads_what_came_meanwhile(engine: Engine) -> None:
    model = script({"content": "first", "delay_ms": 300}, "after: {prompt}")
    execution = await start(engine, agent(model))
    first = await engine.send(execution, {"message": "one"})
    second = await engine.send(execution, {"message": "two"})
    assert "two" in await result(engine, execution)
    assert [(await engine.message(execution, each)).turn for each in (first, second)] == [2, 2]


async def test_a_message_to_a_run_that_has_ended_is_refused(engine: Engine) -> None:
    execution = await start(engine, agent(script("done")))
    await ended(engine, execution)
    with pytest.raises(Conflict, match="nobody would read the message"):
        await engine.send(execution, {"message": "too late"})


async def test_a_message_that_nobody_saw_says_so_when_the_run_has_ended(engine: Engine) -> None:
    execution = await start(engine, agent(script(calls("a"), "done"), "a"))
    await take(engine, "a")
    sent = await engine.send(execution, {"message": "never mind"})
    await engine.cancel(execution)
    assert (await engine.message(execution, sent)).status == "run_ended"


async def test_a_tool_that_waits_for_messages_takes_them_in_their_order(engine: Engine) -> None:
    execution = await start(engine, agent(script(calls("a", "inbox"), calls("inbox"), "{result}"), "a", WAIT))
    task = await take(engine, "a")
    waits = (await requests(engine, execution, 1))[0]
    assert (waits.kind, waits.tool) == ("message", "inbox")
    first = await engine.send(execution, {"n": 1})
    second, third = await engine.send(execution, {"n": 2}), await engine.send(execution, {"n": 3})
    receipts = [await engine.message(execution, each) for each in (first, second, third)]
    assert [(each.status, each.turn) for each in receipts] == [("seen", 1), ("queued", 0), ("queued", 0)]
    await complete(engine, task)
    answer = await result(engine, execution)
    assert answer.index('"n": 2') < answer.index('"n": 3')
    assert (await engine.message(execution, third)).turn == 2


async def test_a_message_to_a_team_reaches_those_who_speak_for_it(engine: Engine) -> None:
    members = [agent(script(calls("a"), "{prompt}"), "a", name=name) for name in ("one", "two")]
    execution = await start(engine, team("both", "parallel", team("inner", "sequential", *members[:1]), members[1]))
    tasks = [await take(engine, "a"), await take(engine, "a")]
    sent = await engine.send(execution, {"message": "in euros"})
    for task in tasks:
        await complete(engine, task)
    assert (await result(engine, execution)).count("in euros") == 2
    assert [(await engine.message(execution, sent)).status] == ["seen"]
    told = [item for item in await engine.events(execution) if item["type"] == "user_message"]
    assert [(item["messageId"], item["content"]) for item in told] == [(sent, "in euros")]


async def test_a_message_that_a_speaker_did_not_see_is_heard_by_the_next(engine: Engine) -> None:
    """The first speaker ends at its turn limit before it can see the message."""
    first = agent(script(calls("a")), "a", name="first", max_turns=1)
    second = agent(script("two"), name="second")
    execution = await start(engine, team("talk", "round_robin", first, second, max_turns=2))
    task = await take(engine, "a")
    sent = await engine.send(execution, {"message": "in euros"})
    await complete(engine, task)
    await ended(engine, execution)
    assert (await engine.message(execution, sent)).status == "seen"
    (child,) = [row for row in await engine.reads.children(execution) if row.agent_name == "second"]
    assert "in euros" in str(await engine.reads.messages(child.execution_id))


async def test_a_message_to_a_pipeline_between_two_steps_is_heard_by_the_next(engine: Engine) -> None:
    steps = [agent(script("one"), name="first", gate={"taskName": "gate"}), agent(script("two"), name="second")]
    execution = await start(engine, team("line", "sequential", *steps))
    task = await take(engine, "gate")
    sent = await engine.send(execution, {"message": "in euros"})
    await complete(engine, task, {"decision": "continue"})
    await ended(engine, execution)
    (child,) = [row for row in await engine.reads.children(execution) if row.agent_name == "second"]
    assert "in euros" in str(await engine.reads.messages(child.execution_id))
    assert (await engine.message(execution, sent)).status == "seen"


async def test_so_many_messages_may_wait_and_no_more(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail, "UNREAD_LIMIT", 3)
    execution = await start(engine, agent(script(calls("a"), "done"), "a"))
    task = await take(engine, "a")
    for n in range(3):
        await engine.send(execution, {"n": n})
    with pytest.raises(Conflict, match="3 messages wait"):
        await engine.send(execution, {"n": 3})
    await complete(engine, task)
    await ended(engine, execution)


async def test_messages_of_many_senders_all_arrive_once(engine: Engine) -> None:
    execution = await start(engine, agent(script(calls("a"), "done"), "a"))
    task = await take(engine, "a")
    ids = await asyncio.gather(*(engine.send(execution, {"message": f"m-{n}"}) for n in range(30)))
    assert len(set(ids)) == 30
    await complete(engine, task)
    await ended(engine, execution)
    in_order = [fact.message["message"] for fact in facts(await log(engine, execution), e.MessageReceived)]
    text = (await read(engine, execution))[-1]
    assert sorted(in_order, key=lambda each: text.index(each)) == in_order


async def test_what_is_no_message_is_refused(engine: Engine) -> None:
    execution = await start(engine, agent(script(calls("a"), "done"), "a"))
    for bad in ({}, "text", [1]):
        with pytest.raises(BadInput, match="JSON object"):
            await engine.send(execution, bad)  # type: ignore[arg-type]
    for name in ("m1", "m99", "x", "m", "m-1"):
        with pytest.raises(NotFound):
            await engine.message(execution, name)
    with pytest.raises(NotFound):
        await engine.send("01890000-0000-7000-8000-000000000000", {"message": "?"})


async def test_a_message_and_its_receipt_survive_a_new_server(database_url: str, tmp_path: Path) -> None:
    async with opened(database_url, tmp_path) as engine:
        execution = await start(engine, agent(script(calls("a"), "done"), "a"))
        sent = await engine.send(execution, {"message": "still there?"})
    async with opened(database_url, tmp_path) as engine:
        assert (await engine.message(execution, sent)).status in ("queued", "seen")
        async with working(engine, a=1):
            await ended(engine, execution)
        assert (await engine.message(execution, sent)).status == "seen"
        assert await read(engine, execution) == ["hello", "still there?"]


async def test_a_paused_run_keeps_messages_until_it_goes_on(engine: Engine) -> None:
    execution = await start(engine, agent(script(calls("inbox"), "{result}"), WAIT))
    await requests(engine, execution, 1)
    await engine.pause(execution)
    sent = await engine.send(execution, {"n": 7})
    assert (await engine.message(execution, sent)).status == "queued"
    await engine.resume(execution)
    assert '"n": 7' in await result(engine, execution)
    assert (await engine.message(execution, sent)).status == "seen"
