"""The views of agents without a browser, as they stand in a cell of a notebook."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from agentspan.client.client import Client
from agentspan.dashboard.address import Address
from agentspan.dashboard.pages.agent import Agent
from agentspan.dashboard.pages.agents import Agents, share
from agentspan.dashboard.store import Store
from tests.dashboard.conftest import run
from tests.dashboard.house import House

pytestmark = pytest.mark.xdist_group("browser")

CONFIG = {"name": "hermit", "model": "scripted/hermit", "tools": [{"name": "dig_a_well", "inputSchema": {}}]}


def with_agent(house: House, config: dict[str, Any], tab: str, look: Callable[[Agent], Awaitable[None]]) -> None:
    """Deploy an agent, fill its view once, then look at it."""

    async def looking() -> None:
        async with Client(house.server.url) as client:
            await client.deploy({"agentConfig": config})
            view = Agent(Store(client), Address(place=f"/agents/{config['name']}?tab={tab}"), name=config["name"])
            view.data = await view.read()
            view.fill(view.data)
            await look(view)
            view.close()

    run(looking())


async def told(view: Agent, **said: Any) -> None:
    """Tell a view what a part sends, and wait for what it does then."""
    view._told(said)
    await asyncio.gather(*view._begun)


def test_a_start_says_which_tools_no_worker_takes_and_what_is_refused(house: House) -> None:
    async def look(view: Agent) -> None:
        assert view.start.unserved == ["dig_a_well"]
        await told(view, start={"prompt": "Dig.", "budget": {"gold": 3}})
        assert "gold" in view.start.problem
        assert not view.start.busy
        await told(view, start={"prompt": "Dig.", "idempotencyKey": "mine"})
        assert view.address.path.startswith("/runs/")
        assert view.start.problem == ""
        ended = await view.store.client.result(view.address.path.rpartition("/")[2], wait_ms=10_000)
        assert ended["status"] == "COMPLETED"

    house.server.script("hermit", "It is dug.")
    with_agent(house, CONFIG, "start", look)


def test_a_changed_schedule_keeps_what_the_form_does_not_show(house: House) -> None:
    async def look(view: Agent) -> None:
        client = view.store.client
        await client.save_schedule(
            {
                "name": "monk-daily", "cronExpression": "@daily", "paused": True, "description": "as ever",
                "startWorkflowRequest": {"name": "monk", "input": {"prompt": "Pray.", "context": {"hour": 6}}},
            }
        )  # fmt: skip
        view.data = await view.read()
        view.fill(view.data)
        assert view.schedules.schedules[0]["brief"] == "daily"
        await told(view, save={"name": "monk-daily", "cron": "nonsense", "zone": "UTC", "prompt": "Work."})
        assert view.schedules.problem["field"] == "cron"
        await told(view, save={"name": "monk-daily", "cron": "@hourly", "zone": "UTC", "prompt": "Work."})
        kept = await client.schedule("monk-daily")
        assert kept["cronExpression"] == "@hourly"
        assert kept["paused"]
        assert kept["description"] == "as ever"
        assert kept["startWorkflowRequest"]["input"] == {"prompt": "Work.", "context": {"hour": 6}}
        await client.delete_schedule("monk-daily")

    with_agent(house, {"name": "monk", "model": "scripted/monk"}, "schedules", look)


def test_agents_are_found_by_what_they_are_made_of(house: House) -> None:
    async def looking() -> None:
        async with Client(house.server.url) as client:
            view = Agents(Store(client), Address(place="/agents?q=get_weather"))
            view.fill(await view.read())
            assert [each["id"] for each in view.deployed.rows] == ["forecaster"]
            assert not view.seen_card.visible
            view.close()

    run(looking())


def test_only_all_is_a_hundred_per_cent() -> None:
    assert [share(part, 1000) for part in (0, 1, 500, 999, 1000)] == ["0%", "< 1%", "50%", "> 99%", "100%"]
