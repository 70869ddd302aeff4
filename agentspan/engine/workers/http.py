"""Performs tools that are HTTP requests: arguments to request to answer, many at once, each an asyncio task.

The values of credentials are put in here, and taken out of whatever comes back: they are never in a task, in the log or
in an error.
"""

import logging
import re
import traceback
from collections.abc import Awaitable, Callable, Iterable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import httpx
import msgspec

import agentspan
from agentspan.clock import now_ms
from agentspan.engine.outgoing import Answer, Broken, Outgoing
from agentspan.engine.pollers import Pollers
from agentspan.engine.workers.builtin import Calls
from agentspan.errors import AgentspanError, BadInput
from agentspan.spec.http import ARGUMENT, CREDENTIAL, SAFE, WITHOUT_BODY, is_header, named, place
from agentspan.spec.redact import redacted
from agentspan.spec.tool import ToolSpec
from agentspan.store.views import Receipt, Report, TaskView, Want

log = logging.getLogger("agentspan.http")

Json = dict[str, Any]
Values = Mapping[str, str]

QUEUE = Want("@http")
MOST_AT_ONCE = 1_000
USUAL_SECONDS = 30.0
MOST_BYTES = 1 << 20
"""The largest answer, without its compression."""
DEEPEST = 100
"""How deeply a JSON answer may be nested; a deeper one is text."""
SHOWN_CHARS = 2_000
"""How much of an answer goes into an error."""
LONGEST_WAIT_MS = 3_600_000
"""What a Retry-After counts for at most."""


class HttpWorker(Calls):
    """`tool_of` gives the tool of a task, `values` those credentials of these names that are stored."""

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
        super().__init__(QUEUE, owner, MOST_AT_ONCE, pollers, report, look)
        self.outgoing, self.tool_of, self.values = outgoing, tool_of, values
        self._once: set[str] = set()

    async def drain(self, seconds: float) -> list[str]:
        """A call that may not be made twice stays with this server: its end tells others that the call is lost."""
        return [name for name in await super().drain(seconds) if name not in self._once]

    async def outcome(self, view: TaskView) -> Report:
        values: dict[str, str] = {}
        try:
            tool = await self.patiently(lambda: self.tool_of(view))
            names = _given(tool, view)
            if names:
                found = await self.patiently(lambda: self.values(view.task_id, names))
                # Many a value was stored with the end of its line.
                values.update({name: value.strip("\r\n") for name, value in found.items()})
            if not tool.retry.limit:
                self._once.add(view.task_id)
            done = await self._ask(tool, view, values)
        except AgentspanError as problem:
            done = _Failure(problem.message)
        except Exception as problem:  # the edge of the worker: a defect of ours must not lose the task
            log.error("http call %s failed: %s", view.task_id, redacted(traceback.format_exc(), values))
            done = _Failure(f"{type(problem).__name__}: {problem}", again=True)
        finally:
            self._once.discard(view.task_id)
        if isinstance(done, _Failure):
            status = "FAILED" if done.again else "FAILED_WITH_TERMINAL_ERROR"
            return Report(
                task_id=view.task_id, status=status, error=redacted(done.error, values), worker=view.worker,
                retry_after_ms=done.after_ms,
            )  # fmt: skip
        return Report(task_id=view.task_id, status="COMPLETED", output=redacted(done, values), worker=view.worker)

    async def _ask(self, tool: ToolSpec, view: TaskView, values: Values) -> "Json | _Failure":
        request = request_of(tool, view.input, values, view.idempotency_key)
        host, seconds = request.url.host, tool.timeout_seconds or USUAL_SECONDS
        try:
            answer = await self.outgoing.fetch(request, seconds=seconds, most_bytes=MOST_BYTES)
        except Broken as problem:
            return _Failure(f"{host}: {problem}")
        except TimeoutError:
            return _Failure(f"{host} did not answer within {seconds:g} s", again=True)
        except httpx.TransportError as problem:
            return _Failure(f"{host} cannot be reached: {problem or type(problem).__name__}", again=True)
        if 200 <= answer.status < 300:
            return output_of(answer)
        # Cut last: half a secret is not known for one.
        said = redacted(f"{host} answered {answer.status} {answer.reason}: {_text(answer)}", values)
        return _Failure(
            said[:SHOWN_CHARS].rstrip(": "),
            again=answer.status in PASSING or answer.status >= 500,
            after_ms=_retry_after_ms(answer.headers.get("Retry-After", "")),
        )


class _Failure(NamedTuple):
    """What the model reads instead of a result. `again`: another attempt may succeed, after so many milliseconds."""

    error: str
    again: bool = False
    after_ms: int = 0


def _given(tool: ToolSpec, view: TaskView) -> tuple[str, ...]:
    """The credentials that the call needs. BadInput for one that is not the tool's."""
    names = named(tool)
    if foreign := [name for name in names if name not in view.credentials]:
        raise BadInput(f"the headers of {tool.name} use {', '.join(foreign)}, which its credentials do not list")
    return names


# The request


