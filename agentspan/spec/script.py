"""Scripts of a model: answers that are written down beforehand, and the one that is due in a conversation. Pure."""

import re
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from agentspan.errors import InvalidSpec
from agentspan.spec.chat import Message, last_results, last_user_text, text_of


class Usage(msgspec.Struct, frozen=True):
    """Tokens of one call. The cached ones are part of the prompt's, the reasoning ones of the completion's."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0


class Call(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tool call of a script. Arguments given as text go through the parser, so a script can have malformed ones."""

    name: str
    arguments: dict[str, Any] | str = {}
    id: str = ""


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An error that an attempt of an answer raises: an HTTP status, "timeout" or "connection"."""

    status: int | Literal["timeout", "connection"]
    message: str = ""
    retry_after_ms: int | None = None
    retryable: bool | None = None

    @property
    def passes(self) -> bool:
        """May another attempt succeed?"""
        if self.retryable is not None:
            return self.retryable
        return isinstance(self.status, str) or self.status in (408, 429) or self.status >= 500

    @property
    def cause(self) -> str:
        """The kind of the failure, by which an agent chooses another model."""
        if self.status in ("timeout", 408, 504):
            return "timeout"
        return "rate_limit" if self.status == 429 else "error"

    def text(self, model: str) -> str:
        """What the failure says."""
        return self.message or f"{model} answered with the error {self.status} of its script."


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One answer of a script. `errors[i]` is raised by attempt i; `times` says how often the answer is given.

    `delay_ms` passes before the first piece, `chunk_ms` between pieces, `stall_ms` after the first one.
    """

    content: str = ""
    tool_calls: list[Call] = []
    finish_reason: str | None = None
    usage: Usage | None = None
    cost: float | None = 0.0
    delay_ms: float = 0
    chunk_ms: float = 0
    stall_ms: float = 0
    chunks: list[str] | None = None
    errors: list[Fault] = []
    times: int | Literal["forever"] = 1


def answers(given: Any, where: str) -> list[Answer]:
    """The answers of a script: each an object with the fields of `Answer`, or its text alone."""
    if not isinstance(given, list):
        raise InvalidSpec(f"{where} must be a list of answers.")
    whole = [{"content": each} if isinstance(each, str) else each for each in given]
    try:
        return [each if isinstance(each, Answer) else msgspec.convert(each, Answer) for each in whole]
    except msgspec.ValidationError as error:
        raise InvalidSpec(f"{where} has an answer that is not one: {error}") from None


def scripts(data: bytes, stem: str) -> dict[str, list[Answer]]:
    """The scripts of a file: an object of scripts by name, or a list that has the file's name."""
    found = msgspec.json.decode(data)
    named = found if isinstance(found, dict) else {stem: found}
    return {name: answers(each, f"the script {name}") for name, each in named.items()}


def due(script: list[Answer], turn: int) -> Answer | None:
    """The answer of turn `turn`, from 0; None if the script is too short."""
    left = turn
    for each in script:
        if each.times == "forever" or left < each.times:
            return each
        left -= each.times
    return None


def too_short(name: str, script: list[Answer], turn: int) -> str:
    """What is said of a script that has no answer for a turn."""
    count = sum(each.times for each in script if each.times != "forever")
    return (
        f'The script "{name}" has only {count} answers and this is turn {turn + 1}; add an answer, '
        'or give the last one "times": "forever".'
    )


def filler(messages: list[Message], turn: int) -> Callable[[str], str]:
    """A function that puts the values of this conversation into {prompt}, {result}, {results} and {turn}."""

    def value(match: re.Match[str]) -> str:
        match match[1]:
            case "prompt":
                return last_user_text(messages)
            case "turn":
                return str(turn + 1)
            case "results":
                return ", ".join(last_results(messages))
            case _:
                tools = (text_of(each) for each in reversed(messages) if each.get("role") == "tool")
                return next(tools, "")

    return lambda text: _NAMES.sub(value, text) if "{" in text else text


def filled(value: Any, fill: Callable[[str], str]) -> Any:
    """A JSON value with its texts filled in."""
    match value:
        case str():
            return fill(value)
        case dict():
            return {key: filled(each, fill) for key, each in value.items()}
        case list():
            return [filled(each, fill) for each in value]
        case _:
            return value


def count(messages: list[Message], content: str, arguments: list[int]) -> Usage:
    """A word is a token here: it takes no library and is the same everywhere. `arguments`: how many each call has."""
    prompt = sum(len(text_of(each).split()) for each in messages)
    return Usage(prompt_tokens=prompt, completion_tokens=len(content.split()) + sum(1 + each for each in arguments))


_NAMES = re.compile(r"\{(prompt|results?|turn)\}")
