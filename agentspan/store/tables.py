"""The tables. Each key leads with the tree's id, so that the schema partitions by tree.

`events` is the truth. `executions` holds the folded state of each execution, `tasks` the open tasks that someone must
take or answer (a settled task leaves it: its history is in the log), `blobs` the payloads too large for a row,
`spending` what each execution had of each model in each hour since the epoch, the first call of it at `at`.
All times are milliseconds since the epoch; 0 where there is none.
"""

from sqlalchemy import BigInteger, Column, Double, Index, Integer, LargeBinary, MetaData, String, Table, Text, text

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

metadata = MetaData(naming_convention=NAMING)


def _ms(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default=text("0"))


def _count(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default=text("0"))


def _word(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, server_default=text("''"))


specs = Table(
    "specs",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("data", LargeBinary, nullable=False),
    _ms("created_at"),
)

trees = Table(
    "trees",
    metadata,
    Column("tree", String(36), primary_key=True),
    _count("seq"),
    Column("spec", String(64), nullable=False),
    _ms("created_at"),
    _word("session_id"),
    _word("correlation_id"),
    _word("run_id"),
    Column("priority", Integer, nullable=False, server_default=text("0")),
    Column("version", Integer, nullable=False, server_default=text("1")),
    _word("forked_from"),
    _count("forked_at"),
)

Index(
    "ix_trees_forked_from",
    trees.c.forked_from,
    sqlite_where=trees.c.forked_from != "",
    postgresql_where=trees.c.forked_from != "",
)

