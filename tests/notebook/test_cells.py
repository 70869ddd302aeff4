"""An interrupt detaches, a kernel that died is taken up by the next, cells that run again resume or swap tools."""

import json
import re
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agents.serving import ServerProcess, tool_call
from tests.notebook.conftest import kernel_of
from tests.notebook.kernel import Kernel

pytestmark = [pytest.mark.xdist_group("kernels"), pytest.mark.timeout(180)]

SLOW = """
import time
from pathlib import Path
import agentspan.agents.runtime.runtime as module
from agentspan.agents import Agent, AgentRuntime, tool
from agentspan.notebook import attach, last, resume_cells
module.LEASE_SECONDS = 1.5
ledger = Path({ledger!r})

@tool
def {name}(seconds: float = 0) -> str:
    "Work."
    with ledger.open("a") as file:
        file.write("begun\\n")
    time.sleep({seconds})
    with ledger.open("a") as file:
        file.write("done\\n")
    return "worked"

agent = Agent(name="{name}", model="scripted/{name}", tools=[{name}])
runtime = AgentRuntime()
"""


class Work:
    """A tool of a name of its own, which no other kernel serves, and what it has done."""

    def __init__(self, server: ServerProcess, folder: Path) -> None:
        self.name, self.ledger = f"work_{uuid.uuid4().hex[:8]}", folder / "ledger"
        server.script(self.name, tool_call(self.name), {"content": "Done: {result}."})

    def cell(self, seconds: float = 0) -> str:
        """The cell that defines it, and its agent."""
        return SLOW.format(name=self.name, ledger=str(self.ledger), seconds=seconds)

    def done(self) -> list[str]:
        return self.ledger.read_text().split() if self.ledger.exists() else []


@pytest.fixture
def work(server: ServerProcess, tmp_path: Path) -> Work:
    return Work(server, tmp_path)


