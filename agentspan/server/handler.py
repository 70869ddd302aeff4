"""The base of every handler: who may ask, what a body and a parameter are, and the one JSON shape of every error."""

import asyncio
import logging
import math
import socket
from collections.abc import Awaitable, Coroutine
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar
from urllib.parse import unquote

import msgspec
from tornado.httputil import HTTPHeaders
from tornado.web import Finish, HTTPError, RequestHandler

from agentspan.engine.about import about
from agentspan.engine.access import NOBODY, Principal, one_line
from agentspan.errors import AgentspanError, BadInput, Forbidden, NotImplementedHere, TooMany
from agentspan.server.auth import Claim, WrongCredentials
from agentspan.server.limits import check_nesting
from agentspan.server.logs import ids, request_id
from agentspan.server.origin import address_of, check_host, check_origin, check_own_page, is_navigation
from agentspan.server.rights import ANY, SHARED, Right, right
from agentspan.server.unbuilt import UNBUILT

if TYPE_CHECKING:
    from agentspan.config import Settings
    from agentspan.engine.engine import Engine
    from agentspan.engine.tenants import Tenants
    from agentspan.server.auth import Door
    from agentspan.server.dashboard import Dashboard
    from agentspan.server.limits import Rates
    from agentspan.server.oidc import Provider
    from agentspan.server.throttle import Throttle
    from agentspan.server.timings import Timings
    from agentspan.store.reads import Reads

log = logging.getLogger("agentspan.server")

Json = dict[str, Any]
T = TypeVar("T")

USER_COOKIE = "agentspan-user"
"""Who somebody says they are, where nobody logs in."""
MAX_WAIT_MS = 60_000
"""A long poll is answered after this time at the latest, so that proxies do not cut it."""

RECHECK_SECONDS = 5.0
"""How often it is asked of a long answer whether who gets it may still come in."""

UNCOUNTED = frozenset({"/health", "/livez", "/readyz", "/actuator/health"})
_HOSTNAME = socket.gethostname()
encode = msgspec.json.Encoder().encode


class Route(NamedTuple):
    """A path, with its parameters in braces, and who answers it."""

    path: str
    handler: type["Handler"]


class Context(NamedTuple):
    """What every handler of one application works with."""

    tenants: "Tenants"
    settings: "Settings"
    door: "Door"
    timings: "Timings"
    dashboard: "Dashboard"
    throttle: "Throttle"
    provider: "Provider"
    rates: "Rates"


class BodyProblem(BadInput):
    """The body is JSON but not of the right shape."""

    def __init__(self, message: str, path: str) -> None:
        super().__init__(message)
        self.path = path


class MediaProblem(BadInput):
    """The body must be application/json."""

    status = 415


