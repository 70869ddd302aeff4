"""What somebody is told who looks at all runs: lists, values, sums, workers, the configuration."""

import pytest
import pytest_asyncio

from agentspan.client.client import Client
from agentspan.store.migrations import HEAD
from tests.server.running import ADD, Running, agent, running


@pytest_asyncio.fixture
async def client(server: Running):
    async with Client(server.url) as found:
        yield found


async def test_a_list_is_read_page_by_page(server: Running, client: Client) -> None:
    runs = [await server.run(prompt=f"Question {n}", sessionId=f"s{n}") for n in range(5)]
    await server.run(agent("broken", name="other"))
    first = await client.executions(size=2, agent_name="helper")
    assert (first["totalHits"], first["totalCapped"]) == (5, False)
    second = await client.executions(size=2, agent_name="helper", cursor=first["nextCursor"])
    third = await client.executions(size=2, agent_name="helper", cursor=second["nextCursor"])
    pages = [each["executionId"] for page in (first, second, third) for each in page["results"]]
    assert (pages, third["nextCursor"]) == (runs[::-1], "")


async def test_a_row_says_what_a_list_shows(server: Running, client: Client) -> None:
    execution_id = await server.run(prompt="Good morning", sessionId="s1")
    [row] = (await client.executions(count="none"))["results"]
    assert row["endTime"] >= row["startTime"] > 10**12
    assert row["durationMs"] == row["endTime"] - row["startTime"]
    expected = {
        "executionId": execution_id, "agentName": "helper", "status": "COMPLETED", "preview": "Good morning",
        "model": "scripted/plain", "finishReason": "stop", "sessionId": "s1", "version": 1, "turns": 1, "waiting": "",
        "forkedFrom": "", "reason": "",
    }  # fmt: skip
    assert expected.items() <= row.items()
    fork = await client.fork(execution_id, 1)
    found = await client.executions(free_text=fork["executionId"])
    assert [each["forkedFrom"] for each in found["results"]] == [execution_id]


async def test_filters_are_combined_and_their_values_counted(server: Running, client: Client) -> None:
    failed = await server.run(agent("broken", name="other"))
    await server.run()
    slow = await server.start(agent("slow"))
    found = await client.executions(status=["FAILED", "RUNNING"], sort="startTime:ASC")
    assert [each["executionId"] for each in found["results"]] == [failed, slow]
    assert (await client.executions(model="scripted/slow", status="FAILED"))["results"] == []
    facets = await client.facets()
    assert facets["status"] == {"COMPLETED": 1, "FAILED": 1, "RUNNING": 1}
    assert facets["agentName"] == {"helper": 2, "other": 1}
    assert (await client.facets(status="FAILED"))["agentName"] == {"other": 1}
    with pytest.raises(TypeError, match="there is no filter shoe"):
        await client.executions(shoe=44)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("executions?cursor=abc", "nextCursor"),
        ("executions?cursor=&sort=status", "startTime, endTime or updateTime"),
        ("executions?cursor=&count=all", "none or capped"),
        ("executions?waiting=dog", "person or worker"),
        ("executions?minCost=much", "US dollars"),
        ("executions?since=today", "whole number"),
        ("executions/facets?version=new", "whole number"),
    ],
)
async def test_a_question_that_cannot_be_read_is_refused_with_what_can(server: Running, query: str, words: str) -> None:
    answer = await server.http.get(f"/api/agent/{query}")
    assert answer.status_code == 400
    assert words in answer.json()["message"]


async def test_sums_are_told(server: Running, client: Client) -> None:
    await server.run()
    await server.run(agent("broken"))
    await server.start(agent("adder", {**ADD, "approvalRequired": True}))
    stats = await client.stats(buckets=10)
    assert (len(stats["buckets"]), stats["bucketMs"]) == (10, 8_640_000)
    assert stats["totals"]["status"]["FAILED"] == 1
    assert stats["totals"]["runs"] == 3
    assert stats["buckets"][-1]["counts"] == stats["totals"]["status"]
    [failure] = stats["failures"]
    assert "the key is wrong" in failure["reason"]
    assert stats["agents"][0]["agentName"] == "helper"
    costs = await client.costs("model")
    assert {each["key"]: each["calls"] for each in costs["rows"]}["scripted/plain"] == 1
    assert costs["total"]["calls"] >= 1


@pytest.mark.parametrize("query", ["costs?by=shoe", "stats?since=5&until=4", "stats?buckets=0", "stats?since=x"])
async def test_sums_of_what_there_is_not_are_refused(server: Running, query: str) -> None:
    answer = await server.http.get(f"/api/{query}")
    assert answer.status_code == 400, answer.text


async def test_workers_and_queues_are_told(server: Running, client: Client) -> None:
    execution_id = await server.start(agent("adder", ADD))
    [task] = await server.poll()
    found = await client.workers()
    worker = next(each for each in found["workers"] if each["workerId"] == "w1")
    assert (worker["state"], worker["healthy"]) == ("busy", True)
    [held] = worker["inFlight"]
    assert (held["taskId"], held["executionId"], held["name"]) == (task["taskId"], execution_id, "add")
    queue = next(each for each in found["queues"] if each["name"] == "add")
    assert (queue["leased"], queue["workers"], queue["state"]) == (1, 1, "ok")
    assert found["now"] > 10**12


async def test_the_configuration_is_told_without_what_is_secret(tmp_path) -> None:
    environ = {"AGENTSPAN_AUTH_KEY": "kim", "AGENTSPAN_AUTH_SECRET": "pst-secret", "AGENTSPAN_POOL_SIZE": "3"}
    async with running(tmp_path, **environ) as server:
        assert (await server.http.get("/api/config")).status_code == 401
        async with Client(server.url, auth_key="kim", auth_secret="pst-secret") as client:
            found = await client.config()
    assert "pst-secret" not in str(found)
    assert found["schemaRevision"] == HEAD
    settings = {each["name"]: each for each in found["settings"]}
    assert settings["pool_size"]["value"] == "3"
    assert settings["pool_size"]["source"] == "env AGENTSPAN_POOL_SIZE"
    assert settings["auth_secret"]["value"] == "***"
    assert settings["host"]["description"]
    assert found["packages"]["tornado"]
    assert found["startedAt"] > 10**12
