"""What a request may bring, asked of a real server over a bare socket: it answers, says why, and goes on."""

import asyncio
import gzip
import json
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentspan.server import limits
from agentspan.server.intake import most_connections
from tests.server.running import Running, running


async def said(server: Running, *sent: bytes, shut: bool = False) -> tuple[int, str]:
    """The status and the body of the answer to these bytes; (0, "") if the server hangs up."""
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        async with asyncio.timeout(20):
            for each in sent:
                writer.write(each)
                await writer.drain()
            if shut:
                writer.write_eof()
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                return 0, ""
            lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            body = await reader.readexactly(int(lengths[0].partition(b":")[2])) if lengths else b""
            return int(head.split()[1]), body.decode()
    except ConnectionError:
        return 0, ""
    finally:
        writer.close()


def request(target: str = "/health", *headers: str, method: str = "GET", body: bytes = b"") -> bytes:
    more = [f"Content-Length: {len(body)}"] if body else []
    head = "\r\n".join([f"{method} {target} HTTP/1.1", "Host: localhost", *headers, *more, "", ""])
    return head.encode("latin-1") + body


JSON = "Content-Type: application/json"


@pytest.mark.parametrize(
    ("sent", "status", "why"),
    [
        pytest.param(request("/" + "a" * 20_000), 414, "longer than", id="path"),
        pytest.param(request("/api/agent/list?" + "a=1&" * 1_500), 414, "parameters", id="parameters"),
        pytest.param(request("/health", *["X-A: 1"] * 300), 431, "headers", id="headers"),
        pytest.param(
            request(
                "/api/agent/start", JSON, "Content-Encoding: gzip", method="POST", body=gzip.compress(b"{}", mtime=0)
            ),
            415,
            "'gzip'",
            id="packed",
        ),
        pytest.param(
            request("/login", "Content-Type: application/x-www-form-urlencoded", method="POST", body=b"a=1&" * 20_000),
            400,
            "fields",
            id="form",
        ),
        pytest.param(
            request("/api/agent/start", JSON, method="POST", body=b"[" * 100_000), 400, "nested deeper", id="nested"
        ),
        pytest.param(
            request("/api/tasks", JSON, method="POST", body=b'{"a":' * 5_000 + b"1" + b"}" * 5_000),
            400,
            "nested deeper",
            id="nested in a shape",
        ),
        pytest.param(request("/api/agent/start", JSON, method="POST", body=b'{"prompt": "\xff"}'), 400, "", id="UTF-8"),
        pytest.param(request("/api/agent/start", JSON, method="POST", body=b'{"a": NaN}'), 400, "JSON", id="NaN"),
        pytest.param(request("/api/agent/start", JSON, method="POST", body=b"9" * 5_000), 400, "", id="number"),
        pytest.param(request("/api/agent/start", JSON, method="POST", body=b'{"a": 1e999}'), 400, "", id="infinite"),
        pytest.param(request("/api/agent/%ff%fe"), 400, "", id="path that is no text"),
        pytest.param(request("/api/agent/a%00b/status"), 404, "", id="NUL in a path"),
        pytest.param(request("/api/agent/executions?freeText=%00"), 200, "", id="NUL in a query"),
        pytest.param(request("/api/agent/executions?freeText=%ff"), 400, "", id="query that is no text"),
    ],
)
async def test_what_is_too_much_or_odd_is_answered_and_the_server_goes_on(
    server: Running, sent: bytes, status: int, why: str
) -> None:
    code, body = await said(server, sent)
    assert code == status, body
    assert why in body
    if status >= 400:
        assert set(json.loads(body)) >= {"status", "message", "instance", "retryable"}
    assert (await said(server, request()))[0] == 200


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(request("/health", "X-Long: " + "a" * 100_000), id="one long header"),
        pytest.param(b"GET /health HTTP/1.1\r\nHost: a\r\n: no name\r\n\r\n", id="header without a name"),
        pytest.param(request("/health", "Content-Length: 3", "Content-Length: 4") + b"abcd", id="two lengths"),
        pytest.param(request("/health", "Content-Length: -1"), id="negative length"),
        pytest.param(
            request("/health", "Transfer-Encoding: chunked", "Content-Length: 3", method="POST") + b"0\r\n\r\n",
            id="two ways of length",
        ),
        pytest.param(request("/health", "Transfer-Encoding: chunked", method="POST") + b"zz\r\n\r\n", id="no chunk"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00" + b"\x00" * 64 + b"\r\n\r\n", id="TLS"),
        pytest.param(b"NONSENSE\r\n\r\n", id="no request"),
    ],
)
async def test_what_is_no_request_is_refused_and_the_server_goes_on(server: Running, sent: bytes) -> None:
    assert (await said(server, sent, shut=True))[0] in (0, 400)
    assert (await said(server, request()))[0] == 200


