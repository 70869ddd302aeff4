"""What runs ask people is answered by clicks on cards: in real kernels, by the messages of a front end."""

import json
import urllib.request
from typing import Any

import pytest

from tests.agents.serving import ServerProcess, tool_call
from tests.notebook.conftest import KEY
from tests.notebook.kernel import WIDGET, Kernel

pytestmark = pytest.mark.xdist_group("kernels")

PAYER = """
from agentspan.agents import Agent, AgentRuntime, tool, human_tool
from agentspan.notebook import cards

paid = []

@tool(approval_required=True)
def pay(amount: int, to: str = "Bo") -> str:
    "Pay money."
    paid.append((amount, to))
    return f"paid {amount} to {to}"

agent = Agent(name="payer", model="scripted/payer", tools=[pay])
runtime = AgentRuntime()
"""


@pytest.fixture(scope="session")
def payer(server: ServerProcess) -> str:
    return server.script("payer", tool_call("pay", amount=5), {"content": "Done: {result}."})


@pytest.fixture
def ready(either: Kernel, payer: str) -> Kernel:
    either.say(PAYER)
    return either


def asked(kernel: Kernel) -> tuple[str, str]:
    """Start a run that asks, and show its card; the ids of the request and of the widget."""
    kernel.say(
        "import time\n"
        "run = runtime.start(agent, 'Pay.')\n"
        "while not run.requests(): time.sleep(0.02)\n"
        "shown = cards(run)"
    )
    [request] = json.loads(kernel.say("import json; print(json.dumps([each.request_id for each in run.requests()]))"))
    return request, kernel.until(lambda: card_of(kernel, request), "the card")


def card_of(kernel: Kernel, request: str) -> str:
    found = [each for each, had in kernel.widgets.items() if had.get("request", {}).get("requestId") == request]
    return found[-1] if found else ""


def click(kernel: Kernel, request: str, card: str, answer: Any, **how: str) -> None:
    kernel.set_widget(card, answer={"requestId": request, "answer": answer, "click": 1}, **how)


def decision(kernel: Kernel, card: str) -> dict[str, Any]:
    return kernel.until(lambda: kernel.widgets[card].get("decision"), "the decision")


def test_a_click_while_the_kernel_is_idle_approves_the_call(ready: Kernel) -> None:
    request, card = asked(ready)
    assert ready.widgets[card]["request"]["argumentsSchema"]["properties"]["amount"]["type"] == "integer"
    click(ready, request, card, {"approved": True})
    assert decision(ready, card)["decidedBy"] == "Ada"
    assert ready.say("print(run.join(20).output['result'])") == "Done: paid 5 to Bo."


def test_arguments_are_edited_in_the_card(ready: Kernel) -> None:
    request, card = asked(ready)
    click(ready, request, card, {"approved": True, "arguments": {"amount": 7, "to": "Cy"}})
    assert ready.say("print(run.join(20).output['result'])") == "Done: paid 7 to Cy."


def test_an_answer_that_does_not_fit_is_told_on_the_card_which_stays_open(ready: Kernel) -> None:
    request, card = asked(ready)
    click(ready, request, card, {"approved": True, "arguments": {"amount": "much"}})
    ready.until(lambda: "amount" in ready.widgets[card]["error"], "the error")
    ready.until(lambda: not ready.widgets[card]["busy"], "the end of the sending")
    click(ready, request, card, {"approved": False, "reason": "No."})
    assert decision(ready, card)["answer"]["approved"] is False
    assert ready.widgets[card]["error"] == ""


def test_the_output_is_saved_with_a_static_card_and_becomes_the_static_decision(ready: Kernel) -> None:
    request, card = asked(ready)
    [bundle] = [
        each["content"]["data"]
        for each in ready.messages
        if each["msg_type"] == "display_data" and request in each["content"]["data"].get("text/html", "")
    ]
    assert bundle[WIDGET]["model_id"] == card
    assert f"agentspan approve {request}" in bundle["text/html"]
    assert f"/ui/inbox/{request}" in bundle["text/html"]
    click(ready, request, card, {"approved": True})
    ready.until(lambda: "Approved" in last_update(ready).get("text/plain", ""), "the static decision")
    assert WIDGET not in last_update(ready)
    assert "by Ada" in last_update(ready)["text/html"]


def test_what_is_saved_has_no_credentials_in_it(ready: Kernel) -> None:
    request, card = asked(ready)
    assert ready.say("print(len(runtime.config.api_key))") == str(len(KEY))
    click(ready, request, card, {"approved": True})
    decision(ready, card)
    assert KEY not in str(ready.messages)
    assert KEY not in str(ready.widgets)


def last_update(kernel: Kernel) -> dict[str, Any]:
    found = [each["content"]["data"] for each in kernel.messages if each["msg_type"] == "update_display_data"]
    return found[-1] if found else {}


def test_a_decision_that_was_made_elsewhere_is_shown_and_a_late_click_changes_nothing(
    ready: Kernel, server: ServerProcess
) -> None:
    request, card = asked(ready)
    body = json.dumps({"approved": False, "reason": "Not today.", "by": "Bo"}).encode()
    url = f"{server.url}/api/inbox/{request}/respond"
    asking = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method="POST")
    urllib.request.urlopen(asking).close()
    assert decision(ready, card)["decidedBy"] == "Bo"
    click(ready, request, card, {"approved": True})
    assert "paid" not in ready.say("print(run.join(20).output['result'])").partition("Done")[0]
    assert decision(ready, card)["decidedBy"] == "Bo"


