"""Prompt templates: texts with variables, kept under a name, each change a version of its own."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from agentspan.store import bulk
from agentspan.store import tables as t
from agentspan.store.views import Template


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


def find(connection: Connection, name: str, version: int | None = None) -> Template | None:
    """A version, or the latest; None if there is none."""
    statement = sa.select(t.templates).where(t.templates.c.name == name)
    if version is not None:
        statement = statement.where(t.templates.c.version == version)
    row = connection.execute(statement.order_by(t.templates.c.version.desc()).limit(1)).first()
    return Template(*row) if row else None


def versions(connection: Connection, name: str) -> Sequence[Template]:
    """All versions, the newest first."""
    statement = sa.select(t.templates).where(t.templates.c.name == name)
    return [Template(*row) for row in connection.execute(statement.order_by(t.templates.c.version.desc()))]


def latest(connection: Connection) -> Sequence[Template]:
    """Every template in its latest version."""
    newest = (
        sa.select(t.templates.c.name, sa.func.max(t.templates.c.version).label("version"))
        .group_by(t.templates.c.name)
        .subquery()
    )
    same = sa.and_(newest.c.name == t.templates.c.name, newest.c.version == t.templates.c.version)
    statement = sa.select(t.templates).join(newest, same).order_by(t.templates.c.name)
    return [Template(*row) for row in connection.execute(statement)]


def delete(connection: Connection, name: str) -> int:
    """Delete a template in all its versions; gives how many there were."""
    return connection.execute(sa.delete(t.templates).where(t.templates.c.name == name)).rowcount


def _one(name: str, version: int) -> Any:
    return sa.and_(t.templates.c.name == name, t.templates.c.version == version)
