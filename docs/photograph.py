"""Take the pictures of the docs anew: `python -m docs.photograph`, from the root folder, with Chromium.

A server of its own is furnished as a team's is, and its pages are photographed as a person sees them.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from agentspan.agents import Agent, AgentHandle, tool
from tests.agents.serving import ServerProcess, tool_call
from tests.browser import FLAGS, chromium_path, visit
from tests.dashboard.house import House, until

PICTURES = Path(__file__).with_name("pictures")
WINDOW = {"width": 1280, "height": 800}


@tool
def search(query: str) -> list[str]:
    """Search the web."""
    time.sleep(0.4 + len(query) / 40)
    return [f"{query}: a study of 2026", f"{query}: a forum thread"]


@tool
def price(company: str) -> float:
    """The price of a share, in dollars."""
    time.sleep(0.5)
    return 71.4


@tool(approval_required=True)
def order(company: str, shares: int) -> str:
    """Buy shares."""
    time.sleep(0.3)
    return f"bought {shares} of {company}"


def desk(house: House) -> AgentHandle:
    """A team at work that waits for a person."""

    def model(name: str, *answers: Any) -> str:
        return house.server.script(name, *[_priced(each) for each in answers])

    ferries, people = tool_call("search", query="fjord ferries"), tool_call("search", query="what people say")
    members = [
        Agent("markets", model("markets", ferries, "Ferries grow."), tools=[search]),
        Agent("rumours", model("rumours", people, "Mixed."), tools=[search]),
        Agent("numbers", model("numbers", tool_call("price", company="Fjord"), "71.40 a share."), tools=[price]),
    ]
    research = Agent("research", agents=members, strategy="parallel")
    calls = [tool_call("order", company="Fjord", shares=40), "Forty shares of **Fjord** were bought."]
    trader = Agent("trader", model("trader", tool_call("price", company="Fjord"), *calls), tools=[price, order])
    team = Agent("investment_desk", agents=[research, trader], strategy="sequential")
    handle = house.runtime.start(team, "Should we buy Fjord? If so, buy.")
    until(lambda: len(handle.requests()) == 1)
    return handle


def _priced(answer: Any) -> Any:
    whole = {"content": answer} if isinstance(answer, str) else answer
    usage = {"prompt_tokens": 1240, "completion_tokens": 85}
    return {**whole, "delay_ms": 700, "usage": usage, "cost": 0.0041}


def main() -> None:
    """Take all pictures."""
    PICTURES.mkdir(exist_ok=True)
    with furnished() as house, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=list(FLAGS))
        for theme, wanted in TAKEN.items():
            context = browser.new_context(viewport=WINDOW, color_scheme=theme, timezone_id="UTC")  # type: ignore[arg-type]
            page = context.new_page()
            for name, place in wanted.items():
                take(page, f"{house.url}{place.format(**house.runs)}", name)
            context.close()
        browser.close()


def take(page: Page, address: str, name: str) -> None:
    """Open a page, and keep how it looks."""
    visit(page, address)
    page.wait_for_timeout(1200)  # what is still being read or fades in
    page.screenshot(path=PICTURES / f"{name}.png")


@contextmanager
def furnished() -> Iterator[House]:
    server = ServerProcess(Path(tempfile.mkdtemp()))
    server.start()
    house = House(server)
    try:
        house.furnish()
        house.runs["desk"] = desk(house).execution_id
        house.open()
        yield house
    finally:
        house.close()
        server.stop()


TAKEN = {
    "light": {
        "run": "/runs/{desk}",
        "inbox": "/inbox",
        "runs": "/runs",
        "overview": "/?range=1h",
        "agent": "/agents/newsroom",
        "chat": "/chat/forecaster?session=weather-desk",
    },
    "dark": {"run-dark": "/runs/{failed_team}", "transcript-dark": "/runs/{desk}?tab=transcript"},
}

if __name__ == "__main__":
    main()
