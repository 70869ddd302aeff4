"""Tenants, users, API keys, shared runs, and the record of what was decided and changed."""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, LargeBinary, String, Text, text

revision = "0007"
down_revision = "0006"


def _word(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, server_default=text("''"))


def _number(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default=text("0"))


def _switch(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False, server_default=text("0"))


def upgrade() -> None:
    tenants = op.create_table(
        "tenants",
        Column("name", Text, primary_key=True),
        _word("title"),
        Column("quotas", LargeBinary, nullable=False),
        _switch("disabled"),
        _number("changes"),
        _number("created_at"),
    )
    op.bulk_insert(tenants, [{"name": "default", "quotas": b"{}"}])
    op.create_table(
        "users",
        Column("name", Text, primary_key=True),
        *map(_word, ("tenant", "role", "display_name", "email", "password", "subject")),
        _switch("disabled"),
        *map(_number, ("epoch", "created_at", "seen_at")),
    )
    op.create_table(
        "api_keys",
        Column("id", String(36), primary_key=True),
        *map(_word, ("tenant", "name", "role", "scopes", "digest", "created_by")),
        *map(_number, ("created_at", "expires_at", "revoked_at", "used_at")),
    )
    op.create_table(
        "shares",
        Column("id", String(36), primary_key=True),
        *map(_word, ("tenant", "execution", "note", "created_by")),
        *map(_number, ("created_at", "expires_at", "revoked_at")),
    )
    op.create_table(
        "audit",
        Column("id", String(36), primary_key=True),
        _number("at"),
        *map(_word, ("by", "kind", "action", "subject", "address", "outcome")),
        Column("detail", LargeBinary, nullable=False),
    )
