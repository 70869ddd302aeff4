"""What a chat message says: readers of messages in the form of OpenAI's chat interface. Pure."""

from typing import Any

Message = dict[str, Any]


def text_of(message: Message) -> str:
    """The text of a message, also of one whose content is a list of parts."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    return " ".join(part["text"] for part in content or () if isinstance(part, dict) and part.get("text"))


def last_user_text(messages: list[Message]) -> str:
    """What the user said last."""
    return next((text_of(each) for each in reversed(messages) if each.get("role") == "user"), "")


def last_results(messages: list[Message]) -> list[str]:
    """The tool results at the end of the conversation, in their order; none if it does not end with a tool's."""
    results: list[str] = []
    for message in reversed(messages):
        if message.get("role") != "tool":
            break
        results.append(text_of(message))
    return results[::-1]


def turn_of(messages: list[Message]) -> int:
    """How many answers the conversation already has."""
    return sum(1 for each in messages if each.get("role") == "assistant")
