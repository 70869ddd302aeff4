"""The pages: `/ui` and all below it comes from the dashboard's process, for who is logged in; `/login` and `/logout`,
and the links of shared runs.

What is sent to that process says who asks. Addresses in answers are relative: another proxy may stand before this one,
which shows all of this below a path of its own.
"""

import re
import secrets
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit

from tornado.httputil import HTTPHeaders
from tornado.web import HTTPError

from agentspan.engine.access import OPEN, Principal
from agentspan.errors import AgentspanError, TooMany
from agentspan.server import dashboard, oidc, pages, proxy
from agentspan.server.auth import SESSION_SECONDS, SHOWN, Claim, WrongCredentials
from agentspan.server.entry import enter, noted
from agentspan.server.handler import USER_COOKIE, Handler, error_body
from agentspan.server.origin import is_framed

ROOT = "/ui"
OWN = "X-Agentspan-"
"""How the headers begin by which this process speaks to the dashboard's: nobody else may."""
USER_COOKIE_SECONDS = 365 * 24 * 3600
STATE_COOKIE = "agentspan-login"
"""What a login at an identity provider must bring back."""
THEME_COOKIE = "agentspan-theme"
"""The one cookie that the dashboard's process is told of; all others are nobody's business."""
NAME_CHARS = 100
PREFIX = re.compile(r"(/[\w.~%@+-]+)*")
PLAIN = " !#$&'()*+,/:;=?@[]"
SOURCES = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' blob:; worker-src 'self' blob:;"
    " object-src 'none'; base-uri 'self'; form-action 'self'"
)
"""A page takes everything from here, so an image in a model's answer tells nobody that it was read."""
FRAMES = (
    "frame-ancestors 'self' http://localhost:* https://localhost:* http://127.0.0.1:* https://127.0.0.1:*"
    " vscode-webview:"
)
"""A page is shown in other pages of this machine alone: notebooks."""
PERMISSIONS = "camera=(), geolocation=(), microphone=(), payment=(), usb=()"
HTTPS_SECONDS = 365 * 86_400
"""Who has come by https comes by nothing else for so long."""


class Page(Handler):
    """A page for a person: what goes wrong is said on one, too."""

    may_be_a_link = True
    accepts_text = True

    def is_opened(self, headers: HTTPHeaders) -> bool:
        # A notebook shows pages in a frame; FRAMES says which pages may.
        return is_framed(headers)

    @property
    def wants_page(self) -> bool:
        return "text/html" in self.request.headers.get("Accept", "") and not proxy.is_websocket(self.request)

    def send_to(self, below: str, status: int = 303) -> None:
        """Redirect to a path of this server, wherever its root is seen."""
        self.clear_header("Content-Type")
        self.redirect(self.up(below), status=status)

    def up(self, below: str) -> str:
        """The path relative to the page that was asked for."""
        return "../" * (self.request.path.count("/") - 1) + (below.lstrip("/") or "./")

    def scheme(self) -> str:
        """How the browser asked, which the last proxy may know better."""
        told = self.request.headers.get("X-Forwarded-Proto", "").partition(",")[0].strip().lower()
        return told if told in ("http", "https") else self.request.protocol

    def keep(self, name: str, value: str, seconds: int) -> None:
        """Give a cookie, which no script and no other site gets at."""
        secure = self.scheme() == "https"
        self.set_cookie(name, value, max_age=seconds, httponly=True, secure=secure, samesite="Lax")

    def set_default_headers(self) -> None:
        super().set_default_headers()
        # A notebook may show a page, so nobody is kept from it by this header.
        self.clear_header("Cross-Origin-Resource-Policy")
        self.set_header("Permissions-Policy", PERMISSIONS)
        if self.scheme() == "https":
            self.set_header("Strict-Transport-Security", f"max-age={HTTPS_SECONDS}")
            self.set_header("Cross-Origin-Opener-Policy", "same-origin")

    def _framed_by(self, policy: str) -> str:
        """The policy with the pages that may show this one in a frame."""
        hosts = [name for name in self.context.settings.allowed_hosts if name != "*"]
        return " ".join(
            [f"{policy};", FRAMES, *(f"{scheme}://{name}:*" for name in hosts for scheme in ("http", "https"))]
        )

    def show(self, page: str, status: int = 200, policy: str = pages.POLICY) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "text/html; charset=UTF-8")
        self.set_header("Content-Security-Policy", self._framed_by(policy))
        self.finish(page)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        if not self.wants_page:
            super().write_error(status_code, **kwargs)
            return
        body = error_body(kwargs.get("exc_info", (None, None, None))[1], status_code)
        self.show(pages.message("This did not work", body["message"]), body["status"])


