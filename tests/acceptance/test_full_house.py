"""A worker whose places for one kind of tools are taken serves the other kind, and the first one as soon as it can."""

import asyncio
import time
from pathlib import Path

from agentspan.agents import Agent, AgentRuntime, tool
from agentspan.agents.runtime import AgentConfig
from tests.acceptance.processes import serving


@tool
def plain(number: int) -> int:
    """Take the worker's only thread."""
    time.sleep(0.3)
    return number


@tool
async def airy(number: int) -> int:
    """Take no thread."""
    await asyncio.sleep(0.05)
    return number


def test_a_full_house_of_plain_tools_shuts_nobody_out(tmp_path: Path, sqlite_url: str) -> None:
    calls = [{"name": name, "arguments": {"number": number}} for number in range(4) for name in ("plain", "airy")]
    with (
        serving(tmp_path / "data", sqlite_url) as server,
        AgentRuntime(config=AgentConfig(server_url=server.url, worker_thread_count=1)) as runtime,
    ):
        model = server.script("calls", [{"tool_calls": calls}, {"content": "{results}"}])
        result = runtime.run(Agent(name="host", model=model, tools=[plain, airy]), "Go.", timeout=15)
    assert sorted(result.output["result"].split(", ")) == ["0", "0", "1", "1", "2", "2", "3", "3"]
