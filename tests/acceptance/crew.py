"""The agent of the kill test, and the programs beside the server that are killed: its worker and its client.

python crew.py worker URL LEDGER
python crew.py client URL RESULTS NUMBER...
"""

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from agentspan.agents import Agent, AgentRuntime, ServerUnreachableError, ToolContext, tool
from agentspan.agents.runtime import AgentConfig

LEDGER = Path(os.environ.get("LEDGER", "ledger"))
AT_ONCE = 16
TOOL_SECONDS = float(os.environ.get("CREW_TOOL_SECONDS", "0.1"))


@tool
def note(text: str, context: ToolContext) -> str:
    """Write a text into the ledger."""
    time.sleep(TOOL_SECONDS)
    entered("note", text, context)
    time.sleep(TOOL_SECONDS)
    return f"note of {text}"


@tool
async def weigh(text: str, context: ToolContext) -> dict[str, Any]:
    """Write a text into the ledger, and weigh it."""
    await asyncio.sleep(TOOL_SECONDS)
    entered("weigh", text, context)
    await asyncio.sleep(TOOL_SECONDS)
    return {"weight": len(text)}


def entered(name: str, text: str, context: ToolContext) -> None:
    """One line of the ledger, written at once: the effect of a call. It may be killed before and after it."""
    line = {"key": context.idempotency_key, "run": context.execution_id, "tool": name, "text": text, "at": time.time()}
    file = os.open(LEDGER, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, json.dumps(line).encode() + b"\n")
    finally:
        os.close(file)


def crew(model: str = "scripted/stones", base_url: str | None = None) -> Agent:
    return Agent(name="crew", model=model, base_url=base_url, tools=[note, weigh], instructions="Count the stones.")


def calls(turn: int) -> list[dict[str, Any]]:
    """The tool calls of a turn from 1 to 5: one or two."""
    first = {"name": "note", "arguments": {"text": f"{{prompt}} in turn {turn}"}}
    second = {"name": "weigh", "arguments": {"text": f"{{prompt}} weighed in turn {turn}"}}
    return [first, second] if turn % 2 == 0 else [first]


SCRIPT = [
    *({"content": f"Turn {turn}.", "tool_calls": calls(turn), "delay_ms": 100 * turn} for turn in range(1, 6)),
    {"content": "All of {prompt}: {results}.", "delay_ms": 100, "chunk_ms": 5},
]
"""Six turns, slow enough to be killed in the middle of a call."""


async def drive(url: str, results: Path, numbers: list[str]) -> None:
    """Start the runs of these numbers, each under a key of its own, and write down what they come to."""
    config = AgentConfig(server_url=url, auto_start_workers=False)
    places = asyncio.Semaphore(AT_ONCE)
    async with AgentRuntime(config=config) as runtime:
        await reached(runtime)

        async def one(number: str) -> None:
            async with places:
                result = await runtime.run_async(crew(), f"stone-{number}", idempotency_key=f"key-{number}")
            line = {"number": number, "id": result.execution_id, "output": result.output, "status": result.status}
            with results.open("a") as file:
                file.write(json.dumps(line) + "\n")

        async with asyncio.TaskGroup() as group:
            for number in numbers:
                group.create_task(one(number))


async def reached(runtime: AgentRuntime) -> None:
    """Wait until there is a server: at the first contact a client is impatient."""
    while True:
        try:
            await (await runtime.client()).health()
            return
        except ServerUnreachableError:
            await asyncio.sleep(0.1)


def main(role: str, url: str, path: str, *numbers: str) -> None:
    if role == "worker":
        global LEDGER
        LEDGER = Path(path)
        AgentRuntime(server_url=url).serve(crew())
    else:
        asyncio.run(drive(url, Path(path), list(numbers)))


if __name__ == "__main__":
    main(*sys.argv[1:])
