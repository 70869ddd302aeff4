"""The page of a run without a browser: what it reads, and what of it the browser is sent."""

import asyncio
import json
from typing import Any

from agentspan.agents import Agent
from agentspan.client.client import Client
from agentspan.dashboard.address import Address
from agentspan.dashboard.pages.compare import Compare
from agentspan.dashboard.pages.run import Run
from agentspan.dashboard.picture import FIELDS, Picture
from agentspan.dashboard.store import Store
from tests.dashboard.conftest import run
from tests.dashboard.house import House


def test_the_browser_gets_the_whole_of_a_run_once(house: House) -> None:
    async def looked() -> dict[str, Any]:
        async with Client(house.server.url) as client:
            view = Run(Store(client), id=house.runs["failed_team"])
            view.fill(await view.read())
            return dict(json.loads(view.screen.whole))

    whole = run(looked())
    spans = [dict(zip(whole["fields"], each, strict=True)) for each in whole["spans"]]
    assert whole["status"] == "FAILED"
    assert whole["about"]["input"]["prompt"] == "Ship it."
    assert [each["agentName"] for each in whole["executions"]] == ["logistics", "researcher", "shipper"]
    failed = [each for each in spans if each["status"].startswith("FAILED") and not each["child"]]
    assert "no such shelf" in failed[-1]["error"]
    assert whole["why"]["reasons"][0]["seq"] == failed[-1]["seq"]
    assert all(each["scheduledAt"] >= 0 for each in spans)


def test_what_is_new_comes_as_a_patch(house: House) -> None:
    async def looked() -> tuple[dict[str, Any], list[dict[str, Any]]]:
        async with Client(house.server.url) as client:
            handle = await asyncio.to_thread(house.waiting)
            view, sent = Run(Store(client), id=handle.execution_id), list[dict[str, Any]]()
            view.screen._send_msg = sent.append
            view.fill(await view.read())
            whole = json.loads(view.screen.whole)
            requests = await client.inbox(execution_id=handle.execution_id)
            await client.respond(
                handle.execution_id, {"approved": False, "reason": "no"}, request_id=requests[0]["requestId"]
            )
            view.fill(await view.read())
            view.close()
            await client.cancel(handle.execution_id)
            return whole, sent

    whole, sent = run(looked())
    patch = next(each["patch"] for each in sent if "patch" in each)
    assert patch["number"] == whole["number"] + 1
    assert patch["last"] > whole["last"]
    assert 1 <= len(patch["spans"]) < len(whole["spans"])


def test_what_was_sent_before_the_browser_listened_is_sent_again(house: House) -> None:
    async def looked() -> tuple[str, str, str]:
        async with Client(house.server.url) as client:
            view = Run(Store(client), Address(place="/runs/x?tab=events"), id=house.runs["failed"])
            for _ in range(2):
                view.fill(await view.read())
            first = view.screen.whole
            view._told({"has": {"number": 0, "log": len(view.log), "talk": 0}})
            again = view.screen.whole
            view._told({"has": {"number": 1, "log": len(view.log), "talk": 0}})
            return first, again, view.screen.whole

    first, again, last = run(looked())
    assert json.loads(first)["number"] == 0
    assert json.loads(again)["number"] == 1
    assert last is again


def test_a_step_is_looked_into_by_the_number_of_either_of_its_events(house: House) -> None:
    name = house.ended("forecaster", "Do I need an umbrella?")

    async def looked() -> list[Any]:
        async with Client(house.server.url) as client:
            spans = (await client.timeline(name))["spans"]
            [call] = [each for each in spans if each["purpose"] == "act"]
            found = []
            for step in (call["seq"], call["endSeq"], 1):
                view = Run(Store(client), Address(place=f"/runs/{name}?step={step}"), id=name)
                view.fill(await view.read())
                found.append(json.loads(view.screen.detail))
            return found

    scheduled, settled, started = run(looked())
    assert scheduled["task"]["name"] == settled["task"]["name"] == "get_weather"
    assert settled["step"] == scheduled["step"] + 1
    assert started["task"] is None