starts = Table(
    "starts",
    metadata,
    Column("agent", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("tree", String(36), nullable=False),
)
Index("ix_starts_tree", starts.c.tree)

executions = Table(
    "executions",
    metadata,
    Column("tree", String(36), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    _count("parent"),
    _word("agent"),
    _word("status"),
    _ms("started_at"),
    _ms("updated_at"),
    _ms("ended_at"),
    _ms("due_at"),
    _word("finish_reason"),
    _word("reason"),
    _word("session_id"),
    _word("preview"),
    _count("prompt_tokens"),
    _count("completion_tokens"),
    _count("cached_tokens"),
    _count("reasoning_tokens"),
    Column("cost", Double, nullable=False, server_default=text("0")),
    _count("unpriced"),
    _count("turns"),
    _word("model"),
    Column("run", LargeBinary, nullable=False),
)
# The first one holds all that statistics ask of a run; in the others the key of a page of a list follows the filter.
_x = executions.c
Index("ix_executions_started_at", _x.started_at, _x.tree, _x.number, _x.status, _x.ended_at, _x.agent)
Index("ix_executions_agent", _x.agent, _x.started_at, _x.tree, _x.number)
Index("ix_executions_status", _x.status, _x.started_at, _x.tree, _x.number)
Index(
    "ix_executions_session",
    _x.session_id,
    _x.started_at,
    _x.tree,
    sqlite_where=_x.session_id != "",
    postgresql_where=_x.session_id != "",
)
Index(
    "ix_executions_model",
    _x.model,
    _x.started_at,
    _x.tree,
    sqlite_where=_x.number == 0,
    postgresql_where=_x.number == 0,
)
Index(
    "ix_executions_finish",
    _x.finish_reason,
    _x.started_at,
    _x.tree,
    sqlite_where=_x.number == 0,
    postgresql_where=_x.number == 0,
)
Index("ix_executions_ended", _x.ended_at, _x.tree, sqlite_where=_x.number == 0, postgresql_where=_x.number == 0)
Index(
    "ix_executions_due",
    executions.c.due_at,
    sqlite_where=executions.c.due_at > 0,
    postgresql_where=executions.c.due_at > 0,
)

spending = Table(
    "spending",
    metadata,
    Column("tree", String(36), primary_key=True),
    Column("execution", BigInteger, primary_key=True, autoincrement=False),
    Column("model", Text, primary_key=True),
    Column("hour", BigInteger, primary_key=True, autoincrement=False),
    _word("agent"),
    _word("root_agent"),
    _word("session_id"),
    _ms("at"),
    _count("calls"),
    _count("prompt_tokens"),
    _count("completion_tokens"),
    _count("cached_tokens"),
    Column("cost", Double, nullable=False, server_default=text("0")),
    _count("unpriced"),
)
Index("ix_spending_at", spending.c.at)

events = Table(
    "events",
    metadata,
    Column("tree", String(36), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    _count("execution"),
    _ms("at"),
    Column("data", LargeBinary, nullable=False),
    Column("blob", String(64)),
    sqlite_with_rowid=False,
)

blobs = Table(
    "blobs",
    metadata,
    Column("tree", String(36), primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("data", LargeBinary, nullable=False),
)

tasks = Table(
    "tasks",
    metadata,
    Column("tree", String(36), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    _count("execution"),
    _word("queue"),
    _word("domain"),
    _word("status"),
    Column("priority", Integer, nullable=False, server_default=text("0")),
    _ms("scheduled_at"),
    _ms("available_at"),
    _ms("start_by"),
    _ms("attempt_ms"),
    _ms("finish_by"),
    _ms("lease_until"),
    _ms("due_at"),
    _ms("leased_at"),
    _word("owner"),
    Column("polls", Integer, nullable=False, server_default=text("0")),
)
_ready = tasks.c.status == "SCHEDULED"
Index(
    "ix_tasks_ready",
    tasks.c.queue,
    tasks.c.domain,
    tasks.c.priority.desc(),
    tasks.c.available_at,
    sqlite_where=_ready,
    postgresql_where=_ready,
)
Index("ix_tasks_available", tasks.c.available_at, sqlite_where=_ready, postgresql_where=_ready)
Index("ix_tasks_due", tasks.c.due_at, sqlite_where=tasks.c.due_at > 0, postgresql_where=tasks.c.due_at > 0)
_leased = tasks.c.status == "IN_PROGRESS"
Index("ix_tasks_owner", tasks.c.owner, sqlite_where=_leased, postgresql_where=_leased)

decisions = Table(
    "decisions",
    metadata,
    Column("tree", String(36), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    _ms("at"),
)
"""The requests to people that were settled; what was decided is in the log."""
Index("ix_decisions_at", decisions.c.at, decisions.c.tree, decisions.c.number)

logs = Table(
    "logs",
    metadata,
    Column("tree", String(36), primary_key=True),
    Column("task", BigInteger, primary_key=True, autoincrement=False),
    Column("at", BigInteger, primary_key=True, autoincrement=False),
    Column("line", Integer, primary_key=True, autoincrement=False),
    Column("text", Text, nullable=False),
)

definitions = Table(
    "definitions",
    metadata,
    Column("name", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("spec", String(64), nullable=False),
    _ms("created_at"),
)

task_definitions = Table(
    "task_definitions",
    metadata,
    Column("name", Text, primary_key=True),
    Column("data", LargeBinary, nullable=False),
    _ms("updated_at"),
)

templates = Table(
    "templates",
    metadata,
    Column("name", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    _word("text"),
    _word("description"),
    _word("models"),
    _ms("created_at"),
)

schedules = Table(
    "schedules",
    metadata,
    Column("name", Text, primary_key=True),
    _word("agent"),
    Column("data", LargeBinary, nullable=False),
    _ms("due_at"),
    _ms("last_at"),
    _word("last_tree"),
    _word("problem"),
    _ms("created_at"),
    _ms("updated_at"),
)
Index(
    "ix_schedules_due", schedules.c.due_at, sqlite_where=schedules.c.due_at > 0, postgresql_where=schedules.c.due_at > 0
)

hooks = Table(
    "hooks",
    metadata,
    Column("name", Text, primary_key=True),
    _word("agent"),
    Column("data", LargeBinary, nullable=False),
    _ms("created_at"),
    _ms("updated_at"),
    _word("key_id"),
    Column("sealed", LargeBinary),
)

sessions = Table(
    "sessions",
    metadata,
    Column("agent", Text, primary_key=True),
    Column("session_id", Text, primary_key=True),
    Column("tree", String(36), nullable=False),
    _ms("updated_at"),
)

secrets = Table(
    "secrets",
    metadata,
    Column("name", Text, primary_key=True),
    _word("key_id"),
    Column("data", LargeBinary, nullable=False),
    _ms("created_at"),
    _ms("updated_at"),
)

secret_bindings = Table(
    "secret_bindings",
    metadata,
    Column("logical_key", Text, primary_key=True),
    _word("store_name"),
)

secret_uses = Table(
    "secret_uses",
    metadata,
    Column("tree", String(36), primary_key=True),
    Column("task", BigInteger, primary_key=True, autoincrement=False),
    Column("name", Text, primary_key=True),
    _ms("at"),
)

tenants = Table(
    "tenants",
    metadata,
    Column("name", Text, primary_key=True),
    _word("title"),
    Column("quotas", LargeBinary, nullable=False),
    Column("disabled", Integer, nullable=False, server_default=text("0")),
    _count("changes"),
    _ms("created_at"),
)
"""The tenants, kept in the database of the first one, as are users, keys and shares. `changes` of that first row counts
what was changed in any of them."""

users = Table(
    "users",
    metadata,
    Column("name", Text, primary_key=True),
    _word("tenant"),
    _word("role"),
    _word("display_name"),
    _word("email"),
    _word("password"),
    _word("subject"),
    Column("disabled", Integer, nullable=False, server_default=text("0")),
    _count("epoch"),
    _ms("created_at"),
    _ms("seen_at"),
)
"""`password` is its scrypt; `subject` names the person at an identity provider. A new `epoch` ends all sessions."""

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(36), primary_key=True),
    _word("tenant"),
    _word("name"),
    _word("role"),
    _word("scopes"),
    _word("digest"),
    _word("created_by"),
    _word("maker"),
    _ms("created_at"),
    _ms("expires_at"),
    _ms("revoked_at"),
    _ms("used_at"),
)
"""`created_by` is the name of who made a key; `maker` the user whom it ends with, "" for none."""

shares = Table(
    "shares",
    metadata,
    Column("id", String(36), primary_key=True),
    _word("tenant"),
    _word("execution"),
    _word("note"),
    _word("created_by"),
    _ms("created_at"),
    _ms("expires_at"),
    _ms("revoked_at"),
)

audit = Table(
    "audit",
    metadata,
    Column("id", String(36), primary_key=True),
    _ms("at"),
    _word("by"),
    _word("kind"),
    _word("action"),
    _word("subject"),
    _word("address"),
    _word("outcome"),
    Column("detail", LargeBinary, nullable=False),
)
"""What was decided and changed, in the order of its ids; each tenant's in its own database."""

removals = Table(
    "removals",
    metadata,
    Column("tree", String(36), primary_key=True),
    _ms("at"),
)
"""Trees that are gone, and whose other rows are removed bit by bit."""
