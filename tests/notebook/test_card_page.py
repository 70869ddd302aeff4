"""The card in a browser: what it shows of each kind of request, its forms, its keys, and what it asks for."""

import re
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from agentspan.notebook.card import SOURCE
from tests.browser import SCREENSHOTS

MODEL = """
window.answers = [];
window.model = (state) => {
  const listeners = {};
  return {
    get: (name) => state[name],
    set: (name, value) => {
      state[name] = value;
      (listeners[name] || []).forEach((each) => each());
    },
    save_changes: () => { window.answers.push(state.answer); },
    on: (name, listener) => { (listeners[name.slice(7)] ||= []).push(listener); },
    off: () => {},
  };
};
"""
WORDS = {"type": "string"}
APPROVAL = {
    "requestId": "r1", "kind": "approval", "tool": "send_money", "agentName": "payer", "path": ["office", "payer"],
    "arguments": {"amount": 5, "to": "Bo <b>", "urgent": False, "tags": ["a"]}, "since": 1, "deadline": None,
    "argumentsSchema": {
        "type": "object",
        "properties": {
            "amount": {"type": "integer", "description": "In euros."},
            "to": WORDS,
            "urgent": {"type": "boolean"},
            "currency": {"enum": ["EUR", "NOK"]},
            "note": {"anyOf": [WORDS, {"type": "null"}]},
            "tags": {"type": "array", "items": WORDS},
        },
        "required": ["amount", "to"],
    },
    "link": "http://127.0.0.1:6767/ui/inbox/r1", "command": "agentspan approve r1",
}  # fmt: skip


def show(page: Page, request: dict[str, Any], **state: Any) -> Locator:
    """The card of a request on an empty page."""
    page.set_content("<style>html { color-scheme: light dark } body { margin: 16px }</style><div id='el'></div>")
    source = SOURCE.replace("export default { render };", "window.render = render;")
    page.add_script_tag(type="module", content=MODEL + source)
    page.wait_for_function("() => window.render")
    given = {"request": request, "decision": None, "busy": False, "error": "", "note": "", "answer": None, **state}
    page.evaluate(
        "(given) => { window.m = window.model(given); window.render({ model: m, el: document.getElementById('el') }) }",
        given,
    )
    return page.get_by_role("group")


def answer(page: Page) -> Any:
    [given] = page.evaluate("() => window.answers")
    assert given["requestId"] == "r1"
    return given["answer"]


def test_a_call_is_approved_by_a_click(page: Page) -> None:
    card = show(page, APPROVAL)
    expect(card).to_have_accessible_name("Approval wanted: send_money")
    expect(card).to_contain_text("office / payer")
    expect(card).to_contain_text("Bo <b>")
    expect(card.get_by_role("link", name="Open in the inbox")).to_have_attribute("href", APPROVAL["link"])
    expect(card).to_contain_text("agentspan approve r1")
    card.get_by_role("button", name="Approve", exact=True).click()
    assert answer(page) == {"approved": True}


def test_arguments_are_edited_in_fields_of_their_types(page: Page) -> None:
    card = show(page, APPROVAL)
    card.get_by_role("button", name="Edit …").click()
    card.get_by_label("amount").fill("7")
    card.get_by_label("urgent").check()
    card.get_by_label("currency").select_option(label="NOK")
    card.get_by_label("tags").fill('["a", "b"]')
    card.get_by_role("button", name="Approve with these arguments").click()
    wanted = {"amount": 7, "to": "Bo <b>", "urgent": True, "currency": "NOK", "tags": ["a", "b"]}
    assert answer(page) == {"approved": True, "arguments": wanted}


def test_arguments_may_be_written_as_json_and_mistakes_are_told(page: Page) -> None:
    card = show(page, APPROVAL)
    card.get_by_role("button", name="Edit …").click()
    card.get_by_role("button", name="as JSON").click()
    box = card.get_by_label("The arguments as JSON")
    expect(box).to_have_value(re.compile('"amount": 5'))
    box.fill("{")
    card.get_by_role("button", name="Approve with these arguments").click()
    expect(card.get_by_role("alert")).to_contain_text("is not JSON")
    box.fill('{"amount": 9, "to": "Cy"}')
    card.get_by_role("button", name="Approve with these arguments").click()
    assert answer(page) == {"approved": True, "arguments": {"amount": 9, "to": "Cy"}}


