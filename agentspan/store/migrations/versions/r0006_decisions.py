"""Which requests were settled, and when: what the list of decisions of all runs is read by.

Requests that were settled before are listed with their runs, as they were until now.
"""

from alembic import op
from sqlalchemy import BigInteger, Column, String, text

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "decisions",
        Column("tree", String(36), primary_key=True),
        Column("number", BigInteger, primary_key=True, autoincrement=False),
        Column("at", BigInteger, nullable=False, server_default=text("0")),
    )
    op.create_index("ix_decisions_at", "decisions", ["at", "tree", "number"])
