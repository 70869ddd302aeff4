"""The list of runs in a browser: searched, narrowed, kept up to date, and acted upon."""

import csv
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser import settled, shot, visit
from tests.dashboard.house import House

pytestmark = pytest.mark.xdist_group("browser")


def rows(page: Page) -> Any:
    return page.locator("tr[data-id]")


def test_a_person_finds_the_failing_step_of_a_failed_run(page: Page, house: House) -> None:
    visit(page, f"{house.url}/")
    page.locator("[data-figure=Succeeded] a").click()
    settled(page)
    expect(page.locator("[data-filter='status:FAILED']")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("tr[data-id] [data-status]").first).to_contain_text("failed")
    rows(page).filter(has_text="shipper").locator("a").first.click()
    settled(page)
    assert page.url.endswith(f"/ui/runs/{house.runs['failed']}")


def test_what_narrows_the_list_stands_in_its_address(page: Page, house: House) -> None:
    visit(page, f"{house.url}/runs")
    before = rows(page).count()
    expect(page.locator("[data-filter='status:FAILED'] em")).not_to_be_empty()
    shot(page, "runs")
    page.locator("[data-filter='status:FAILED']").click()
    expect(rows(page)).not_to_have_count(before)
    assert "status=FAILED" in page.url
    page.get_by_label("Agent").select_option("shipper")
    expect(rows(page).filter(has_text="logistics")).to_have_count(0)
    assert "agent=shipper" in page.url
    page.reload()
    settled(page)
    expect(rows(page)).to_have_count(1)
    page.go_back()
    expect(rows(page).filter(has_text="logistics")).to_have_count(1)
    page.go_back()
    expect(rows(page)).to_have_count(before)
    assert page.url.endswith("/ui/runs")


def test_a_search_and_a_session_find_runs_and_a_view_is_kept_by_its_name(page: Page, house: House) -> None:
    for question in ("Is a parasol of use?", "And tomorrow?"):
        house.ended("forecaster", question, session_id="beach-desk")
    page.set_viewport_size({"width": 1600, "height": 860})
    visit(page, f"{house.url}/runs")
    expect(page.get_by_role("searchbox")).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("parasol")
    expect(rows(page)).to_have_count(1)
    page.get_by_role("link", name="beach-desk").click()
    expect(rows(page)).to_have_count(2)
    page.get_by_role("button", name="Save view").click()
    page.get_by_label("Name").fill("The beach desk")
    page.keyboard.press("Enter")
    visit(page, f"{house.url}/runs")
    page.get_by_role("link", name="The beach desk").click()
    expect(rows(page)).to_have_count(2)
    page.get_by_role("button", name="Forget the view The beach desk").click()
    expect(page.get_by_role("link", name="The beach desk")).to_have_count(0)
    page.get_by_role("searchbox").fill("nobody ever asked this")
    expect(page.get_by_text("No such runs")).to_be_visible()
    shot(page, "runs-none")


def test_new_runs_come_in_at_the_top_and_are_only_counted_where_they_would_disturb(page: Page, house: House) -> None:
    visit(page, f"{house.url}/runs")
    page.evaluate("window.same = true")
    first = house.ended("forecaster", "First news?")
    expect(rows(page).first).to_have_attribute("data-id", first)
    rows(page).first.get_by_role("checkbox").check()
    expect(page.locator("[data-held]")).to_have_count(1)
    second = house.ended("forecaster", "Second news?")
    expect(page.get_by_text("1 chosen")).to_be_visible()
    expect(rows(page).first).to_have_attribute("data-id", first)
    page.get_by_role("button", name="Clear").click()
    expect(rows(page).first).to_have_attribute("data-id", second)
    page.set_viewport_size({"width": 1280, "height": 240})
    rows(page).last.scroll_into_view_if_needed()
    expect(page.locator("[data-held]")).to_have_count(1)
    house.ended("forecaster", "Third news?")
    pill = page.locator("[data-fresh]")
    expect(pill).to_have_text("↑ 1 new run")
    expect(rows(page).first).to_have_attribute("data-id", second)
    pill.click()
    expect(rows(page).first).not_to_have_attribute("data-id", second)
    assert page.evaluate("window.same")


def test_chosen_runs_are_acted_upon_compared_and_taken_along(page: Page, house: House, tmp_path: Path) -> None:
    handles = [house.runtime.start(house.agents["clerk"], f"=wait({n})") for n in "ab"]
    for each in handles:
        each.pause()
    ours = [each.execution_id for each in handles]
    visit(page, f"{house.url}/runs?status=PAUSED")
    expect(rows(page)).to_have_count(2)
    page.get_by_label("All on this page").check()
    expect(page.locator("[data-act=compare]")).to_have_attribute("href", f"/ui/compare?a={ours[0]}&b={ours[1]}")
    with page.expect_download() as told:
        page.locator("[data-act=csv]").click()
    told.value.save_as(tmp_path / "runs.csv")
    kept = list(csv.DictReader((tmp_path / "runs.csv").read_text().splitlines()))
    assert {each["executionId"] for each in kept} == set(ours)
    assert {each["preview"] for each in kept} == {"'=wait(a)", "'=wait(b)"}  # no formula
    expect(page.locator("[data-act=retry]")).to_be_disabled()
    page.locator("[data-act=terminate]").click()
    expect(page.get_by_role("dialog")).to_contain_text("Cancel 2 runs?")
    shot(page, "runs-cancel")
    page.get_by_label("Reason").fill("not needed")
    page.locator("[data-act=confirm]").click()
    expect(page.locator("[data-outcome] li")).to_have_count(2)
    expect(page.locator("[data-outcome] li").first).to_contain_text("done")
    page.get_by_role("button", name="Close", exact=True).click()
    expect(page.get_by_text("No such runs")).to_be_visible()


def test_pages_lead_on_and_back_and_keys_through_the_rows(page: Page, house: House) -> None:
    visit(page, f"{house.url}/runs?size=2")
    first = rows(page).first.get_attribute("data-id")
    page.get_by_role("link", name="More").click()
    settled(page)
    expect(rows(page).first).not_to_have_attribute("data-id", str(first))
    expect(page.get_by_text("3 to 4")).to_be_visible()
    page.locator("[data-page=newer]").click()
    expect(rows(page).first).to_have_attribute("data-id", str(first))
    page.go_back()
    expect(page.get_by_text("3 to 4")).to_be_visible()
    chosen = rows(page).nth(1).get_attribute("data-id")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(page.get_by_text("1 chosen")).to_be_visible()
    page.keyboard.press("Enter")
    settled(page)
    assert page.url.endswith(f"/ui/runs/{chosen}")


def test_a_filter_that_the_server_refuses_is_told_and_can_be_cleared(page: Page, house: House) -> None:
    visit(page, f"{house.url}/runs?cost=much")
    expect(page.get_by_role("alert")).to_contain_text("minCost must be a number")
    page.get_by_role("button", name="Clear").click()
    expect(rows(page).first).to_be_visible()
    expect(page.get_by_role("alert")).to_be_hidden()