def test_a_call_is_rejected_with_a_reason_by_the_keys_alone(page: Page) -> None:
    card = show(page, APPROVAL)
    card.focus()
    page.keyboard.press("r")
    card.get_by_label("Why? The model is told.").focus()
    page.keyboard.type("too much")
    page.keyboard.press("Control+Enter")
    assert answer(page) == {"approved": False, "reason": "too much"}


def test_a_question_is_answered_in_the_form_that_it_has(page: Page) -> None:
    form = {"properties": {"size": {"type": "number"}, "colour": {"enum": ["red", "blue"]}}, "required": ["size"]}
    question = {"requestId": "r1", "kind": "question", "tool": "ask", "content": "Which?", "responseSchema": form}
    card = show(page, question)
    expect(card).to_contain_text("Which?")
    card.get_by_label("size").fill("4.5")
    card.get_by_label("colour").select_option(label="blue")
    card.get_by_role("button", name="Send").click()
    assert answer(page) == {"size": 4.5, "colour": "blue"}


def test_a_question_in_words_keeps_what_was_typed_when_it_is_refused(page: Page) -> None:
    form = {"properties": {"response": WORDS}, "required": ["response"]}
    card = show(page, {"requestId": "r1", "kind": "question", "tool": "ask", "responseSchema": form})
    card.get_by_label("Your answer").fill("blue")
    card.get_by_role("button", name="Send").click()
    assert answer(page) == {"response": "blue"}
    page.evaluate("() => { m.set('busy', true) }")
    expect(card.get_by_role("button", name="Send")).to_be_disabled()
    page.evaluate("() => { m.set('error', 'not that'); m.set('busy', false) }")
    expect(card.get_by_role("alert")).to_have_text("not that")
    expect(card.get_by_label("Your answer")).to_have_value("blue")


def test_who_is_next_is_chosen_by_a_button(page: Page) -> None:
    form = {"properties": {"selected": {"enum": ["ann", "bob", "DONE"]}}}
    card = show(page, {"requestId": "r1", "kind": "selection", "tool": "select", "responseSchema": form})
    expect(card.get_by_role("button", name="Nobody: end here")).to_be_visible()
    card.get_by_role("button", name="bob").click()
    assert answer(page) == {"selected": "bob"}


def test_a_review_lets_another_text_pass(page: Page) -> None:
    card = show(page, {"requestId": "r1", "kind": "review", "content": "Call 555-1234."})
    card.get_by_role("button", name="Edit …").click()
    box = card.get_by_label("What is to pass instead")
    expect(box).to_have_value("Call 555-1234.")
    box.fill("Call us.")
    card.get_by_role("button", name="Let this pass").click()
    assert answer(page) == {"approved": True, "edited_output": "Call us."}


@pytest.mark.parametrize(
    ("decision", "told"),
    [
        ({"status": "answered", "answer": {"approved": True}}, "Approved send_money"),
        ({"status": "answered", "answer": {"approved": True, "arguments": {"amount": 9}}}, "Approved with changes"),
        ({"status": "answered", "answer": {"approved": False, "reason": "too much"}}, "too much"),
        ({"status": "expired", "answer": None}, "Expired: send_money"),
        ({"status": "canceled", "answer": None}, "No longer asked: send_money"),
    ],
)
def test_a_decision_stands_without_buttons(page: Page, decision: dict[str, Any], told: str) -> None:
    card = show(page, APPROVAL)
    page.evaluate("(given) => m.set('decision', given)", {**decision, "decidedBy": "Ada", "decidedAt": 1})
    expect(card).to_contain_text(told)
    expect(card).to_contain_text("by Ada")
    expect(card.get_by_role("button")).to_have_count(0)


def test_it_reads_well_in_the_light_and_in_the_dark(page: Page) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    card = show(page, APPROVAL, note="A click may arrive only when the kernel is free.")
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        page.screenshot(path=SCREENSHOTS / f"card-{theme}.png")
        colour, ground = page.evaluate(
            "() => [getComputedStyle(document.querySelector('.asc')).color,"
            " matchMedia('(prefers-color-scheme: dark)').matches]"
        )
        assert colour == ("rgb(255, 255, 255)" if ground else "rgb(0, 0, 0)")
    card.get_by_role("button", name="Edit …").click()
    page.screenshot(path=SCREENSHOTS / "card-edit-dark.png")