class Handler(RequestHandler):
    """Checks the request, then leaves it to the verb; every exception is answered by `write_error`."""

    without_credentials = False
    accepts_text = False
    may_be_a_link = False
    """A page that a person may open from another page: reads nobody is harmed by, never a poll."""

    route: str
    principal = NOBODY
    visitor = ""
    """The name that the person has said whose cookie was shown."""
    is_visit = False
    """Whether nothing but a cookie was shown."""
    _entry = ""
    _shown: Claim | None = None
    _work: "asyncio.Future[Any] | None" = None
    _is_gone = False

    def initialize(self, route: str, context: Context) -> None:
        self.route = route
        self.context = context
        self.house = context.tenants.at_home
        self.subject = ""
        self.detail: Json = {}

    @property
    def engine(self) -> "Engine":
        """The engine of the tenant of who asks."""
        return self.house.engine

    @property
    def reads(self) -> "Reads":
        return self.house.engine.reads

    @cached_property
    def address(self) -> str:
        """Where the request comes from."""
        return address_of(self.request.remote_ip or "", self.request.headers, self.context.settings.trusted_proxies)

    @cached_property
    def told(self) -> dict[str, str]:
        """What the log says that it is about."""
        return {"request_id": request_id(self.request.headers.get("X-Request-Id", ""))}

    @property
    def place(self) -> str:
        """The path, as logs may show it: not where it is itself what opens something."""
        return self.route if "{token}" in self.route else self.request.path

    # Before the verb

    def prepare(self) -> Awaitable[None] | None:
        """Refuse what a web page, a stranger or a mistake has sent."""
        headers, settings = self.request.headers, self.context.settings
        if self.path_args:
            self.told.update(ids(self.route, self.path_args))
        about.set(self.told)
        check_host(headers.get("Host", ""), settings)
        if not (self.may_be_a_link and self.request.method == "GET" and self.is_opened(headers)):
            check_origin(headers, settings)
        try:
            found = NOBODY if self.without_credentials else self._check_credentials()
        except WrongCredentials:
            self._check_rates()
            raise
        return self._admit_known(found) if isinstance(found, Claim) else self._admit(found)

    def is_opened(self, headers: HTTPHeaders) -> bool:
        """Whether a person opens this by a link, so that no page sees the answer."""
        return is_navigation(headers)

    def _check_credentials(self) -> Principal | Claim:
        """Those that the request shows, else the cookie of a person who has logged in, or was shown a shared run."""
        door, headers = self.context.door, self.request.headers
        cookie = self.get_cookie(door.cookie) or self.get_cookie(door.share_cookie) or ""
        found = door.check(headers, cookie)
        if cookie and not door.is_open and not door.is_shown(headers):
            self.visitor, self.is_visit = door.said(cookie), True
            right = self._right()
            # Some of Conductor's verbs change things by GET.
            if self.request.method not in ("GET", "HEAD") or right.action or right.any_of == ("work",):
                check_own_page(headers)
        return found

    async def _admit_known(self, claim: Claim) -> None:
        try:
            who = await self._known(claim)
        except WrongCredentials:
            self._check_rates()
            raise
        self._shown = claim
        later = self._admit(who)
        if later is not None:
            await later

    async def _known(self, claim: Claim) -> Principal:
        access, door = self.context.tenants.access, self.context.door
        await access.fresh()
        try:
            return door.known(claim)
        except WrongCredentials:
            await access.look_again()
            return door.known(claim)

    def _admit(self, who: Principal) -> Awaitable[None] | None:
        """Check the rest, and go to the tenant's house; what is to be audited is written down before it is done."""
        self.principal = who
        self.told["tenant"] = who.tenant
        self._check_rates()
        self._check_verb()
        right = self._right()
        if who is not NOBODY:
            self._check_right(right)
        self._check_media()
        house = self.context.tenants.at_hand(who.tenant)
        if house is None or (right.action and who is not NOBODY):
            return self._enter(right)
        self.house = house
        return None

    def _check_rates(self) -> None:
        """Health checks apart, so that nobody can make them fail."""
        who, rates = self.principal, self.context.rates
        if rates and self.route not in UNCOUNTED:
            known = {} if who is NOBODY else {"key": who.id or who.name, "tenant": who.tenant}
            rates.check({"address": self.address, **known})

    async def _enter(self, right: Right) -> None:
        self.house = await self.context.tenants.house(self.principal.tenant)
        if right.action:
            who, subject = self.principal.name or self.person(), self.subject or "/".join(map(str, self.path_args))
            self._entry = await self.house.audit.begin(self.principal, who, right.action, subject, self.address)

    async def admit_as(self, who: Principal) -> None:
        """Go on as somebody whom a handler without credentials has found out."""
        self.principal = who
        await self.context.tenants.access.fresh()
        await self._enter(self._right())

    async def admit_to(self, right: Right) -> None:
        """Go on to what takes this right, besides that of the route. Forbidden."""
        self._check_right(right)
        await self._enter(right)

    def _right(self) -> Right:
        if not self.route:
            return Right(ANY)
        return right(self.request.method or "", self.route) or Right(("admin",))

    def _check_right(self, right: Right) -> None:
        """Forbidden, with what would be needed."""
        who = self.principal
        if right.any_of != ANY and not who.may(right.any_of):
            needed, has = " or ".join(right.any_of), ", ".join(sorted(who.scopes)) or "nothing"
            raise Forbidden(f"this takes the right to {needed!r}; {who.name or 'you'} may: {has}")
        if who.tree and not self._is_shared(who.tree):
            raise Forbidden("this link shows one run, and nothing else")

    def _is_shared(self, tree: str) -> bool:
        about = str(self.path_args[0]) if self.path_args else ""
        return self.route in SHARED and (not about or about.partition(".")[0] == tree.partition(".")[0])

    def _check_verb(self) -> None:
        verb = (self.request.method or "").lower()
        if getattr(type(self), verb, None) is getattr(RequestHandler, verb, None):
            if sentence := UNBUILT.get(f"{self.request.method} {self.route}"):
                raise NotImplementedHere(sentence)
            raise HTTPError(405)

    def _check_media(self) -> None:
        if not self.request.body or self.accepts_text:
            return
        media = self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if media != "application/json" and not (media.startswith("application/") and media.endswith("+json")):
            raise MediaProblem(f"the body must be application/json, not {media or 'of an unknown type'}")

    # What was sent

    def json(self) -> Any:
        """The body as JSON; None if there is none."""
        if not self.request.body:
            return None
        check_nesting(self.request.body)
        try:
            return msgspec.json.decode(self.request.body)
        except (msgspec.DecodeError, UnicodeDecodeError) as problem:
            raise BadInput(f"the body is not JSON: {problem}") from problem

    def json_object(self) -> Json:
        """The body as a JSON object; {} if there is none."""
        body = self.json()
        if body is None:
            return {}
        if not isinstance(body, dict):
            raise BadInput(f"the body must be a JSON object, not {type(body).__name__}")
        return body

    def body(self, shape: type[T]) -> T:
        """The body in a shape; BadInput names the place that does not fit."""
        check_nesting(self.request.body)
        try:
            return msgspec.json.decode(self.request.body or b"{}", type=shape, strict=False)
        except msgspec.ValidationError as problem:
            path = str(problem).partition(" - at `$")[2]
            raise BodyProblem(f"the body does not fit: {problem}", path.strip("`.") or "body") from problem
        except (msgspec.DecodeError, UnicodeDecodeError) as problem:
            raise BadInput(f"the body is not JSON: {problem}") from problem

    def text(self) -> str:
        """The body as text."""
        return self.request.body.decode(errors="replace")

    def param(self, name: str, default: str = "") -> str:
        return str(self.get_query_argument(name, default))

    def params(self, name: str) -> list[str]:
        """All values of a parameter that may be repeated, or hold several with commas between them."""
        return [each.strip() for value in self.get_query_arguments(name) for each in value.split(",") if each.strip()]

    def number(self, name: str, default: int, lowest: int = 0, highest: int = 2**53) -> int:
        text = self.param(name)
        try:
            value = int(text) if text else default
        except ValueError:
            raise BadInput(f"{name} must be a whole number, not {text!r}") from None
        if not lowest <= value <= highest:
            raise BadInput(f"{name} must be from {lowest} to {highest}, not {value}")
        return value

    def optional_number(self, name: str) -> int | None:
        return self.number(name, 0) if self.param(name) else None

    def switch(self, name: str, default: bool = False) -> bool:
        text = self.param(name).lower()
        if text not in ("", "true", "false", "1", "0"):
            raise BadInput(f"{name} must be true or false, not {text!r}")
        return text in ("true", "1") if text else default

    def person(self) -> str:
        """Who asks: as this server knows them, else by their own word; "" if they do not say."""
        if self.principal.person:
            return self.principal.person
        said = self.request.headers.get("X-Agentspan-User", "").strip()
        named = self.principal.name if self.principal.kind == "key" else ""
        return one_line(unquote(said) or self.visitor or unquote(self.get_cookie(USER_COOKIE) or "")) or named

    # The answer

    def answer(self, value: Any, status: int = 200) -> None:
        self.set_status(status)
        self.finish(encode(value))

    def answer_text(self, value: str) -> None:
        self.set_header("Content-Type", "text/plain; charset=UTF-8")
        self.finish(value)

    def answer_nothing(self, status: int = 200) -> None:
        self.set_status(status)
        self.clear_header("Content-Type")
        self.finish()

    async def while_open(self, work: Coroutine[Any, Any, T] | Awaitable[T]) -> T:
        """Await work that may take long, and drop it at once when the client goes away, or soon after they are no
        longer let in."""
        self._work = doing = asyncio.ensure_future(work)
        guard = asyncio.create_task(self._guard(self._shown)) if self._shown else None
        try:
            return await doing
        except asyncio.CancelledError:
            if self._is_gone:
                raise Finish from None
            raise
        finally:
            if guard:
                guard.cancel()

    async def _guard(self, shown: Claim) -> None:
        """Hang up on who is no longer let in."""
        while True:
            await asyncio.sleep(RECHECK_SECONDS)
            try:
                await self._known(shown)
            except WrongCredentials:
                self.on_connection_close()
                self.hang_up()
                return
            except AgentspanError as problem:
                log.debug("cannot ask who may still come in: %s", problem.message)

    def hang_up(self) -> None:
        if (stream := getattr(self.request.connection, "stream", None)) is not None:
            stream.close()

    def on_connection_close(self) -> None:
        self._is_gone = True
        if self._work is not None:
            self._work.cancel()

    # Errors

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None, None))[1]
        body = error_body(error, status_code)
        self.set_status(body["status"])
        self.set_header("Content-Type", "application/json")
        if body["status"] == HTTPStatus.UNAUTHORIZED:
            self.set_header("WWW-Authenticate", "Bearer")
        self.say_when(error)
        self.finish(encode(body))

    def say_when(self, error: BaseException | None) -> None:
        """When it makes sense to ask again, in a header."""
        if isinstance(error, TooMany) and error.after_seconds:
            self.set_header("Retry-After", str(math.ceil(error.after_seconds)))
        elif getattr(error, "status", 0) == HTTPStatus.SERVICE_UNAVAILABLE:
            self.set_header("Retry-After", "1")

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        if isinstance(value, AgentspanError | HTTPError) and getattr(value, "status", 0) != 500:
            log.debug("%s %s: %s", self.request.method, self.place, value)
        else:
            log.error("%s %s failed", self.request.method, self.place, exc_info=(typ, value, tb))

    # What Tornado asks

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        for name, value in GUARDS.items():
            self.set_header(name, value)
        self.set_header("X-Request-Id", self.told["request_id"])

    def compute_etag(self) -> None:
        return None

    def check_etag_header(self) -> bool:
        return False

    def on_finish(self) -> None:
        if self._entry:
            asyncio.get_running_loop().create_task(self._conclude()).add_done_callback(_told)
        self.context.timings.add(self.request.method or "", self.route, self.get_status(), self.request.request_time())

    async def _conclude(self) -> None:
        """Say in the audit what became of what was begun."""
        status = self.get_status()
        said = self.person()
        spoke_for = {"for": said} if said and said != self.principal.name and self.principal.name else {}
        detail = {**self.detail, **spoke_for, "status": status}
        await self.house.audit.conclude(self._entry, "ok" if status < 400 else "refused", self.subject, detail)


