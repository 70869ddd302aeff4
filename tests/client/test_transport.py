"""Requests: addresses, credentials, errors, retries over restarts."""

import asyncio
import gc
import warnings

import pytest

from agentspan.client import transport as transport_module
from agentspan.client.client import Client
from agentspan.client.errors import (
    AgentAPIError,
    AgentConflictError,
    AgentNotFoundError,
    AgentNotImplementedError,
    ServerUnreachableError,
)
from agentspan.client.transport import auth_headers, host_of
from tests.client.stub import Reply, Request, stub


@pytest.mark.parametrize(
    "given",
    ["http://a:1", "http://a:1/", "http://a:1/api", "http://a:1/api/", " http://a:1/api ", "a:1", "a:1/api"],
)
def test_an_address_may_be_written_in_many_ways(given: str) -> None:
    assert host_of(given) == "http://a:1"


def test_credentials_are_sent_in_every_form_that_servers_expect() -> None:
    assert auth_headers("key", None, None) == {"Authorization": "Bearer key", "X-API-Key": "key"}
    assert auth_headers(None, "key", "secret") == {"X-Auth-Key": "key", "X-Auth-Secret": "secret"}
    assert auth_headers(None, "key", None) == {}


async def test_every_request_carries_the_credentials() -> None:
    async with stub(lambda request: Reply(body={"workflowDef": {}})) as server:
        async with Client(server.url, api_key="k") as client:
            await client.compile({})
            await client.status("run")
            await client.poll({})
        assert [each.headers["authorization"] for each in server.requests] == ["Bearer k"] * 3


async def test_a_body_is_json_and_no_body_has_no_type() -> None:
    async with stub(lambda request: Reply(body={})) as server, Client(server.url) as client:
        await client.signal("run", "hi")
        await client.stop("run")
        one, two = server.requests
        assert (one.headers["content-type"], one.body) == ("application/json", {"message": "hi"})
        assert "content-type" not in two.headers
        assert (one.path, two.path) == ("/api/agent/run/signal", "/api/agent/run/stop")


async def test_half_characters_do_not_keep_the_rest_from_being_sent() -> None:
    async with stub(lambda request: Reply(body={})) as server, Client(server.url) as client:
        await client.respond("run", {"files": ["caf\udce9", "ok"], "k\ud800": 1})
        assert server.requests[0].body == {"files": ["caf\\udce9", "ok"], "k\\ud800": 1}


async def test_ids_are_quoted_in_paths() -> None:
    async with stub(lambda request: Reply(body={})) as server, Client(server.url) as client:
        await client.status("a/b?c")
        assert server.requests[0].path == "/api/agent/a%2Fb%3Fc/status"


@pytest.mark.parametrize(
    ("reply", "kind", "message"),
    [
        (Reply(404, {"status": 404, "message": "no such run"}), AgentNotFoundError, "no such run"),
        (Reply(409, {"message": "answered already"}), AgentConflictError, "answered already"),
        (Reply(401, {"error": "who are you", "status": 401}), AgentAPIError, "who are you"),
        (Reply(501, {"message": "not built"}), AgentNotImplementedError, "not built"),
        (Reply(500, text="<html>oops</html>", kind="text/html"), AgentAPIError, "<html>oops</html>"),
        (Reply(500, text=""), AgentAPIError, "no explanation given"),
        (Reply(400, text="{broken"), AgentAPIError, "{broken"),
    ],
    ids=lambda value: str(getattr(value, "status", "")),
)
async def test_an_error_has_the_server_s_own_sentence(reply: Reply, kind: type, message: str) -> None:
    async with stub(lambda request: reply) as server, Client(server.url) as client:
        with pytest.raises(AgentAPIError) as told:
            await client.status("run")
        problem = told.value
        assert type(problem) is kind
        assert (problem.status_code, problem.message) == (reply.status, message)
        assert problem.url == f"{server.url}/api/agent/run/status"
        assert str(problem) == f"{reply.status}: {message} ({problem.url})"


async def test_nobody_there_is_told_soon_and_clearly() -> None:
    began = asyncio.get_running_loop().time()
    with pytest.raises(ServerUnreachableError, match="AGENTSPAN_SERVER_URL"):
        await Client("http://127.0.0.1:9").status("run")
    assert asyncio.get_running_loop().time() - began < 8


def flaky(failures: int, reply: Reply) -> object:
    """Fails so many times, then answers."""
    left = [failures]

    def answer(request: Request) -> Reply:
        left[0] -= 1
        return reply if left[0] >= 0 else Reply(body={"ok": True})

    return answer


@pytest.mark.parametrize("failure", [Reply(cut=True), Reply(503, {"message": "draining", "retryable": True})])
async def test_what_may_be_sent_twice_is_sent_until_it_is_answered(failure: Reply) -> None:
    async with stub(flaky(3, failure)) as server, Client(server.url) as client:  # type: ignore[arg-type]
        assert await client.status("run") == {"ok": True}
        assert len(server.requests) == 4


async def test_a_start_is_repeated_only_with_its_key() -> None:
    async with stub(flaky(1, Reply(cut=True))) as server, Client(server.url) as client:  # type: ignore[arg-type]
        with pytest.raises(ServerUnreachableError):
            await client.start({})
        assert len(server.requests) == 1
    async with stub(flaky(1, Reply(cut=True))) as server, Client(server.url) as client:  # type: ignore[arg-type]
        assert await client.start({"idempotencyKey": "k"}) == {"ok": True}


async def test_an_answer_is_not_repeated() -> None:
    async with stub(flaky(1, Reply(cut=True))) as server, Client(server.url) as client:  # type: ignore[arg-type]
        with pytest.raises(ServerUnreachableError):
            await client.respond("run", {"approved": True})
        assert len(server.requests) == 1


async def test_requests_wait_for_a_server_that_restarts() -> None:
    async with stub(lambda request: Reply(body={"ok": True})) as server, Client(server.url) as client:
        await client.status("run")
        await server.stop()
        waiting = asyncio.create_task(client.respond("run", {"approved": True}))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        await server.start()
        await waiting
        assert server.requests[-1].body == {"approved": True}


async def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_module, "PATIENCE_SECONDS", 0.3)
    async with stub(lambda request: Reply(503, {"message": "draining"})) as server, Client(server.url) as client:
        with pytest.raises(AgentAPIError, match="draining"):
            await client.status("run")


def test_a_client_works_in_many_loops_one_after_the_other() -> None:
    async def serve(client: Client | None) -> Client:
        async with stub(lambda request: Reply(body={"ok": True})) as server:
            client = client or Client(server.url)
            client.transport.root = server.url
            assert await client.status("run") == {"ok": True}
        return client

    client = None
    for _ in range(3):
        client = asyncio.run(serve(client))
    assert client is not None
    asyncio.run(client.aclose())


async def test_a_forgotten_client_closes_its_connections() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with stub(lambda request: Reply(body={"ok": True})) as server:
            await Client(server.url).status("run")
            gc.collect()
            await asyncio.sleep(0.05)


def test_waits_double_up_to_their_limit() -> None:
    waits = transport_module.Waits(1.0)
    pauses = [waits.next() for _ in range(10)]
    assert all(0.02 < pause <= 1.0 for pause in pauses)
    assert pauses[-1] >= 0.5
    waits.reset()
    assert waits.next() <= 0.05


async def test_a_proxy_of_the_environment_is_not_used_for_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    async with stub(lambda request: Reply(body={"ok": True})) as server, Client(server.url) as client:
        assert await client.status("run") == {"ok": True}
