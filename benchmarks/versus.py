"""The same work by us and by the peers, in rounds that take turns."""

import contextlib

from benchmarks.contest import Contestant, ours, peer, rounds
from benchmarks.plan import Plan
from benchmarks.report import Figure, Report, percentile, ratios
from benchmarks.server import Machine
from benchmarks.work import STEPS

PEERS = (
    ("LangGraph without checkpointer", "langgraph_child", "memory"),
    ("LangGraph on SQLite", "langgraph_child", "SQLite"),
    ("LangGraph on PostgreSQL", "langgraph_child", "PostgreSQL"),
    ("DBOS on PostgreSQL", "dbos_child", "PostgreSQL"),
)
TARGETS = (
    ("SQLite", "LangGraph without checkpointer", 2),
    ("SQLite", "LangGraph on SQLite", 5),
    ("SQLite", "DBOS on PostgreSQL", 8),
    ("PostgreSQL", "LangGraph on PostgreSQL", 7),
    ("PostgreSQL", "DBOS on PostgreSQL", 7),
)
AT_ONCE = (1, 8, 32)
TARGET_AT = 32


def measure(where: Machine, plan: Plan, report: Report) -> None:
    report.begin(f"Peers on the same work, {STEPS} steps a run; {plan.worker} worker")
    with contextlib.ExitStack() as stack:
        contestants: list[Contestant] = [
            *(stack.enter_context(ours(where, kind, plan.worker)) for kind in where.kinds),
            *(stack.enter_context(peer(where, *each)) for each in PEERS if each[2] in ("memory", *where.kinds)),
        ]
        for at_once in [each for each in AT_ONCE if each in plan.at_once]:
            played = rounds(contestants, at_once, plan.rounds, plan.seconds)
            speeds = {name: [each.runs_per_second for each in found] for name, found in played.items()}
            for name, found in played.items():
                who = f"{at_once} at once, {name}: "
                report.add(
                    Figure(who + "runs", speeds[name], "/s"),
                    Figure(who + "a run, p50", [percentile(each.latencies, 50) * 1000 for each in found], "ms"),
                    Figure(who + "commits per run", [each.writes * STEPS for each in found]),
                )
            for kind, name, least in TARGETS:
                mine = f"agentspan on {kind}"
                if mine in speeds and name in speeds:
                    target = {"least": float(least)} if at_once == TARGET_AT else {}
                    report.add(ratios(f"{at_once} at once, {mine} / {name}", speeds[mine], speeds[name], **target))
