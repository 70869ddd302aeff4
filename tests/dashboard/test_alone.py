"""The dashboard by itself: `panel serve apps/dashboard.py` shows any server, and its addresses can be opened again."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from agentspan.dashboard.alone import free_port
from tests.dashboard.house import House

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(180)]

APP = Path(__file__).parents[2] / "apps" / "dashboard.py"


@pytest.fixture
def alone(house: House) -> Iterator[str]:
    """The address of the dashboard, in a process of its own."""
    port = free_port()
    with subprocess.Popen(
        [sys.executable, "-m", "panel", "serve", str(APP), "--port", str(port), "--address", "127.0.0.1"],
        env={**os.environ, "AGENTSPAN_SERVER_URL": house.server.url},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        while "Bokeh app running" not in (line := process.stdout.readline()):
            assert line, "panel serve has ended"
        yield f"http://localhost:{port}/dashboard"
        process.kill()


def test_every_place_has_an_address_that_can_be_opened_again(page: Page, alone: str) -> None:
    page.goto(alone)
    page.get_by_role("link", name="Runs", exact=True).click()
    shown(page, "/runs")
    assert page.url == f"{alone}?at=/runs"
    page.goto(f"{alone}?at=/runs?status=FAILED")
    shown(page, "/runs?status=FAILED")
    expect(page.get_by_role("button", name="failed").first).to_have_attribute("aria-pressed", "true")
    page.get_by_role("link", name="Workers").click()
    shown(page, "/workers")
    page.get_by_role("link", name="Overview").click()
    shown(page, "/")
    page.go_back()
    shown(page, "/workers")
    assert page.url == f"{alone}?at=/workers"
    page.goto(f"{alone}?at=/runs&status=FAILED")
    shown(page, "/runs?status=FAILED")


def shown(page: Page, place: str) -> None:
    page.wait_for_function("place => document.body?.dataset.ready === place", arg=place)
