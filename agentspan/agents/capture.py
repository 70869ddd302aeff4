"""What a tool prints, kept per call: while tools run, `sys.stdout` and `sys.stderr` look who is writing.

In a script the text is printed as well. In a notebook it is not: a kernel would put it into whichever cell runs now.
"""

import contextvars
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

LINE_LIMIT = 1000
CHARACTER_LIMIT = 64 * 1024


class Output:
    """The lines that one call has written, up to a limit."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._size = 0
        self._lock = threading.Lock()

    def write(self, text: str) -> int:
        """Keep a piece of text."""
        with self._lock:
            if self._size <= CHARACTER_LIMIT:
                self._parts.append(text)
            self._size += len(text)
        return len(text)

    def lines(self) -> list[str]:
        """What was written, line by line; a last line tells what was left out."""
        text = "".join(self._parts)
        lines = text[:CHARACTER_LIMIT].splitlines()
        if len(lines) > LINE_LIMIT or self._size > CHARACTER_LIMIT:
            lines = [*lines[:LINE_LIMIT], f"... ({self._size} characters in all, the rest was left out)"]
        return lines


@contextmanager
def captured(output: Output) -> Iterator[None]:
    """While this lasts, what the code of the present context prints is kept in `output`, and nothing else is."""
    token = _output.set(output)
    _install()
    try:
        yield
    finally:
        _output.reset(token)
        _remove()


class _Switch:
    """Stands for a stream: writes go to the output of the context that writes, or to the stream."""

    def __init__(self, stream: TextIO) -> None:
        self._agentspan_stream = stream

    def write(self, text: str) -> int:
        output = _output.get()
        if output is not None:
            output.write(text)
        return self._agentspan_stream.write(text) if self._shows(output) else len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        if self._shows(_output.get()):
            self._agentspan_stream.flush()

    def _shows(self, output: Output | None) -> bool:
        return output is None or not type(self._agentspan_stream).__module__.startswith("ipykernel")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._agentspan_stream, name)


def _install() -> None:
    global _users
    with _lock:
        _users += 1
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is not None and not isinstance(stream, _Switch):
                setattr(sys, name, _Switch(stream))


def _remove() -> None:
    """Put the streams back when no tool runs any more, unless someone else has put others there."""
    global _users
    with _lock:
        _users -= 1
        if _users:
            return
        for name in ("stdout", "stderr"):
            if isinstance(stream := getattr(sys, name), _Switch):
                setattr(sys, name, stream._agentspan_stream)


_output: contextvars.ContextVar[Output | None] = contextvars.ContextVar("agentspan_output", default=None)
_lock = threading.Lock()
_users = 0
