"""One HTTP request to the server and its answer: addresses, credentials, retries, errors.

The requests run on the portal's loop, whichever loop or thread asks for them.
"""

import asyncio
import random
import sys
import time
import weakref
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import msgspec

from agentspan.client.errors import AgentAPIError, ServerUnreachableError, api_error
from agentspan.client.portal import Portal, portal

if TYPE_CHECKING:
    import httpx

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 30.0
SLACK_SECONDS = 15.0
FIRST_CONTACT_SECONDS = 3.0
PATIENCE_SECONDS = 60.0
FIRST_WAIT_SECONDS = 0.05
LOCAL_WAIT_SECONDS = 1.0
REMOTE_WAIT_SECONDS = 5.0
RETRYABLE = (502, 503, 504)
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Transport:
    """Sends requests to one server. `url` is its address with or without `/api`.

    `revive` is asked, in a thread, when a server that has answered before refuses connections: it may start it again,
    and gives its address, or None if it did not.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        auth_key: str | None = None,
        auth_secret: str | None = None,
        via: Portal | None = None,
        revive: Callable[[], str | None] | None = None,
    ) -> None:
        self.root = host_of(url)
        self._revive, self._reviving = revive, asyncio.Lock()
        self.headers = auth_headers(api_key, auth_key, auth_secret)
        self.local = (urlsplit(self.root).hostname or "") in LOOPBACK
        self._portal = via or portal()
        self._http: httpx.AsyncClient | None = None
        self.reached = False
        self._close_forgotten: weakref.finalize[..., Transport] | None = None

    async def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        again: bool | None = None,
        seconds: float = ANSWER_SECONDS,
        patience: float | None = None,
    ) -> Any:
        """The decoded answer of one request, or an error of `client.errors`.

        `again` says that sending it twice does no harm (by default GET, HEAD and PUT); it is then sent until it is
        answered, over restarts of the server, for `patience` seconds. `seconds`: how long to wait for one answer.
        """
        again = method in ("GET", "HEAD", "PUT") if again is None else again
        return await self._portal.bridge(self._send(method, path, params, json, again, seconds, patience))

    @asynccontextmanager
    async def open(self, path: str, *, headers: Mapping[str, str], silence: float) -> AsyncIterator["httpx.Response"]:
        """An open GET whose body is read as it comes; on the portal's loop only. `silence` in seconds ends it."""
        import httpx

        timeout = httpx.Timeout(CONNECT_SECONDS, read=silence)
        try:
            async with self._open().stream("GET", self.base + path, headers=dict(headers), timeout=timeout) as response:
                if response.status_code >= 400:
                    await response.aread()
                    raise _error(response)
                self.reached = True
                yield response
        except httpx.ConnectError:
            await self._bring_back()
            raise

    @property
    def base(self) -> str:
        return f"{self.root}/api"

    def waits(self) -> "Waits":
        """The pauses between attempts against this server."""
        return Waits(LOCAL_WAIT_SECONDS if self.local else REMOTE_WAIT_SECONDS)

    def unreachable(self, problem: BaseException) -> ServerUnreachableError:
        """The error to raise when nobody answers."""
        what = " ".join(str(problem).split()) or type(problem).__name__
        hint = (
            "start one with `agentspan server start`, or set AGENTSPAN_SERVER_URL to one that runs"
            if self.local
            else "check the address (AGENTSPAN_SERVER_URL) and the network"
        )
        return ServerUnreachableError(f"no agentspan server answers at {self.root} ({what}): {hint}")

    def patience(self) -> float:
        """For how many seconds a server that does not answer is asked again: long only if it has ever answered."""
        return PATIENCE_SECONDS if self.reached else FIRST_CONTACT_SECONDS

    async def aclose(self) -> None:
        """Close the connections; a later request opens new ones."""
        await self._portal.bridge(self._close())

    async def _send(
        self, method: str, path: str, params: Any, json: Any, again: bool, seconds: float, patience: float | None
    ) -> Any:
        import httpx

        content = None if json is None else body_of(json)
        headers = traced() if content is None else {"Content-Type": "application/json", **traced()}
        asked = {key: value for key, value in (params or {}).items() if value is not None}
        waits, began = self.waits(), time.monotonic()
        while True:
            attempt = time.monotonic()
            url = (self.root if path == "/health" else self.base) + path
            try:
                response = await self._open().request(
                    method,
                    url,
                    params=asked or None,
                    content=content,
                    headers=headers,
                    timeout=httpx.Timeout(CONNECT_SECONDS, read=seconds, write=seconds, pool=None),
                )
            except (httpx.ConnectError, httpx.ConnectTimeout) as problem:
                await self._bring_back()
                await self._pause(waits, began, patience, self.unreachable(problem))
                continue
            except httpx.TransportError as problem:
                self.reached = True  # somebody took the request, even if nobody answered it
                if not again:
                    raise self.unreachable(problem) from problem
                if not isinstance(problem, httpx.TimeoutException):
                    # It was there so long, and it is its absence that takes patience.
                    began += time.monotonic() - attempt
                await self._pause(waits, began, patience, self.unreachable(problem))
                continue
            self.reached = True
            if response.status_code in RETRYABLE and again:
                await self._pause(waits, began, patience, _error(response))
                continue
            return _answer(response)

    async def _bring_back(self) -> None:
        """Have a server that was killed started again; it may come back at another address."""
        if self._revive is None or not self.reached:
            return
        async with self._reviving:
            if url := await asyncio.to_thread(self._revive):
                self.root = host_of(url)

    async def _pause(self, waits: "Waits", began: float, patience: float | None, problem: Exception) -> None:
        """Wait before the next attempt, or raise the problem when patience is over."""
        wait = waits.next()
        if time.monotonic() + wait - began > (self.patience() if patience is None else patience):
            raise problem
        await asyncio.sleep(wait)

    def _open(self) -> "httpx.AsyncClient":
        if self._http is None or self._http.is_closed:
            import httpx

            self._http = httpx.AsyncClient(
                headers=self.headers,
                # Loading the certificates takes longer than a start of a run; a plain address needs none.
                verify=self.root.startswith("https"),
                # A proxy of the environment cannot reach this machine's own loopback.
                trust_env=not self.local,
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=256),
            )
            self._close_forgotten = weakref.finalize(self, _close_later, self._portal, self._http)
            self._close_forgotten.atexit = False
        return self._http

    async def _close(self) -> None:
        http, self._http = self._http, None
        if self._close_forgotten is not None:
            self._close_forgotten.detach()
        if http is not None:
            await http.aclose()


