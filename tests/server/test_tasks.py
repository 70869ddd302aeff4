"""Workers poll, report and extend: Conductor's paths one queue at a time, ours many at once."""

import asyncio
import time

import pytest

from tests.server.running import ADD, agent, eventually

CONDUCTOR_TASK_KEYS = """
taskType status inputData referenceTaskName retryCount seq pollCount taskDefName scheduledTime startTime
endTime updateTime responseTimeoutSeconds workflowInstanceId workflowType taskId callbackAfterSeconds workerId
outputData workflowTask iteration loopOverTask retried executed
"""


@pytest.fixture
async def task(server):
    """A leased task of a running agent."""
    await server.start(agent("adder", ADD))
    [task] = await server.poll()
    return task


async def test_a_task_has_the_keys_that_clients_read(server, task):
    assert task.keys() >= set(CONDUCTOR_TASK_KEYS.split())
    assert (task["taskType"], task["status"], task["retryCount"]) == ("add", "IN_PROGRESS", 0)
    assert task["agentName"] == "helper"
    assert task["idempotencyKey"]


async def test_a_poll_of_an_empty_queue_is_empty(server):
    assert (await server.http.get("/api/tasks/poll/add?workerid=w")).status_code == 204
    answer = await server.http.get("/api/tasks/poll/batch/add?workerid=w&count=5&timeout=50")
    assert (answer.status_code, answer.json()) == (200, [])


async def test_a_single_poll_gives_a_task(server):
    await server.start(agent("adder", ADD))
    answer = await server.http.get("/api/tasks/poll/add?workerid=w")
    while answer.status_code == 204:
        answer = await server.http.get("/api/tasks/poll/add?workerid=w")
    assert answer.json()["inputData"]["a"] == 2


async def test_a_batch_poll_answers_as_soon_as_one_task_is_there(server):
    begun = time.monotonic()
    polling = asyncio.create_task(server.poll(count=5, wait_ms=5000))
    await server.start(agent("adder", ADD))
    assert len(await polling) == 1
    assert time.monotonic() - begun < 4


async def test_a_longer_wait_than_conductor_allows_is_refused(server):
    answer = await server.http.get("/api/tasks/poll/batch/add?timeout=5001")
    assert answer.status_code == 400
    assert "5000" in answer.json()["message"]


async def test_parameters_that_are_no_numbers_are_refused(server):
    for query in ("count=x", "count=0", "timeout=-1"):
        assert (await server.http.get(f"/api/tasks/poll/batch/add?{query}")).status_code == 400


async def test_the_servers_own_queues_are_not_for_workers(server):
    await server.start(agent("slow"))
    assert (await server.http.get("/api/tasks/poll/@llm?workerid=thief")).status_code == 400


async def test_a_report_answers_the_tasks_id_as_text(server, task):
    answer = await server.complete(task)
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert answer.text == task["taskId"]


async def test_a_second_report_changes_nothing_and_is_no_error(server, task):
    await server.complete(task)
    assert (await server.complete(task, {"result": 6})).status_code == 200
    result = await server.get(f"/api/agent/{task['workflowInstanceId']}/result?waitMs=5000")
    assert result["toolCalls"][0]["result"] == 5


async def test_update_v2_answers_the_next_task_of_the_queue(server):
    await server.start(agent("twice", ADD))
    [first] = await server.poll()
    done = {"taskId": first["taskId"], "workflowInstanceId": "x", "status": "COMPLETED", "outputData": {"result": 2}}
    answer = await server.http.post("/api/tasks/update-v2", json={**done, "workerId": "w1"})
    assert answer.json()["inputData"]["a"] == 2
    done["taskId"] = answer.json()["taskId"]
    assert (await server.http.post("/api/tasks/update-v2", json={**done, "workerId": "w1"})).status_code == 204


