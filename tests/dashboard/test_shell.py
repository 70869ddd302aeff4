"""The frame of the pages: addresses, keys, themes, and nothing from outside."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser import settled, shot, visit
from tests.dashboard.house import House

pytestmark = pytest.mark.xdist_group("browser")


def test_links_lead_on_without_a_reload_and_back_leads_back(page: Page, house: House) -> None:
    visit(page, f"{house.url}/runs")
    page.evaluate("window.same = true")
    page.get_by_role("link", name="Workers").click()
    settled(page)
    assert page.url.endswith("/ui/workers")
    page.go_back()
    settled(page)
    assert page.url.endswith("/ui/runs")
    assert page.evaluate("window.same")
    expect(page.get_by_role("link", name="Runs")).to_have_attribute("aria-current", "page")


def test_keys_lead_to_the_pages(page: Page, house: House) -> None:
    visit(page, f"{house.url}/runs")
    page.keyboard.press("g")
    page.keyboard.press("i")
    settled(page)
    assert page.url.endswith("/ui/inbox")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_hidden()


def test_the_theme_follows_the_system_until_a_person_turns_it(page: Page, house: House) -> None:
    page.emulate_media(color_scheme="dark")
    visit(page, f"{house.url}/runs")
    page.wait_for_function("document.body.dataset.shade === 'dark'")
    page.get_by_role("button", name="theme").click()
    page.wait_for_function("document.body.dataset.shade === 'light'")
    visit(page, f"{house.url}/runs")
    page.wait_for_function("document.body.dataset.shade === 'light'")


def test_an_address_that_names_no_page_says_so(page: Page, house: House) -> None:
    visit(page, f"{house.url}/nowhere")
    expect(page.get_by_role("heading", name="There is no such page")).to_be_visible()
    shot(page, "unknown")


def test_what_waits_for_a_person_is_counted_beside_the_inbox(page: Page, house: House) -> None:
    visit(page, f"{house.url}/runs")
    expect(page.get_by_role("link", name="Inbox")).to_contain_text("2")
