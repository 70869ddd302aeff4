"""An agent over the rows of a table: one durable run for each different row, and a table back.

A row's run is found again by what the row says, so a map that was cut short goes on where it was when it is made
again: what is finished is read, not paid for a second time.
"""

import asyncio
import bisect
import copy
import hashlib
import json
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, Any

from agentspan.agents.agent import resolve_agent
from agentspan.agents.budget import Budget
from agentspan.agents.default import default_runtime
from agentspan.agents.exceptions import AgentspanError
from agentspan.agents.handle import ENDED, AgentHandle
from agentspan.agents.result import AgentResult, FinishReason, result_of
from agentspan.agents.serialize import config_of
from agentspan.agents.shape import shape_of

if TYPE_CHECKING:
    from agentspan.agents.runtime import AgentRuntime

Json = dict[str, Any]
Limits = dict[str, float]

WAIT_MS = 20_000
KEYS_AT_ONCE = 1000
READERS = 16
UNTOLD = 0.1
"""Progress is told at most once in so many seconds."""


@dataclass(frozen=True)
class Estimate:
    """What a map comes to: the `done` rows as they were, each of the others as the median of those.

    `rows` counts different rows. `cost` is in US dollars, None if the price of a model is not known. `problem` says
    why the map should not go on; it is empty if the estimate keeps to the budget.
    """

    rows: int
    done: int
    cost: float | None
    tokens: int
    problem: str = ""

    @property
    def fits(self) -> bool:
        """Does it keep to the budget?"""
        return not self.problem

    def __repr__(self) -> str:
        price = "an unknown price" if self.cost is None else f"about ${self.cost:.4f}"
        told = f"{self.rows} rows ({self.done} done): {price} and about {self.tokens} tokens"
        return f"{told}; {self.problem}" if self.problem else told


@dataclass
class Progress:
    """How far a map is. `state` is running, done, refused or detached."""

    name: str
    rows: int
    limits: Limits
    done: int = 0
    failed: int = 0
    busy: int = 0
    cost: float = 0.0
    unpriced: int = 0
    tokens: int = 0
    seconds: float = 0.0
    state: str = "running"


Told = Callable[[Progress], None]


@dataclass(eq=False)
class Row:
    """One different row: the places in the table that say the same, and what became of it."""

    prompt: str
    key: str
    places: list[int] = field(default_factory=list)
    execution_id: str = ""
    status: str = ""
    output: Any = None
    error: str | None = None
    cost: float | None = 0.0
    tokens: int = 0

    @property
    def is_over(self) -> bool:
        return self.status in ENDED

    @property
    def is_failed(self) -> bool:
        return self.is_over and self.status != "COMPLETED"

    @property
    def amounts(self) -> Limits:
        return {"cost": self.cost or 0.0, "tokens": self.tokens}

    def take(self, result: AgentResult) -> None:
        """The run's end."""
        self.status, self.cost = str(result.status), result.cost
        self.tokens = result.token_usage.total_tokens if result.token_usage else 0
        self.error = result.error
        if result.is_failed and result.finish_reason == FinishReason.BUDGET:
            self.error = f"budget: {result.error}"
        whole = result.output
        self.output = whole.get("result") if isinstance(whole, dict) and "finishReason" in whole else whole
        if result.is_failed:
            self.output = None

    def refuse(self, reason: str) -> None:
        """It is not run."""
        self.status, self.error = self.status or NOT_RUN, reason


