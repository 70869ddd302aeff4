"""How much of what quotas bound is used."""

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.engine import Connection

from agentspan.store import tables as t


class Use(Struct, frozen=True):
    """Runs under way; runs begun, tokens and US dollars of model calls since two moments."""

    running: int
    started: int
    tokens: int
    dollars: float

    @classmethod
    def now(cls, connection: Connection, started_since: int, spent_since: int) -> "Use":
        running = connection.execute(RUNNING).scalar_one()
        started = connection.execute(STARTED, {"since": started_since}).scalar_one()
        tokens, dollars = connection.execute(SPENT, {"since": spent_since}).one()
        return cls(running, started, int(tokens or 0), float(dollars or 0))


_x, _s = t.executions.c, t.spending.c
RUNNING = sa.select(sa.func.count()).where(_x.status.in_(("RUNNING", "PAUSED")), _x.number == 0)
STARTED = sa.select(sa.func.count()).where(_x.started_at >= sa.bindparam("since"), _x.number == 0)
# A row is of one hour, and `at` its first call: a day that begins with an hour has all of its rows.
SPENT = sa.select(sa.func.sum(_s.prompt_tokens + _s.completion_tokens), sa.func.sum(_s.cost)).where(
    _s.at >= sa.bindparam("since")
)
