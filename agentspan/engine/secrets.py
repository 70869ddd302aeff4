"""The doors to secrets: kept encrypted, given to the tasks that declare them, never a part of history.

Where the master key comes from: the setting, or on a server that only this machine reaches, with a database file of its
own, a key file in the data folder. Other servers refuse to keep or to hand out secrets until they have the setting, and
to start where there are secrets. Former keys still open what they have sealed, until all is sealed anew (`rotate`).
"""

import asyncio
import ipaddress
import logging
import os
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from msgspec.structs import replace

from agentspan.clock import now_ms
from agentspan.config import MASTER_KEY_BYTES, Settings
from agentspan.core.ids import split_execution, split_task, task_id
from agentspan.engine.commands import Write
from agentspan.engine.writer import Writer
from agentspan.errors import (
    AgentspanError,
    BadInput,
    ConfigurationProblem,
    NotFound,
    TooMany,
    Unauthorized,
    Unavailable,
)
from agentspan.spec.agent import AgentSpec
from agentspan.spec.check import below
from agentspan.spec.credentials import name_problem, names_problem, of_tool
from agentspan.spec.redact import redacted, redactor
from agentspan.store import hooks, secrets
from agentspan.store.ledger import Transaction
from agentspan.store.reads import Reads
from agentspan.store.secrets import CREDENTIAL, WEBHOOK, Keys, Ring, Sealed, What
from agentspan.store.views import Delivery, Hook, Report, Rotation, SecretUse, SecretView, TaskView

T = TypeVar("T")

log = logging.getLogger("agentspan.engine")

KEY_FILE = "master.key"
VALUE_CHARS = 64 * 1024
BATCH = 100
"""How many secrets are sealed anew in one transaction."""
ROTATED = 1000
"""How many secrets one request seals anew, at most."""
NAMED = 20
TELLING_CHARS = 16
"""The shortest value of which a piece may be shown."""
PER_MINUTE = 120
"""How often one token may ask."""
TOKENS_KEPT = 10_000
MINUTE_MS = 60_000
LOOK_MS = 10_000
FOR_EVER = 1 << 62
_ISSUER = "agentspan execution"


