"""What an agent remembers from run to run: a conversation that goes with each, or a store that is searched for what
fits the prompt. Either takes in what was asked and answered, once for each run that completes."""

import copy
import logging
import math
import operator
import re
import uuid
import weakref
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from agentspan.agents.host import Host, own_host
from agentspan.agents.showing import Shown
from agentspan.errors import AgentspanError

Json = dict[str, Any]

log = logging.getLogger("agentspan")


@dataclass
class ConversationMemory(Shown):
    """Messages that go before the prompt, each `{"role", "message", ...}`; at most `max_messages`, the newest ones.

    System messages stay when others are dropped. As `Agent(memory=...)` it takes in the prompt and the answer of each
    run of that agent, when this process learns of its end.
    """

    messages: list[Json] = field(default_factory=list)
    max_messages: int | None = None
    _runs: dict[str, object] = field(default_factory=dict, init=False, repr=False, compare=False)

    def add_user_message(self, content: str) -> None:
        """What the user said."""
        self._add({"role": "user", "message": content})

    def add_assistant_message(self, content: str) -> None:
        """What the agent said."""
        self._add({"role": "assistant", "message": content})

    def add_system_message(self, content: str) -> None:
        """What the agent is told."""
        self._add({"role": "system", "message": content})

    def add_tool_call(self, tool_name: str, arguments: Json, task_reference_name: str | None = None) -> None:
        """That the agent called a tool."""
        reference = task_reference_name or f"{tool_name}_ref"
        call = {"name": tool_name, "taskReferenceName": reference, "input": arguments, "inputParameters": arguments}
        self._add({"role": "tool_call", "message": "", "tool_calls": [call]})

    def add_tool_result(self, tool_name: str, result: Any, task_reference_name: str | None = None) -> None:
        """What a tool answered."""
        reference = task_reference_name or f"{tool_name}_ref"
        text = result if isinstance(result, str) else str(result)
        self._add({"role": "tool", "message": text, "toolCallId": reference, "taskReferenceName": reference})

    def to_chat_messages(self) -> list[Json]:
        """A deep copy of the messages."""
        return copy.deepcopy(self.messages)

    def clear(self) -> None:
        """Forget everything."""
        self.messages.clear()

    def remember(self, execution_id: str, prompt: str, answer: str) -> None:
        """Take in a run that has completed; a second time it changes nothing."""
        if _is_first(self._runs, execution_id):
            self.add_user_message(prompt)
            self.add_assistant_message(answer)

    def to_config(self) -> Json:
        """The memory on the wire."""
        config: Json = {"messages": self.to_chat_messages()} if self.messages else {}
        return {**config, "maxMessages": self.max_messages} if self.max_messages is not None else config

    def _add(self, message: Json) -> None:
        self.messages.append(message)
        if self.max_messages is None or len(self.messages) <= self.max_messages:
            return
        system = [each for each in self.messages if each["role"] == "system"]
        room = self.max_messages - len(system)
        if room <= 0:
            self.messages[:] = system[-self.max_messages :] if self.max_messages else []
            return
        others = [id(each) for each in self.messages if each["role"] != "system"][-room:]
        self.messages[:] = [each for each in self.messages if each["role"] == "system" or id(each) in others]


@dataclass
class MemoryEntry:
    """One thing remembered."""

    id: str = ""
    content: str = ""
    metadata: Json = field(default_factory=dict)
    embedding: list[float] | None = None
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))


class MemoryStore(ABC):
    """Where entries are kept and found."""

    @abstractmethod
    def add(self, entry: MemoryEntry) -> str:
        """Keep an entry; its id."""

    @abstractmethod
    def search(self, query: str, top_k: int = 5) -> list[MemoryEntry]:
        """The entries most like the query, best first."""

    @abstractmethod
    def delete(self, entry_id: str) -> bool:
        """Remove an entry; was it there?"""

    @abstractmethod
    def clear(self) -> None:
        """Remove all entries."""

    @abstractmethod
    def list_all(self) -> list[MemoryEntry]:
        """All entries."""


class InMemoryStore(MemoryStore):
    """Entries in this process, compared by the words they share; entries that share none are not found."""

    def __init__(self) -> None:
        self._entries: dict[str, MemoryEntry] = {}

    def add(self, entry: MemoryEntry) -> str:
        entry.id = entry.id or uuid.uuid4().hex
        self._entries[entry.id] = entry
        return entry.id

    def search(self, query: str, top_k: int = 5) -> list[MemoryEntry]:
        scores = [(_likeness(query, entry.content), entry) for entry in self._entries.values()]
        found = sorted((pair for pair in scores if pair[0] > 0), key=lambda pair: -pair[0])
        return [entry for _, entry in found[:top_k]]

    def delete(self, entry_id: str) -> bool:
        return self._entries.pop(entry_id, None) is not None

    def clear(self) -> None:
        self._entries.clear()

    def list_all(self) -> list[MemoryEntry]:
        return list(self._entries.values())