class Pages(Page):
    """The dashboard's pages and all that they load."""

    async def prepare(self) -> None:
        try:
            if (later := super().prepare()) is not None:
                await later
        except WrongCredentials:
            door = self.context.door
            is_guest = bool(self.get_cookie(door.share_cookie)) and not self.get_cookie(door.cookie)
            if is_guest:
                self.clear_cookie(door.share_cookie)
            if self.request.method != "GET" or not self.wants_page or is_guest:
                raise
            self.send_to(f"login?{urlencode({'next': self.request.uri})}")

    async def get(self) -> None:
        """What the dashboard's process answers; a page that waits for it while it starts."""
        path = self.request.path
        # Pages load what they need relative to themselves, so a slash too many or too few leads astray.
        if path == ROOT or (path.endswith("/") and path != f"{ROOT}/"):
            query = f"?{self.request.query}" if self.request.query else ""
            self.send_to(f"{'ui/' if path == ROOT else path.strip('/')}{query}", 302)
            return
        at = self.context.dashboard
        state = at.begin(self.own_address())
        if state.word == dashboard.READY:
            try:
                await self.while_open(self._hand_on(at.port))
                return
            except proxy.Gone:
                state = at.state()
        self._wait(state)

    head = post = get

    async def _hand_on(self, port: int) -> None:
        if proxy.is_websocket(self.request):
            await proxy.tunnel(self, port, self._told())
            return
        self.set_header("Content-Security-Policy", self._framed_by(SOURCES))
        await proxy.forward(self, port, self._told())

    def _headers_of_person(self) -> dict[str, str]:
        door = self.context.door
        return {
            "X-Agentspan-Dashboard": self.context.dashboard.secret,
            "X-Agentspan-Token": "" if door.is_open else door.token(self.principal),
            "X-Agentspan-User": quote(self.person(), safe=PLAIN),
            "X-Agentspan-Shown": "share" if self.principal.kind == "share" else "",
        }

    def _told(self) -> HTTPHeaders:
        """What the process is told: the request's headers without what lets somebody in, and who asks."""
        request = self.request
        kept = HTTPHeaders()
        for name, value in request.headers.get_all():
            if name not in _DROPPED and not name.startswith(OWN):
                kept.add(name, value)
        if theme := self.get_cookie(THEME_COOKIE):
            kept["Cookie"] = f"{THEME_COOKIE}={quote(theme, safe='')}"
        prefix = request.headers.get("X-Forwarded-Prefix", "").rstrip("/")
        kept["X-Forwarded-Prefix"] = prefix if PREFIX.fullmatch(prefix) else ""
        kept["X-Forwarded-Proto"] = self.scheme()
        kept["X-Forwarded-Host"] = request.headers.get("X-Forwarded-Host") or request.headers.get("Host", "")
        kept.update(self._headers_of_person())
        return kept

    def own_address(self) -> str:
        """Where the dashboard's process reaches this server: where this request did."""
        host, port = self.request.connection.stream.socket.getsockname()[:2]  # type: ignore[union-attr]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def _wait(self, state: dashboard.State) -> None:
        status, title = TITLES.get(state.word, (503, ""))
        if not self.wants_page:
            raise HTTPError(status, state.sentence)
        if title:
            self.show(pages.message(title, state.sentence), status)
            return
        self.set_header("Retry-After", "1")
        self.show(pages.waiting(state.sentence, self.up("ui/-/state")), status, pages.WAITING_POLICY)


