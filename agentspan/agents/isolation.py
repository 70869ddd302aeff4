"""Tools with credentials run in processes of their own: what a call is given is in no environment but its child's.

A call's function crosses by its name if it can be imported, else by its content (cloudpickle), as functions of a
notebook's cells do; what can cross in neither way runs in this process, which the log says. A child serves one tool
with the same credentials again and again, and ends when it has been idle for a while, or with this process.
"""

import atexit
import codecs
import hashlib
import json
import logging
import os
import queue
import secrets
import struct
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from types import FunctionType
from typing import IO, Any

from agentspan.agents import environment
from agentspan.agents.capture import Output, captured
from agentspan.agents.context import ToolContext
from agentspan.agents.credentials import CredentialFile, Given
from agentspan.agents.outcome import Failure
from agentspan.agents.tool import ToolDef
from agentspan.spec.redact import redactor

Json = dict[str, Any]

log = logging.getLogger("agentspan.worker")

IDLE_SECONDS = 60.0
"""How long a child is kept for the next call of its tool."""
KEPT = 8
"""How many idle children are kept at most."""
GRACE_SECONDS = 2.0
"""How long a call that was cancelled may go on, to see it and to clean up."""
OUTPUT_SECONDS = 5.0
"""How long to wait for what a call has printed, once it has answered."""
HEAD = struct.Struct(">Q")
HELLO: Json = {"ready": True}

Begun = Callable[[Callable[[], None]], None]
"""Is told, when a call begins, how to end it."""


class Unfit(Exception):
    """A function that cannot cross into another process, and why."""


@dataclass(frozen=True)
class Order:
    """One call: the tool, its arguments, what it is given, and the context that it asks for under a name."""

    tool: ToolDef
    given: Given
    places: Sequence[Any] = ()
    names: Json = field(default_factory=dict)
    context: ToolContext = field(default_factory=ToolContext)

    @property
    def key(self) -> str:
        """Calls of the same key may be served by the same child: the tool as it is written, and what it is given."""
        parts = [self.tool.name, _name(self.tool.func), self.tool.source_digest, _given(self.given)]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def is_apart(tool: ToolDef) -> bool:
    """Does it run in a process of its own? One that declares credentials does, unless it was asked not to."""
    return bool(tool.isolated and tool.credentials)


