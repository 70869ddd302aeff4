"""What agents remember from run to run."""

import copy
import threading

import pytest

from agentspan.agents import (
    Agent,
    AgentAPIError,
    AgentRuntime,
    ConversationMemory,
    InMemoryStore,
    MemoryEntry,
    SemanticMemory,
)
from agentspan.agents.serialize import serialize
from tests.agents.serving import ServerProcess


def words(memory: ConversationMemory) -> list[tuple[str, str]]:
    return [(each["role"], each["message"]) for each in memory.messages]


def test_a_conversation_takes_in_a_run_once() -> None:
    memory = ConversationMemory()
    memory.remember("run-1", "hi", "hello")
    memory.remember("run-1", "hi", "hello")
    memory.remember("run-2", "bye", "see you")
    assert words(memory) == [("user", "hi"), ("assistant", "hello"), ("user", "bye"), ("assistant", "see you")]
    assert memory == ConversationMemory(memory.to_chat_messages())
    assert words(copy.deepcopy(memory)) == words(memory)


def test_a_conversation_that_is_full_drops_the_oldest_of_what_was_said() -> None:
    memory = ConversationMemory(max_messages=3)
    memory.add_system_message("s")
    memory.remember("run-1", "one", "two")
    memory.remember("run-2", "three", "four")
    assert words(memory) == [("system", "s"), ("user", "three"), ("assistant", "four")]


def test_of_two_threads_one_remembers() -> None:
    memory = ConversationMemory()
    threads = [threading.Thread(target=memory.remember, args=("run-1", "hi", "hello")) for _ in range(20)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(memory.messages) == 2


def test_a_semantic_memory_is_a_parameter_of_an_agent() -> None:
    memory = SemanticMemory()
    serialize(Agent("a", "m/x", memory=memory))
    assert copy.deepcopy(memory).list_all() == []
    with pytest.raises(TypeError, match="memory must be"):
        serialize(Agent("a", "m/x", memory=["hi"]))  # type: ignore[arg-type]


# With a server


def speaker(server: ServerProcess, memory: ConversationMemory | SemanticMemory | None) -> Agent:
    model = server.script("speaker", {"content": "I hear {prompt}.", "times": "forever"})
    return Agent("speaker", model, memory=memory)


def test_a_conversation_goes_with_the_next_run(runtime: AgentRuntime, server: ServerProcess) -> None:
    memory = ConversationMemory()
    talker = speaker(server, memory)
    runtime.run(talker, "one")
    second = runtime.run(talker, "two")
    assert words(memory) == [
        ("user", "one"),
        ("assistant", "I hear one."),
        ("user", "two"),
        ("assistant", "I hear two."),
    ]
    assert [each["content"] for each in second.messages] == ["one", "I hear one.", "two", "I hear two."]


def test_a_run_is_remembered_once_however_its_end_is_learned(runtime: AgentRuntime, server: ServerProcess) -> None:
    memory = ConversationMemory()
    talker = speaker(server, memory)
    handle = runtime.start(talker, "one", idempotency_key="one run")
    assert memory.messages == []
    handle.join()
    handle.join()
    assert handle.stream().result.is_success
    assert runtime.run(talker, "one", idempotency_key="one run").execution_id == handle.execution_id
    runtime.resume(handle.execution_id, talker).join()
    assert words(memory) == [("user", "one"), ("assistant", "I hear one.")]


def test_a_run_that_failed_is_not_remembered(runtime: AgentRuntime, server: ServerProcess) -> None:
    memory = ConversationMemory()
    model = server.script("broken-memory", {"content": "", "errors": [{"status": 401, "message": "the key is wrong"}]})
    assert runtime.run(Agent("broken", model, memory=memory), "hi").is_failed
    assert memory.messages == []


def test_what_was_said_long_ago_is_found_by_its_words(runtime: AgentRuntime, server: ServerProcess) -> None:
    memory = SemanticMemory(max_results=1)
    talker = speaker(server, memory)
    runtime.run(talker, "my cat is called Tom")
    runtime.run(talker, "it rains")
    third = runtime.run(talker, "what is my cat called?")
    assert third.execution_id in [entry.metadata["execution_id"] for entry in memory.search_entries("cat", 9)]
    assert "called Tom" in third.messages[0]["content"]
    assert "it rains" not in str(third.messages)


def test_with_a_model_texts_are_compared_by_their_embeddings(runtime: AgentRuntime, server: ServerProcess) -> None:
    store = InMemoryStore()
    store.add(MemoryEntry(content="dogs bark at night"))
    memory = SemanticMemory(store, max_results=1, model="scripted/words")
    talker = speaker(server, memory)
    runtime.run(talker, "my cat is called Tom")
    runtime.run(talker, "it rains")
    third = runtime.run(talker, "what is my cat called?")
    assert "called Tom" in third.messages[0]["content"]
    assert "it rains" not in str(third.messages)
    assert all(entry.embedding for entry in memory.list_all())
    assert memory.search("dogs at night") == ["dogs bark at night"]
    assert memory.search("dogs at night", 0) == []


def test_a_model_without_embeddings_says_so_before_the_run(runtime: AgentRuntime, server: ServerProcess) -> None:
    memory = SemanticMemory(InMemoryStore(), model="nobody/nothing")
    memory.store.add(MemoryEntry(content="x"))
    with pytest.raises(AgentAPIError, match="nobody"):
        runtime.run(speaker(server, memory), "hi")


def test_a_session_goes_on_with_what_was_said(runtime: AgentRuntime, server: ServerProcess) -> None:
    talker = speaker(server, None)
    runtime.run(talker, "one", session_id="s-memory")
    second = runtime.run(talker, "two", session_id="s-memory")
    assert [each["content"] for each in second.messages] == ["one", "I hear one.", "two", "I hear two."]
    other = runtime.run(talker, "two", session_id="s-other")
    assert [each["content"] for each in other.messages] == ["two", "I hear two."]
