"""Runs that are being removed, and what finds the idempotency keys of one."""

from alembic import op
from sqlalchemy import BigInteger, Column, String, text

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_table(
        "removals",
        Column("tree", String(36), primary_key=True),
        Column("at", BigInteger, nullable=False, server_default=text("0")),
    )
    op.create_index("ix_starts_tree", "starts", ["tree"])
