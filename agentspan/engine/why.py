"""Why a run does not go on, or what it does now, or why it failed: in sentences that somebody can act on.

`why` is pure; `asked` finds out what it must know.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from agentspan.clock import now_ms
from agentspan.core.states import Kind, Purpose
from agentspan.engine.providers import quota_for
from agentspan.engine.roster import OWN, QueueState, Roster, WorkerView, span, start
from agentspan.store.ledger import QUEUES
from agentspan.store.listing import FRESH_MS, UNATTENDED_MS
from agentspan.store.standing import Known, Open, standing

if TYPE_CHECKING:
    from agentspan.engine.engine import Engine

MOST_REASONS = 100


class Reason(Struct, frozen=True, rename="camel", kw_only=True):
    """One thing that a run waits for or does, or what became of it. `seq` is the event to look at."""

    code: str
    sentence: str
    remedy: str
    execution_id: str
    since: int
    task_id: str | None = None
    seq: int | None = None


class Why(Struct, frozen=True, rename="camel"):
    """`sentence` is that of the first reason, with what to do; the reasons that hold it up come first."""

    status: str
    sentence: str
    reasons: list[Reason]


class Seen(Struct, frozen=True):
    """An open task with what is known of its worker, of its queue, and of what holds up its model's calls."""

    task: Open
    worker: WorkerView | None = None
    queue: QueueState | None = None
    quota: str = ""


def why(known: Known, tasks: Sequence[Seen], now: int) -> Why:
    """The answer to why a run stands as it does. `tasks` are its open ones."""
    reasons = sorted(_reasons(known, tasks, now), key=lambda each: (RANKS.index(each.code), each.since))[:MOST_REASONS]
    first = reasons[0]
    more = f" ({len(reasons) - 1} more)" if len(reasons) > 1 else ""
    return Why(known.status, f"{first.sentence} {first.remedy}{more}", reasons)


def _reasons(known: Known, tasks: Sequence[Seen], now: int) -> list[Reason]:
    if known.ended_at:
        return [_ending(known)]
    found = [_of_task(each, now) for each in tasks]
    if known.status == "PAUSED":
        words = {"for_": span(now - known.paused_at)}
        found.append(_reason("paused", known.execution_id, known.paused_at, words))
    return found or [_reason("working", known.execution_id, known.updated_at, {}, "working between")]


def _ending(known: Known) -> Reason:
    words = {"reason": known.reason or known.finish_reason, "status": known.status}
    if known.failure is not None:
        failure = known.failure
        words |= {"step": failure.step, "agent": failure.agent, "error": failure.error}
        found = _reason("failed", failure.execution_id, failure.at, words, f"failed {known.status}")
        return replace(found, task_id=failure.task_id, seq=failure.seq)
    code = "budget" if known.finish_reason == "budget" else "ended"
    form = "budget" if code == "budget" else f"ended {known.status}"
    return _reason(code, known.execution_id, known.ended_at, words, form)


def _of_task(seen: Seen, now: int) -> Reason:
    """Why an open task is open."""
    form, each = next(form for form, holds in FORMS.items() if holds(seen, now)), seen.task
    since = each.leased_at if each.is_leased and each.leased_at else min(each.available_at, now)
    words = {
        "agent": each.agent,
        "name": each.name,
        "worker": each.worker,
        "question": each.question,
        "error": each.error or "a failure",
        "attempt": str(each.attempt + 1),
        "attempts": str(each.attempts),
        "quota": seen.quota,
        "for_": span(now - since),
        "in_": span(each.available_at - now),
        "where": f" in domain {each.domain!r}" if each.domain else "",
        "polled": f"the last poll was {span(now - each.last_poll)} ago" if each.last_poll else "none polls",
        "silent": seen.worker.sentence if seen.worker else "",
        "ahead": _ahead(seen.queue),
        "start": start(seen.queue.name) if seen.queue else "",
    }
    found = _reason(form.partition(" ")[0], each.execution_id, since, words, form)
    return replace(found, task_id=each.task_id, seq=int(each.task_id.rpartition(".t")[2]))


