"""Which function serves which task: looked up anew for each call, so that a new definition counts at once."""

import inspect
import threading
from dataclasses import dataclass

from agentspan.agents.agent import Agent
from agentspan.agents.serialize import tree
from agentspan.agents.tool import ToolDef, get_tool_def


@dataclass(frozen=True)
class Queue:
    """A queue that this process polls."""

    name: str
    domain: str | None = None

    def on_wire(self) -> dict[str, str]:
        return {"name": self.name, "domain": self.domain} if self.domain else {"name": self.name}


@dataclass(frozen=True)
class Entry:
    """A tool and the agent whose it is."""

    tool: ToolDef
    agent: Agent

    @property
    def is_async(self) -> bool:
        """Does it run on a loop rather than in a thread?"""
        function = self.tool.newest().func
        return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


class Registry:
    """The tools of all agents of this process, by agent and name. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[tuple[str, str], Entry] = {}
        self._newest: dict[str, Entry] = {}
        self._queues: dict[Queue, None] = {}

    def add(self, agent: Agent, domain: str | None = None) -> bool:
        """Take in the tools of an agent and of all below it, polled in `domain` too; is a queue new?"""
        with self._lock:
            before = len(self._queues)
            for each in tree(agent):
                for given in each.tools:
                    tool = None if isinstance(given, str) else get_tool_def(given)
                    if tool is not None and tool.tool_type == "worker" and tool.func is not None:
                        self._entries[each.name, tool.name] = self._newest[tool.name] = Entry(tool, each)
                        self._queues[Queue(tool.name, domain)] = None
            return len(self._queues) > before

    def drop(self, domain: str) -> None:
        """Poll no more in a domain; it takes effect with the next poll."""
        with self._lock:
            for queue in [queue for queue in self._queues if queue.domain == domain]:
                del self._queues[queue]

    def find(self, agent_name: str, name: str) -> Entry | None:
        """The tool of that agent, or else the one of that name that came last."""
        with self._lock:
            return self._entries.get((agent_name, name)) or self._newest.get(name)

    def queues(self) -> list[Queue]:
        """All queues to poll."""
        with self._lock:
            return list(self._queues)
