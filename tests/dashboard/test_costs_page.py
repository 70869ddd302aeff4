"""What runs cost, in a browser."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser import settled, shot, visit
from tests.dashboard.house import House

pytestmark = pytest.mark.xdist_group("browser")


def test_costs_are_shown_by_what_one_asks_for_and_lead_to_their_runs(page: Page, house: House) -> None:
    visit(page, f"{house.url}/costs")
    table = page.get_by_role("region", name="Costs by agent")
    expect(table.locator("tr[data-id=forecaster]")).to_contain_text("$0.0")
    shot(page, "costs")
    page.get_by_role("link", name="By day").click()
    settled(page)
    expect(page.get_by_role("region", name="Costs by day").locator("tr[data-id]")).not_to_have_count(0)
    page.get_by_role("link", name="By session").click()
    settled(page)
    page.get_by_role("link", name="weather-desk").click()
    settled(page)
    assert "session=weather-desk" in page.url
    expect(page.locator("tr[data-id]")).not_to_have_count(0)
    page.go_back()
    settled(page)
    expect(page.get_by_role("link", name="By session")).to_have_attribute("aria-current", "true")