def test_while_a_cell_awaits_ipykernel_7_takes_the_click_and_6_says_where_else_to_answer(ready: Kernel) -> None:
    request, card = asked(ready)
    told = ready.say("from agentspan.notebook.card import note_while\nprint(note_while(awaits=True))")
    if ready.old:
        assert "ipykernel 6" in told
        cell = ready.begin(f"run.approve(request_id={request!r}); (await run.join_async()).output['result']")
    else:
        assert told == ""
        cell = ready.begin("(await run.join_async()).output['result']")
        click(ready, request, card, {"approved": True})
    ready.until(lambda: cell.ended, "the end of the cell", 30)
    assert "Done: paid 5 to Bo." in cell.text


def test_while_a_cell_blocks_a_click_in_a_subshell_arrives(ready: Kernel) -> None:
    if ready.old:
        pytest.skip("ipykernel 6 has no subshells")
    request, card = asked(ready)
    cell = ready.begin("print(run.join(30).output['result'])")
    click(ready, request, card, {"approved": True}, subshell=ready.subshell())
    ready.until(lambda: cell.ended, "the end of the cell", 30)
    assert "Done: paid 5 to Bo." in cell.text


def test_a_run_that_a_cell_waits_for_has_its_card_below_which_says_what_a_busy_kernel_means(ready: Kernel) -> None:
    before = set(ready.widgets)
    cell = ready.begin("result = runtime.run(agent, 'Pay.'); print(result.output['result'])")
    card = ready.until(lambda: new_card(ready, before), "the card")
    assert "this cell waits for the run" in ready.widgets[card]["note"]
    request = ready.widgets[card]["request"]["requestId"]
    if ready.old:
        ready.until(lambda: any(WIDGET in each for each in cell.displays), "the card's output")
        ready.interrupt()
        ready.until(lambda: cell.ended, "the end of the cell")
        ready.until(lambda: ready.widgets[card]["note"] == "", "a card without a note")
        click(ready, request, card, {"approved": True})
        assert decision(ready, card)["answer"] == {"approved": True}
        return
    click(ready, request, card, {"approved": True}, subshell=ready.subshell())
    ready.until(lambda: cell.ended, "the end of the cell")
    assert "Done: paid 5 to Bo." in cell.text


def test_a_run_that_a_cell_awaits_has_its_card_below_too(ready: Kernel) -> None:
    before = set(ready.widgets)
    cell = ready.begin("run = runtime.start(agent, 'Pay.')\nprint((await run).output['result'])")
    card = ready.until(lambda: new_card(ready, before), "the card")
    request = ready.widgets[card]["request"]["requestId"]
    if ready.old:
        assert "this cell awaits in ipykernel 6" in ready.widgets[card]["note"]
        ready.until(lambda: any(WIDGET in each for each in cell.displays), "the card's output")
        ready.interrupt()
        ready.until(lambda: cell.ended, "the end of the cell")
    click(ready, request, card, {"approved": True})
    assert decision(ready, card)["answer"] == {"approved": True}
    if not ready.old:
        assert ready.widgets[card]["note"] == ""
        ready.until(lambda: cell.ended, "the end of the cell")
    assert ready.say("print((await run).output['result'])") == "Done: paid 5 to Bo."


def test_a_handle_as_the_value_of_a_cell_has_its_cards_below(ready: Kernel) -> None:
    before = set(ready.widgets)
    assert ready.run("runtime.start(agent, 'Pay.')").status == "ok"
    card = ready.until(lambda: new_card(ready, before), "the card")
    click(ready, ready.widgets[card]["request"]["requestId"], card, {"approved": False, "reason": "No."})
    assert decision(ready, card)["answer"]["reason"] == "No."


def test_a_request_as_the_value_of_a_cell_is_its_card(ready: Kernel) -> None:
    request, _ = asked(ready)
    before = set(ready.widgets)
    assert ready.run("run.pending[0]").status == "ok"
    card = ready.until(lambda: new_card(ready, before), "the card")
    click(ready, request, card, {"approved": True})
    assert decision(ready, card)["decidedBy"] == "Ada"


def new_card(kernel: Kernel, before: set[str]) -> str:
    found = [each for each, had in kernel.widgets.items() if each not in before and had.get("request")]
    return found[-1] if found else ""


def test_whoever_types_is_asked_in_the_cell(ready: Kernel) -> None:
    ready.prompts.clear()
    cell = ready.begin("print(runtime.run(agent, 'Pay.', on_human='prompt').output['result'])")
    ready.until(lambda: ready.prompts, "the prompt")
    assert "pay(amount=5)" in ready.prompts[0]
    ready.type('{"amount": 8}')
    ready.until(lambda: cell.ended, "the end of the cell")
    assert "Done: paid 8 to Bo." in cell.text


def test_a_front_end_in_which_nobody_can_type_is_told_so(ready: Kernel) -> None:
    cell = ready.run("runtime.run(agent, 'Pay.', on_human='prompt')", allow_stdin=False)
    assert "HumanNeededError" in cell.error
    assert "nobody can type here" in cell.error


def test_the_environment_answers_in_a_notebook_that_runs_by_itself(ready: Kernel) -> None:
    said = ready.say(
        "import os\nos.environ['AGENTSPAN_ON_HUMAN'] = 'approve'\n"
        "print(AgentRuntime().run(agent, 'Pay.').output['result'])\ndel os.environ['AGENTSPAN_ON_HUMAN']",
        allow_stdin=False,
    )
    assert "Done: paid 5 to Bo." in said
