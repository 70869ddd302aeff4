"""The doors to what deployed agents live with: versions, prompt templates, schedules, webhooks."""

from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import Any, TypeVar

from msgspec.structs import replace

from agentspan.clock import now_ms
from agentspan.engine import cron, scheduler, signing
from agentspan.engine.commands import Write
from agentspan.engine.secrets import Secrets
from agentspan.engine.writer import Writer
from agentspan.errors import BadInput, NotFound
from agentspan.spec import wire
from agentspan.spec.agent import AgentSpec
from agentspan.spec.diff import diff
from agentspan.store import definitions, hooks, schedules, templates
from agentspan.store.ledger import Transaction
from agentspan.store.reads import Reads
from agentspan.store.secrets import WEBHOOK
from agentspan.store.views import Hook, Kept, Schedule, Started, Template

Json = dict[str, Any]
T = TypeVar("T")

Start = Callable[..., Awaitable[Started]]


class Life:
    """`due` has the sweeper look at a moment, `start` begins a run, `find` gives a deployed agent as it would run."""

    def __init__(
        self,
        reads: Reads,
        writer: Writer,
        due: Callable[[int], None],
        start: Start,
        find: scheduler.Find,
        secrets: Secrets,
    ) -> None:
        self.reads, self.writer, self.due, self.start, self.find = reads, writer, due, start, find
        self.secrets = secrets

    # Versions

    async def versions(self, name: str) -> list[tuple[int, int, str, AgentSpec]]:
        """Number, time, digest and spec of each version of a deployed agent, the newest first. NotFound."""
        rows = await self.reads.query(lambda c: definitions.versions(c, name))
        if not rows:
            raise NotFound(f"no agent {name!r} is deployed")
        return [(row.version, row.created_at, row.digest, wire.load(row.data)) for row in rows]

    async def roll_back(self, name: str, version: int) -> int:
        """Make an old version's content the latest again, as a new version; gives its number. Runs are not touched."""
        new = await self._write(lambda txn: definitions.roll_back(txn.connection, name, version, txn.at))
        if new is None:
            raise NotFound(f"no agent {name!r} is deployed in version {version}")
        return new

    async def diff(self, name: str, before: int, after: int) -> list[Json]:
        """`{path, before, after}` for each place in which two versions of an agent differ."""
        old, *_ = await self.reads.definition(name, before)
        new, *_ = await self.reads.definition(name, after)
        return diff(wire.encode(old), wire.encode(new))

    # Prompt templates

    async def templates(self) -> Sequence[Template]:
        """All of them, each in its latest version."""
        return await self.reads.query(templates.latest)

    async def template(self, name: str, version: int | None = None) -> Template:
        found = await self.reads.query(lambda c: templates.find(c, name, version))
        if found is None:
            raise NotFound(f"there is no prompt template {name!r}" + (f" in version {version}" if version else ""))
        return found

    async def template_versions(self, name: str) -> Sequence[Template]:
        """The newest first."""
        found = await self.reads.query(lambda c: templates.versions(c, name))
        if not found:
            raise NotFound(f"there is no prompt template {name!r}")
        return found

    async def save_template(self, name: str, text: str, description: str = "", models: str = "") -> int:
        """Keep a text under a name; gives its version, a new one if the text is new."""
        if not text.strip():
            raise BadInput("a prompt template needs a text: send it as the body")
        _clean(name, text, description, models)
        return await self._write(lambda txn: templates.save(txn.connection, name, text, description, models, txn.at))

    async def delete_template(self, name: str) -> None:
        if not await self._write(lambda txn: templates.delete(txn.connection, name)):
            raise NotFound(f"there is no prompt template {name!r}")

    # Schedules

    async def schedules(self, agent: str = "") -> Sequence[Kept]:
        """Those of an agent, or all."""
        return await self.reads.query(lambda c: schedules.all_schedules(c, agent))

    async def schedule(self, name: str) -> Kept:
        kept = await self.reads.query(lambda c: schedules.find(c, name))
        if kept is None:
            raise NotFound(f"there is no schedule {name!r}")
        return kept

    async def save_schedule(self, schedule: Schedule) -> Kept:
        """Keep a schedule, or replace the one of that name. BadInput, NotFound for its agent, Conflict."""
        scheduler.check(schedule)
        _clean(schedule.name)
        await self.reads.definition(schedule.agent, schedule.version)
        return await self._scheduled(lambda txn: scheduler.save(txn, schedule))

    async def pause_schedule(self, name: str, paused: bool = True) -> Kept:
        """Let a schedule rest, or go on with its next tick."""
        return await self._scheduled(lambda txn: scheduler.pause(txn, name, paused))

    async def delete_schedule(self, name: str) -> None:
        """Runs that it began go on."""
        if not await self._write(lambda txn: schedules.delete(txn.connection, name)):
            raise NotFound(f"there is no schedule {name!r}")

    async def run_schedule(self, name: str) -> Started:
        """Start what a schedule would start, now, whatever its overlap policy says; its ticks are not touched."""
        schedule = (await self.schedule(name)).schedule
        spec, version = await self.find(schedule.agent, schedule.version)
        given = scheduler.input_of(schedule, now_ms())
        return await self.start(
            spec,
            given,
            session_id=str(given.get("session_id") or ""),
            run_id=schedule.run_id,
            correlation_id=f"schedule:{name}:now",
            priority=schedule.priority,
            version=version,
        )

    def moments(self, expression: str, zone: str, after: int, until: int, count: int) -> list[int]:
        """The next moments of a cron expression after one (0: now), up to another (0: no end)."""
        cron.check(expression, zone)
        found = islice(cron.moments(expression, zone, after or now_ms()), count)
        return [each for each in found if not until or each <= until]

    # Webhooks

    async def hooks(self) -> Sequence[Hook]:
        """All of them, without their secrets."""
        return await self.reads.query(hooks.all_hooks)

    async def hook(self, name: str) -> Hook:
        """Without its secret. NotFound."""
        found = await self.reads.query(lambda c: hooks.find(c, name))
        if found is None:
            raise NotFound(f"there is no webhook {name!r}")
        return found

    async def save_hook(self, hook: Hook) -> Hook:
        """Keep a webhook, or replace the one of that name. BadInput, NotFound for its agent, ConfigurationProblem."""
        signing.check(hook)
        _clean(hook.name, hook.prompt)
        await self.reads.definition(hook.agent, hook.version)
        secret = self.secrets.sealed(hook.name, hook.secret, WEBHOOK)
        await self._write(lambda txn: hooks.save(txn.connection, hook, secret, txn.at))
        return await self.hook(hook.name)

    async def delete_hook(self, name: str) -> None:
        """Runs that it began go on."""
        if not await self._write(lambda txn: hooks.delete(txn.connection, name)):
            raise NotFound(f"there is no webhook {name!r}")

    async def call_hook(self, name: str, call: signing.Call) -> Started:
        """Start a run of the webhook's agent. Unauthorized unless the call is signed. A delivery twice is one run."""
        signing.check_signed(call)
        hook = await self._hook_to_check(name)
        signature = signing.verify(hook, call, now_ms())
        payload = signing.payload_of(call.body)
        spec, version, _ = await self.reads.definition(hook.agent, hook.version)
        # With its time signed, a call is only itself once; without, the same body may rightly come again.
        key = call.delivery or (signature if hook.tolerance_seconds else "")
        return await self.start(
            spec,
            {"prompt": signing.prompt_of(hook, payload), "context": {"payload": payload}},
            idempotency_key=f"hook:{name}:{key}" if key else "",
            version=version,
        )

    async def _hook_to_check(self, name: str) -> Hook:
        """With its secret. NotFound."""
        hook = await self.hook(name)
        kept = await self.reads.query(lambda c: hooks.secret_of(c, name))
        return replace(hook, secret=self.secrets.ring.open(kept, WEBHOOK)) if kept else hook

    async def _scheduled(self, work: Callable[[Transaction], Kept]) -> Kept:
        kept = await self._write(work)
        self.due(kept.due_at)
        return kept

    async def _write(self, work: Callable[[Transaction], T]) -> T:
        answer: T = await self.writer.do(Write(work=work))
        return answer


def _clean(*texts: str) -> None:
    if any("\x00" in text for text in texts):
        raise BadInput("a NUL character is not allowed in names and texts")
