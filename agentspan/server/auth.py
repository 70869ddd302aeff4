"""Who may ask: nobody is asked on an open server; else every request shows the key and the secret, or a token for them.

Accepted, because the clients there are send them: `X-Authorization: <token>`, `X-Auth-Key` with `X-Auth-Secret`,
`Authorization: Bearer` with a token, `key:secret` or the secret, and `X-API-Key` with `key:secret` or the secret.
A token is a JWT signed with a key that is derived from the secret, so every replica accepts it. So is a link, by which
who has no credentials answers one request; so are the cookie of a person who has logged in, and the ticket by which a
program lets its user in. On an open server they guard no more than anything else there.
"""

import hashlib
import hmac
import time
import uuid
from collections.abc import Mapping
from typing import Any

from agentspan.config import Settings
from agentspan.errors import Unauthorized

TOKEN_SECONDS = 24 * 3600
INVALID, EXPIRED = "INVALID_TOKEN", "EXPIRED_TOKEN"
"""Words that make Conductor's clients fetch a new token."""

SESSION_SECONDS = 12 * 3600
TICKET_SECONDS = 60
TICKETS_KEPT = 10_000

SHOWN = ("X-Auth-Key", "X-Auth-Secret", "X-API-Key", "X-Authorization", "Authorization")

_PURPOSE = b"agentspan access token, version 1, of "
_LINK_PURPOSE = b"agentspan link to a request, version 1"
_SESSION_PURPOSE = b"agentspan session of a person, version 1"
_TICKET_PURPOSE = b"agentspan ticket to the pages, version 1"
_ISSUER = "agentspan"