async def test_a_report_of_a_task_that_never_was_is_unknown(server):
    result = {"taskId": "nonsense", "status": "COMPLETED"}
    for path in ("/api/tasks", "/api/tasks/update-v2"):
        assert (await server.http.post(path, json=result)).status_code == 404


async def test_a_report_with_an_unknown_status_is_refused(server, task):
    answer = await server.http.post("/api/tasks", json={"taskId": task["taskId"], "status": "GREAT"})
    assert answer.status_code == 400
    assert "GREAT" in answer.json()["message"]


async def test_a_failed_task_is_tried_again_and_keeps_its_reason(server):
    tool = {**ADD, "retryCount": 1, "retryDelaySeconds": 0}
    execution_id = await server.start(agent("adder", tool))
    [first] = await server.poll()
    failed = {"taskId": first["taskId"], "status": "FAILED", "reasonForIncompletion": "no luck"}
    await server.post("/api/tasks", failed)
    [second] = await server.poll()
    assert (second["retryCount"], second["referenceTaskName"]) == (1, first["referenceTaskName"])
    assert second["taskId"] != first["taskId"]
    await server.complete(second)

    [call] = (await server.get(f"/api/agent/{execution_id}/result?waitMs=5000"))["toolCalls"]
    assert (call["attempts"], call["status"], call["result"]) == (2, "COMPLETED", 5)
    tasks = (await server.get(f"/api/workflow/{execution_id}"))["tasks"]
    attempts = [each for each in tasks if each["taskDefName"] == "add"]
    assert [each["status"] for each in attempts] == ["FAILED", "COMPLETED"]
    assert attempts[0]["reasonForIncompletion"] == "no luck"
    assert attempts[1]["retriedTaskId"] == attempts[0]["taskId"]


async def test_a_heartbeat_without_status_keeps_the_lease(server, task):
    beat = {"taskId": task["taskId"], "workflowInstanceId": task["workflowInstanceId"], "extendLease": True}
    assert (await server.http.post("/api/tasks", json=beat)).status_code == 200
    assert (await server.complete(task)).status_code == 200


async def test_a_heartbeat_for_a_task_that_never_was_is_unknown(server):
    beat = {"taskId": "00000000-0000-0000-0000-000000000000.t9", "extendLease": True}
    assert (await server.http.post("/api/tasks", json=beat)).status_code == 404


async def test_a_task_that_is_put_back_comes_again(server, task):
    later = {"taskId": task["taskId"], "status": "IN_PROGRESS", "callbackAfterSeconds": 0, "workerId": "w1"}
    await server.post("/api/tasks", later)
    [again] = await server.poll()
    assert again["taskId"] == task["taskId"]


async def test_a_task_is_reported_by_its_reference(server, task):
    path = f"/api/tasks/{task['workflowInstanceId']}/{task['referenceTaskName']}/COMPLETED"
    assert await server.post(path, {"result": 9}) == task["taskId"]
    result = await server.get(f"/api/agent/{task['workflowInstanceId']}/result?waitMs=5000")
    assert result["toolCalls"][0]["result"] == 9
    missing = f"/api/tasks/{task['workflowInstanceId']}/nothing/COMPLETED"
    assert (await server.http.post(missing, json={})).status_code == 404


async def test_a_synchronous_report_answers_the_run(server, task):
    path = f"/api/tasks/{task['workflowInstanceId']}/{task['referenceTaskName']}/COMPLETED/sync"
    run = await server.post(path, {"result": 9})
    assert run["workflowId"] == task["workflowInstanceId"]


async def test_a_task_is_read_by_its_id(server, task):
    assert (await server.get(f"/api/tasks/{task['taskId']}"))["taskId"] == task["taskId"]
    assert (await server.http.get("/api/tasks/nothing")).status_code == 404


