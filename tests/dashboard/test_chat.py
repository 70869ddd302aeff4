"""Chat: a conversation that the server keeps, with its words, calls and requests as they come."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from agentspan.agents import Agent, AgentConfig, AgentRuntime, tool
from agentspan.client.client import Client
from agentspan.dashboard.address import Address
from agentspan.dashboard.conversation import Turn
from agentspan.dashboard.pages.chat import BUSY, Chat
from agentspan.dashboard.store import Store
from tests.agents.serving import ServerProcess, tool_call
from tests.browser import settled, shot, visit
from tests.dashboard.conftest import run
from tests.dashboard.house import House, get_weather, refund, until

pytestmark = pytest.mark.xdist_group("browser")

USAGE = {"usage": {"prompt_tokens": 900, "completion_tokens": 60}, "cost": 0.0123}
ADVICE = "In **Paris** it rains.\n\n1. Take an *umbrella*.\n2. Leave the hat.\n"
SLOWLY = {"content": "One. Two. Three.", "chunks": ["One. ", "Two. ", "Three."], "delay_ms": 500, "chunk_ms": 400,
          **USAGE}  # fmt: skip
FOR_EVER = {"content": "On and on", "chunks": ["On and on", " for ever"], "delay_ms": 500, "chunk_ms": 60_000}


# A turn


def event(number: int | None, kind: str, **rest: Any) -> dict[str, Any]:
    given = {"type": kind, "executionId": "r", "path": [], "timestamp": 10_000, **rest}
    return given if number is None else {"id": number, **given}


def folded(*events: dict[str, Any], since: int = 0) -> Turn:
    turn = Turn("r", "Hello")
    for each in events:
        turn.take(each, since)
    return turn


def test_words_grow_until_the_message_is_there() -> None:
    turn = folded(event(1, "thinking"), event(None, "token", content="In **Pa"), event(None, "token", content="ris**"))
    assert ["In <strong>Paris</strong>" in each["html"] for each in turn.spoken()] == [True]
    turn.take(event(3, "message", content="In **Paris**."))
    assert turn.spoken() == []
    assert [each["text"] for each in turn.items] == ["In **Paris**."]


def test_another_attempt_says_it_all_again() -> None:
    turn = folded(event(1, "thinking"), event(None, "token", content="Ha"), event(3, "thinking", attempt=1),
                  event(None, "token", content="Hello"))  # fmt: skip
    assert turn.writing == {"r": "Hello"}


def test_who_comes_into_the_middle_of_an_answer_sees_that_words_are_missing() -> None:
    assert folded(event(1, "thinking"), event(None, "token", content="ris"), since=60_000).writing == {"r": "… ris"}
    assert folded(event(1, "thinking"), event(None, "token", content="Pa"), since=10_000).writing == {"r": "Pa"}


def test_a_call_that_is_tried_again_is_one_call() -> None:
    call = event(2, "tool_call", toolName="ship", args={"order": 3}, callId="call_1_0")
    failure = event(3, "error", content="no shelf", toolName="call_1_0", final=False)
    turn = folded(call, failure)
    assert turn.items[0]["state"] == "failed"
    turn.take(event(5, "tool_result", toolName="ship", callId="call_1_0", result="shipped"))
    assert [(each["state"], each["result"]) for each in turn.items] == [("done", "shipped")]


def test_an_error_that_ends_the_run_is_told_once() -> None:
    turn = folded(event(2, "error", content="no key", toolName="r_llm__1", final=False),
                  event(3, "error", content="no key", toolName="workflow", final=True, status="FAILED"))  # fmt: skip
    assert [(each["kind"], each["text"]) for each in turn.items] == [("error", "no key")]
    assert turn.status == "FAILED"


def test_what_was_being_said_stays_when_it_is_stopped() -> None:
    turn = folded(event(2, "tool_call", toolName="ship", args={}, callId="call_1_0"),
                  event(None, "token", content="On and on"),
                  event(4, "error", content="stopped", toolName="workflow", final=True,
                        status="TERMINATED"))  # fmt: skip
    assert [each["kind"] for each in turn.items] == ["call", "words"]
    assert turn.items[0]["state"] == "cut"
    assert turn.items[1]["cut"]


def test_a_structured_result_takes_the_place_of_its_text() -> None:
    turn = folded(event(2, "message", content='{"city": "Paris"}'),
                  event(3, "done", output={"result": {"city": "Paris"}}))  # fmt: skip
    assert [(each["kind"], each.get("value")) for each in turn.items] == [("value", {"city": "Paris"})]


def test_text_is_never_markup() -> None:
    assert "<script" not in folded(event(1, "message", content="<script>alert(1)</script>")).items[0]["html"]


# The view


async def seen(holds: Callable[[], Any], seconds: float = 20.0) -> None:
    await asyncio.to_thread(until, holds, seconds)


def with_chat(server: ServerProcess, name: str, session: str, look: Callable[[Chat], Awaitable[None]]) -> None:
    """A chat as it stands in a cell, alive."""

    async def looking() -> None:
        async with Client(server.url) as client:
            store = Store(client)
            view = Chat(store, Address(place=f"/chat/{name}?session={session}"), name=name)
            view.open()
            try:
                await seen(lambda: view.screen.turns)
                await look(view)
            finally:
                view.close()
                store.close()

    run(looking())


def said(view: Chat) -> list[dict[str, Any]]:
    """What stands below the last message."""
    turns = json.loads(view.screen.turns)
    return list(turns[-1]["items"]) if turns else []


def deployed(house: House, name: str, *answers: Any, tools: list[Any] | None = None) -> None:
    house.runtime.deploy(Agent(name, house.server.script(name, *answers), tools=tools or []))


def test_a_conversation_goes_on_where_it_was_left(house: House) -> None:
    deployed(house, "echo", {"content": "You said {prompt}, in turn {turn}.", "times": "forever", **USAGE})

    async def first(view: Chat) -> None:
        view._told({"say": "Hello", "click": 1})
        await seen(lambda: said(view))
        assert view.screen.taken == {"click": 1}
        view._told({"say": "Again", "click": 2})
        await seen(lambda: len(json.loads(view.screen.turns)) == 2)

    async def second(view: Chat) -> None:
        turns = json.loads(view.screen.turns)
        assert [each["prompt"] for each in turns] == ["Hello", "Again"]
        assert [each["items"][0]["text"] for each in turns] == [
            "You said Hello, in turn 1.", "You said Again, in turn 2.",
        ]  # fmt: skip
        assert [each["title"] for each in json.loads(view.screen.sessions)] == ["Hello"]
        assert turns[-1]["tokens"] == 960

    with_chat(house.server, "echo", "left", first)
    with_chat(house.server, "echo", "left", second)


def test_a_message_to_a_busy_conversation_is_given_back(house: House) -> None:
    deployed(house, "busy", FOR_EVER)

    async def look(view: Chat) -> None:
        view.store.close()
        started = await view.store.client.start({"agentName": "busy", "prompt": "Go.", "sessionId": "b"})
        await view._send("Me too", 7)
        assert view.screen.taken == {"click": 7, "problem": BUSY}
        await view.store.client.cancel(started["executionId"])

    with_chat(house.server, "busy", "b", look)


def test_an_answer_goes_on_after_the_server_was_away(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path)
    server.start()
    with AgentRuntime(config=AgentConfig(server_url=server.url)) as runtime:

        @tool
        def look_up(city: str) -> str:
            """Look a city up."""
            return f"{city} is there"

        agent = Agent("guide", server.script("guide", tool_call("look_up", city="Paris"), ADVICE), tools=[look_up])
        runtime.deploy(agent)

        async def look(view: Chat) -> None:
            view._told({"say": "Where is Paris?", "click": 1})
            await seen(lambda: '"state":"open"' in view.screen.now)
            await asyncio.to_thread(server.stop)
            await asyncio.to_thread(server.start)
            await asyncio.to_thread(runtime.serve, agent, blocking=False)
            await seen(lambda: said(view), 60)
            assert [each["kind"] for each in said(view)] == ["call", "words"]
            assert said(view)[0]["result"] == "Paris is there"

        with_chat(server, "guide", "away", look)
    server.stop()


# The page


def message(page: Page, name: str, text: str) -> None:
    field = page.get_by_label(f"Message to {name}")
    field.fill(text)
    field.press("Enter")


def test_a_person_talks_to_an_agent_with_its_calls_and_finds_it_again(page: Page, house: House) -> None:
    deployed(house, "adviser", tool_call("get_weather", city="Paris"), {"content": ADVICE, "chunk_ms": 20, **USAGE},
             SLOWLY, FOR_EVER, tools=[get_weather])  # fmt: skip
    house.runtime.serve(Agent("adviser", "scripted/adviser", tools=[get_weather]), blocking=False)
    visit(page, f"{house.url}/chat")
    shot(page, "chat-agents")
    page.locator("[data-agent=adviser]").click()
    expect(page.get_by_role("heading", name="Say something to adviser")).to_be_visible()
    message(page, "adviser", "Do I need an umbrella?")
    last = page.locator("article.turn").last
    expect(last.get_by_role("listitem").first).to_have_text("Take an umbrella.")
    expect(last.locator("details.call")).to_contain_text("get_weather city: Paris → 18 degrees and light rain")
    last.locator("details.call > summary").click()
    expect(last.get_by_role("heading", name="Result")).to_be_visible()
    expect(last.locator(".foot")).to_contain_text("$0.012")
    # Words come one after another, and a draft outlives all that changes, and a reload.
    message(page, "adviser", "And in Rome?")
    expect(page.locator("article.turn .foot", has_text="$0.012")).to_have_count(2)
    message(page, "adviser", "Count.")
    expect(last.locator(".writing")).to_contain_text("One.")
    page.get_by_label("Message to adviser").fill("Go on")
    expect(last.locator(".items")).to_have_text("One. Two. Three.")
    shot(page, "chat")
    address = page.url
    page.reload()
    settled(page)
    expect(page.locator("article.turn")).to_have_count(3)
    expect(page.get_by_label("Message to adviser")).to_have_value("Go on")
    # It can be stopped, and talked to anew.
    page.get_by_label("Message to adviser").press("Enter")
    expect(last.locator(".writing")).to_have_text("On and on")
    page.get_by_role("button", name="Stop").click()
    expect(last.locator(".foot")).to_contain_text("Stopped")
    page.get_by_role("button", name="New conversation").click()
    expect(page.locator("article.turn")).to_have_count(0)
    page.get_by_role("navigation", name="Conversations").get_by_role("link", name="Do I need an umbrella?").click()
    expect(page.locator("article.turn")).to_have_count(4)
    assert page.url == address
    last.get_by_role("link", name="Run ").click()
    page.wait_for_url("**/runs/*")


def test_a_person_approves_in_the_conversation(page: Page, house: House) -> None:
    deployed(house, "cashier", {"tool_calls": [{"name": "refund", "arguments": {"customer": "Bob", "amount": 500}}]},
             "All settled: {result}.", tools=[refund])  # fmt: skip
    visit(page, f"{house.url}/chat/cashier")
    message(page, "cashier", "Bob wants his money back.")
    card = page.get_by_role("group", name="Approval wanted: refund")
    expect(card).to_contain_text("500")
    shot(page, "chat-request")
    card.get_by_role("button", name="Approve").click()
    expect(page.get_by_text("Approved refund")).to_be_visible()
    expect(page.locator("article.turn").last).to_contain_text("All settled: Bob got 500.")


def test_an_answer_that_nobody_can_give_says_why(page: Page, house: House) -> None:
    @tool
    def dig(where: str) -> str:
        """Dig."""
        return where

    deployed(house, "digger", tool_call("dig", where="here"), "Done.", tools=[dig])
    visit(page, f"{house.url}/chat/digger")
    message(page, "digger", "Dig.")
    expect(page.get_by_text("for a worker that serves dig")).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("article.turn .foot")).to_contain_text("Stopped")


def test_an_agent_that_is_not_deployed_is_missed_kindly(page: Page, house: House) -> None:
    visit(page, f"{house.url}/chat/nobody")
    expect(page.get_by_role("heading", name="No agent named nobody is deployed")).to_be_visible()
    page.get_by_role("link", name="The agents that are deployed").click()
    expect(page.locator("[data-agent=forecaster]")).to_be_visible()
