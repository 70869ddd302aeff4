"""The server is killed in the middle of many runs: how long after it is ready again does each of them go on."""

import time

from benchmarks.contest import Ours
from benchmarks.plan import Plan
from benchmarks.report import Figure, Report, percentile
from benchmarks.server import Machine
from benchmarks.work import ENDLESS

RUNS = 500
GIVE_UP_SECONDS = 30.0
LOOK_SECONDS = 0.25


def measure(where: Machine, plan: Plan, report: Report) -> None:
    report.begin(f"Recovery: SIGKILL with {RUNS} runs in flight; {plan.worker} worker")
    for kind in where.kinds:
        ready, half, nearly, whole, on = list[float](), list[float](), list[float](), list[float](), list[float]()
        for _ in range(plan.rounds):
            back, after = recover(where, kind, plan.worker)
            ready.append(back)
            half.append(percentile(after, 50))
            nearly.append(percentile(after, 99))
            whole.append(max(after))
            on.append(sum(each <= 2 for each in after) / RUNS * 100)
        report.add(
            Figure(f"{kind}: start to ready", ready, "s"),
            Figure(f"{kind}: ready to the next tool call, half of the runs", half, "s"),
            Figure(f"{kind}: ready to the next tool call, 99% of the runs", nearly, "s"),
            Figure(f"{kind}: ready to the next tool call, all runs", whole, "s", most=2),
            Figure(f"{kind}: runs that went on within 2 s", on, "%"),
        )


def recover(where: Machine, kind: str, worker: str) -> tuple[float, list[float]]:
    """Seconds to ready, and from then to each run's next tool call."""
    with where.server(where.database(kind)) as server:
        player = Ours(server, worker)
        try:
            runs = player.client.ask(do="start", agent=ENDLESS, at_once=RUNS)["runs"]
            time.sleep(2)
            server.kill()
            back = server.start()
            since = time.monotonic()
            found: dict[str, list[float]] = {}
            while len(found) < RUNS and time.monotonic() < since + GIVE_UP_SECONDS:
                time.sleep(LOOK_SECONDS)
                found = player.worker.ask(since=since)
            return back, [found[run][0] - since if run in found else GIVE_UP_SECONDS for run in runs]
        finally:
            player.close()
            server.kill()
