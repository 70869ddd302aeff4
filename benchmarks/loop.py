"""What an agent's loop costs when the model and the tool cost nothing: runs a second, time per turn, CPU and commits
per step, by the number of runs at once."""

import contextlib

from benchmarks.contest import Contestant, Round, ours, rounds
from benchmarks.plan import Plan
from benchmarks.report import Figure, Report, percentile
from benchmarks.server import Machine
from benchmarks.work import STEPS, TOOL_CALLS

LEAST_RUNS = {"SQLite": 200.0, "PostgreSQL": 160.0}
MOST_ALONE_MS = {"SQLite": 15.0, "PostgreSQL": 25.0}


def measure(where: Machine, plan: Plan, report: Report) -> None:
    report.begin(f"Agent loop: a run is {TOOL_CALLS + 1} model calls and {TOOL_CALLS} tool calls; {plan.worker} worker")
    with contextlib.ExitStack() as stack:
        contestants: dict[str, Contestant] = {
            kind: stack.enter_context(ours(where, kind, plan.worker)) for kind in where.kinds
        }
        for at_once in plan.at_once:
            played = rounds(list(contestants.values()), at_once, plan.rounds, plan.seconds)
            for kind, each in contestants.items():
                report.add(*figures(kind, at_once, played[each.name]))


def figures(kind: str, at_once: int, played: list[Round]) -> list[Figure]:
    who = f"{kind}, {at_once} at once: "
    alone, crowd = at_once == 1, at_once == 32

    def turns(percent: int) -> list[float]:
        return [percentile(each.turns, percent) * 1000 for each in played]

    def runs(percent: int) -> list[float]:
        return [percentile(each.latencies, percent) * 1000 for each in played]

    return [
        Figure(
            who + "runs", [each.runs_per_second for each in played], "/s", least=LEAST_RUNS[kind] if crowd else None
        ),
        Figure(who + "steps", [each.runs_per_second * STEPS for each in played], "/s"),
        Figure(who + "a run, p50", runs(50), "ms", most=MOST_ALONE_MS[kind] if alone else None),
        Figure(who + "a run, p99", runs(99), "ms"),
        Figure(who + "a turn, p50", turns(50), "ms", most=4 if alone and kind == "SQLite" else None),
        Figure(who + "a turn, p95", turns(95), "ms", most=15 if alone and kind == "SQLite" else None),
        Figure(who + "a turn, p99", turns(99), "ms"),
        Figure(who + "server CPU per step", [each.cpu_ms for each in played], "ms", most=0.6 if crowd else None),
        Figure(who + "commits per step", [each.writes for each in played], "", most=0.25 if crowd else None),
        Figure(who + "commits per run", [each.writes * STEPS for each in played], ""),
    ]
