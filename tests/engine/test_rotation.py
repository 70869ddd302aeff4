"""Master keys that change: what former keys have sealed is read, sealed anew, and never lost on the way."""

import asyncio
import base64
import hashlib
import hmac
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from agentspan.config import Settings
from agentspan.engine.engine import Engine
from agentspan.engine.secrets import check_start
from agentspan.engine.signing import Call
from agentspan.errors import ConfigurationProblem, Unauthorized
from agentspan.store import secrets, tables
from agentspan.store.secrets import CREDENTIAL, WEBHOOK, Keys
from agentspan.store.views import Hook
from tests.engine.house import agent, calls, opened, script, settings, take, tool

OLD, NEW, OTHER = (bytes([letter]) * 32 for letter in b"onx")
VALUE = "sk-canary-0123456789"
ROOT = Path(__file__).parents[2]
HOOK_SECRET = "whsec-canary-0123456789"


def using(*names: str) -> dict[str, Any]:
    return {"config": {"credentials": list(names)}}


async def filled(engine: Engine, count: int = 1) -> None:
    """So many credentials, and a webhook."""
    for number in range(count):
        await engine.secrets.save(f"KEY{number}", f"{VALUE}{number}")
    await engine.deploy(agent(script("done"), name="helper"))
    await engine.life.save_hook(Hook("push", "helper", HOOK_SECRET))


async def values(engine: Engine, count: int) -> list[str]:
    names = [f"KEY{number}" for number in range(count)]
    found = await engine.reads.query(lambda c: secrets.find(c, names))
    return [engine.secrets.ring.open(found[name]) for name in names]


async def key_ids(engine: Engine) -> dict[str, int]:
    return await engine.reads.query(secrets.key_ids)


def signed(body: bytes) -> Call:
    return Call(body, "sha256=" + hmac.new(HOOK_SECRET.encode(), body, hashlib.sha256).hexdigest())


async def test_all_is_sealed_anew_under_the_present_key_and_the_former_is_needed_no_more(
    database_url: str, tmp_path: Path
) -> None:
    async with opened(database_url, tmp_path, master_key=OLD) as engine:
        await filled(engine, 5)
    async with opened(database_url, tmp_path, master_key=NEW, old_master_keys=(OTHER, OLD)) as engine:
        assert await values(engine, 5) == [f"{VALUE}{number}" for number in range(5)]
        assert len(await engine.secrets.all()) == 5
        first, second = await engine.secrets.rotate(most=4), await engine.secrets.rotate()
        assert (first.resealed, first.left, second.resealed, second.left) == (4, 2, 2, 0)
        assert (await engine.secrets.rotate()).resealed == 0
    async with opened(database_url, tmp_path, master_key=NEW) as engine:
        assert await key_ids(engine) == {Keys(NEW).id: 6}
        assert await values(engine, 5) == [f"{VALUE}{number}" for number in range(5)]
        assert (await engine.life.call_hook("push", signed(b"{}"))).execution_id


ROTATES = """
import asyncio, pathlib, sys
from agentspan.engine import secrets
from tests.engine.house import opened

async def main():
    keys = {"master_key": b"n" * 32, "old_master_keys": (b"o" * 32,)}
    async with opened(sys.argv[1], pathlib.Path(sys.argv[2]), **keys) as engine:
        await engine.secrets.rotate()

secrets.BATCH = 1  # so that it is never done before it is killed
asyncio.run(main())
"""


async def test_a_rotation_that_is_killed_half_way_is_completed_by_the_next(postgres_url: str, tmp_path: Path) -> None:
    async with opened(postgres_url, tmp_path, master_key=OLD) as engine:
        await filled(engine, 60)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", ROTATES, postgres_url, str(tmp_path), cwd=ROOT
        )
        try:
            while len(found := await key_ids(engine)) < 2:
                assert process.returncode is None
        finally:
            process.kill()
            await process.wait()
    assert found[Keys(OLD).id] > 0
    async with opened(postgres_url, tmp_path, master_key=NEW, old_master_keys=(OLD,)) as engine:
        assert 0 < (await engine.secrets.rotate()).resealed <= found[Keys(OLD).id]
        assert await key_ids(engine) == {Keys(NEW).id: 61}
        assert await values(engine, 60) == [f"{VALUE}{number}" for number in range(60)]


