"""Sums over many runs: how they ended, how long they took, what they cost. All runs are roots."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from agentspan.core.ids import execution_id
from agentspan.store import tables as t
from agentspan.store.listing import HUMAN, LastPoll, waiting_trees
from agentspan.store.views import (
    AgentSum,
    Bucket,
    CostRow,
    Costs,
    Durations,
    Failure,
    Statistics,
    Totals,
    Waits,
)

DAY_MS = 86_400_000
SAMPLED = 10_000
"""So many of the newest runs tell how long runs take."""
FAILED_SAMPLED = 2_000
"""So many of the newest ones that failed tell why."""
AGENTS = 50
FAILURES = 50
COST_ROWS = 1_000
REASON_CHARS = 300
FAILED = ("FAILED", "TIMED_OUT")


def statistics(
    connection: Connection, since: int, until: int, buckets: int, agent: str, last_poll: LastPoll
) -> Statistics:
    """The runs that began from `since` to `until`, in so many buckets; of one agent, if it is named."""
    width = max(1, -(-(until - since) // buckets))
    begun, spent = _began(since, until, agent), _was_spent(since, until, agent)
    runs, money = _runs(connection, begun, since, width), _money(connection, spent, since, width)
    by_status, by_place = _counts(runs), _sums(money, "place")
    status = Counter[str]()
    for counts in by_status.values():
        status.update(counts)
    ended = _ended(connection, begun)
    places = range(-(-(until - since) // width))
    return Statistics(
        since=since,
        until=until,
        bucket_ms=width,
        buckets=[_bucket(since + place * width, by_status.get(place, {}), by_place.get(place, {})) for place in places],
        totals=_totals(dict(status), money),
        durations=_durations(ended),
        failures=_failures(connection, begun),
        agents=_agents(runs, _sums(money, "root_agent"), ended),
        waiting=_waits(connection, last_poll),
    )


def costs(connection: Connection, by: str, since: int, until: int) -> Costs:
    """What was spent from `since` to `until`: the dearest first, days in their order."""
    spent = _was_spent(since, until, "")
    key = KEYS[by]
    rows = sa.select(key.label("key"), *COST_SUMS).where(*spent).group_by("key")
    ordered = rows.order_by(sa.desc("key") if by == "day" else sa.desc("cost"), sa.desc("calls")).limit(COST_ROWS)
    found = [_cost_row(_day(row.key) if by == "day" else row.key, row) for row in connection.execute(ordered)]
    total = connection.execute(sa.select(*COST_SUMS).where(*spent)).one()
    return Costs(
        since=since, until=until, by=by, rows=found[::-1] if by == "day" else found, total=_cost_row("", total)
    )


def _began(since: int, until: int, agent: str) -> list[Any]:
    named = [_x.agent == agent] if agent else []
    return [_x.number == sa.literal_column("0"), _x.started_at >= since, _x.started_at < until, *named]


def _was_spent(since: int, until: int, agent: str) -> list[Any]:
    named = [_s.root_agent == agent] if agent else []
    return [_s.at >= since, _s.at < until, *named]


def _runs(connection: Connection, begun: list[Any], since: int, width: int) -> Sequence[Any]:
    """How many runs of each bucket and agent have which status."""
    source = sa.select(((_x.started_at - since) // width).label("place"), _x.agent, _x.status).where(*begun).subquery()
    rows = sa.select(*source.c, sa.func.count().label("runs")).group_by(*source.c)
    return connection.execute(rows).all()


def _money(connection: Connection, spent: list[Any], since: int, width: int) -> Sequence[Any]:
    """What the runs of each agent spent in each bucket."""
    place = ((_s.at - since) // width).label("place")
    source = sa.select(place, _s.root_agent, *(_s[name] for name in SUMMED)).where(*spent).subquery()
    sums = (_sum(source.c[name]).label(name) for name in SUMMED)
    keys = source.c.place, source.c.root_agent
    return connection.execute(sa.select(*keys, *sums).group_by(*keys)).all()


def _counts(runs: Sequence[Any]) -> dict[int, Counter[str]]:
    """How many runs of each bucket have which status."""
    found: dict[int, Counter[str]] = {}
    for row in runs:
        found.setdefault(int(row.place), Counter())[row.status] += row.runs
    return found


def _sums(money: Sequence[Any], key: str) -> dict[Any, dict[str, Any]]:
    """What was spent, by one column."""
    found: dict[Any, dict[str, Any]] = {}
    for row in money:
        sums = found.setdefault(getattr(row, key), dict.fromkeys(SUMMED, 0))
        for name in SUMMED:
            sums[name] += getattr(row, name)
    return found


def _bucket(at: int, counts: Counter[str] | dict[str, int], money: dict[str, Any]) -> Bucket:
    tokens = money.get("prompt_tokens", 0) + money.get("completion_tokens", 0)
    return Bucket(at=at, counts=dict(counts), cost=float(money.get("cost", 0.0)), tokens=tokens)


def _totals(status: dict[str, int], money: Sequence[Any]) -> Totals:
    sums = {name: sum(getattr(row, name) for row in money) for name in SUMMED}
    return Totals(
        runs=sum(status.values()), status=status, cost=float(sums["cost"]), cost_unknown=sums["unpriced"] > 0,
        prompt_tokens=sums["prompt_tokens"], completion_tokens=sums["completion_tokens"],
        cached_tokens=sums["cached_tokens"],
    )  # fmt: skip


def _ended(connection: Connection, begun: list[Any]) -> list[tuple[str, int]]:
    """Agent and duration of the newest runs that have ended."""
    rows = sa.select(_x.agent, _x.ended_at - _x.started_at).where(*begun, _x.ended_at > 0)
    return [(row[0], max(0, row[1])) for row in connection.execute(rows.order_by(_x.started_at.desc()).limit(SAMPLED))]


def _durations(ended: Sequence[tuple[str, int]]) -> Durations:
    times = sorted(time for _, time in ended)
    return Durations(p50=percentile(times, 50), p95=percentile(times, 95), count=len(times))


def percentile(times: Sequence[int], percent: int) -> int:
    """The nearest rank of sorted numbers; 0 of none."""
    return times[max(0, -(-len(times) * percent // 100) - 1)] if times else 0


def _failures(connection: Connection, begun: list[Any]) -> list[Failure]:
    """Why runs failed, the most frequent reason first."""
    rows = sa.select(_x.tree, _x.number, _x.agent, _x.reason, _x.ended_at).where(*begun, _x.status.in_(FAILED))
    counts, last = Counter[tuple[str, str]](), dict[tuple[str, str], tuple[int, str]]()
    for row in connection.execute(rows.order_by(_x.started_at.desc()).limit(FAILED_SAMPLED)):
        key = row.agent, " ".join(row.reason.split())[:REASON_CHARS]
        counts[key] += 1
        last[key] = max(last.get(key, (0, "")), (row.ended_at, execution_id(row.tree, row.number)))
    return [
        Failure(agent_name=key[0], reason=key[1], count=count, last_execution_id=last[key][1], last_at=last[key][0])
        for key, count in counts.most_common(FAILURES)
    ]


def _agents(
    counted: Sequence[Any], money: dict[Any, dict[str, Any]], ended: Sequence[tuple[str, int]]
) -> list[AgentSum]:
    """The agents with the most runs; what their runs cost counts all agents below them."""
    runs, failed = Counter[str](), Counter[str]()
    for row in counted:
        runs[row.agent] += row.runs
        failed[row.agent] += row.runs if row.status in FAILED else 0
    times: dict[str, list[int]] = {}
    for agent, time in sorted(ended, key=lambda each: each[1]):
        times.setdefault(agent, []).append(time)
    return [
        AgentSum(
            agent_name=agent, runs=count, failed=failed[agent], cost=float(money.get(agent, {}).get("cost", 0.0)),
            p50=percentile(times.get(agent, ()), 50), p95=percentile(times.get(agent, ()), 95),
        )
        for agent, count in runs.most_common(AGENTS)
    ]  # fmt: skip


def _waits(connection: Connection, last_poll: LastPoll) -> Waits:
    requests, oldest = connection.execute(REQUESTS).one()
    alone = len(waiting_trees(connection, last_poll)["worker"])
    return Waits(requests=requests, oldest_request_at=oldest or 0, without_worker=alone)


def _cost_row(key: str, row: Any) -> CostRow:
    return CostRow(
        key=key, runs=row.runs, calls=row.calls or 0, prompt_tokens=row.prompt_tokens or 0,
        completion_tokens=row.completion_tokens or 0, cached_tokens=row.cached_tokens or 0, cost=row.cost or 0.0,
        unpriced=row.unpriced or 0,
    )  # fmt: skip


def _day(number: int) -> str:
    return datetime.fromtimestamp(number * DAY_MS / 1000, UTC).date().isoformat()


def _sum(column: Any) -> Any:
    return sa.cast(sa.func.sum(column), column.type)


_x, _s = t.executions.c, t.spending.c
SUMMED = ("prompt_tokens", "completion_tokens", "cached_tokens", "cost", "unpriced")
COST_SUMS = (
    sa.func.count(sa.distinct(_s.tree)).label("runs"),
    *(_sum(_s[name]).label(name) for name in ("calls", *SUMMED)),
)
KEYS = {
    "agent": _s.agent,
    "model": _s.model,
    "session": _s.session_id,
    "day": _s.hour // sa.literal_column("24"),
}
REQUESTS = sa.select(sa.func.count(), sa.func.min(t.tasks.c.scheduled_at)).where(HUMAN)
