"""A real kernel runs the README's cell, waits with and without `await`, is killed, and a new one goes on."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import KernelManager

from tests.acceptance.processes import ROOT, Process, Server, eventually, serving

SECONDS = 60
FIVE_LINES = [
    {"tool_calls": [{"name": "process_data", "arguments": {"input": "{prompt}"}}]},
    {"content": "Done: {result}."},
]
STEPS = [
    {"content": "First.", "tool_calls": [{"name": "first"}]},
    {"content": "Second.", "tool_calls": [{"name": "second"}], "delay_ms": 1500},
    {"content": "All: {results}."},
]
AGENT = """
from pathlib import Path
from agentspan.agents import Agent, AgentRuntime, tool

ledger = Path({ledger!r})

def entered(name):
    with ledger.open("a") as file:
        file.write(name + "\\n")
    return name

@tool
def first() -> str:
    "The first step."
    return entered("first")

@tool
def second() -> str:
    "The second step."
    return entered("second")

agent = Agent(name="stepper", model="scripted/steps", tools=[first, second])
runtime = AgentRuntime()
"""


class Kernel:
    """A kernel in a process of its own, and what its cells print."""

    def __init__(self, **environ: str) -> None:
        self.manager = KernelManager()
        process = Process([], Path("unused"), environ)
        self.manager.start_kernel(env=process.environ)
        self.client: BlockingKernelClient = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=SECONDS)

    def run(self, code: str) -> str:
        """What a cell printed; an error in it is an error here."""
        printed: list[str] = []

        def hear(message: dict[str, Any]) -> None:
            content = message["content"]
            match message["msg_type"]:
                case "stream":
                    printed.append(content["text"])
                case "error":
                    printed.append("\n".join(content["traceback"]))
                case "execute_result":
                    printed.append(content["data"]["text/plain"])

        reply = self.client.execute_interactive(code, timeout=SECONDS, output_hook=hear, store_history=False)
        assert reply["content"]["status"] == "ok", "".join(printed)
        return "".join(printed)

    def kill(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()


@pytest.fixture
def server(tmp_path: Path, sqlite_url: str) -> Iterator[Server]:
    with serving(tmp_path / "data", sqlite_url) as server:
        server.script("five", FIVE_LINES)
        server.script("steps", STEPS)
        yield server


@pytest.fixture
def kernel(server: Server) -> Iterator[Kernel]:
    kernel = Kernel(AGENTSPAN_SERVER_URL=server.url)
    yield kernel
    kernel.kill()


def readme_cell() -> str:
    """The first Python of the README, on a scripted model."""
    found = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert found
    code, replaced = re.subn(r'model="[^"]*"', 'model="scripted/five"', found[1])
    assert replaced == 1
    return code


def test_the_cell_of_the_readme_runs_in_a_kernel(kernel: Kernel) -> None:
    printed = kernel.run(readme_cell())
    assert "Done: Processed: Process this dataset." in printed
    assert "Tool calls: 1" in printed
    assert "Done: Processed" in kernel.run(readme_cell()), "and again in the same kernel"


def test_a_cell_may_await_at_its_top_level(kernel: Kernel) -> None:
    awaited = readme_cell().replace("runtime.run(", "(await runtime.run_async(")
    awaited = awaited.replace(").print_result()", ")).print_result()").replace("with Agent", "async with Agent")
    assert "await" in awaited
    assert "Done: Processed: Process this dataset." in kernel.run(awaited)
    assert "Done: Processed: Process this dataset." in kernel.run(readme_cell()), "and wait without await after that"


def test_a_tool_that_is_defined_again_is_swapped(kernel: Kernel) -> None:
    kernel.run(readme_cell().partition("with AgentRuntime")[0] + "runtime = AgentRuntime()")
    assert "Processed: a" in kernel.run("print(runtime.run(agent, 'a').output['result'])")
    kernel.run('@tool\ndef process_data(input: str) -> str:\n    """Process."""\n    return f"Otherwise: {input}"')
    assert "Otherwise: a" in kernel.run("print(runtime.run(agent, 'a').output['result'])")


@pytest.mark.timeout(180)
def test_a_run_outlives_its_kernel_and_a_new_one_completes_it_with_each_tool_once(
    server: Server, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger"
    define = AGENT.format(ledger=str(ledger))
    first = Kernel(AGENTSPAN_SERVER_URL=server.url)
    try:
        execution_id = first.run(define + "print(runtime.start(agent, 'Go.').execution_id)").strip()
        eventually(
            lambda: any(each["status"] == "COMPLETED" for each in calls(server, execution_id)), "the first step", 30
        )
    finally:
        first.kill()
    assert ledger.read_text().split() == ["first"]
    second = Kernel(AGENTSPAN_SERVER_URL=server.url)
    try:
        attached = "from agentspan.agents import attach\n" + f"print(attach({execution_id!r}).get_status().status)"
        assert "RUNNING" in second.run(attached)
        resumed = second.run(define + f"print(runtime.resume({execution_id!r}, agent).join(40).output['result'])")
        assert "All: second." in resumed
    finally:
        second.kill()
    assert ledger.read_text().split() == ["first", "second"]
    assert [each["attempts"] for each in calls(server, execution_id)] == [1, 1]


def calls(server: Server, execution_id: str) -> list[dict[str, Any]]:
    return list(server.result(execution_id, 0)["toolCalls"])


@pytest.mark.timeout(120)
def test_a_kernel_without_a_server_starts_one_that_outlives_it(tmp_path: Path) -> None:
    data = tmp_path / "home"
    (data / "scripts").mkdir(parents=True)
    (data / "scripts" / "five.json").write_text(json.dumps({"five": FIVE_LINES}))
    environ = {"AGENTSPAN_DATA_DIR": str(data), "AGENTSPAN_PORT": "0"}
    command = [sys.executable, "-m", "agentspan.cli.main", "server"]
    kernel = Kernel(**environ)
    try:
        printed = kernel.run(readme_cell())
        assert "agentspan: started a local server at http://127.0.0.1:" in printed
        assert "Done: Processed" in printed
    finally:
        kernel.kill()
    try:
        status = Process([*command, "status"], tmp_path / "status", environ)
        status.start()
        assert status.wait(20) == 0, status.said()
        assert "agentspan 0." in status.said()
    finally:
        stop = Process([*command, "stop"], tmp_path / "stop", environ)
        stop.start()
        assert stop.wait(30) == 0, stop.said()
