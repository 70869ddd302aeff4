"""The pages of agents: what is deployed, what its versions differ in, its start, and its schedules."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from agentspan.agents import Agent
from tests.browser import settled, shot, visit
from tests.dashboard.house import House

pytestmark = pytest.mark.xdist_group("browser")

RULES = (
    "You plan trips.\n\nRules:\n- Be brief.\n- Name the city.\n- No jokes.\n- Round to hours.\n\nAnswer in a sentence."
)


def deployed(house: House, name: str, *instructions: str) -> str:
    """The address of an agent that is deployed so, once for each text."""
    model = house.server.script(name, *["Take the train."] * 3)
    for each in instructions:
        house.runtime.deploy(Agent(name, model, instructions=each))
    return f"{house.url}/agents/{name}"


def test_agents_are_listed_with_what_became_of_their_runs(page: Page, house: House) -> None:
    visit(page, f"{house.url}/agents")
    row = page.get_by_role("region", name="Deployed agents").locator("tr[data-id=forecaster]")
    expect(row).to_contain_text("v2")
    expect(row.locator("[data-key=success]")).to_have_text("100%")
    expect(row.locator("[data-key=tools]")).to_have_text("1")
    others = page.get_by_role("region", name="Agents seen in runs")
    expect(others.locator("tr[data-id=shipper] [data-key=success]")).to_contain_text("0%")
    expect(others.locator("tr[data-id=forecaster]")).to_have_count(0)
    shot(page, "agents")
    row.get_by_role("link", name="forecaster").click()
    settled(page)
    assert page.url.endswith("/ui/agents/forecaster")
    page.go_back()
    settled(page)
    others.get_by_role("link", name="clerk").click()
    settled(page)
    assert "/ui/runs?agent=clerk" in page.url


def test_an_agent_is_told_of_part_by_part_in_the_version_that_one_asks_for(page: Page, house: House) -> None:
    visit(page, f"{house.url}/agents/newsroom")
    expect(page.get_by_role("heading", name="newsroom")).to_be_visible()
    expect(page.locator("svg").get_by_text("researcher", exact=True)).to_be_visible()
    page.locator("summary").filter(has_text="critic").first.click()
    expect(page.locator("pre").get_by_text("Criticise.")).to_be_visible()
    shot(page, "agent-team")
    visit(page, f"{house.url}/agents/forecaster")
    expect(page.locator("pre").get_by_text("Be brief and kind.")).to_be_visible()
    page.locator("summary").filter(has_text="get_weather(").click()
    expect(page.get_by_text("The weather in a city now.", exact=True).first).to_be_visible()
    shot(page, "agent")
    page.get_by_label("Version", exact=True).select_option("1")
    page.wait_for_url("**/agents/forecaster?version=1")
    expect(page.locator("pre").get_by_text("You forecast. Be brief.", exact=True)).to_be_visible()
    visit(page, f"{house.url}/agents/forecaster?version=9")
    expect(page.get_by_text("There is no version 9; this is version 2.")).to_be_visible()


def test_versions_are_compared_line_by_line_and_rolled_back(page: Page, house: House, ask: Any) -> None:
    kind = RULES.replace("Be brief.", "Be brief and kind.")
    address = deployed(house, "traveller", RULES, kind, kind.replace("- No jokes.\n", "") + "\nSay what to wear.")
    visit(page, f"{address}?tab=versions")
    change = page.get_by_role("region", name="instructions", exact=True)
    expect(change.locator("[data-mark=new]")).to_contain_text("Say what to wear.")
    expect(change.locator("[data-mark=gone]")).to_contain_text("No jokes.")
    page.get_by_label("From version 1").check()
    page.wait_for_url("**from=1**")
    expect(change.locator("[data-mark=changed] td.new mark")).to_have_text(" and kind")
    shot(page, "agent-versions")
    page.get_by_role("button", name="Roll back to version 1").click()
    page.get_by_role("button", name="Not now").click()
    page.get_by_role("button", name="Roll back to version 1").click()
    page.get_by_role("button", name="Roll back", exact=True).click()
    expect(page.locator("tr[data-version='4']")).to_contain_text("latest")
    expect(page.locator("tr[data-version='1']")).to_contain_text("same as the latest")
    assert ask(lambda client: client.agent("traveller"))["instructions"] == RULES


def test_a_run_is_started_when_the_form_makes_sense(page: Page, house: House, ask: Any) -> None:
    visit(page, f"{deployed(house, 'starter', RULES, 'Other rules.')}?tab=start&version=1")
    form = page.get_by_role("form", name="Start a run")
    go = form.get_by_role("button", name="Start v1")
    go.click()
    expect(form.get_by_text("There is nothing to run on")).to_be_visible()
    form.get_by_text("Session, media, context and budget").click()
    form.get_by_label("Context").fill('{"order": ')
    form.get_by_label("Media").fill("my picture")
    form.get_by_label("Tokens").fill("1.5")
    form.get_by_label("Prompt").fill("To Rome?")
    go.click()
    for said in ("This is no JSON", "is no address", "This must be a whole number"):
        expect(form.get_by_text(said)).to_be_visible()
    shot(page, "agent-start")
    form.get_by_label("Context").fill('{"order": 17}')
    form.get_by_label("Media").fill("")
    form.get_by_label("Tokens").fill("100000")
    form.get_by_label("Session").fill("rome")
    go.click()
    page.wait_for_url("**/runs/*")
    expect(page.get_by_role("heading", name="starter")).to_be_visible()
    run = ask(lambda client: client.execution(page.url.rpartition("/")[2]))
    assert run["input"]["context"] == {"order": 17}
    assert run["input"]["session_id"] == "rome"
    assert run["input"]["budget"] == {"tokens": 100000}
    assert ask(lambda client: client.result(run["executionId"], wait_ms=10_000))["status"] == "COMPLETED"
    page.go_back()
    settled(page)
    expect(page.get_by_role("heading", name="starter")).to_be_visible()


def test_a_schedule_is_made_changed_run_and_deleted(page: Page, house: House, ask: Any) -> None:
    visit(page, f"{deployed(house, 'sleeper', RULES)}?tab=schedules")
    expect(page.get_by_text("Nothing is scheduled")).to_be_visible()
    page.get_by_role("button", name="New schedule").click()
    form = page.get_by_role("form", name="Schedule")
    form.get_by_label("Name").fill("mornings")
    form.get_by_label("When", exact=True).fill("0 25 * * *")
    expect(form.locator("[data-field=cron] .said")).to_contain_text("0 25 * * *")
    form.get_by_label("When", exact=True).fill("0 7 * * 1-5")
    form.get_by_label("Time zone").fill("Mars/Olympus")
    expect(form.locator("[data-field=zone] .said")).to_contain_text("there is no time zone")
    form.get_by_label("Time zone").fill("Europe/Berlin")
    expect(form.locator(".moments .chip")).to_have_count(5)
    expect(form.locator(".moments .chip").first).to_contain_text("07:00")
    form.get_by_role("button", name="Keep").click()
    expect(form.get_by_text("There is nothing to run on")).to_be_visible()
    form.get_by_label("Prompt").fill("Which train do I take?")
    shot(page, "agent-schedule")
    form.get_by_role("button", name="Keep").click()
    row = page.get_by_role("table", name="Schedules").locator("tr[data-id=sleeper-mornings]")
    expect(row).to_contain_text("07:00")
    shot(page, "agent-schedules")
    row.get_by_role("button", name="Pause").click()
    expect(row).to_contain_text("paused")
    row.get_by_role("button", name="Change").click()
    form.get_by_label("When", exact=True).fill("@hourly")
    form.get_by_role("button", name="Keep").click()
    expect(row).to_contain_text("@hourly")
    kept = ask(lambda client: client.schedule("sleeper-mornings"))
    assert kept["paused"]
    assert kept["startWorkflowRequest"]["input"]["prompt"] == "Which train do I take?"
    row.get_by_role("button", name="Run now").click()
    page.wait_for_url("**/runs/*")
    page.go_back()
    settled(page)
    row.get_by_role("button", name="Delete").click()
    row.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_text("Nothing is scheduled")).to_be_visible()


def test_a_name_that_is_not_deployed_says_so_and_leads_to_its_runs(page: Page, house: House) -> None:
    visit(page, f"{house.url}/agents/shipper")
    expect(page.get_by_role("heading", name="No agent “shipper” is deployed")).to_be_visible()
    shot(page, "agent-missing")
    page.get_by_role("link", name="see them").click()
    page.wait_for_url(re.compile(r"/runs\?agent=shipper"))
