"""Who may do what: an admin gives access, each sees what is theirs to do, and a link shows one run."""

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from agentspan.agents import Agent, AgentConfig, AgentRuntime
from agentspan.dashboard import may
from agentspan.dashboard.roster import ABOUT_ROLES
from agentspan.engine.access import ROLES, SCOPES
from agentspan.server import rights
from tests.agents.serving import ServerProcess, tool_call
from tests.browser import Seen, settled, shot, visit, watched
from tests.dashboard.house import refund, until

pytestmark = pytest.mark.xdist_group("browser")

KEY, SECRET = "root", "the secret of the house"
PASSWORD = "correct horse battery"
ASKED = {
    "pause": ("PUT", "/api/agent/{execution_id}/pause"),
    "resume": ("PUT", "/api/agent/{execution_id}/resume"),
    "stop": ("POST", "/api/agent/{execution_id}/stop"),
    "cancel": ("DELETE", "/api/agent/{execution_id}/cancel"),
    "terminate": ("POST", "/api/agent/executions/bulk/terminate"),
    "retry": ("POST", "/api/agent/executions/{execution_id}/retry"),
    "fork": ("POST", "/api/agent/executions/{execution_id}/fork"),
    "start": ("POST", "/api/agent/start"),
    "answer": ("POST", "/api/agent/{execution_id}/respond"),
    "share": ("POST", "/api/agent/executions/{execution_id}/share"),
    "roll back": ("POST", "/api/agent/{name}/rollback"),
    "schedule": ("POST", "/api/scheduler/schedules"),
    "keep credentials": ("POST", "/api/credentials"),
    "read settings": ("GET", "/api/config"),
    "give access": ("POST", "/api/users"),
}
"""What an action of the pages asks of the server."""


class Locked:
    """A server that asks for credentials, with a run that has ended and one that waits for a person."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.ui = f"{server.url}/ui"
        config = AgentConfig(server_url=server.url, auth_key=KEY, auth_secret=SECRET)
        self.runtime = AgentRuntime(config=config)
        greeter = Agent("greeter", server.script("greeter", "Good morning."))
        clerk = Agent(
            "clerk", server.script("clerk", tool_call("refund", customer="Bob", amount=5), "Done."), tools=[refund]
        )
        self.runtime.deploy(greeter)
        self.ended = self.runtime.run(greeter, "Greet.").execution_id
        waiting = self.runtime.start(clerk, "Settle it.")
        until(lambda: len(waiting.requests()) == 1)
        self.waiting = waiting.execution_id

    def ask(self, verb: str, path: str, body: Any = None, **headers: str) -> Any:
        """The answer's JSON; as who has the secret, unless other credentials are given."""
        shown = headers or {"X-API-Key": SECRET}
        request = urllib.request.Request(f"{self.server.url}{path}", method=verb)
        for name, value in {**shown, "Content-Type": "application/json"}.items():
            request.add_header(name, value)
        with urllib.request.urlopen(request, json.dumps(body).encode() if body is not None else None) as answer:
            return json.loads(answer.read() or b"null")

    def refusals(self) -> list[str]:
        """How often what was refused, by the server's own account: the pages' process asks it as well."""
        request = urllib.request.Request(f"{self.server.url}/metrics", headers={"X-API-Key": SECRET})
        with urllib.request.urlopen(request) as answer:
            lines = answer.read().decode().splitlines()
        return [each for each in lines if re.search(r'http_request_seconds_count.*status="40[13]"', each)]

    def user(self, name: str, role: str) -> None:
        self.ask("POST", "/api/users", {"name": name, "role": role, "password": PASSWORD})


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    """It is there once; each test makes people of its own."""
    server = ServerProcess(
        tmp_path_factory.mktemp("locked"), AGENTSPAN_AUTH_KEY=KEY, AGENTSPAN_AUTH_SECRET=SECRET, AGENTSPAN_UI_WARM="1"
    )
    server.start()
    locked = Locked(server)
    until(lambda: locked.ask("GET", "/ui/-/state")["word"] == "ready", 60)
    yield locked
    locked.runtime.shutdown()
    server.stop()


