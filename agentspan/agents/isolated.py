"""The process in which tools with credentials run: takes orders, performs them one by one, answers.

The pipes of the process that ordered it are taken away from standard input and output, where the tool's own programs
could meddle with them. When that process is gone, this one ends at once, whatever it does.
"""

import asyncio
import copy
import importlib
import inspect
import json
import os
import pickle
import queue
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any

from agentspan.agents.context import ToolContext
from agentspan.agents.credentials import CredentialFile, Given, known
from agentspan.agents.environment import lent
from agentspan.agents.isolation import HEAD, HELLO, received
from agentspan.agents.outcome import Failure, output_and_changes
from agentspan.agents.tool import ToolDef

Json = dict[str, Any]


class Unusable(Exception):
    """An order whose function cannot be had here."""


def main() -> None:
    """Serve whoever started this process, until it is gone."""
    orders, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)  # type: ignore[union-attr]
    waiting: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
    lost = threading.Event()
    threading.Thread(target=_listen, args=(orders, waiting, lost), daemon=True).start()
    _send(answers, HELLO)
    while True:
        mark, order = waiting.get()
        answer = _answer(order, lost)
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):  # the tool may have put anything in their place
                stream.flush()
        os.write(2, mark.encode())
        _send(answers, answer)


def _send(answers: IO[bytes], answer: Json) -> None:
    data = json.dumps(answer).encode()
    answers.write(HEAD.pack(len(data)) + data)
    answers.flush()


def _listen(orders: IO[bytes], waiting: "queue.SimpleQueue[tuple[str, bytes]]", lost: threading.Event) -> None:
    while (head := received(orders)) is not None and (body := received(orders)) is not None:
        told = json.loads(head)
        if told.get("lost"):
            lost.set()
        else:
            waiting.put((told["mark"], body))
    os._exit(0)


def _answer(data: bytes, lost: threading.Event) -> Json:
    try:
        order, function = _unpacked(data)
        return {"output": _perform(order, function, lost)}
    except Unusable as problem:
        return {"unfit": str(problem)}
    except BaseException as problem:  # whatever a tool raises, SystemExit too, is its outcome
        failure = Failure.of(problem)
        return {"reason": failure.reason, "lines": failure.lines, "final": failure.is_final}


def _unpacked(data: bytes) -> tuple[Json, Callable[..., Any]]:
    """An order and its function. Unusable if it cannot be loaded here."""
    try:
        order: Json = pickle.loads(data)
        function = order["function"]
        return order, _imported(**function) if isinstance(function, dict) else function
    except Unusable:
        raise
    except BaseException as problem:  # the user's module may raise anything when it is imported
        raise Unusable(f"it cannot be loaded in another process ({type(problem).__name__}: {problem})") from problem


def _imported(module: str, path: str, digest: str) -> Callable[..., Any]:
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    definition = getattr(found, "_tool_def", None)
    if not isinstance(definition, ToolDef):
        function: Callable[..., Any] = found
        return function
    if definition.func is None or definition.source_digest != digest:
        raise Unusable(f"{module}:{path} is written otherwise in its file now")
    return definition.func


def _perform(order: Json, function: Callable[..., Any], lost: threading.Event) -> Json:
    _settle_in(order["environ"], order["folder"])
    context = ToolContext(**order["fields"], _lost=lost)
    before = copy.deepcopy(context.state)
    files = {name: CredentialFile(name, path) for name, path in order["files"].items()}
    given = Given(order["tool"], order["values"], files)
    names = {**order["names"], **({order["context"]: context} if order["context"] else {})}
    with known(given), lent(given):
        value = function(*order["places"], **names)
        if inspect.isawaitable(value):
            value = asyncio.run(_awaited(value))
    return output_and_changes(order["tool"], value, before, context.state)


async def _awaited(value: Any) -> Any:
    return await value


def _settle_in(environ: dict[str, str], folder: str) -> None:
    """Be where the ordering process is. What modules have set here since the last order stays."""
    global _environ, _folder
    for name in set(_environ) - set(environ):
        os.environ.pop(name, None)
    os.environ.update({name: value for name, value in environ.items() if _environ.get(name) != value})
    if folder != _folder:
        os.chdir(folder)
    _environ, _folder = environ, folder


_environ = dict(os.environ)
_folder = os.getcwd()
