"""Tokens: the key and the secret exchanged for one. Tickets: by which a program lets its user in to the pages."""

import msgspec

from agentspan.errors import NotFound
from agentspan.server.auth import TICKET_SECONDS, WrongCredentials
from agentspan.server.handler import Handler, Route


class TokenRequest(msgspec.Struct, rename="camel"):
    key_id: str
    key_secret: str


class Login(msgspec.Struct):
    username: str
    password: str


class TokenHandler(Handler):
    without_credentials = True

    def exchange(self, key: str, secret: str) -> str:
        door = self.context.door
        if door.is_open:
            raise NotFound("this server asks for no credentials, so it gives no tokens")
        door.check_pair(key, secret)
        return door.token()


class Token(TokenHandler):
    def post(self) -> None:
        """A token for the key and the secret; 404 on a server that asks for none, as Conductor's clients expect."""
        asked = self.body(TokenRequest)
        self.answer({"token": self.exchange(asked.key_id, asked.key_secret)})


class LogIn(TokenHandler):
    def post(self) -> None:
        """The same with the key as username and the secret as password."""
        asked = self.body(Login)
        try:
            token = self.exchange(asked.username, asked.password)
        except WrongCredentials as problem:
            raise WrongCredentials("the username or the password is wrong") from problem
        user = {"id": asked.username, "username": asked.username, "name": asked.username}
        self.answer({"token": token, "user": user})


class Ticket(Handler):
    def post(self) -> None:
        """What lets a person in to the pages once, by /login?ticket=...&next=/ui/..., within a minute."""
        ticket = self.context.door.ticket(self.person())
        self.answer({"ticket": ticket, "expiresSeconds": TICKET_SECONDS})


ROUTES = [Route("/api/token", Token), Route("/api/auth/login", LogIn), Route("/api/auth/ticket", Ticket)]