class Isolator:
    """Runs calls in children, and keeps those that are idle for a while. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[Child] = []
        self._busy: set[Child] = set()
        self._unfit: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()

    def warm(self) -> None:
        """Have a child ready before the first call, unless there is one."""
        with self._lock, suppress(Unfit):  # the first call says why it cannot be
            if not self._idle and not self._busy:
                self._idle.append(Child())

    def run(self, order: Order, output: Output, begun: "Begun" = lambda lose: None) -> Json:
        """The output of a call; `begun` is told how to end it. Failure if it failed, or if its process ended; Unfit if
        it cannot cross."""
        problem = self._known(order)
        if problem is None:
            for way in WAYS:
                try:
                    return self._run(order, way, output, begun)
                except Unfit as unfit:
                    problem = str(unfit)
            self._remember(order, str(problem))
        raise Unfit(problem)

    def sweep(self) -> None:
        """End the children that have been idle for long."""
        old = time.monotonic() - IDLE_SECONDS
        with self._lock:
            ended = [child for child in self._idle if child.idle_since < old]
            self._idle = [child for child in self._idle if child not in ended]
        for child in ended:
            child.end()

    def close(self) -> None:
        """End all children, also those whose calls still run: these fail."""
        with self._lock:
            ended = [*self._idle, *self._busy]
            self._idle = []
        for child in ended:
            child.end()

    def _run(self, order: Order, way: Callable[[Order], Any], output: Output, begun: "Begun") -> Json:
        message, mark = _packed(order, way(order)), secrets.token_hex(16)
        child = self._taken(order.key)
        try:
            child.mark = mark
            begun(partial(child.lose, mark))
            answer = child.ask(message, _printer(output, order.given))
        finally:
            child.mark = ""
            self._give_back(child)
        if problem := answer.get("unfit"):
            raise Unfit(problem)
        if reason := answer.get("reason"):
            raise Failure(reason, answer["lines"], is_final=answer["final"])
        told: Json = answer["output"]
        return told

    def _taken(self, key: str) -> "Child":
        """A child that served this tool before, or one that has served none."""
        with self._lock:
            child = next((each for each in self._idle if each.key == key and each.is_alive), None)
            child = child or next((each for each in self._idle if not each.key and each.is_alive), None)
            if child is not None:
                self._idle.remove(child)
        child = child or Child()
        child.key = key
        with self._lock:
            self._busy.add(child)
        return child

    def _give_back(self, child: "Child") -> None:
        child.idle_since = time.monotonic()
        with self._lock:
            self._busy.discard(child)
            ended = [] if child.is_alive and not child.was_lost else [child]
            if not ended:
                self._idle.append(child)
                ended, self._idle = self._idle[:-KEPT], self._idle[-KEPT:]
        for each in ended:
            each.end()

    def _known(self, order: Order) -> str | None:
        try:
            return self._unfit.get(order.tool.func)
        except TypeError:
            return None

    def _remember(self, order: Order, problem: str) -> None:
        with suppress(TypeError):  # a function that cannot be weakly referred to is tried anew each time
            self._unfit[order.tool.func] = problem
        log.warning(
            "the tool %r runs in this process, where other code may find its credentials: %s. Define it in a module "
            "that can be imported, keep what it uses inside of it, or say isolated=False",
            order.tool.name,
            problem,
        )


class Child:
    """A process that performs one call at a time. Orders go in by its standard input, answers come by its standard
    output; whatever else is printed there comes by its standard error."""

    def __init__(self) -> None:
        self.key, self.mark = "", ""
        self.idle_since = time.monotonic()
        self.was_lost = self.is_ready = False
        if not sys.executable or getattr(sys, "frozen", False):
            raise Unfit("this Python has no executable that could be started")
        self._process = subprocess.Popen(
            [sys.executable, "-c", _BEGIN],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environ(),
            start_new_session=os.name == "posix",
        )
        self._answers: queue.SimpleQueue[Json | None] = queue.SimpleQueue()
        self._ended = threading.Event()
        self._sending = threading.Lock()
        self._print: Callable[[str], None] = lambda text: None
        self._printed = threading.Event()
        for work in (self._read_answers, self._read_output):
            threading.Thread(target=work, name="agentspan-isolation", daemon=True).start()
        self._write(json.dumps([each for each in sys.path if isinstance(each, str)]).encode() + b"\n")
        _ALIVE.add(self)

    @property
    def is_alive(self) -> bool:
        return not self._ended.is_set() and self._process.poll() is None

    def ask(self, order: bytes, show: Callable[[str], None]) -> Json:
        """Its answer to an order; what it prints meanwhile is shown. Failure if it ended."""
        self._print = show
        self._printed.clear()
        self._send({"mark": self.mark}, order)
        answer = self._answers.get()
        if answer == HELLO:
            self.is_ready = True
            answer = self._answers.get()
        self._printed.wait(OUTPUT_SECONDS)
        show("")
        if answer is None:
            code = self._process.wait()
            if not self.is_ready and not self.was_lost:
                raise Unfit(f"no process for it can be started (exit code {code})")
            how = "was cancelled" if self.was_lost else f"ended its process (exit code {code})"
            raise Failure(f"the tool {how} before it answered", [])
        return answer

    def lose(self, mark: str) -> None:
        """Tell this call that nobody wants its result any more, and end it soon; nothing if it is over."""
        if mark != self.mark:
            return
        self.was_lost = True
        self._send({"lost": True})
        timer = threading.Timer(GRACE_SECONDS, self._end_if_lost)
        timer.daemon = True
        timer.start()

    def end(self) -> None:
        """End it, now, and all that it has started."""
        _ALIVE.discard(self)
        self._kill()
        self._process.wait()
        assert self._process.stdin is not None
        with suppress(OSError), self._sending:
            self._process.stdin.close()

    def _end_if_lost(self) -> None:
        if not self._ended.is_set():
            self._kill()

    def _kill(self) -> None:
        # A session of its own: the programs that the tool has started end with it.
        with suppress(ProcessLookupError, PermissionError):
            if os.name == "posix" and self._process.poll() is None:
                os.killpg(self._process.pid, 9)
            else:
                self._process.kill()

    def _send(self, head: Json, body: bytes = b"") -> None:
        text = json.dumps(head).encode()
        self._write(HEAD.pack(len(text)) + text + HEAD.pack(len(body)) + body)

    def _write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        with suppress(OSError, ValueError), self._sending:  # it has ended: its answer, which is none, says so
            self._process.stdin.write(data)
            self._process.stdin.flush()

    def _read_answers(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            while (data := received(stream)) is not None:
                self._answers.put(json.loads(data))
        self._ended.set()
        self._answers.put(None)

    def _read_output(self) -> None:
        """Show what is printed; the mark of a call, at its end, is not shown."""
        assert self._process.stderr is not None
        decoder, held = codecs.getincrementaldecoder("utf-8")("replace"), b""
        with self._process.stderr as stream:
            while data := os.read(stream.fileno(), 65536):
                held += data
                mark = self.mark.encode()
                before, found, after = held.partition(mark) if mark else (held, b"", b"")
                shown = before if found else before[: len(before) - _overlap(held, mark)]
                self._print(decoder.decode(shown, final=bool(found)))
                held = after if found else held[len(shown) :]
                if found:
                    self._printed.set()
        self._print(decoder.decode(held, final=True))
        self._printed.set()


class SubprocessIsolator:
    """Runs a function in a process of its own, which alone has the credentials that it is given.

    `isolator.run(function, *args, credentials={"NAME": "value"}, **kwargs)` gives its result as JSON; what it prints
    is printed. An exception is a Failure (`reason`, `lines`). It takes at most `timeout_seconds`.
    """

    def __init__(self, timeout_seconds: float | None = None) -> None:
        self._timeout = timeout_seconds
        self._isolator = Isolator()

    def run(
        self,
        function: Callable[..., Any],
        /,
        *args: Any,
        credentials: dict[str, str] | None = None,
        files: Sequence[CredentialFile] = (),
        **kwargs: Any,
    ) -> Any:
        """The function's result. Failure; TypeError if it cannot cross into another process."""
        name = getattr(function, "__name__", type(function).__name__)
        contents = {each.env_var: each.content for each in files if each.content is not None}
        given = Given(name, {**(credentials or {}), **contents}, {each.env_var: each for each in files})
        definition = getattr(function, "_tool_def", None) or ToolDef(name, func=function)
        order = Order(definition, given, args, kwargs)
        timers: list[threading.Timer] = []

        def limited(lose: Callable[[], None]) -> None:
            if self._timeout is not None:
                timers.append(threading.Timer(self._timeout, lose))
                timers[-1].start()

        try:
            return self._isolator.run(order, Output(), limited)["result"]
        except Unfit as unfit:
            raise TypeError(f"{name} cannot run in another process: {unfit}") from unfit
        finally:
            for timer in timers:
                timer.cancel()

    def close(self) -> None:
        """End the processes that are kept for the next call."""
        self._isolator.close()


