"""Which user made an API key, so that it ends with them."""

from alembic import op
from sqlalchemy import Column, Text, text

revision = "0010"
down_revision = "0009"
compatible_from = "0009"


def upgrade() -> None:
    op.add_column("api_keys", Column("maker", Text, nullable=False, server_default=text("''")))
