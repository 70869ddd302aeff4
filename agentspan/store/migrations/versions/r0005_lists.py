"""What lists and sums are read by: each execution's model, the indices of their filters, and what models cost.

An execution of before is taken to have asked its agent's model for everything, at its start; of a fork only the calls
that it made itself are counted, under the models that answered.
"""

import json
from collections.abc import Iterator
from typing import Any

from alembic import op
from sqlalchemy import BigInteger, Column, Double, String, Text, text
from sqlalchemy.engine import Connection

revision = "0005"
down_revision = "0004"

HOUR_MS = 3_600_000
AT_ONCE = 1_000
COUNTS = ("prompt_tokens", "completion_tokens", "cached_tokens")


def _number(name: str, kind: Any = BigInteger) -> Column[Any]:
    return Column(name, kind, nullable=False, server_default=text("0"))


def _word(name: str) -> Column[Any]:
    return Column(name, Text, nullable=False, server_default=text("''"))


def _key(name: str, kind: Any = BigInteger) -> Column[Any]:
    return Column(name, kind, primary_key=True, autoincrement=False)


def upgrade() -> None:
    op.add_column("executions", _word("model"))
    op.create_table(
        "spending",
        _key("tree", String(36)),
        _key("execution"),
        _key("model", Text),
        _key("hour"),
        _word("agent"),
        _word("root_agent"),
        _word("session_id"),
        _number("at"),
        _number("calls"),
        _number("prompt_tokens"),
        _number("completion_tokens"),
        _number("cached_tokens"),
        _number("cost", Double),
        _number("unpriced"),
    )
    _fill(op.get_bind())
    op.create_index("ix_spending_at", "spending", ["at"])
    for name in ("started_at", "agent", "status", "session"):
        op.drop_index(f"ix_executions_{name}", "executions")
    place, roots = ["started_at", "tree", "number"], text("number = 0")
    op.create_index("ix_executions_started_at", "executions", [*place, "status", "ended_at", "agent"])
    op.create_index("ix_executions_agent", "executions", ["agent", *place])
    op.create_index("ix_executions_status", "executions", ["status", *place])
    _partial("ix_executions_session", ["session_id", "started_at", "tree"], text("session_id != ''"))
    _partial("ix_executions_model", ["model", "started_at", "tree"], roots)
    _partial("ix_executions_finish", ["finish_reason", "started_at", "tree"], roots)
    _partial("ix_executions_ended", ["ended_at", "tree"], roots)


def _partial(name: str, columns: list[str], where: Any) -> None:
    op.create_index(name, "executions", columns, sqlite_where=where, postgresql_where=where)


def _fill(to: Connection) -> None:
    models: dict[str, dict[str, str]] = {}
    for digest, data in to.execute(text("select digest, data from specs")).all():
        models[digest] = dict(_models(json.loads(bytes(data))))
    after: dict[str, Any] = {"tree": "", "number": -1, "count": AT_ONCE}
    while rows := to.execute(text(EXECUTIONS), after).all():
        found = [(row, models.get(row.spec, {}).get(row.agent, "")) for row in rows]
        to.execute(
            text("update executions set model = :model where tree = :tree and number = :number"),
            [{"tree": row.tree, "number": row.number, "model": model} for row, model in found],
        )
        if spent := [_spent(row, model) for row, model in found if _asked(row) and not row.forked_from]:
            to.execute(text(SPENT), spent)
        after |= {"tree": rows[-1].tree, "number": rows[-1].number}
    for fork in to.execute(text("select tree, forked_at from trees where forked_from != ''")).all():
        if spent := list(_spent_by_fork(to, fork.tree, fork.forked_at)):
            to.execute(text(SPENT), spent)


def _models(config: Any) -> Iterator[tuple[str, str]]:
    """The names of the agents in a definition, each with its model, the outermost last."""
    if isinstance(config, list):
        for each in config:
            yield from _models(each)
    if isinstance(config, dict):
        for each in config.values():
            yield from _models(each)
        if isinstance(config.get("name"), str) and (model := _model(config)):
            yield config["name"], model