# Orders


def by_name(order: Order) -> Any:
    """The place where the function can be imported from. Unfit if there is none."""
    function = order.tool.func
    name = _name(function)
    if not name:
        raise Unfit("it has no name that can be imported")
    module, _, path = name.partition(":")
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    definition = getattr(found, "_tool_def", None)
    if found is not function and getattr(definition, "func", None) is not function:
        raise Unfit(f"{name} is another function now")
    return {"module": module, "path": path, "digest": order.tool.source_digest}


def by_content(order: Order) -> Any:
    """The function itself, to be packed with all that it uses."""
    function = order.tool.func
    if not isinstance(function, FunctionType):
        return function
    # As one that nobody can import: it is packed, and what it uses of its module with it.
    loose = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    loose.__kwdefaults__, loose.__qualname__, loose.__module__ = function.__kwdefaults__, function.__name__, "__main__"
    return loose


WAYS = (by_name, by_content)


def _packed(order: Order, function: Any) -> bytes:
    """An order as it crosses. Unfit if something in it cannot."""
    import cloudpickle

    context = order.tool.takes.context if order.tool.takes is not None else None
    told = {
        "tool": order.tool.name,
        "function": function,
        "places": tuple(order.places),
        "names": {name: each for name, each in order.names.items() if name != context},
        "context": context,
        "fields": _fields(order.context, all_of_it=context is not None),
        "values": order.given.values,
        "files": {name: each.relative_path for name, each in order.given.files.items()},
        "environ": environ(),
        "folder": os.getcwd(),
    }
    try:
        with nullcontext() if isinstance(function, dict) else _as_content(order.tool.func):
            data: bytes = cloudpickle.dumps(told)
    except Exception as problem:  # what a function uses may raise anything when it is packed
        raise Unfit(
            f"it uses what cannot cross into another process ({type(problem).__name__}: {problem})"
        ) from problem
    return data


