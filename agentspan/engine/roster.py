"""Who works here: every worker and every queue, how it is, and what is wrong with it in words that somebody can act on.

`Signs` are what workers were heard of beside their polls; `roster` is pure.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import takewhile

from msgspec import Struct

from agentspan.store.views import LeaseView, PollView, QueueView

SILENT_MS = 15_000
"""A worker that was not heard of for so long is silent."""
QUIET_MS = 5_000
"""A worker that has had no poll open for so long does not poll."""
SLOW_MS = 60_000
"""A worker that holds a task for so long, and has reported none since, may have forgotten it."""
LAG_MS = 5_000
"""A queue whose oldest task has waited for so long is behind."""
FORGOTTEN_MS = 3_600_000
"""A worker that has been gone for so long is not shown any more."""
KEPT = 2_000
OWN = "@"

SHOWN = 1_000

Queue = tuple[str, str]
Depths = dict[str, dict[str, QueueView]]


class Sign(Struct, array_like=True):
    """When a worker was last given a task, reported one, or asked for more time."""

    received: int = 0
    reported: int = 0
    extended: int = 0

    @property
    def last(self) -> int:
        return max(self.received, self.reported, self.extended)


class Signs:
    """What the servers heard of workers; the oldest is forgotten where there are too many."""

    def __init__(self) -> None:
        self._own: dict[str, Sign] = {}
        self._others: dict[str, Sign] = {}

    def note(self, worker: str, what: str, at: int) -> None:
        """This server has heard of a worker. `what`: received, reported or extended."""
        if worker:
            setattr(_entry(self._own, worker), what, at)

    def told(self, worker: str, sign: Sign) -> None:
        """Another server tells what it has heard."""
        known = _entry(self._others, worker)
        for what in Sign.__struct_fields__:
            setattr(known, what, max(getattr(known, what), getattr(sign, what)))

    def fresh(self, since: int) -> list[tuple[str, Sign]]:
        """Whom this server has heard of since then."""
        found = takewhile(lambda each: each[1].last >= since, reversed(self._own.items()))
        return [(worker, sign) for worker, sign in found]

    def of(self, worker: str) -> Sign:
        own, other = (known.get(worker) or Sign() for known in (self._own, self._others))
        return Sign(*(max(getattr(own, what), getattr(other, what)) for what in Sign.__struct_fields__))


def _entry(known: dict[str, Sign], worker: str) -> Sign:
    """A worker's sign, as the newest of all."""
    sign = known[worker] = known.pop(worker, Sign())
    if len(known) > KEPT:
        del known[next(iter(known))]
    return sign


class Served(Struct, frozen=True, kw_only=True, rename="camel"):
    """A queue that a worker polls."""

    name: str
    domain: str
    last_poll: int


class WorkerView(Struct, frozen=True, kw_only=True, rename="camel"):
    """A worker: `state` is busy, idle, silent (it holds tasks and is not heard of) or gone. `healthy`: nothing has to
    be done about it."""

    worker_id: str
    state: str
    healthy: bool
    sentence: str
    last_poll: int
    last_heard: int
    in_flight: Sequence[LeaseView]
    queues: Sequence[Served]


class QueueState(Struct, frozen=True, kw_only=True, rename="camel"):
    """A queue: `state` is ok, lagging or unserved; `workers` is how many poll it now."""

    name: str
    domain: str
    ready: int
    leased: int
    oldest_ms: int
    workers: int
    state: str
    sentence: str


class Roster(Struct, frozen=True, kw_only=True):
    now: int
    workers: list[WorkerView]
    queues: list[QueueState]