async def agent_map_async(
    rows: Any,
    agent: Any,
    prompt: str | Callable[[Any], str] | None = None,
    *,
    output_type: Any = None,
    width: int = 8,
    budget: Budget | Json | float | None = None,
    sample: int = 3,
    estimate: bool = False,
    proceed: Callable[[Estimate], bool] | None = None,
    failed: str = "keep",
    timeout: float | None = None,  # noqa: ASYNC109
    name: str | None = None,
    prefix: str = "",
    runtime: "AgentRuntime | None" = None,
) -> Any:
    """Run `agent` on each row, at most `width` at once; the table with what came of it in further columns.

    `rows`: a DataFrame, a Series or a list of dicts. `prompt`: a template such as "Classify: {text}", or a function
    from row to text; without one the row itself. The columns: `output` (for an `output_type`, of the agent or given
    here, `output_FIELD` each), `status`, `error`, `cost`, `tokens` (at the first of several equal rows) and
    `execution_id`, all with `prefix` before them. A row that fails is a row with an `error`; nothing raises for it.

    Equal rows are run once, and a map that is made again reads what is finished, in this process or another; `name`
    tells apart maps that shall not share. What failed is kept, or tried again with `failed="retry"`. `budget` (US
    dollars, or a Budget of cost and tokens) is for the whole map: `sample` rows are run first, and if the estimate
    exceeds it, the others are not started unless `proceed`, given the estimate, says so; at the latest nothing is
    started when the budget is used up. `estimate=True` gives only the estimate. `timeout` (seconds) bounds each run.
    """
    host, pd = runtime or default_runtime(), _pandas()
    table = _table(pd, rows)
    agent, config, wanted = await _of_agent(host, agent, output_type)
    columns = _columns(config, wanted, prefix, table)
    limits = limits_of(budget)
    if width < 1 or sample < 1:
        raise ValueError("width and sample must be 1 or more")
    if failed not in FAILED:
        raise ValueError(f"failed must be one of {', '.join(FAILED)}, got {failed!r}")
    found, strange = _rows(table, prompt, f"map:{name or config['name']}:{_digest(config)}")
    work = Map(host, agent, config, found, wanted, limits, width, timeout, _screen())
    with work.shown():
        await work.recall(failed)
        await work.try_out(sample)
        guess = work.estimate()
        if estimate:
            return guess
        if guess.fits or (proceed is not None and proceed(guess)):
            await work.finish(work.left())
        else:
            work.refuse(guess.problem)
    return _filled(pd, table, found, strange, columns)


def agent_map(
    rows: Any,
    agent: Any,
    prompt: str | Callable[[Any], str] | None = None,
    *,
    output_type: Any = None,
    width: int = 8,
    budget: Budget | Json | float | None = None,
    sample: int = 3,
    estimate: bool = False,
    proceed: Callable[[Estimate], bool] | None = None,
    failed: str = "keep",
    timeout: float | None = None,
    name: str | None = None,
    prefix: str = "",
    runtime: "AgentRuntime | None" = None,
) -> Any:
    """See `agent_map_async`. A KeyboardInterrupt leaves the runs that have begun alone: make the map again to go on."""
    host = runtime or default_runtime()
    return host.portal.call(
        agent_map_async(
            rows,
            agent,
            prompt,
            output_type=output_type,
            width=width,
            budget=budget,
            sample=sample,
            estimate=estimate,
            proceed=proceed,
            failed=failed,
            timeout=timeout,
            name=name,
            prefix=prefix,
            runtime=host,
        )
    )