async def test_replicas_that_rotate_at_once_while_values_change_lose_none(postgres_url: str, tmp_path: Path) -> None:
    async with opened(postgres_url, tmp_path, master_key=OLD) as engine:
        await filled(engine, 30)
    now = {"master_key": NEW, "old_master_keys": (OLD,)}
    async with opened(postgres_url, tmp_path, **now) as one, opened(postgres_url, tmp_path, **now) as two:
        changed = asyncio.gather(*(two.secrets.save(f"KEY{number}", "changed-value") for number in range(0, 30, 3)))
        done = await asyncio.gather(one.secrets.rotate(), two.secrets.rotate(), one.secrets.rotate())
        await changed
        assert sum(each.resealed for each in done) <= 31
        assert (await one.secrets.rotate()).left == 0
        wanted = [f"{VALUE}{number}" if number % 3 else "changed-value" for number in range(30)]
        assert await values(two, 30) == wanted


async def test_a_row_that_changed_since_it_was_read_is_left_as_it_is(sqlite_url: str, tmp_path: Path) -> None:
    async with opened(sqlite_url, tmp_path, master_key=OLD) as engine:
        await filled(engine)
        read = await engine.reads.query(lambda c: secrets.of_other_keys(c, CREDENTIAL, "another", "", 9))
        await engine.secrets.save("KEY0", "newer")
        stale = Keys(NEW).seal("KEY0", VALUE)
        done = await engine.secrets._write(
            lambda txn: secrets.reseal(txn.connection, CREDENTIAL, read[0], Keys(NEW).id, stale)
        )
        assert (done, await values(engine, 1)) == (0, ["newer"])