class Unknown(Handler):
    """Any path that nobody answers."""

    def _check_verb(self) -> None:
        pass

    def _check_media(self) -> None:
        pass

    def get(self, *_: str) -> NoReturn:
        raise HTTPError(404, f"there is no {self.request.path} here; /openapi.json lists what there is")

    post = put = patch = delete = head = options = get


GUARDS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""What browsers are told of every answer: it is data, it is for this server's own pages, and it is no page itself."""


class Planned(Handler):
    """A documented path of which no verb is built yet."""


def _told(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (problem := task.exception()):
        log.warning("the audit does not say what became of a change: %s", problem)


def error_body(error: BaseException | None, status: int) -> Json:
    """The one shape of an error."""
    message, retryable = HTTPStatus(status).phrase, False
    more: Json = {}
    match error:
        case AgentspanError():
            status, message, retryable = error.status, error.message, error.retryable
        case HTTPError():
            message = error.log_message or error.reason or HTTPStatus(status).phrase
        case None:
            pass
        case _:
            message = "this request met an error that the server did not expect; the server's log has it"
    if isinstance(error, BodyProblem):
        more["validationErrors"] = [{"path": error.path, "message": error.message}]
    if isinstance(error, WrongCredentials) and error.code:
        more["error"] = error.code
    return {"status": status, "message": message, "instance": _HOSTNAME, "retryable": retryable, **more}
