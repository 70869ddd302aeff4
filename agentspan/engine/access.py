"""The doors to who may do what: tenants, users, API keys, shared runs, and the audit of what they did.

Tenants, users, keys and shares are known to every server from memory: a change is known at once to the server that made
it, and to the others within `LOOK_SECONDS`.
"""

import asyncio
import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from agentspan.clock import new_id, now_ms
from agentspan.config import HOME, tenant_problem
from agentspan.engine import passwords
from agentspan.engine.commands import Write
from agentspan.engine.quotas import QUOTAS
from agentspan.engine.writer import Writer
from agentspan.errors import AgentspanError, BadInput, Conflict, Forbidden, NotFound
from agentspan.store import access
from agentspan.store.access import ApiKey, AuditEntry, Roll, Share, Tenant, User
from agentspan.store.ledger import Transaction
from agentspan.store.reads import Reads

log = logging.getLogger("agentspan.access")

T = TypeVar("T")

SCOPES = ("read", "answer", "control", "run", "work", "define", "secrets", "metrics", "admin")
ROLES: dict[str, frozenset[str]] = {
    "viewer": frozenset({"read", "metrics"}),
    "operator": frozenset({"read", "metrics", "answer", "control"}),
    "developer": frozenset(SCOPES) - {"admin"},
    "admin": frozenset(SCOPES),
}

LOOK_SECONDS = 3.0
"""So long a server trusts what it knows, before it asks whether something was changed."""
AGAIN_SECONDS = 0.25
"""For somebody whom nobody here knows it asks anew, but not more often than this."""
SEEN_MS = 60_000
"""When somebody was last seen is kept by the minute."""
KEY = "asp_"
NAME_CHARS = 100
TEXT_CHARS = 200
"""Of a display name, an address, a title."""
NOTE_CHARS = 500
OF_A_TENANT = 10_000
"""So many users, and so many keys and shares that are good, a tenant may have: every server keeps all of them in its
memory."""
OF_A_USER = 50
"""So many good keys somebody may have who is no admin."""
OVER_KEPT = 100
"""So many keys of somebody, and shares of a tenant, are still listed that are over."""
LONGEST_SECONDS = 10 * 365 * 24 * 3600


class Principal(Struct, frozen=True, kw_only=True):
    """Who asks. `kind`: open (a server without credentials), root (its key and secret), user, key, link or share;
    `tree`: all that a share lets be seen; `epoch` of a user's session; `maker`: the user whom a key ends with;
    `person`: in whose name they act whatever they say, "" for who may speak for others."""

    kind: str
    name: str = ""
    tenant: str = HOME
    role: str = ""
    scopes: frozenset[str] = frozenset()
    tree: str = ""
    id: str = ""
    epoch: int = 0
    maker: str = ""
    person: str = ""

    def may(self, any_of: Iterable[str]) -> bool:
        return not self.scopes.isdisjoint(any_of)


ALL = ROLES["admin"]
OPEN = Principal(kind="open", role="admin", scopes=ALL)
NOBODY = Principal(kind="nobody")


