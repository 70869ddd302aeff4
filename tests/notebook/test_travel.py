"""A run as it stood at each of its events, a fork from there, and two runs side by side."""

import re
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from agentspan.agents import Agent, AgentAPIError, AgentRuntime, tool
from agentspan.notebook import Travel, side_by_side, travel
from tests.agents.serving import ServerProcess, tool_call

WAIT_SECONDS = 10.0


@tool
def search(to: str) -> str:
    """Search a flight."""
    return f"<b>a flight</b> to {to} for 900 euros"


@pytest.fixture
def trip(runtime: AgentRuntime, server: ServerProcess) -> Travel:
    """A run that is over, looked at."""
    model = server.script(f"trip-{uuid4().hex[:8]}", tool_call("search", to="Oslo"), "{result}: you fly.")
    handle = runtime.start(Agent("traveller", model, "Book.", [search]), "To Oslo!")
    handle.join(WAIT_SECONDS)
    return travel(handle)


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def seq_of(trip: Travel, kind: str) -> int:
    return next(each.seq for each in trip.steps if each.kind == kind)


def test_a_run_can_be_seen_as_it_was(trip: Travel) -> None:
    assert (trip.seq, trip.moment["status"]) == (len(trip.steps), "COMPLETED")
    trip.to(seq_of(trip, "call"))
    assert trip.moment["status"] == "RUNNING"
    assert [each["name"] for each in trip.moment["pending"]] == ["search"]
    assert [each["role"] for each in trip.moment["messages"]][:3] == ["system", "user", "assistant"]
    trip.next()
    assert trip.steps[trip.seq - 1].kind == "result"
    assert trip.back().back().back().seq == trip.seq
    assert trip.to(1).back().seq == 1


def test_a_place_that_is_not_in_the_log_is_refused(trip: Travel) -> None:
    with pytest.raises(AgentAPIError, match="events 1 to"):
        trip.to(99)
    assert trip.seq == len(trip.steps)
    with pytest.raises(TypeError, match="execution id"):
        travel(7)  # type: ignore[arg-type]


def test_a_fork_starts_where_one_stands(trip: Travel) -> None:
    fork = trip.to(seq_of(trip, "result")).fork(tool_result="a train")
    assert fork.join(WAIT_SECONDS).output["result"] == "a train: you fly."
    assert trip.forks == [fork]
    until(lambda: "a train: you fly." in trip._repr_html_())


def test_its_text_says_where_it_is(trip: Travel) -> None:
    lines = repr(trip.to(4)).splitlines()
    assert lines[0] == f"Run of traveller: step 4 of {len(trip.steps)}"
    assert lines[4] == '> 4  call                 search({"to": "Oslo"})'


def test_its_page_is_safe_and_stands_by_itself(trip: Travel) -> None:
    html = trip.to(seq_of(trip, "result"))._repr_html_()
    assert "&lt;b&gt;a flight&lt;/b&gt;" in html
    assert not re.search(r"<b>a flight|<script|src=|href=|class=", html)


def test_the_slider_asks_for_a_moment_and_gets_it(trip: Travel) -> None:
    slider, place = trip.widget(), seq_of(trip, "call")
    slider.set_state({"seq": place})
    until(lambda: slider.moment["seq"] == place)
    assert trip.seq == place
    trip.to(2)
    assert (slider.seq, slider.moment["seq"]) == (2, 2)
    slider.set_state({"seq": 77})
    until(lambda: "events 1 to" in slider.error)
    slider.set_state({"seq": 3})
    until(lambda: slider.moment["seq"] == 3)
    assert slider.error == ""


def test_the_slider_forks_and_tells_what_came_of_it(trip: Travel) -> None:
    slider, place = trip.widget(), seq_of(trip, "result")
    slider.set_state({"wish": {"seq": place, "edits": {"tool_result": "a ship"}, "click": 1}})
    until(lambda: slider.forks and slider.forks[0]["status"] == "COMPLETED")
    assert slider.forks[0]["answer"] == "a ship: you fly."
    assert (slider.forks[0]["at"], slider.forks[0]["edits"], slider.busy) == (place, ["tool_result"], False)
    slider.set_state({"wish": {"seq": len(trip.steps), "edits": {}, "click": 2}})
    until(lambda: slider.error)
    assert len(trip.forks) == 1


def test_two_forks_stand_side_by_side(trip: Travel) -> None:
    place = seq_of(trip, "result")
    ship, train = (trip.to(place).fork(tool_result=each) for each in ("a <i>ship</i>", "a train"))
    for each in (ship, train):
        each.join(WAIT_SECONDS)
    both = side_by_side(ship, train)
    assert not both.comparison.same
    html = both._repr_html_()
    assert "steps differ" in html
    assert "&lt;i&gt;ship" in html
    assert "a train" in html
    assert not re.search(r"<script|src=|href=|class=", html)
    assert "✓ the same" in side_by_side(ship, ship)._repr_html_()


def test_a_run_that_goes_on_is_read_anew(runtime: AgentRuntime, server: ServerProcess) -> None:
    model = server.script(f"slow-{uuid4().hex[:8]}", tool_call("search", to="Oslo"), "There.")
    server_side = Agent("slow", model, tools=[tool(approval_required=True)(search.__wrapped__)])
    handle = runtime.start(server_side, "Go.")
    until(handle.requests)
    trip = travel(handle)
    known = len(trip.steps)
    handle.approve()
    handle.join(WAIT_SECONDS)
    assert len(trip.refresh().steps) > known