def _reason(code: str, execution: str, since: int, words: Mapping[str, str], form: str = "") -> Reason:
    sentence, remedy = SENTENCES[form or code]
    return Reason(
        code=code, sentence=sentence.format(**words), remedy=remedy.format(**words), execution_id=execution, since=since
    )


def _ahead(queue: QueueState | None) -> str:
    if queue is None:
        return "a worker will take it"
    workers = "1 worker polls" if queue.workers == 1 else f"{queue.workers} workers poll"
    return f"{queue.ready} ready there, {queue.leased} under way, {workers}"


def _is_silent(seen: Seen, now: int) -> bool:
    return seen.task.is_leased and seen.worker is not None and seen.worker.state in ("silent", "gone")


def _is_unserved(seen: Seen, now: int) -> bool:
    each = seen.task
    return (
        not each.is_leased
        and each.kind == Kind.WORKER
        and now - each.last_poll >= UNATTENDED_MS
        and now - each.available_at >= FRESH_MS
    )


def _is_unmade(seen: Seen, now: int) -> bool:
    """No server has the built-in worker that would take it."""
    queue = seen.queue
    return (
        not seen.task.is_leased
        and queue is not None
        and queue.name.startswith(OWN)
        and not queue.workers
        and now - seen.task.available_at >= FRESH_MS
    )


CALLS = (Kind.LLM, Kind.HTTP, Kind.MCP)
"""The kinds of task that servers perform themselves."""

FORMS: dict[str, Callable[[Seen, int], bool]] = {
    "message": lambda seen, now: seen.task.kind == Kind.HUMAN and seen.task.purpose == Purpose.WAIT,
    "person": lambda seen, now: seen.task.kind == Kind.HUMAN,
    "limited refused": lambda seen, now: seen.task.available_at > now and seen.task.cause == "rate_limit",
    "retry_later": lambda seen, now: seen.task.available_at > now,
    "no_worker": _is_unserved,
    "no_worker built in": _is_unmade,
    "worker_silent": _is_silent,
    "limited": lambda seen, now: seen.task.is_leased and bool(seen.quota),
    "queued model": lambda seen, now: not seen.task.is_leased and seen.task.kind in CALLS,
    "queued": lambda seen, now: not seen.task.is_leased,
    "working model": lambda seen, now: seen.task.kind in CALLS,
    "working": lambda seen, now: True,
}
"""Which sentence an open task has: the first that holds. Its first word is the code."""

ON_ITS_OWN = "It goes on by itself; nothing has to be done."
AGAIN = (
    "Mend the cause and let it go on from there with retry(), or fork it at this step with another outcome by"
    " fork(...)."
)

