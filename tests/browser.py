"""A real browser for tests: Debian's Chromium, driven by Playwright.

A test that opens a page fails when the page writes an error to the console, raises one, or asks anybody but this
machine for anything. `AGENTSPAN_TEST_CHROMIUM` names another Chromium; without one, these tests fail and say how to get
it.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, sync_playwright

SCREENSHOTS = Path(__file__).parents[1] / ".cache" / "screenshots"
READY_MS = 20_000
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--force-color-profile=srgb", "--font-render-hinting=none",
)  # fmt: skip


@dataclass
class Seen:
    """What a page did that it must not do."""

    errors: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    allowed: tuple[str, ...] = ()

    def console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not any(each in message.text for each in self.allowed):
            self.errors.append(f"console: {message.text}")

    def request(self, request: Request) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "http://localhost:", "data:", "blob:", "about:")):
            self.outside.append(request.url)


def chromium_path() -> str:
    """Where Chromium is on this machine."""
    path = os.environ.get("AGENTSPAN_TEST_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.fail(
            "these tests need Chromium: run tests/chromium.sh (Debian, Ubuntu), or name one in AGENTSPAN_TEST_CHROMIUM"
        )
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for the tests of a file: while it is there, no other loop can run in this thread."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def seen() -> Seen:
    """What pages of this test did wrong; `allowed` holds pieces of errors that the test provokes."""
    return Seen()


@pytest.fixture
def context(browser: Browser, seen: Seen) -> Iterator[BrowserContext]:
    """A browser of one person: its own cookies, a window of 1280 by 860."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 860}, color_scheme="light", locale="en-GB", timezone_id="UTC"
    )
    context.set_default_timeout(READY_MS)
    yield context
    context.close()
    assert not seen.outside, f"the page asked for something outside: {seen.outside}"
    assert not seen.errors, f"the page had errors: {seen.errors}"


@pytest.fixture
def page(context: BrowserContext, seen: Seen) -> Page:
    """An empty page."""
    return watched(context.new_page(), seen)


def watched(page: Page, seen: Seen) -> Page:
    """A page whose mistakes are noted."""
    page.on("console", seen.console)
    page.on("pageerror", lambda error: seen.errors.append(f"error: {error}"))
    page.on("request", seen.request)
    return page


def visit(page: Page, address: str) -> None:
    """Open a page of the dashboard, and wait until it shows its data."""
    page.goto(address)
    settled(page)


def settled(page: Page) -> None:
    """Wait until the page shows the data of the address that it is at."""
    page.wait_for_function(
        "() => { const ready = document.body?.dataset.ready;"
        " return ready !== undefined && ready !== '' && location.href.endsWith(ready === '/' ? '' : ready) }",
        timeout=READY_MS,
    )


def shot(page: Page, name: str) -> None:
    """Keep how the page looks, in light and in dark, under .cache/screenshots."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    for theme in ("dark", "light"):
        page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        page.wait_for_function("theme => document.body.dataset.shade === theme", arg=theme)
        page.wait_for_timeout(250)  # the theme fades
        page.screenshot(path=SCREENSHOTS / f"{name}-{theme}.png")
