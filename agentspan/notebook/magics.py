"""The magics of `%load_ext agentspan`: ask an agent by a cell, look at runs, answer what they ask. `%runs?` tells more.

What goes wrong is told in one sentence.
"""

import argparse
import functools
import json
import re
import shlex
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, NoReturn, TypeVar

from IPython.core.error import UsageError
from IPython.core.magic import Magics, cell_magic, line_magic, magics_class

import agentspan
from agentspan.agents.agent import Agent
from agentspan.agents.default import default_runtime
from agentspan.agents.handle import AgentHandle
from agentspan.agents.inbox import Request
from agentspan.agents.runs import Runs
from agentspan.agents.runtime.runtime import AgentRuntime
from agentspan.agents.settings import RunSettings
from agentspan.drawing.asking import title
from agentspan.drawing.value import inline, pairs, table
from agentspan.drawing.words import count, duration
from agentspan.errors import AgentspanError, BadInput, NotFound
from agentspan.notebook.cells import defined, recalled
from agentspan.notebook.mode import OFF, mode
from agentspan.notebook.page import Page, dashboard

Json = dict[str, Any]
F = TypeVar("F", bound=Callable[..., Any])

RECENT = 200


class Asked(Sequence[Request]):
    """What runs ask people, as a table; each of them (`_[0]`) is a card to be answered."""

    def __init__(self, requests: list[Request]) -> None:
        self._requests = requests

    def __len__(self) -> int:
        return len(self._requests)

    def __getitem__(self, place: Any) -> Any:
        return self._requests[place]

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Json:
        rows = [_row(each) for each in self]
        widths = [max(len(row[place]) for row in rows) for place in range(len(COLUMNS))] if rows else []
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return {
            "text/plain": "\n".join(lines) or "nothing is asked",
            "text/html": str(table(COLUMNS, rows, "Nothing is asked.")),
        }


class Status:
    """How this kernel and its server stand."""

    def __init__(self, told: dict[str, str]) -> None:
        self.told = told

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Json:
        return {
            "text/plain": "\n".join(f"{name}: {value}" for name, value in self.told.items()),
            "text/html": str(pairs(list(self.told.items()))),
        }


class Options(argparse.ArgumentParser):
    """The options of a magic; what is wrong with a line is an error, not the end of the kernel."""

    def error(self, message: str) -> NoReturn:
        raise BadInput(f"{message}; {self.prog}? tells more")


def options(*given: tuple[str, Json]) -> Callable[[F], F]:
    """A magic that takes these options: each its name, and what argparse is to know of it."""

    def mark(function: F) -> F:
        sign = "%%" if function.__name__ == "agent" else "%"
        parser = Options(prog=f"{sign}{function.__name__}", add_help=False)
        for name, how in given:
            parser.add_argument(name, **how)
        function.parser = parser  # type: ignore[attr-defined]
        function.__doc__ = f"{function.__doc__}\n{parser.format_help().replace('%%%%', '%%')}"
        return function

    return mark


def briefly(function: Callable[..., Any]) -> Callable[..., Any]:
    """A magic whose problems are told in one sentence."""

    @functools.wraps(function)
    def magic(self: Any, line: str, *cell: str) -> Any:
        try:
            return function(self, line, *cell)
        except (AgentspanError, ValueError, LookupError, TypeError) as problem:
            text = " ".join(str(problem.args[0] if problem.args else problem).split())
            raise UsageError(text) from None

    return magic


