"""How much room the tables take, with their indices."""

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.engine import Connection

from agentspan.store import tables as t
from agentspan.store.copying import count


class Size(Struct, frozen=True):
    """A table's bytes; -1 rows were not counted."""

    table: str
    bytes: int
    rows: int = -1


def sizes(connection: Connection) -> list[Size]:
    """Every table, the largest first, with its rows counted: SQLite reads the whole file for it."""
    statement = POSTGRESQL if _is_postgresql(connection) else SQLITE
    found = {row.name: int(row.bytes) for row in connection.execute(statement)}
    made = [Size(str(table.name), found.get(table.name, 0), count(connection, table)) for table in ALL]
    return sorted(made, key=lambda each: -each.bytes)


def quick(connection: Connection) -> list[Size]:
    """What costs nothing to know: each table's bytes on PostgreSQL, those of the whole database on SQLite."""
    if _is_postgresql(connection):
        return [Size(str(row.name), int(row.bytes)) for row in connection.execute(POSTGRESQL) if row.name in NAMES]
    pages = connection.exec_driver_sql("pragma page_count").scalar_one()
    return [Size("all", int(pages) * int(connection.exec_driver_sql("pragma page_size").scalar_one()))]


def total(connection: Connection) -> int:
    """The bytes of all tables, or of the file."""
    return sum(each.bytes for each in quick(connection))


def _is_postgresql(connection: Connection) -> bool:
    return connection.dialect.name == "postgresql"


ALL = tuple(t.metadata.sorted_tables)
NAMES = frozenset(table.name for table in ALL)
SQLITE = sa.text(
    "select coalesce(m.tbl_name, s.name) as name, sum(s.pgsize) as bytes"
    " from dbstat s left join sqlite_master m on m.name = s.name where s.aggregate = 1 group by 1"
)
POSTGRESQL = sa.text(
    "select c.relname as name, pg_total_relation_size(c.oid) as bytes from pg_class c"
    " where c.relnamespace = current_schema()::regnamespace and c.relkind = 'r'"
)