class Waits:
    """Pauses that double up to `longest` seconds, each cut by chance so that many clients do not come at once."""

    def __init__(self, longest: float) -> None:
        self._longest, self._next = longest, FIRST_WAIT_SECONDS

    def next(self) -> float:
        wait, self._next = self._next, min(self._next * 2, self._longest)
        return wait * random.uniform(0.5, 1)

    def reset(self) -> None:
        self._next = FIRST_WAIT_SECONDS


def _close_later(via: Portal, http: "httpx.AsyncClient") -> None:
    """Close the connections of a transport that nobody closed."""
    if not http.is_closed:
        via.spawn(http.aclose(), "close")


def host_of(url: str) -> str:
    """The server's address without `/api` and without a slash at its end."""
    plain = url.strip().rstrip("/").removesuffix("/api").rstrip("/")
    return plain if "://" in plain else f"http://{plain}"


def traced() -> dict[str, str]:
    """The header that says in which span of the program's own a request is made, if it uses OpenTelemetry."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return {}
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return {}
    return {"traceparent": f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"}


def auth_headers(api_key: str | None, auth_key: str | None, auth_secret: str | None) -> dict[str, str]:
    """The credentials as every server form of them expects."""
    if api_key:
        return {"Authorization": f"Bearer {api_key}", "X-API-Key": api_key}
    if auth_key and auth_secret:
        return {"X-Auth-Key": auth_key, "X-Auth-Secret": auth_secret}
    return {}


def body_of(value: Any) -> bytes:
    """A value as JSON. Half characters, such as the names of files that are no UTF-8 have, are written out: nothing in
    UTF-8 can hold them."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return msgspec.json.encode(_whole(value))


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, Mapping):
        return {_whole(key): _whole(each) for key, each in value.items()}
    return [_whole(each) for each in value] if isinstance(value, list | tuple) else value


def _answer(response: "httpx.Response") -> Any:
    if response.status_code >= 400:
        raise _error(response)
    return _body(response)


def _error(response: "httpx.Response") -> AgentAPIError:
    body = _body(response)
    return api_error(response.status_code, body, body if isinstance(body, str) else "", str(response.url))


def _body(response: "httpx.Response") -> Any:
    """JSON where it is JSON, else text; None for nothing."""
    if not response.content:
        return None
    if "json" not in response.headers.get("content-type", "json"):
        return response.text
    try:
        return msgspec.json.decode(response.content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return response.text


def path_of(*parts: str) -> str:
    """A path of quoted parts."""
    return "/" + "/".join(quote(part, safe="") for part in parts)
