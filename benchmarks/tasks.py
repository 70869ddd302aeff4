"""How many tasks a second workers can take and report, by batch and by number of workers, in proportion to the
requests that Tornado alone would answer in their place."""

import contextlib
import time

from benchmarks import limits
from benchmarks.contest import Ours
from benchmarks.plan import Plan
from benchmarks.report import Figure, Report, ratios
from benchmarks.server import Machine
from benchmarks.work import MANY, MANY_CALLS

BATCHES = (1, 10, 100)
WORKERS = (1, 4)
TARGET_AT = (10, 4)
GUESS_PER_SECOND = 300.0
QUIET_SECONDS = 0.3


def measure(where: Machine, plan: Plan, report: Report) -> None:
    report.begin("Tasks: take and report, one request for both; from a queue that is full")
    with contextlib.ExitStack() as stack:
        players: dict[str, Ours] = {}
        for kind in where.kinds:
            players[kind] = Ours(stack.enter_context(where.server(where.database(kind))), "none")
            stack.callback(players[kind].close)
        for batch in BATCHES:
            for workers in WORKERS:
                bare: list[float] = []
                found: dict[str, list[float]] = {kind: [] for kind in players}
                guess = {kind: GUESS_PER_SECOND * min(batch, 10) for kind in players}
                for _ in range(plan.rounds):
                    bare.append(limits.tornado(workers, plan.seconds / 6))
                    for kind, player in players.items():
                        found[kind].append(drain(player, int(guess[kind] * plan.seconds / 3), batch, workers))
                        guess[kind] = found[kind][-1]
                for kind, speeds in found.items():
                    who = f"{kind}, batches of {batch}, {workers} workers: "
                    target = {"least": 0.5} if (batch, workers) == TARGET_AT else {}
                    report.add(
                        Figure(who + "tasks", speeds, "/s"),
                        ratios(
                            who + "of Tornado's requests x batch", speeds, [each * batch for each in bare], **target
                        ),
                    )


def drain(player: Ours, count: int, batch: int, workers: int) -> float:
    """Tasks a second: the queue is filled before, and emptied by what is timed."""
    runs = max(1, count // MANY_CALLS, batch * workers // MANY_CALLS)
    player.client.ask(do="start", agent=MANY, at_once=runs)
    settle(player)
    outcome = player.worker.ask(count=runs * MANY_CALLS, batch=batch, lanes=workers)
    settle(player)
    return float(outcome["tasks"] / outcome["seconds"])


def settle(player: Ours) -> None:
    """Until the server has nothing more to do."""
    before = -1.0
    while (now := player.server.cpu_seconds()) > before:
        before = now
        time.sleep(QUIET_SECONDS)
