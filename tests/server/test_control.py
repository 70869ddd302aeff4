"""Runs are answered, paused, stopped, signalled, cancelled, forked, retried, one by one and in bulk."""

import asyncio

import pytest

from tests.server.running import ADD, agent

GUARDED = {**ADD, "approvalRequired": True}
TEAM = {"name": "team", "strategy": "sequential", "agents": [agent("adder", GUARDED, name="one")]}


async def requested(server, execution_id):
    """The status once the run waits for a person."""
    while not (status := await server.status(execution_id)).get("isWaiting"):
        assert not status["isComplete"], status
        await asyncio.sleep(0.01)
    return status


async def test_an_approval_is_asked_for_and_given(server):
    execution_id = await server.start(agent("adder", GUARDED))
    status = await requested(server, execution_id)
    assert status["pendingTool"]["tool_name"] == "add"
    assert status["pendingTool"]["parameters"] == {"a": 2, "b": 3}
    assert status["pendingTool"]["response_schema"]["required"] == ["approved"]
    [request] = status["requests"]
    assert (request["tool"], request["arguments"], request["agentName"]) == ("add", {"a": 2, "b": 3}, "helper")

    assert (await server.http.post(f"/api/agent/{execution_id}/respond", json={"approved": True})).status_code == 200
    [task] = await server.poll()
    await server.complete(task)
    assert (await server.status(execution_id, 10_000))["output"]["result"] == "The sum is 5."


async def test_a_request_below_is_answered_at_the_root_by_its_id_and_only_once(server):
    execution_id = await server.start(TEAM)
    [request] = (await requested(server, execution_id))["requests"]
    assert request["executionId"] != execution_id
    assert (request["rootExecutionId"], request["path"]) == (execution_id, ["one"])

    inbox = await server.get("/api/inbox")
    assert [each["requestId"] for each in inbox["requests"]] == [request["requestId"]]
    answer = {"approved": False, "reason": "not today", "requestId": request["requestId"]}
    path = f"/api/agent/{execution_id}/respond"
    assert (await server.http.post(path, json=answer)).status_code == 200
    assert (await server.status(execution_id, 10_000))["isComplete"]
    again = await server.http.post(path, json={"approved": True, "requestId": request["requestId"]})
    assert (again.status_code, again.json()["retryable"]) == (409, False)
    assert "not today" in again.json()["message"]
    assert (await server.get("/api/inbox"))["totalHits"] == 0


async def test_an_answer_that_nobody_waits_for_is_a_conflict(server):
    execution_id = await server.start(agent("slow"))
    answer = await server.http.post(f"/api/agent/{execution_id}/respond", json={"approved": True})
    assert answer.status_code == 409
    assert (await server.http.post(f"/api/agent/{execution_id}/respond", json=[True])).status_code == 400


async def test_a_request_is_answered_by_its_reference_too(server):
    execution_id = await server.start(agent("adder", GUARDED))
    pending = (await requested(server, execution_id))["pendingTool"]
    path = f"/api/agent/tasks/{execution_id}/{pending['taskRefName']}/COMPLETED"
    assert (await server.http.post(path, json={"approved": True})).status_code == 200
    assert len(await server.poll()) == 1


@pytest.mark.parametrize("base", ["/api/agent/{}", "/api/workflow/{}"])
async def test_a_paused_run_goes_on_when_it_is_resumed(server, base):
    execution_id = await server.start(agent("adder", ADD))
    [task] = await server.poll()
    path = base.format(execution_id)
    assert (await server.http.put(f"{path}/pause")).status_code == 200
    await server.complete(task)
    assert (await server.status(execution_id))["status"] == "PAUSED"
    assert (await server.http.put(f"{path}/resume")).status_code == 200
    assert (await server.status(execution_id, 10_000))["status"] == "COMPLETED"


