"""Which function serves which task: looked up anew for each call, so that a new definition counts at once."""

import inspect
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from agentspan.agents.agent import Agent
from agentspan.agents.duties import Duty, duties
from agentspan.agents.isolation import is_apart
from agentspan.agents.serialize import own_tools, tree
from agentspan.agents.tool import ToolDef


class Lane(StrEnum):
    """Tasks that share places: a full house in one lane does not hold up another."""

    CHECKS = "checks"
    LOOP = "loop"
    THREADS = "threads"


@dataclass(frozen=True)
class Queue:
    """A queue that this process polls."""

    name: str
    domain: str | None = None

    def on_wire(self) -> dict[str, str]:
        return {"name": self.name, "domain": self.domain} if self.domain else {"name": self.name}


@dataclass(frozen=True)
class Entry:
    """A tool or a duty, and the agent whose it is."""

    work: ToolDef | Duty
    agent: Agent

    @property
    def lane(self) -> Lane:
        """Where its tasks find a place."""
        if isinstance(self.work, Duty):
            return Lane.CHECKS
        tool = self.work.newest()
        return Lane.LOOP if is_async(tool.func) and not is_apart(tool) else Lane.THREADS


class Registry:
    """What all agents of this process serve, by agent and name. Safe from any thread.

    A run with a domain of its own is served by the very agent that it began with, whatever others of that name do.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[tuple[str | None, str, str], Entry] = {}
        self._newest: dict[str, Entry] = {}
        self._queues: dict[Queue, None] = {}

    def add(self, agent: Agent, domain: str | None = None) -> bool:
        """Take in the functions of an agent and of all below it, polled in `domain`; is a queue new?"""
        with self._lock:
            before = len(self._queues)
            for each in tree(agent):
                for entry in entries(each):
                    for name in (each.name, *_heirs(each)):
                        self._entries[domain, name, entry.work.name] = entry
                    self._newest[entry.work.name] = entry
                    self._queues[Queue(entry.work.name, domain)] = None
            return len(self._queues) > before

    def drop(self, domain: str) -> None:
        """Poll no more in a domain; it takes effect with the next poll."""
        with self._lock:
            for queue in [queue for queue in self._queues if queue.domain == domain]:
                del self._queues[queue]
            for key in [key for key in self._entries if key[0] == domain]:
                del self._entries[key]

    def find(self, agent_name: str, name: str, domain: str | None = None) -> Entry | None:
        """What that agent has under the name in the domain, or else outside of it, or else what came last under it."""
        with self._lock:
            found = self._entries.get((domain, agent_name, name)) or self._entries.get((None, agent_name, name))
            return found or self._newest.get(name)

    def queues(self) -> list[Queue]:
        """All queues to poll."""
        with self._lock:
            return list(self._queues)

    def any_apart(self) -> bool:
        """Does a tool run in a process of its own?"""
        with self._lock:
            return any(isinstance(entry.work, ToolDef) and is_apart(entry.work) for entry in self._newest.values())


def entries(agent: Agent) -> Iterator[Entry]:
    """What this one agent, sub-agents apart, needs this process for."""
    for tool in own_tools(agent):
        if tool.tool_type == "worker" and tool.func is not None:
            yield Entry(tool, agent)
    for duty in duties(agent):
        yield Entry(duty, agent)


def is_async(function: Callable[..., Any] | None) -> bool:
    """Does it run on a loop rather than in a thread?"""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(type(function), "__call__", None)  # noqa: B004
    )


def _heirs(agent: Agent) -> Iterator[str]:
    """The agents below, which may call a team's tools; what they have of their own counts more, and comes later."""
    for child in agent.agents:
        yield child.name
        yield from _heirs(child)