@pytest.fixture
def own(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """A kernel that the test may kill."""
    with kernel_of(server, tmp_path_factory) as started:
        yield started


def test_an_interrupt_of_a_cell_that_waits_detaches_and_says_how_to_go_on(either: Kernel, work: Work) -> None:
    either.say(work.cell(2))
    cell = either.begin("runtime.run(agent, 'Go.')")
    either.until(lambda: work.done(), "the tool")
    either.interrupt()
    either.until(lambda: cell.ended, "the end of the cell")
    assert cell.status == "error"
    assert "runtime.attach(" in cell.error
    assert "runtime.cancel(" in cell.error
    assert "Traceback" not in cell.error
    assert len(cell.error.splitlines()) == 1
    assert either.say("print(last().join(20).output['result'])") == "Done: worked."


def test_an_interrupt_of_a_cell_that_awaits_detaches_too(either: Kernel, work: Work) -> None:
    either.say(work.cell(1))
    cell = either.begin("await runtime.run_async(agent, 'Go.')")
    either.until(lambda: work.done(), "the tool")
    either.interrupt()
    either.until(lambda: cell.ended, "the end of the cell")
    assert "runtime.attach(" in cell.error
    assert either.say("print(runtime.last().join(20).output['result'])") == "Done: worked."


def test_a_second_interrupt_within_two_seconds_cancels_the_run(either: Kernel, work: Work) -> None:
    either.say(work.cell(5))
    cell = either.begin("runtime.run(agent, 'Go.')")
    either.until(lambda: work.done(), "the tool")
    either.interrupt()
    either.until(lambda: "interrupt again" in cell.text, "the offer")
    either.interrupt()
    either.until(lambda: cell.ended, "the end of the cell")
    cancelled = re.search(r"The run (\S+) is cancelled", cell.error)
    assert cancelled
    assert either.say(f"print(runtime.attach({cancelled[1]!r}).get_status().status)") == "TERMINATED"


def test_on_interrupt_cancel_ends_the_run(either: Kernel, work: Work) -> None:
    either.say(work.cell(5))
    cell = either.begin("runtime.run(agent, 'Go.', on_interrupt='cancel')")
    either.until(lambda: work.done(), "the tool")
    either.interrupt()
    either.until(lambda: cell.ended, "the end of the cell")
    assert "is cancelled" in cell.error
    assert either.say("print(runtime.last().get_status().status)") == "TERMINATED"


def test_a_kernel_that_is_killed_while_a_tool_runs_is_taken_up_by_the_next(own: Kernel, work: Work) -> None:
    own.say(work.cell(60) + "run = runtime.start(agent, 'Go.')")
    own.until(lambda: work.done(), "the tool")
    own.restart()
    told = own.run("from agentspan.notebook import last\nrun = last()")
    assert f"the agent {work.name!r} is not defined here yet" in told.text
    own.say(work.cell(0))
    assert own.say("print(run.join(30).output['result'])") == "Done: worked."
    assert work.done() == ["begun", "begun", "done"]


def test_attach_serves_an_agent_that_is_defined_already(own: Kernel, work: Work) -> None:
    run = own.say(work.cell(60) + "print(runtime.start(agent, 'Go.').execution_id)")
    own.until(lambda: work.done(), "the tool")
    own.restart()
    own.say(work.cell(0))
    assert own.say(f"print(attach({run!r}).join(30).output['result'])") == "Done: worked."


def test_run_all_after_a_restart_resumes_where_the_user_wants_it(own: Kernel, work: Work) -> None:
    cells = [
        (work.cell(0), "a"),
        ("resume_cells()", "b"),
        ("print(runtime.run(agent, 'Go.').execution_id)", "c"),
        ("print(runtime.run(agent, 'Go.').execution_id)", "d"),
    ]
    first = [own.say(code, cell_id=key) for code, key in cells]
    own.restart()
    again = [own.say(code, cell_id=key) for code, key in cells]
    assert again == first
    assert first[2] != first[3], "each cell has its own run"
    assert work.done() == ["begun", "done"] * 2
    other = own.say("print(runtime.run(agent, 'Go on.').execution_id)", cell_id="c")
    assert other not in first, "another prompt is another run"
    own.say("resume_cells(False)", cell_id="b")
    assert own.say("print(runtime.run(agent, 'Go.').execution_id)", cell_id="c") not in first


def test_the_same_start_in_a_loop_of_one_cell_is_several_runs_and_the_same_ones_again(own: Kernel, work: Work) -> None:
    own.say(work.cell(0))
    own.say("resume_cells()", cell_id="b")
    loop = "print([runtime.run(agent, 'Go.').execution_id for _ in range(3)])"
    first = own.say(loop, cell_id="c")
    assert own.say(loop, cell_id="c") == first
    assert len(set(first.split(","))) == 3


def test_a_tool_whose_cell_is_run_again_is_swapped_and_other_parameters_are_told(either: Kernel, work: Work) -> None:
    either.say(work.cell(0))
    assert either.say("print(runtime.run(agent, 'Go.').output['result'])") == "Done: worked."
    same = either.run(f'@tool\ndef {work.name}(seconds: float = 0) -> str:\n    "Work."\n    return "swapped"')
    assert "parameters" not in same.text
    assert either.say("print(runtime.run(agent, 'Go.').output['result'])") == "Done: swapped."
    other = either.run(f'@tool\ndef {work.name}(hours: int) -> str:\n    "Work."\n    return "more"')
    assert f"the parameters of the tool {work.name!r} have changed" in other.text


def test_a_busy_kernel_keeps_the_leases_of_its_tools_and_is_not_called_dead(
    own: Kernel, work: Work, server: ServerProcess
) -> None:
    own.say(work.cell(4))
    own.say("run = runtime.start(agent, 'Go.')")
    own.until(lambda: work.done(), "the tool")
    busy = "end = time.monotonic() + 5\nwhile time.monotonic() < end: sum(range(1000))"
    run = own.say("print(run.execution_id)")
    cell = own.begin(busy)
    own.quiet(2)
    with urllib.request.urlopen(f"{server.url}/api/agent/{run}/why") as answer:
        why = json.load(answer)
    assert not cell.ended
    assert [each["code"] for each in why["reasons"]] == ["working"]
    assert "keeps its lease" in why["sentence"]
    own.until(lambda: cell.ended, "the end of the cell")
    assert own.say("print(run.join(20).output['result'])") == "Done: worked."
    assert work.done() == ["begun", "done"]
    assert own.say("print([each['attempts'] for each in run.join().tool_calls])") == "[1]"
