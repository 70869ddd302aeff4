"""What Prometheus is told: everything that the table names, of each tenant, whatever is wrong, at little cost."""

import base64
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from agentspan import clock
from agentspan.engine.figures import MODELS_KEPT, OTHERS, Figures
from agentspan.errors import Unavailable
from agentspan.server.metrics import FAMILIES, Sheet, merged
from agentspan.store import vitals
from tests.server.conftest import KEY
from tests.server.running import ADD, Running, agent, running
from tests.server.test_access import key, made, root, started

Samples = dict[tuple[str, ...], float]


async def samples(server: Running) -> Samples:
    """Name and labels of each sample, and its value."""
    answer = await server.http.get("/metrics")
    assert answer.status_code == 200, answer.text
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_names_and_texts_are_as_prometheus_wants_them() -> None:
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)
    for family in FAMILIES:
        assert family.name.startswith("agentspan_")
        assert not family.name.endswith(("_total", "_count", "_sum", "_bucket"))
        assert family.text[0].isupper() or family.text[0].isdigit()
        assert not family.text.endswith(".")


async def test_everything_that_the_table_names_is_told(server: Running) -> None:
    await server.run()
    text = (await server.http.get("/metrics")).text
    told = {family.name: family for family in text_string_to_metric_families(text)}
    assert [each.name for each in FAMILIES if each.name not in told] == []
    assert [each.name for each in FAMILIES if told[each.name].documentation != each.text] == []
    assert "process_resident_memory_bytes" in told


async def test_what_becomes_of_runs_and_tasks_is_counted(server: Running) -> None:
    await server.run()
    await server.run(agent("broken"))
    await server.start(agent("adder", ADD, name="other"))
    [task] = await server.poll()
    before = await samples(server)
    await server.http.post("/api/tasks", json={**failure(task), "status": "FAILED"})
    found = await samples(server)
    assert found["agentspan_executions_started_total",] == 3
    assert found["agentspan_executions_ended_total", "COMPLETED"] == 1
    assert found["agentspan_executions_ended_total", "FAILED"] == 1
    assert found["agentspan_executions", "RUNNING"] == 1
    assert found["agentspan_model_errors_total", "error", "scripted/broken"] == 1
    assert found["agentspan_tasks_total", "llm", "COMPLETED"] == 2
    assert found["agentspan_tasks_total", "worker", "FAILED"] == 1
    assert found["agentspan_task_retries_total", "worker"] - before["agentspan_task_retries_total", "worker"] == 1
    assert found["agentspan_model_call_seconds_count", "scripted/plain"] == 1
    assert found["agentspan_model_first_token_seconds_count", "scripted/plain"] == 1
    assert found["agentspan_writer_commit_seconds_count",] >= 4
    assert found["agentspan_workers", "idle"] + found["agentspan_workers", "busy"] >= 1


def failure(task: dict[str, str]) -> dict[str, str]:
    return {"taskId": task["taskId"], "workflowInstanceId": task["workflowInstanceId"], "reasonForIncompletion": "no"}


async def test_people_readers_and_polls_that_wait_are_counted(server: Running) -> None:
    asks = {**ADD, "approvalRequired": True}
    execution = await server.start(agent("adder", asks))
    while not await server.get(f"/api/agent/{execution}/requests"):
        pass
    async with server.http.stream("GET", f"/api/agent/stream/{execution}") as stream:
        async for line in stream.aiter_lines():
            if line.startswith("event:"):
                found = await samples(server)
                break
    assert found["agentspan_requests_waiting",] == 1
    assert found["agentspan_requests_oldest_seconds",] >= 0
    assert found["agentspan_stream_readers", "run"] == 1
    assert found["agentspan_waiting_polls",] >= 1, "the worker of models waits"