def test_an_agent_within_a_run_has_a_page_of_its_own(house: House) -> None:
    async def looked() -> tuple[Any, Any]:
        async with Client(house.server.url) as client:
            executions = (await client.timeline(house.runs["failed_team"]))["executions"]
            name = executions[-1]["executionId"]
            view = Run(Store(client), Address(place=f"/runs/{name}?tab=events"), id=name)
            view.fill(await view.read())
            return json.loads(view.screen.whole), json.loads(view.screen.log)

    whole, log = run(looked())
    assert whole["agentName"] == "shipper"
    assert {line["agent"] for line in log} == {"shipper"}
    assert whole["spans"]


def test_a_run_that_is_not_there_is_said_to_be_missing(house: House) -> None:
    async def looked() -> str:
        async with Client(house.server.url) as client:
            view = Run(Store(client), id="01a206d4-0000-7000-8000-000000000000")
            view.fill(await view.read())
            return str(view.screen.missing)

    assert "01a206d4-0000-7000-8000-000000000000" in run(looked())


def test_the_words_of_an_answer_are_markdown_and_never_markup(house: House) -> None:
    agent = Agent("marker", house.server.script("marker", "**Bold** <img src=x onerror=alert(1)>"))
    name = house.runtime.run(agent, "Mark.").execution_id

    async def looked() -> list[Any]:
        async with Client(house.server.url) as client:
            view = Run(Store(client), Address(place=f"/runs/{name}?tab=transcript"), id=name)
            view.fill(await view.read())
            return list(json.loads(view.screen.talk))

    [said] = [each for each in run(looked()) if each["type"] == "message"]
    assert "<strong>Bold</strong>" in said["html"]
    assert "<img" not in said["html"]


def test_a_run_is_compared_with_its_forks_first(house: House) -> None:
    name = house.ended("forecaster", "Do I need an umbrella?")

    async def looked() -> tuple[Any, Any]:
        async with Client(house.server.url) as client:
            steps = await client.steps(name)
            at = next(each["seq"] for each in steps if "tool_result" in each["edits"])
            fork = (await client.fork(name, at, {"tool_result": "30 degrees"}))["executionId"]
            choice = Compare(Store(client), Address(place=f"/compare?a={name}"))
            choice.fill(await choice.read())
            await client.status(fork, wait_ms=10_000)
            both = Compare(Store(client), Address(place=f"/compare?a={name}&b={fork}"))
            both.fill(await both.read())
            return json.loads(choice.sides.data), json.loads(both.sides.data)

    choice, both = run(looked())
    assert choice["others"][0]["relation"].startswith("its fork at event")
    assert both["comparison"]["firstDifference"]["name"] == "get_weather"
    assert both["comparison"]["b"]["result"] == "In **Paris**: 30 degrees. Stay *in*."


def test_a_comparison_with_what_is_no_run_says_so_and_offers_others(house: House) -> None:
    async def looked() -> Any:
        async with Client(house.server.url) as client:
            view = Compare(Store(client), Address(place=f"/compare?a={house.runs['weather']}&b=nonsense"))
            view.fill(await view.read())
            return json.loads(view.sides.data)

    found = run(looked())
    assert "nonsense" in found["problem"]
    assert found["others"]


def test_five_thousand_spans_take_less_than_a_megabyte() -> None:
    span = dict.fromkeys((*FIELDS, "path", "worker", "model"), "")
    spans = [
        {
            **span, "seq": 2 * n, "endSeq": 2 * n + 1, "executionId": "t", "childId": "", "retriedTaskId": "",
            "turn": n,
            "summary": "a city " * 9, "promptTokens": 9, "completionTokens": 9, "cost": 0.0012, "costUnknown": False,
            "staleTool": False, "name": "get_weather", "kind": "worker", "purpose": "act", "status": "COMPLETED",
            "scheduledAt": 10_000 + n, "availableAt": 10_000 + n, "startedAt": 10_000 + n, "endedAt": 10_009 + n,
        }
        for n in range(1, 5001)
    ]  # fmt: skip
    frame = {"executionId": "t", "rootId": "t", "agentName": "a", "status": "RUNNING", "now": 1, "last": 10_001}
    picture = Picture()
    picture.take(
        {
            **frame,
            "budget": None,
            "spent": None,
            "executions": [{"executionId": "t", "startTime": 10_000}],
            "spans": spans,
        }
    )
    assert len(json.dumps(picture.whole(), separators=(",", ":"))) < 1_000_000
    assert picture.span(101) == spans[49]
