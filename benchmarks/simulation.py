"""What keeping runs costs, from a hundred thousand up to a thousand million: a SIMULATION from measured figures.

`python -m benchmarks.simulation [--runs N] [--write]` measures what a run leaves behind in a PostgreSQL with two
numbers of runs in it, takes the difference, and extends it: bytes in tables and in indexes, rows, the depth of the
largest index, and what the storage costs in a month. Nothing of that size was made.
"""

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.growth import fill
from benchmarks.server import Machine, Postgresql, machine

RESULT = Path(__file__).with_name("results") / "simulation.json"
SIZES = (10**5, 10**6, 10**7, 10**8, 10**9)
DOLLARS_PER_GB_MONTH = 0.115
"""What a gigabyte of a managed PostgreSQL's SSD costs in a month, about; replicas and backups come on top."""
DAYS_KEPT = 30
PAGE_BYTES, FILL = 8192, 0.9
KEY_BYTES = 36 + 8 + 16
"""A tree's id, a number, and what an entry of an index needs beside."""
GB = 1 << 30


@dataclass(frozen=True)
class Measured:
    """What one finished run leaves behind."""

    runs: int
    rows: dict[str, float]
    table_bytes: dict[str, float]
    index_bytes: dict[str, float]


def measure(where: Machine, runs: int) -> Measured:
    """The difference between two databases of which one has twice as many runs."""
    small, large = (sizes(where, count) for count in (runs, 2 * runs))
    per = {what: {table: (large[what][table] - small[what][table]) / runs for table in large[what]} for what in large}
    return Measured(runs, per["rows"], per["table"], per["index"])


def sizes(where: Machine, count: int) -> dict[str, dict[str, float]]:
    database = where.database("PostgreSQL")
    assert isinstance(database, Postgresql)
    fill(where, database, count)
    with psycopg.connect(database.plain_url, autocommit=True) as connection:
        connection.execute("vacuum full analyze")
        found = connection.execute(SIZES_OF).fetchall()
        rows = {name: connection.execute(f"select count(*) from {name}").fetchone() for name, _, _ in found}
    return {
        "rows": {name: float((row or (0,))[0]) for name, row in rows.items()},
        "table": {name: float(table) for name, table, _ in found},
        "index": {name: float(index) for name, _, index in found},
    }


def simulate(one: Measured, runs: int) -> dict[str, Any]:
    """The figures of so many runs, as if each left what one was measured to leave."""
    table, index = (sum(of.values()) * runs for of in (one.table_bytes, one.index_bytes))
    rows = {name: round(count * runs) for name, count in one.rows.items() if count * runs >= 1}
    most = max(rows.values(), default=1)
    return {
        "runs": runs,
        "rows": sum(rows.values()),
        "tables GB": round(table / GB, 2),
        "indexes GB": round(index / GB, 2),
        "levels of the largest index": levels(most),
        "dollars a month": round((table + index) / GB * DOLLARS_PER_GB_MONTH, 2),
        "runs a second, if kept for 30 days": round(runs / (DAYS_KEPT * 86_400), 2),
    }


def levels(rows: int) -> int:
    """How many pages lie on the way to an entry of a B-tree of so many."""
    per_page = int(PAGE_BYTES * FILL / KEY_BYTES)
    return max(1, math.ceil(math.log(max(2, rows), per_page)))


def table(one: Measured) -> str:
    """The simulation as Markdown."""
    found = [simulate(one, runs) for runs in SIZES]
    head = f"| {' | '.join(found[0])} |\n|{'---|' * len(found[0])}\n"
    return head + "".join(f"| {' | '.join(f'{value:,}' for value in each.values())} |\n" for each in found)


def main() -> None:
    asked = argparse.ArgumentParser(prog="python -m benchmarks.simulation")
    asked.add_argument("--runs", type=int, default=10_000)
    asked.add_argument("--write", action="store_true", help=f"keep what was measured in {RESULT.name}")
    given = asked.parse_args()
    with machine() as where:
        one = measure(where, given.runs)
    text = json.dumps({"measured": vars(one), "simulated": [simulate(one, runs) for runs in SIZES]}, indent=1)
    print(text, "\n" + table(one))
    if given.write:
        RESULT.write_text(text + "\n")


SIZES_OF = """
select relname, pg_table_size(oid), pg_indexes_size(oid) from pg_class
where relkind = 'r' and relnamespace = 'public'::regnamespace and relname <> 'alembic_version' order by relname
"""

if __name__ == "__main__":
    main()
