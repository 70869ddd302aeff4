"""Who asks: nobody is asked on an open server; else every request shows the key and the secret of the settings, an API
key, or a token for a user or one of those.

Accepted, because the clients there are send them: `X-Authorization: <token>`, `X-Auth-Key` with `X-Auth-Secret`,
`Authorization: Bearer` with a token, an API key, `key:secret` or the secret, and `X-API-Key` with an API key,
`key:secret` or the secret. A token is a JWT signed with a key that is derived from the secret, so every replica accepts
it. So is a link, by which who has no credentials answers one request; so are the cookie of a person who has logged in,
the ticket by which a program lets its user in, and what shows a shared run. On an open server they guard no more than
anything else there.
"""

import hashlib
import hmac
import time
import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple

from agentspan.config import HOME, Settings
from agentspan.engine.access import ALL, KEY, OPEN, Access, Principal
from agentspan.errors import Unauthorized

TOKEN_SECONDS = 24 * 3600
INVALID, EXPIRED = "INVALID_TOKEN", "EXPIRED_TOKEN"
"""Words that make Conductor's clients fetch a new token."""

SESSION_SECONDS = 12 * 3600
TICKET_SECONDS = 60
TICKETS_KEPT = 10_000

SHARE = "X-Agentspan-Share"
SHOWN = ("X-Auth-Key", "X-Auth-Secret", "X-API-Key", "X-Authorization", "Authorization", SHARE)

_PURPOSE = b"agentspan access token, version 1, of "
_LINK_PURPOSE = b"agentspan link to a request, version 1"
_SESSION_PURPOSE = b"agentspan session of a person, version 1"
_TICKET_PURPOSE = b"agentspan ticket to the pages, version 1"
_SHARE_PURPOSE = b"agentspan shared run, version 1"
_STATE_PURPOSE = b"agentspan login elsewhere, version 1"
_ISSUER = "agentspan"