def roster(
    now: int, polls: Iterable[PollView], signs: Signs, leases: Sequence[LeaseView], queues: Sequence[QueueView]
) -> Roster:
    """Everybody who was heard of lately or holds something, and every queue, the unwell first."""
    served: dict[str, dict[Queue, int]] = {}
    for poll in polls:
        mine = served.setdefault(poll.worker, {})
        mine[poll.name, poll.domain] = max(poll.at, mine.get((poll.name, poll.domain), 0))
    held: dict[str, list[LeaseView]] = {}
    for lease in leases:
        held.setdefault(lease.owner, []).append(lease)
    depths: dict[str, dict[str, QueueView]] = {}
    for each in queues:
        depths.setdefault(each.name, {})[each.domain] = each
    depths.pop("@human", None)
    states = {
        name: _state(now, name, served.get(name, {}), signs.of(name), held.get(name, ()))
        for name in served.keys() | held.keys()
    }
    # Who is busy with all that it can do at once does not poll, and yet works here.
    alive = Counter(
        queue
        for name, mine in served.items()
        for queue, at in mine.items()
        if now - at < QUIET_MS or states[name][0] == "busy"
    )
    alone = {
        name: [each for each in domains.values() if each.oldest_ms >= LAG_MS and not alive[name, each.domain]]
        for name, domains in depths.items()
    }
    workers = [
        _worker(now, name, state, served.get(name, {}), signs.of(name), held.get(name, ()), depths, alone)
        for name, state in states.items()
    ]
    shown = [each for each in workers if each.state != "gone" or now - each.last_heard < FORGOTTEN_MS]
    places = {*alive, *((name, domain) for name, domains in depths.items() for domain in domains)}
    work = [_queue(place, depths.get(place[0], {}).get(place[1]), alive[place]) for place in places]
    return Roster(
        now=now,
        workers=sorted(shown, key=lambda each: (each.healthy, RANKS.index(each.state), each.worker_id))[:SHOWN],
        queues=sorted(work, key=lambda each: (STATES.index(each.state), each.name, each.domain))[:SHOWN],
    )


def _worker(
    now: int,
    name: str,
    said: tuple[str, str],
    served: dict[Queue, int],
    sign: Sign,
    held: Sequence[LeaseView],
    depths: Depths,
    alone: dict[str, list[QueueView]],
) -> WorkerView:
    state, sentence = said
    last_poll = max(served.values(), default=0)
    polled = [queue for queue, at in served.items() if now - at < QUIET_MS]
    complaint = _given_nothing(polled, sign, depths, alone) if state == "idle" else ""
    return WorkerView(
        worker_id=name,
        state=state,
        healthy=state in ("busy", "idle") and not complaint,
        sentence=complaint or sentence,
        last_poll=last_poll,
        last_heard=max(last_poll, sign.last),
        in_flight=held,
        queues=[Served(name=q, domain=d, last_poll=at) for (q, d), at in sorted(served.items())],
    )


def _state(now: int, name: str, served: dict[Queue, int], sign: Sign, held: Sequence[LeaseView]) -> tuple[str, str]:
    """The state of a worker, and the sentence that says it."""
    last_poll = max(served.values(), default=0)
    heard = max(last_poll, sign.last)
    if any(not lease.lease_until for lease in held) or any(lease.name.startswith(OWN) for lease in held):
        return "busy", f"Built into {name}; {_tasks(held)} under way."
    if not held and now - heard < SILENT_MS:
        return "idle", f"Has not polled for {span(now - last_poll)}." if now - last_poll >= QUIET_MS else WAITS
    if not held:
        return "gone", f"Not heard of for {span(now - heard)}. Start it again if its tools are needed."
    oldest, until = min(lease.since for lease in held), max(lease.lease_until for lease in held)
    rest = f"its lease ends in {span(until - now)}" if until > now else "its lease is over"
    if now - max(heard, oldest) >= SILENT_MS:
        return "silent", (
            f"Holds {_tasks(held)} and was not heard of for {span(now - max(heard, oldest))}: no poll, report or"
            f" heartbeat. If it died, start it again; {rest}, and then the task is given to another worker."
        )
    if now - oldest >= SLOW_MS and sign.reported < oldest and now - sign.extended >= SILENT_MS:
        return "silent", (
            f"Takes tasks and reports none: it has held {_tasks(held)} for {span(now - oldest)} without a heartbeat."
            f" Look at its log, or start it again; {rest}."
        )
    return "busy", f"Works on {_tasks(held)} for {span(now - oldest)}."


