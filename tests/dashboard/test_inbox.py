"""The inbox: what runs ask is answered there, by mouse and by keys, once."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from agentspan.agents import AgentHandle
from tests.browser import shot, visit
from tests.dashboard.house import House, until

pytestmark = pytest.mark.xdist_group("browser")


def decided(handle: AgentHandle) -> list[Any]:
    """What the run's calls of `refund` came to."""
    return [each["result"] for each in handle.join().tool_calls if each["name"] == "refund"]


def of(house: House, handle: AgentHandle, customer: str) -> str:
    """The address of what the run asks about a customer."""
    found = next(each for each in handle.requests() if each.arguments["customer"] == customer)
    return f"{house.url}/inbox/{found.request_id}"


def test_a_person_approves_edits_and_sees_what_was_decided(page: Page, house: House) -> None:
    handle = house.waiting()
    visit(page, of(house, handle, "Bob"))
    card = page.get_by_role("group", name="Approval wanted: refund")
    expect(card).to_contain_text("Bob")
    expect(page.get_by_text("What was said before")).to_be_visible()
    shot(page, "inbox")
    card.get_by_role("button", name="Edit").click()
    card.get_by_label("amount").fill("250")
    card.get_by_role("button", name="Approve with these arguments").click()
    expect(page.get_by_text("Approved with changes refund")).to_be_visible()
    shot(page, "inbox-decided")
    page.get_by_role("link", name="Decided").click()
    kept = page.get_by_role("listbox", name="Requests").get_by_role("option").first
    expect(kept).to_contain_text("Approved with changes")
    visit(page, of(house, handle, "Eve"))
    page.get_by_role("group", name="Approval wanted: refund").get_by_role("button", name="Approve").click()
    expect(page.get_by_text("Approved refund")).to_be_visible()
    assert decided(handle) == ["Bob got 250", "Eve got 9000"]


def test_keys_walk_through_the_inbox_and_answer_it(page: Page, house: House) -> None:
    handle = house.waiting()
    visit(page, f"{house.url}/inbox")
    items = page.get_by_role("listbox", name="Requests").get_by_role("option")
    place = [handle.execution_id in (each.get_attribute("data-id") or "") for each in items.all()].index(True)
    for _ in range(place):
        page.keyboard.press("j")
    expect(items.nth(place)).to_have_attribute("aria-selected", "true")
    page.keyboard.press("r")
    expect(page.get_by_label("Why? The model is told.")).to_be_focused()
    page.keyboard.type("Bob is no customer of ours.")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("Rejected refund")).to_be_visible()
    page.goto(of(house, handle, "Eve"))
    expect(page.get_by_role("group", name="Approval wanted: refund")).to_contain_text("Eve")
    page.keyboard.press("a")
    expect(page.get_by_text("Approved refund")).to_be_visible()
    assert decided(handle) == ["Eve got 9000"]


def test_who_comes_second_sees_what_the_first_has_decided(page: Page, house: House) -> None:
    handle = house.waiting()
    visit(page, of(house, handle, "Bob"))
    expect(page.get_by_role("group", name="Approval wanted: refund")).to_be_visible()
    first = next(each for each in handle.requests() if each.arguments["customer"] == "Bob")
    handle.reject("Too much.", request_id=first.request_id, by="Carol")
    expect(page.get_by_text("Rejected refund")).to_be_visible()
    expect(page.get_by_text("by Carol")).to_be_visible()
    handle.cancel()


def test_several_are_answered_at_once_with_a_result_for_each(page: Page, house: House) -> None:
    handle = house.waiting()
    visit(page, f"{house.url}/inbox")
    mine = page.locator(f'li[data-id^="{handle.execution_id}"]')
    for each in mine.all():
        each.get_by_role("checkbox").check()
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Approve", exact=True).first.click()
    expect(page.get_by_text("2 of 2 done")).to_be_visible()
    expect(mine).to_have_count(0)
    until(lambda: handle.get_status().is_complete)
    assert decided(handle) == ["Bob got 500", "Eve got 9000"]