class WrongCredentials(Unauthorized):
    """No or wrong credentials. `code` tells a client whether a new token would help."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class Claim(NamedTuple):
    """What was shown, well signed or not signed at all, of somebody whom the roll must still know. `kind`: user, key
    (by its text), known key (by its id) or share."""

    kind: str
    text: str
    epoch: int = 0
    code: str = ""


class Link(NamedTuple):
    """What a link opens, to whom it was given, and by which user."""

    request_id: str
    by: str
    tenant: str
    maker: str


class Door:
    """Opens to those who show the settings' key and secret, and to whom `access` knows; always open where there are
    none."""

    def __init__(self, settings: Settings, access: Access | None = None) -> None:
        self._key, self._secret = settings.auth_key or "", settings.auth_secret or ""
        self._signing_key = hmac.new(self._secret.encode(), _PURPOSE + self._key.encode(), hashlib.sha256).digest()
        self._access = access
        self._used: dict[str, None] = {}

    @property
    def is_open(self) -> bool:
        return not self._secret

    @property
    def root(self) -> Principal:
        """Who has the key and the secret of the settings."""
        return Principal(kind="root", name=self._key, role="admin", scopes=ALL)

    @staticmethod
    def is_shown(headers: Mapping[str, str]) -> bool:
        """Whether credentials are there, right or wrong."""
        return any(name in headers for name in SHOWN)

    def check(self, headers: Mapping[str, str], cookie: str = "") -> Principal | Claim:
        """Who asks, or what they claim; WrongCredentials unless one of the accepted forms is there and may be right.
        A cookie counts where nothing else is shown."""
        if self.is_open:
            return OPEN
        if "X-Auth-Key" in headers or "X-Auth-Secret" in headers:
            return self.check_pair(headers.get("X-Auth-Key", ""), headers.get("X-Auth-Secret", ""))
        if "X-API-Key" in headers:
            return self._check_key(headers["X-API-Key"])
        if shown := headers.get("X-Authorization") or headers.get("Authorization"):
            return self._check_bearer(shown)
        if SHARE in headers:
            return self.opened(headers[SHARE])
        if cookie and not self.is_shown(headers):
            return self._claimed(self._claims(_SESSION_PURPOSE, cookie, "the session"))
        raise WrongCredentials("this server asks for credentials: a token of /api/token, or its key and secret")

    def check_pair(self, key: str, secret: str) -> Principal | Claim:
        """The key and the secret of the settings, or those of an API key."""
        if _same(key, self._key) & _same(secret, self._secret):
            return self.root
        if secret.startswith(KEY):
            return Claim("key", secret)
        if self._access is not None and key in self._access.roll.keys:
            return Claim("key", f"{KEY}{key}_{secret}")
        raise WrongCredentials("the key or the secret is wrong")

    def known(self, claim: Claim) -> Principal:
        """Who that is, as the roll knows them now; WrongCredentials for who may not come in any more."""
        access = self._access
        found: Principal | None = None
        if access is not None:
            match claim.kind:
                case "user":
                    found = access.user(claim.text, claim.epoch)
                case "key":
                    found = access.key(claim.text)
                case "known key":
                    found = access.key_by_id(claim.text)
                case "share":
                    found = access.share(claim.text)
        if found is None:
            raise WrongCredentials(GONE[claim.kind], claim.code)
        return found

    # What is given out

    def token(self, who: Principal | None = None) -> str:
        """A new token for somebody, good for 24 hours; else for who has the key and the secret."""
        return self._signed(_ACCESS, who or self.root, "", TOKEN_SECONDS)

    def session(self, by: str, who: Principal | None = None) -> str:
        """What the cookie of a person holds who has logged in; `by`: who they say they are."""
        return self._signed(_SESSION_PURPOSE, who or self.root, by, SESSION_SECONDS)

    def ticket(self, by: str, who: Principal | None = None) -> str:
        """What lets a person in once, within a minute, and gives them a session."""
        return self._signed(_TICKET_PURPOSE, who or self.root, by, TICKET_SECONDS)

    def admit(self, ticket: str) -> tuple[Principal | Claim, str]:
        """Who the ticket was given to, and their name; WrongCredentials if it has expired, was used here, or is not
        ours."""
        claims = self._claims(_TICKET_PURPOSE, ticket, "the ticket")
        if claims["jti"] in self._used:
            raise WrongCredentials("the ticket was used already; get a new one")
        self._used[claims["jti"]] = None
        if len(self._used) > TICKETS_KEPT:
            del self._used[next(iter(self._used))]
        return self._claimed(claims), str(claims.get("by") or "")

    def said(self, cookie: str) -> str:
        """The name that the person of that cookie has said; it was checked before."""
        return str(self._claims(_SESSION_PURPOSE, cookie, "the session").get("by") or "")

    def link(self, request_id: str, by: str, seconds: int, tenant: str = HOME, maker: str = "") -> str:
        """A token that answers this request and does nothing else; `by`: who it was given to."""
        claims = {"sub": request_id, "by": by, "maker": maker, "tenant": tenant, "exp": int(time.time()) + seconds}
        return self._encoded(_LINK_PURPOSE, claims)

    def linked(self, token: str) -> Link:
        """What a link opens; WrongCredentials for one that is expired or not ours."""
        claims = self._claims(_LINK_PURPOSE, token, "the link", "ask for a new one")
        tenant, maker = str(claims.get("tenant") or HOME), str(claims.get("maker") or "")
        return Link(str(claims["sub"]), str(claims.get("by") or ""), tenant, maker)

    def shared(self, share_id: str, expires_at: int) -> str:
        """What shows a shared run. `expires_at`: milliseconds since the epoch, 0 for never."""
        far = int(time.time()) + 100 * 365 * 24 * 3600
        return self._encoded(_SHARE_PURPOSE, {"sub": share_id, "exp": expires_at // 1000 or far})

    def opened(self, token: str) -> Claim:
        """The share that a link is of; WrongCredentials for one that is expired or not ours."""
        claims = self._claims(_SHARE_PURPOSE, token, "the link", "ask for a new one")
        return Claim("share", str(claims["sub"]))

    def state(self, kept: Mapping[str, Any], seconds: int) -> str:
        """What a browser keeps for us while it is elsewhere, so that nobody but us can have written it."""
        return self._encoded(_STATE_PURPOSE, {"sub": "state", **kept, "exp": int(time.time()) + seconds})

    def kept(self, state: str) -> dict[str, Any]:
        """What was kept; WrongCredentials if it is too old or not ours."""
        return self._claims(_STATE_PURPOSE, state, "the login")

    @property
    def cookie(self) -> str:
        """The name of the cookie of a session: browsers keep cookies by host, where there can be several servers."""
        return f"agentspan-session-{self._derived(b'name of the cookie').hex()[:8]}"

    @property
    def share_cookie(self) -> str:
        """The name of the cookie of who has opened the link of a shared run."""
        return f"{self.cookie}-share"

    # Parts

    def _check_key(self, shown: str) -> Principal | Claim:
        if self._is_key(shown):
            return self.root
        if shown.startswith(KEY):
            return Claim("key", shown)
        raise WrongCredentials("X-API-Key holds neither an API key, nor the secret, nor key:secret")

    def _check_bearer(self, shown: str) -> Principal | Claim:
        scheme, _, rest = shown.strip().partition(" ")
        value = rest.strip() if scheme.lower() == "bearer" else shown.strip()
        if self._is_key(value):
            return self.root
        return Claim("key", value) if value.startswith(KEY) else self._claimed(self._token_claims(value))

    def _is_key(self, value: str) -> bool:
        return _same(value, self._secret) | _same(value, f"{self._key}:{self._secret}")

    def _token_claims(self, token: str) -> dict[str, Any]:
        import jwt

        try:
            return self._decoded(_ACCESS, token)
        except jwt.ExpiredSignatureError as problem:
            raise WrongCredentials("the token has expired; get a new one from /api/token", EXPIRED) from problem
        except jwt.PyJWTError as problem:
            raise WrongCredentials("the token is not one of this server; get one from /api/token", INVALID) from problem

    def _claimed(self, claims: Mapping[str, Any]) -> Principal | Claim:
        kind, name = str(claims.get("kind") or "root"), str(claims["sub"])
        if kind == "root":
            return self.root
        if kind not in GONE:
            raise WrongCredentials("the token is of a kind that this server does not know", INVALID)
        return Claim(kind, name, int(claims.get("epoch") or 0), INVALID)

    def _signed(self, purpose: bytes, who: Principal, by: str, seconds: int) -> str:
        match who.kind:
            case "key":
                of_whom: dict[str, Any] = {"kind": "known key", "sub": who.id}
            case "share":
                of_whom = {"kind": "share", "sub": who.id}
            case "user":
                of_whom = {"kind": "user", "sub": who.name, "epoch": who.epoch}
            case _:
                of_whom = {"sub": self._key}
        named = {"by": by} if by else {}
        return self._encoded(purpose, {**of_whom, **named, "exp": int(time.time()) + seconds})

    def _encoded(self, purpose: bytes, claims: Mapping[str, Any]) -> str:
        import jwt

        whole = {"iss": _ISSUER, "jti": str(uuid.uuid4()), "iat": int(time.time()), **claims}
        return jwt.encode(whole, self._derived(purpose), algorithm="HS256")

    def _decoded(self, purpose: bytes, text: str) -> dict[str, Any]:
        import jwt

        options: Any = {"require": ["exp", "iat", "sub", "jti"]}
        return dict(jwt.decode(text, self._derived(purpose), algorithms=["HS256"], issuer=_ISSUER, options=options))

    def _claims(self, purpose: bytes, text: str, what: str, then: str = "log in again") -> dict[str, Any]:
        import jwt

        try:
            return self._decoded(purpose, text)
        except jwt.ExpiredSignatureError as problem:
            raise WrongCredentials(f"{what} has expired; {then}") from problem
        except jwt.PyJWTError as problem:
            raise WrongCredentials(f"{what} is not one of this server; {then}") from problem

    def _derived(self, purpose: bytes) -> bytes:
        """A key of its own for each purpose, so that a link is no access token."""
        return hmac.new(self._signing_key, purpose, hashlib.sha256).digest() if purpose else self._signing_key


def _same(one: str, other: str) -> bool:
    """Compare in a time that does not depend on where they differ."""
    return hmac.compare_digest(hashlib.sha256(one.encode()).digest(), hashlib.sha256(other.encode()).digest())


_ACCESS = b""
"""The purpose of access tokens, which are signed with the key that all others are derived from."""

GONE = {
    "user": "this user may not come in any more, or must log in again",
    "key": "the API key is wrong, has expired or was revoked",
    "known key": "the API key of this token has expired or was revoked",
    "share": "this run is not shared any more",
}
