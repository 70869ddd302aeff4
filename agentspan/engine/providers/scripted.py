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
from typing import Any

import msgspec

from agentspan.engine.providers.model import (
    CallSettings,
    Emit,
    ModelAnswer,
    ModelRequest,
    ToolCall,
    finish,
    tool_call,
)
from agentspan.errors import InvalidSpec, ModelFailure
from agentspan.spec.chat import turn_of
from agentspan.spec.script import Answer, Call, Fault, answers, count, due, filled, filler, scripts, too_short

Script = list[Answer] | Callable[[ModelRequest], Any]

_registered: dict[str, Script] = {}
SETTLED_SECONDS = 1.0
_listed: dict[Path, tuple[int, list[Path]]] = {}
_read: dict[Path, tuple[tuple[int, int], dict[str, Script]]] = {}


def register(name: str, script: list[Any] | Callable[[ModelRequest], Any]) -> None:
    """Make `scripted/NAME` known in this process. A script is a list of answers, or a function from request to answer.

    An answer is a dict with the fields of `Answer`, or its text alone.
    """
    _registered[name] = script if callable(script) else answers(script, f"the script {name}")


async def answer(request: ModelRequest, settings: CallSettings, emit: Emit, environ: Mapping[str, str]) -> ModelAnswer:
    """Give the answer that is due, with its delays and errors."""
    turn = turn_of(request.messages)
    said = _due(request, turn, settings.scripts_path)
    if said.delay_ms:
        await asyncio.sleep(said.delay_ms / 1000)
    if request.attempt < len(said.errors):
        raise _failure(said.errors[request.attempt], request.model)
    fill = filler(request.messages, turn)
    content = fill(said.content)
    calls = tuple(_call(each, fill, turn, index) for index, each in enumerate(said.tool_calls))
    await _stream(said, content, fill, emit)
    if said.chunks is not None and not content:
        content = fill("".join(said.chunks))
    return ModelAnswer(
        content=content,
        tool_calls=calls,
        finish_reason=finish(said.finish_reason, bool(calls)),
        usage=said.usage or count(request.messages, content, [len(each.arguments or ()) for each in calls]),
        cost=said.cost,
        model=request.model,
    )


def _due(request: ModelRequest, turn: int, path: Path) -> Answer:
    name = request.model.partition("/")[2]
    script = _registered.get(name) or _from_files(name, path)
    if callable(script):
        return answers([script(request)], f"the script {name}")[0]
    found = due(script, turn)
    if found is None:
        raise ModelFailure(too_short(name, script, turn))
    return found


def _failure(fault: Fault, model: str) -> ModelFailure:
    return ModelFailure(
        fault.text(model), retryable=fault.passes, retry_after_ms=fault.retry_after_ms, cause=fault.cause
    )


def _call(call: Call, fill: Callable[[str], str], turn: int, index: int) -> ToolCall:
    call_id = call.id or f"call_{turn + 1}_{index + 1}"
    if isinstance(call.arguments, str):
        return tool_call(call_id, call.name, fill(call.arguments))
    return ToolCall(call_id, call.name, filled(call.arguments, fill))


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
        return dict(scripts(file.read_bytes(), file.stem))
    except (msgspec.DecodeError, InvalidSpec) as error:
        raise ModelFailure(f"The script file {file} cannot be read: {error}") from None
