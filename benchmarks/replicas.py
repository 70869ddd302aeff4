"""The same work on one, two and three servers over one PostgreSQL, and with the model calls apart, in turns."""

import contextlib
import statistics
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import psycopg

from benchmarks.contest import Contestant, Ours, Round, rounds
from benchmarks.plan import Plan
from benchmarks.report import Figure, Report, percentile, ratios
from benchmarks.server import Machine, Postgresql, Server
from benchmarks.work import STEPS

AT_ONCE = 96
MOST = 3
DRIVERS = 3
"""Pairs of a worker and a client process, as many as there are at most servers, so that all have the same to bear."""


def measure(where: Machine, plan: Plan, report: Report) -> None:
    report.begin("Replicas")
    if "PostgreSQL" not in where.kinds:
        return
    with contextlib.ExitStack() as stack:
        crews = [stack.enter_context(Crew.of(where, count, plan)) for count in range(1, MOST + 1)]
        crews.append(stack.enter_context(Crew.of(where, 2, plan, apart=True)))
        for crew in crews:
            crew.play(AT_ONCE, 1.0)
            crew.postgres, crew.machine = [], []
        played = rounds([*crews], AT_ONCE, plan.rounds, plan.seconds)
    base = [each.runs_per_second for each in played[crews[0].name]]
    for crew in crews:
        found = played[crew.name]
        report.add(
            Figure(f"{crew.name}: durable steps", [each.runs_per_second * STEPS for each in found], "/s"),
            Figure(f"{crew.name}: a run, p95", [percentile(each.latencies, 95) * 1000 for each in found], "ms"),
            Figure(f"{crew.name}: CPU of servers per step", [each.cpu_ms for each in found], "ms"),
            Figure(f"{crew.name}: commits per step", [each.writes for each in found]),
            Figure(f"{crew.name}: of the machine's CPU, PostgreSQL", crew.postgres, "%"),
            Figure(f"{crew.name}: of the machine's CPU, all", crew.machine, "%"),
        )
        if crew is not crews[0]:
            over = [each.runs_per_second for each in found]
            report.add(ratios(f"{crew.name} / one server", over, base))


class Crew(Contestant):
    """Some servers on one database, each with the same share of workers and clients."""

    def __init__(self, name: str, players: list[Ours], servers: list[Server]) -> None:
        self.name, self.players, self.servers = name, players, servers
        self.postgres: list[float] = []
        self.machine: list[float] = []

    @classmethod
    @contextlib.contextmanager
    def of(cls, where: Machine, count: int, plan: Plan, apart: bool = False) -> Iterator["Crew"]:
        """`apart`: the last server alone makes the model calls, and is asked for nothing else."""
        database = where.database("PostgreSQL")
        with contextlib.ExitStack() as stack:
            kinds = ["none", "llm"] if apart else ["all"] * count
            servers = [stack.enter_context(where.server(database, AGENTSPAN_WORKERS=kind)) for kind in kinds]
            asked = servers[:1] if apart else servers
            players = [Ours(asked[number % len(asked)], plan.worker) for number in range(DRIVERS)]
            for player in players:
                stack.callback(player.close)
            name = "one server and one for model calls" if apart else f"{count} server{'s' if count > 1 else ''}"
            yield cls(name, players, servers)

    def play(self, at_once: int, seconds: float) -> Round:
        before, database = sum(server.cpu_seconds() for server in self.servers), self.servers[0].database
        assert isinstance(database, Postgresql)
        writes, postgres, all_of_it = database.writes(), postgres_seconds(database), machine_seconds()
        with ThreadPoolExecutor(len(self.players)) as pool:
            shares = [pool.submit(player.play, at_once // len(self.players), seconds) for player in self.players]
            found = [share.result() for share in shares]
        cpu = sum(server.cpu_seconds() for server in self.servers) - before
        written = database.writes() - writes
        runs = sum(len(each.latencies) for each in found)
        span = statistics.median(len(each.latencies) / each.runs_per_second for each in found)
        cores = psutil.cpu_count() or 1
        self.postgres.append((postgres_seconds(database) - postgres) / span / cores * 100)
        self.machine.append((machine_seconds() - all_of_it) / span / cores * 100)
        latencies = [one for each in found for one in each.latencies]
        turns = [one for each in found for one in each.turns]
        return Round(runs / span, latencies, turns, cpu / (runs * STEPS) * 1000, written / (runs * STEPS))


def postgres_seconds(database: Postgresql) -> float:
    """The CPU that the processes of this PostgreSQL have used so far."""
    with psycopg.connect(database.plain_url) as connection:
        main = psutil.Process(connection.info.backend_pid).parent()
    assert main is not None
    total = 0.0
    for each in [main, *main.children()]:
        with contextlib.suppress(psutil.NoSuchProcess):
            total += sum(each.cpu_times()[:2])
    return total


def machine_seconds() -> float:
    """The CPU that was used for anything."""
    times = psutil.cpu_times()
    return float(times.user + times.system + times.nice + times.irq + times.softirq)
