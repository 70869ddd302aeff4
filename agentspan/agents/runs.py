"""Runs on the server as a list: a table in a notebook, a DataFrame where one is wanted."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, overload

from agentspan.agents.handle import AgentHandle
from agentspan.agents.host import Host, own_host
from agentspan.agents.showing import Shown

if TYPE_CHECKING:
    import pandas as pd

Json = dict[str, Any]
Since = datetime | timedelta | int | float | None
"""A moment, how long ago, or ms since the epoch."""

PAGE = 200


@dataclass(frozen=True)
class RunInfo:
    """A run in a list, `preview` the beginning of its prompt. Times are aware datetimes, None for none yet.

    `data`: all that the server says of it.
    """

    execution_id: str
    agent_name: str
    status: str
    preview: str
    start_time: datetime | None
    end_time: datetime | None
    duration_ms: int | None
    prompt_tokens: int
    completion_tokens: int
    cost: float | None
    finish_reason: str | None
    session_id: str | None
    version: int | None
    waiting: str
    data: Json = field(default_factory=dict, repr=False, compare=False)


class Runs(Shown, Sequence[RunInfo]):
    """Runs, the newest first; `total` are there in all. `runs[0]` is a RunInfo, `runs["<id>"]` an AgentHandle.

    An id can be given by its beginning or its end, as long as that fits one run alone.
    """

    def __init__(self, rows: Sequence[RunInfo], total: int, host: Host | None = None, url: str = "") -> None:
        self.rows, self.total, self.url = list(rows), total, url
        self._host = host

    @property
    def ids(self) -> list[str]:
        """Their execution ids."""
        return [each.execution_id for each in self.rows]

    def handle(self, key: int | str) -> AgentHandle:
        """The handle of one of them, by its place or its id."""
        if isinstance(key, int):
            return AgentHandle(self.rows[key].execution_id, self._host)
        found = [each for each in self.ids if each.startswith(key) or each.endswith(key)]
        if len(found) != 1 or not key:
            raise KeyError(f"{'no run' if not found else 'more than one run'} of this list has an id like {key!r}")
        return AgentHandle(found[0], self._host)

    def to_pandas(self) -> "pd.DataFrame":
        """A row for each run; needs pandas."""
        try:
            import pandas as pd
        except ModuleNotFoundError as problem:
            raise ModuleNotFoundError("to_pandas() needs pandas: pip install pandas") from problem
        return pd.DataFrame([{name: getattr(each, name) for name in COLUMNS} for each in self.rows], columns=COLUMNS)

    @overload
    def __getitem__(self, key: int) -> RunInfo: ...
    @overload
    def __getitem__(self, key: slice) -> "Runs": ...
    @overload
    def __getitem__(self, key: str) -> AgentHandle: ...
    def __getitem__(self, key: int | slice | str) -> "RunInfo | Runs | AgentHandle":
        if isinstance(key, str):
            return self.handle(key)
        return Runs(self.rows[key], self.total, self._host, self.url) if isinstance(key, slice) else self.rows[key]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[RunInfo]:
        return iter(self.rows)

    def __repr__(self) -> str:
        lines = [f"{each.execution_id}  {each.status:<10}  {each.agent_name}" for each in self.rows]
        return "\n".join([f"{len(self.rows)} of {self.total} runs", *lines])

    def _ipython_key_completions_(self) -> list[str]:
        return self.ids


async def runs_async(
    agent: str | Sequence[str] | None = None,
    *,
    status: str | Sequence[str] | None = None,
    session: str | None = None,
    since: Since = None,
    text: str | None = None,
    limit: int = 20,
    runtime: Host | None = None,
    **filters: Any,
) -> Runs:
    """The newest runs on the server, at most `limit`: of an agent, in a status, of a session, begun since, with a text.

    `since`: a datetime, a timedelta (so long ago) or ms since the epoch. `filters`: model, finish_reason, version,
    min_cost, waiting ("person" or "worker"), until. Of `agent` and `status` several can be given.
    """
    if limit < 1:
        raise ValueError(f"limit must be 1 or more, got {limit}")
    host = runtime or own_host()
    client, found, total, cursor = await host.client(), list[RunInfo](), 0, ""
    wanted = {"agent_name": agent, "status": status, "session_id": session, "free_text": text, **filters}
    if since is not None:
        wanted["since"] = milliseconds(since)
    while len(found) < limit:
        page = await client.executions(
            cursor=cursor, size=min(PAGE, limit - len(found)), count="none" if cursor else "capped", **wanted
        )
        total = total or int(page.get("totalHits") or 0)
        found += [run_of(each) for each in page.get("results") or ()]
        if not (cursor := str(page.get("nextCursor") or "")):
            break
    return Runs(found, max(total, len(found)), host, f"{client.url}/ui/runs/")


def runs(
    agent: str | Sequence[str] | None = None,
    *,
    status: str | Sequence[str] | None = None,
    session: str | None = None,
    since: Since = None,
    text: str | None = None,
    limit: int = 20,
    runtime: Host | None = None,
    **filters: Any,
) -> Runs:
    """See `runs_async`."""
    host = runtime or own_host()
    return host.portal.call(
        runs_async(agent, status=status, session=session, since=since, text=text, limit=limit, runtime=host, **filters)
    )


def run_of(body: Json) -> RunInfo:
    """The RunInfo of the server's answer."""
    return RunInfo(
        execution_id=str(body["executionId"]),
        agent_name=str(body.get("agentName") or ""),
        status=str(body.get("status") or ""),
        preview=str(body.get("preview") or ""),
        start_time=moment(body.get("startTime")),
        end_time=moment(body.get("endTime")),
        duration_ms=body.get("durationMs"),
        prompt_tokens=body.get("promptTokens") or 0,
        completion_tokens=body.get("completionTokens") or 0,
        cost=None if body.get("costUnknown") else body.get("cost"),
        finish_reason=body.get("finishReason") or None,
        session_id=body.get("sessionId") or None,
        version=body.get("version"),
        waiting=str(body.get("waiting") or ""),
        data=body,
    )


def moment(ms: int | None) -> datetime | None:
    """A time of the server's."""
    return datetime.fromtimestamp(ms / 1000, UTC) if ms else None


def milliseconds(since: datetime | timedelta | float) -> int:
    """A moment as ms since the epoch."""
    if isinstance(since, timedelta):
        since = datetime.now(UTC) - since
    return round(since.timestamp() * 1000) if isinstance(since, datetime) else round(since)


COLUMNS = [
    "execution_id", "agent_name", "status", "preview", "start_time", "end_time", "duration_ms", "prompt_tokens",
    "completion_tokens", "cost", "finish_reason", "session_id", "version", "waiting",
]  # fmt: skip
