"""The stream of changes tells what moved anywhere, on any server, and no more than a reader can take."""

import asyncio
import contextlib

from agentspan.client.client import Client
from agentspan.engine.hub import BACKLOG, Change, Watch, change
from tests.server.running import agent, eventually, running
from tests.server.test_people import GUARDED


class Heard:
    """All that a reader of the stream has heard."""

    def __init__(self):
        self.moved, self.ended, self.kinds = set(), set(), []
        self.requests = self.workers = False

    async def read(self, changes):
        async for each in changes:
            self.kinds.append(each["type"])
            if each["type"] == "changes":
                self.moved |= set(each["executions"])
                self.ended |= set(each["ended"])
                self.requests |= each["requests"]
                self.workers |= each["workers"]

    def forget(self):
        self.requests = self.workers = False


@contextlib.asynccontextmanager
async def hearing(server):
    heard = Heard()
    async with Client(server.url) as client:
        changes = client.changes()
        reading = asyncio.create_task(heard.read(changes))
        await eventually(lambda: server.engine.hub.overseen)
        yield heard
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def approval(server):
    """A run that asks a person; its id and the request's."""
    execution_id = await server.start(agent("adder", GUARDED))
    async with asyncio.timeout(10):
        while not (found := (await server.get("/api/inbox"))["requests"]):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return execution_id, found[0]["requestId"]


async def test_a_run_is_heard_of_when_it_moves_and_when_it_ends(database_url, tmp_path):
    async with running(tmp_path, AGENTSPAN_DATABASE_URL=database_url) as server, hearing(server) as heard:
        execution_id = await server.run()
        await eventually(lambda: execution_id in heard.ended)
        assert heard.moved == {execution_id}
        assert not heard.requests


async def test_a_request_is_heard_of_when_it_is_asked_and_when_it_is_answered(server):
    async with hearing(server) as heard:
        execution_id, request_id = await approval(server)
        await eventually(lambda: heard.requests)
        heard.forget()
        await server.post(f"/api/agent/{execution_id}/respond", {"approved": False, "requestId": request_id})
        await eventually(lambda: heard.requests)


async def test_a_worker_is_heard_of_when_it_comes(server):
    async with hearing(server) as heard:
        await server.poll(wait_ms=1)
        await eventually(lambda: heard.workers)
        heard.forget()
        await server.poll(wait_ms=1)
        execution_id = await server.run()
        await eventually(lambda: execution_id in heard.ended)
        assert not heard.workers


async def test_a_server_tells_what_another_one_did(postgres_url, tmp_path):
    async with (
        running(tmp_path / "a", AGENTSPAN_DATABASE_URL=postgres_url) as one,
        running(tmp_path / "b", AGENTSPAN_DATABASE_URL=postgres_url) as two,
        hearing(two) as heard,
    ):
        await eventually(lambda: not one.engine.writer.alone)
        execution_id, request_id = await approval(one)
        await eventually(lambda: execution_id in heard.moved and heard.requests)
        heard.forget()
        await one.post(f"/api/agent/{execution_id}/respond", {"approved": False, "requestId": request_id})
        await eventually(lambda: heard.requests and execution_id in heard.ended)


async def test_where_more_may_have_happened_than_is_known_the_reader_is_told_so(server):
    async with hearing(server) as heard:
        server.engine.hub.publish_all()
        await eventually(lambda: heard.kinds == ["missed"])


async def test_much_comes_in_few_frames(server):
    async with hearing(server) as heard:
        runs = await asyncio.gather(*(server.run() for _ in range(20)))
        await eventually(lambda: set(runs) <= heard.ended)
        assert len(heard.kinds) < 40


def test_who_does_not_keep_up_misses_what_is_too_much():
    watch = Watch()
    for number in range(BACKLOG):
        watch.put(Change((str(number),)))
    assert len(watch.take().executions) == BACKLOG
    for number in range(BACKLOG + 1):
        watch.put(Change((str(number),)))
    assert watch.take().missed
    assert watch.take() == Change()


def test_nothing_committed_is_no_change():
    assert change([]) == Change()


async def test_strangers_hear_nothing(locked):
    assert (await locked.http.get("/api/changes")).status_code == 401
