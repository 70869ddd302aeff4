"""The first schema."""

from typing import Any

from alembic import op
from sqlalchemy import BigInteger, Column, Double, Integer, LargeBinary, String, Text, text

revision = "0001"
down_revision = None


def _number(name: str, kind: Any = BigInteger) -> Column[Any]:
    return Column(name, kind, nullable=False, server_default=text("0"))


def _word(name: str) -> Column[Any]:
    return Column(name, Text, nullable=False, server_default=text("''"))


def _key(name: str, kind: Any = BigInteger) -> Column[Any]:
    return Column(name, kind, primary_key=True, autoincrement=False)


def upgrade() -> None:
    op.create_table(
        "specs", _key("digest", String(64)), Column("data", LargeBinary, nullable=False), _number("created_at")
    )
    op.create_table(
        "trees",
        _key("tree", String(36)),
        _number("seq"),
        Column("spec", String(64), nullable=False),
        _number("created_at"),
        _word("session_id"),
        _word("correlation_id"),
        _word("run_id"),
        _number("priority", Integer),
        Column("version", Integer, nullable=False, server_default=text("1")),
        _word("forked_from"),
        _number("forked_at"),
    )
    op.create_table("starts", _key("agent", Text), _key("key", Text), Column("tree", String(36), nullable=False))
    op.create_table(
        "executions",
        _key("tree", String(36)),
        _key("number"),
        _number("parent"),
        _word("agent"),
        _word("status"),
        _number("started_at"),
        _number("updated_at"),
        _number("ended_at"),
        _number("due_at"),
        _word("finish_reason"),
        _word("reason"),
        _word("session_id"),
        _word("preview"),
        _number("prompt_tokens"),
        _number("completion_tokens"),
        _number("cached_tokens"),
        _number("reasoning_tokens"),
        _number("cost", Double),
        _number("unpriced"),
        _number("turns"),
        Column("run", LargeBinary, nullable=False),
    )
    op.create_index("ix_executions_started_at", "executions", ["started_at", "tree"])
    op.create_index("ix_executions_agent", "executions", ["agent", "started_at"])
    op.create_index("ix_executions_status", "executions", ["status", "started_at"])
    _partial("ix_executions_session", "executions", ["session_id"], "session_id != ''")
    _partial("ix_executions_due", "executions", ["due_at"], "due_at > 0")
    op.create_table(
        "events",
        _key("tree", String(36)),
        _key("seq"),
        _number("execution"),
        _number("at"),
        Column("data", LargeBinary, nullable=False),
        Column("blob", String(64)),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "blobs", _key("tree", String(36)), _key("digest", String(64)), Column("data", LargeBinary, nullable=False)
    )
    op.create_table(
        "tasks",
        _key("tree", String(36)),
        _key("number"),
        _number("execution"),
        _word("queue"),
        _word("domain"),
        _word("status"),
        _number("priority", Integer),
        _number("scheduled_at"),
        _number("available_at"),
        _number("start_by"),
        _number("attempt_ms"),
        _number("finish_by"),
        _number("lease_until"),
        _number("due_at"),
        _number("leased_at"),
        _word("owner"),
        _number("polls", Integer),
    )
    _partial(
        "ix_tasks_ready", "tasks", ["queue", "domain", text("priority DESC"), "available_at"], "status = 'SCHEDULED'"
    )
    _partial("ix_tasks_available", "tasks", ["available_at"], "status = 'SCHEDULED'")
    _partial("ix_tasks_due", "tasks", ["due_at"], "due_at > 0")
    _partial("ix_tasks_owner", "tasks", ["owner"], "status = 'IN_PROGRESS'")
    op.create_table(
        "logs",
        _key("tree", String(36)),
        _key("task"),
        _key("at"),
        _key("line", Integer),
        Column("text", Text, nullable=False),
    )
    op.create_table(
        "definitions",
        _key("name", Text),
        _key("version", Integer),
        Column("spec", String(64), nullable=False),
        _number("created_at"),
    )
    op.create_table(
        "task_definitions", _key("name", Text), Column("data", LargeBinary, nullable=False), _number("updated_at")
    )


def _partial(name: str, table: str, columns: list[Any], where: str) -> None:
    op.create_index(name, table, columns, sqlite_where=text(where), postgresql_where=text(where))