async def test_a_head_request_is_refused_without_a_body(server: Running) -> None:
    reader, writer = await asyncio.open_connection(*server.url.removeprefix("http://").split(":"))
    writer.write(request("/" + "a" * 20_000, "Connection: close", method="HEAD"))
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 414 ")
    assert answer.endswith(b"\r\n\r\n")


@pytest.fixture
async def hasty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    """A server that waits for nobody."""
    monkeypatch.setattr(limits, "IDLE_SECONDS", 0.2)
    monkeypatch.setattr(limits, "BODY_SECONDS", 0.2)
    async with running(tmp_path) as found:
        yield found


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param([], id="says nothing"),
        pytest.param([b"GET /health HTTP/1.1\r\nHost: a\r\n"], id="half a head"),
        pytest.param([request("/api/tasks", JSON, "Content-Length: 9", method="POST"), b"{"], id="half a body"),
        pytest.param([request("/api/tasks", JSON, "Transfer-Encoding: chunked", method="POST"), b"1\r\n{"], id="chunk"),
    ],
)
async def test_who_sends_too_slowly_is_hung_up_on(hasty: Running, sent: list[bytes]) -> None:
    assert await said(hasty, *sent) == (0, "")
    assert (await said(hasty, request()))[0] == 200


async def test_no_more_connections_are_taken_than_there_is_room_for(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentspan.server.intake.most_connections", lambda: 3)
    async with running(Path(server.settings.data_dir) / "small") as small:
        host, port = small.url.removeprefix("http://").split(":")
        held = [await asyncio.open_connection(host, int(port)) for _ in range(3)]
        for reader, writer in held:
            writer.write(request())
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        assert (await said(small, request()))[0] in (0, 503)
        for reader, writer in held:
            writer.close()
            await reader.read()
        async with asyncio.timeout(5):
            while (await said(small, request()))[0] != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


def test_the_room_for_connections_is_what_the_process_may_open() -> None:
    assert 64 <= most_connections() <= 20_000


async def test_bodies_that_come_in_at_once_share_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BODIES_AT_ONCE", 2)
    async with running(tmp_path, AGENTSPAN_MAX_BODY_BYTES="4096") as server:
        head = request("/api/tasks", JSON, "Content-Length: 4000", method="POST")
        host, port = server.url.removeprefix("http://").split(":")
        held = [await asyncio.open_connection(host, int(port)) for _ in range(2)]
        for _, writer in held:
            writer.write(head + b"{" + b" " * 3_900)
            await writer.drain()
        statuses = set()
        async with asyncio.timeout(10):
            while 503 not in statuses:
                status, _ = await said(server, head + b"{" + b" " * 3_998 + b"}")
                statuses.add(status)
        for _, writer in held:
            writer.close()
        async with asyncio.timeout(10):
            while (await said(server, head + b"{" + b" " * 3_998 + b"}"))[0] == 503:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def test_a_body_that_is_too_large_is_not_kept(tmp_path: Path) -> None:
    async with running(tmp_path, AGENTSPAN_MAX_BODY_BYTES="4096") as server:
        tracemalloc.start()
        try:
            head = request("/api/tasks", JSON, f"Content-Length: {64 << 20}", method="POST")
            status, _ = await said(server, head, *[b"x" * (1 << 20)] * 64)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert status == 413
    assert peak < 32 << 20
