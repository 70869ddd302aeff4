"""The pages come from a process of their own: a request begins it, its death is mended, the server's end is its end."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import urljoin

import psutil
import pytest
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

from agentspan.server.dashboard import Dashboard
from tests.server.conftest import KEY
from tests.server.running import eventually, running

CHILD = str(Path(__file__).with_name("page_child.py"))
PAGE = {"Accept": "text/html,*/*"}


def child(server_url):
    return (sys.executable, CHILD, "--server", server_url, "--port", "0", "--prefix", "/ui", "--child")


@contextlib.asynccontextmanager
async def serving(folder, command=child, lacking=list, **environ):
    """A server whose pages come from the stand-in, and its dashboard."""
    dashboard = Dashboard(
        is_on=environ.get("AGENTSPAN_UI", "true") == "true", command=command, lacking=lambda: lacking()
    )
    async with running(folder, dashboard=dashboard, **environ) as server:
        yield server, dashboard


@pytest.fixture
async def paged(tmp_path):
    """A server with its stand-in running."""
    async with serving(tmp_path) as (server, dashboard):
        await ready(server, dashboard)
        yield server, dashboard


async def ready(server, dashboard):
    async with asyncio.timeout(20):
        while (await server.http.get("/ui/x")).status_code == 503:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert dashboard.port


async def asked(server, path="/ui/x", **options):
    """What the process was asked."""
    return (await server.http.get(path, **options)).json()


# The process


async def test_nothing_runs_before_somebody_asks(tmp_path):
    async with serving(tmp_path) as (server, dashboard):
        await server.get("/api/agent/list")
        assert (await server.http.get("/ui")).headers["Location"] == "ui/"
        assert dashboard._running is None


async def test_the_first_page_says_that_it_starts_and_goes_on_by_itself(tmp_path):
    async with serving(tmp_path) as (server, dashboard):
        answer = await server.http.get("/ui/runs/x", headers=PAGE)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert "starting" in answer.text
        assert '"../../ui/-/state"' in answer.text.replace("'", '"')
        assert (await server.get("/ui/-/state"))["word"] in ("starting", "ready")
        assert (await server.http.get("/ui/app.js")).json()["retryable"] is False
        await ready(server, dashboard)
        assert (await server.get("/ui/-/state"))["word"] == "ready"
        assert (await asked(server))["server"] == server.url


async def test_a_process_that_died_is_begun_again_by_the_next_request(paged):
    server, dashboard = paged
    first = (await asked(server))["pid"]
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: not dashboard.port)
    await ready(server, dashboard)
    assert (await asked(server))["pid"] != first


async def test_a_process_that_dies_under_a_request_leaves_a_page_that_says_so(paged):
    server, _ = paged
    answer = await server.http.get("/ui/die", headers=PAGE)
    assert answer.status_code == 503


async def test_a_process_that_dies_again_and_again_is_given_a_rest(tmp_path):
    def dies(_):
        return (sys.executable, "-c", "raise SystemExit(3)")

    async with serving(tmp_path, dies) as (server, dashboard):
        for _ in range(2):
            await server.http.get("/ui/", headers=PAGE)
            await eventually(lambda: dashboard._running is None)
        answer = await server.http.get("/ui/", headers=PAGE)
        assert answer.status_code == 503
        assert "has ended 2 times" in answer.text
        assert dashboard._running is None


async def test_what_is_not_installed_is_said(tmp_path):
    async with serving(tmp_path, lacking=lambda: ["panel"]) as (server, dashboard):
        answer = await server.http.get("/ui/", headers=PAGE)
        assert answer.status_code == 503
        assert "pip install &quot;agentspan[dashboard]&quot;" in answer.text
        assert dashboard._running is None


async def test_a_server_without_pages_has_none(tmp_path):
    async with serving(tmp_path, AGENTSPAN_UI="false") as (server, dashboard):
        answer = await server.http.get("/ui/", headers=PAGE)
        assert answer.status_code == 404
        assert "--no-ui" in answer.text
        assert "ui" not in await server.get("/")
        assert dashboard._running is None
    async with serving(tmp_path) as (server, _):
        assert (await server.get("/"))["ui"] == "/ui/"


async def test_the_process_ends_with_the_server(tmp_path):
    async with serving(tmp_path) as (server, dashboard):
        await ready(server, dashboard)
        pid = (await asked(server))["pid"]
    assert not psutil.pid_exists(pid)


def test_the_process_ends_with_a_server_that_was_killed():
    script = (
        "import asyncio; from agentspan.server.dashboard import Dashboard\n"
        f"async def main():\n    d = Dashboard(command=lambda u: {child('http://x')!r}, lacking=list); d.begin('u')\n"
        "    while not d.port: await asyncio.sleep(.01)\n"
        "    print(d._process.pid, flush=True); await asyncio.Event().wait()\n"
        "asyncio.run(main())"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as server:
        pages = psutil.Process(int(server.stdout.readline()))
        assert pages.is_running()
        server.kill()
    psutil.wait_procs([pages], timeout=2)
    assert not pages.is_running() or pages.status() == psutil.STATUS_ZOMBIE


# What is handed on


async def test_a_request_is_handed_on_as_it_is(paged):
    server, _ = paged
    answer = await server.http.post("/ui/a/b?x=%20y&z", json={"n": 1}, headers={"X-Mine": "1"})
    said = answer.json()
    assert (said["uri"], said["method"], json.loads(said["body"])) == ("/ui/a/b?x=%20y&z", "POST", {"n": 1})
    assert said["headers"]["X-Mine"] == "1"
    assert said["headers"]["Host"] == server.url.removeprefix("http://")
    assert answer.headers["X-Own"] == "yes"
    assert answer.headers["Content-Type"] == "text/html; charset=UTF-8"
    assert "frame-ancestors 'self'" in answer.headers["Content-Security-Policy"]


async def test_nobody_speaks_for_this_server_to_the_process(paged):
    server, dashboard = paged
    forged = {
        "X-Agentspan-Dashboard": "guess",
        "X-Agentspan-Token": "t",
        "x-agentspan-user": "Kim",
        "X-AGENTSPAN-MORE": "1",
        "X-Authorization": "t",
        "Cookie": "a=b; agentspan-theme=dark",
        "X-Forwarded-Prefix": '/a"><script>',
        "X-Forwarded-Proto": "ftp",
    }
    said = (await asked(server, headers=forged))["headers"]
    assert said["X-Agentspan-Dashboard"] == dashboard.secret
    assert said["X-Agentspan-Token"] == ""
    assert said["X-Agentspan-User"] == "Kim"  # on an open server, people are who they say they are
    assert said["X-Forwarded-Prefix"] == ""
    assert said["X-Forwarded-Proto"] == "http"
    assert said["Cookie"] == "agentspan-theme=dark"
    assert not {"X-Agentspan-More", "X-Authorization"} & set(said)
    below = {"X-Forwarded-Prefix": "/user/kim/proxy/6767", "X-Forwarded-Proto": "https"}
    said = (await asked(server, headers=below))["headers"]
    assert (said["X-Forwarded-Prefix"], said["X-Forwarded-Proto"]) == ("/user/kim/proxy/6767", "https")


async def test_a_large_file_comes_whole_and_is_kept_by_browsers(tmp_path, monkeypatch):
    data = os.urandom(10 << 20)
    (tmp_path / "large.bin").write_bytes(data)
    monkeypatch.setenv("PAGE_CHILD_STATIC", str(tmp_path))
    async with serving(tmp_path) as (server, dashboard):
        await ready(server, dashboard)
        answer = await server.http.get("/ui/static/large.bin")
        assert answer.content == data
        assert answer.headers["Content-Length"] == str(len(data))
        assert answer.headers["Cache-Control"] == "no-cache"
        again = {"If-None-Match": answer.headers["ETag"]}
        known = await server.http.get("/ui/static/large.bin", headers=again)
        assert (known.status_code, known.content) == (304, b"")
        for_ever = await server.http.get("/ui/static/large.bin?v=1", headers=again)
        assert "max-age" in for_ever.headers["Cache-Control"]
        part = await server.http.get("/ui/static/large.bin", headers={"Range": "bytes=5-9"})
        assert (part.status_code, part.content) == (206, data[5:10])
        head = await server.http.head("/ui/static/large.bin")
        assert (head.headers["Content-Length"], head.content) == (str(len(data)), b"")
        assert (await server.http.get("/ui/static/none")).status_code == 404


async def test_an_answer_comes_as_it_is_made(paged):
    server, _ = paged
    async with server.http.stream("GET", "/ui/slow") as answer:
        parts = [part async for part in answer.aiter_text()]
    assert parts == ["one ", "two"]


async def test_an_answer_that_was_cut_is_not_taken_for_whole(paged):
    server, _ = paged
    with pytest.raises(Exception, match=r"peer closed|incomplete"):
        await server.http.get("/ui/cut")
    assert (await asked(server))["uri"] == "/ui/x"


# Websockets


@contextlib.asynccontextmanager
async def socket(server, headers=None):
    request = HTTPRequest(server.url.replace("http", "ws") + "/ui/ws", headers=headers or {})
    one = await websocket_connect(request, subprotocols=["bokeh", "token"], max_message_size=1 << 26)
    yield one
    is_over = one.close_code is not None or one.protocol.stream.closed()
    one.close()
    while not is_over and await one.read_message() is not None:
        pass


async def test_a_websocket_carries_text_and_bytes_both_ways(paged):
    server, dashboard = paged
    async with socket(server, {"Origin": server.url}) as one:
        assert one.selected_subprotocol == "bokeh"
        for said in ("hello", "grüße " * 1000, os.urandom(3 << 20), b""):
            await one.write_message(said, binary=isinstance(said, bytes))
            assert await one.read_message() == said
        await one.write_message("asked")
        assert json.loads(await one.read_message())["X-Agentspan-Dashboard"] == dashboard.secret


async def test_a_websocket_is_closed_with_the_words_of_the_process(paged):
    server, _ = paged
    async with socket(server) as one:
        await one.write_message("close 4001")
        assert await one.read_message() is None
        assert (one.close_code, one.close_reason) == (4001, "as you said")


async def test_much_on_a_websocket_waits_for_its_reader(paged):
    server, _ = paged
    before = psutil.Process().memory_info().rss
    async with socket(server) as one:
        await one.write_message("flood 64")
        for _ in range(64):
            assert len(await one.read_message()) == 1 << 20
    assert psutil.Process().memory_info().rss - before < 60 << 20


async def test_a_websocket_of_another_page_is_refused(paged):
    server, _ = paged
    with pytest.raises(HTTPClientError, match="403"):
        async with socket(server, {"Origin": "https://evil.example"}):
            pass


async def test_a_websocket_ends_with_the_process(paged):
    server, _ = paged
    async with socket(server) as one:
        os.kill((await asked(server))["pid"], signal.SIGKILL)
        assert await one.read_message() is None


# Who may see them


async def test_a_page_may_be_opened_from_a_link_and_in_a_frame_but_its_parts_by_itself_alone(paged):
    server, _ = paged
    for dest in ("document", "iframe"):
        headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": dest}
        assert (await server.http.get("/ui/x", headers=headers)).status_code == 200
    assert (await server.http.get("/ui/x", headers={"Sec-Fetch-Site": "cross-site"})).status_code == 403
    assert (await server.http.get("/ui/x", headers={"Host": "evil.example"})).status_code == 403


async def test_without_credentials_neither_pages_nor_websockets(tmp_path):
    async with serving(tmp_path, **KEY) as (server, dashboard):
        assert (await server.http.get("/ui/x")).status_code == 401
        with pytest.raises(HTTPClientError, match="401"):
            async with socket(server):
                pass
        assert dashboard._running is None
        server.http.headers["X-API-Key"] = "s3cret"
        await ready(server, dashboard)
        token = (await asked(server))["headers"]["X-Agentspan-Token"]
        del server.http.headers["X-API-Key"]
        assert (await server.http.get("/api/agent/list", headers={"X-Authorization": token})).status_code == 200


async def test_a_slash_too_many_or_too_few_is_mended(tmp_path):
    async with serving(tmp_path) as (server, _):
        for asked, right in [
            ("/ui", "/ui/"),
            ("/ui/runs/?status=FAILED", "/ui/runs?status=FAILED"),
            ("/ui/runs/x/", "/ui/runs/x"),
        ]:
            answer = await server.http.get(asked, headers=PAGE)
            assert (answer.status_code, urljoin(asked, answer.headers["Location"])) == (302, right), asked