class Map:
    """The runs of a map: brought to their ends in lanes, within limits."""

    def __init__(
        self,
        host: "AgentRuntime",
        agent: Any,
        config: Json,
        rows: Sequence[Row],
        output_type: Any,
        limits: Limits,
        width: int,
        timeout: float | None,
        told: Told,
    ) -> None:
        self.host, self.agent, self.config, self.rows = host, agent, config, rows
        self.output_type, self.limits, self.width, self.timeout = output_type, limits, width, timeout
        self.busy = 0
        self._took = Took()
        self._news = asyncio.Condition()
        self._progress = Progress(str(config["name"]), len(rows), limits)
        self._told, self._told_at, self._began = told, 0.0, time.monotonic()

    def shown(self) -> "_Shown":
        """Tells how it goes, and how it ended."""
        return _Shown(self)

    # The steps of a map

    async def recall(self, failed: str) -> None:
        """Take up what earlier maps have begun: read what has ended, wait for what has not."""
        client, begun = await self.host.client(), dict[str, Json]()
        keys = [row.key for row in self.rows]
        for first in range(0, len(keys), KEYS_AT_ONCE):
            begun |= await client.begun(self.config["name"], keys[first : first + KEYS_AT_ONCE])
        known = [row for row in self.rows if row.key in begun]
        for row in known:
            row.execution_id = begun[row.key]["executionId"]
        ended = [row for row in known if begun[row.key]["status"] in ENDED]
        await self._in_lanes(ended, self._read, READERS)
        under_way = [row for row in known if not row.status]
        again = [row for row in ended if row.is_failed and (failed == "retry" or self._was_cut_short(row))]
        await self.finish([*under_way, *again])

    async def try_out(self, sample: int) -> None:
        """Run a few rows, to know what the others will take."""
        done = sum(row.is_over for row in self.rows)
        await self.finish(self.left()[: max(0, sample - done)])

    async def finish(self, rows: Iterable[Row]) -> None:
        """Bring these rows to their end."""
        await self._in_lanes(rows, self._run, self.width)

    def left(self) -> list[Row]:
        """The rows of which nothing is known yet."""
        return [row for row in self.rows if not row.status]

    def refuse(self, reason: str) -> None:
        """Start no other row."""
        for row in self.left():
            row.refuse(f"budget: {reason}")
        self._progress.state = "refused"

    def estimate(self) -> Estimate:
        """What the whole will take, by what has ended."""
        done, unknown = self._took.count, self._took.unpriced > 0
        left = len(self.rows) - done
        spent, each = self._took.sum, self._took.median()
        cost = spent["cost"] + left * each["cost"]
        tokens = int(spent["tokens"] + left * each["tokens"])
        problem = ""
        if unknown and "cost" in self.limits and left:
            problem = UNPRICED
        elif left:
            told = {"cost": f"${cost:.4f}", "tokens": f"{tokens} tokens"}
            limit = {"cost": "${:.4f}", "tokens": "{:.0f} tokens"}
            over_limit = [key for key, most in self.limits.items() if {"cost": cost, "tokens": tokens}[key] > most]
            problem = "; ".join(
                f"the estimate of {told[key]} for {len(self.rows)} rows exceeds the budget of "
                f"{limit[key].format(self.limits[key])}"
                for key in over_limit
            )
        return Estimate(len(self.rows), done, None if unknown else cost, tokens, problem)

    # One row

    async def _run(self, row: Row) -> None:
        if not await self._admitted(row):
            return
        try:
            handle = await self._handle(row)
            await self._wait(row, handle)
        except Exception as problem:  # what is wrong with one row is told in it; the others go on
            row.refuse(f"{type(problem).__name__}: {problem}")
        finally:
            self.busy -= 1
            async with self._news:
                self._news.notify_all()
            self.tell()

    async def _handle(self, row: Row) -> AgentHandle:
        """The row's run: begun, or taken up."""
        limits = self._remaining(row)
        if not row.execution_id:
            options: Json = {"idempotency_key": row.key, "timeout": self.timeout, "budget": limits or None}
            handle = await self.host.start_async(self.agent, row.prompt, **options)
            row.execution_id = handle.execution_id
            return handle
        if isinstance(self.agent, str):
            handle = self.host.attach(row.execution_id)
        else:
            handle = await self.host.resume_async(row.execution_id, self.agent)
        if row.is_failed:
            await (handle.continue_with_async(limits) if self._was_cut_short(row) else handle.retry_async())
        return handle

    async def _read(self, row: Row) -> None:
        try:
            self._take(row, await (await self.host.client()).result(row.execution_id))
        except AgentspanError as problem:
            row.refuse(f"{type(problem).__name__}: {problem}")

    async def _wait(self, row: Row, handle: AgentHandle) -> None:
        """Until the run has ended, or has waited in vain for a tool that nobody serves."""
        client, grace = await self.host.client(), self.host.missing_worker_grace_seconds
        missing_since: float | None = None
        while True:
            body = await client.result(row.execution_id, wait_ms=min(WAIT_MS, int(grace * 1000)))
            if body["status"] in ENDED:
                break
            waiting, now = body.get("waitingFor") or (), time.monotonic()
            missing_since = (missing_since or now) if waiting else None
            if missing_since is not None and now - missing_since >= grace:
                tools = ", ".join(repr(each["tool"]) for each in waiting)
                raise LookupError(f"no live worker serves {tools}: run the cell that defines it, then the map again")
        if handle.run_id is not None:
            self.host.forget(handle.run_id)
        self._take(row, body)

    def _take(self, row: Row, body: Json) -> None:
        if row.is_over:
            self._took.take_back(row)
        row.take(result_of(body, output_type=self.output_type))
        self._took.take(row)
        self.tell()

    # The budget

    async def _admitted(self, row: Row) -> bool:
        """May it be run? Waits while rows under way may still leave something of the budget."""
        async with self._news:
            while not self._fits():
                if row.execution_id and not row.is_failed:
                    break  # it is under way, whatever it takes
                if self.busy == 0:
                    row.refuse(f"budget: {self._told_spent()}")
                    return False
                await self._news.wait()
            self.busy += 1
        return True

    def _fits(self) -> bool:
        if "cost" in self.limits and self._took.unpriced:
            return False
        spent, each = self._took.sum, self._took.median()
        return all(
            spent[key] < most and spent[key] + (self.busy + 1) * each[key] <= most for key, most in self.limits.items()
        )

    def _remaining(self, row: Row) -> Json:
        """The limits of a row's run: what the others leave of the map's, and no more than the agent's own."""
        spent, each, mine = self._took.sum, self._took.median(), row.amounts
        others = {key: spent[key] - mine[key] + (self.busy - 1) * each[key] for key in spent}
        left = {key: most - others[key] for key, most in self.limits.items()}
        own = self.config.get("budget") or {}
        if not left:
            return {}
        for key in set(own) & set(left):
            left[key] = min(left[key], own[key])
        whole = {key: max(0, int(most)) if key == "tokens" else max(0.0, most) for key, most in left.items()}
        return {**own, **whole}

    def _was_cut_short(self, row: Row) -> bool:
        """Was it ended for the budget of a map, and not for the agent's own?"""
        own, took = self.config.get("budget") or {}, row.amounts
        told = (row.error or "").startswith("budget: ")
        return told and any(key not in own or took[key] < own[key] for key in self.limits)

    def _told_spent(self) -> str:
        if "cost" in self.limits and self._took.unpriced:
            return UNPRICED
        spent = self._took.sum
        told = {"cost": f"${spent['cost']:.4f} are spent", "tokens": f"{spent['tokens']:.0f} tokens are used"}
        return f"not started: {' and '.join(told[key] for key in self.limits)}; give the map a larger budget to go on"

    # Lanes, and telling

    async def _in_lanes(self, rows: Iterable[Row], work: Callable[[Row], Awaitable[None]], width: int) -> None:
        left = deque(rows)

        async def lane() -> None:
            while left:
                await work(left.popleft())

        async with asyncio.TaskGroup() as lanes:
            for _ in range(min(width, len(left))):
                lanes.create_task(lane())

    def tell(self, *, always: bool = False) -> None:
        """Say how far it is, not too often."""
        now = time.monotonic()
        if not always and now - self._told_at < UNTOLD:
            return
        progress, self._told_at = self._progress, now
        progress.done = sum(row.is_over or row.error is not None for row in self.rows)
        progress.failed = sum(row.error is not None for row in self.rows)
        progress.busy = self.busy
        progress.cost, progress.tokens = self._took.sum["cost"], int(self._took.sum["tokens"])
        progress.unpriced = self._took.unpriced
        progress.seconds = now - self._began
        self._told(progress)

    def end(self, state: str) -> None:
        if self._progress.state == "running":
            self._progress.state = state
        self.tell(always=True)


