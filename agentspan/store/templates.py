"""Prompt templates: texts with variables, kept under a name, each change a version of its own."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from agentspan.store import bulk
from agentspan.store import tables as t


def save(connection: Connection, name: str, text: str, description: str, models: str, at: int) -> int:
    """Store a text; gives its version, which is the latest one's if the text is the same."""
    bulk.alone(connection, f"template {name}")
    latest = find(connection, name)
    if latest is not None and latest.text == text:
        if (description or latest.description, models or latest.models) != (latest.description, latest.models):
            more = {"description": description or latest.description, "models": models or latest.models}
            connection.execute(sa.update(t.templates).where(_one(name, latest.version)).values(more))
        return int(latest.version)
    version = latest.version + 1 if latest else 1
    row = {
        "name": name,
        "version": version,
        "text": text,
        "description": description or (latest.description if latest else ""),
        "models": models or (latest.models if latest else ""),
        "created_at": at,
    }
    connection.execute(sa.insert(t.templates), row)
    return int(version)


def find(connection: Connection, name: str, version: int | None = None) -> Any:
    """A version, or the latest; None if there is none."""
    statement = sa.select(t.templates).where(t.templates.c.name == name)
    if version is not None:
        statement = statement.where(t.templates.c.version == version)
    return connection.execute(statement.order_by(t.templates.c.version.desc()).limit(1)).first()


def versions(connection: Connection, name: str) -> Sequence[Any]:
    """All versions, the newest first."""
    statement = sa.select(t.templates).where(t.templates.c.name == name)
    return connection.execute(statement.order_by(t.templates.c.version.desc())).all()


def latest(connection: Connection) -> Sequence[Any]:
    """Every template in its latest version."""
    newest = (
        sa.select(t.templates.c.name, sa.func.max(t.templates.c.version).label("version"))
        .group_by(t.templates.c.name)
        .subquery()
    )
    same = sa.and_(newest.c.name == t.templates.c.name, newest.c.version == t.templates.c.version)
    return connection.execute(sa.select(t.templates).join(newest, same).order_by(t.templates.c.name)).all()


def delete(connection: Connection, name: str) -> int:
    """Delete a template in all its versions; gives how many there were."""
    return connection.execute(sa.delete(t.templates).where(t.templates.c.name == name)).rowcount


def _one(name: str, version: int) -> Any:
    return sa.and_(t.templates.c.name == name, t.templates.c.version == version)
