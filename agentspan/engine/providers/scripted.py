"""The scripted model: `scripted/NAME` gives the answers of a script, in order, exactly and at no cost.

A script is found in this process (`register`) or in the JSON files that the settings point at. Which answer is due
follows from the conversation alone, so a server that was killed and started again goes on where it was.
"""

import asyncio
import os
import re
import stat
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from agentspan.engine.providers.model import (
    CallSettings,
    Emit,
    ModelAnswer,
    ModelRequest,
    ToolCall,
    Usage,
    finish,
    last_results,
    last_user_text,
    text_of,
    tool_call,
    turn_of,
)
from agentspan.errors import InvalidSpec, ModelFailure


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


Script = list[Answer] | Callable[[ModelRequest], Any]

_registered: dict[str, Script] = {}
SETTLED_SECONDS = 1.0
_listed: dict[Path, tuple[int, list[Path]]] = {}
_read: dict[Path, tuple[tuple[int, int], dict[str, Script]]] = {}


def register(name: str, script: list[Any] | Callable[[ModelRequest], Any]) -> None:
    """Make `scripted/NAME` known in this process. A script is a list of answers, or a function from request to answer.

    An answer is a dict with the fields of `Answer`, or its text alone.
    """
    _registered[name] = script if callable(script) else _answers(script, f"the script {name}")


async def answer(request: ModelRequest, settings: CallSettings, emit: Emit, environ: Mapping[str, str]) -> ModelAnswer:
    """Give the answer that is due, with its delays and errors."""
    turn = turn_of(request.messages)
    due = _due(request, turn, settings.scripts_path)
    if due.delay_ms:
        await asyncio.sleep(due.delay_ms / 1000)
    if request.attempt < len(due.errors):
        raise _failure(due.errors[request.attempt], request.model)
    fill = _filler(request, turn)
    content = fill(due.content)
    calls = tuple(_call(each, fill, turn, index) for index, each in enumerate(due.tool_calls))
    await _stream(due, content, fill, emit)
    if due.chunks is not None and not content:
        content = fill("".join(due.chunks))
    return ModelAnswer(
        content=content,
        tool_calls=calls,
        finish_reason=finish(due.finish_reason, bool(calls)),
        usage=due.usage or _count(request, content, calls),
        cost=due.cost,
        model=request.model,
    )


def _due(request: ModelRequest, turn: int, path: Path) -> Answer:
    name = request.model.partition("/")[2]
    script = _registered.get(name) or _from_files(name, path)
    if callable(script):
        return _answers([script(request)], f"the script {name}")[0]
    left = turn
    for each in script:
        if each.times == "forever" or left < each.times:
            return each
        left -= each.times
    raise ModelFailure(
        f'The script "{name}" has only {turn - left} answers and this is turn {turn + 1}; add an answer, '
        'or give the last one "times": "forever".'
    )


def _failure(fault: Fault, model: str) -> ModelFailure:
    retryable = fault.retryable
    if retryable is None:
        retryable = isinstance(fault.status, str) or fault.status in (408, 429) or fault.status >= 500
    text = fault.message or f"{model} answered with the error {fault.status} of its script."
    return ModelFailure(text, retryable=retryable, retry_after_ms=fault.retry_after_ms)


def _filler(request: ModelRequest, turn: int) -> Callable[[str], str]:
    """A function that puts the values of this conversation into {prompt}, {result}, {results} and {turn}."""

    def value(match: re.Match[str]) -> str:
        match match[1]:
            case "prompt":
                return last_user_text(request.messages)
            case "turn":
                return str(turn + 1)
            case "results":
                return ", ".join(last_results(request.messages))
            case _:
                tools = (text_of(each) for each in reversed(request.messages) if each.get("role") == "tool")
                return next(tools, "")

    return lambda text: _NAMES.sub(value, text) if "{" in text else text


_NAMES = re.compile(r"\{(prompt|results?|turn)\}")


def _call(call: Call, fill: Callable[[str], str], turn: int, index: int) -> ToolCall:
    call_id = call.id or f"call_{turn + 1}_{index + 1}"
    if isinstance(call.arguments, str):
        return tool_call(call_id, call.name, fill(call.arguments))
    return ToolCall(call_id, call.name, _filled(call.arguments, fill))


def _filled(value: Any, fill: Callable[[str], str]) -> Any:
    match value:
        case str():
            return fill(value)
        case dict():
            return {key: _filled(each, fill) for key, each in value.items()}
        case list():
            return [_filled(each, fill) for each in value]
        case _:
            return value


async def _stream(due: Answer, content: str, fill: Callable[[str], str], emit: Emit) -> None:
    pieces = _WORDS.findall(content) if due.chunks is None else [fill(each) for each in due.chunks]
    for index, piece in enumerate(pieces):
        emit(piece)
        if pause := due.chunk_ms + (due.stall_ms if index == 0 else 0):
            await asyncio.sleep(pause / 1000)
    if not pieces:
        emit("")
        if due.stall_ms:
            await asyncio.sleep(due.stall_ms / 1000)


_WORDS = re.compile(r"\s*\S+\s*|\s+")


def _count(request: ModelRequest, content: str, calls: tuple[ToolCall, ...]) -> Usage:
    """A word is a token here: it takes no library and is the same everywhere."""
    prompt = sum(len(text_of(each).split()) for each in request.messages)
    said = len(content.split()) + sum(1 + len(each.arguments or ()) for each in calls)
    return Usage(prompt_tokens=prompt, completion_tokens=said)


def _from_files(name: str, path: Path) -> Script:
    known: dict[str, Script] = {}
    for file in _files(path):
        known |= _load(file)
    if name in known:
        return known[name]
    names = ", ".join(sorted({*known, *_registered})) or "none"
    raise ModelFailure(f'There is no script "{name}" in this server or in {path}; known scripts: {names}.')


def _files(path: Path) -> list[Path]:
    """The files of a folder. They are looked up again when it has changed, or has only just: a clock ticks slowly."""
    try:
        status = os.stat(path)
    except OSError:
        return []
    if not stat.S_ISDIR(status.st_mode):
        return [path]
    listed = _listed.get(path)
    if listed is None or listed[0] != status.st_mtime_ns or time.time() - status.st_mtime < SETTLED_SECONDS:
        listed = _listed[path] = status.st_mtime_ns, sorted(path.glob("*.json"))
    return listed[1]


def _load(file: Path) -> dict[str, Script]:
    """The scripts of a file, read again when it has changed."""
    status = os.stat(file)
    stamp = status.st_mtime_ns, status.st_size
    cached = _read.get(file)
    if cached is None or cached[0] != stamp:
        cached = _read[file] = stamp, _parse(file)
    return cached[1]


def _parse(file: Path) -> dict[str, Script]:
    try:
        found = msgspec.json.decode(file.read_bytes())
        scripts = found if isinstance(found, dict) else {file.stem: found}
        return {name: _answers(answers, f"the script {name}") for name, answers in scripts.items()}
    except (msgspec.DecodeError, InvalidSpec) as error:
        raise ModelFailure(f"The script file {file} cannot be read: {error}") from None


def _answers(given: Any, where: str) -> list[Answer]:
    if not isinstance(given, list):
        raise InvalidSpec(f"{where} must be a list of answers.")
    whole = [{"content": each} if isinstance(each, str) else each for each in given]
    try:
        return [each if isinstance(each, Answer) else msgspec.convert(each, Answer) for each in whole]
    except msgspec.ValidationError as error:
        raise InvalidSpec(f"{where} has an answer that is not one: {error}") from None
