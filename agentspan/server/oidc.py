"""Login by an OpenID Connect provider: the authorization code flow with PKCE, and users made at their first login.

What the provider says is believed only when its ID token bears its signature, names this client, and answers this very
login. What a person may do follows from the claims of each login, by the rules of the settings.
"""

import base64
import hashlib
import json
import secrets
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from msgspec.structs import replace
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest

from agentspan.config import RoleRule, Settings
from agentspan.engine.access import Principal, principal_of
from agentspan.errors import Conflict, Forbidden, Unavailable
from agentspan.server.auth import WrongCredentials
from agentspan.store.access import User

if TYPE_CHECKING:
    from agentspan.engine.access import Access

Json = dict[str, Any]

STATE_SECONDS = 600
PATIENCE_SECONDS = 10.0
KNOWN_SECONDS = 3600.0
"""So long the provider's addresses and keys are not asked for again; an unknown key is asked for at once."""
LEEWAY_SECONDS = 60
MOST_BYTES = 1024 * 1024
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""Signatures with a key of the provider: one that the client secret makes proves nothing, and `none` neither."""


class Provider:
    """The provider of the settings."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._about: Json = {}
        self._keys: Json = {}
        self._asked = float("-inf")

    @property
    def is_set(self) -> bool:
        return bool(self.settings.oidc_issuer and self.settings.oidc_client_id)

    async def begin(self, redirect_uri: str) -> tuple[str, Json]:
        """Where to send the browser, and what it must bring back with the provider's answer."""
        about = await self._metadata()
        kept = {"state": _noise(), "nonce": _noise(), "verifier": _noise(), "redirect_uri": redirect_uri}
        query = {
            "response_type": "code",
            "client_id": self.settings.oidc_client_id,
            "redirect_uri": redirect_uri,
            "scope": self.settings.oidc_scopes,
            "state": kept["state"],
            "nonce": kept["nonce"],
            "code_challenge": _challenge(kept["verifier"]),
            "code_challenge_method": "S256",
        }
        joint = "&" if "?" in about["authorization_endpoint"] else "?"
        return f"{about['authorization_endpoint']}{joint}{urlencode(query)}", kept

    async def claims(self, code: str, kept: Json) -> Json:
        """What the provider says of the person whose login ends with this code. WrongCredentials, Unavailable."""
        about = await self._metadata()
        body = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": kept["redirect_uri"],
            "client_id": self.settings.oidc_client_id,
            "client_secret": self.settings.oidc_client_secret or "",
            "code_verifier": kept["verifier"],
        }
        answer = await self._ask(about["token_endpoint"], {name: value for name, value in body.items() if value})
        claims = await self._checked(str(answer.get("id_token") or ""), kept["nonce"])
        needed = {rule.claim for rule in self.settings.oidc_roles if rule.claim} | {"email"}
        if needed - claims.keys() and about.get("userinfo_endpoint") and answer.get("access_token"):
            told = await self._ask(about["userinfo_endpoint"], bearer=str(answer["access_token"]))
            # What another person's token says is nothing of this one's.
            claims = {**told, **claims} if told.get("sub") == claims["sub"] else claims
        return claims

    async def _checked(self, token: str, nonce: str) -> Json:
        import jwt

        try:
            head = jwt.get_unverified_header(token)
            key = await self._key(str(head.get("kid") or ""))
            claims: Json = jwt.decode(
                token,
                key,
                algorithms=ALGORITHMS,
                audience=self.settings.oidc_client_id,
                issuer=self._about["issuer"],
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iat", "iss", "aud", "sub"]},
            )
        except jwt.PyJWTError as problem:
            raise WrongCredentials(f"the identity provider's answer is not to be trusted: {problem}") from problem
        if not secrets.compare_digest(str(claims.get("nonce") or "").encode(), nonce.encode()):
            raise WrongCredentials("the identity provider's answer is to another login; log in again")
        if claims.get("azp", self.settings.oidc_client_id) != self.settings.oidc_client_id:
            raise WrongCredentials("the identity provider's answer is for another program")
        return claims

    async def _key(self, key_id: str) -> Any:
        """The provider's key of that name, asked for anew if it is not known."""
        import jwt

        for keys in (self._keys, {}):
            if not keys:
                self._keys = keys = await self._ask(self._about["jwks_uri"])
            found = [each for each in keys.get("keys", ()) if not key_id or each.get("kid") == key_id]
            usable = [each for each in found if each.get("use", "sig") == "sig"]
            if usable:
                return jwt.PyJWK(usable[0]).key
        raise WrongCredentials("the identity provider has signed with a key that it does not publish")

    async def _metadata(self) -> Json:
        if time.monotonic() - self._asked > KNOWN_SECONDS:
            issuer = self.settings.oidc_issuer or ""
            about = await self._ask(f"{issuer}/.well-known/openid-configuration")
            if str(about.get("issuer", "")).rstrip("/") != issuer:
                raise Unavailable(f"the identity provider at {issuer} says that it is {about.get('issuer')!r}")
            self._about, self._keys, self._asked = about, {}, time.monotonic()
        return self._about

    async def _ask(self, url: str, form: Json | None = None, bearer: str = "") -> Json:
        """The JSON of an answer. Unavailable; WrongCredentials if the provider refuses what it was shown."""
        headers = {"Accept": "application/json", **({"Authorization": f"Bearer {bearer}"} if bearer else {})}
        body = urlencode(form) if form is not None else None
        request = HTTPRequest(
            url, "POST" if form is not None else "GET", headers, body, request_timeout=PATIENCE_SECONDS,
            connect_timeout=PATIENCE_SECONDS, follow_redirects=False,
        )  # fmt: skip
        try:
            answer = await AsyncHTTPClient(max_body_size=MOST_BYTES).fetch(request)
            found = json.loads(answer.body)
        except HTTPClientError as problem:
            if form is not None and problem.code in (400, 401):
                raise WrongCredentials("the identity provider did not accept the login; log in again") from problem
            raise Unavailable(f"the identity provider does not answer at {url}: {problem}") from problem
        except (OSError, ValueError) as problem:
            raise Unavailable(f"the identity provider does not answer at {url}: {problem}") from problem
        if not isinstance(found, dict):
            raise Unavailable(f"the identity provider's answer at {url} is no JSON object")
        return found


