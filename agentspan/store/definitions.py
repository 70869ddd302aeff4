"""What stands beside the trees: deployed agents, task definitions, idempotency keys, logs of tasks."""

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from agentspan.core.advance import ROOT
from agentspan.spec import wire
from agentspan.spec.agent import AgentSpec
from agentspan.store import bulk
from agentspan.store import tables as t


def claim_key(connection: Connection, agent: str, key: str, tree: str) -> str:
    """The execution that this key began: `tree`, if the key is new."""
    insert = _insert(connection, t.starts).on_conflict_do_nothing()
    connection.execute(insert, {"agent": agent, "key": key, "tree": tree})
    return str(connection.execute(KEY, {"agent": agent, "key": key}).scalar_one())


def release_key(connection: Connection, agent: str, key: str) -> None:
    """Forget a key whose execution did not begin after all."""
    connection.execute(sa.delete(t.starts).where(t.starts.c.agent == agent, t.starts.c.key == key))


def begun(connection: Connection, agent: str, keys: Sequence[str]) -> list[tuple[str, str, str]]:
    """Which of these keys have begun an execution that is still kept: key, tree and status."""
    return [(row.key, row.tree, row.status) for row in connection.execute(BEGUN, {"agent": agent, "keys": list(keys)})]


def execution_exists(connection: Connection, tree: str, number: int) -> bool:
    return connection.execute(EXECUTION, {"tree": tree, "number": number}).first() is not None


def deploy(connection: Connection, spec: AgentSpec, at: int) -> int:
    """Store a definition; gives its version, which is the latest one's if nothing changed."""
    bulk.alone(connection, f"definition {spec.name}")
    digest = wire.digest(spec)
    bulk.put(connection, t.specs, [{"digest": digest, "data": wire.dump(spec), "created_at": at}], ("created_at",))
    latest = connection.execute(LATEST, {"name": spec.name}).first()
    if latest and latest.spec == digest:
        return int(latest.version)
    version = latest.version + 1 if latest else 1
    connection.execute(
        sa.insert(t.definitions), {"name": spec.name, "version": version, "spec": digest, "created_at": at}
    )
    return int(version)


def roll_back(connection: Connection, name: str, version: int, at: int) -> int | None:
    """Make an old version's content the latest again; gives its new number, None if there is no such version."""
    old = definition(connection, name, version)
    return None if old is None else deploy(connection, wire.load(old.data), at)


def undeploy(connection: Connection, name: str, version: int | None) -> int:
    """Delete one version, or the latest; gives how many were."""
    if version is None:
        latest = connection.execute(LATEST, {"name": name}).first()
        version = latest.version if latest else 0
    statement = sa.delete(t.definitions).where(t.definitions.c.name == name, t.definitions.c.version == version)
    return connection.execute(statement).rowcount


def definition(connection: Connection, name: str, version: int | None) -> Any:
    """name, version, created_at, digest and data of a deployed agent."""
    statement = DEFINITIONS.where(t.definitions.c.name == name)
    if version is not None:
        statement = statement.where(t.definitions.c.version == version)
    return connection.execute(statement.order_by(t.definitions.c.version.desc()).limit(1)).first()


def versions(connection: Connection, name: str) -> Sequence[Any]:
    """All versions of a deployed agent, the newest first."""
    statement = DEFINITIONS.where(t.definitions.c.name == name).order_by(t.definitions.c.version.desc())
    return connection.execute(statement).all()


def all_definitions(connection: Connection) -> Sequence[Any]:
    return connection.execute(DEFINITIONS.order_by(t.definitions.c.name, t.definitions.c.version)).all()


def put_task_definitions(connection: Connection, rows: Sequence[dict[str, Any]], at: int) -> None:
    insert = _insert(connection, t.task_definitions)
    upsert = insert.on_conflict_do_update(
        index_elements=["name"], set_={"data": insert.excluded.data, "updated_at": insert.excluded.updated_at}
    )
    values = [{"name": row["name"], "data": msgspec.json.encode(row), "updated_at": at} for row in rows]
    if values:
        connection.execute(upsert, values)


def delete_task_definition(connection: Connection, name: str) -> int:
    return connection.execute(sa.delete(t.task_definitions).where(t.task_definitions.c.name == name)).rowcount


def task_definitions(connection: Connection) -> list[dict[str, Any]]:
    rows = connection.execute(sa.select(t.task_definitions.c.data).order_by(t.task_definitions.c.name))
    return [msgspec.json.decode(row.data) for row in rows]


def write_log(connection: Connection, tree: str, task: int, at: int, lines: Sequence[str]) -> None:
    first = connection.execute(LAST_LINE, {"tree": tree, "task": task}).scalar() or 0
    rows = [
        {"tree": tree, "task": task, "at": at, "line": first + place, "text": line.replace("\x00", "")}
        for place, line in enumerate(lines, 1)
    ]
    connection.execute(sa.insert(t.logs), rows)


def _insert(connection: Connection, table: sa.Table) -> Any:
    return bulk.insert_of(table, connection.dialect.name)


KEY = sa.select(t.starts.c.tree).where(t.starts.c.agent == sa.bindparam("agent"), t.starts.c.key == sa.bindparam("key"))
BEGUN = (
    sa.select(t.starts.c.key, t.starts.c.tree, t.executions.c.status)
    .join(t.executions, (t.executions.c.tree == t.starts.c.tree) & (t.executions.c.number == ROOT))
    .where(t.starts.c.agent == sa.bindparam("agent"), t.starts.c.key.in_(sa.bindparam("keys", expanding=True)))
)
EXECUTION = sa.select(t.executions.c.number).where(
    t.executions.c.tree == sa.bindparam("tree"), t.executions.c.number == sa.bindparam("number")
)
LATEST = (
    sa.select(t.definitions.c.version, t.definitions.c.spec)
    .where(t.definitions.c.name == sa.bindparam("name"))
    .order_by(t.definitions.c.version.desc())
    .limit(1)
)
DEFINITIONS = sa.select(
    t.definitions.c.name, t.definitions.c.version, t.definitions.c.created_at, t.specs.c.digest, t.specs.c.data
).join(t.specs, t.specs.c.digest == t.definitions.c.spec)
LAST_LINE = sa.select(sa.func.max(t.logs.c.line)).where(
    t.logs.c.tree == sa.bindparam("tree"), t.logs.c.task == sa.bindparam("task")
)
