"""Tools in a module of their own, as programs have them."""

import os
from typing import Any

from agentspan.agents import get_secret, tool

CALLS: list[int] = []


@tool(credentials=["KEY"])
def of_a_module(name: str) -> Any:
    """What it finds, in which process, and how often it was called there."""
    CALLS.append(1)
    return [name, os.environ["KEY"] == get_secret("KEY"), os.getpid(), len(CALLS)]
