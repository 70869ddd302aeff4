"""Webhooks: which agent a call from outside starts, and the secret that its signature is checked with, sealed."""

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from agentspan.store import bulk
from agentspan.store import tables as t
from agentspan.store.secrets import WEBHOOK, Sealed
from agentspan.store.views import Hook


def save(connection: Connection, hook: Hook, secret: Sealed, at: int) -> None:
    """Keep a webhook, or replace the one of that name."""
    insert: Any = bulk.insert_of(t.hooks, connection.dialect.name)
    row = {"agent": hook.agent, "data": _data(hook), "key_id": secret.key_id, "sealed": secret.data, "updated_at": at}
    upsert = insert.on_conflict_do_update(
        index_elements=["name"], set_={column: insert.excluded[column] for column in row}
    )
    connection.execute(upsert, {"name": hook.name, "created_at": at, **row})


def find(connection: Connection, name: str) -> Hook | None:
    row = connection.execute(sa.select(t.hooks).where(t.hooks.c.name == name)).first()
    return _hook(row) if row else None


def secret_of(connection: Connection, name: str) -> Sealed | None:
    """The secret of a webhook."""
    row = connection.execute(WEBHOOK.rows.where(t.hooks.c.name == name)).first()
    return Sealed(*row) if row else None


def open_ones(connection: Connection, limit: int) -> list[Hook]:
    """Webhooks whose secrets are not sealed, as versions before this one kept them."""
    chosen = sa.select(t.hooks).where(t.hooks.c.key_id == "").order_by(t.hooks.c.name).limit(limit)
    return [_hook(row) for row in connection.execute(chosen)]


def seal(connection: Connection, hook: Hook, secret: Sealed) -> None:
    """Put the sealed secret in the place of the open one, unless the webhook has changed meanwhile."""
    same = (t.hooks.c.name == hook.name) & (t.hooks.c.key_id == "")
    sealed = {"data": _data(hook), "key_id": secret.key_id, "sealed": secret.data}
    connection.execute(sa.update(t.hooks).where(same).values(sealed))


def all_hooks(connection: Connection) -> Sequence[Hook]:
    return [_hook(row) for row in connection.execute(sa.select(t.hooks).order_by(t.hooks.c.name))]


def delete(connection: Connection, name: str) -> int:
    return connection.execute(sa.delete(t.hooks).where(t.hooks.c.name == name)).rowcount


def _data(hook: Hook) -> bytes:
    """A webhook without its secret."""
    return msgspec.json.encode(msgspec.structs.replace(hook, secret=""))


def _hook(row: Any) -> Hook:
    hook = msgspec.json.decode(row.data, type=Hook)
    return msgspec.structs.replace(hook, created_at=row.created_at, updated_at=row.updated_at)
