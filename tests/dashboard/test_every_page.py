"""What holds for every page: a first look on an empty server, names for what can be used, room in narrow windows."""

import pytest
from playwright.sync_api import Page, expect

from tests.agents.serving import ServerProcess
from tests.browser import shot, visit
from tests.dashboard.house import House

pytestmark = pytest.mark.xdist_group("browser")

PAGES = ("", "runs", "inbox", "agents", "chat", "workers", "costs", "credentials", "access", "settings")

NAMELESS = """() => {
  const found = []
  const walk = (root) => {
    for (const each of root.querySelectorAll("*")) {
      if (each.shadowRoot) walk(each.shadowRoot)
      if (!each.matches("button, a[href], input, select, textarea, [role=button], [role=option]")) continue
      if (!each.checkVisibility() || each.type === "hidden") continue
      const told = ["aria-label", "aria-labelledby", "title", "placeholder"].some((name) => each.getAttribute(name))
      const label = each.labels?.[0]?.textContent ?? each.closest("label")?.textContent
      if (!told && !label && !each.textContent.trim()) found.push(each.outerHTML.slice(0, 200))
    }
  }
  walk(document)
  return found
}"""

SIDEWAYS = "() => document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth"


def test_every_page_says_on_an_empty_server_what_it_is_for(empty: ServerProcess, page: Page) -> None:
    for name in PAGES:
        visit(page, f"{empty.url}/ui/{name}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        shot(page, f"{name or 'overview'}-empty")


def test_all_that_can_be_used_has_a_name(page: Page, house: House) -> None:
    runs = (f"runs/{house.runs['failed_team']}", f"runs/{house.runs['waiting']}?tab=transcript")
    for name in (*PAGES, *runs, "agents/newsroom"):
        visit(page, f"{house.url}/{name}")
        page.wait_for_timeout(300)  # what is read a moment later
        assert page.evaluate(NAMELESS) == [], name


def test_a_narrow_window_needs_no_scrolling_sideways(page: Page, house: House) -> None:
    page.set_viewport_size({"width": 900, "height": 800})
    for name in (*PAGES, f"runs/{house.runs['failed_team']}"):
        visit(page, f"{house.url}/{name}")
        assert page.evaluate(SIDEWAYS) <= 0, name
