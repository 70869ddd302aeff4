"""The overview in a browser: sums that lead to the runs behind them, and the start of a new server."""

import pytest
from playwright.sync_api import Page, expect

from tests.agents.serving import ServerProcess
from tests.browser import settled, shot, visit
from tests.dashboard.house import House

pytestmark = pytest.mark.xdist_group("browser")


def test_the_sums_are_those_of_the_runs_and_lead_to_them(page: Page, house: House) -> None:
    visit(page, f"{house.url}/")
    runs = page.locator("[data-figure=Runs] strong")
    before = int(runs.inner_text())
    shot(page, "overview")
    house.ended("forecaster", "And tomorrow?")
    expect(runs).to_have_text(str(before + 1))
    expect(page.locator("[data-figure='Without a worker'] strong")).to_have_text("1")
    expect(page.locator("[data-figure='Wait for people'] strong")).to_have_text("2")
    waiting = page.get_by_role("region", name="What waits")
    expect(waiting.get_by_role("row", name="clerk")).to_have_count(2)
    expect(waiting.get_by_role("row", name="stargazer")).to_contain_text("a worker")
    failures = page.get_by_role("region", name="Why runs failed")
    expect(failures.locator("tr[data-id]")).to_have_count(2)
    page.locator(".bar-at[href]").last.click()
    settled(page)
    assert "/ui/runs?since=" in page.url
    expect(page.locator("tr[data-id]").first).to_be_visible()
    page.go_back()
    page.get_by_role("link", name="1h").click()
    settled(page)
    expect(page.get_by_role("link", name="1h")).to_have_attribute("aria-current", "true")
    failures.get_by_role("link").first.click()
    settled(page)
    assert "/ui/runs/" in page.url


def test_the_arrow_keys_tell_what_each_bar_stands_for(page: Page, house: House) -> None:
    visit(page, f"{house.url}/?range=7d")
    page.evaluate("window.same = true")
    page.locator(".bar-at[href]").last.focus()
    said = page.get_by_role("status").filter(has_text="completed")
    expect(said).to_be_visible()
    last = said.inner_text()
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".said")).not_to_have_text(last)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    settled(page)
    assert "/ui/runs?since=" in page.url
    assert page.evaluate("window.same")


def test_a_server_on_which_nothing_has_run_says_how_to_begin(empty: ServerProcess, page: Page) -> None:
    visit(page, f"{empty.url}/ui/")
    expect(page.get_by_text("Nothing has run here yet")).to_be_visible()
    expect(page.locator("pre")).to_contain_text(f'os.environ["AGENTSPAN_SERVER_URL"] = "{empty.url}"')
    shot(page, "overview-empty")
    visit(page, f"{empty.url}/ui/runs")
    expect(page.get_by_text("No runs yet")).to_be_visible()
    shot(page, "runs-empty")
    visit(page, f"{empty.url}/ui/costs")
    expect(page.get_by_text("Nothing was spent")).to_be_visible()
    shot(page, "costs-empty")
    visit(page, f"{empty.url}/ui/agents")
    expect(page.get_by_text("No agent is deployed")).to_be_visible()
    shot(page, "agents-empty")
