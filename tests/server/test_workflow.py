"""Conductor's paths for runs: started by name, read, listed by correlation, searched, steered."""

import asyncio

from agentspan.server import workflow
from tests.server.running import ADD, agent

WORKFLOW_KEYS = """
workflowId status tasks input output taskToDomain variables workflowName workflowVersion startTime endTime
createTime updateTime failedReferenceTaskNames priority
"""


async def deploy(server, config=None):
    await server.post("/api/agent/deploy", {"agentConfig": config or agent()})


async def test_a_deployed_agent_starts_by_name(server):
    await deploy(server)
    body = {"name": "helper", "version": 1, "input": {"prompt": "Hi"}, "correlationId": "c1", "priority": 3}
    answer = await server.http.post("/api/workflow", json=body)
    assert answer.headers["Content-Type"].startswith("text/plain")
    await server.status(answer.text, 10_000)
    run = await server.get(f"/api/workflow/{answer.text}")
    assert run.keys() >= set(WORKFLOW_KEYS.split())
    assert (run["workflowName"], run["status"], run["output"]["result"]) == ("helper", "COMPLETED", "Hello.")
    assert (run["correlationId"], run["priority"]) == ("c1", 3)

    by_path = await server.http.post("/api/workflow/helper?correlationId=c2&priority=1", json={"prompt": "Hi"})
    assert (await server.get(f"/api/workflow/{by_path.text}"))["correlationId"] == "c2"


async def test_the_same_key_starts_a_named_agent_once(server):
    await deploy(server)
    body = {"name": "helper", "input": {"prompt": "Hi"}, "idempotencyKey": "k"}
    assert len({await server.post("/api/workflow", body) for _ in range(3)}) == 1


async def test_an_unknown_name_and_an_empty_input_are_refused(server):
    await deploy(server)
    for body, status in [
        ({"name": "nobody", "input": {"prompt": "Hi"}}, 404),
        ({"name": "helper", "input": {}}, 400),
        ({"input": {"prompt": "Hi"}}, 400),
        ({"name": "helper", "workflowDef": {"tasks": []}, "input": {"prompt": "Hi"}}, 501),
    ]:
        assert (await server.http.post("/api/workflow", json=body)).status_code == status, body


async def test_a_run_is_read_without_its_tasks(server):
    execution_id = await server.run()
    assert (await server.get(f"/api/workflow/{execution_id}?includeTasks=false"))["tasks"] == []
    assert len((await server.get(f"/api/workflow/{execution_id}"))["tasks"]) == 1
    assert (await server.http.get(f"/api/workflow/{execution_id}?includeTasks=maybe")).status_code == 400
    page = await server.get(f"/api/workflow/{execution_id}/tasks")
    assert (page["totalHits"], page["results"][0]["taskType"]) == (1, "LLM_CHAT_COMPLETE")


async def test_a_call_may_wait_for_the_end(server):
    await deploy(server)
    body = {"name": "helper", "version": 1, "input": {"prompt": "Hi"}}
    run = await server.post("/api/workflow/execute/helper/1?requestId=r&waitForSeconds=10", body)
    assert (run["status"], run["requestId"], run["output"]["result"]) == ("COMPLETED", "r", "Hello.")


async def test_the_domain_of_a_start_is_the_domain_of_its_tasks(server):
    await deploy(server, agent("adder", {**ADD, "stateful": True}))
    body = {"name": "helper", "input": {"prompt": "Hi"}, "taskToDomain": {"add": "d7"}}
    execution_id = await server.post("/api/workflow", body)
    [task] = await server.get("/api/tasks/poll/batch/add?workerid=w&domain=d7&timeout=5000")
    assert task["domain"] == "d7"
    assert "d7" in (await server.get(f"/api/workflow/{execution_id}"))["taskToDomain"].values()


def test_the_domain_of_most_tasks_is_that_of_the_run():
    assert workflow.domain_of({}) == ""
    assert workflow.domain_of({"a": "x", "b": "y", "c": "y"}) == "y"


async def test_runs_are_found_by_their_correlation(server):
    first = await server.run(correlationId="c1")
    second = await server.start(agent("slow"), correlationId="c1")
    found = await server.get("/api/workflow/helper/correlated/c1")
    assert [each["workflowId"] for each in found] == [second]
    found = await server.get("/api/workflow/helper/correlated/c1?includeClosed=true&includeTasks=true")
    assert {each["workflowId"] for each in found} == {first, second}
    assert all(each["tasks"] for each in found)
    many = await server.post("/api/workflow/helper/correlated?includeClosed=true", ["c1", "c2"])
    assert {key: len(runs) for key, runs in many.items()} == {"c1": 2, "c2": 0}


async def test_running_and_searched_runs(server):
    slow = await server.start(agent("slow"))
    ended = await server.run()
    assert await server.get("/api/workflow/running/helper") == [slow]
    whole = await server.get("/api/workflow/search-v2")
    assert {each["workflowId"] for each in whole["results"]} == {slow, ended}
    found = await server.post("/api/workflow/bulk/search", [ended, "nothing"])
    assert [each["workflowId"] for each in found["bulkSuccessfulResults"]] == [ended]
    assert found["bulkErrorResults"].keys() == {"nothing"}


async def test_a_retry_of_a_failed_run_answers_204(server):
    execution_id = await server.run(agent("broken"))
    assert (await server.http.post(f"/api/workflow/{execution_id}/retry")).status_code == 204


async def test_a_failed_tool_is_named(server):
    execution_id = await server.start(agent("adder", {**ADD, "retryCount": 0}))
    [task] = await server.poll()
    await server.post("/api/tasks", {"taskId": task["taskId"], "status": "FAILED", "reasonForIncompletion": "no"})
    await asyncio.wait_for(server.status(execution_id, 10_000), 15)
    run = await server.get(f"/api/workflow/{execution_id}")
    assert run["failedReferenceTaskNames"] == [task["referenceTaskName"]]
    assert run["failedTaskNames"] == ["add"]
