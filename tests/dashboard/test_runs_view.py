"""The views of many runs without a browser, as they stand in a cell of a notebook."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from agentspan.client.client import Client
from agentspan.dashboard.address import Address
from agentspan.dashboard.figures import RANGES, window
from agentspan.dashboard.listing import Calm
from agentspan.dashboard.pages.costs import Costs
from agentspan.dashboard.pages.overview import Overview
from agentspan.dashboard.pages.runs import Runs, asked
from agentspan.dashboard.store import News, Store
from agentspan.dashboard.view import View
from agentspan.drawing.words import DAY, HOUR
from tests.dashboard.conftest import run
from tests.dashboard.house import House, until

pytestmark = pytest.mark.xdist_group("browser")


V = TypeVar("V", bound=View)


def with_view(house: House, make: type[V], place: str, look: Callable[[V], Awaitable[None]]) -> None:
    """Fill a view once, then look at it."""

    async def looking() -> None:
        async with Client(house.server.url) as client:
            view = make(Store(client), Address(place=place))
            view.fill(await view.read())
            await look(view)
            view.close()

    run(looking())


def test_an_address_asks_for_runs() -> None:
    query = {"q": "moon", "status": "FAILED,TIMED_OUT", "agent": "clerk", "range": "24h", "page": "3", "cursor": "x"}
    assert asked(query, DAY * 2) == {
        "free_text": "moon", "status": "FAILED,TIMED_OUT", "agent_name": "clerk", "since": DAY,
    }  # fmt: skip
    assert asked({"since": "5", "until": "9", "range": "1h"}, DAY) == {"since": 5, "until": 9}
    assert asked({"since": "soon", "range": "nonsense"}, DAY) == {"since": 0}


def test_buckets_lie_on_round_times_so_that_bars_stay_as_time_goes() -> None:
    for name, (length, width) in RANGES.items():
        since, end, buckets = window(name, 100 * DAY + 12_345)
        assert end - since == length == buckets * width
        assert end % width == 0
        assert end - width < 100 * DAY + 12_345 <= end
    assert window("1h", 100 * DAY + HOUR // 120) == window("1h", 100 * DAY + 1)


def test_values_are_counted_without_the_filter_that_chose_among_them(house: House) -> None:
    async def look(view: Runs) -> None:
        assert {each["status"]["text"] for each in view.table.rows} == {"FAILED"}
        assert view._counting is not None
        await view._counting
        assert view.filters.facets["status"]["COMPLETED"] >= 3
        assert view.filters.facets["agentName"] == {"shipper": 1, "logistics": 1}
        assert view.bar.summary == "2 runs"

    with_view(house, Runs, "/runs?status=FAILED", look)


def test_each_page_begins_where_the_last_one_ended(house: House) -> None:
    async def look(view: Runs) -> None:
        found = [each["id"] for each in view.table.rows]
        while view.pager.older:
            view.address.place = view.pager.older
            view.fill(await view.read())
            found += [each["id"] for each in view.table.rows]
        every = await view.store.client.executions(size=200)
        assert found == [each["executionId"] for each in every["results"]]
        assert "page=" in view.pager.newer

    with_view(house, Runs, "/runs?size=3", look)


def test_a_run_that_refuses_says_why_and_stays_chosen(house: House) -> None:
    open_run = house.runtime.start(house.agents["clerk"], "One more.")
    until(lambda: len(open_run.requests()) == 2)

    async def look(view: Runs) -> None:
        name = open_run.execution_id
        view.table.chosen = [name]
        assert {each["key"]: each["able"] for each in view.bar.actions} == {
            "pause": 1, "resume": 0, "stop": 1, "terminate": 1, "retry": 0,
        }  # fmt: skip
        await open_run.cancel_async("elsewhere")
        await view._do("pause", "")
        assert [(each["id"], each["done"]) for each in view.bar.outcome] == [(name, False)]
        assert view.bar.outcome[0]["why"]
        assert view.table.chosen == [name]

    with_view(house, Runs, "/runs?agent=clerk", look)


def test_in_a_cell_a_filter_is_followed_without_an_address_bar(house: House) -> None:
    async def looking() -> None:
        async with Client(house.server.url) as client:
            view, filled = Runs(Store(client)), asyncio.Event()
            view.table.param.watch(lambda _: filled.set(), "rows")
            view.open()
            await filled.wait()
            filled.clear()
            view._narrow({"set": {"agent": "shipper"}})
            await filled.wait()
            assert {each["agentName"]["text"] for each in view.table.rows} == {"shipper"}
            view.close()
            view.store.close()

    run(asyncio.wait_for(looking(), 20))


def test_what_waits_is_told_oldest_first_with_its_way_there(house: House) -> None:
    async def look(view: Overview) -> None:
        rows = view.waiting.rows
        assert [each["since"] for each in rows] == sorted(each["since"] for each in rows)
        person = next(each for each in rows if each["what"]["tone"] == "WAITING")
        assert person["agent"] == {"text": "clerk", "href": f"/inbox/{person['id']}"}
        assert view.failures.rows[0]["reason"]["href"].startswith("/runs/")
        assert not view.start.visible

    with_view(house, Overview, "/", look)


def test_calls_whose_price_is_unknown_are_named_and_names_are_no_html(house: House) -> None:
    async def look(view: Costs) -> None:
        assert not view.unpriced.visible
        row = {"key": "<b>new</b>", "unpriced": 12}
        view._say_unpriced([row, {"key": "other", "unpriced": 0}])
        assert view.unpriced.visible
        assert "12 calls of &lt;b&gt;new&lt;/b&gt;." in view.unpriced.object

    with_view(house, Costs, "/costs?by=model", look)


def test_a_storm_of_news_is_read_now_and_once_more_at_its_end() -> None:
    async def storm() -> None:
        again = asyncio.Event()
        calm = Calm(again.set, 0.05)
        assert calm.lets()
        calm.begin()
        assert not any(calm.lets() for _ in range(100))
        await again.wait()
        assert calm.lets()
        calm.close()

    run(asyncio.wait_for(storm(), 10))


def test_news_of_workers_alone_is_no_reason_to_read_the_list(house: House) -> None:
    async def look(view: Runs) -> None:
        assert not view.concerns(News(workers=True))
        assert view.concerns(News(runs=frozenset({"a"})))

    with_view(house, Runs, "/runs", look)
