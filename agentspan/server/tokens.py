"""Tokens: a key and its secret, or a name and a password, exchanged for one. Tickets: by which a program lets its user
in to the pages. And who one is."""

import msgspec

from agentspan.engine.access import Principal
from agentspan.errors import Forbidden, NotFound, TooMany
from agentspan.server.auth import TICKET_SECONDS, WrongCredentials
from agentspan.server.entry import enter
from agentspan.server.handler import Handler, Route
from agentspan.server.shares import shown


class TokenRequest(msgspec.Struct, rename="camel"):
    key_id: str
    key_secret: str


class Login(msgspec.Struct):
    username: str
    password: str


class NewPassword(msgspec.Struct):
    """One's password until now, and from now on."""

    old: str
    new: str


class TokenHandler(Handler):
    without_credentials = True

    async def exchange(self, name: str, secret: str) -> tuple[Principal, str]:
        if self.context.door.is_open:
            raise NotFound("this server asks for no credentials, so it gives no tokens")
        who = await enter(self, name, secret)
        return who, self.context.door.token(who)


class Token(TokenHandler):
    async def post(self) -> None:
        """A token for a key and its secret; 404 on a server that asks for none, as Conductor's clients expect."""
        asked = self.body(TokenRequest)
        _, token = await self.exchange(asked.key_id, asked.key_secret)
        self.answer({"token": token})


class LogIn(TokenHandler):
    async def post(self) -> None:
        """A token for a user's name and password; or with the key as username and the secret as password."""
        asked = self.body(Login)
        try:
            who, token = await self.exchange(asked.username, asked.password)
        except WrongCredentials as problem:
            raise WrongCredentials("the username or the password is wrong") from problem
        named = {"id": asked.username, "username": asked.username, "name": asked.username}
        self.answer({"token": token, "user": {**named, "role": who.role, "tenant": who.tenant}})


class Ticket(Handler):
    def post(self) -> None:
        """What lets a person in to the pages once, by /login?ticket=...&next=/ui/..., within a minute."""
        if self.is_visit:
            raise Forbidden("who has logged in needs no ticket, and a session does not prolong itself")
        ticket = self.context.door.ticket(self.person(), self.principal)
        self.answer({"ticket": ticket, "expiresSeconds": TICKET_SECONDS})


class Me(Handler):
    def get(self) -> None:
        """Who asks, of which tenant, and what they may do; of a link to a shared run, which one and by whom."""
        who = self.principal
        name = self.person() or who.name
        more = {"share": shown(share)} if (share := self.context.tenants.access.roll.shares.get(who.id)) else {}
        told = {"kind": who.kind, "name": name, "tenant": who.tenant, "role": who.role, "scopes": sorted(who.scopes)}
        self.answer({**told, **more})


class Password(Handler):
    async def post(self) -> None:
        """Change one's own password; all sessions and tokens of before end."""
        asked, throttle, guess = self.body(NewPassword), self.context.throttle, f"password of {self.principal.name}"
        async with throttle.alone(guess):
            if wait := throttle.wait(guess):
                raise TooMany(f"Too many wrong tries: wait {int(wait) + 1} s, then try again.", wait)
            try:
                await self.context.tenants.access.change_password(self.principal, asked.old, asked.new)
            except Forbidden:
                throttle.missed(guess)
                raise
            throttle.hit(guess)
        self.answer_nothing(204)


ROUTES = [
    Route("/api/token", Token),
    Route("/api/auth/login", LogIn),
    Route("/api/auth/ticket", Ticket),
    Route("/api/auth/me", Me),
    Route("/api/auth/password", Password),
]