async def user_of(access: "Access", settings: Settings, by: Principal, claims: Json) -> Principal:
    """The user that these claims are of: made at the first login, with the role of now. Forbidden, Conflict."""
    await access.fresh(now=True)
    subject, role = f"{claims['iss']} {claims['sub']}", role_of(settings.oidc_roles, claims)
    if role is None:
        raise Forbidden("your account is known, but nobody has given it access here; ask an admin")
    known = access.by_subject(subject)
    about: Json = {"role": role, "email": _text(claims, "email"), "display_name": _text(claims, "name")}
    if known is None:
        name = _text(claims, "preferred_username") or _text(claims, "email") or str(claims["sub"])
        given = User(name=name, tenant=settings.oidc_tenant, subject=subject, **about)
        try:
            return principal_of(await access.add_user(by, given))
        except Conflict as problem:
            raise Conflict(
                f"there is a user {name!r} here already who does not log in by the identity provider; ask an admin to"
                " rename or delete that one"
            ) from problem
    if known.disabled:
        raise Forbidden("your account was disabled here; ask an admin")
    if changed := {name: value for name, value in about.items() if value != getattr(known, name)}:
        known = await access.change_user(replace(by, tenant=known.tenant), known.name, changed)
    return principal_of(known)


def role_of(rules: tuple[RoleRule, ...], claims: Json) -> str | None:
    """The role of the first rule that fits."""
    for rule in rules:
        found = claims.get(rule.claim)
        values = found if isinstance(found, list) else [found]
        if not rule.claim or rule.value in map(str, values):
            return rule.role
    return None


def _text(claims: Json, name: str) -> str:
    return str(claims.get(name) or "")[:100].strip()


def _noise() -> str:
    return secrets.token_urlsafe(32)


def _challenge(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