def _model(config: Any) -> str:
    """An agent's model; of a team that has none itself, the first one among its agents."""
    if not isinstance(config, dict):
        return ""
    own, agents = config.get("model"), config.get("agents")
    if isinstance(own, str) and own:
        return own
    return next((model for each in agents if (model := _model(each))), "") if isinstance(agents, list) else ""


def _asked(row: Any) -> bool:
    return bool(row.unpriced or row.cost or any(getattr(row, name) for name in COUNTS))


def _spent(row: Any, model: str) -> dict[str, Any]:
    usage = json.loads(bytes(row.run)).get("usage") or {}
    return {
        "tree": row.tree, "execution": row.number, "model": model, "hour": row.started_at // HOUR_MS,
        "agent": row.agent, "root_agent": row.root_agent, "session_id": row.session_id, "at": row.started_at,
        "calls": usage.get("calls", 0), **{name: getattr(row, name) for name in COUNTS}, "cost": row.cost,
        "unpriced": row.unpriced,
    }  # fmt: skip


def _spent_by_fork(to: Connection, tree: str, forked_at: int) -> Iterator[dict[str, Any]]:
    """What a fork's own model calls cost."""
    agents = {row.number: row.agent for row in to.execute(text(AGENTS), {"tree": tree})}
    llm, sums = set[int](), dict[tuple[int, str, int], dict[str, Any]]()
    for row in to.execute(text(EVENTS), {"tree": tree}):
        fact = json.loads(bytes(row.data))
        if fact["type"] == "TaskScheduled" and fact.get("kind") == "llm":
            llm.add(row.seq)
        if row.seq <= forked_at or fact["type"] != "TaskCompleted" or fact["task"] not in llm:
            continue
        output = json.loads(bytes(row.payload)) if row.payload else fact.get("output") or {}
        if "overflow" in output:
            continue
        key = row.execution, str(output.get("model") or ""), row.at // HOUR_MS
        sum_ = sums.setdefault(
            key,
            {
                "tree": tree, "execution": key[0], "model": key[1], "hour": key[2], "agent": agents.get(key[0], ""),
                "root_agent": agents.get(0, ""), "session_id": "", "at": row.at, "calls": 0,
                **dict.fromkeys(COUNTS, 0), "cost": 0.0, "unpriced": 0,
            },
        )  # fmt: skip
        sum_["calls"] += 1
        sum_["cost"] += output.get("cost") or 0.0
        sum_["unpriced"] += output.get("cost") is None
        for name in COUNTS:
            sum_[name] += (output.get("usage") or {}).get(name, 0)
    yield from sums.values()


EXECUTIONS = """
select x.tree, x.number, x.agent, x.session_id, x.started_at, x.prompt_tokens, x.completion_tokens, x.cached_tokens,
    x.cost, x.unpriced, x.run, t.spec, t.forked_from, r.agent as root_agent
from executions x join trees t on t.tree = x.tree join executions r on r.tree = x.tree and r.number = 0
where (x.tree, x.number) > (:tree, :number) order by x.tree, x.number limit :count
"""
SPENT = """
insert into spending (tree, execution, model, hour, agent, root_agent, session_id, at, calls, prompt_tokens,
    completion_tokens, cached_tokens, cost, unpriced)
values (:tree, :execution, :model, :hour, :agent, :root_agent, :session_id, :at, :calls, :prompt_tokens,
    :completion_tokens, :cached_tokens, :cost, :unpriced)
"""
AGENTS = "select number, agent from executions where tree = :tree"
EVENTS = """
select e.seq, e.execution, e.at, e.data, b.data as payload
from events e left join blobs b on b.tree = e.tree and b.digest = e.blob
where e.tree = :tree order by e.seq
"""
