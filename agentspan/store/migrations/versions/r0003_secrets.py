"""Secrets: their encrypted values, other names for them, and which task of which run was given which."""

from typing import Any

from alembic import op
from sqlalchemy import BigInteger, Column, LargeBinary, String, Text, text

revision = "0003"
down_revision = "0002"


def _ms(name: str) -> Column[Any]:
    return Column(name, BigInteger, nullable=False, server_default=text("0"))


def _word(name: str) -> Column[Any]:
    return Column(name, Text, nullable=False, server_default=text("''"))


def _key(name: str, kind: Any = Text) -> Column[Any]:
    return Column(name, kind, primary_key=True, autoincrement=False)


def upgrade() -> None:
    op.create_table(
        "secrets",
        _key("name"),
        _word("key_id"),
        Column("data", LargeBinary, nullable=False),
        _ms("created_at"),
        _ms("updated_at"),
    )
    op.create_table("secret_bindings", _key("logical_key"), _word("store_name"))
    op.create_table("secret_uses", _key("tree", String(36)), _key("task", BigInteger), _key("name"), _ms("at"))