@pytest.fixture
def elsewhere(browser: Browser, seen: Seen) -> Iterator[Page]:
    """The browser of another person, who has no cookies."""
    context = browser.new_context(viewport={"width": 1280, "height": 860}, color_scheme="light", locale="en-GB")
    context.set_default_timeout(20_000)
    yield watched(context.new_page(), seen)
    context.close()


def log_in(page: Page, locked: Locked, key: str, secret: str, place: str = "/ui/") -> None:
    page.goto(f"{locked.server.url}/login?next={place}")
    page.get_by_label("Name or key").fill(key)
    page.get_by_label("Password or secret").fill(secret)
    page.get_by_role("button", name="Log in", exact=True).click()
    page.wait_for_url("**/ui/**")
    settled(page)


def row(page: Page, table: str, text: str) -> Any:
    return page.get_by_role("table", name=table).get_by_role("row").filter(has_text=text)


# What the pages say beforehand is what the server would say


def test_the_pages_and_the_server_agree_on_what_each_action_takes() -> None:
    assert {action: rights.RIGHTS[asked].any_of for action, asked in ASKED.items()} == {
        action: any_of for action, any_of in may.TAKES.items() if action in ASKED
    }
    assert {action for action in may.TAKES if action not in ASKED} == {"browse", "export"}
    assert {role: frozenset(scopes) for role, scopes in may.ROLES.items()} == ROLES
    assert may.SCOPES.keys() == set(SCOPES)
    assert ABOUT_ROLES.keys() == may.ROLES.keys()


def test_whoever_has_a_link_is_offered_nothing() -> None:
    assert may.allowed({"kind": "share", "scopes": ["read"]}) == []
    assert may.given({"scopes": may.ROLES["developer"]}) == ["viewer", "operator", "developer"]


# An admin


def test_an_admin_makes_a_user_and_a_key_and_the_audit_tells_of_it(page: Page, locked: Locked) -> None:
    log_in(page, locked, KEY, SECRET, "/ui/access")
    page.get_by_role("button", name="New user…").click()
    form = page.get_by_role("dialog", name="New user")
    form.get_by_label("Name", exact=False).first.fill("vera")
    form.get_by_label("Password").fill("short")
    form.get_by_role("button", name="Make the user").click()
    expect(form.get_by_role("alert")).to_contain_text("at least 12 characters")
    form.get_by_label("Password").fill(PASSWORD)
    form.get_by_role("button", name="Make the user").click()
    expect(row(page, "Users", "vera")).to_contain_text("viewer")
    row(page, "Users", "vera").get_by_role("button", name="Change vera").click()
    page.get_by_label("Role").select_option("operator")
    page.get_by_role("button", name="Keep").click()
    expect(row(page, "Users", "vera")).to_contain_text("operator")
    row(page, "Users", "vera").get_by_role("button", name="Disable vera").click()
    page.get_by_role("dialog").get_by_role("button", name="Disable").click()
    expect(row(page, "Users", "vera")).to_contain_text("disabled")
    shot(page, "access-users")

    page.get_by_role("link", name="API keys").click()
    settled(page)
    page.get_by_role("button", name="New key…").click()
    form = page.get_by_role("dialog", name="New API key")
    form.get_by_label("Name", exact=False).first.fill("nightly")
    form.get_by_label("May do").select_option("")
    form.get_by_label("metrics").check()
    shot(page, "access-new-key")
    form.get_by_role("button", name="Make the key").click()
    text = page.get_by_role("textbox", name="The key nightly").input_value()
    assert locked.ask("GET", "/api/auth/me", **{"X-API-Key": text})["scopes"] == ["metrics"]
    page.get_by_role("button", name="I have kept it").click()
    assert text not in page.content()
    row(page, "API keys", "nightly").get_by_role("button", name="Revoke nightly").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(row(page, "API keys", "nightly")).to_contain_text("revoked")

    page.get_by_role("link", name="Audit").click()
    settled(page)
    expect(row(page, "Audit", "user.created").first).to_contain_text("vera")
    expect(row(page, "Audit", "key.revoked").first).to_contain_text("ok")
    page.get_by_label("What").select_option("user.")
    expect(row(page, "Audit", "key.revoked")).to_have_count(0)
    assert PASSWORD not in page.content()
    shot(page, "access-audit")