class WrongCredentials(Unauthorized):
    """No or wrong credentials. `code` tells a client whether a new token would help."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class Door:
    """Opens to those who show the settings' key and secret; always open where there are none."""

    def __init__(self, settings: Settings) -> None:
        self._key, self._secret = settings.auth_key or "", settings.auth_secret or ""
        self._signing_key = hmac.new(self._secret.encode(), _PURPOSE + self._key.encode(), hashlib.sha256).digest()
        self._used: dict[str, None] = {}

    @property
    def is_open(self) -> bool:
        return not self._secret

    @staticmethod
    def is_shown(headers: Mapping[str, str]) -> bool:
        """Whether credentials are there, right or wrong."""
        return any(name in headers for name in SHOWN)

    def check(self, headers: Mapping[str, str]) -> None:
        """Raise WrongCredentials unless one of the accepted forms is there and right."""
        if self.is_open:
            return
        if "X-Auth-Key" in headers or "X-Auth-Secret" in headers:
            self.check_pair(headers.get("X-Auth-Key", ""), headers.get("X-Auth-Secret", ""))
        elif "X-API-Key" in headers:
            if not self._is_key(headers["X-API-Key"]):
                raise WrongCredentials("X-API-Key holds neither the secret nor key:secret")
        elif shown := headers.get("X-Authorization") or headers.get("Authorization"):
            self._check_bearer(shown)
        else:
            raise WrongCredentials("this server asks for credentials: a token of /api/token, or its key and secret")

    def check_pair(self, key: str, secret: str) -> None:
        if not _same(key, self._key) & _same(secret, self._secret):
            raise WrongCredentials("the key or the secret is wrong")

    def token(self) -> str:
        """A new token, good for 24 hours."""
        import jwt

        now = int(time.time())
        claims = {"iss": _ISSUER, "sub": self._key, "jti": str(uuid.uuid4()), "iat": now, "exp": now + TOKEN_SECONDS}
        return jwt.encode(claims, self._signing_key, algorithm="HS256")

    def link(self, request_id: str, by: str, seconds: int) -> str:
        """A token that answers this request and does nothing else; `by`: who it was given to."""
        import jwt

        now = int(time.time())
        claims = {"iss": _ISSUER, "sub": request_id, "by": by, "iat": now, "exp": now + seconds}
        return jwt.encode(claims, self._link_key, algorithm="HS256")

    def linked(self, token: str) -> tuple[str, str]:
        """The request of a link and who it was given to; WrongCredentials for one that is expired or not ours."""
        import jwt

        options: Any = {"require": ["exp", "iat", "sub"]}
        try:
            claims = jwt.decode(token, self._link_key, algorithms=["HS256"], issuer=_ISSUER, options=options)
        except jwt.ExpiredSignatureError as problem:
            raise WrongCredentials("the link has expired; ask for a new one") from problem
        except jwt.PyJWTError as problem:
            raise WrongCredentials("the link is not one of this server; check that it is whole") from problem
        return str(claims["sub"]), str(claims.get("by") or "")

    @property
    def cookie(self) -> str:
        """The name of the cookie of a session: browsers keep cookies by host, where there can be several servers."""
        return f"agentspan-session-{self._derived(b'name of the cookie').hex()[:8]}"

    def session(self, by: str) -> str:
        """What the cookie of a person holds who has shown the credentials; `by`: who they say they are."""
        return self._signed(_SESSION_PURPOSE, by, SESSION_SECONDS)

    def in_session(self, cookie: str) -> str:
        """Who the person of that cookie is; WrongCredentials for one that has expired or is not ours."""
        return str(self._claims(_SESSION_PURPOSE, cookie, "the session").get("by") or "")

    def ticket(self, by: str) -> str:
        """What lets a person in once, within a minute, and gives them a session."""
        return self._signed(_TICKET_PURPOSE, by, TICKET_SECONDS)

    def admit(self, ticket: str) -> str:
        """Who the ticket was given to; WrongCredentials if it has expired, was used here, or is not ours."""
        claims = self._claims(_TICKET_PURPOSE, ticket, "the ticket")
        if claims["jti"] in self._used:
            raise WrongCredentials("the ticket was used already; get a new one")
        self._used[claims["jti"]] = None
        if len(self._used) > TICKETS_KEPT:
            del self._used[next(iter(self._used))]
        return str(claims.get("by") or "")

    def _signed(self, purpose: bytes, by: str, seconds: int) -> str:
        import jwt

        now = int(time.time())
        claims = {
            "iss": _ISSUER,
            "sub": self._key,
            "by": by,
            "jti": str(uuid.uuid4()),
            "iat": now,
            "exp": now + seconds,
        }
        return jwt.encode(claims, self._derived(purpose), algorithm="HS256")

    def _claims(self, purpose: bytes, text: str, what: str) -> dict[str, Any]:
        import jwt

        options: Any = {"require": ["exp", "iat", "sub", "jti"]}
        try:
            return dict(jwt.decode(text, self._derived(purpose), algorithms=["HS256"], issuer=_ISSUER, options=options))
        except jwt.ExpiredSignatureError as problem:
            raise WrongCredentials(f"{what} has expired; log in again") from problem
        except jwt.PyJWTError as problem:
            raise WrongCredentials(f"{what} is not one of this server; log in again") from problem

    @property
    def _link_key(self) -> bytes:
        return self._derived(_LINK_PURPOSE)

    def _derived(self, purpose: bytes) -> bytes:
        """A key of its own for each purpose, so that a link is no access token."""
        return hmac.new(self._signing_key, purpose, hashlib.sha256).digest()

    def _check_bearer(self, shown: str) -> None:
        scheme, _, rest = shown.strip().partition(" ")
        value = rest.strip() if scheme.lower() == "bearer" else shown.strip()
        if not self._is_key(value):
            self._check_token(value)

    def _is_key(self, value: str) -> bool:
        return _same(value, self._secret) | _same(value, f"{self._key}:{self._secret}")

    def _check_token(self, token: str) -> None:
        import jwt

        options: Any = {"require": ["exp", "iat", "sub"]}
        try:
            jwt.decode(token, self._signing_key, algorithms=["HS256"], issuer=_ISSUER, options=options)
        except jwt.ExpiredSignatureError as problem:
            raise WrongCredentials("the token has expired; get a new one from /api/token", EXPIRED) from problem
        except jwt.PyJWTError as problem:
            raise WrongCredentials("the token is not one of this server; get one from /api/token", INVALID) from problem


def _same(one: str, other: str) -> bool:
    """Compare in a time that does not depend on where they differ."""
    return hmac.compare_digest(hashlib.sha256(one.encode()).digest(), hashlib.sha256(other.encode()).digest())
