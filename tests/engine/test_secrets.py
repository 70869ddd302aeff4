"""Secrets at the engine's doors: which task is given which, by which key, and who may ask for more."""

import base64
import os
import stat
from pathlib import Path
from typing import Any

import jwt
import msgspec
import pytest

from agentspan.core import events as e
from agentspan.engine.engine import Engine
from agentspan.engine.secrets import Secrets, declared, key_file, piece
from agentspan.errors import BadInput, ConfigurationProblem, NotFound, TooMany, Unauthorized, Unavailable
from agentspan.spec import wire
from agentspan.spec.agent import AgentSpec
from agentspan.store.views import Report
from tests.engine.house import (
    agent,
    calls,
    complete,
    facts,
    log,
    opened,
    result,
    script,
    settings,
    take,
    team,
    tool,
    until,
)
from tests.postgres import Postgres

MASTER = b"k" * 32
VALUES = {"KEY": "sk-canary-0123456789", "OTHER": "other-canary-0123456789", "SHARED": "shared-canary"}


def using(*names: str) -> dict[str, Any]:
    return {"config": {"credentials": list(names)}}


async def filled(engine: Engine, **values: str) -> Engine:
    for name, value in (values or VALUES).items():
        await engine.secrets.save(name, value)
    return engine


async def given(engine: Engine, spec: AgentSpec, *queues: str, **more: Any) -> list[Any]:
    """A run of the agent: the tasks that it schedules in these queues, each with what comes with it."""
    execution = (await engine.start(spec, {"prompt": "go", **more})).execution_id
    found = []
    for queue in queues:
        task = await take(engine, queue)
        found.append((task, (await engine.secrets.deliver([task])).get(task.task_id)))
        await complete(engine, task)
    assert await result(engine, execution) == "done"
    return found


async def test_a_task_is_given_what_its_tool_declares_and_no_more(database_url: str, tmp_path: Path) -> None:
    async with opened(database_url, tmp_path, master_key=MASTER) as engine:
        await filled(engine)
        spec = agent(script(calls("a"), calls("b"), "done"), tool("a", **using("KEY", "MISSING")), tool("b"))
        (_, first), (_, second) = await given(engine, spec, "a", "b")
        assert first.values == {"KEY": VALUES["KEY"]}
        assert second is None