@magics_class
class AgentMagics(Magics):
    """The magics of agentspan."""

    @options(
        ("name", {"nargs": "?", "help": "a variable that holds an Agent, the name of one, or of a deployed agent"}),
        ("--model", {"help": "the model to use, such as openai/gpt-4o-mini"}),
        ("--session", {"help": "go on with the conversation of this id"}),
        ("--as", {"dest": "variable", "metavar": "VARIABLE", "help": "keep the result in this variable"}),
    )
    @briefly
    @cell_magic
    def agent(self, line: str, cell: str) -> Any:
        """Ask an agent: the cell is the prompt. {name} stands for a variable, {{name}} for the braces themselves.

        Example::

            %%agent weather --as answer
            Do I need an umbrella in {city}?
        """
        asked = self._parsed("agent", line)
        prompt = interpolated(cell.strip(), self._space)
        target, settings = self._target(asked.name, asked.model)
        runtime = runtime_of(self.shell)
        result = runtime.run(target, prompt, session_id=asked.session, run_settings=settings)
        self._space[asked.variable or "_agent"] = result
        return result if mode() == OFF else None

    @options(
        ("agent", {"nargs": "?", "help": "only runs of this agent"}),
        ("--status", {"help": "only runs in this status, such as FAILED"}),
        ("--since", {"help": "only runs begun so long ago: 30m, 2h, 7d"}),
        ("--session", {"help": "only runs of this session"}),
        ("--text", {"help": "only runs with this text"}),
        ("--limit", {"type": int, "default": 20, "help": "at most so many (20)"}),
    )
    @briefly
    @line_magic
    def runs(self, line: str) -> Runs:
        """List the newest runs.

        Example::

            %runs weather --status FAILED --since 2h
        """
        asked = self._parsed("runs", line)
        since = ago(asked.since) if asked.since else None
        wanted: Json = {"session": asked.session, "since": since, "text": asked.text, "limit": asked.limit}
        found = runtime_of(self.shell).runs(asked.agent, status=asked.status and asked.status.upper(), **wanted)
        known_runs.update(dict.fromkeys(found.ids))
        return found

    @briefly
    @line_magic
    def tail(self, line: str) -> AgentHandle:
        """Show a run as it goes on: by its id, or by the beginning or the end of it; the last one of this notebook.

        Example::

            %tail 01a206e8
        """
        return handle_of(runtime_of(self.shell), line.strip())

    @options(
        ("--agent", {"help": "only what this agent asks, or a run of it"}),
        ("--run", {"help": "only what this run asks, and those below it"}),
    )
    @briefly
    @line_magic
    def inbox(self, line: str) -> Asked:
        """List what runs ask people, oldest first.

        Example::

            %inbox --agent payer
        """
        asked = self._parsed("inbox", line)
        runtime = runtime_of(self.shell)
        run = handle_of(runtime, asked.run).execution_id if asked.run else None
        found = Asked(runtime.inbox(execution_id=run, agent_name=asked.agent))
        known_requests.update(dict.fromkeys(each.request_id for each in found))
        return found

    @briefly
    @line_magic
    def approve(self, line: str) -> None:
        """Let a call be made: by the id of the request, or of its run if that asks one thing; with other arguments.

        Example::

            %approve 01a206e8-8d10-79e7-98a2-2ed6aac9961a.t4 --edit {"amount": 5}
        """
        key, _, edit = line.partition("--edit")
        arguments = _object(edit) if edit.strip() else None
        request = request_of(runtime_of(self.shell), key.strip())
        request.approve(arguments)
        print(f"approved: {told(request, arguments)}")

    @briefly
    @line_magic
    def reject(self, line: str) -> None:
        """Refuse a call, and say why: the model is told.

        Example::

            %reject 01a206e8-8d10-79e7-98a2-2ed6aac9961a.t4 too much for one day
        """
        key, _, reason = line.strip().partition(" ")
        request = request_of(runtime_of(self.shell), key)
        request.reject(reason.strip())
        print(f"rejected: {told(request)}")

    @briefly
    @line_magic
    def dashboard(self, line: str) -> Page:
        """Show a page of the dashboard below the cell: runs, inbox, agents, workers, costs, ...; the overview.

        Example::

            %dashboard inbox
        """
        return dashboard(line.strip())

    @briefly
    @line_magic
    def agentspan(self, line: str) -> Status:
        """Say how this kernel and its server stand.

        Example::

            %agentspan status
        """
        if line.strip() not in ("", "status"):
            raise BadInput(f"%agentspan knows status, not {line.strip()!r}")
        return Status(standing(runtime_of(self.shell)))

    @property
    def _space(self) -> Json:
        """The variables of the notebook."""
        assert self.shell is not None
        space: Json = self.shell.user_ns
        return space

    def _parsed(self, name: str, line: str) -> Any:
        return getattr(type(self), name).parser.parse_args(shlex.split(line))

    def _target(self, name: str | None, model: str | None) -> tuple[Any, RunSettings | None]:
        """The agent of a name, or one made for a model; and what is to be otherwise."""
        if name is None:
            if model is None:
                raise BadInput("say which agent, or which model: %%agent NAME, or %%agent --model openai/gpt-4o-mini")
            return Agent(name="assistant", model=model), None
        known = self._space.get(name)
        found = known if known is not None and not isinstance(known, str) else defined(name) or name
        return found, RunSettings(model=model) if model else None


def register(shell: Any) -> None:
    """Make the magics known to a shell, with what can be completed without asking anybody."""
    shell.register_magics(AgentMagics)
    for name in ("%tail", "%inbox"):
        shell.set_hook("complete_command", lambda *_: list(known_runs), str_key=name)
    for name in ("%approve", "%reject"):
        shell.set_hook("complete_command", lambda *_: list(known_requests), str_key=name)
    for name in ("%%agent", "%runs"):
        shell.set_hook("complete_command", lambda *_: _agents(shell), str_key=name)
    shell.set_hook("complete_command", lambda *_: list(PAGES), str_key="%dashboard")
    shell.set_hook("complete_command", lambda *_: ["status"], str_key="%agentspan")