async def test_lines_are_logged_as_raw_text_and_with_reports(server, task):
    path = f"/api/tasks/{task['taskId']}/log"
    assert (await server.http.get(path)).status_code == 204
    await server.http.post(path, content="first", headers={"Content-Type": "text/plain"})
    result = {"taskId": task["taskId"], "status": "COMPLETED", "logs": [{"log": "second", "createdTime": 1}]}
    await server.post("/api/tasks", result)
    lines = await server.get(path)
    assert [line["log"] for line in lines] == ["first", "second"]
    assert lines[0].keys() == {"log", "taskId", "createdTime"}
    assert await server.get(f"/api/agent/tasks/{task['taskId']}/log") == lines


async def test_queues_tell_their_sizes_and_who_polls(server):
    await server.start(agent("twice", ADD))
    [leased] = await server.poll()
    assert (await server.get("/api/tasks/queue/all"))["add"] == 1
    assert (await server.get("/api/tasks/queue/all/verbose"))["add"] == {"1": {"size": 1, "uacked": 1}}
    assert await server.get("/api/tasks/queue/sizes?taskType=add&taskType=sub") == {"add": 1, "sub": 0}
    assert await server.get("/api/tasks/queue/size?taskType=add") == 1
    for path in ("/api/tasks/queue/polldata?taskType=add", "/api/tasks/queue/polldata/all"):
        [poll] = await server.get(path)
        assert (poll["queueName"], poll["workerId"]) == ("add", leased["workerId"])


async def test_one_poll_serves_many_queues_in_domains(server):
    await server.start(agent("adder", {**ADD, "stateful": True}), runId="d1")
    body = {"workerId": "w2", "queues": [{"name": "other"}, {"name": "add", "domain": "d1"}], "count": 5}
    polled = await server.post("/api/tasks/poll", {**body, "timeoutMs": 5000, "leaseSeconds": 7})
    [task] = polled["tasks"]
    assert (task["domain"], task["responseTimeoutSeconds"], task["workerId"]) == ("d1", 7, "w2")


async def test_one_request_reports_many_and_polls_for_more(server):
    await server.start(agent("twice", ADD))
    body = {"workerId": "w2", "queues": [{"name": "add"}], "count": 1, "timeoutMs": 5000}
    [first] = (await server.post("/api/tasks/poll", body))["tasks"]
    results = [{"taskId": first["taskId"], "status": "COMPLETED", "outputData": {"result": 1}, "workerId": "w2"}]
    answer = await server.post("/api/tasks/report", {"results": results, "poll": body})
    assert answer["receipts"] == [{"taskId": first["taskId"], "landed": True, "reason": ""}]
    assert len(answer["tasks"]) == 1

    [receipt] = (await server.post("/api/tasks/report", {"results": results}))["receipts"]
    assert not receipt["landed"]
    assert receipt["reason"]


async def test_leases_are_extended_or_known_to_be_lost(server, task):
    body = {"taskIds": [task["taskId"]], "workerId": "w1", "leaseSeconds": 30}
    assert await server.post("/api/tasks/extend", body) == {"extended": [task["taskId"]], "lost": []}
    await server.complete(task)
    assert await server.post("/api/tasks/extend", body) == {"extended": [], "lost": [task["taskId"]]}


async def test_polls_out_of_bounds_are_refused(server):
    queues = [{"name": "add"}]
    for wrong in ({"timeoutMs": 60_001}, {"count": 0}, {"leaseSeconds": 0}, {"queues": "add"}):
        answer = await server.http.post("/api/tasks/poll", json={"workerId": "w", "queues": queues, **wrong})
        assert answer.status_code == 400, (wrong, answer.text)


async def test_a_poller_that_hangs_up_is_forgotten_at_once(server):
    polling = asyncio.create_task(server.poll(wait_ms=5000))
    await eventually(lambda: any(each.name == "add" for each in server.engine.pollers.polls()))
    polling.cancel()
    await asyncio.gather(polling, return_exceptions=True)
    await server.start(agent("adder", ADD))
    assert len(await server.poll()) == 1