SENTENCES: dict[str, tuple[str, str]] = {
    "working": ("Worker {worker} runs {name} of {agent} for {for_} and keeps its lease.", ON_ITS_OWN),
    "working model": ("{agent} waits for the answer of {name} for {for_}.", ON_ITS_OWN),
    "working between": ("The run goes on: it is between two steps.", ON_ITS_OWN),
    "no_worker": (
        "{agent} waits {for_} for a worker that serves {name}{where}: {polled}.",
        "Run the cell or process that defines {name}; the run goes on by itself then.",
    ),
    "no_worker built in": (
        "{name} of {agent} has waited for {for_}, and no server has a built-in worker for it.",
        "To make it go on, {start}.",
    ),
    "worker_silent": (
        "Worker {worker} has had {name} of {agent} for {for_}. {silent}",
        "See whether its process still lives and start it again if not: the task is given to another worker.",
    ),
    "person": (
        "{agent} waits {for_} for a person: {question}.",
        "Answer in the inbox, with `agentspan inbox`, or by approve(), reject() or respond() of the run's handle.",
    ),
    "message": ("{agent} waits {for_} for a message.", "Send it one by send_message() of the run's handle."),
    "retry_later": (
        "Attempt {attempt} of {attempts} of {name} begins in {in_}, after: {error}.",
        "It goes on by itself; mend the cause until then.",
    ),
    "limited": (
        "The call of {name} by {agent} has been under way for {for_}, and {quota}.",
        "It goes on by itself; a higher limit at the provider or in AGENTSPAN_LIMITS makes it faster.",
    ),
    "limited refused": (
        "The provider of {name} has refused the call for its rate; attempt {attempt} begins in {in_}.",
        "It goes on by itself; a higher limit at the provider, or a lower one in AGENTSPAN_LIMITS, avoids it.",
    ),
    "queued": (
        "{name} of {agent} has waited for {for_} in its queue{where}: {ahead}.",
        "It is taken as soon as a worker has room; start more workers of {name} to make it faster.",
    ),
    "queued model": (
        "The call of {name} by {agent} has waited for {for_} for the server to make it: {ahead}.",
        "It is made as soon as the server has room; see that it runs and does not drain.",
    ),
    "paused": ("The run has been paused for {for_}.", "Let it go on by resume() of the run's handle."),
    "budget": (
        "The run was ended because its budget is used: {reason}.",
        "Give it a larger one by continue_with(Budget(...)): it goes on where it was.",
    ),
    "failed FAILED": ("{step} of {agent} failed: {error}.", AGAIN),
    "failed TIMED_OUT": (
        "The run took longer than it may, at {step} of {agent}: {error}.",
        "Give the agent a longer timeout_seconds, or let it go on from there with retry().",
    ),
    "ended COMPLETED": ("The run has completed ({reason}).", "Nothing has to be done; fork it to try something else."),
    "ended FAILED": ("The run failed: {reason}.", AGAIN),
    "ended TIMED_OUT": (
        "The run took longer than it may: {reason}.",
        "Give the agent a longer timeout_seconds, or let it go on from there with retry().",
    ),
    "ended TERMINATED": (
        "The run was ended from outside: {reason}.",
        "Let it go on where it was with retry(), if it was not meant to end.",
    ),
}
"""What a reader is told, and what to do, by the code; a second word tells several sentences of a code apart."""

RANKS = (
    "paused", "no_worker", "worker_silent", "person", "message", "limited", "retry_later", "queued", "working",
    "budget", "failed", "ended",
)  # fmt: skip
"""The codes: what holds a run up comes first."""


# What must be known


async def asked(engine: "Engine", execution: str) -> Why:
    """Why a run, or an agent below it, stands as it does. NotFound."""
    known = await engine.reads.query(lambda connection: standing(engine.reads, connection, execution))
    roster = await engine.roster() if known.tasks else None
    seen = [_seen(engine, roster, each) for each in known.tasks] if roster else []
    return why(known, seen, now_ms())


def _seen(engine: "Engine", roster: Roster, each: Open) -> Seen:
    of_model = each.kind == Kind.LLM
    place = (QUEUES[Kind(each.kind)], "") if each.kind in QUEUES else (each.name, each.domain)
    queue = next((queue for queue in roster.queues if (queue.name, queue.domain) == place), None)
    if of_model:
        mine = each.is_leased and each.worker == engine.replica
        return Seen(each, None, queue, _quota(engine, each) if mine else "")
    return Seen(each, next((worker for worker in roster.workers if worker.worker_id == each.worker), None), queue)


def _quota(engine: "Engine", each: Open) -> str:
    """What holds up the calls of a provider, "" if nothing does."""
    quota = quota_for(each.name, each.base_url or None, engine.settings)
    if quota is None:
        return ""
    if rest := quota.resting:
        return f"the provider {quota.provider} wants to be left alone for {span(int(rest * 1000) + 999)}"
    waiting = "1 call waits" if quota.waiting == 1 else f"{quota.waiting} calls wait"
    return f"{waiting} for the quota of {quota.provider}" if quota.waiting else ""