class Took:
    """What the rows that have ended took: in all, and each."""

    def __init__(self) -> None:
        self.sum: Limits = {"cost": 0.0, "tokens": 0.0}
        self.unpriced = 0
        self._each: dict[str, list[float]] = {"cost": [], "tokens": []}

    @property
    def count(self) -> int:
        """How many rows."""
        return len(self._each["tokens"])

    def take(self, row: Row) -> None:
        """Count a row."""
        self.unpriced += row.cost is None
        for key, amount in row.amounts.items():
            self.sum[key] += amount
            bisect.insort(self._each[key], amount)

    def take_back(self, row: Row) -> None:
        """Count it no more."""
        self.unpriced -= row.cost is None
        for key, amount in row.amounts.items():
            self.sum[key] -= amount
            self._each[key].remove(amount)

    def median(self) -> Limits:
        """What a row takes."""
        return {key: each[len(each) // 2] if each else 0.0 for key, each in self._each.items()}


class _Shown:
    """A map while it is under way."""

    def __init__(self, work: Map) -> None:
        self._work = work

    def __enter__(self) -> None:
        self._work.tell(always=True)

    def __exit__(self, kind: Any, problem: BaseException | None, _: object) -> None:
        if isinstance(problem, asyncio.CancelledError):
            problem.add_note(DETACHED)
        self._work.end("done" if problem is None else "detached")


def limits_of(budget: Budget | Json | float | None) -> Limits:
    """The limits of a map: of cost and tokens."""
    if budget is None:
        return {}
    given = Budget(cost=budget) if isinstance(budget, (int, float)) else Budget.of(budget)
    limits = {key: most for key, most in vars(given).items() if most is not None}
    if others := set(limits) - {"cost", "tokens"}:
        raise ValueError(
            f"the budget of a map limits cost and tokens, not {', '.join(sorted(others))}; "
            "Agent(budget=...) limits those of each row"
        )
    return limits


async def _of_agent(host: "AgentRuntime", agent: Any, output_type: Any) -> tuple[Any, Json, Any]:
    """The agent, its definition, and the type of its output."""
    if isinstance(agent, str):
        return agent, await (await host.client()).agent(agent), output_type
    agent = resolve_agent(agent)
    if output_type is not None:
        agent = copy.copy(agent)
        agent.output_type = output_type
    return agent, config_of(agent), agent.output_type


def _rows(table: Any, prompt: Any, key: str) -> tuple[list[Row], dict[int, str]]:
    """The different rows, in their order; and the places of which no prompt can be made, with the reason."""
    found: dict[str, Row] = {}
    strange: dict[int, str] = {}
    say = _sayer(table, prompt)
    for place, row in enumerate(table.to_dict("records")):
        try:
            text = say(row)
            if not isinstance(text, str) or not text.strip():
                raise ValueError(f"the prompt of a row must be a text that is not blank, got {text!r}")
        except Exception as problem:  # a function of the user's: what is wrong with one row is told in it
            strange[place] = f"{type(problem).__name__}: {problem}"
            continue
        found.setdefault(text, Row(text, f"{key}:{_digest(text)}")).places.append(place)
    return list(found.values()), strange


def _sayer(table: Any, prompt: Any) -> Callable[[Json], str]:
    """What makes a prompt of a row."""
    names = [str(each) for each in table.columns]
    if callable(prompt):
        made: Callable[[Json], str] = prompt
        return made
    if prompt is None:
        return (lambda row: str(row[table.columns[0]])) if len(names) == 1 else _said_as_lines
    if not isinstance(prompt, str):
        raise TypeError(f"prompt must be a template or a function from row to text, got {type(prompt).__name__}")

    def fill(row: Json) -> str:
        return prompt.format_map({str(key): value for key, value in row.items()})

    try:
        prompt.format_map(dict.fromkeys(names, Anything()))
    except KeyError as missing:
        raise ValueError(f"the prompt names the column {missing}, which is not there: {', '.join(names)}") from None
    return fill


class Anything:
    """A value of which every template can be filled, to see which columns it names."""

    def __format__(self, _: str) -> str:
        return ""

    def __getattr__(self, _: str) -> "Anything":
        return self

    def __getitem__(self, _: object) -> "Anything":
        return self


def _said_as_lines(row: Json) -> str:
    return "\n".join(f"{name}: {value}" for name, value in row.items())


def _table(pd: Any, rows: Any) -> Any:
    """The rows as a DataFrame of their own."""
    if isinstance(rows, pd.DataFrame):
        return rows.copy()
    if isinstance(rows, pd.Series):
        return rows.to_frame(rows.name if rows.name is not None else "value")
    if isinstance(rows, list) and all(isinstance(each, dict) for each in rows):
        return pd.DataFrame(rows)
    if isinstance(rows, list) and all(isinstance(each, str) for each in rows):
        return pd.DataFrame({"value": rows})
    raise TypeError(f"agent_map takes a DataFrame, a Series or a list of dicts or texts, not {type(rows).__name__}")


def _columns(config: Json, output_type: Any, prefix: str, table: Any) -> dict[str, str]:
    """The new columns: what they hold, and their names. `output.FIELD` stands for a field of the output."""
    shape = config.get("outputType") or (shape_of(output_type) if output_type is not None else {})
    properties = (shape.get("schema") or {}).get("properties")
    own = {f"output.{each}": f"output_{each}" for each in properties} if properties else {"output": "output"}
    columns = {what: f"{prefix}{name}" for what, name in {**own, **{each: each for each in TOLD}}.items()}
    if taken := [name for name in columns.values() if name in table.columns]:
        raise ValueError(f"the table has the column {', '.join(map(repr, taken))} already: give prefix='agent_'")
    return columns


def _filled(pd: Any, table: Any, rows: Sequence[Row], strange: dict[int, str], columns: dict[str, str]) -> Any:
    """The table with the new columns."""
    cells: list[Json] = [{} for _ in range(len(table))]
    for row in rows:
        for number, place in enumerate(row.places):
            cells[place] = _cells(row, columns, is_first=number == 0)
    for place, reason in strange.items():
        cells[place] = _cells(Row("", "", status=NOT_RUN, error=reason), columns, is_first=True)
    for what, name in columns.items():
        values = [cell[what] for cell in cells]
        table[name] = pd.Series(values, index=table.index, dtype=TYPES.get(what, "object"))
    return table


def _cells(row: Row, columns: dict[str, str], *, is_first: bool) -> Json:
    took = {"cost": row.cost if is_first else 0.0, "tokens": row.tokens if is_first else 0}
    told = {"status": row.status, "error": row.error, "execution_id": row.execution_id or None, **took}
    parts = _parts(row.output)
    own = {what: parts.get(what.partition(".")[2]) if "." in what else row.output for what in columns}
    return {**own, **told}


def _parts(output: Any) -> Json:
    """The fields of a structured output."""
    if isinstance(output, dict):
        return output
    if hasattr(output, "model_dump"):
        return dict(output.model_dump(by_alias=True))
    if is_dataclass(output):
        return {each.name: getattr(output, each.name) for each in fields(output)}
    return {}


def _digest(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _pandas() -> Any:
    try:
        import pandas as pd
    except ModuleNotFoundError as problem:
        raise ModuleNotFoundError("agent_map needs pandas: pip install pandas") from problem
    return pd


def _screen() -> Told:
    """Where progress is told."""
    return lambda _: None


NOT_RUN = "NOT_RUN"
FAILED = ("keep", "retry")
TOLD = ("status", "error", "cost", "tokens", "execution_id")
TYPES = {"cost": "float64", "tokens": "int64"}
UNPRICED = "the price of a model is not known, so no budget of money can be kept: limit the tokens instead"
DETACHED = "What has begun goes on; make the map again to wait for it: what is finished is read, not run again."
