"""Many rows by one statement: `executemany` on SQLite, arrays unfolded by the server on PostgreSQL.

PostgreSQL would take a message for each row of an `executemany`, which costs more than the row.
"""

import json
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ARRAY
from sqlalchemy.engine import Connection

Rows = Sequence[dict[str, Any]]


def insert(connection: Connection, table: sa.Table, rows: Rows, *, ignore: bool = False) -> None:
    """Insert rows that all have the same keys; with `ignore`, only those whose key is new."""
    if rows:
        _run(connection, _insert(table, tuple(rows[0]), _dialect(connection), ignore), rows)


def add(connection: Connection, table: sa.Table, rows: Rows, names: tuple[str, ...]) -> None:
    """Insert rows; where the key is there already, add the columns `names` to it. No key may come twice."""
    if rows:
        _run(connection, _add(table, tuple(rows[0]), _dialect(connection), names), rows)


def put(connection: Connection, table: sa.Table, rows: Rows, names: tuple[str, ...]) -> None:
    """Insert rows; where the key is there already, set the columns `names` of it. No key may come twice."""
    if rows:
        _run(connection, _put(table, tuple(rows[0]), _dialect(connection), names), rows)


def update(connection: Connection, table: sa.Table, rows: Rows) -> None:
    """Update the rows with these primary keys to the other values."""
    if rows:
        _run(connection, _update(table, tuple(rows[0]), _dialect(connection)), rows)


def delete(connection: Connection, table: sa.Table, rows: Rows) -> None:
    """Delete the rows with these primary keys."""
    if rows:
        _run(connection, _delete(table, _dialect(connection)), rows)


def keyed(table: sa.Table, dialect: str) -> tuple[Any, Any]:
    """Rows of the parameter `keys` to join a table with, and the condition of the join on its first two columns.

    A list of pairs beside IN makes SQLite read the whole table. The parameter is what `keys` makes of the pairs.
    """
    first, second = list(table.primary_key)
    if dialect == "sqlite":
        given = sa.func.json_each(sa.bindparam("keys")).table_valued("value", name="wanted")
        parts = [sa.func.json_extract(given.c.value, f"$[{place}]") for place in (0, 1)]
    else:
        given = _unfolded("wanted", {"tree": (first, "keys_tree"), "number": (second, "keys_number")})
        parts = [given.c.tree, given.c.number]
    return given, sa.and_(first == parts[0], second == parts[1])


def keys(pairs: Iterable[tuple[str, int]], dialect: str) -> dict[str, Any]:
    """The parameters of `keyed`."""
    pairs = list(pairs)
    if dialect == "sqlite":
        return {"keys": json.dumps(pairs)}
    return {"keys_tree": [tree for tree, _ in pairs], "keys_number": [number for _, number in pairs]}


def pipeline(connection: Connection) -> AbstractContextManager[Any]:
    """Send statements whose results nobody reads without waiting for each (PostgreSQL)."""
    raw = connection.connection.driver_connection
    return nullcontext() if _dialect(connection) == "sqlite" or raw is None else raw.pipeline()


def _dialect(connection: Connection) -> str:
    return connection.dialect.name


def _run(connection: Connection, statement: Any, rows: Rows) -> None:
    """Straight to the driver: what SQLAlchemy does around a statement costs several times the statement itself."""
    dialect = connection.dialect
    text, places = _compiled(statement, dialect)
    raw: Any = connection.connection.driver_connection
    try:
        if places is None:
            raw.execute(text, {f"v_{key}": [row[key] for row in rows] for key in rows[0]})
        else:
            raw.executemany(text, [[row[place] for place in places] for row in rows])
    except dialect.loaded_dbapi.Error as problem:
        if dialect.is_disconnect(problem, raw, None):
            connection.invalidate(problem)
        kind = dialect.loaded_dbapi.Error
        raise sa.exc.DBAPIError.instance(text, None, problem, kind, dialect=dialect) from problem


@cache
def _compiled(statement: Any, dialect: Any) -> tuple[str, list[str] | None]:
    """A statement's text, and the columns of its places in order if the driver counts places."""
    compiled = statement.compile(dialect=dialect)
    places = compiled.positiontup
    return str(compiled), None if places is None else [place.removeprefix("v_") for place in places]


def alone(connection: Connection, what: str) -> None:
    """Until the end of the transaction, nobody else is where `what` is named (SQLite has one writer anyway)."""
    if _dialect(connection) != "sqlite":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(what, 6767))))


def insert_of(table: sa.Table, dialect: str) -> Any:
    """The dialect's own INSERT, which knows what to do on a conflict. PostgreSQL's is slow to load."""
    if dialect == "sqlite":
        from sqlalchemy.dialects.sqlite import insert
    else:
        from sqlalchemy.dialects.postgresql import insert  # type: ignore[assignment]
    return insert(table)


@cache
def _insert(table: sa.Table, names: tuple[str, ...], dialect: str, ignore: bool) -> Any:
    statement = _plain(table, names, dialect)
    return statement.on_conflict_do_nothing() if ignore else statement


@cache
def _add(table: sa.Table, names: tuple[str, ...], dialect: str, sums: tuple[str, ...]) -> Any:
    statement = _plain(table, names, dialect)
    values = {name: table.c[name] + statement.excluded[name] for name in sums}
    return statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=values)


@cache
def _put(table: sa.Table, names: tuple[str, ...], dialect: str, changed: tuple[str, ...]) -> Any:
    statement = _plain(table, names, dialect)
    values = {name: statement.excluded[name] for name in changed}
    return statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=values)


def _plain(table: sa.Table, names: tuple[str, ...], dialect: str) -> Any:
    if dialect == "sqlite":
        values: dict[str, Any] = {name: sa.bindparam(f"v_{name}") for name in names}
        return insert_of(table, dialect).values(values)
    given = _given(table, names)
    # The parser would take the conflict for the condition of a join if there were no condition.
    source = sa.select(*(given.c[name] for name in names)).where(sa.true())
    return insert_of(table, dialect).from_select(names, source)


@cache
def _update(table: sa.Table, names: tuple[str, ...], dialect: str) -> Any:
    keys = [column.name for column in table.primary_key]
    source = _source(table, names, dialect)
    values = {name: source[name] for name in names if name not in keys}
    return sa.update(table).where(*(table.c[key] == source[key] for key in keys)).values(values)


@cache
def _delete(table: sa.Table, dialect: str) -> Any:
    keys = [column.name for column in table.primary_key]
    source = _source(table, tuple(keys), dialect)
    return sa.delete(table).where(*(table.c[key] == source[key] for key in keys))


def _source(table: sa.Table, names: tuple[str, ...], dialect: str) -> dict[str, Any]:
    """Where the values come from: a parameter each, or a column of the unfolded arrays."""
    if dialect == "sqlite":
        return {name: sa.bindparam(f"v_{name}") for name in names}
    given = _given(table, names)
    return {name: given.c[name] for name in names}


def _given(table: sa.Table, names: tuple[str, ...]) -> Any:
    return _unfolded("given", {name: (table.c[name], f"v_{name}") for name in names})


def _unfolded(name: str, columns: dict[str, tuple[Any, str]]) -> Any:
    """Arrays as rows: for each column its type's model and the parameter that holds its array."""
    arrays = [
        sa.cast(sa.bindparam(given, type_=ARRAY(like.type)), ARRAY(like.type)) for like, given in columns.values()
    ]
    parts = [sa.column(column, like.type) for column, (like, _) in columns.items()]
    return sa.func.unnest(*arrays).table_valued(*parts, name=name).render_derived()
