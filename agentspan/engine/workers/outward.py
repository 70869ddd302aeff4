"""What the workers of tools have in common that the server itself calls: values of credentials go in, and come out of
whatever comes back; they are never in a task, in the log or in an error."""

import logging
import traceback
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, ClassVar, NamedTuple

from agentspan.engine.outgoing import Outgoing
from agentspan.engine.pollers import Pollers
from agentspan.engine.workers.builtin import Calls
from agentspan.errors import AgentspanError, BadInput
from agentspan.spec.http import CREDENTIAL, is_header, named
from agentspan.spec.redact import redacted
from agentspan.spec.tool import ToolSpec
from agentspan.store.views import Receipt, Report, TaskView, Want

log = logging.getLogger("agentspan.workers")

Json = dict[str, Any]
Values = Mapping[str, str]

MOST_AT_ONCE = 1_000
MOST_BYTES = 1 << 20
"""The largest answer, without its compression."""
DEEPEST = 100
"""How deeply a JSON answer may be nested; a deeper one is text."""
SHOWN_CHARS = 2_000
"""How much of an answer goes into an error."""


class Failure(NamedTuple):
    """What the model reads instead of a result. `again`: another attempt may succeed, after so many milliseconds."""

    error: str
    again: bool = False
    after_ms: int = 0


class Outward(Calls):
    """Takes the calls of tools of one kind. `tool_of` gives the tool of a task, `values` those credentials of these
    names that are stored."""

    kind: ClassVar[str]

    def __init__(
        self,
        owner: str,
        outgoing: Outgoing,
        pollers: Pollers,
        tool_of: Callable[[TaskView], Awaitable[ToolSpec]],
        values: Callable[[str, Iterable[str]], Awaitable[dict[str, str]]],
        report: Callable[[Report], Awaitable[Receipt]],
        look: Callable[[], None],
    ) -> None:
        super().__init__(Want(f"@{self.kind}"), owner, MOST_AT_ONCE, pollers, report, look)
        self.outgoing, self.tool_of, self.values = outgoing, tool_of, values
        self._once: set[str] = set()

    async def ask(self, tool: ToolSpec, view: TaskView, values: Values) -> Json | Failure:
        """Make the call, once."""
        raise NotImplementedError

    async def drain(self, seconds: float) -> list[str]:
        """A call that may not be made twice stays with this server: its end tells others that the call is lost."""
        return [name for name in await super().drain(seconds) if name not in self._once]

    async def outcome(self, view: TaskView) -> Report:
        values: dict[str, str] = {}
        try:
            tool = await self.patiently(lambda: self.tool_of(view))
            names = _given(tool, view)
            if names:
                values.update(lines(await self.patiently(lambda: self.values(view.task_id, names))))
            if not tool.retry.limit:
                self._once.add(view.task_id)
            done = await self.ask(tool, view, values)
        except AgentspanError as problem:
            done = Failure(problem.message)
        except Exception as problem:  # the edge of the worker: a defect of ours must not lose the task
            log.error("the call %s failed: %s", view.task_id, redacted(traceback.format_exc(), values))
            done = Failure(f"{type(problem).__name__}: {problem}", again=True)
        finally:
            self._once.discard(view.task_id)
        if isinstance(done, Failure):
            status = "FAILED" if done.again else "FAILED_WITH_TERMINAL_ERROR"
            return Report(
                task_id=view.task_id, status=status, error=redacted(done.error, values), worker=view.worker,
                retry_after_ms=done.after_ms,
            )  # fmt: skip
        return Report(task_id=view.task_id, status="COMPLETED", output=redacted(done, values), worker=view.worker)


def _given(tool: ToolSpec, view: TaskView) -> tuple[str, ...]:
    """The credentials that the call needs. BadInput for one that is not the tool's."""
    names = named(tool)
    if foreign := [name for name in names if name not in view.credentials]:
        raise BadInput(f"the headers of {tool.name} use {', '.join(foreign)}, which its credentials do not list")
    return names


def lines(values: Values) -> dict[str, str]:
    """Many a value was stored with the end of its line."""
    return {name: value.strip("\r\n") for name, value in values.items()}


def headers_of(tool: ToolSpec, values: Values) -> dict[str, str]:
    """The headers of a tool with the values in them. BadInput for a value that is not there or cannot stand there."""
    given: Mapping[str, str] = tool.config.get("headers") or {}
    return {
        name: line(name, CREDENTIAL.sub(lambda found: _value(found[1], values), value)) for name, value in given.items()
    }


def line(name: str, text: str) -> str:
    """A text as the value of the header of that name. BadInput."""
    if not is_header(text):
        raise BadInput(f"the header {name} would hold what no header can: it must be one line of ASCII")
    return text


def _value(name: str, values: Values) -> str:
    if name not in values:
        raise BadInput(f"there is no credential {name}: store it with `agentspan credentials set {name}`")
    return values[name]


def is_passing(status: int) -> bool:
    """Whether another attempt may not meet what HTTP answered."""
    return status in PASSING or status >= 500


def is_deep(value: Any) -> bool:
    """Is it nested so deeply that those who read it might break?"""
    level = [value]
    for _ in range(DEEPEST):
        level = [each for one in level for each in _inside(one)]
    return bool(level)


def _inside(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


PASSING = frozenset({408, 425, 429})