def test_an_admin_looks_after_tenants(page: Page, locked: Locked) -> None:
    log_in(page, locked, KEY, SECRET, "/ui/access?tab=tenants")
    page.get_by_role("button", name="New tenant…").click()
    form = page.get_by_role("dialog", name="New tenant")
    form.get_by_label("Name", exact=False).first.fill("acme")
    form.get_by_label("Runs at once").fill("3")
    form.get_by_role("button", name="Make the tenant").click()
    expect(row(page, "Tenants", "acme")).to_contain_text("runs at once: 3")
    row(page, "Tenants", "acme").get_by_role("button", name="Admin acme").click()
    page.get_by_role("dialog").get_by_label("Name").fill("wile")
    page.get_by_role("dialog").get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Make the admin").click()
    expect(page.get_by_role("dialog", name="An admin for acme")).to_be_hidden()
    token = locked.ask("POST", "/api/auth/login", {"username": "wile", "password": PASSWORD})
    assert (token["user"]["tenant"], token["user"]["role"]) == ("acme", "admin")
    row(page, "Tenants", "acme").get_by_role("button", name="Shut acme").click()
    page.get_by_role("dialog").get_by_role("button", name="Shut").click()
    expect(row(page, "Tenants", "acme")).to_contain_text("shut")
    row(page, "Tenants", "acme").get_by_role("button", name="Open acme").click()
    expect(row(page, "Tenants", "acme")).not_to_contain_text("shut")
    shot(page, "access-tenants")


# What others see


def test_a_viewer_is_offered_nothing_that_the_server_would_refuse(page: Page, locked: Locked) -> None:
    locked.user("vic", "viewer")
    log_in(page, locked, "vic", PASSWORD)
    before = locked.refusals()
    pages = page.get_by_role("navigation", name="Pages")
    expect(pages.get_by_role("link", name="Runs")).to_be_visible()
    for name in ("Access", "Credentials", "Chat"):
        expect(pages.get_by_role("link", name=name)).to_have_count(0)
    visit(page, f"{locked.ui}/runs/{locked.waiting}")
    expect(page.get_by_role("heading", name="clerk")).to_be_visible()
    expect(page.locator("[data-act]")).to_have_count(0)
    visit(page, f"{locked.ui}/inbox")
    card = page.get_by_role("group", name="Approval wanted: refund")
    expect(card).to_contain_text("This takes the right to answer, which the role viewer does not have.")
    expect(card.get_by_role("button")).to_have_count(0)
    expect(page.get_by_role("checkbox")).to_have_count(0)
    shot(page, "access-viewer-inbox")
    visit(page, f"{locked.ui}/chat/greeter")
    expect(page.get_by_text("You may read conversations.")).to_be_visible()
    expect(page.get_by_role("button", name="New conversation")).to_have_count(0)
    for name in ("credentials", "access"):
        visit(page, f"{locked.ui}/{name}")
        expect(page.get_by_text("which the role viewer does not have")).to_be_visible()
    assert locked.refusals() == before


# Shared runs


