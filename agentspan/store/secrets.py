"""Secrets: named values, each encrypted by itself, and the record of which task was given which.

A row is AES-256-GCM under a key that is derived from the master key for one tenant, with what it is and its name as
associated data, so that no row can be passed off as another. It bears the id of its key, so that keys can change. The
secrets of webhooks are sealed in the same way, in the table of webhooks.
"""

import hashlib
import hmac
import os
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.engine import Connection

from agentspan.config import HOME
from agentspan.errors import ConfigurationProblem
from agentspan.store import bulk
from agentspan.store import tables as t

NONCE_BYTES = 12


class Keys:
    """What is derived from one master key of 32 bytes for one tenant: its id, the cipher of the values, the key that
    signs tokens."""

    def __init__(self, master: bytes, tenant: str = HOME) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        whose = "" if tenant == HOME else f" of tenant {tenant}"
        self.id = _derived(master, f"key id{whose}").hex()[:16]
        self.signing = _derived(master, f"execution tokens{whose}")
        self._cipher = AESGCM(_derived(master, f"secrets{whose}"))

    def seal(self, name: str, value: str, what: "What | None" = None) -> bytes:
        """The value as it is stored: a nonce, the ciphertext and its tag."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, value.encode(), (what or CREDENTIAL).associated(name))

    def open(self, kept: "Sealed", what: "What | None" = None) -> str:
        """The value. ConfigurationProblem if this key did not seal it under this name."""
        from cryptography.exceptions import InvalidTag

        what = what or CREDENTIAL
        nonce, sealed = kept.data[:NONCE_BYTES], kept.data[NONCE_BYTES:]
        try:
            return self._cipher.decrypt(nonce, sealed, what.associated(kept.name)).decode()
        except InvalidTag as problem:
            why = "was stored under another master key" if kept.key_id != self.id else "was changed in the database"
            raise ConfigurationProblem(
                f"the {what.called} {kept.name!r} {why}: set AGENTSPAN_MASTER_KEY, or AGENTSPAN_OLD_MASTER_KEYS, to the"
                f" key it was stored under, or store the {what.called} again"
            ) from problem


class Ring:
    """The keys of a server: the present one seals, and those before it still open what they have sealed."""

    def __init__(self, present: Keys, *before: Keys) -> None:
        self.present = present
        self.by_id = {each.id: each for each in (*before, present)}

    def open(self, kept: "Sealed", what: "What | None" = None) -> str:
        """The value. ConfigurationProblem if none of these keys sealed it under this name."""
        return self.by_id.get(kept.key_id, self.present).open(kept, what)


class Sealed(Struct, frozen=True):
    """A secret as it is stored."""

    name: str
    key_id: str
    data: bytes
    created_at: int = 0
    updated_at: int = 0


class What(Struct, frozen=True):
    """A kind of secret: how people call it, what is sealed into it beside its name, and where it is kept."""

    called: str
    seal: str
    table: sa.Table
    data: str

    def associated(self, name: str) -> bytes:
        return f"agentspan {self.seal}, version 1: {name}".encode()

    @property
    def rows(self) -> Any:
        """What is sealed of this kind, by name."""
        table = self.table
        return sa.select(table.c.name, table.c.key_id, table.c[self.data]).where(table.c.key_id != "")


def alone(connection: Connection) -> None:
    """Let no other transaction change secrets until this one is over: many changes in one transaction are in any order,
    and two servers would wait for each other."""
    if connection.dialect.name == "postgresql":
        connection.execute(ALONE)


def save(connection: Connection, kept: Sealed) -> None:
    """Store a secret, or replace the one of that name."""
    alone(connection)
    insert: Any = bulk.insert_of(t.secrets, connection.dialect.name)
    new = insert.excluded
    upsert = insert.on_conflict_do_update(
        index_elements=["name"], set_={"key_id": new.key_id, "data": new.data, "updated_at": new.updated_at}
    )
    row = {"name": kept.name, "key_id": kept.key_id, "data": kept.data}
    connection.execute(upsert, {**row, "created_at": kept.created_at, "updated_at": kept.updated_at})


def find(connection: Connection, names: Iterable[str]) -> dict[str, Sealed]:
    """The secrets behind these names, through their bindings; only those that there are."""
    wanted = list(names)
    bound = connection.execute(BINDINGS_OF, {"names": wanted})
    stored = {name: name for name in wanted} | {row.logical_key: row.store_name for row in bound}
    rows = connection.execute(SECRETS_OF, {"names": list(set(stored.values()))})
    found = {row.name: Sealed(*row) for row in rows}
    return {name: found[store] for name, store in stored.items() if store in found}


def one(connection: Connection, name: str) -> Sealed | None:
    """The secret that is stored under this very name."""
    row = connection.execute(SECRETS_OF, {"names": [name]}).first()
    return Sealed(*row) if row else None


def all_secrets(connection: Connection) -> Sequence[Sealed]:
    return [Sealed(*row) for row in connection.execute(sa.select(t.secrets).order_by(t.secrets.c.name))]


def delete(connection: Connection, name: str) -> None:
    alone(connection)
    connection.execute(sa.delete(t.secrets).where(t.secrets.c.name == name))


def bind(connection: Connection, logical_key: str, store_name: str) -> None:
    """Let a name stand for the secret of another."""
    insert: Any = bulk.insert_of(t.secret_bindings, connection.dialect.name)
    upsert = insert.on_conflict_do_update(
        index_elements=["logical_key"], set_={"store_name": insert.excluded.store_name}
    )
    connection.execute(upsert, {"logical_key": logical_key, "store_name": store_name})


def bindings(connection: Connection) -> dict[str, str]:
    rows = connection.execute(sa.select(t.secret_bindings).order_by(t.secret_bindings.c.logical_key))
    return {row.logical_key: row.store_name for row in rows}


def unbind(connection: Connection, logical_key: str) -> None:
    connection.execute(sa.delete(t.secret_bindings).where(t.secret_bindings.c.logical_key == logical_key))


def note(connection: Connection, uses: Iterable[tuple[str, int, str]], at: int) -> None:
    """Remember which task of which tree was given which secret; the first time counts."""
    rows = [{"tree": tree, "task": task, "name": name, "at": at} for tree, task, name in uses]
    bulk.insert(connection, t.secret_uses, rows, ignore=True)


def given_to(connection: Connection, tasks: Sequence[tuple[str, int]]) -> dict[tuple[str, int], set[str]]:
    """The names of the secrets that these tasks, by tree and number, were given."""
    found: dict[tuple[str, int], set[str]] = {}
    for row in connection.execute(USES_OF, {"tasks": list(tasks)}):
        found.setdefault((row.tree, row.task), set()).add(row.name)
    return found


def uses(connection: Connection, tree: str) -> list[tuple[int, str, int]]:
    """Task, name and time of every secret that a tree was given, in that order."""
    statement = sa.select(t.secret_uses).where(t.secret_uses.c.tree == tree)
    rows = connection.execute(statement.order_by(t.secret_uses.c.task, t.secret_uses.c.name))
    return [(row.task, row.name, row.at) for row in rows]


# Keys that change


def key_ids(connection: Connection) -> dict[str, int]:
    """How many secrets there are under each key; "" for those that are not sealed yet."""
    found: dict[str, int] = {}
    for what in KINDS:
        counted = sa.select(what.table.c.key_id, sa.func.count()).group_by(what.table.c.key_id)
        for key_id, count in connection.execute(counted):
            found[key_id] = found.get(key_id, 0) + count
    return found


def of_other_keys(connection: Connection, what: "What", key_id: str, after: str, limit: int) -> list[Sealed]:
    """Secrets under other keys than this, by name, from the one after `after` on."""
    name = what.table.c.name
    chosen = what.rows.where(what.table.c.key_id != key_id, name > after).order_by(name).limit(limit)
    return [Sealed(*row) for row in connection.execute(chosen)]


def reseal(connection: Connection, what: "What", old: Sealed, key_id: str, data: bytes) -> int:
    """Put the same value, sealed anew, in the place of a row, unless that has changed meanwhile."""
    alone(connection)
    table = what.table
    same = (table.c.name == old.name) & (table.c.key_id == old.key_id) & (table.c[what.data] == old.data)
    return connection.execute(sa.update(table).where(same).values({"key_id": key_id, what.data: data})).rowcount


def _derived(master: bytes, purpose: str) -> bytes:
    """A key of its own for each purpose: what one of them gives away says nothing of the others."""
    return hmac.new(master, f"agentspan {purpose}, version 1".encode(), hashlib.sha256).digest()


ALONE = sa.text("select pg_advisory_xact_lock(6768, hashtext(current_schema()))")
CREDENTIAL = What("credential", "secret", t.secrets, "data")
WEBHOOK = What("secret of the webhook", "webhook secret", t.hooks, "sealed")
KINDS = (CREDENTIAL, WEBHOOK)

_names: Any = sa.bindparam("names", expanding=True)
USES_OF = sa.select(t.secret_uses).where(
    sa.tuple_(t.secret_uses.c.tree, t.secret_uses.c.task).in_(sa.bindparam("tasks", expanding=True))
)
SECRETS_OF = sa.select(t.secrets).where(t.secrets.c.name.in_(_names))
BINDINGS_OF = sa.select(t.secret_bindings).where(t.secret_bindings.c.logical_key.in_(_names))
