"""Task definitions and the definitions of deployed agents."""

from tests.server.running import ADD, agent

TASK_DEF = {"name": "add", "responseTimeoutSeconds": 10, "retryCount": 2, "retryLogic": "LINEAR_BACKOFF"}


async def test_workers_register_their_task_definitions(server):
    for put in (server.http.put, server.http.post):
        assert (await put("/api/metadata/taskdefs", json=[TASK_DEF])).status_code == 200
    assert (await server.http.put("/api/metadata/taskdefs", json={**TASK_DEF, "name": "sub"})).status_code == 200
    assert {each["name"] for each in await server.get("/api/metadata/taskdefs")} == {"add", "sub"}
    found = await server.get("/api/metadata/taskdefs/add")
    assert found["responseTimeoutSeconds"] == 10
    assert found["timeoutPolicy"] == "TIME_OUT_WF"

    assert (await server.http.delete("/api/metadata/taskdefs/add")).status_code == 200
    assert (await server.http.get("/api/metadata/taskdefs/add")).status_code == 404


async def test_the_response_time_of_a_definition_is_the_lease_of_its_tasks(server):
    await server.http.put("/api/metadata/taskdefs", json=[TASK_DEF])
    await server.start(agent("adder", ADD))
    [task] = await server.poll()
    assert task["responseTimeoutSeconds"] == 10


async def test_definitions_that_make_no_sense_are_refused(server):
    for wrong in (
        [{}],
        ["add"],
        [{"name": 7}],
        [{"name": "add", "retryCount": -1}],
        [{"name": "add", "responseTimeoutSeconds": "long"}],
        [{"name": "add", "retryLogic": "NEVER"}],
    ):
        answer = await server.http.put("/api/metadata/taskdefs", json=wrong)
        assert answer.status_code == 400, wrong
    assert await server.get("/api/metadata/taskdefs") == []


async def test_deployed_agents_are_workflow_definitions_too(server):
    await server.post("/api/agent/deploy", {"agentConfig": agent()})
    [definition] = await server.get("/api/metadata/workflow")
    assert (definition["name"], definition["schemaVersion"]) == ("helper", 2)
    version = definition["version"]
    assert (await server.get("/api/metadata/workflow/helper"))["tasks"][0]["type"] == "DO_WHILE"
    assert (await server.get("/api/metadata/workflow/names-and-versions"))["helper"][0]["version"] == version
    assert (await server.get("/api/metadata/workflow/latest-versions"))[0]["name"] == "helper"
    assert (await server.http.delete("/api/metadata/workflow/helper/x")).status_code == 400
    assert (await server.http.delete(f"/api/metadata/workflow/helper/{version}")).status_code == 200
    assert (await server.http.get("/api/metadata/workflow/helper")).status_code == 404
