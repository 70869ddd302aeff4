"""What a whole tree may use: reserved before a call is made, settled after it, shared by all its executions."""

from collections.abc import Sequence

from msgspec.structs import replace

from agentspan.core import events as e
from agentspan.core.reports import unfit
from agentspan.core.run import Run, Spent
from agentspan.core.states import Kind, Purpose
from agentspan.spec.policy import Budget


def spend(root: Run, before: Run, event: e.Event) -> Run:
    """The root after an event of its tree: `before` is the state of the event's own execution before it."""
    match event.fact:
        case e.TaskScheduled(kind=Kind.LLM):
            spent = replace(root.spent, model_calls=root.spent.model_calls + 1, open=root.spent.open + 1)
        case e.TaskScheduled(purpose=Purpose.ACT) as order if order.attempt + order.lost == 0:
            spent = replace(root.spent, tool_calls=root.spent.tool_calls + 1)
        case e.TaskCompleted(task=task, output=output) if _is_model(before, task):
            fits = unfit(before.tasks[task], output or {}) is None
            spent = _settled(root.spent, (output or {}) if fits else {})
        case e.TaskFailed(task=task) | e.TaskTimedOut(task=task) | e.TaskCanceled(task=task) if _is_model(before, task):
            spent = replace(root.spent, open=max(0, root.spent.open - 1))
        case _:
            return root
    return replace(root, spent=spent)


def within(root: Run, run: Run, facts: Sequence[e.Fact], so_far: e.Result) -> list[e.Fact]:
    """The facts that the budget allows. What must wait for calls that are open is left out; what is too much ends the
    run with what there is."""
    if root.budget is None:
        return list(facts)
    allowed: list[e.Fact] = []
    spent = root.spent
    for fact in facts:
        model = isinstance(fact, e.TaskScheduled) and fact.kind is Kind.LLM
        tool = isinstance(fact, e.TaskScheduled) and fact.purpose is Purpose.ACT and fact.attempt + fact.lost == 0
        if (model or tool) and (reason := _over(root.budget, spent, model)):
            return [e.ExecutionTerminated(f"budget: {reason}", "budget", so_far)]
        if model and _must_wait(root.budget, spent):
            continue
        spent = replace(
            spent,
            model_calls=spent.model_calls + model,
            open=spent.open + model,
            tool_calls=spent.tool_calls + tool,
        )
        allowed.append(fact)
    return allowed


def _is_model(run: Run, task: int) -> bool:
    return task in run.tasks and run.tasks[task].kind is Kind.LLM


def _settled(spent: Spent, output: e.Json) -> Spent:
    usage = output.get("usage") or {}
    tokens = usage.get("prompt_tokens", 0) + usage.get("completion_tokens", 0)
    cost = output.get("cost") or 0.0
    return replace(
        spent,
        cost=spent.cost + cost,
        tokens=spent.tokens + tokens,
        open=max(0, spent.open - 1),
        unpriced=spent.unpriced + ("cost" in output and output["cost"] is None),
        largest_cost=max(spent.largest_cost, cost),
        largest_tokens=max(spent.largest_tokens, tokens),
    )


def _over(budget: Budget, spent: Spent, model: bool) -> str:
    """What of the budget is used up for one more call, "" if nothing is. Money whose use is not known is used up."""
    limits = (
        ((spent.model_calls, budget.model_calls, "model calls"), (spent.tokens, budget.tokens, "tokens"),
         (spent.cost, budget.cost, "US dollars"))
        if model else ((spent.tool_calls, budget.tool_calls, "tool calls"),)
    )  # fmt: skip
    used_up = [f"{u:g} of {most:g} {what} are used" for u, most, what in limits if most is not None and u >= most]
    if model and budget.cost is not None and spent.unpriced:
        used_up.append("the price of a model call is not known; give the limit in tokens or calls")
    return used_up[0] if used_up else ""


def _must_wait(budget: Budget, spent: Spent) -> bool:
    """Might one more call beside the open ones go over? Then it waits for one of them, so that one call is the most by
    which a budget is overshot."""
    if not spent.open:
        return False
    calls = spent.open + 1
    money = budget.cost is not None and spent.cost + calls * spent.largest_cost > budget.cost
    tokens = budget.tokens is not None and spent.tokens + calls * spent.largest_tokens > budget.tokens
    limited = budget.cost is not None or budget.tokens is not None
    return money or tokens or (limited and not (spent.largest_tokens or spent.largest_cost))
