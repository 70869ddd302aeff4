"""Several servers behind a balancer that knows nothing of sessions, below a path: one login, and each page works."""

import base64
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.agents.serving import ServerProcess
from tests.browser import settled
from tests.dashboard.balancer import Balancer

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(180)]

PREFIX = "/user/kim/proxy/6767"
KEY = {
    "AGENTSPAN_AUTH_KEY": "kim",
    "AGENTSPAN_AUTH_SECRET": "s3cret",
    "AGENTSPAN_MASTER_KEY": base64.b64encode(b"k" * 32).decode(),
    "AGENTSPAN_UI_WARM": "true",
}


@pytest.fixture
def servers(postgres_url: str, tmp_path: Path) -> Iterator[list[ServerProcess]]:
    """Two on one database."""
    found = [ServerProcess(tmp_path / name, AGENTSPAN_DATABASE_URL=postgres_url, **KEY) for name in ("a", "b")]
    for server in found:
        server.script("plain", {"content": "Hello."})
        server.start()
    for server in found:
        while httpx.get(f"{server.url}/ui/-/state", trust_env=False).json()["word"] != "ready":
            time.sleep(0.1)
    yield found
    for server in found:
        server.stop()


def start(server: ServerProcess, name: str) -> None:
    body = {"agentConfig": {"name": name, "model": "scripted/plain"}, "prompt": "Hi"}
    answer = httpx.post(f"{server.url}/api/agent/start", json=body, headers={"X-API-Key": "s3cret"}, trust_env=False)
    assert answer.is_success, answer.text


def test_a_page_from_one_server_lives_on_another(servers: list[ServerProcess], page: Page) -> None:
    start(servers[0], "early_bird")
    balancer = Balancer([server.port for server in servers], PREFIX)
    page.context.set_default_timeout(60_000)
    page.goto(f"{balancer.url}/ui/runs?status=COMPLETED")
    page.get_by_label("Name or key").fill("kim")
    page.get_by_label("Password or secret").fill("s3cret")
    page.get_by_label("Your name").fill("Kim Möller")
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{balancer.url}/ui/runs?status=COMPLETED", wait_until="load")
    settled(page)
    expect(page.get_by_role("link", name="early_bird")).to_be_visible()
    start(servers[0], "late_riser")
    expect(page.get_by_role("link", name="late_riser")).to_be_visible()
    page.get_by_role("link", name="Workers").click()
    settled(page)
    assert page.url == f"{balancer.url}/ui/workers"
    page.go_back()
    settled(page)
    expect(page.get_by_role("link", name="early_bird")).to_be_visible()
    balancer.close()
    sockets = [number for path, number in balancer.paths if path.split("?")[0].endswith("/ws")]
    pages = [number for path, number in balancer.paths if path.startswith("/ui/runs?")]
    assert sockets
    assert pages[-1] != sockets[-1]