async def test_a_server_without_its_database_still_tells_what_it_knows(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise Unavailable("the database does not answer")

    monkeypatch.setattr(server.engine.reads, "query", away)
    found = await samples(server)
    assert found["agentspan_ready",] == 0
    assert ("agentspan_loop_lag_seconds",) in found
    assert ("agentspan_executions", "RUNNING") not in found


async def test_a_draining_server_is_not_ready(server: Running) -> None:
    assert (await samples(server))["agentspan_ready",] == 1
    await server.engine.drain(0.1)
    assert (await samples(server))["agentspan_ready",] == 0


async def test_a_lease_that_ends_is_counted(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        await server.start(agent("adder", ADD))
        await server.poll()
        now = clock.now_ms()
        clock.use(lambda: now / 1000 + 2 * 3600)
        try:
            await server.engine.sweeper.sweep()
            found = await samples(server)
        finally:
            clock.use(time.time)
        assert found["agentspan_leases_expired_total",] == 1
        assert found["agentspan_task_timeouts_total", "lease"] == 1


async def test_credentials_of_a_lost_key_are_counted(tmp_path: Path) -> None:
    keys = [base64.b64encode(letter * 32).decode() for letter in (b"a", b"b")]
    async with running(tmp_path, AGENTSPAN_MASTER_KEY=keys[0]) as server:
        await server.engine.secrets.save("TOKEN", "a long value")
        assert (await samples(server))["agentspan_credentials_unreadable",] == 0
    async with running(tmp_path, AGENTSPAN_MASTER_KEY=keys[1]) as server:
        assert (await samples(server))["agentspan_credentials_unreadable",] == 1


async def test_a_tenant_is_told_its_own_numbers_and_the_operator_all(tmp_path: Path) -> None:
    async with running(tmp_path, **KEY) as server:
        await made(root(server), "/api/tenants", {"name": "acme"})
        acme = await key(server, tenant="acme", role="admin")
        await started(acme, agent(name="theirs"))
        own = (await acme.ask("GET", "/metrics")).text
        every = (await root(server).ask("GET", "/metrics")).text
    assert "agentspan_executions_started_total 1.0" in own
    assert "tenant=" not in own
    assert not [name for name in ("process_", "agentspan_http_request_seconds_count") if f"\n{name}" in own]
    assert 'agentspan_executions_started_total{tenant="acme"} 1.0' in every
    assert 'agentspan_executions_started_total{tenant="default"} 0.0' in every


def test_tenants_are_told_apart_only_where_there_are_several() -> None:
    one, home, other = Sheet(), Sheet("default"), Sheet("acme")
    for sheet in (one, home, other):
        sheet.add("agentspan_executions", 3, "RUNNING")
    alone = next(each for each in merged([one]) if each.name == "agentspan_executions")
    assert [sample.labels for sample in alone.samples] == [{"status": "RUNNING"}]
    both = next(each for each in merged([Sheet(), home, other]) if each.name == "agentspan_executions")
    assert [sample.labels for sample in both.samples] == [
        {"status": "RUNNING", "tenant": "default"},
        {"status": "RUNNING", "tenant": "acme"},
    ]


def test_a_label_that_is_missing_is_an_error() -> None:
    with pytest.raises(ValueError, match="has the labels"):
        Sheet().add("agentspan_executions", 1)
    with pytest.raises(KeyError):
        Sheet().add("agentspan_unheard_of", 1)


def test_names_of_models_cannot_fill_the_memory() -> None:
    figures = Figures()
    for number in range(MODELS_KEPT + 50):
        figures.heard(f"model-{number}", 0.1)
    assert len(figures.first_token) == MODELS_KEPT + 1
    assert sum(figures.first_token[OTHERS].counts) == 50


async def test_open_runs_are_counted_from_an_index(server: Running) -> None:
    dialect = server.engine.database.reading.dialect
    text = vitals.OPEN.params(status="RUNNING").compile(dialect=dialect, compile_kwargs={"literal_binds": True})
    plan = await server.engine.reads.query(lambda c: str(c.exec_driver_sql(f"explain query plan {text}").all()))
    assert "COVERING INDEX ix_executions_status" in plan
