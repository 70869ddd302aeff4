"""The slider and the map in real kernels: what a front end sends is answered while the kernel is idle."""

import json
from typing import Any

import pytest

from agentspan.agents import AgentRuntime
from tests.agents.serving import ServerProcess, tool_call
from tests.notebook.kernel import WIDGET, Kernel

pytestmark = pytest.mark.xdist_group("kernels")

TRIP = """
from agentspan.agents import Agent, AgentRuntime, tool
from agentspan.notebook import agent_map, travel

@tool
def kernel_search(to: str) -> str:
    "Search."
    return f"a flight to {to}"

runtime = AgentRuntime()
run = runtime.start(Agent("traveller", "scripted/trip", tools=[kernel_search]), "Go.")
_ = run.join()
"""


@pytest.fixture(scope="session")
def scripts(server: ServerProcess) -> None:
    server.script("trip", tool_call("kernel_search", to="Oslo"), "{result}: go.")
    server.script("waits", tool_call("kernel_search", to="Oslo"), "There.")
    server.script("echo", {"content": "{prompt}!", "usage": {"prompt_tokens": 1, "completion_tokens": 1}})


def state_of(kernel: Kernel, name: str) -> Any:
    return json.loads(kernel.say(f"import json; print(json.dumps(trip.widget().{name}))"))


def test_the_slider_moves_and_forks_while_the_kernel_is_idle(either: Kernel, scripts: None) -> None:
    either.say(TRIP)
    cell = either.run("trip = travel(run)\ntrip")
    [bundle] = [each for each in cell.displays if WIDGET in each]
    assert "<div" in bundle["text/html"]
    assert bundle["text/plain"].startswith("Run of traveller: step 8 of 8")
    widget = bundle[WIDGET]["model_id"]
    either.set_widget(widget, seq=5)
    either.until(lambda: either.widgets[widget].get("moment", {}).get("seq") == 5, "the moment")
    assert either.widgets[widget]["moment"]["messages"][-1]["content"] == "a flight to Oslo"
    wish = {"seq": 5, "edits": {"tool_result": "a ship"}, "click": 1}
    either.set_widget(widget, wish=wish)
    either.until(lambda: [f["answer"] for f in either.widgets[widget].get("forks", ())] == ["a ship: go."], "the fork")
    assert either.say("print(trip.seq, trip.forks[0].join().output['result'])").splitlines()[-1] == "5 a ship: go."


def test_a_map_is_one_output_that_changes(either: Kernel, scripts: None) -> None:
    either.say(TRIP)
    cell = either.run("table = agent_map([str(n) for n in range(30)], Agent('echo', 'scripted/echo'), runtime=runtime)")
    assert cell.status == "ok", cell.error
    assert len(cell.displays) == 1
    assert cell.updates[-1]["text/plain"].startswith("echo: done · 30 of 30 rows · 60 tokens")
    assert either.say("print(list(table['output'])[:2])") == "['0!', '1!']"


def test_a_map_that_is_interrupted_goes_on_when_it_is_made_again(
    either: Kernel, scripts: None, runtime: AgentRuntime
) -> None:
    name = f"waits_{either.version}"
    either.say(TRIP)
    agent = f"Agent({name!r}, 'scripted/waits', tools=[tool(approval_required=True)(kernel_search.__wrapped__)])"
    cell = either.begin(f"agent_map(['a', 'b'], {agent}, runtime=runtime)")
    either.until(lambda: cell.displays and runtime.inbox(agent_name=name), "the map")
    either.interrupt()
    either.until(lambda: cell.ended, "the end of the cell")
    assert cell.status == "error"
    assert "make the map again" in cell.error
    either.until(lambda: cell.updates and f"{name}: detached" in cell.updates[-1]["text/plain"], "the last picture")