def test_a_shared_run_is_shown_to_a_stranger_and_nothing_else_is(
    page: Page, elsewhere: Page, locked: Locked, seen: Seen
) -> None:
    log_in(page, locked, KEY, SECRET, f"/ui/runs/{locked.waiting}")
    page.get_by_role("button", name="Share…").click()
    dialog = page.get_by_role("dialog", name="Share the run")
    dialog.get_by_label("Note").fill("for Lee")
    dialog.get_by_label("How long").select_option("1 day")
    dialog.get_by_role("button", name="Make a link").click()
    link = dialog.get_by_role("textbox", name="The link").input_value()
    expect(dialog.get_by_role("listitem")).to_contain_text("for Lee")
    shot(page, "share-dialog")

    before = locked.refusals()
    visit(elsewhere, link)
    assert elsewhere.url == f"{locked.ui}/runs/{locked.waiting}"
    expect(elsewhere.get_by_role("heading", name="clerk")).to_be_visible()
    expect(elsewhere.get_by_text("Shared with you by root until")).to_be_visible()
    expect(elsewhere.get_by_role("navigation", name="Pages")).to_have_count(0)
    elsewhere.get_by_text("approve refund").click()
    expect(elsewhere.get_by_role("region", name="Selected step")).to_contain_text("Bob")
    elsewhere.get_by_role("tab", name="Moment").click()
    expect(elsewhere.get_by_text("Messages of this agent")).to_be_visible()
    shot(elsewhere, "shared-run")
    for tab, text in (("Transcript", "Settle it."), ("Events", "started"), ("Graph", "clerk")):
        elsewhere.get_by_role("tab", name=tab).click()
        expect(elsewhere.get_by_role("tabpanel", name=tab)).to_contain_text(text)
    expect(elsewhere.locator("[data-act], [data-export], [data-fork], a[href*='/inbox']")).to_have_count(0)
    for place in (f"runs/{locked.ended}", "runs"):
        visit(elsewhere, f"{locked.ui}/{place}")
        expect(elsewhere.get_by_role("heading", name="This link shows one run")).to_be_visible()
    elsewhere.get_by_role("link", name="this run").click()
    expect(elsewhere.get_by_role("heading", name="clerk")).to_be_visible()
    assert locked.refusals() == before

    dialog.get_by_role("button", name="Revoke the link for Lee").click()
    expect(dialog.get_by_role("listitem")).to_have_count(0)
    expect(elsewhere.get_by_text("This cannot be read any more.")).to_be_visible(timeout=15_000)
    seen.allowed = ("401",)
    elsewhere.goto(link)
    expect(elsewhere.get_by_text("this run is not shared any more")).to_be_visible()
    assert locked.refusals() != before


# One's own


def test_a_person_sees_who_they_are_makes_a_key_and_changes_their_password(
    page: Page, locked: Locked, seen: Seen
) -> None:
    locked.user("dora", "developer")
    log_in(page, locked, "dora", PASSWORD, "/ui/settings")
    expect(page.get_by_text("You are dora, developer of the tenant default.")).to_be_visible()
    expect(page.get_by_text("keep credentials", exact=True)).to_be_visible()
    expect(page.get_by_role("region", name="Configuration")).to_have_count(0)
    shot(page, "access-settings")
    page.get_by_role("link", name="Your keys").click()
    settled(page)
    page.get_by_role("button", name="New key…").click()
    form = page.get_by_role("dialog", name="New API key")
    assert form.get_by_label("May do").get_by_role("option").count() == 4
    form.get_by_label("Name", exact=False).first.fill("hers")
    form.get_by_role("button", name="Make the key").click()
    page.get_by_role("button", name="I have kept it").click()
    expect(row(page, "API keys", "hers")).to_contain_text("viewer")
    visit(page, f"{locked.ui}/settings")
    page.get_by_role("button", name="Change your password…").click()
    form = page.get_by_role("dialog", name="Change your password")
    form.get_by_label("Password until now").fill("not this one")
    form.get_by_label("New password").fill("another horse battery")
    form.get_by_role("button", name="Change it").click()
    expect(form.get_by_role("alert")).to_contain_text("the old password is wrong")
    form.get_by_label("Password until now").fill(PASSWORD)
    form.get_by_role("button", name="Change it").click()
    page.get_by_role("link", name="Log in again").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