async def test_a_tool_that_declares_nothing_is_given_what_its_agent_and_the_run_declare(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with opened(sqlite_url, tmp_path) as engine:
        await filled(engine)
        spec = agent(
            script(calls("a"), calls("b"), "done"), tool("a"), tool("b", **using("KEY")), credentials=("OTHER",)
        )
        (_, first), (_, second) = await given(engine, spec, "a", "b", credentials=["SHARED"])
        assert first.values == {"OTHER": VALUES["OTHER"], "SHARED": VALUES["SHARED"]}
        assert second.values == {"KEY": VALUES["KEY"]}


async def test_a_sub_agent_is_not_given_what_another_declares(sqlite_url: str, tmp_path: Path) -> None:
    async with opened(sqlite_url, tmp_path) as engine:
        await filled(engine)
        one = agent(script(calls("a"), "done"), "a", name="one", credentials=("KEY",))
        two = agent(script(calls("b"), "done"), "b", name="two")
        spec = team("both", "sequential", one, two, credentials=("OTHER",))
        (_, first), (_, second) = await given(engine, spec, "a", "b")
        assert first.values == {"KEY": VALUES["KEY"]}
        assert second is None


async def test_a_token_is_good_for_what_its_run_declares_while_it_lives(database_url: str, tmp_path: Path) -> None:
    async with opened(database_url, tmp_path, master_key=MASTER) as engine:
        await filled(engine, **VALUES, STRANGE="not declared")
        below = agent(script("done"), tool("c", **using("OTHER")), name="below")
        nested = tool("ask", tool_type="agent_tool", config={"agentConfig": wire.encode(below)})
        spec = agent(script(calls("a"), "done"), tool("a", **using("KEY")), nested)
        execution = (await engine.start(spec, {"prompt": "go", "credentials": ["SHARED"]})).execution_id
        task = await take(engine, "a")
        token = (await engine.secrets.deliver([task]))[task.task_id].token
        assert await engine.secrets.resolve(token, [*VALUES, "STRANGE", "NOWHERE"]) == VALUES
        assert await engine.secrets.resolve(token, []) == {}
        await engine.pause(execution)
        assert await engine.secrets.resolve(token, ["KEY"]) == {"KEY": VALUES["KEY"]}
        await engine.cancel(execution)
        with pytest.raises(Unauthorized, match="TERMINATED"):
            await engine.secrets.resolve(token, ["KEY"])


async def test_a_token_that_the_server_did_not_make_is_refused(sqlite_url: str, tmp_path: Path) -> None:
    async with opened(sqlite_url, tmp_path, master_key=MASTER) as engine:
        await filled(engine)
        task = "01234567-89ab-cdef-0123-456789abcdef.t2"
        claims = {"iss": "agentspan execution", "sub": task.partition(".")[0], "jti": task}
        made = [
            "",
            "nonsense",
            jwt.encode(claims, MASTER, algorithm="HS256"),
            jwt.encode(claims, None, algorithm="none"),
            jwt.encode({**claims, "iss": "agentspan"}, engine.secrets.keys.signing, algorithm="HS256"),
            jwt.encode(claims, engine.secrets.keys.signing, algorithm="HS256"),
        ]
        for token in made:
            with pytest.raises(Unauthorized):
                await engine.secrets.resolve(token, ["KEY"])


async def test_a_token_may_ask_so_often_in_a_minute(sqlite_url: str, tmp_path: Path) -> None:
    async with opened(sqlite_url, tmp_path) as engine:
        doors = Secrets(engine.reads, engine.writer, engine.settings, per_minute=3)
        await doors.save("KEY", VALUES["KEY"])
        await engine.start(agent(script(calls("a"), "done"), tool("a", **using("KEY"))), {"prompt": "go"})
        task = await take(engine, "a")
        token = (await doors.deliver([task]))[task.task_id].token

        async def ask_often() -> None:
            for _ in range(7):  # at most two minutes are touched
                await doors.resolve(token, ["KEY"])

        with pytest.raises(TooMany, match="3 times"):
            await ask_often()


async def test_the_run_tells_which_secrets_it_was_given(database_url: str, tmp_path: Path) -> None:
    async with opened(database_url, tmp_path, master_key=MASTER) as engine:
        await filled(engine)
        spec = agent(script(calls("a"), "done"), tool("a", **using("KEY", "MISSING")))
        execution = (await engine.start(spec, {"prompt": "go", "credentials": ["SHARED"]})).execution_id
        task = await take(engine, "a")
        token = (await engine.secrets.deliver([task]))[task.task_id].token
        await engine.secrets.resolve(token, ["SHARED"])
        assert [(use.task_id, use.name) for use in await engine.secrets.uses(execution)] == [
            (task.task_id, "KEY"),
            (task.task_id, "SHARED"),
        ]
        with pytest.raises(NotFound):
            await engine.secrets.uses("01234567-89ab-cdef-0123-456789abcdef")


async def test_what_a_worker_reports_is_kept_without_the_values_that_it_was_given(
    database_url: str, tmp_path: Path
) -> None:
    async with opened(database_url, tmp_path, master_key=MASTER) as engine:
        await filled(engine)
        spec = agent(script(calls("a"), calls("b"), "done"), tool("a", **using("KEY", "OTHER")), tool("b"))
        execution = (await engine.start(spec, {"prompt": "go"})).execution_id
        task = await take(engine, "a")
        token = (await engine.secrets.deliver([task]))[task.task_id].token
        await engine.secrets.resolve(token, ["OTHER"])
        await engine.log(task.task_id, [f"early {VALUES['OTHER']}"])
        said = {"result": [VALUES["KEY"], {VALUES["OTHER"].encode().hex(): VALUES["SHARED"]}]}
        await engine.report(
            [Report(task_id=task.task_id, status="COMPLETED", output=said, logs=(f"late {VALUES['KEY']}",))]
        )
        plain = await take(engine, "b")
        assert await engine.secrets.deliver([plain]) == {}
        await engine.report([Report(task_id=plain.task_id, status="COMPLETED", output={"result": VALUES["KEY"]})])
        assert await result(engine, execution) == "done"
        told = [fact.output for fact in facts(await log(engine, execution), e.TaskCompleted)]
        assert {"result": ["${KEY}", {"${OTHER}": VALUES["SHARED"]}]} in told
        assert {"result": VALUES["KEY"]} in told
        assert [line for _, line in await engine.reads.logs(task.task_id)] == ["early ${OTHER}", "late ${KEY}"]


async def test_the_replica_that_hears_a_report_need_not_be_the_one_that_gave_the_values(
    postgres_url: str, tmp_path: Path
) -> None:
    async with (
        opened(postgres_url, tmp_path, master_key=MASTER) as one,
        opened(postgres_url, tmp_path, master_key=MASTER) as two,
    ):
        await filled(one)
        execution = (
            await one.start(agent(script(calls("a"), "done"), tool("a", **using("KEY"))), {"prompt": "go"})
        ).execution_id
        task = await take(one, "a")
        await one.secrets.deliver([task])
        await two.report(
            [Report(task_id=task.task_id, status="FAILED_WITH_TERMINAL_ERROR", error=f"no {VALUES['KEY']}")]
        )
        assert await result(one, execution) == "done"
        assert [fact.error for fact in facts(await log(one, execution), e.TaskFailed)] == ["no ${KEY}"]


async def test_a_fork_is_given_what_its_run_was_started_with(sqlite_url: str, tmp_path: Path) -> None:
    async with opened(sqlite_url, tmp_path) as engine:
        await filled(engine)
        spec = agent(script(calls("a"), "done"), "a")
        execution = (await engine.start(spec, {"prompt": "go", "credentials": ["SHARED"]})).execution_id
        await complete(engine, await take(engine, "a"))
        assert await result(engine, execution) == "done"
        fork = await engine.fork(execution, 2)
        task = await take(engine, "a")
        assert task.root_id == fork
        assert (await engine.secrets.deliver([task]))[task.task_id].values == {"SHARED": VALUES["SHARED"]}


async def test_a_local_server_makes_a_key_file_that_outlives_it(sqlite_url: str, tmp_path: Path) -> None:
    async with opened(sqlite_url, tmp_path) as engine:
        await filled(engine)
    file = tmp_path / "master.key"
    assert len(file.read_bytes()) == 32
    if os.name == "posix":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [name for name in os.listdir(tmp_path) if name.startswith(".key-")] == []
    async with opened(sqlite_url, tmp_path) as engine:
        assert [each.partial for each in await engine.secrets.all()] == ["sk-c...6789", "othe...6789", "****"]


def test_the_first_key_file_wins(tmp_path: Path) -> None:
    first = key_file(tmp_path / "master.key")
    assert key_file(tmp_path / "master.key") == first
    (tmp_path / "master.key").write_bytes(b"short")
    with pytest.raises(ConfigurationProblem, match="it must hold 32 bytes"):
        key_file(tmp_path / "master.key")


async def test_a_server_for_others_refuses_secrets_without_a_master_key(postgres_url: str, tmp_path: Path) -> None:
    async with opened(postgres_url, tmp_path) as engine:
        with pytest.raises(ConfigurationProblem, match="set AGENTSPAN_MASTER_KEY"):
            await engine.secrets.save("KEY", "value")
        await engine.start(agent(script(calls("a"), "done"), tool("a", **using("KEY"))), {"prompt": "go"})
        task = await take(engine, "a")
        delivery = (await engine.secrets.deliver([task]))[task.task_id]
        assert (delivery.token, delivery.values) == ("", {})
        assert "AGENTSPAN_MASTER_KEY" in delivery.problem
    assert not (tmp_path / "master.key").exists()


async def test_a_server_that_others_reach_makes_no_key_file(sqlite_url: str, tmp_path: Path) -> None:
    async with opened(sqlite_url, tmp_path, host="0.0.0.0") as engine:
        with pytest.raises(ConfigurationProblem, match="set AGENTSPAN_MASTER_KEY"):
            await engine.secrets.save("KEY", "value")


async def test_secrets_of_another_master_key_are_listed_and_not_given(sqlite_url: str, tmp_path: Path) -> None:
    async with opened(sqlite_url, tmp_path, master_key=MASTER) as engine:
        await filled(engine)
    async with opened(sqlite_url, tmp_path, master_key=b"x" * 32) as engine:
        assert [(each.name, each.partial) for each in await engine.secrets.all()] == [(name, "") for name in VALUES]
        spec = agent(script(calls("a"), "done"), tool("a", **using("KEY")))
        ((_, delivery),) = await given(engine, spec, "a")
        assert delivery.values == {}
        assert "another master key" in delivery.problem


async def test_while_the_database_is_away_a_task_brings_its_token_alone(own_postgres: Postgres, tmp_path: Path) -> None:
    async with opened(own_postgres.url, tmp_path, master_key=MASTER) as engine:
        await filled(engine)
        await engine.start(agent(script(calls("a"), "done"), tool("a", **using("KEY"))), {"prompt": "go"})
        task = await take(engine, "a")
        own_postgres.stop()
        delivery = (await engine.secrets.deliver([task]))[task.task_id]
        assert (bool(delivery.token), delivery.values, delivery.problem) == (True, {}, "")
        own_postgres.start()
        assert await until(lambda: asked(engine, delivery.token)) == {"KEY": VALUES["KEY"]}


async def asked(engine: Engine, token: str) -> dict[str, str]:
    """What the token gives, once the database is there again."""
    try:
        return await engine.secrets.resolve(token, ["KEY"])
    except Unavailable:
        return {}


async def test_what_cannot_be_kept_says_why(sqlite_url: str, tmp_path: Path) -> None:
    async with opened(sqlite_url, tmp_path) as engine:
        for name in ("", "a b", "../x", "A=B", "bindings", "resolve", "rotate", "n" * 129, "ä"):
            with pytest.raises(BadInput, match="named"):
                await engine.secrets.save(name, "value")
        for value in ("", "a\x00b", "v" * 65_537):
            with pytest.raises(BadInput):
                await engine.secrets.save("KEY", value)
        for names in (["a b"], "KEY", [3]):
            with pytest.raises(BadInput, match="credential"):
                await engine.start(agent(script("done")), {"prompt": "go", "credentials": names})
        with pytest.raises(NotFound):
            await engine.secrets.one("KEY")


def test_an_agent_s_names_are_those_of_its_whole_tree() -> None:
    router = wire.encode(agent("m/x", credentials=("R",), name="router"))
    inner = agent("m/x", tool("t", **using("T")), name="inner", credentials=("I",))
    spec = team("all", "router", inner, agent("m/x", name="plain"), router=router, credentials=("A",))
    assert declared(spec) == {"A", "I", "R", "T"}
    assert declared(agent("m/x")) == frozenset()


def test_a_piece_of_a_value_is_shown_only_if_the_value_is_long() -> None:
    assert (piece("short-password!"), piece("sk-0123456789abc")) == ("****", "sk-0...9abc")


def test_the_master_key_is_a_setting_that_is_never_shown(tmp_path: Path) -> None:
    encoded = base64.b64encode(MASTER).decode()
    loaded = settings("sqlite:////x.db", tmp_path, master_key=MASTER)
    assert msgspec.structs.asdict(loaded)["master_key"] == MASTER
    for text in (repr(loaded), str(loaded.describe())):
        assert encoded not in text
        assert MASTER.decode() not in text
