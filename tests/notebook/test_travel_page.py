"""The slider in a browser: what it shows, keys, and what it asks for."""

import json
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from agentspan.agents import Agent, AgentRuntime, tool
from agentspan.notebook import travel
from agentspan.notebook.moments import SOURCE
from tests.agents.serving import ServerProcess, tool_call
from tests.browser import SCREENSHOTS

MODEL = """
window.asked = [];
window.model = (given, moments) => {
  const listeners = {}, state = { ...given };
  const model = {
    get: (name) => state[name],
    set: (name, value) => {
      if (state[name] === value) return;
      state[name] = value;
      (listeners[name] || []).forEach((each) => each());
    },
    save_changes: () => {
      if (moments[state.seq] && state.moment.seq !== state.seq) model.set("moment", moments[state.seq]);
      if (state.wish) window.asked.push(state.wish);
    },
    on: (name, listener) => { (listeners[name.slice(7)] ||= []).push(listener); },
    off: () => {},
  };
  return model;
};
"""


@pytest.fixture
def shown(page: Page, runtime: AgentRuntime, server: ServerProcess) -> Page:
    """A page with the slider of a real run."""

    @tool
    def search(to: str) -> str:
        """Search a flight."""
        return f"a <b>flight</b> to {to} for 900 euros"

    model = server.script(f"trip-{uuid4().hex[:8]}", tool_call("search", to="Oslo"), "You fly to Oslo: {result}.")
    handle = runtime.start(Agent("traveller", model, "Book what is cheap.", [search]), "I must be in Oslo on Monday.")
    handle.join(10)
    trip = travel(handle)
    moments = {each.seq: trip.to(each.seq).moment for each in trip.steps}
    given: dict[str, Any] = {"title": "Run of traveller", "run": handle.execution_id, "steps": trip._steps, "seq": 5,
             "moment": moments[5], "forks": [], "busy": False, "error": "", "wish": None}  # fmt: skip
    page.set_content("<style>html { color-scheme: light dark } body { margin: 16px }</style><div id='el'></div>")
    source = SOURCE.read_text().replace("export default { render };", "window.render = render;")
    page.add_script_tag(type="module", content=MODEL + source)
    page.wait_for_function("() => window.render")
    page.evaluate(
        "([given, moments]) => { window.m = window.model(given, moments);"
        " window.render({ model: window.m, el: document.getElementById('el') }); }",
        [given, moments],
    )
    return page


def test_keys_and_the_slider_go_through_the_log(shown: Page) -> None:
    widget = shown.get_by_role("group", name="Travel through the run")
    expect(widget).to_contain_text("5 / 8")
    expect(widget).to_contain_text("a <b>flight</b> to Oslo")
    widget.focus()
    shown.keyboard.press("ArrowLeft")
    expect(widget).to_contain_text("4 / 8")
    shown.get_by_role("tab", name="Open 1").click()
    expect(shown.get_by_role("tabpanel")).to_contain_text("search")
    shown.keyboard.press("Tab")
    shown.get_by_role("slider").fill("0")
    expect(widget).to_contain_text("1 / 8")
    expect(shown.get_by_role("button", name="One step back")).to_be_disabled()
    shown.get_by_role("slider").fill("7")
    expect(widget).to_contain_text("fork it at an earlier step")


def test_a_fork_says_what_is_changed(shown: Page) -> None:
    shown.get_by_role("button", name="Fork here").click()
    shown.get_by_role("button", name="the tool's result").click()
    field = shown.get_by_label("the tool's result")
    expect(field).to_have_value("a <b>flight</b> to Oslo for 900 euros")
    field.fill('{"price": 90}')
    shown.get_by_role("button", name="the model").click()
    shown.get_by_label("the model").fill("scripted/other")
    shown.get_by_role("button", name="Fork", exact=True).click()
    asked = json.loads(shown.evaluate("() => JSON.stringify(window.asked.at(-1))"))
    assert asked == {"seq": 5, "edits": {"tool_result": {"price": 90}, "model": "scripted/other"}, "click": 1}
    fork = {"executionId": "f1", "at": 5, "edits": ["model"], "status": "COMPLETED", "answer": "By train."}
    shown.evaluate("forks => window.m.set('forks', forks)", [fork])
    expect(shown.get_by_text("By train.")).to_be_visible()


def test_arguments_that_are_no_object_are_not_sent(shown: Page) -> None:
    shown.get_by_role("button", name="One step back").click()
    shown.get_by_role("button", name="Fork here").click()
    shown.get_by_role("button", name="the arguments").click()
    expect(shown.get_by_label("the arguments")).to_have_value('{\n  "to": "Oslo"\n}')
    shown.get_by_label("the arguments").fill("Bergen")
    shown.get_by_role("button", name="Fork", exact=True).click()
    expect(shown.get_by_role("alert").last).to_contain_text("not JSON")
    assert shown.evaluate("() => window.asked.length") == 0


def test_it_is_drawn_for_light_and_dark(shown: Page) -> None:
    shown.get_by_role("button", name="Fork here").click()
    shown.get_by_role("button", name="the tool's result").click()
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    for theme in ("light", "dark"):
        shown.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        shown.screenshot(path=SCREENSHOTS / f"cell-travel-{theme}.png")
        colour = shown.evaluate("() => getComputedStyle(document.querySelector('.ast-title')).color")
        assert colour == ("rgb(0, 0, 0)" if theme == "light" else "rgb(255, 255, 255)")
