"""Webhooks: which agent a call from outside starts, and the secret that its signature is checked with."""

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from agentspan.store import bulk
from agentspan.store import tables as t
from agentspan.store.views import Hook


def save(connection: Connection, hook: Hook, at: int) -> None:
    insert: Any = bulk.insert_of(t.hooks, connection.dialect.name)
    new = insert.excluded
    upsert = insert.on_conflict_do_update(
        index_elements=["name"], set_={"agent": new.agent, "data": new.data, "updated_at": new.updated_at}
    )
    data = msgspec.json.encode(hook)
    connection.execute(
        upsert, {"name": hook.name, "agent": hook.agent, "data": data, "created_at": at, "updated_at": at}
    )


def find(connection: Connection, name: str) -> Hook | None:
    row = connection.execute(sa.select(t.hooks).where(t.hooks.c.name == name)).first()
    return _hook(row) if row else None


def all_hooks(connection: Connection) -> Sequence[Hook]:
    return [_hook(row) for row in connection.execute(sa.select(t.hooks).order_by(t.hooks.c.name))]


def delete(connection: Connection, name: str) -> int:
    return connection.execute(sa.delete(t.hooks).where(t.hooks.c.name == name)).rowcount


def _hook(row: Any) -> Hook:
    hook = msgspec.json.decode(row.data, type=Hook)
    return msgspec.structs.replace(hook, created_at=row.created_at, updated_at=row.updated_at)
