"""What deployed agents live with: prompt templates, schedules, webhooks, and who writes a session."""

from typing import Any

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, LargeBinary, String, Text, text

revision = "0002"
down_revision = "0001"


def _number(name: str, kind: Any = BigInteger) -> Column[Any]:
    return Column(name, kind, nullable=False, server_default=text("0"))


def _word(name: str) -> Column[Any]:
    return Column(name, Text, nullable=False, server_default=text("''"))


def _key(name: str, kind: Any = Text) -> Column[Any]:
    return Column(name, kind, primary_key=True, autoincrement=False)


def upgrade() -> None:
    op.create_table(
        "templates",
        _key("name"),
        _key("version", Integer),
        _word("text"),
        _word("description"),
        _word("models"),
        _number("created_at"),
    )
    op.create_table(
        "schedules",
        _key("name"),
        _word("agent"),
        Column("data", LargeBinary, nullable=False),
        _number("due_at"),
        _number("last_at"),
        _word("last_tree"),
        _word("problem"),
        _number("created_at"),
        _number("updated_at"),
    )
    where = text("due_at > 0")
    op.create_index("ix_schedules_due", "schedules", ["due_at"], sqlite_where=where, postgresql_where=where)
    op.create_table(
        "hooks",
        _key("name"),
        _word("agent"),
        Column("data", LargeBinary, nullable=False),
        _number("created_at"),
        _number("updated_at"),
    )
    op.create_table(
        "sessions",
        _key("agent"),
        _key("session_id"),
        Column("tree", String(36), nullable=False),
        _number("updated_at"),
    )