class Secrets:
    """Made by the engine. `per_minute` bounds how often one token may ask."""

    def __init__(self, reads: Reads, writer: Writer, settings: Settings, per_minute: int = PER_MINUTE) -> None:
        self.reads, self.writer, self.settings, self.per_minute = reads, writer, settings, per_minute
        self._ring: Ring | None = None
        self._asked: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._given: OrderedDict[str, frozenset[str]] = OrderedDict()
        self._kept_until = 0

    @property
    def ring(self) -> Ring:
        """ConfigurationProblem where a master key must be set and is not."""
        if self._ring is None:
            tenant = self.settings.tenant
            old = (Keys(each, tenant) for each in self.settings.old_master_keys)
            self._ring = Ring(Keys(master_key(self.settings), tenant), *old)
        return self._ring

    @property
    def keys(self) -> Keys:
        """Those that seal. ConfigurationProblem where a master key must be set and is not."""
        return self.ring.present

    async def begin(self) -> None:
        """Seal what an older version has kept open. ConfigurationProblem where there are secrets and no key."""
        kept = await self.reads.query(secrets.key_ids)
        if not kept:
            return
        ring = self.ring
        while kept.get("") and (open_ones := await self.reads.query(partial(hooks.open_ones, limit=BATCH))):
            closed = [(hook, self.sealed(hook.name, hook.secret, WEBHOOK)) for hook in open_ones]
            await self._write(partial(_seal_hooks, closed))
        if strange := sum(count for key_id, count in kept.items() if key_id and key_id not in ring.by_id):
            log.warning("%d secrets are sealed under master keys that this server does not have", strange)

    # What is kept

    async def save(self, name: str, value: str) -> None:
        """Keep a value under a name, or replace the one that is there. BadInput, ConfigurationProblem."""
        if problem := name_problem(name) or _value_problem(value):
            raise BadInput(problem)
        kept, self._kept_until = self.sealed(name, value), FOR_EVER
        await self._write(lambda txn: secrets.save(txn.connection, replace(kept, created_at=txn.at, updated_at=txn.at)))

    def sealed(self, name: str, value: str, what: What = CREDENTIAL) -> Sealed:
        """A secret as it may be kept. ConfigurationProblem."""
        return Sealed(name, self.keys.id, self.keys.seal(name, value, what))

    async def all(self) -> list[SecretView]:
        """All names, without the values."""
        return [self._shown(each) for each in await self.reads.query(secrets.all_secrets)]

    def unreadable(self, sealed: dict[str, int]) -> int:
        """How many of these secrets, counted by the id of their key, cannot be opened here."""
        strange = {key_id: count for key_id, count in sealed.items() if key_id}
        try:
            known = self.ring.by_id.keys() if strange else ()
        except ConfigurationProblem:
            known = ()
        return sum(count for key_id, count in strange.items() if key_id not in known)

    async def one(self, name: str) -> SecretView:
        found = await self.reads.query(partial(secrets.one, name=name))
        if found is None:
            raise NotFound(f"there is no credential {name!r}")
        return self._shown(found)

    async def delete(self, name: str) -> None:
        """No error if there is none."""
        await self._write(lambda txn: secrets.delete(txn.connection, name))

    # Other names

    async def bindings(self) -> dict[str, str]:
        """Which names stand for the secret of which other."""
        return await self.reads.query(secrets.bindings)

    async def bind(self, logical_key: str, store_name: str) -> None:
        """From now on `logical_key` stands for the secret `store_name`, which may be stored later. BadInput."""
        if problem := name_problem(logical_key) or name_problem(store_name):
            raise BadInput(problem)
        await self._write(lambda txn: secrets.bind(txn.connection, logical_key, store_name))

    async def unbind(self, logical_key: str) -> None:
        """No error if it stands for none."""
        await self._write(lambda txn: secrets.unbind(txn.connection, logical_key))

    # Keys that change

    async def rotate(self, most: int = ROTATED) -> Rotation:
        """Seal up to `most` secrets of other keys under the present one; what none of the server's keys opens is left
        as it is. To be asked for again until nothing is resealed: it is as good if it was cut off, or is done twice."""
        resealed = 0
        for what in secrets.KINDS:
            after = ""
            while resealed < most and (found := await self._of_other_keys(what, after, min(BATCH, most - resealed))):
                after = found[-1].name
                resealed += await self._write(partial(_reseal, what, self._sealed_anew(found, what), self.keys.id))
        left = [
            (what.called, each.name) for what in secrets.KINDS for each in await self._of_other_keys(what, "", most)
        ]
        return Rotation(self.keys.id, resealed, len(left), [" ".join(each) for each in left[:NAMED]])

    async def _of_other_keys(self, what: What, after: str, limit: int) -> list[Sealed]:
        return await self.reads.query(lambda c: secrets.of_other_keys(c, what, self.keys.id, after, limit))

    def _sealed_anew(self, found: list[Sealed], what: What) -> list[tuple[Sealed, bytes]]:
        made = []
        for old in found:
            with suppress(ConfigurationProblem):  # it is told among those that are left
                made.append((old, self.keys.seal(old.name, self.ring.open(old, what), what)))
        return made

    # What tasks are given

    async def deliver(self, views: Sequence[TaskView]) -> dict[str, Delivery]:
        """What goes with tasks to the workers that have just taken them, by task id; most tasks declare nothing."""
        wanted = [view for view in views if view.credentials]
        for view in views:
            self._remember(view.task_id, ())
        given = await asyncio.gather(*(self._delivery(view) for view in wanted))
        return {view.task_id: each for view, each in zip(wanted, given, strict=True)}

    async def _delivery(self, view: TaskView) -> Delivery:
        token = ""
        try:
            token = self._token(view.task_id)
            return Delivery(token, await self.values(view.task_id, view.credentials))
        except Unavailable:
            # The worker asks for them by the token, until the database is there again.
            return Delivery(token)
        except AgentspanError as problem:
            # The task is leased already: it fails in its worker, which says why.
            return Delivery(problem=problem.message)

    async def values(self, task: str, names: Iterable[str]) -> dict[str, str]:
        """The values that a task may be given, by name; what is not stored is left out. That it was given them is
        noted before it is."""
        found = await self.reads.query(partial(secrets.find, names=names))
        given = {name: self.ring.open(kept) for name, kept in found.items()}
        if given:
            tree, number = split_task(task)
            uses = [(tree, number, name) for name in given]
            self._remember(task, given)
            await self._write(lambda txn: secrets.note(txn.connection, uses, txn.at))
        return given

    async def resolve(self, token: str, names: Sequence[str]) -> dict[str, str]:
        """The values for who shows the token of a task, as long as its run lives: those of the names that the run
        declares and that are stored. Unauthorized, TooMany."""
        if problem := names_problem(names):
            raise BadInput(problem)
        task = self._task_of(token)
        self._count(task)
        allowed = await self._allowed(task)
        return await self.values(task, [name for name in names if name in allowed])

    async def cleaned(self, reports: Sequence[Report]) -> Sequence[Report]:
        """Reports without the values that their tasks were given, which workers of one's own may not have taken out."""
        names = await self._names_given([each.task_id for each in reports])
        return [await self._cleaned(each, names[each.task_id]) if names.get(each.task_id) else each for each in reports]

    async def cleaned_lines(self, task: str, lines: Sequence[str]) -> Sequence[str]:
        """`cleaned` for lines of the log of a task."""
        names = (await self._names_given([task])).get(task)
        told: Sequence[str] = redacted(list(lines), await self.open(names)) if names else lines
        return told

    async def _cleaned(self, report: Report, names: frozenset[str]) -> Report:
        without = redactor(await self.open(names))
        told = without({"output": report.output, "error": report.error, "logs": list(report.logs)})
        return replace(report, output=told["output"], error=told["error"], logs=tuple(told["logs"]))

    async def _names_given(self, tasks: Sequence[str]) -> dict[str, frozenset[str]]:
        """Which names these tasks were given, here or by another replica; nothing is asked where nothing is stored."""
        known = {task: self._given[task] for task in tasks if task in self._given}
        if (unknown := [task for task in tasks if task not in known]) and await self._are_kept():
            keys = {split_task(task): task for task in unknown}
            found = await self.reads.query(partial(secrets.given_to, tasks=list(keys)))
            known |= {keys[key]: frozenset(names) for key, names in found.items()}
        return known

    async def _are_kept(self) -> bool:
        """Are there any secrets? What is not there is looked for now and then: others may store the first."""
        now = now_ms()
        if self._kept_until < now:
            are_kept = bool(await self.reads.query(secrets.key_ids))
            self._kept_until = FOR_EVER if are_kept else now + LOOK_MS
        return self._kept_until == FOR_EVER

    async def open(self, names: Iterable[str]) -> dict[str, str]:
        """The values of those of these names that are stored and can be read: for the server's own calls, and to take
        them out of what comes back."""
        found = await self.reads.query(partial(secrets.find, names=names))
        values = {}
        for name, kept in found.items():
            with suppress(ConfigurationProblem):  # what cannot be opened was given to nobody
                values[name] = self.ring.open(kept)
        return values

    def _remember(self, task: str, names: Iterable[str]) -> None:
        self._given[task] = self._given.pop(task, frozenset()).union(names)
        if len(self._given) > TOKENS_KEPT:
            self._given.popitem(last=False)

    async def uses(self, execution: str) -> list[SecretUse]:
        """Which secrets a run was given, its sub-agents' too. NotFound."""
        await self.reads.row(execution)
        tree, _ = split_execution(execution)
        found = await self.reads.query(partial(secrets.uses, tree=tree))
        return [SecretUse(task_id(tree, number), name, at) for number, name, at in found]

    # Tokens

    def _token(self, task: str) -> str:
        """Good for the run of this task as long as it lives; of no use for anything else."""
        import jwt

        tree, _ = split_task(task)
        claims = {"iss": _ISSUER, "sub": tree, "jti": task, "iat": now_ms() // 1000}
        return jwt.encode(claims, self.keys.signing, algorithm="HS256", headers={"kid": self.keys.id})

    def _task_of(self, token: str) -> str:
        import jwt

        options: Any = {"require": ["sub", "jti"], "verify_iat": False}
        try:
            keys = self.ring.by_id.get(str(jwt.get_unverified_header(token).get("kid")), self.keys)
            claims = jwt.decode(token, keys.signing, algorithms=["HS256"], issuer=_ISSUER, options=options)
        except jwt.PyJWTError as problem:
            raise Unauthorized("this is no execution token of this server") from problem
        return str(claims["jti"])

    async def _allowed(self, task: str) -> frozenset[str]:
        """The names that the task's run may ask for. Unauthorized when it is over."""
        tree, _ = split_task(task)
        try:
            scene = await self.reads.query(lambda connection: self.reads.scene(connection, tree))
        except NotFound as problem:
            raise Unauthorized("the run of this execution token is gone") from problem
        if scene.run.ended:
            raise Unauthorized(f"the run of this execution token is {scene.run.status}")
        return declared(scene.root) | frozenset(scene.run.credentials)

    def _count(self, task: str) -> None:
        """TooMany if the token of this task has asked too often in this minute."""
        minute = now_ms() // MINUTE_MS
        began, asked = self._asked.pop(task, (minute, 0))
        asked = asked + 1 if began == minute else 1
        self._asked[task] = (minute, asked)
        if len(self._asked) > TOKENS_KEPT:
            self._asked.popitem(last=False)
        if asked > self.per_minute:
            raise TooMany(f"this execution token has asked {self.per_minute} times in this minute; wait for the next")

    # Parts

    def _shown(self, kept: Sealed) -> SecretView:
        try:
            partial_ = piece(self.ring.open(kept))
        except ConfigurationProblem:
            partial_ = ""
        return SecretView(kept.name, partial_, kept.created_at, kept.updated_at)

    async def _write(self, work: Callable[[Transaction], T]) -> T:
        answer: T = await self.writer.do(Write(work=work))
        return answer


def check_start(settings: Settings) -> None:
    """ConfigurationProblem for a server that others than this machine's users share, and that has no master key: it
    must not be found out when the first secret is stored."""
    is_shared = not _is_loopback(settings.host) or bool(settings.auth_secret and not _is_file(settings))
    if is_shared and not settings.master_key:
        raise ConfigurationProblem(NEEDS_KEY.format(what="this server needs"))


def declared(spec: AgentSpec) -> frozenset[str]:
    """All names that an agent and all below it declare."""
    own = {*spec.credentials, *(name for tool in spec.tools for name in of_tool(tool))}
    return frozenset(own.union(*map(declared, below(spec))))


def piece(value: str) -> str:
    """A piece of a long value to know it by; of a short one, nothing."""
    return f"{value[:4]}...{value[-4:]}" if len(value) >= TELLING_CHARS else "****"


def master_key(settings: Settings) -> bytes:
    """The key that everything is derived from."""
    check_key(settings)
    return settings.master_key or key_file(settings.data_dir / KEY_FILE)


def check_key(settings: Settings) -> None:
    """ConfigurationProblem where a key must be set, because one that is made here would be known here alone."""
    if not settings.master_key and not (_is_file(settings) and _is_loopback(settings.host)):
        raise ConfigurationProblem(NEEDS_KEY.format(what="credentials and webhooks need"))


def key_file(path: Path) -> bytes:
    """The key of a file that only its owner may read; a new one if there is none."""
    if not path.exists():
        _make(path)
    key = path.read_bytes()
    if len(key) != MASTER_KEY_BYTES:
        raise ConfigurationProblem(f"{path} is no master key: it must hold {MASTER_KEY_BYTES} bytes")
    return key


def _make(path: Path) -> None:
    """Write a key so that nobody ever sees half of it, and that the first of two writers wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".key-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(os.urandom(MASTER_KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        os.link(name, path)
    except FileExistsError:
        return
    except OSError as problem:
        raise ConfigurationProblem(
            f"{path} cannot be written: {problem.strerror}; set AGENTSPAN_MASTER_KEY"
        ) from problem
    finally:
        os.unlink(name)


def _seal_hooks(closed: list[tuple[Hook, Sealed]], txn: Transaction) -> None:
    for hook, secret in closed:
        hooks.seal(txn.connection, hook, secret)


def _reseal(what: What, made: list[tuple[Sealed, bytes]], key_id: str, txn: Transaction) -> int:
    return sum(secrets.reseal(txn.connection, what, old, key_id, data) for old, data in made)


def _value_problem(value: str) -> str | None:
    if not value:
        return "a credential needs a value"
    if "\x00" in value:
        return "a NUL character is not allowed in credentials"
    return f"a credential has at most {VALUE_CHARS} characters" if len(value) > VALUE_CHARS else None


def _is_file(settings: Settings) -> bool:
    return settings.database_url.startswith("sqlite")


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


NEEDS_KEY = (
    "{what} a master key here, the same for every server of this database: "
    "set AGENTSPAN_MASTER_KEY to what `openssl rand -base64 32` prints, and keep it safe"
)
