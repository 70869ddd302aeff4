"""Performs tools that are HTTP requests: arguments to request to answer, many at once, each an asyncio task."""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import msgspec

import agentspan
from agentspan.clock import now_ms
from agentspan.engine.outgoing import Answer, Broken
from agentspan.engine.workers.outward import (
    MOST_BYTES,
    SHOWN_CHARS,
    Failure,
    Outward,
    Values,
    headers_of,
    is_deep,
    is_passing,
    line,
)
from agentspan.errors import BadInput
from agentspan.spec.http import ARGUMENT, SAFE, WITHOUT_BODY, place
from agentspan.spec.redact import redacted
from agentspan.spec.tool import ToolSpec
from agentspan.store.views import TaskView

Json = dict[str, Any]

USUAL_SECONDS = 30.0
LONGEST_WAIT_MS = 3_600_000
"""What a Retry-After counts for at most."""


class HttpWorker(Outward):
    """Takes the calls of tools of type http."""

    kind = "http"

    async def ask(self, tool: ToolSpec, view: TaskView, values: Values) -> Json | Failure:
        request = request_of(tool, view.input, values, view.idempotency_key)
        host, seconds = request.url.host, tool.timeout_seconds or USUAL_SECONDS
        try:
            answer = await self.outgoing.fetch(request, seconds=seconds, most_bytes=MOST_BYTES)
        except Broken as problem:
            return Failure(f"{host}: {problem}")
        except TimeoutError:
            return Failure(f"{host} did not answer within {seconds:g} s", again=True)
        except httpx.TransportError as problem:
            return Failure(f"{host} cannot be reached: {problem or type(problem).__name__}", again=True)
        if 200 <= answer.status < 300:
            return output_of(answer)
        # Cut last: half a secret is not known for one.
        said = redacted(f"{host} answered {answer.status} {answer.reason}: {_text(answer)}", values)
        return Failure(
            said[:SHOWN_CHARS].rstrip(": "),
            again=is_passing(answer.status),
            after_ms=_retry_after_ms(answer.headers.get("Retry-After", "")),
        )


# The request


def request_of(tool: ToolSpec, arguments: Json, values: Values, key: str) -> httpx.Request:
    """What is sent. `key` is the same for each attempt of a call. BadInput if that cannot be sent."""
    config, left = tool.config, dict(arguments)
    method = str(config.get("method") or "GET").upper()
    places: Mapping[str, str] = config.get("places") or {}
    url = ARGUMENT.sub(lambda found: _segment(found[1], left), str(config["url"]))
    headers = _headers(tool, places, left, values)
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


def _headers(tool: ToolSpec, places: Mapping[str, str], left: Json, values: Values) -> httpx.Headers:
    headers = httpx.Headers({"User-Agent": f"agentspan/{agentspan.__version__}"})
    if accept := tool.config.get("accept"):
        headers["Accept"] = ", ".join(map(str, accept)) if isinstance(accept, list | tuple) else str(accept)
    for name, value in _taken("header", places, left, "").items():
        if value is not None:
            headers[name] = line(name, _plain(value))
    headers.update(headers_of(tool, values))
    return headers


def _taken(where: str, places: Mapping[str, str], left: Json, usual: str) -> Json:
    """The arguments that go there, under the names that they have there."""
    found = {name: place(places, name, usual) for name in left}
    return {called: left.pop(name) for name, (at, called) in found.items() if at == where}


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
        return {"result": _text(answer) if is_deep(value) else value}
    if kind.startswith("text/") or kind in TEXTS or kind.endswith("+xml"):
        return {"result": _text(answer)}
    return {"result": {"contentType": kind, "bytes": len(answer.body)}}


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


TEXTS = frozenset(
    {"application/javascript", "application/xml", "application/x-www-form-urlencoded", "application/yaml"}
)