def _given_nothing(polled: Sequence[Queue], sign: Sign, depths: Depths, alone: dict[str, list[QueueView]]) -> str:
    """What keeps work from a worker that polls. `alone` are the queues, by name, where tasks wait for nobody."""
    for name, domain in sorted(polled):
        here = depths.get(name, {}).get(domain)
        if here and here.ready and here.oldest_ms >= LAG_MS and not name.startswith(OWN):
            return (
                f"Polls {_place(name, domain)}, where {_count(here.ready)} waited for {span(here.oldest_ms)}, and is"
                " given none. Start it again; if that does not help, the server's log says why."
            )
        for other in alone.get(name, ()) if not sign.received else ():
            return (
                f"Was never given a task: it polls {_place(name, domain)}, but {_count(other.ready)} waited for"
                f" {span(other.oldest_ms)} {PLACED[bool(other.domain)].format(other.domain)}, which it does not serve."
                " Start a worker there, or start the run where this one is."
            )
    return ""


def _queue(queue: Queue, depth: QueueView | None, alive: int) -> QueueState:
    name, domain = queue
    ready, oldest = (depth.ready, depth.oldest_ms) if depth else (0, 0)
    state, sentence = "ok", "Nothing waits." if not ready else f"{_count(ready)} to be taken."
    if ready and not alive and oldest >= LAG_MS:
        state = "unserved"
        sentence = f"{_count(ready)} waited for {span(oldest)} and " + (
            NOBODY[name].format(start=start(name))
            if name in NOBODY
            else f"no worker polls {_place(name, domain)}: run the cell or process that defines {name}."
        )
    elif ready and oldest >= LAG_MS:
        state = "lagging"
        sentence = f"{_count(ready)} waited for {span(oldest)}: {BEHIND.get(name, MORE).format(alive=alive)}"
    return QueueState(
        name=name, domain=domain, ready=ready, leased=depth.leased if depth else 0, oldest_ms=oldest, workers=alive,
        state=state, sentence=sentence,
    )  # fmt: skip


def start(queue: str) -> str:
    """How the work of a built-in queue is begun."""
    kind = queue.removeprefix(OWN)
    return f"start a server with --workers {kind}, or `agentspan worker --kinds {kind}`"


def _tasks(held: Sequence[LeaseView]) -> str:
    """What is held, in words."""
    if len(held) != 1:
        return f"{len(held)} tasks"
    return "a model call" if held[0].name.startswith(OWN) else f"1 task of {held[0].name}"


def _count(ready: int) -> str:
    return "1 task" if ready == 1 else f"{ready} tasks"


def _place(name: str, domain: str) -> str:
    return f"{name} in domain {domain!r}" if domain else name


def span(ms: int) -> str:
    """A length of time in one unit."""
    seconds = max(0, ms) // 1000
    for length, word in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * length or seconds == length:
            return f"{seconds // length} {word}"
    return f"{seconds} s"


RANKS = ("silent", "gone", "busy", "idle")
WAITS = "Waits for work."
STATES = ("unserved", "lagging", "ok")
MORE = "{alive} of its workers cannot keep up. Start more of them."
PLACED = {True: "in domain {!r}", False: "in no domain"}
NOBODY = {
    "@llm": "no server makes model calls: {start}.",
    "@http": "no server makes the calls of HTTP tools: {start}.",
    "@mcp": "no server makes the calls of tools of MCP servers: {start}.",
}
"""Said of the queues of built-in workers where none of them runs."""
BEHIND = {"@llm": "model calls wait for room under their provider's limits."}