class SemanticMemory(Shown):
    """Texts that can be searched by what they say: by an agent (`Agent(memory=...)`), and in tools.

    An agent's run begins with what the memory knows about its prompt, and the memory takes in what was asked and
    answered. With `model` (such as "openai/text-embedding-3-small") texts are compared by their embeddings, which the
    server asks for; without it by the words they share. `store` is used from several threads.
    """

    def __init__(
        self,
        store: MemoryStore | None = None,
        max_results: int = 5,
        session_id: str | None = None,
        model: str | None = None,
    ) -> None:
        self.store = store or InMemoryStore()
        self.max_results, self.session_id, self.model = max_results, session_id, model
        self._runs: dict[str, object] = {}
        self._host: weakref.ref[Host] | None = None

    def add(self, content: str, metadata: Json | None = None) -> str:
        """Remember a text; its id."""
        return self._keep(content, metadata, self._embed([content])[0] if self.model else None)

    def search(self, query: str, top_k: int | None = None) -> list[str]:
        """The texts most like the query, best first."""
        return [entry.content for entry in self.search_entries(query, top_k)]

    def search_entries(self, query: str, top_k: int | None = None) -> list[MemoryEntry]:
        """As `search`, with ids and metadata."""
        count = self.max_results if top_k is None else top_k
        return self._nearest(query, count) if self.model else self.store.search(query, count)

    def delete(self, entry_id: str) -> bool:
        """Forget one; was it there?"""
        return self.store.delete(entry_id)

    def clear(self) -> None:
        """Forget all."""
        self.store.clear()

    def list_all(self) -> list[MemoryEntry]:
        """Everything remembered."""
        return self.store.list_all()

    def get_context(self, query: str) -> str:
        """What is remembered about the query, as a paragraph for a prompt; empty if nothing."""
        found = self.search(query)
        if not found:
            return ""
        return "\n".join(["Relevant context from memory:", *(f"  {at}. {text}" for at, text in enumerate(found, 1))])

    def remember(self, execution_id: str, prompt: str, answer: str) -> None:
        """Take in a run that has completed; a second time it changes nothing."""
        if not _is_first(self._runs, execution_id):
            return
        content, vector = f"User: {prompt}\nAssistant: {answer}", None
        try:
            vector = self._embed([content])[0] if self.model else None
        except AgentspanError as problem:  # the run is over and has its result; a search embeds what has no vector yet
            log.warning("the memory of run %s is kept without its embedding: %s", execution_id, problem)
        self._keep(content, {"execution_id": execution_id}, vector)

    def to_config(self) -> Json:
        """The memory on the wire: nothing, for what is found depends on the prompt (see `recall`)."""
        return {}

    def recall(self, prompt: str, host: Host) -> Json:
        """The memory on the wire for one run; embeddings come through the server of `host` from now on."""
        self._host = weakref.ref(host)
        known = self.get_context(prompt) if prompt.strip() else ""
        return {"messages": [{"role": "system", "message": known}]} if known else {}

    def _keep(self, content: str, metadata: Json | None, vector: list[float] | None) -> str:
        own = {"session_id": self.session_id} if self.session_id else {}
        return self.store.add(MemoryEntry(content=content, metadata={**own, **(metadata or {})}, embedding=vector))

    def _nearest(self, query: str, count: int) -> list[MemoryEntry]:
        entries = self.store.list_all()
        bare = [entry for entry in entries if entry.embedding is None]
        if not entries or count < 1:
            return []
        wanted, *missing = self._embed([query, *(entry.content for entry in bare)])
        for entry, vector in zip(bare, missing, strict=True):
            entry.embedding = vector
        scores = [(_cosine(wanted, entry.embedding or []), entry) for entry in entries]
        found = sorted((pair for pair in scores if pair[0] > 0), key=lambda pair: -pair[0])
        return [entry for _, entry in found[:count]]

    def _embed(self, texts: list[str]) -> list[list[float]]:
        host = (self._host and self._host()) or own_host()
        return host.portal.call(_embedded(host, str(self.model), texts))


async def _embedded(host: Host, model: str, texts: list[str]) -> list[list[float]]:
    return await (await host.client()).embed(model, texts)


def _is_first(runs: dict[str, object], execution_id: str) -> bool:
    """Note a run; was it unknown? One step, so that of two threads only one is the first."""
    mark = object()
    return runs.setdefault(execution_id, mark) is mark


def _cosine(one: list[float], other: list[float]) -> float:
    """The cosine of the angle between two vectors; 0 for what cannot be compared."""
    if len(one) != len(other):
        return 0.0
    size = math.hypot(*one) * math.hypot(*other)
    return sum(map(operator.mul, one, other)) / size if size else 0.0


def _likeness(one: str, other: str) -> float:
    """Jaccard: the share of words that both have."""
    first, second = set(re.findall(r"\w+", one.lower())), set(re.findall(r"\w+", other.lower()))
    return len(first & second) / len(first | second) if first | second else 0.0
