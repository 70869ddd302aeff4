"""Runs show themselves in the cell that waits for them: in real kernels, as a front end sees it."""

import re
import time
from typing import Any

import pytest

from tests.agents.serving import ServerProcess, tool_call
from tests.drawing.looks import keeps_to_the_rules
from tests.notebook.kernel import Cell, Kernel

pytestmark = pytest.mark.xdist_group("kernels")

SETUP = """
import asyncio
import threading
import time

from agentspan import notebook
from agentspan.agents import Agent, AgentRuntime, tool, runs

runtime = AgentRuntime()


@tool
def look(city: str) -> str:
    "Look."
    time.sleep(0.5)
    return "sunny"


woken = threading.Event()


@tool
def nap() -> str:
    "Sleep until somebody wakes you."
    woken.wait(60)
    return "rested"


@tool(approval_required=True)
def settle(amount: float) -> str:
    "Pay."
    return "paid"
"""
PIECES = ["It is **sunny**", *[f", word {n}" for n in range(30)], "."]


@pytest.fixture(scope="module")
def seer(server: ServerProcess) -> str:
    """The model of an agent that looks, and then speaks for more than a second."""
    return server.script("seer", tool_call("look", city="Paris"), {"chunks": PIECES, "chunk_ms": 40})


@pytest.fixture
def cells(either: Kernel, server: ServerProcess, seer: str) -> Kernel:
    quick = server.script("quick", "Done with {prompt}.")
    slow = server.script("slow", tool_call("nap"), "Good morning.")
    either.say(SETUP)
    either.say(f"seer = Agent('seer', {seer!r}, tools=[look], budget={{'tokens': 10_000}})")
    settler = server.script("settler", tool_call("settle", amount=120), "It is {result}.")
    either.say(f"settler = Agent('settler', {settler!r}, tools=[settle])")
    either.say(f"quick = Agent('quick', {quick!r}); slow = Agent('slow', {slow!r}, tools=[nap])")
    either.say("woken.clear()")
    either.say("notebook.display('auto')")
    return either


def plain(bundles: list[Any]) -> list[str]:
    return [each["text/plain"] for each in bundles]


def text(bundle: Any) -> str:
    return keeps_to_the_rules(bundle["text/html"]).text


def all_updates(kernel: Kernel) -> list[Any]:
    """Also those that came while another cell ran, which are told as being of that one."""
    return [each["content"]["data"] for each in kernel.messages if each["msg_type"] == "update_display_data"]


def outputs(cell: Cell) -> list[Any]:
    """What a front end has at the end: each output with its last content."""
    found: dict[str, Any] = {}
    for each in cell.messages:
        if each["msg_type"] in ("display_data", "update_display_data", "execute_result"):
            key = each["content"].get("transient", {}).get("display_id") or each["header"]["msg_id"]
            found[key] = each["content"]["data"]
    return list(found.values())


def test_a_run_shows_itself_while_the_cell_waits(cells: Kernel) -> None:
    cell = cells.run("result = runtime.run(seer, 'How is Paris?')")
    assert cell.status == "ok", cell.error
    cells.quiet()
    assert len(cell.displays) == 1
    frames = [text(each) for each in cell.updates]
    assert any('look {"city": "Paris"}' in each for each in frames)
    assert any("10,000 of 10,000 tokens left" in each or "of 10,000 tokens left" in each for each in frames)
    streamed = [each for each in frames[:-1] if "word 3" in each]
    assert streamed
    assert any("<strong>sunny</strong>" in each["text/html"] for each in cell.updates[:-1])
    (last,) = outputs(cell)
    assert last["text/plain"].startswith("seer: completed · 1 tool call")
    assert "3 steps" in text(last)
    assert "runtime.attach(" in text(last)
    assert not any(each["msg_type"] == "stream" for each in cell.messages)


def test_it_is_not_drawn_more_than_ten_times_a_second(cells: Kernel) -> None:
    began = time.monotonic()
    cell = cells.run("result = runtime.run(seer, 'How is Paris?')")
    cells.quiet()
    assert len(cell.updates) <= 10 * (time.monotonic() - began) + 2


def test_a_run_that_is_awaited_shows_itself_too(cells: Kernel) -> None:
    cell = cells.run("result = await runtime.run_async(seer, 'How is Paris?')")
    assert cell.status == "ok", cell.error
    cells.quiet()
    (last,) = outputs(cell)
    assert "completed" in text(last)
    assert len(cell.updates) > 2


def test_a_result_that_the_cell_shows_already_is_not_shown_twice(cells: Kernel) -> None:
    cell = cells.run("result = runtime.run(quick, 'this')\nresult")
    cells.quiet()
    first, second = outputs(cell)
    assert "Done with this." in text(first)
    assert second == {"text/plain": "quick: completed (shown above)"}
    later = cells.run("result")
    assert "Done with this." in text(later.displays[0])


def test_a_handle_goes_on_showing_its_run_after_the_cell_has_ended(cells: Kernel) -> None:
    cell = cells.run("run = runtime.start(seer, 'How is Paris?')\nrun")
    assert cell.status == "ok", cell.error
    assert "completed" not in text(cell.displays[0])
    cells.until(lambda: any("seer: completed" in each for each in plain(cell.updates)), "the result")
    assert "3 steps" in text(outputs(cell)[0])
    assert cells.run("1 + 1").text == "2"


def test_what_is_answered_in_the_next_cell_is_seen_in_the_card_of_the_first(cells: Kernel) -> None:
    first = cells.begin("run = runtime.start(settler, 'Pay!')\nrun")
    cells.until(lambda: any("waits for a person" in each for each in plain(first.updates)), "the request")
    assert 'settle({"amount": 120})' in text(first.updates[-1])
    cells.say("run.approve()")
    cells.until(lambda: any("settler: completed" in each for each in plain(all_updates(cells))), "the result")