class Access:
    """Made by the server, on the database of the home tenant."""

    def __init__(self, reads: Reads, writer: Writer) -> None:
        self.reads, self.writer = reads, writer
        self._roll = Roll(-1, {}, {}, {}, {})
        self._looked = float("-inf")
        self._looking, self._again = asyncio.Lock(), asyncio.Lock()
        self._seen: dict[str, int] = {}

    # Who there is

    @property
    def roll(self) -> Roll:
        """What was last read."""
        return self._roll

    @property
    def is_fresh(self) -> bool:
        return time.monotonic() - self._looked < LOOK_SECONDS

    async def fresh(self, *, now: bool = False) -> Roll:
        """The roll as it is, or was at most LOOK_SECONDS ago. Unavailable."""
        async with self._looking:
            if now or not self.is_fresh:
                if self._roll.changes != await self.reads.query(access.changes):
                    self._roll = await self.reads.query(access.roll)
                self._looked = time.monotonic()
        return self._roll

    async def look_again(self) -> None:
        """They may be so new that this server has not heard of them."""
        asked = time.monotonic()
        async with self._again:
            if self._looked < asked:
                await asyncio.sleep(self._looked + AGAIN_SECONDS - time.monotonic())
                await self.fresh(now=True)

    def user(self, name: str, epoch: int | None = None) -> Principal | None:
        """A user who may come in: with a session of that epoch, if one is given."""
        found = self._roll.users.get(name)
        if found is None or found.disabled or self._is_closed(found.tenant) or epoch not in (None, found.epoch):
            return None
        self._mark(f"user {name}", lambda connection, at: access.user_seen(connection, name, at))
        return principal_of(found)

    def key(self, text: str) -> Principal | None:
        """Who shows this API key, whole."""
        key_id, _, secret = text.removeprefix(KEY).partition("_")
        found = self._roll.keys.get(key_id) if text.startswith(KEY) else None
        same = hmac.compare_digest(digest(secret), found.digest if found else digest(""))
        return self.key_by_id(key_id) if found and same else None

    def key_by_id(self, key_id: str) -> Principal | None:
        """An API key that is good, for who has shown it before."""
        found = self._roll.keys.get(key_id)
        if found is None or found.is_over(now_ms()) or self._is_closed(found.tenant):
            return None
        maker = self._roll.users.get(found.maker)
        if found.maker and (maker is None or maker.disabled):
            return None
        self._mark(f"key {key_id}", lambda connection, at: access.key_used(connection, key_id, at))
        # It may do no more than its maker may now, and speaks for others only if that is an admin.
        allowed = ROLES.get(maker.role, frozenset()) if maker else ALL
        return Principal(
            kind="key", name=found.name, tenant=found.tenant, role=found.role, id=found.id, maker=found.maker,
            scopes=ROLES.get(found.role, frozenset(found.scopes.split())) & allowed,
            person="" if "admin" in allowed else found.maker,
        )  # fmt: skip

    def share(self, share_id: str) -> Principal | None:
        """Who has the link of a share that is good."""
        found = self._roll.shares.get(share_id)
        if found is None or found.is_over(now_ms()) or self._is_closed(found.tenant):
            return None
        return Principal(
            kind="share", tenant=found.tenant, scopes=frozenset({"read"}), tree=found.execution, id=found.id
        )

    async def by_password(self, name: str, password: str) -> Principal | None:
        """The user of that name and password. It takes the same time whether there is one or not."""
        await self.fresh()
        # Also for who is known: a question more would tell who is not.
        await self.look_again()
        found = self._roll.users.get(name)
        right = await asyncio.to_thread(passwords.is_right, password, found.password if found else "")
        return self.user(name) if right else None

    def by_subject(self, subject: str) -> User | None:
        """The user whom an identity provider knows by that name."""
        return next((each for each in self._roll.users.values() if subject and each.subject == subject), None)

    def tenant(self, name: str) -> Tenant:
        """NotFound."""
        if found := self._roll.tenants.get(name):
            return found
        raise NotFound(f"there is no tenant {name!r}")

    def _is_closed(self, tenant: str) -> bool:
        found = self._roll.tenants.get(tenant)
        return found is None or found.disabled

    # Users

    def users(self, tenant: str) -> list[User]:
        return sorted((each for each in self._roll.users.values() if each.tenant == tenant), key=lambda each: each.name)

    def one_user(self, tenant: str, name: str) -> User:
        """A user of that tenant. NotFound, also for one of another tenant."""
        found = self._roll.users.get(name)
        if found is None or found.tenant != tenant:
            raise NotFound(f"there is no user {name!r}")
        return found

    async def add_user(self, by: Principal, given: User, password: str = "") -> User:
        """A new user. BadInput, Conflict, Forbidden where somebody would give more than they may."""
        roll = await self.fresh(now=True)
        _check_name("user", given.name)
        self._check_giving(by, given.tenant, ROLES[_role(given.role)])
        taken = Conflict(f"there is a user {given.name!r} already; names are unique over all tenants")
        if given.name in roll.users:
            raise taken
        _check_room("users", len(self.users(given.tenant)), OF_A_TENANT)
        # Of another epoch than a former user of that name, whose tokens may still be about.
        user = replace(
            given, password=await _sealed(password) if password else "", epoch=secrets.randbits(48),
            created_at=now_ms(), display_name=one_line(given.display_name), email=one_line(given.email),
        )  # fmt: skip
        if not await self._write(lambda txn: access.add_user(txn.connection, user)):
            raise taken
        return user

    async def change_user(self, by: Principal, name: str, given: Mapping[str, Any]) -> User:
        """Other values of role, disabled, display_name, email, password, subject; None leaves a value as it is. Who
        gets another password, another role or no way in must log in again. NotFound, BadInput, Forbidden, Conflict."""
        await self.fresh(now=True)
        user = self.one_user(by.tenant, name)
        given = _told(given)
        changes = {field: value for field, value in given.items() if value != getattr(user, field)}
        if changes.keys() & {"role", "password"}:
            self._check_giving(by, user.tenant, ROLES[_role(changes.get("role", user.role))])
        if password := changes.pop("password", None):
            changes["password"] = await _sealed(password)
        self._check_last_admin(user, replace(user, **changes))
        ends = bool(changes.keys() & {"role", "disabled", "password"})
        if changes:
            await self._write(lambda txn: access.change_user(txn.connection, name, changes, ends=ends))
        return self.one_user(by.tenant, name)

    async def delete_user(self, by: Principal, name: str) -> None:
        """No error if there is none."""
        await self.fresh(now=True)
        user = self._roll.users.get(name)
        if user is None or user.tenant != by.tenant:
            return
        self._check_last_admin(user, None)
        await self._write(lambda txn: access.delete_user(txn.connection, name, txn.at))

    async def change_password(self, by: Principal, old: str, new: str) -> None:
        """One's own; all sessions end. Forbidden, BadInput."""
        if by.kind != "user":
            raise BadInput("only a user has a password to change")
        if await self.by_password(by.name, old) is None:
            raise Forbidden("the old password is wrong")
        sealed = {"password": await _sealed(new)}
        if not await self._write(
            lambda txn: access.change_user(txn.connection, by.name, sealed, ends=True, epoch=by.epoch)
        ):
            raise Forbidden("somebody has changed this user meanwhile; log in again")

    # API keys

    def keys(self, by: Principal) -> list[ApiKey]:
        """Those of the tenant; of a user who is no admin, their own."""
        mine = (each for each in self._roll.keys.values() if each.tenant == by.tenant)
        return sorted(
            (each for each in mine if "admin" in by.scopes or (by.kind == "user" and each.maker == by.name)),
            key=lambda each: each.created_at,
        )

    async def add_key(self, by: Principal, given: ApiKey) -> tuple[ApiKey, str]:
        """A new key, and its text, which nobody can see again. BadInput, Forbidden."""
        await self.fresh(now=True)
        _check_name("key", given.name)
        if by.kind == "key" and "admin" not in by.scopes:
            raise Forbidden("a key makes no other keys, unless it is an admin's: log in as a user")
        scopes = ROLES[_role(given.role)] if given.role else frozenset(given.scopes.split())
        if unknown := scopes - set(SCOPES):
            raise BadInput(f"there is no scope {sorted(unknown)[0]!r}; the scopes are {', '.join(SCOPES)}")
        if not scopes:
            raise BadInput("a key needs a role or scopes")
        self._check_giving(by, given.tenant, scopes)
        at, secret = now_ms(), secrets.token_hex(24)
        theirs = [each for each in self._roll.keys.values() if each.tenant == given.tenant]
        good, forgotten = _sorted_out([each for each in theirs if each.maker == by.maker], at)
        _check_room("keys", len(theirs), OF_A_TENANT)
        if "admin" not in by.scopes:
            _check_room("keys of yours", len(good), OF_A_USER)
        own = self._roll.keys.get(by.id)
        ends = [each for each in (given.expires_at, own.expires_at if own else 0) if each]
        key = replace(
            given, id=secrets.token_hex(8), digest=digest(secret), created_by=by.name, maker=by.maker, created_at=at,
            expires_at=min(ends, default=0), scopes="" if given.role else " ".join(sorted(scopes)),
        )  # fmt: skip
        await self._write(lambda txn: access.add_key(txn.connection, key, forgotten))
        return key, f"{KEY}{key.id}_{secret}"

    async def revoke_key(self, by: Principal, key_id: str) -> None:
        """No error if there is none that they may revoke."""
        await self.fresh(now=True)
        if any(each.id == key_id for each in self.keys(by)):
            await self._write(lambda txn: access.revoke_key(txn.connection, key_id, txn.at))

    # Shared runs

    def shares(self, tenant: str) -> list[Share]:
        mine = (each for each in self._roll.shares.values() if each.tenant == tenant)
        return sorted(mine, key=lambda each: each.created_at)

    async def add_share(self, by: Principal, execution: str, note: str, seconds: int) -> Share:
        """Let a run be seen by whoever has the link, for `seconds`, or until it is revoked with 0."""
        at = now_ms()
        good, forgotten = _sorted_out(self.shares(by.tenant), at)
        _check_room("shared runs", len(good), OF_A_TENANT)
        share = Share(
            id=new_id(), tenant=by.tenant, execution=execution, note=one_line(note, NOTE_CHARS), created_by=by.name,
            created_at=at, expires_at=ending(seconds, at),
        )  # fmt: skip
        await self._write(lambda txn: access.add_share(txn.connection, share, forgotten))
        return share

    async def revoke_share(self, by: Principal, share_id: str) -> None:
        """No error if there is none."""
        await self.fresh(now=True)
        if any(each.id == share_id for each in self.shares(by.tenant)):
            await self._write(lambda txn: access.revoke_share(txn.connection, share_id, txn.at))

    # Tenants

    def tenants(self) -> list[Tenant]:
        return sorted(self._roll.tenants.values(), key=lambda each: (each.name != HOME, each.name))

    async def add_tenant(self, given: Tenant) -> Tenant:
        """BadInput, Conflict."""
        roll = await self.fresh(now=True)
        if problem := tenant_problem(given.name):
            raise BadInput(problem)
        _check_quotas(given.quotas)
        taken = Conflict(f"there is a tenant {given.name!r} already")
        if given.name in roll.tenants:
            raise taken
        tenant = replace(given, title=one_line(given.title), created_at=now_ms())
        if not await self._write(lambda txn: access.add_tenant(txn.connection, tenant)):
            raise taken
        return tenant

    async def change_tenant(self, name: str, given: Mapping[str, Any]) -> Tenant:
        """Other values of title, quotas, disabled. NotFound, BadInput."""
        await self.fresh(now=True)
        changes = _told(given)
        _check_quotas(changes.get("quotas", {}))
        if name == HOME and changes.get("disabled"):
            raise BadInput(f"the tenant {HOME!r} cannot be disabled: it keeps what is known of all others")
        self.tenant(name)
        if changes:
            await self._write(lambda txn: access.change_tenant(txn.connection, name, changes))
        return self.tenant(name)

    async def delete_tenant(self, name: str) -> None:
        """The tenant with its users, keys and shares. What it ran stays in its database. NotFound, BadInput."""
        await self.fresh(now=True)
        if name == HOME:
            raise BadInput(f"the tenant {HOME!r} cannot be deleted")
        self.tenant(name)
        await self._write(lambda txn: access.delete_tenant(txn.connection, name))

    # Parts

    def _check_giving(self, by: Principal, tenant: str, given: frozenset[str]) -> None:
        """Nobody gives more than they have, nor anything to another tenant, but the home tenant's admins."""
        if tenant != by.tenant and not (by.tenant == HOME and "admin" in by.scopes):
            raise Forbidden("only an admin of the home tenant gives access to another tenant")
        self.tenant(tenant)
        if more := given - by.scopes:
            raise Forbidden(f"you cannot give the right {sorted(more)[0]!r}, which you do not have")

    def _check_last_admin(self, before: User, after: User | None) -> None:
        """The key and secret of the settings always let an admin of the home tenant in, but not one of another."""
        is_admin = after is not None and after.role == "admin" and not after.disabled
        others = [
            each for each in self.users(before.tenant) if each.name != before.name and each.role == "admin"
            and not each.disabled
        ]  # fmt: skip
        if before.tenant != HOME and before.role == "admin" and not is_admin and not others:
            raise Conflict(f"{before.name!r} is the last admin of the tenant {before.tenant!r}; make another one first")

    def _mark(self, who: str, write: Callable[[Any, int], None]) -> None:
        """Keep that they were seen, at most once a minute. Nobody waits for it."""
        at = now_ms()
        if at - self._seen.get(who, 0) < SEEN_MS:
            return
        self._seen[who] = at
        task = asyncio.get_running_loop().create_task(self._write(lambda txn: write(txn.connection, at), fresh=False))
        task.add_done_callback(_unheard)

    async def _write(self, work: Callable[[Transaction], T], *, fresh: bool = True) -> T:
        answer: T = await self.writer.do(Write(work=work))
        if fresh:
            await self.fresh(now=True)
        return answer


