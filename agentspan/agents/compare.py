"""Two runs side by side: the first difference, and what each took, as an object, as text and as a table."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agentspan.agents.handle import AgentHandle
from agentspan.agents.host import Host, own_host
from agentspan.agents.result import AgentResult
from agentspan.agents.showing import Shown

if TYPE_CHECKING:
    import pandas as pd

Json = dict[str, Any]
Run = str | AgentHandle | AgentResult
"""A run: its execution id, its handle or its result."""


@dataclass(frozen=True)
class Change:
    """One place in which two steps differ; None stands for what is not there."""

    path: str
    a: Any
    b: Any

    def __str__(self) -> str:
        return f"{self.path}: {_short(self.a)} → {_short(self.b)}"


@dataclass(frozen=True)
class Difference:
    """The first step that differs: in `changes` of what was asked or came of it, or it is there in one run alone.

    `messages` is what differs in what the model was shown there; nothing if the same question was answered otherwise.
    """

    row: int
    kind: str
    agent: str
    name: str
    turn: int
    a_event: int | None
    b_event: int | None
    changes: list[Change]
    messages: list[Change]

    def __str__(self) -> str:
        where = f"step {self.row + 1}, {' '.join(p for p in (self.kind, self.name) if p)} of {self.agent}"
        where += f", turn {self.turn}" if self.turn else ""
        if self.a_event is None or self.b_event is None:
            return f"{where}: only in {'b' if self.a_event is None else 'a'}"
        return f"{where}: {'; '.join(map(str, self.changes))}"


@dataclass(frozen=True, repr=False)
class Comparison(Shown):
    """Two runs, step by step. `rows` are the steps of both, `a` and `b` what each run took in all (tokens, cost in US
    dollars, time in ms), `definition` what differs in the agents, `shared` how many events both have by a fork.

    It is the `same` if every step of one is a step of the other, whatever it took. As an exit code: 0 or 1.
    """

    same: bool
    a: Json
    b: Json
    shared: int
    definition: list[Change]
    first_difference: Difference | None
    rows: list[Json] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0 if the runs are the same, 1 if they differ."""
        return 0 if self.same else 1

    def to_pandas(self) -> "pd.DataFrame":
        """The rows as a DataFrame; needs pandas."""
        try:
            import pandas as pd
        except ModuleNotFoundError as problem:
            raise ModuleNotFoundError("to_pandas() needs pandas: pip install pandas") from problem
        return pd.DataFrame(self.rows, columns=COLUMNS)

    def __repr__(self) -> str:
        told = [["", "a", "b"], *([name, _short(self.a[key]), _short(self.b[key])] for name, key in TOTALS)]
        steps = [["", "agent", "step", "a", "b"], *map(_row, self.rows)]
        first = self.first_difference
        said = "the runs are the same" if first is None else f"first difference: {first}"
        return "\n".join([said, "", *_table(told), "", *_table(steps)])


async def compare_async(a: Run, b: Run, *, runtime: Host | None = None) -> Comparison:
    """Compare two runs: execution ids, handles or results. AgentNotFoundError if there is no such run."""
    host = runtime or next((each.runtime for each in (a, b) if isinstance(each, AgentHandle)), None) or own_host()
    return comparison_of(await (await host.client()).compare(_id(a), _id(b)))


def compare(a: Run, b: Run, *, runtime: Host | None = None) -> Comparison:
    """See `compare_async`."""
    host = runtime or next((each.runtime for each in (a, b) if isinstance(each, AgentHandle)), None) or own_host()
    return host.portal.call(compare_async(a, b, runtime=host))


def comparison_of(body: Json) -> Comparison:
    """The Comparison of the server's answer."""
    first = body.get("firstDifference")
    return Comparison(
        same=bool(body["same"]),
        a=body["a"],
        b=body["b"],
        shared=int(body.get("shared") or 0),
        definition=_changes(body.get("definition")),
        first_difference=_difference(first) if first else None,
        rows=[{name: row.get(key) for name, key in ROW.items()} for row in body["rows"]],
    )


def _difference(body: Json) -> Difference:
    return Difference(
        row=body["row"],
        kind=body["kind"],
        agent=body["agent"],
        name=body["name"],
        turn=body["turn"],
        a_event=body.get("aSeq"),
        b_event=body.get("bSeq"),
        changes=_changes(body.get("changes")),
        messages=_changes(body.get("messages")),
    )


def _changes(found: list[Json] | None) -> list[Change]:
    return [Change(each["path"], each.get("before"), each.get("after")) for each in found or ()]


def _id(run: Run) -> str:
    found = run if isinstance(run, str) else getattr(run, "execution_id", None)
    if not isinstance(found, str):
        raise TypeError(f"compare runs by their execution ids, handles or results, not {type(run).__name__}")
    return found


def _row(row: Json) -> list[str]:
    mark = "=" if row["same"] else "≠"
    what = " ".join(part for part in (row["kind"], str(row["name"])) if part)
    return [mark, row["agent"], what, _short(row["a"]), _short(row["b"])]


def _table(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _short(value: Any) -> str:
    text = "-" if value is None else " ".join(str(value).split())
    return text if len(text) <= CELL_CHARS else f"{text[: CELL_CHARS - 1]}…"


CELL_CHARS = 48
TOTALS = (
    ("run", "executionId"),
    ("agent", "agentName"),
    ("status", "status"),
    ("finish reason", "finishReason"),
    ("steps", "steps"),
    ("model calls", "modelCalls"),
    ("tool calls", "toolCalls"),
    ("tokens", "totalTokens"),
    ("cost ($)", "cost"),
    ("time (ms)", "ms"),
)
ROW = {
    "kind": "kind", "agent": "agent", "name": "name", "turn": "turn", "same": "same", "shared": "shared", "a": "a",
    "b": "b", "a_event": "aSeq", "b_event": "bSeq", "a_tokens": "aTokens", "b_tokens": "bTokens", "a_cost": "aCost",
    "b_cost": "bCost", "a_ms": "aMs", "b_ms": "bMs", "changes": "changes",
}  # fmt: skip
COLUMNS = list(ROW)
