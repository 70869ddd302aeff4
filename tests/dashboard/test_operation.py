"""The pages of those who operate a server: workers and queues, credentials, settings."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser import shot, visit
from tests.dashboard.house import House

pytestmark = pytest.mark.xdist_group("browser")

VALUE = "sk-never-to-be-seen-again-0123456789"


def test_a_run_without_a_worker_says_why_and_what_helps(page: Page, house: House) -> None:
    visit(page, f"{house.url}/workers")
    line = page.get_by_role("region", name="Runs without a worker").get_by_role("row").filter(has_text="stargazer")
    expect(line).to_contain_text("count_stars_again", timeout=60_000)  # its worker must be silent for long enough
    queue = page.get_by_role("region", name="Queues").get_by_role("row").filter(has_text="count_stars_again")
    expect(queue).to_contain_text("unserved")
    expect(page.get_by_role("region", name="Workers").get_by_role("row").filter(has_text="server:")).to_be_visible()
    shot(page, "workers")
    line.get_by_role("link").click()
    page.wait_for_url(f"**/runs/{house.runs['stuck']}")


def test_a_credential_is_kept_bound_and_deleted_and_its_value_never_comes_back(page: Page, house: House) -> None:
    visit(page, f"{house.url}/credentials")
    page.get_by_label("Name", exact=True).fill("BANK_KEY")
    page.get_by_label("Value").fill(VALUE)
    page.get_by_role("button", name="Save").click()
    row = page.get_by_role("table", name="Credentials").get_by_role("row").filter(has_text="BANK_KEY")
    expect(row).to_be_visible()
    expect(page.get_by_label("Value")).to_have_value("")
    page.get_by_label("Name that tools ask for").fill("PAYMENTS")
    page.get_by_role("button", name="Bind").click()
    bound = page.get_by_role("table", name="Bindings").get_by_role("row").filter(has_text="PAYMENTS")
    expect(bound).to_contain_text("BANK_KEY")
    shot(page, "credentials")
    visit(page, f"{house.url}/credentials")
    assert VALUE not in page.content()
    bound.get_by_role("button", name="Delete PAYMENTS").click()
    bound.get_by_role("button", name="Delete", exact=True).click()
    expect(bound).to_have_count(0)
    row.get_by_role("button", name="Delete BANK_KEY").click()
    row.get_by_role("button", name="Keep").click()
    row.get_by_role("button", name="Delete BANK_KEY").click()
    row.get_by_role("button", name="Delete", exact=True).click()
    expect(row).to_have_count(0)


def test_what_the_server_refuses_is_said(page: Page, house: House) -> None:
    visit(page, f"{house.url}/credentials")
    page.get_by_label("Name", exact=True).fill("not a name!")
    page.get_by_label("Value").fill("something")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("a credential is named by letters")).to_be_visible()


def test_settings_say_what_is_in_force_and_where_it_comes_from(page: Page, house: House) -> None:
    visit(page, f"{house.url}/settings")
    port = page.get_by_role("region", name="Configuration").get_by_role("row").filter(has_text="data_dir")
    expect(port).to_contain_text(str(house.server.folder))
    expect(page.get_by_role("region", name="This server")).to_contain_text(house.server.url)
    expect(page.get_by_role("region", name="Versions")).to_contain_text("tornado")
    shot(page, "settings")
