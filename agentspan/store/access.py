"""Who may do what, and what was done: tenants, users, API keys, shared runs, and the audit.

All but the audit is read whole: it is small, and asked for at every request. `changes` tells whether it must be read
anew. Every statement that lists or finds for somebody names their tenant.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.engine import Connection

from agentspan.config import HOME
from agentspan.store import tables as t
from agentspan.store.bulk import insert_of


class Tenant(Struct, frozen=True, kw_only=True):
    """`quotas` may hold runningExecutions, startsPerMinute, tokensPerDay and dollarsPerDay."""

    name: str
    title: str = ""
    quotas: dict[str, float] = {}
    disabled: bool = False
    created_at: int = 0


class User(Struct, frozen=True, kw_only=True):
    """`password` is its scrypt, "" for none; `subject` names the person at an identity provider. Whoever holds a
    session of another `epoch` must log in again."""

    name: str
    tenant: str
    role: str
    display_name: str = ""
    email: str = ""
    password: str = ""
    subject: str = ""
    disabled: bool = False
    epoch: int = 0
    created_at: int = 0
    seen_at: int = 0


class ApiKey(Struct, frozen=True, kw_only=True):
    """`digest` is the SHA-256 of its secret; `scopes` are words with spaces between, counted where there is no role;
    `maker` is the user whom it ends with, "" for none."""

    id: str
    tenant: str
    name: str
    digest: str
    role: str = ""
    scopes: str = ""
    created_by: str = ""
    maker: str = ""
    created_at: int = 0
    expires_at: int = 0
    revoked_at: int = 0
    used_at: int = 0

    def is_over(self, at: int) -> bool:
        return bool(self.revoked_at) or 0 < self.expires_at <= at


class Share(Struct, frozen=True, kw_only=True):
    """A run that whoever has the link may look at."""

    id: str
    tenant: str
    execution: str
    note: str = ""
    created_by: str = ""
    created_at: int = 0
    expires_at: int = 0
    revoked_at: int = 0

    def is_over(self, at: int) -> bool:
        return bool(self.revoked_at) or 0 < self.expires_at <= at


class AuditEntry(Struct, frozen=True, kw_only=True):
    """`outcome` is begun until it is known, then ok or refused."""

    id: str
    at: int
    by: str
    kind: str
    action: str
    subject: str = ""
    address: str = ""
    outcome: str = "begun"
    detail: dict[str, Any] = {}


class Roll(Struct, frozen=True):
    """All tenants, users, keys and shares as they were at one moment."""

    changes: int
    tenants: dict[str, Tenant]
    users: dict[str, User]
    keys: dict[str, ApiKey]
    shares: dict[str, Share]


def changes(connection: Connection) -> int:
    """How often anything of the roll was changed."""
    return int(connection.execute(CHANGES).scalar_one())


def roll(connection: Connection) -> Roll:
    counted = changes(connection)
    tenants = [_tenant(row) for row in connection.execute(sa.select(t.tenants))]
    return Roll(
        counted,
        {each.name: each for each in tenants},
        {each.name: each for each in _all(connection, t.users, User)},
        {each.id: each for each in _all(connection, t.api_keys, ApiKey)},
        {each.id: each for each in _all(connection, t.shares, Share)},
    )


# Changes: each counts itself


def add_tenant(connection: Connection, tenant: Tenant) -> bool:
    """False if there is one of that name."""
    return _added(connection, t.tenants, _tenant_row(tenant))


def change_tenant(connection: Connection, name: str, changes: dict[str, Any]) -> None:
    """Change those columns alone, as others may be changing others."""
    row = _tenant_row(Tenant(name=name, **changes))
    connection.execute(sa.update(t.tenants).where(t.tenants.c.name == name), {each: row[each] for each in changes})
    connection.execute(COUNT)


def delete_tenant(connection: Connection, name: str) -> None:
    """The tenant with its users, keys and shares; what it ran is in a database of its own."""
    for table in (t.users, t.api_keys, t.shares):
        connection.execute(sa.delete(table).where(table.c.tenant == name))
    connection.execute(sa.delete(t.tenants).where(t.tenants.c.name == name))
    connection.execute(COUNT)


def add_user(connection: Connection, user: User) -> bool:
    """False if there is one of that name, also since a moment ago."""
    return _added(connection, t.users, msgspec.structs.asdict(user) | {"disabled": int(user.disabled)})


def change_user(
    connection: Connection, name: str, changes: dict[str, Any], *, ends: bool = False, epoch: int | None = None
) -> bool:
    """Change those columns alone, as others may be changing others; `ends` all sessions. False if there is no such
    user, or not of that epoch."""
    x = t.users.c
    row = {column: int(value) if column == "disabled" else value for column, value in changes.items()}
    more = {"epoch": x.epoch + 1} if ends else {}
    statement = sa.update(t.users).where(x.name == name, *([x.epoch == epoch] if epoch is not None else []))
    changed = connection.execute(statement.values(**row, **more)).rowcount
    connection.execute(COUNT)
    return changed > 0


def delete_user(connection: Connection, name: str, at: int) -> None:
    """The user, and the keys that they have made."""
    x = t.api_keys.c
    connection.execute(sa.update(t.api_keys).where(x.maker == name, x.revoked_at == 0).values(revoked_at=at))
    connection.execute(sa.delete(t.users).where(t.users.c.name == name))
    connection.execute(COUNT)


def add_key(connection: Connection, key: ApiKey, forgotten: Sequence[str] = ()) -> None:
    """`forgotten`: the ids of keys that are over."""
    connection.execute(sa.insert(t.api_keys), msgspec.structs.asdict(key))
    connection.execute(sa.delete(t.api_keys).where(t.api_keys.c.id.in_(forgotten)))
    connection.execute(COUNT)


def revoke_key(connection: Connection, key_id: str, at: int) -> None:
    x = t.api_keys.c
    connection.execute(sa.update(t.api_keys).where(x.id == key_id, x.revoked_at == 0).values(revoked_at=at))
    connection.execute(COUNT)


def add_share(connection: Connection, share: Share, forgotten: Sequence[str] = ()) -> None:
    """`forgotten`: the ids of shares that are over."""
    connection.execute(sa.insert(t.shares), msgspec.structs.asdict(share))
    connection.execute(sa.delete(t.shares).where(t.shares.c.id.in_(forgotten)))
    connection.execute(COUNT)


def revoke_share(connection: Connection, share_id: str, at: int) -> None:
    x = t.shares.c
    connection.execute(sa.update(t.shares).where(x.id == share_id, x.revoked_at == 0).values(revoked_at=at))
    connection.execute(COUNT)


# Signs of life: they change nobody's rights, so they do not count


def key_used(connection: Connection, key_id: str, at: int) -> None:
    connection.execute(sa.update(t.api_keys).where(t.api_keys.c.id == key_id).values(used_at=at))


def user_seen(connection: Connection, name: str, at: int) -> None:
    connection.execute(sa.update(t.users).where(t.users.c.name == name).values(seen_at=at))


# The audit


def note(connection: Connection, entry: AuditEntry) -> None:
    row = msgspec.structs.asdict(entry) | {"detail": msgspec.json.encode(entry.detail)}
    connection.execute(sa.insert(t.audit), row)


def conclude(connection: Connection, entry_id: str, outcome: str, subject: str, detail: dict[str, Any]) -> None:
    values = {"outcome": outcome, "detail": msgspec.json.encode(detail), **({"subject": subject} if subject else {})}
    connection.execute(sa.update(t.audit).where(t.audit.c.id == entry_id), values)


def entries(connection: Connection, wanted: dict[str, str], since: int, until: int, before: str, limit: int) -> Any:
    """The newest entries first, older than `before`; `wanted` gives what action, by and subject must be. An action that
    ends with a dot means all that begin with it."""
    x = t.audit.c
    statement = sa.select(t.audit).order_by(x.id.desc()).limit(limit)
    for name, value in wanted.items():
        is_group = name == "action" and value.endswith(".")
        statement = statement.where(x[name].startswith(value, autoescape=True) if is_group else x[name] == value)
    if since:
        statement = statement.where(x.at >= since)
    if until:
        statement = statement.where(x.at < until)
    if before:
        statement = statement.where(x.id < before)
    return [_entry(row) for row in connection.execute(statement)]


# Parts


def _added(connection: Connection, table: sa.Table, row: dict[str, Any]) -> bool:
    statement = insert_of(table, connection.dialect.name).values(row).on_conflict_do_nothing()
    is_new = connection.execute(statement.returning(table.c.name)).first() is not None
    connection.execute(COUNT)
    return is_new


def _all(connection: Connection, table: sa.Table, shape: type[Any]) -> Sequence[Any]:
    rows = connection.execute(sa.select(table)).mappings()
    return [msgspec.convert({str(key): row[key] for key in row}, shape, strict=False) for row in rows]


def _tenant(row: Any) -> Tenant:
    return Tenant(
        name=row.name,
        title=row.title,
        quotas=msgspec.json.decode(row.quotas),
        disabled=bool(row.disabled),
        created_at=row.created_at,
    )


def _tenant_row(tenant: Tenant) -> dict[str, Any]:
    row = msgspec.structs.asdict(tenant)
    return row | {"quotas": msgspec.json.encode(tenant.quotas), "disabled": int(tenant.disabled)}


def _entry(row: Any) -> AuditEntry:
    found = {str(key): value for key, value in row._mapping.items()}
    return AuditEntry(**(found | {"detail": msgspec.json.decode(row.detail)}))


CHANGES = sa.select(t.tenants.c.changes).where(t.tenants.c.name == HOME)
COUNT = sa.update(t.tenants).where(t.tenants.c.name == HOME).values(changes=t.tenants.c.changes + 1)