class Audit:
    """What was decided and changed in one tenant. An entry is written before the change, and concluded after it: one
    that says `begun` for ever was cut off by the end of its server."""

    def __init__(self, reads: Reads, writer: Writer) -> None:
        self.reads, self.writer = reads, writer

    async def begin(self, by: Principal, who: str, action: str, subject: str, address: str) -> str:
        """The id of the new entry. Unavailable: then nothing may be changed."""
        entry = AuditEntry(
            id=new_id(), at=now_ms(), by=one_line(who), kind=by.kind, action=action, address=address,
            subject=one_line(subject, NOTE_CHARS),
        )  # fmt: skip
        await self.writer.do(Write(work=lambda txn: access.note(txn.connection, entry)))
        return entry.id

    async def conclude(self, entry_id: str, outcome: str, subject: str, detail: dict[str, Any]) -> None:
        """What became of it. `subject`: what it was about, where only the change has named it."""
        about, told = one_line(subject, NOTE_CHARS), {name: _brief(value) for name, value in detail.items()}
        await self.writer.do(Write(work=lambda txn: access.conclude(txn.connection, entry_id, outcome, about, told)))

    async def entries(
        self, wanted: dict[str, str], *, since: int = 0, until: int = 0, before: str = "", limit: int = 100
    ) -> list[AuditEntry]:
        """The newest first, older than `before`."""
        found: list[AuditEntry] = await self.reads.query(
            lambda c: access.entries(c, wanted, since, until, before, limit)
        )
        return found