class Standing(Handler):
    """What a page that waits asks again and again."""

    without_credentials = True

    def get(self) -> None:
        """How the dashboard stands, in a word and a sentence."""
        state = self.context.dashboard.state()
        self.answer({"word": state.word, "sentence": state.sentence})


class LogIn(Page):
    """Lets a person in, who shows the credentials or a ticket, and learns their name."""

    without_credentials = True
    _next = ""

    async def get(self) -> None:
        """The form; with a ticket, straight to the page that was asked for."""
        if "ticket" in self.request.query_arguments:
            found, name = self.context.door.admit(self.param("ticket"))
            if isinstance(found, Claim):
                await self.context.tenants.access.fresh()
                found = self.context.door.known(found)
            # Who has logged in stays who they are: the link may be somebody else's.
            self.send_to(self._after()) if await self._is_another(found) else self.let_in(found, name)
        else:
            self.show(self._form())

    async def post(self) -> None:
        if self.context.door.is_open:
            self.let_in(OPEN, self._name())
            return
        try:
            who = await enter(self, self.get_body_argument("key", ""), self.get_body_argument("secret", ""))
        except (WrongCredentials, TooMany) as problem:
            said = problem.message if isinstance(problem, TooMany) else "The name or the password is wrong."
            self.say_when(problem)
            self.show(self._form(said), problem.status)
            return
        self.let_in(who, self._name())

    def let_in(self, who: Principal, name: str) -> None:
        """Give the cookies and go on to the page that was asked for."""
        door = self.context.door
        if not door.is_open:
            self.keep(door.cookie, door.session(name, who), SESSION_SECONDS)
        if name:
            self.keep(USER_COOKIE, quote(name, safe=""), USER_COOKIE_SECONDS)
        self.send_to(self._after())

    async def _is_another(self, who: Principal) -> bool:
        """Whether the browser has a session of somebody else."""
        door, cookie = self.context.door, self.get_cookie(self.context.door.cookie)
        if door.is_open or not cookie:
            return False
        try:
            found = door.check({}, cookie)
            here = await self._known(found) if isinstance(found, Claim) else found
        except WrongCredentials:
            return False
        return (here.kind, here.id or here.name) != (who.kind, who.id or who.name)

    def _form(self, problem: str = "") -> str:
        known = self._name() or unquote(self.get_cookie(USER_COOKIE) or "")
        key = self.get_body_argument("key", "")
        after = self.get_argument("next", "")
        context = self.context
        there = urlsplit(context.settings.oidc_issuer or "").netloc if context.provider.is_set else ""
        return pages.login(
            problem=problem, name=known, key=key, after=after, is_open=context.door.is_open, elsewhere=there
        )

    def _name(self) -> str:
        return " ".join(self.get_body_argument("name", "").split())[:NAME_CHARS]

    def _after(self) -> str:
        """The page that was asked for; never one of another site."""
        asked = self._next or self.get_argument("next", "")
        parts = urlsplit(asked)
        ours = asked == ROOT or asked.startswith((f"{ROOT}/", f"{ROOT}?"))
        if not ours or parts.netloc or ".." in parts.path.split("/") or "\\" in asked or not asked.isprintable():
            return "ui/"
        return asked