def test_runs_of_other_threads_and_of_those_who_show_them_themselves_are_not_shown(cells: Kernel) -> None:
    cells.quiet()
    cell = cells.run(
        "thread = threading.Thread(target=lambda: runtime.run(quick, 'this'))\nthread.start(); thread.join()"
    )
    assert (cell.displays, cell.updates) == ([], [])
    cell = cells.run(
        "from agentspan.agents.watching import unwatched\nwith unwatched():\n    result = runtime.run(quick, 'this')"
    )
    assert (cell.displays, cell.updates) == ([], [])


@pytest.mark.parametrize("call", ["runtime.run(slow, 'hi')", "await runtime.run_async(slow, 'hi')"])
@pytest.mark.parametrize("mode", ["live", "static"])
def test_an_interrupt_detaches_and_the_card_says_how_to_come_back(cells: Kernel, call: str, mode: str) -> None:
    cells.say(f"notebook.display({mode!r})")
    cell = cells.begin(f"print('begun', flush=True)\n{call}")
    cells.until(lambda: "begun" in cell.text, "the beginning")
    if mode == "live":
        cells.until(lambda: any("nap" in each for each in plain(cell.updates)), "the first step")
    else:
        cells.quiet(0.5)
    cells.interrupt()
    cells.until(lambda: cell.ended, "the end")
    cells.quiet()
    (last,) = outputs(cell)
    assert "Detached. The run goes on" in text(last)
    key = re.search(r'runtime\.attach\("([^"]+)"\)', text(last))
    assert key is not None
    assert cells.say(f"runtime.get_status({key[1]!r}).status") == "'RUNNING'"
    cells.say("woken.set(); notebook.display('auto')")


def test_a_time_limit_leaves_a_card_that_says_so(cells: Kernel) -> None:
    cell = cells.run(
        "try:\n    runtime.run(slow, 'hi', timeout=0.5)\nexcept TimeoutError as problem:\n    print('late')"
    )
    cells.quiet()
    (last,) = outputs(cell)
    assert "has not ended after 0.5 s" in text(last)
    cells.say("woken.set()")


def test_many_runs_at_once_are_not_all_shown_live(cells: Kernel) -> None:
    cell = cells.run("done = await asyncio.gather(*(runtime.run_async(quick, str(n)) for n in range(12)))")
    assert cell.status == "ok", cell.error
    assert len(cell.displays) <= 8


def test_static_is_one_output_for_each_run_in_the_order_of_their_starts(cells: Kernel) -> None:
    cells.say("notebook.display('static')")
    cell = cells.run(
        "both = [runtime.start(seer, 'a'), runtime.start(quick, 'b')]\n"
        "done = await asyncio.gather(*(each.join_async() for each in reversed(both)))\n"
        "last = runtime.run(quick, 'c')\nlast"
    )
    assert cell.status == "ok", cell.error
    cells.quiet()
    assert cell.updates == []
    seer, *others = plain(cell.displays)
    assert seer.startswith("seer: completed · 1 tool call")
    assert others == [
        "quick: completed · 4 tokens\nDone with b.",
        "quick: completed · 4 tokens\nDone with c.",
        "quick: completed (shown above)",
    ]
    assert all(set(each) == {"text/plain", "text/html"} for each in cell.displays[:3])
    assert not re.search(r"\d m?s\b|127\.0\.0\.1|localhost", " ".join(each["text/html"] for each in cell.displays[:3]))
    cells.say("notebook.display('auto')")


def test_a_run_that_is_joined_again_is_not_shown_again(cells: Kernel) -> None:
    cells.say("notebook.display('static')")
    assert len(cells.run("run = runtime.start(quick, 'this')\nresult = run.join()").displays) == 1
    assert cells.run("result = run.join()").displays == []
    cells.say("notebook.display('auto')")


def test_nothing_is_shown_when_it_is_off(cells: Kernel) -> None:
    cells.say("notebook.display('off')")
    cell = cells.run("result = runtime.run(quick, 'this')\nprint(result.status)")
    assert (cell.displays, cell.text) == ([], "COMPLETED\n")
    cells.say("notebook.display('auto')")


def test_a_mode_that_there_is_not_is_refused(cells: Kernel) -> None:
    assert "must be one of live, static, off, auto; got 'loud'" in cells.run("notebook.display('loud')").error


def test_where_nobody_can_be_asked_it_is_static(cells: Kernel) -> None:
    cell = cells.run("result = runtime.run(quick, 'this')", allow_stdin=False)
    cells.quiet()
    assert (len(cell.displays), cell.updates) == (1, [])


@pytest.mark.parametrize(
    ("environ", "mode"),
    [({}, "live"), ({"CI": "true"}, "static"), ({"CI": "true", "AGENTSPAN_DISPLAY": "live"}, "live"),
     ({"PYTEST_VERSION": "9"}, "static"), ({"AGENTSPAN_DISPLAY": "off"}, "off")],
)  # fmt: skip
def test_the_mode_is_chosen_by_the_surroundings(cells: Kernel, environ: dict[str, str], mode: str) -> None:
    assert cells.say(f"from agentspan.notebook.mode import mode\nmode({environ!r})") == repr(mode)


def test_a_display_that_fails_does_not_end_the_run(cells: Kernel) -> None:
    cells.say("from agentspan.notebook import live; kept = live.run_card; live.run_card = None")
    assert cells.say("runtime.run(quick, 'this').output['result']").endswith("'Done with this.'")
    cells.say("live.run_card = kept")