def principal_of(user: User) -> Principal:
    return Principal(
        kind="user", name=user.name, tenant=user.tenant, role=user.role, scopes=ROLES.get(user.role, frozenset()),
        epoch=user.epoch, maker=user.name, person=user.name,
    )  # fmt: skip


def one_line(text: str, most: int = TEXT_CHARS) -> str:
    """A text of somebody's as one short line, which can be stored and shown anywhere."""
    return " ".join("".join(each if each.isprintable() else " " for each in text[: 4 * most]).split())[:most]


def ending(seconds: int, at: int) -> int:
    """When what begins at `at` and lasts so long is over; 0 is never. BadInput."""
    if not 0 <= seconds <= LONGEST_SECONDS:
        raise BadInput(f"expiresSeconds must be from 0 (never) to {LONGEST_SECONDS}, not {seconds}")
    return at + seconds * 1000 if seconds else 0


def digest(secret: str) -> str:
    """What is stored of a key's secret, which is as random as its digest."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _role(role: str) -> str:
    if role not in ROLES:
        raise BadInput(f"there is no role {role!r}; the roles are {', '.join(ROLES)}")
    return role


def _check_name(what: str, name: str) -> None:
    if not name.strip() or name != name.strip() or len(name) > NAME_CHARS or not name.isprintable():
        raise BadInput(f"the name of a {what} is 1 to {NAME_CHARS} printable characters, not {name!r}")


def _check_room(what: str, there: int, most: int) -> None:
    if there >= most:
        raise Conflict(f"there are {there} {what}, as many as there may be: remove some first")


def _sorted_out(found: Iterable[Any], at: int) -> tuple[list[Any], list[str]]:
    """Those keys or shares that are good; the ids of all that are over but the last ones."""
    each = sorted(found, key=lambda one: one.created_at)
    over = [one.id for one in each if one.is_over(at)]
    return [one for one in each if not one.is_over(at)], over[: max(0, len(over) - OVER_KEPT)]


def _told(given: Mapping[str, Any]) -> dict[str, Any]:
    """The changes that were asked for, without texts in which somebody could keep a book."""
    said = {name: value for name, value in given.items() if value is not None}
    return said | {name: one_line(said[name]) for name in ("display_name", "email", "title") if name in said}


def _brief(value: Any) -> Any:
    """As much of a value as the audit keeps."""
    if isinstance(value, list):
        return [_brief(each) for each in value[:20]]
    if isinstance(value, str) or len(str(value)) > NOTE_CHARS:
        return one_line(str(value), NOTE_CHARS)
    return value


def _check_quotas(quotas: Mapping[str, Any]) -> None:
    for name, value in quotas.items():
        if name not in QUOTAS:
            raise BadInput(f"there is no quota {name!r}; the quotas are {', '.join(QUOTAS)}")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
            raise BadInput(f"the quota {name} is a number of 0 or more, not {value!r}")


async def _sealed(password: str) -> str:
    if problem := passwords.problem(password):
        raise BadInput(problem)
    return await asyncio.to_thread(passwords.seal, password)


def _unheard(task: "asyncio.Task[Any]") -> None:
    if not task.cancelled() and (problem := task.exception()) and not isinstance(problem, AgentspanError):
        log.error("what nobody waited for has failed", exc_info=problem)
