"""Runs are removed over HTTP: one by one, many at once, and the old ones."""

from tests.server.running import ADD, agent
from tests.server.test_bundles import added


async def waiting(server):
    execution_id = await server.start(agent("adder", ADD))
    await server.poll()
    return execution_id


async def there(server, execution_id):
    return (await server.http.get(f"/api/agent/{execution_id}/status")).status_code == 200


async def removed(server, execution_id, verb="remove"):
    return await server.http.delete(f"/api/workflow/{execution_id}/{verb}")


async def test_a_run_that_has_ended_is_removed_for_ever(server):
    execution_id, other = await added(server), await waiting(server)
    assert (await removed(server, execution_id)).status_code == 200
    assert not await there(server, execution_id)
    assert (await removed(server, execution_id)).status_code == 404
    answer = await removed(server, other)
    assert (answer.status_code, answer.json()["message"]) == (
        409, f"execution {other} is RUNNING; end it first, or let it end",
    )  # fmt: skip
    assert (await removed(server, f"{other}.e4")).status_code == 400
    assert await there(server, other)
    assert (await removed(server, other, "terminate-remove")).status_code == 200
    assert not await there(server, other)


async def test_many_runs_are_removed_each_for_itself(server):
    ended, open_ = [await added(server) for _ in range(2)], await waiting(server)
    answer = await server.http.request("DELETE", "/api/workflow/bulk/remove", json=[*ended, open_, "gone"])
    body = answer.json()
    assert body["bulkSuccessfulResults"] == ended
    assert set(body["bulkErrorResults"]) == {open_, "gone"}
    answer = await server.http.request("DELETE", "/api/workflow/bulk/terminate-remove", json=[open_])
    assert answer.json()["bulkSuccessfulResults"] == [open_]


async def test_old_runs_are_counted_and_removed(server):
    made = [await added(server) for _ in range(3)]
    open_ = await waiting(server)
    wanted = {"keep": 1, "status": ["completed"], "agent": "helper"}
    counted = await server.post("/api/admin/prune", {**wanted, "dryRun": True})
    assert (counted["runs"], counted["dryRun"]) == (2, True)
    done = await server.post("/api/admin/prune", wanted)
    assert (done["runs"], done["more"]) == (2, False)
    assert done["rows"] > 0
    assert [await there(server, each) for each in made] == [False, False, True]
    assert (await server.post("/api/admin/prune", {"olderThan": "30d"}))["runs"] == 0
    assert await there(server, open_)


async def test_which_runs_are_to_go_must_be_said(server):
    for body, said in [
        ({}, "olderThan, such as 30d, or keep"),
        ({"olderThan": "a month"}, "such as 30d, not 'a month'"),
        ({"olderThan": "1d", "status": ["RUNNING"]}, "status is one of COMPLETED"),
        ({"keep": -1}, "keep is 0 or more"),
    ]:
        answer = await server.http.post("/api/admin/prune", json=body)
        assert (answer.status_code, said in answer.json()["message"]) == (400, True), answer.text
