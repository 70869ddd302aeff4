"""The stream: numbered, resumable at every position, live, and over when the run is."""

import asyncio
import json

import httpx
import pytest

from tests.server.running import ADD, agent, eventually, frames, running

TEAM = {
    "name": "team",
    "strategy": "sequential",
    "agents": [agent("adder", ADD, name="one"), agent("plain", name="two")],
}


async def ended(server, config=TEAM):
    execution_id = await server.start(config)
    [task] = await server.poll()
    await server.complete(task)
    await server.status(execution_id, 10_000)
    return execution_id


async def test_a_stream_begins_with_a_comment_and_ends_with_the_run(server):
    execution_id = await ended(server)
    answer = await server.http.get(f"/api/agent/stream/{execution_id}")
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert answer.text.startswith(": connected\n\n")
    found = frames(answer.text)
    assert found[-1]["event"] == "done"
    assert found[-1]["data"]["output"]["result"] == "Hello."


async def test_frames_carry_the_number_the_type_and_the_path(server):
    found = await server.frames(await ended(server))
    numbers = [int(frame["id"]) for frame in found]
    assert numbers == sorted(set(numbers))
    for frame in found:
        assert frame["data"]["id"] == int(frame["id"])
        assert frame["data"]["type"] == frame["event"]
        assert None not in frame["data"].values()
    [call] = [frame["data"] for frame in found if frame["event"] == "tool_call"]
    assert (call["toolName"], call["args"], call["path"]) == ("add", {"a": 2, "b": 3}, ["one"])
    assert {"thinking", "tool_call", "tool_result", "handoff", "message", "done"} <= {each["event"] for each in found}


async def test_a_stream_resumes_at_every_position_with_no_gap_and_no_double(server):
    execution_id = await ended(server)
    whole = await server.frames(execution_id)
    last = int(whole[-1]["id"])
    for position in range(last + 1):
        rest = [frame for frame in whole if int(frame["id"]) > position]
        by_header = await server.frames(execution_id, headers={"Last-Event-ID": str(position)})
        by_query = await server.frames(execution_id, params={"lastEventId": position})
        assert by_header == by_query == rest, position


async def test_a_stream_is_the_same_after_a_restart(tmp_path):
    async with running(tmp_path) as server:
        execution_id = await ended(server)
        before = await server.frames(execution_id)
    async with running(tmp_path) as server:
        assert await server.frames(execution_id) == before


async def test_a_live_reader_sees_what_a_late_reader_sees(server):
    execution_id = await server.start(TEAM)
    live = asyncio.create_task(server.frames(execution_id))
    [task] = await server.poll()
    await server.complete(task)
    seen = [frame for frame in await live if frame["event"] != "token"]
    assert seen == await server.frames(execution_id)


async def test_token_deltas_have_no_number(server, tmp_path):
    call = {"tool_calls": [{"name": "add", "arguments": {"a": 2, "b": 3}}]}
    words = [call, {"chunks": ["One ", "two ", "three."], "content": "", "delay_ms": 200, "chunk_ms": 5}]
    (tmp_path / "scripts" / "said_in_pieces.json").write_text(json.dumps({"said_in_pieces": words}))
    execution_id = await server.start(agent("said_in_pieces", ADD))
    async with server.http.stream("GET", f"/api/agent/stream/{execution_id}") as answer:
        pieces = answer.aiter_text()
        # The model answers in words only when the reader is there: it waits for the tool.
        text = await anext(pieces)
        [task] = await server.poll()
        await server.complete(task)
        text += "".join([piece async for piece in pieces])
    tokens = [frame for frame in frames(text) if frame["event"] == "token"]
    assert "".join(frame["data"]["content"] for frame in tokens) == "One two three."
    assert not any("id" in frame for frame in tokens)


async def test_a_sub_agents_stream_is_its_own_part(server):
    execution_id = await ended(server)
    run = await server.get(f"/api/agent/execution/{execution_id}")
    part = await server.frames(run["tasks"][0]["subWorkflowId"])
    assert part[-1]["event"] == "done"
    assert part[-1]["data"]["output"]["result"] == "The sum is 5."


@pytest.mark.parametrize("position", ["x", "-1", "1.5", "²"])
async def test_a_position_that_is_no_number_is_refused(server, position):
    execution_id = await server.run()
    answer = await server.http.get(f"/api/agent/stream/{execution_id}", params={"lastEventId": position})
    assert answer.status_code == 400
    assert "Last-Event-ID" in answer.json()["message"]


async def test_a_reader_that_hangs_up_is_dropped_at_once(server):
    execution_id = await server.start(agent("slow"))
    async with (
        httpx.AsyncClient(base_url=server.url, timeout=5, trust_env=False) as http,
        http.stream("GET", f"/api/agent/stream/{execution_id}") as answer,
    ):
        async for _ in answer.aiter_text():
            break
        assert readers(server) == 1
    await eventually(lambda: not readers(server))


def readers(server):
    return sum(map(len, server.engine.hub._subscriptions.values()))


async def test_a_slow_reader_gets_everything_in_order_and_at_its_own_pace(server, tmp_path):
    calls = [{"tool_calls": [{"name": "add", "arguments": {"a": 1, "b": 1}}], "times": 8}, {"content": "Done."}]
    (tmp_path / "scripts" / "calls.json").write_text(json.dumps({"calls": calls}))
    execution_id = await server.start(agent("calls", ADD))
    async with httpx.AsyncClient(base_url=server.url, timeout=20, trust_env=False) as http:
        reading = http.build_request("GET", f"/api/agent/stream/{execution_id}")
        answer = await http.send(reading, stream=True)
        for _ in range(8):
            [task] = await server.poll()
            await server.complete(task, {"result": "x" * 1_000_000})
        await server.status(execution_id, 10_000)
        text = (await answer.aread()).decode()
    seen = [frame for frame in frames(text) if frame["event"] != "token"]
    assert seen == await server.frames(execution_id)


async def test_a_failed_runs_stream_ends_with_its_error(server):
    found = await server.frames(await server.run(agent("broken")))
    assert (found[-1]["event"], found[-1]["data"]["final"]) == ("error", True)
