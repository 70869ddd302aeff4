"""Lists of runs, page by page, however many there are: each page begins where the last one ended.

The best filter of a question is answered by an index, which gives candidates in the order of the list; the others are
tried on these. So that no question takes long, a page is given up after so many candidates, and says where to go on.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import ARRAY
from sqlalchemy.engine import Connection

from agentspan.clock import now_ms
from agentspan.core.ids import execution_id
from agentspan.errors import BadInput
from agentspan.store import tables as t
from agentspan.store.views import ExecutionRow, Facets, Listed, Page, Want, Wanted

CHUNKS = (500, 4_500)
"""So many candidates are looked at, in steps, where a filter has no index of its own."""
COUNTED = 10_000
FACET_VALUES = 50
WAITING_KEPT = 20_000
UNATTENDED_MS = 15_000
"""A queue that nobody polled for so long has no live worker."""
FRESH_MS = 2_000
"""A task younger than this is not yet said to wait in vain."""

LastPoll = Callable[[Want], int]


class Order(Struct, frozen=True):
    """By what a list is sorted: started, ended or updated. What has no end is older than any end."""

    by: str = "started"
    newest_first: bool = True


class Asked(Struct, frozen=True):
    """A question about runs. `trees` are those that wait for what is wanted, None if that is not asked."""

    wanted: Wanted
    order: Order
    trees: Sequence[str] | None = None


def page(
    connection: Connection, wanted: Wanted, order: Order, cursor: str, size: int, last_poll: LastPoll, *, count: bool
) -> Page:
    """A page of runs from `cursor` on; with `count`, how many there are, up to COUNTED."""
    asked = question(connection, wanted, order, last_poll)
    total, capped = counted(connection, asked) if count else (-1, False)
    rows, after = _rows(connection, asked, _place(cursor, order), size)
    return Page(runs=_listed(connection, rows, last_poll), cursor=after, total=total, capped=capped)


def facets(connection: Connection, wanted: Wanted, last_poll: LastPoll) -> Facets:
    """The values of the newest COUNTED runs."""
    asked = question(connection, wanted, Order(), last_poll)
    found = _chosen(asked, candidates(connection, asked, None, COUNTED), *FACETS).subquery()
    sums = sa.select(*found.c, sa.func.count().label("runs")).group_by(*found.c)
    counts: list[Counter[str]] = [Counter() for _ in FACETS]
    for *values, runs in connection.execute(sums):
        for counter, value in zip(counts, values, strict=True):
            counter[value] += runs
    status, agent, model, finish = ({key: n for key, n in each.most_common(FACET_VALUES) if key} for each in counts)
    waiting, cut = {}, _last(connection, asked, None, COUNTED) is not None
    for word, trees in waiting_trees(connection, last_poll).items():
        chosen = trees if asked.trees is None else sorted(set(trees) & set(asked.trees))
        waiting[word], more = counted(connection, replace(asked, trees=chosen)) if chosen else (0, False)
        cut |= more
    return Facets(status=status, agent_name=agent, model=model, finish_reason=finish, waiting=waiting, capped=cut)


def question(connection: Connection, wanted: Wanted, order: Order, last_poll: LastPoll) -> Asked:
    """The question with what has to be looked up for it."""
    if _ID.fullmatch(wanted.text):
        return Asked(replace(wanted, text=""), order, [wanted.text])
    if not wanted.waiting:
        return Asked(wanted, order)
    return Asked(wanted, order, waiting_trees(connection, last_poll)[wanted.waiting])


def counted(connection: Connection, asked: Asked) -> tuple[int, bool]:
    """How many runs there are among the first COUNTED candidates, and whether there may be more."""
    if not _rest(asked):
        rows = candidates(connection, asked, None, COUNTED + 1).subquery()
        total = connection.execute(sa.select(sa.func.count()).select_from(rows)).scalar_one()
        return min(total, COUNTED), total > COUNTED
    rows = _chosen(asked, candidates(connection, asked, None, COUNTED), _x.tree).subquery()
    total = connection.execute(sa.select(sa.func.count()).select_from(rows)).scalar_one()
    return total, _last(connection, asked, None, COUNTED) is not None


def waiting_trees(connection: Connection, last_poll: LastPoll) -> dict[str, list[str]]:
    """The runs that wait for a person, and those with a task that no live worker polls for."""
    people = {row.tree for row in connection.execute(PEOPLE)}
    before = {"before": now_ms() - FRESH_MS}
    alone = unserved(connection.execute(READY, before), last_poll)
    return {"person": sorted(people), "worker": sorted({row.tree for row in alone})}


def unserved(rows: Iterable[Any], last_poll: LastPoll) -> list[Any]:
    """Those of the ready tasks whose queue no live worker polls."""
    now, known = now_ms(), dict[tuple[str, str], bool]()
    found = []
    for row in rows:
        key = row.queue, row.domain
        if key not in known:
            known[key] = row.queue.startswith("@") or now - last_poll(Want(*key)) < UNATTENDED_MS
        if not known[key]:
            found.append(row)
    return found


def candidates(connection: Connection, asked: Asked, place: tuple[int, str] | None, count: int) -> Any:
    """Tree and sort key (`at`) of the first `count` runs after a place, by the filter that an index answers."""
    order = asked.order
    parts = [
        _ordered(sa.select(_x.tree, key.label("at")).where(_root, *where, *_after(key, order, place)), order)
        for key, where in _parts(connection, asked)
    ]
    if len(parts) == 1:
        return parts[0].limit(count)
    both = sa.union_all(*(sa.select(part.limit(count).subquery()) for part in parts)).subquery()
    return _ordered(sa.select(both.c.tree, both.c.at), order).limit(count)


def _rows(connection: Connection, asked: Asked, place: tuple[int, str] | None, size: int) -> tuple[list[Any], str]:
    """The rows of a page, and the cursor after them."""
    found: list[Any] = []
    for count in CHUNKS if _rest(asked) else (size + 1,):
        given = candidates(connection, asked, place, count)
        fit = _ordered(_chosen(asked, given), asked.order).limit(size + 1 - len(found)) if _rest(asked) else given
        found += connection.execute(_ordered(_whole(fit), asked.order))
        if len(found) > size:
            return found[:size], _cursor(asked.order, found[size - 1].at, found[size - 1].tree)
        last = _last(connection, asked, place, count)
        if last is None:
            return found, ""
        place = last.at, last.tree
    return found, _cursor(asked.order, *place) if place else ""


def _chosen(asked: Asked, given: Any, *columns: Any) -> Any:
    """The candidates that the other filters let pass: these columns, or tree and sort key."""
    given = given.subquery("candidates")
    source = given.join(t.executions, sa.and_(_x.tree == given.c.tree, _root))
    if asked.wanted.version is not None or asked.wanted.correlation_id:
        source = source.join(t.trees, t.trees.c.tree == _x.tree)
    return sa.select(*(columns or given.c)).select_from(source).where(*_rest(asked))


def _whole(given: Any) -> Any:
    """The rows of a page."""
    given = given.subquery("page")
    source = given.join(t.executions, sa.and_(_x.tree == given.c.tree, _root)).join(t.trees, t.trees.c.tree == _x.tree)
    return sa.select(*ROW, _x.preview, given.c.at).select_from(source)


def _last(connection: Connection, asked: Asked, place: tuple[int, str] | None, count: int) -> Any:
    """The last of `count` candidates; None if there are fewer, or no more."""
    given = candidates(connection, asked, place, count + 1).subquery()
    rows = _ordered(sa.select(given.c.tree, given.c.at), asked.order).offset(count - 1).limit(2)
    found = connection.execute(rows).all()
    return found[0] if len(found) == 2 else None


def _parts(connection: Connection, asked: Asked) -> list[tuple[Any, list[Any]]]:
    """The sort key and the conditions of each stretch of an index that has candidates."""
    if asked.trees is not None:
        key = {"started": _x.started_at, "ended": _x.ended_at, "updated": _x.updated_at}[asked.order.by]
        return [(key, [among(_x.tree, asked.trees, connection.dialect.name)])]
    if asked.order.by == "ended":
        return [(_x.ended_at, [])]
    if asked.order.by == "updated":
        # What has ended was updated last when it did; what has not is not much.
        return [(_x.ended_at, [_x.ended_at > 0]), (_x.updated_at, [_x.ended_at == 0])]
    column, values = _driver(asked)
    between = _between(asked.wanted)
    if column is None:
        return [(_x.started_at, between)]
    named = [_x.session_id != sa.literal_column("''")] if column is _x.session_id else []
    return [(_x.started_at, [column == value, *named, *between]) for value in values]


def _driver(asked: Asked) -> tuple[Any, Sequence[str]]:
    """The filter whose index gives the candidates, with its values; None if there is no such filter."""
    if asked.trees is not None or asked.order.by != "started":
        return None, ()
    return next(((column, values) for column, values in _indexed(asked.wanted) if values), (None, ()))


def _indexed(wanted: Wanted) -> list[tuple[Any, Sequence[str]]]:
    """The filters that have an index, the narrowest first."""
    return [
        (_x.session_id, [wanted.session_id] if wanted.session_id else []),
        (_x.agent, wanted.agent),
        (_x.model, wanted.model),
        (_x.finish_reason, wanted.finish_reason),
        (_x.status, wanted.status),
    ]


def _rest(asked: Asked) -> list[Any]:
    """The conditions that the candidates have still to meet."""
    wanted, driver = asked.wanted, _driver(asked)[0]
    found = [column.in_(values) for column, values in _indexed(wanted) if values and column is not driver]
    if asked.order.by != "started" or asked.trees is not None:
        found += _between(wanted)
    if wanted.correlation_id:
        found.append(t.trees.c.correlation_id == wanted.correlation_id)
    if wanted.version is not None:
        found.append(t.trees.c.version == wanted.version)
    if wanted.min_cost is not None:
        found.append(_cost >= wanted.min_cost)
    if wanted.text:
        places = (_x.preview, _x.reason, _x.agent, _x.tree)
        found.append(sa.or_(*(each.icontains(wanted.text, autoescape=True) for each in places)))
    return found


def _between(wanted: Wanted) -> list[Any]:
    since = [_x.started_at >= wanted.since] if wanted.since else []
    return [*since, *([_x.started_at < wanted.until] if wanted.until else [])]


def _after(key: Any, order: Order, place: tuple[int, str] | None) -> list[Any]:
    if place is None:
        return []
    here, there = sa.tuple_(key, _x.tree), sa.tuple_(*map(sa.literal, place))
    return [here < there if order.newest_first else here > there]


def _ordered(rows: Any, order: Order) -> Any:
    """In the order of the list: its rows have a sort key and a tree."""
    key, tree = rows.selected_columns.at, rows.selected_columns.tree
    return rows.order_by(key.desc(), tree.desc()) if order.newest_first else rows.order_by(key, tree)


def among(column: Any, values: Sequence[str], dialect: str) -> Any:
    """Whether a column has one of many values."""
    if dialect == "sqlite":
        given = sa.func.json_each(sa.literal(list(values), sa.JSON)).table_valued("value", name="among")
        return column.in_(sa.select(given.c.value))
    return column == sa.any_(sa.literal(list(values), ARRAY(sa.Text)))


def _listed(connection: Connection, rows: Sequence[Any], last_poll: LastPoll) -> list[Listed]:
    """The rows with the sums of their trees, and what each waits for."""
    trees = [row.tree for row in rows]
    if not trees:
        return []
    sums = {row.tree: row for row in connection.execute(TOTALS, {"trees": trees})}
    open_ = connection.execute(OPEN, {"trees": trees, "before": now_ms() - FRESH_MS}).all()
    waiting = {row.tree: "worker" for row in unserved(open_, last_poll)}
    waiting |= {row.tree: "person" for row in open_ if row.queue == "@human"}
    return [
        Listed(row=whole(line(row), sums[row.tree]), preview=row.preview, waiting=waiting.get(row.tree, ""))
        for row in rows
    ]


def whole(row: ExecutionRow, sums: Any) -> ExecutionRow:
    """A root's row with the tokens and the cost of all its executions."""
    return replace(row, **{name: getattr(sums, name) for name in SUMS})