async def test_what_the_state_does_not_allow_is_409_and_what_is_not_there_404(server):
    ended, running = await server.run(), await server.start(agent("slow"))
    for method, path in [
        ("PUT", f"/api/agent/{ended}/pause"),
        ("PUT", f"/api/agent/{running}/resume"),
        ("POST", f"/api/agent/{ended}/stop"),
        ("DELETE", f"/api/agent/{ended}/cancel"),
        ("POST", f"/api/agent/executions/{ended}/retry"),
        ("POST", f"/api/workflow/{running}/retry"),
    ]:
        answer = await server.http.request(method, path)
        assert (answer.status_code, answer.json()["status"]) == (409, 409), (path, answer.text)
        missing = path.replace(ended, "nothing").replace(running, "nothing")
        assert (await server.http.request(method, missing)).status_code == 404, missing


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/api/agent/{}/cancel?reason=enough"),
        ("DELETE", "/api/agent/executions/{}?reason=enough"),
        ("DELETE", "/api/workflow/{}?reason=enough"),
        ("POST", "/api/workflow/{}/terminate?reason=enough"),
    ],
)
async def test_a_run_is_cancelled_with_a_reason(server, method, path):
    execution_id = await server.start(agent("slow"))
    assert (await server.http.request(method, path.format(execution_id))).status_code == 200
    status = await server.status(execution_id)
    assert (status["status"], status["reasonForIncompletion"]) == ("TERMINATED", "enough")


async def test_a_stopped_run_ends_gracefully(server):
    execution_id = await server.start(agent("adder", ADD))
    [task] = await server.poll()
    assert (await server.http.post(f"/api/agent/{execution_id}/stop")).status_code == 200
    await server.complete(task)
    assert (await server.status(execution_id, 10_000))["status"] == "COMPLETED"


async def test_a_signal_reaches_the_model(server):
    execution_id = await server.start(agent("adder", ADD))
    [task] = await server.poll()
    signal = await server.http.post(f"/api/agent/{execution_id}/signal", json={"message": "be brief"})
    assert signal.status_code == 200
    await server.complete(task)
    result = await server.get(f"/api/agent/{execution_id}/result?waitMs=5000")
    assert "be brief" in str(result["messages"])
    assert (await server.http.post(f"/api/agent/{execution_id}/signal", json={})).status_code == 400


async def test_a_fork_shares_the_history_and_runs_no_task_again(server):
    execution_id = await server.start(agent("adder", ADD))
    [task] = await server.poll()
    await server.complete(task)
    await server.status(execution_id, 10_000)
    last_result = next(
        each["id"]
        for each in (await server.get(f"/api/agent/{execution_id}/events"))["events"]
        if each["type"] == "tool_result"
    )
    path = f"/api/agent/executions/{execution_id}/fork"
    forked = (await server.post(path, {"at": last_result, "edits": {}}))["executionId"]
    status = await server.status(forked, 10_000)
    assert status["output"]["result"] == "The sum is 5."
    assert await server.poll(wait_ms=0) == []
    lineage = await server.get(f"/api/agent/executions/{forked}")
    assert lineage["forkedFrom"] == {"executionId": execution_id, "at": last_result}


async def test_a_failed_run_goes_on_in_place(server):
    tool = {**ADD, "timeoutSeconds": 1}
    execution_id = await server.start({**agent("adder", tool), "timeoutSeconds": 0.3})
    assert (await server.status(execution_id, 10_000))["status"] == "TIMED_OUT"
    assert (await server.http.post(f"/api/agent/executions/{execution_id}/retry")).status_code == 200
    assert (await server.status(execution_id))["status"] == "RUNNING"


@pytest.mark.parametrize("path", ["/api/agent/executions/{}/rerun", "/api/workflow/{}/rerun"])
async def test_a_rerun_is_a_new_run(server, path):
    execution_id = await server.run()
    new = await server.http.post(path.format(execution_id), json={"reRunFromWorkflowId": execution_id})
    assert new.headers["Content-Type"].startswith("text/plain")
    assert new.text != execution_id
    assert (await server.status(new.text, 10_000))["status"] == "COMPLETED"


@pytest.mark.parametrize("base", ["/api/agent/executions/bulk", "/api/workflow/bulk"])
async def test_many_runs_are_steered_at_once_each_for_itself(server, base):
    ended, running = await server.run(), await server.start(agent("slow"))
    ids = [ended, "nothing", running]
    for method, action in [("PUT", "pause"), ("PUT", "resume"), ("POST", "terminate")]:
        answer = await server.http.request(method, f"{base}/{action}", json=ids)
        body = answer.json()
        assert (answer.status_code, body["bulkSuccessfulResults"]) == (200, [running]), body
        assert body["bulkErrorResults"].keys() == {ended, "nothing"}
    body = (await server.http.post(f"{base}/retry", json=ids)).json()
    assert body["bulkSuccessfulResults"] == [running]
    assert (await server.http.post(f"{base}/retry", json={"ids": ids})).status_code == 400