class LogInElsewhere(LogIn):
    """Sends a person to the identity provider."""

    async def get(self) -> None:
        """To the provider's own page, and from there back to ours."""
        if not self.context.provider.is_set or self.context.door.is_open:
            raise HTTPError(404, "this server knows no identity provider")
        address, kept = await self.context.provider.begin(self._own("login/oidc/callback"))
        state = self.context.door.state({**kept, "next": self.get_argument("next", "")}, oidc.STATE_SECONDS)
        self.keep(STATE_COOKIE, state, oidc.STATE_SECONDS)
        self.clear_header("Content-Type")
        self.redirect(address, status=303)

    post = Page.post  # type: ignore[assignment]

    def _own(self, below: str) -> str:
        """The address of a page of ours, as a browser elsewhere must name it."""
        if public := self.context.settings.public_url:
            return f"{public}/{below}"
        host = self.request.headers.get("X-Forwarded-Host") or self.request.headers.get("Host", "")
        prefix = self.request.headers.get("X-Forwarded-Prefix", "").rstrip("/")
        return f"{self.scheme()}://{host}{prefix if PREFIX.fullmatch(prefix) else ''}/{below}"


class BackFromElsewhere(LogIn):
    """Takes a person back who has logged in at the identity provider."""

    async def get(self) -> None:
        """Let them in as the user that they are here."""
        try:
            who = await self._who()
        except AgentspanError as problem:
            self.show(self._form(problem.message), problem.status)
            return
        finally:
            self.clear_cookie(STATE_COOKIE)
        await noted(self, who, who.name)
        self.let_in(who, who.name)

    post = Page.post  # type: ignore[assignment]

    async def _who(self) -> Principal:
        context = self.context
        kept = context.door.kept(self.get_cookie(STATE_COOKIE) or "")
        self._next = str(kept.get("next") or "")
        if not secrets.compare_digest(self.param("state").encode(), str(kept.get("state")).encode()):
            raise WrongCredentials("this answer is to another login; log in again")
        if refused := self.param("error_description") or self.param("error"):
            raise WrongCredentials(f"the identity provider has refused the login: {refused[:200]}")
        claims = await context.provider.claims(self.param("code"), kept)
        return await oidc.user_of(context.tenants.access, context.settings, context.door.root, claims)


class Shared(Page):
    """Shows a shared run to whoever has its link."""

    without_credentials = True

    async def get(self, token: str) -> None:
        """Give a cookie that shows this run and nothing else, and go there. Who has logged in stays who they are."""
        door, access = self.context.door, self.context.tenants.access
        claim = door.opened(token)
        await access.fresh(now=True)
        who = door.known(claim)
        if not door.is_open:
            self.keep(door.share_cookie, door.session("", who), SESSION_SECONDS)
        self.send_to(f"ui/runs/{quote(who.tree, safe='.')}")


class LogOut(Page):
    without_credentials = True
    may_be_a_link = False

    def get(self) -> None:
        """Forget the cookie. What was handed out stays good until it expires."""
        self.clear_cookie(self.context.door.cookie)
        self.clear_cookie(self.context.door.share_cookie)
        self.send_to("login")


TITLES = {
    dashboard.OFF: (404, "There is no dashboard here"),
    dashboard.ABSENT: (503, "The dashboard is not installed"),
}
"""What is said of a dashboard for which it is no use to wait."""

_DROPPED = proxy.ONE_HOP | {"Cookie", *SHOWN, "X-Forwarded-Prefix", "X-Forwarded-Proto", "X-Forwarded-Host"}

PAGES: tuple[tuple[str, str, type[Handler]], ...] = (
    (r"/ui/-/state", "/ui/-/state", Standing),
    (r"/ui(?:/.*)?", "/ui", Pages),
    (r"/login", "/login", LogIn),
    (r"/login/oidc", "/login/oidc", LogInElsewhere),
    (r"/login/oidc/callback", "/login/oidc/callback", BackFromElsewhere),
    (r"/logout", "/logout", LogOut),
    (r"/shared/([^/]+)", "/shared/{token}", Shared),
)
"""A pattern, the name by which it is counted, and who answers."""
