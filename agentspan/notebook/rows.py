"""The runs of a map: one for each different row, found again by their keys, in lanes and within a budget."""

import asyncio
import bisect
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agentspan.agents.exceptions import AgentspanError
from agentspan.agents.handle import ENDED, AgentHandle
from agentspan.agents.result import AgentResult, FinishReason, result_of

if TYPE_CHECKING:
    from agentspan.agents.runtime import AgentRuntime

Json = dict[str, Any]
Limits = dict[str, float]

WAIT_MS = 20_000
KEYS_AT_ONCE = 1000
READERS = 16
TOLD_SECONDS = 0.1
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
    """How far a map is: how many rows have ended, have failed, were refused. `state` is running, done, estimated,
    refused or detached."""

    name: str
    rows: int
    limits: Limits
    done: int = 0
    failed: int = 0
    refused: int = 0
    busy: int = 0
    cost: float = 0.0
    unpriced: int = 0
    tokens: int = 0
    seconds: float = 0.0
    state: str = "running"


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
    ) -> None:
        self.host, self.agent, self.config, self.rows = host, agent, config, rows
        self.output_type, self.limits, self.width, self.timeout = output_type, limits, width, timeout
        self.busy = 0
        self._took = Took()
        self._news = asyncio.Condition()
        self.progress = Progress(str(config["name"]), len(rows), limits)
        self.told: Callable[[Progress], None] = lambda _: None
        self._last, self._began = 0.0, time.monotonic()

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
        self.progress.state = "refused"

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
        if not always and now - self._last < TOLD_SECONDS:
            return
        progress, self._last = self.progress, now
        progress.refused = sum(row.status == NOT_RUN for row in self.rows)
        progress.failed = sum(row.error is not None and row.status != NOT_RUN for row in self.rows)
        progress.done = sum(row.is_over for row in self.rows)
        progress.busy = self.busy
        progress.cost, progress.tokens = self._took.sum["cost"], int(self._took.sum["tokens"])
        progress.unpriced = self._took.unpriced
        progress.seconds = now - self._began
        self.told(progress)

    def end(self, state: str) -> None:
        """It is over."""
        if self.progress.state == "running":
            self.progress.state = state
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


NOT_RUN = "NOT_RUN"
UNPRICED = "the price of a model is not known, so no budget of money can be kept: limit the tokens instead"