def line(row: Any) -> ExecutionRow:
    return ExecutionRow(
        execution_id=execution_id(row.tree, row.number), root_id=row.tree, agent_name=row.agent, status=row.status,
        started_at=row.started_at, updated_at=row.updated_at, ended_at=row.ended_at, version=row.version,
        parent_id=execution_id(row.tree, row.parent) if row.number else "", finish_reason=row.finish_reason,
        reason=row.reason, session_id=row.session_id, correlation_id=row.correlation_id, run_id=row.run_id,
        priority=row.priority, prompt_tokens=row.prompt_tokens, completion_tokens=row.completion_tokens,
        cached_tokens=row.cached_tokens, reasoning_tokens=row.reasoning_tokens, cost=row.cost,
        unpriced=row.unpriced, turns=row.turns, model=row.model, forked_from=row.forked_from, forked_at=row.forked_at,
    )  # fmt: skip


def _cursor(order: Order, at: int, tree: str) -> str:
    return f"{order.by[0]}{int(order.newest_first)}:{at}:{tree}"


def is_number(text: str) -> bool:
    """Whether a part of a cursor is a number that the database can hold."""
    return text.isascii() and text.isdecimal() and len(text) < 19


def _place(cursor: str, order: Order) -> tuple[int, str] | None:
    """The place that a cursor of this order names."""
    if not cursor:
        return None
    kind, _, rest = cursor.partition(":")
    at, _, tree = rest.partition(":")
    if kind != _cursor(order, 0, "").partition(":")[0] or not is_number(at) or not tree or "\x00" in tree:
        raise BadInput("cursor must be the nextCursor of the page before, with the same sort")
    return int(at), tree


