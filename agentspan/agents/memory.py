"""What an agent remembers: a conversation that goes with each run, and a store that tools can search."""

import copy
import re
import uuid
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]


@dataclass
class ConversationMemory:
    """Messages that go before the prompt, each `{"role", "message", ...}`; at most `max_messages`, the newest ones.

    System messages stay when others are dropped.
    """

    messages: list[Json] = field(default_factory=list)
    max_messages: int | None = None

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


class SemanticMemory:
    """Texts that can be searched by what they say. Use it in tools; it is no parameter of Agent."""

    def __init__(self, store: MemoryStore | None = None, max_results: int = 5, session_id: str | None = None) -> None:
        self.store = store or InMemoryStore()
        self.max_results, self.session_id = max_results, session_id

    def add(self, content: str, metadata: Json | None = None) -> str:
        """Remember a text; its id."""
        own = {"session_id": self.session_id} if self.session_id else {}
        return self.store.add(MemoryEntry(content=content, metadata={**own, **(metadata or {})}))

    def search(self, query: str, top_k: int | None = None) -> list[str]:
        """The texts most like the query, best first."""
        return [entry.content for entry in self.search_entries(query, top_k)]

    def search_entries(self, query: str, top_k: int | None = None) -> list[MemoryEntry]:
        """As `search`, with ids and metadata."""
        return self.store.search(query, self.max_results if top_k is None else top_k)

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


def _likeness(one: str, other: str) -> float:
    """Jaccard: the share of words that both have."""
    first, second = set(re.findall(r"\w+", one.lower())), set(re.findall(r"\w+", other.lower()))
    return len(first & second) / len(first | second) if first | second else 0.0
