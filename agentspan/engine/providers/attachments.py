"""Media in a conversation, as one provider takes them: what its interface would silently leave out is refused."""

from typing import Any

from agentspan.errors import ModelFailure

Json = dict[str, Any]


def fitted(messages: list[Json], prefix: str, model: str) -> list[Json]:
    """The messages as the provider's interface wants their media. ModelFailure for a kind that it has no place for."""
    if not any(isinstance(each.get("content"), list) for each in messages):
        return messages
    return [_message(each, prefix, model) for each in messages]


def _message(message: Json, prefix: str, model: str) -> Json:
    content = message.get("content")
    if not isinstance(content, list):
        return message
    return {**message, "content": [_part(each, prefix, model) for each in content]}


def _part(part: Json, prefix: str, model: str) -> Json:
    kind = _kind(part)
    known = TAKES.get(prefix)
    if kind == "text" or known is None:
        return part
    if kind not in known:
        raise ModelFailure(f"{model} takes no {kind}; it takes text, {', '.join(known)}.")
    # Told the type, litellm takes the address for the id of a file that was uploaded to Anthropic before.
    if prefix == "anthropic" and "file_id" in part.get("file", {}):
        return {"type": "file", "file": {"file_id": part["file"]["file_id"]}}
    return part


def _kind(part: Json) -> str:
    if part.get("type") != "file":
        return KINDS.get(part.get("type", ""), "file")
    file = part["file"]
    mime = file.get("format") or file.get("file_data", "").removeprefix("data:").partition(";")[0]
    if mime == "application/pdf":
        return "PDF"
    kind = mime.partition("/")[0]
    return "text by address" if kind in ("text", "application") else kind


KINDS = {"text": "text", "image_url": "image", "input_audio": "audio"}

TAKES = {
    "anthropic": ("image", "PDF"),
    "bedrock": ("image", "PDF", "video"),
    "mistral": ("image", "PDF"),
    "ollama_chat": ("image",),
    "cohere_chat": ("image",),
}
"""What these take, which litellm would send without the rest. The others are asked, and say for themselves."""
