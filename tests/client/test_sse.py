"""Streams: every event once, in order, whatever happens to the connection."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from agentspan.client import sse
from agentspan.client.client import Client
from agentspan.client.errors import AgentAPIError, AgentNotFoundError, ServerUnreachableError
from tests.client.stub import Reply, Request, frame, stub

LOG = [frame(number, "message", content=str(number)) for number in range(1, 6)]
DONE = frame(6, "done", output={"result": "x"})


def stream(text: str) -> Reply:
    return Reply(text=text, kind="text/event-stream")


async def numbers(client: Client, after: int = 0) -> list[int | None]:
    return [event.get("id") async for event in client.follow("run", after=after)]


def resuming(*pieces: int):  # type: ignore[no-untyped-def]
    """Sends the log from Last-Event-ID on, and breaks off after so many events each time."""
    left = list(pieces)

    def answer(request: Request) -> Reply:
        if "/stream/" not in request.path:
            return Reply(body={"isComplete": False})
        after = int(request.headers.get("last-event-id", 0))
        frames = [*LOG, DONE][after:]
        count = left.pop(0) if left else len(frames)
        return stream(": connected\n\n" + "".join(frames[:count]))

    return answer


@pytest.mark.parametrize("pieces", [(), (0,), (1, 1, 1), (5,), (0, 2, 0, 3)], ids=str)
async def test_a_broken_stream_goes_on_without_gap_or_double(pieces: tuple[int, ...]) -> None:
    async with stub(resuming(*pieces)) as server, Client(server.url) as client:
        assert await numbers(client) == [1, 2, 3, 4, 5, 6]
        assert await numbers(client, after=4) == [5, 6]


async def test_a_frame_that_was_cut_is_not_an_event() -> None:
    half = LOG[1][:20]
    first = [stream(LOG[0] + half)]

    def answer(request: Request) -> Reply:
        if "/stream/" not in request.path:
            return Reply(body={"isComplete": False})
        return first.pop() if first else resuming()(request)

    async with stub(answer) as server, Client(server.url) as client:
        assert await numbers(client) == [1, 2, 3, 4, 5, 6]


async def test_events_sent_again_are_dropped() -> None:
    async with stub(lambda request: stream("".join([*LOG[:3], *LOG, DONE]))) as server, Client(server.url) as client:
        assert await numbers(client) == [1, 2, 3, 4, 5, 6]


async def test_tokens_have_no_number() -> None:
    text = LOG[0] + frame(None, "token", content="x") + DONE
    async with stub(lambda request: stream(text)) as server, Client(server.url) as client:
        assert await numbers(client) == [1, None, 6]


async def test_an_attempt_s_error_does_not_end_the_stream_and_a_nested_end_neither() -> None:
    text = "".join(
        [
            frame(1, "error", content="try again", final=False),
            frame(2, "done", executionId="child"),
            frame(3, "error", executionId="child", final=True),
            frame(4, "error", content="over", final=True),
        ]
    )
    async with stub(lambda request: stream(text)) as server, Client(server.url) as client:
        assert await numbers(client) == [1, 2, 3, 4]


async def test_a_run_that_was_retried_goes_on_after_its_first_end() -> None:
    text = frame(1, "error", final=True) + frame(2, "message") + frame(3, "done")
    async with stub(lambda request: stream(text)) as server, Client(server.url) as client:
        assert await numbers(client) == [1, 2, 3]


async def test_a_stream_of_an_ended_run_with_nothing_left_ends() -> None:
    def answer(request: Request) -> Reply:
        if "/stream/" in request.path:
            return stream("")
        return Reply(body={"isComplete": True, "events": []})

    async with stub(answer) as server, Client(server.url) as client:
        assert await numbers(client, after=6) == []


async def test_an_unknown_run_has_no_stream() -> None:
    async with stub(lambda request: Reply(404, {"message": "no such run"})) as server, Client(server.url) as client:
        with pytest.raises(AgentNotFoundError, match="no such run"):
            await numbers(client)


async def test_a_refused_stream_is_an_error_and_not_an_end() -> None:
    async with stub(lambda request: Reply(401, {"error": "who are you"})) as server, Client(server.url) as client:
        with pytest.raises(AgentAPIError, match="who are you"):
            await numbers(client)


async def test_a_server_that_is_busy_is_asked_again() -> None:
    busy = [Reply(503, {"message": "draining"})] * 2

    def answer(request: Request) -> Reply:
        if "/stream/" not in request.path:
            return Reply(body={"isComplete": False})
        return busy.pop() if busy else resuming()(request)

    async with stub(answer) as server, Client(server.url) as client:
        assert await numbers(client) == [1, 2, 3, 4, 5, 6]


async def test_a_stream_from_nobody_is_an_error() -> None:
    with pytest.raises(ServerUnreachableError):
        await numbers(Client("http://127.0.0.1:9"))


async def test_a_stream_waits_for_a_server_that_restarts() -> None:
    async with stub(resuming(2)) as server, Client(server.url) as client:
        events = client.follow("run")
        seen = [(await anext(events))["id"], (await anext(events))["id"]]
        await server.stop()
        rest = asyncio.create_task(collect(events))
        await asyncio.sleep(0.3)
        await server.start()
        assert [*seen, *await rest] == [1, 2, 3, 4, 5, 6]


async def collect(events: AsyncIterator[dict[str, int]]) -> list[int]:
    return [event["id"] async for event in events]


async def test_silence_means_a_dead_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "SILENCE_SECONDS", 0.2)
    asked, free = [], asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        head = b"HTTP/1.1 200 X\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
        if b"/stream/" not in asked[-1]:
            body = b'{"isComplete": false}'
            writer.write(b"HTTP/1.1 200 X\r\nContent-Type: application/json\r\nContent-Length: 21\r\n\r\n" + body)
        elif len(asked) == 1:
            writer.write(head + LOG[0].encode())
            await free.wait()
        else:
            writer.write(head + DONE.encode())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with Client(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as client:
        assert await numbers(client) == [1, 6]
    free.set()
    await asyncio.sleep(0.05)
    server.close()


async def frames_of(text: str) -> list[dict[str, object]]:
    async def lines() -> AsyncIterator[str]:
        for line in text.split("\n"):
            yield line

    return [event async for event in sse.frames(lines())]


async def test_frames_are_read_as_the_standard_says() -> None:
    text = ': heartbeat\n\nid:7\nevent:message\ndata:{"content":\ndata: " a "}\nretry: 5\n\ndata: plain\n\nid: 8\n\n'
    assert await frames_of(text) == [
        {"content": " a ", "type": "message", "id": 7},
        {"content": "plain", "type": "message"},
    ]


async def test_whoever_watches_everything_is_told_of_each_break() -> None:
    moved = 'event: changes\ndata: {"executions": ["a"], "ended": [], "requests": false, "workers": false}\n\n'
    async with stub(lambda _: stream(": heartbeat\n\n" + moved)) as server, Client(server.url) as client:
        changes = client.changes()
        heard = [await anext(changes) for _ in range(4)]
        await changes.aclose()
    assert [each["type"] for each in heard] == ["changes", "missed", "changes", "missed"]
    assert heard[0]["executions"] == ["a"]


async def test_who_may_not_watch_is_told_at_once() -> None:
    async with stub(lambda _: Reply(401, {"message": "no"})) as server, Client(server.url) as client:
        with pytest.raises(AgentAPIError, match="no"):
            await anext(client.changes())


async def test_two_events_of_one_number_both_come() -> None:
    text = (
        LOG[0] + frame(2, "tool_call", toolName="ask") + frame(2, "waiting", toolName="ask") + "".join(LOG[2:]) + DONE
    )
    async with stub(lambda request: stream(text)) as server, Client(server.url) as client:
        assert await numbers(client) == [1, 2, 2, 3, 4, 5, 6]
