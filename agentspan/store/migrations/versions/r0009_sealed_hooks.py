"""The secrets of webhooks, sealed as credentials are. Those that are there are sealed when a server starts."""

from alembic import op
from sqlalchemy import Column, LargeBinary, Text, text

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("hooks", Column("key_id", Text, nullable=False, server_default=text("''")))
    op.add_column("hooks", Column("sealed", LargeBinary))
