"""An index by which the forks of a run are found."""

from alembic import op
from sqlalchemy import text

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    where = text("forked_from != ''")
    op.create_index("ix_trees_forked_from", "trees", ["forked_from"], sqlite_where=where, postgresql_where=where)