def request_of(tool: ToolSpec, arguments: Json, values: Values, key: str) -> httpx.Request:
    """What is sent. `key` is the same for each attempt of a call. BadInput if that cannot be sent."""
    config, left = tool.config, dict(arguments)
    method = str(config.get("method") or "GET").upper()
    places: Mapping[str, str] = config.get("places") or {}
    url = ARGUMENT.sub(lambda found: _segment(found[1], left), str(config["url"]))
    headers = _headers(config, places, left, values)
    if method not in SAFE:
        headers.setdefault("Idempotency-Key", key)
    usual = "query" if method in WITHOUT_BODY else "body"
    query = _taken("query", places, left, usual)
    content = _body(config, places, left) if method not in SAFE and (left or usual == "body") else None
    if content is not None:
        headers.setdefault("Content-Type", str(config.get("contentType") or "application/json"))
    try:
        parsed = httpx.URL(url)
        whole = parsed.copy_merge_params(_flat(query)) if query else parsed
        return httpx.Request(method, whole, headers=headers, content=content)
    except httpx.InvalidURL as problem:
        raise BadInput(f"the arguments make no URL: {problem}") from None


def _segment(name: str, left: Json) -> str:
    """An argument in its place in the URL, of which it can be no more than one piece."""
    value = left.pop(name, None)
    text = _plain(value) if value is not None else ""
    if text in ("", ".", ".."):
        raise BadInput(f"the argument {name} must be given, and be more than dots")
    return quote(text, safe="")


def _headers(config: Json, places: Mapping[str, str], left: Json, values: Values) -> httpx.Headers:
    headers = httpx.Headers({"User-Agent": f"agentspan/{agentspan.__version__}"})
    if accept := config.get("accept"):
        headers["Accept"] = ", ".join(map(str, accept)) if isinstance(accept, list | tuple) else str(accept)
    for name, value in _taken("header", places, left, "").items():
        if value is not None:
            headers[name] = _line(name, _plain(value))
    for name, value in (config.get("headers") or {}).items():
        headers[name] = _line(name, CREDENTIAL.sub(lambda found: _value(found[1], values), value))
    return headers


def _taken(where: str, places: Mapping[str, str], left: Json, usual: str) -> Json:
    """The arguments that go there, under the names that they have there."""
    found = {name: place(places, name, usual) for name in left}
    return {called: left.pop(name) for name, (at, called) in found.items() if at == where}


def _value(name: str, values: Values) -> str:
    if name not in values:
        raise BadInput(f"there is no credential {name}: store it with `agentspan credentials set {name}`")
    return values[name]


def _line(name: str, text: str) -> str:
    if not is_header(text):
        raise BadInput(f"the header {name} would hold what no header can: it must be one line of ASCII")
    return text


def _body(config: Json, places: Mapping[str, str], left: Json) -> bytes:
    kind = str(config.get("contentType") or "application/json").lower()
    whole = _taken("whole", places, left, "body")
    value = next(iter(whole.values())) if whole else {place(places, name, "body")[1]: left[name] for name in left}
    if "json" in kind:
        return msgspec.json.encode(value)
    if "x-www-form-urlencoded" in kind:
        return urlencode(_flat(value if isinstance(value, dict) else {}), doseq=True).encode()
    text = value.get("body", value) if isinstance(value, dict) else value
    return (text if isinstance(text, str) else msgspec.json.encode(text).decode()).encode()


def _flat(arguments: Json) -> dict[str, str | list[str]]:
    """Arguments as a query or a form has them; what is not given is left out."""
    return {
        name: [_plain(each) for each in value] if isinstance(value, list) else _plain(value)
        for name, value in arguments.items()
        if value is not None
    }


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


# The answer


def output_of(answer: Answer) -> Json:
    """The result of a call: JSON as it is, text as text, of anything else what it is."""
    if not answer.body:
        return {"status": answer.status}
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if "json" in kind or not kind:
        try:
            value = msgspec.json.decode(answer.body)
        except (msgspec.DecodeError, RecursionError, UnicodeError):
            return {"result": _text(answer)}
        return {"result": _text(answer) if _is_deep(value) else value}
    if kind.startswith("text/") or kind in TEXTS or kind.endswith("+xml"):
        return {"result": _text(answer)}
    return {"result": {"contentType": kind, "bytes": len(answer.body)}}


def _is_deep(value: Any) -> bool:
    """Is it nested so deeply that those who read it might break?"""
    level = [value]
    for _ in range(DEEPEST):
        level = [each for one in level for each in _inside(one)]
    return bool(level)


def _inside(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _text(answer: Answer) -> str:
    found = re.search(r"charset=[\"']?([\w-]+)", answer.headers.get("Content-Type", ""))
    try:
        text = answer.body.decode(found[1] if found else "utf-8", errors="replace")
    except LookupError:
        text = answer.body.decode(errors="replace")
    return text.replace("\x00", "")


def _retry_after_ms(text: str) -> int:
    """What a Retry-After says, in milliseconds; 0 if it says nothing that can be read."""
    text = text.strip()
    try:
        wait = int(text) * 1000 if text.isdecimal() else int(parsedate_to_datetime(text).timestamp() * 1000) - now_ms()
    except (TypeError, ValueError, OverflowError):
        return 0
    return min(max(0, wait), LONGEST_WAIT_MS)


PASSING = frozenset({408, 425, 429})
"""Refusals that another attempt may not meet."""
TEXTS = frozenset(
    {"application/javascript", "application/xml", "application/x-www-form-urlencoded", "application/yaml"}
)
