"""The schema's history, one file a revision, run by alembic."""

HEAD = "0010"
