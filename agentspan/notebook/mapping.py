"""An agent over the rows of a table: one durable run for each different row, and a table back.

A row's run is found again by what the row says, so a map that was cut short goes on where it was when it is made
again: what is finished is read, not paid for a second time.
"""

import copy
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from agentspan.agents.agent import resolve_agent
from agentspan.agents.budget import Budget
from agentspan.agents.default import default_runtime
from agentspan.agents.serialize import config_of
from agentspan.agents.shape import shape_of
from agentspan.agents.watching import unwatched
from agentspan.client.portal import in_caller
from agentspan.notebook.progress import Screen
from agentspan.notebook.rows import NOT_RUN, Estimate, Limits, Map, Row

if TYPE_CHECKING:
    from agentspan.agents.runtime import AgentRuntime

Json = dict[str, Any]

__all__ = ["Estimate", "agent_map", "agent_map_async"]


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
    key = f"map:{name or config['name']}:{_digest(config)}"
    found, strange = await in_caller(_rows, table, prompt, key)
    work = Map(host, agent, config, found, wanted, limits, width, timeout)
    with unwatched():
        async with Screen(work):
            await work.recall(failed)
            await work.try_out(sample)
            guess = work.estimate()
            if estimate:
                work.progress.state = "estimated"
            elif guess.fits or (proceed is not None and await in_caller(proceed, guess)):
                await work.finish(work.left())
            else:
                work.refuse(guess.problem)
    return guess if estimate else _filled(pd, table, found, strange, columns)


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


FAILED = ("keep", "retry")
TOLD = ("status", "error", "cost", "tokens", "execution_id")
TYPES = {"cost": "float64", "tokens": "int64"}