_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_x = t.executions.c
# As a literal, so that the indices of roots are used.
_root = _x.number == sa.literal_column("0")
_all = t.executions.alias("all")
_cost = sa.select(sa.func.sum(_all.c.cost)).where(_all.c.tree == _x.tree).correlate(t.executions).scalar_subquery()
FACETS = (_x.status, _x.agent, _x.model, _x.finish_reason)
ROW = (
    _x.tree, _x.number, _x.parent, _x.agent, _x.status, _x.started_at, _x.updated_at, _x.ended_at, _x.finish_reason,
    _x.reason, _x.session_id, _x.prompt_tokens, _x.completion_tokens, _x.cached_tokens, _x.reasoning_tokens, _x.cost,
    _x.unpriced, _x.turns, _x.model, t.trees.c.correlation_id, t.trees.c.run_id, t.trees.c.priority,
    t.trees.c.version, t.trees.c.forked_from, t.trees.c.forked_at,
)  # fmt: skip
SUMS = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens", "cost", "unpriced")
TOTALS = (
    sa.select(_x.tree, *(sa.cast(sa.func.sum(_x[name]), _x[name].type).label(name) for name in SUMS))
    .where(_x.tree.in_(sa.bindparam("trees", expanding=True)))
    .group_by(_x.tree)
)
HUMAN = sa.and_(t.tasks.c.queue == "@human", t.tasks.c.status == "IN_PROGRESS", t.tasks.c.owner == "")
_leased = t.tasks.c.status == sa.literal_column("'IN_PROGRESS'")
_stale = sa.and_(
    t.tasks.c.status == sa.literal_column("'SCHEDULED'"),
    t.tasks.c.available_at < sa.bindparam("before", type_=sa.BigInteger),
)
PEOPLE = sa.select(t.tasks.c.tree).where(HUMAN, _leased).limit(WAITING_KEPT)
READY = (
    sa.select(t.tasks.c.tree, t.tasks.c.queue, t.tasks.c.domain)
    .where(_stale)
    .order_by(t.tasks.c.available_at.desc())
    .limit(WAITING_KEPT)
)
OPEN = sa.select(t.tasks.c.tree, t.tasks.c.queue, t.tasks.c.domain).where(
    t.tasks.c.tree.in_(sa.bindparam("trees", expanding=True)), sa.or_(HUMAN, _stale)
)