async def test_what_no_key_opens_is_left_and_named(
    sqlite_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(sqlite_url, tmp_path, master_key=OTHER) as engine:
        await engine.secrets.save("STRANGE", VALUE)
    async with opened(sqlite_url, tmp_path, master_key=OLD) as engine:
        await filled(engine)
    assert "1 secrets are sealed under master keys that this server does not have" in caplog.text
    async with opened(sqlite_url, tmp_path, master_key=NEW, old_master_keys=(OLD,)) as engine:
        done = await engine.secrets.rotate()
        assert (done.resealed, done.left, done.names) == (2, 1, ["credential STRANGE"])
        with pytest.raises(ConfigurationProblem, match=r"another master key: .*or AGENTSPAN_OLD_MASTER_KEYS"):
            await engine.secrets.values("01234567-89ab-cdef-0123-456789abcdef.t1", ["STRANGE"])


async def test_a_token_lives_on_until_its_key_is_taken_away(sqlite_url: str, tmp_path: Path) -> None:
    async with opened(sqlite_url, tmp_path, master_key=OLD) as engine:
        await engine.secrets.save("KEY", VALUE)
        await engine.start(agent(script(calls("a"), "done"), tool("a", **using("KEY"))), {"prompt": "go"})
        task = await take(engine, "a")
        token = (await engine.secrets.deliver([task]))[task.task_id].token
    async with opened(sqlite_url, tmp_path, master_key=NEW, old_master_keys=(OLD,)) as engine:
        assert await engine.secrets.resolve(token, ["KEY"]) == {"KEY": VALUE}
        await engine.secrets.rotate()
        assert await engine.secrets.resolve(token, ["KEY"]) == {"KEY": VALUE}
    async with opened(sqlite_url, tmp_path, master_key=NEW) as engine:
        with pytest.raises(Unauthorized):
            await engine.secrets.resolve(token, ["KEY"])


# Tenants


def test_what_is_sealed_for_one_tenant_opens_for_no_other() -> None:
    home, one, two = Keys(NEW), Keys(NEW, "one"), Keys(NEW, "two")
    assert len({each.id for each in (home, one, two)}) == 3
    assert len({each.signing for each in (home, one, two)}) == 3
    assert Keys(NEW, "default").id == home.id
    kept = secrets.Sealed("KEY", home.id, one.seal("KEY", VALUE))
    assert one.open(kept) == VALUE
    for other in (home, two):
        with pytest.raises(ConfigurationProblem, match="was"):
            other.open(kept)


def test_the_secret_of_a_webhook_is_no_credential_and_the_other_way_round() -> None:
    keys = Keys(NEW)
    with pytest.raises(ConfigurationProblem, match="the secret of the webhook 'push' was changed in the database"):
        keys.open(secrets.Sealed("push", keys.id, keys.seal("push", VALUE)), WEBHOOK)


# Webhooks


async def test_the_secret_of_a_webhook_is_nowhere_in_its_row(database_url: str, tmp_path: Path) -> None:
    async with opened(database_url, tmp_path, master_key=NEW) as engine:
        await filled(engine)
        row = await engine.reads.query(lambda c: c.execute(sa.select(tables.hooks)).one())
        assert not any(HOOK_SECRET in str(cell) for cell in map(plain, row))
        assert (await engine.life.hook("push")).secret == ""
        assert (await engine.life.call_hook("push", signed(b"{}"))).execution_id


def plain(cell: Any) -> str:
    return bytes(cell).decode("latin-1") if isinstance(cell, bytes | memoryview) else str(cell)


async def test_what_an_older_version_kept_open_is_sealed_when_a_server_starts(
    database_url: str, tmp_path: Path
) -> None:
    async with opened(database_url, tmp_path, master_key=NEW) as engine:
        await filled(engine)
        hook = await engine.life.hook("push")
        before = msgspec.json.encode(replace(hook, secret=HOOK_SECRET))
        await engine.secrets._write(
            lambda txn: txn.connection.execute(sa.update(tables.hooks).values(data=before, key_id="", sealed=None))
        )
    async with opened(database_url, tmp_path, master_key=NEW) as engine:
        row = await engine.reads.query(lambda c: c.execute(sa.select(tables.hooks)).one())
        assert HOOK_SECRET not in " ".join(map(plain, row))
        assert (await engine.life.call_hook("push", signed(b"{}"))).execution_id


# The start


async def test_where_there_are_secrets_no_server_starts_without_a_key(postgres_url: str, tmp_path: Path) -> None:
    async with opened(postgres_url, tmp_path):
        pass
    async with opened(postgres_url, tmp_path, master_key=NEW) as engine:
        await filled(engine)
    with pytest.raises(ConfigurationProblem, match="set AGENTSPAN_MASTER_KEY"):
        await Engine.open(settings(postgres_url, tmp_path))


@pytest.mark.parametrize(
    ("is_fine", "url", "options"),
    [
        (True, "sqlite:////tmp/x.db", {}),
        (True, "sqlite:////tmp/x.db", {"auth_key": "k", "auth_secret": "s"}),
        (True, "postgresql+psycopg://x@h/d", {}),
        (False, "postgresql+psycopg://x@h/d", {"auth_key": "k", "auth_secret": "s"}),
        (False, "sqlite:////tmp/x.db", {"host": "0.0.0.0"}),
        (False, "sqlite:////tmp/x.db", {"host": "0.0.0.0", "allow_insecure_bind": True}),
    ],
)
def test_a_server_that_is_shared_does_not_start_without_a_key(
    is_fine: bool, url: str, options: dict[str, Any], tmp_path: Path
) -> None:
    given = settings(url, tmp_path, **options)
    check_start(replace(given, master_key=NEW))
    if is_fine:
        check_start(given)
    else:
        with pytest.raises(ConfigurationProblem, match=r"this server needs a master key here.*AGENTSPAN_MASTER_KEY"):
            check_start(given)


def test_former_keys_are_a_setting_that_is_never_shown(tmp_path: Path) -> None:
    texts = [base64.b64encode(each).decode() for each in (OLD, OTHER)]
    loaded = Settings.load({"AGENTSPAN_OLD_MASTER_KEYS": " , ".join(texts), "AGENTSPAN_DATA_DIR": str(tmp_path)})
    assert loaded.old_master_keys == (OLD, OTHER)
    assert not any(text in f"{loaded}{loaded.describe()}" for text in texts)
    with pytest.raises(ConfigurationProblem, match="former values of AGENTSPAN_MASTER_KEY") as caught:
        Settings.load({"AGENTSPAN_OLD_MASTER_KEYS": f"{texts[0]},short", "AGENTSPAN_DATA_DIR": str(tmp_path)})
    assert texts[0] not in str(caught.value)
