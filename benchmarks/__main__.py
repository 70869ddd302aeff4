"""`python -m benchmarks [--quick | --full] [--only NAME] [--worker sdk|raw] [--rounds N]`"""

import argparse
from collections.abc import Callable
from dataclasses import asdict, replace

from benchmarks import footprint, growth, limits, loop, pages, recovery, replicas, tasks, timeline, versus
from benchmarks.plan import FULL, QUICK, Plan
from benchmarks.report import Report
from benchmarks.server import Machine, machine

Measurement = Callable[[Machine, Plan, Report], None]

MEASUREMENTS: dict[str, Measurement] = {
    "limits": limits.measure,
    "loop": loop.measure,
    "peers": versus.measure,
    "tasks": tasks.measure,
    "growth": growth.measure,
    "footprint": footprint.measure,
    "recovery": recovery.measure,
    "replicas": replicas.measure,
    "pages": pages.measure,
    "timeline": timeline.measure,
}


def main() -> None:
    asked = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure agentspan, its machine and peers."
    )
    asked.add_argument("--quick", action="store_true", help="few and short rounds: a look, not a measurement")
    asked.add_argument("--full", action="store_true", help="also on a database with a million finished executions")
    asked.add_argument("--only", action="append", choices=MEASUREMENTS, help="one measurement; may be repeated")
    asked.add_argument("--worker", choices=("sdk", "raw"), default="sdk", help="raw: the protocol without our SDK")
    asked.add_argument("--rounds", type=int)
    given = asked.parse_args()
    plan = replace(QUICK if given.quick else FULL if given.full else Plan(), worker=given.worker)
    plan = replace(plan, rounds=given.rounds or plan.rounds)
    report = Report()
    with machine() as where:
        for name in given.only or MEASUREMENTS:
            MEASUREMENTS[name](where, plan, report)
    report.write(asdict(plan))


if __name__ == "__main__":
    main()
