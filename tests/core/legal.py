"""What the providers accept as a conversation, each by its own rules, of messages in the chat shape."""

import json
from typing import Any

Message = dict[str, Any]
Turn = tuple[str, list[tuple[str, str]]]


def check(messages: list[Message]) -> None:
    """AssertionError if one of the providers would refuse the conversation."""
    for rules in (openai, anthropic, gemini):
        rules(messages)


def openai(messages: list[Message]) -> None:
    """Results follow their calls at once, all of them, and nothing is null that must not be."""
    owed: list[str] = []
    for message in messages:
        role, content = message["role"], message["content"]
        assert role in ("system", "user", "assistant", "tool")
        if role == "tool":
            assert message["tool_call_id"] in owed, "a result without its call"
            owed.remove(message["tool_call_id"])
            assert isinstance(content, str)
            assert content
            continue
        assert not owed, "a call without its result"
        owed = [call["id"] for call in message.get("tool_calls") or ()]
        assert len(set(owed)) == len(owed)
        assert isinstance(content, str if role in ("system", "assistant") else (str, list))
        for call in message.get("tool_calls") or ():
            assert isinstance(json.loads(call["function"]["arguments"]), dict)
            assert call["function"]["name"]
    assert not owed, "a call without its result"


def anthropic(messages: list[Message]) -> None:
    """System apart; then user and assistant by turns, the user first; every tool_use answered in the next message,
    before other words; no id twice; no empty text."""
    turns = [(role, blocks) for role, blocks in _turns(messages, "user", _block) if blocks]
    assert turns[0][0] == "user", "the user speaks first"
    ids: list[str] = []
    used: list[str] = []
    for role, blocks in turns:
        results = [value for kind, value in blocks if kind == "result"]
        assert sorted(results) == sorted(used), "results do not match the calls before"
        kinds = [kind for kind, _ in blocks]
        assert kinds == sorted(kinds, key=lambda kind: kind != "result") if role == "user" else True
        used = [value for kind, value in blocks if kind == "call"]
        ids += used
        assert not any(kind == "text" and not value.strip() for kind, value in blocks), "empty text"
    assert not used, "a call without its result"
    assert len(set(ids)) == len(ids), "an id used twice"


def gemini(messages: list[Message]) -> None:
    """User and model by turns, the user first, nobody without parts; a turn of function calls is followed by as many
    responses."""
    turns = _turns(messages, "user", _block)
    assert turns[0][0] == "user"
    called = 0
    for (role, parts), before in zip(turns, [None, *turns], strict=False):
        assert parts, "a turn without parts"
        assert before is None or before[0] != role, "the same role twice"
        assert sum(kind == "result" for kind, _ in parts) == called, "responses do not match the calls"
        called = sum(kind == "call" for kind, _ in parts)
    assert not called


def _turns(messages: list[Message], role_of_results: str, blocks: Any) -> list[Turn]:
    """The conversation without the system's words, messages of one role in a row made one."""
    assert "system" not in [message["role"] for message in messages[1:]], "the system speaks first or not at all"
    turns: list[Turn] = []
    for message in messages:
        if message["role"] == "system":
            continue
        role = role_of_results if message["role"] == "tool" else message["role"]
        if not turns or turns[-1][0] != role:
            turns.append((role, []))
        turns[-1][1].extend(blocks(message))
    return turns


def _block(message: Message) -> list[tuple[str, str]]:
    if message["role"] == "tool":
        return [("result", message["tool_call_id"])]
    content = message["content"]
    texts = [content] if isinstance(content, str) else [part["text"] for part in content if part["type"] == "text"]
    calls = [("call", call["id"]) for call in message.get("tool_calls") or ()]
    return [*(("text", text) for text in texts if text or not calls), *calls]
