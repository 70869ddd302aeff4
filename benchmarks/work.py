"""What is run: the agents, and the scripted model's answers that cost nothing. A run of the plain agent is 4 model
calls and 3 tool calls, which is 7 durable steps."""

import json
from pathlib import Path
from typing import Any

Json = dict[str, Any]

TOOL_CALLS = 3
STEPS = 2 * TOOL_CALLS + 1
LONG_TURNS = 1_000
MANY_CALLS = 10
CHILDREN = 100
ENDLESS_TURNS = 100_000

# Usage is given because counting the words of a long conversation would be the script's cost, not the server's.
USAGE = {"prompt_tokens": 10, "completion_tokens": 5}
DONE = {"content": "3", "usage": USAGE}

TOOL = {
    "name": "add",
    "description": "The sum of two numbers.",
    "toolType": "worker",
    "inputSchema": {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
    },
}


STILL = {"name": "still", "model": "scripted/still", "instructions": "Say something."}
"""An agent that answers at once."""


def write_scripts(file: Path) -> None:
    file.write_text(
        json.dumps(
            {
                "plain": [_calls(times=TOOL_CALLS), DONE],
                "long": [_calls(times=LONG_TURNS), DONE],
                "endless": [_calls(times=ENDLESS_TURNS)],
                "many": [_calls(MANY_CALLS), DONE],
                "child": [_calls(), DONE],
                "still": [DONE],
            }
        )
    )


def agent(script: str, *, max_turns: int = 25) -> Json:
    """An agent with one tool and a scripted model."""
    return {
        "name": script,
        "model": f"scripted/{script}",
        "instructions": "Add what you are given.",
        "tools": [TOOL],
        "maxTurns": max_turns,
    }


def _calls(count: int = 1, times: int = 1) -> Json:
    call = {"name": "add", "arguments": {"a": 1, "b": 2}}
    return {"tool_calls": [call] * count, "times": times, "usage": USAGE}


PLAIN = agent("plain")
LONG = agent("long", max_turns=LONG_TURNS + 10)
ENDLESS = agent("endless", max_turns=ENDLESS_TURNS)
MANY = agent("many")
CHILD = agent("child")
PARENT = {
    "name": "parent",
    "model": "scripted/child",
    "strategy": "parallel",
    "agents": [{**CHILD, "name": f"child_{number}"} for number in range(CHILDREN)],
}