# Parts


def runtime_of(shell: Any) -> AgentRuntime:
    """The notebook's variable `runtime`, if it is one; else the process's own."""
    found = shell.user_ns.get("runtime") if shell is not None else None
    return found if isinstance(found, AgentRuntime) else default_runtime()


def handle_of(runtime: AgentRuntime, key: str) -> AgentHandle:
    """A run by its id or a part of it; without one, the last of this notebook."""
    key = key or recalled(runtime)
    if not key:
        raise NotFound("say which run, by its id: this notebook has started none yet; %runs lists them")
    if len(key) >= WHOLE:
        handle = runtime.attach(key)
        handle.get_status()  # NotFound if there is none
        return handle
    try:
        return runtime.runs(limit=RECENT).handle(key)
    except KeyError as problem:
        raise NotFound(str(problem.args[0])) from None


def request_of(runtime: AgentRuntime, key: str) -> Request:
    """An open request by its id or the end of it, or by its run, if that asks one thing."""
    if not key:
        raise BadInput("say which request, by its id; %inbox lists them")
    found = runtime.inbox()
    exact = [each for each in found if key in (each.request_id, each.root_id, each.execution_id)]
    fits = exact or [each for each in found if each.request_id.startswith(key) or each.request_id.endswith(key)]
    if len(fits) != 1:
        raise NotFound(f"{'no open request' if not fits else 'more than one open request'} is {key!r}; see %inbox")
    return fits[0]


def standing(runtime: AgentRuntime) -> dict[str, str]:
    """What there is to say about the kernel and the server."""
    client = runtime.portal.call(runtime.client())
    workers = runtime.portal.call(client.workers())
    own = [each for each in workers.get("workers") or () if each["workerId"] == runtime.worker_id]
    queues = sorted({each["name"] for worker in own for each in worker["queues"]})
    held = [f"{each['name']} since {duration(workers['now'] - each['since'])}" for w in own for each in w["inFlight"]]
    return {
        "agentspan": agentspan.__version__,
        "server": client.url,
        "last run": recalled(runtime) or "none",
        "running": count(runtime.runs(status="RUNNING", limit=1).total),
        "requests": count(len(runtime.inbox())),
        "served here": ", ".join(queues) or "nothing yet",
        "at work here": ", ".join(held) or "nothing",
    }


def interpolated(text: str, names: Json) -> str:
    """A text with the values of the variables that it names in braces."""

    def value(found: "re.Match[str]") -> str:
        if found[0].startswith("{{"):
            return found[0][1:-1]
        if found[1] not in names:
            raise BadInput(f"the prompt names {found[0]}, and there is no such variable; {{{found[0]}}} is the text")
        return str(names[found[1]])

    return re.sub(r"\{\{\s*[A-Za-z_]\w*\s*\}\}|\{([A-Za-z_]\w*)\}", value, text)


def ago(text: str) -> timedelta:
    """`30m`, `2h`, `7d` as a span of time."""
    found = re.fullmatch(r"(\d+)([smhd])", text)
    if not found:
        raise BadInput(f"--since must be a number and s, m, h or d, such as 2h; got {text!r}")
    return timedelta(**{UNITS[found[2]]: int(found[1])})


def told(request: Request, arguments: Json | None = None) -> str:
    """A request in a few words."""
    given = inline(arguments or request.arguments, 80) if arguments or request.arguments else ""
    return f"{request.tool or request.kind} {given} of {request.agent_name}"


def _row(request: Request) -> list[str]:
    what = inline(request.arguments or request.content or "", 60)
    path = "/".join(request.path) or request.agent_name
    return [request.request_id, path, title({"kind": request.kind, "tool": request.tool}), what]


def _agents(shell: Any) -> list[str]:
    return [name for name, each in shell.user_ns.items() if isinstance(each, Agent) and not name.startswith("_")]


def _object(text: str) -> Json:
    text = text.strip()
    text = text[1:-1] if text[:1] == text[-1:] == "'" else text
    try:
        found = json.loads(text)
    except ValueError as problem:
        raise BadInput(f"--edit must be JSON: {problem}") from None
    if not isinstance(found, dict):
        raise BadInput("--edit must be a JSON object: it takes the place of the call's arguments")
    return found


known_runs: dict[str, None] = {}
known_requests: dict[str, None] = {}
"""What was listed so far: offered when a line is completed."""

WHOLE = 36
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
PAGES = ("runs", "inbox", "agents", "chat", "workers", "costs", "credentials", "settings")
COLUMNS = ("request", "agent", "what", "about")