@contextmanager
def _as_content(function: Any) -> Iterator[None]:
    """While this lasts, what is packed of the function's module is packed whole, if nobody else could import it: it
    was loaded from a file outside of the path, or made here."""
    import cloudpickle

    name = getattr(function, "__module__", None) or ""
    module = sys.modules.get(name)
    if module is None or name in MAINS or _is_found(name, module):
        yield
        return
    with _packing:
        cloudpickle.register_pickle_by_value(module)
        try:
            yield
        finally:
            cloudpickle.unregister_pickle_by_value(module)


def _is_found(name: str, module: Any) -> bool:
    """Would another process find this very module under its name?"""
    if "." in name:
        return True
    with suppress(ImportError, ValueError, AttributeError):
        found = (finder.find_spec(name, None) for finder in sys.meta_path)
        spec = next((each for each in found if each is not None), None)
        return spec is not None and spec.origin == getattr(module, "__file__", spec.origin)
    return False


def _fields(context: ToolContext, *, all_of_it: bool) -> Json:
    """What a call may know of itself. What the agent was made with crosses only if the function asks for it."""
    fields = {name: each for name, each in vars(context).items() if not name.startswith("_")}
    return fields if all_of_it else {**fields, "metadata": {}, "dependencies": {}}


def environ() -> dict[str, str]:
    """This process's environment, without what is lent to other calls and without the keys of a server."""
    return {name: value for name, value in environment.own().items() if name not in KEYS}


def received(stream: IO[bytes]) -> bytes | None:
    """The next message on a stream; None at its end."""
    head = stream.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    (size,) = HEAD.unpack(head)
    data = stream.read(size)
    return data if len(data) == size else None


def _name(function: Any) -> str:
    """`module:path` of a function that can be imported, else ""."""
    module, path = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if not isinstance(function, FunctionType) or not module or not path or "<" in path:
        return ""
    return "" if module in MAINS else f"{module}:{path}"


def _given(given: Given) -> Any:
    files = {name: each.relative_path for name, each in given.files.items()}
    return [sorted(given.values.items()), sorted(files.items())]


def _printer(output: Output, given: Given) -> Callable[[str], None]:
    """Prints text as if the tool did it here, without the credentials."""
    without, held = redactor(given.values), [""]

    def show(text: str) -> None:
        lines = (held[0] + text).splitlines(keepends=True)
        whole = lines and not lines[-1].endswith("\n") and text
        held[0] = lines.pop() if whole else ""
        for line in lines:
            with captured(output):
                sys.stdout.write(without(line))

    return show


def _overlap(data: bytes, mark: bytes) -> int:
    """How many of the last bytes may be the beginning of the mark."""
    sizes = range(min(len(data), len(mark) - 1), 0, -1)
    return next((size for size in sizes if data.endswith(mark[:size])), 0)


def _end_all() -> None:
    for child in list(_ALIVE):
        child.end()


_BEGIN = (
    "import sys, json; sys.path[:] = json.loads(sys.stdin.buffer.raw.readline());"
    "from agentspan.agents.isolated import main; main()"
)
MAINS = ("__main__", "__mp_main__")
_packing = threading.Lock()
_ALIVE: weakref.WeakSet[Child] = weakref.WeakSet()
atexit.register(_end_all)

KEYS = ("AGENTSPAN_MASTER_KEY", "AGENTSPAN_OLD_MASTER_KEYS", "AGENTSPAN_DATABASE_URL", "SPRING_DATASOURCE_PASSWORD")
"""What only a server needs; a tool's process does not get it."""
