"""Credentials: stored by name, never shown, and given to those who show the token of a task that may have them."""

from typing import Any

import msgspec

from agentspan.errors import Unauthorized
from agentspan.server import conductor
from agentspan.server.handler import Handler, Route
from agentspan.store.views import SecretUse, SecretView

Json = dict[str, Any]


class PostCredential(msgspec.Struct):
    name: str
    value: str


class PutCredential(msgspec.Struct):
    value: str


class PutBinding(msgspec.Struct):
    """The name of the stored credential that another name stands for."""

    store_name: str


class ResolveRequest(msgspec.Struct):
    """The execution token of a task, and the names of the credentials that its worker asks for."""

    token: str = ""
    names: list[str] = []


class All(Handler):
    async def get(self) -> None:
        """All credentials by name, without their values."""
        self.answer([shown(each) for each in await self.engine.secrets.all()])

    async def post(self) -> None:
        """Store a credential, or replace the one of that name."""
        given = self.body(PostCredential)
        await self.engine.secrets.save(given.name, given.value)
        self.answer_nothing(201)


class One(Handler):
    async def get(self, name: str) -> None:
        """A credential without its value."""
        self.answer(shown(await self.engine.secrets.one(name)))

    async def put(self, name: str) -> None:
        """Store a credential, or replace the one of that name."""
        await self.engine.secrets.save(name, self.body(PutCredential).value)
        self.answer_nothing()

    async def delete(self, name: str) -> None:
        """Delete a credential; runs that ask for it from now on do not find it."""
        await self.engine.secrets.delete(name)
        self.answer_nothing(204)


class Bindings(Handler):
    async def get(self) -> None:
        """Which names stand for which stored credentials."""
        found = await self.engine.secrets.bindings()
        self.answer([{"logical_key": key, "store_name": name} for key, name in found.items()])


class Binding(Handler):
    async def put(self, key: str) -> None:
        """Let a name stand for a stored credential."""
        await self.engine.secrets.bind(key, self.body(PutBinding).store_name)
        self.answer_nothing()

    async def delete(self, key: str) -> None:
        """Let a name stand for itself again."""
        await self.engine.secrets.unbind(key)
        self.answer_nothing(204)


class Resolve(Handler):
    async def post(self) -> None:
        """The values of credentials, for the token of a task whose run lives: only of names that the run declares."""
        request = self.body(ResolveRequest)
        if not request.token:
            raise Unauthorized("show the execution token of a task: it comes with the task's input")
        self.answer(await self.engine.secrets.resolve(request.token, request.names))


class Rotate(Handler):
    async def post(self) -> None:
        """Seal what is under former master keys, credentials and the secrets of webhooks, under the present one: as
        many as one request can. Ask again until `resealed` is 0; `left` are then those that no key of this server
        opens."""
        done = await self.engine.secrets.rotate()
        self.answer({"keyId": done.key_id, "resealed": done.resealed, "left": done.left, "names": done.names})


class Uses(Handler):
    may_be_a_link = True

    async def get(self, execution_id: str) -> None:
        """Which credentials the tasks of a run were given, by name."""
        self.answer([use(each) for each in await self.engine.secrets.uses(execution_id)])


def shown(view: SecretView) -> Json:
    created, updated = conductor.iso(view.created_at), conductor.iso(view.updated_at)
    return {"name": view.name, "partial": view.partial, "created_at": created, "updated_at": updated}


def use(view: SecretUse) -> Json:
    return {"taskId": view.task_id, "name": view.name, "since": view.at}


ROUTES = [
    Route("/api/credentials", All),
    Route("/api/credentials/bindings", Bindings),
    Route("/api/credentials/bindings/{key}", Binding),
    Route("/api/credentials/resolve", Resolve),
    Route("/api/credentials/rotate", Rotate),
    Route("/api/credentials/{name}", One),
    Route("/api/agent/executions/{execution_id}/credentials", Uses),
]
