"""Credentials over HTTP: stored, listed without their values, given with a polled task and for its token."""

import pytest

from tests.server.running import ADD, agent

VALUE = "sk-canary-0123456789"
USING = {**ADD, "config": {"credentials": ["KEY"]}}
LOGIN = {"X-Auth-Key": "kim", "X-Auth-Secret": "s3cret"}


async def stored(server, name="KEY", value=VALUE):
    answer = await server.http.post("/api/credentials", json={"name": name, "value": value})
    assert (answer.status_code, answer.text) == (201, "")


async def ask(server, token, *names, **options):
    return await server.http.post("/api/credentials/resolve", json={"token": token, "names": list(names)}, **options)


async def polled(server, **more):
    """A run whose only tool declares KEY, and its task as a worker gets it."""
    execution_id = await server.start(agent("adder", USING), **more)
    (task,) = await server.poll()
    return execution_id, task


async def test_a_credential_is_stored_listed_and_deleted_and_never_shown(server):
    await stored(server)
    (listed,) = await server.get("/api/credentials")
    assert listed == await server.get("/api/credentials/KEY")
    assert (listed["name"], listed["partial"]) == ("KEY", "sk-c...6789")
    assert listed["created_at"].endswith("Z")
    assert set(listed) == {"name", "partial", "created_at", "updated_at"}
    answer = await server.http.put("/api/credentials/KEY", json={"value": "a new and longer value"})
    assert (answer.status_code, answer.text) == (200, "")
    assert (await server.get("/api/credentials/KEY"))["partial"] == "a ne...alue"
    assert (await server.http.put("/api/credentials/NEW", json={"value": "x"})).status_code == 200
    for name in ("NEW", "NEW", "KEY"):
        assert (await server.http.delete(f"/api/credentials/{name}")).status_code == 204
    assert await server.get("/api/credentials") == []
    assert (await server.http.get("/api/credentials/KEY")).status_code == 404


async def test_what_cannot_be_stored_is_400(server):
    for body, word in [
        ({"name": "KEY"}, "value"),
        ({"name": "KEY", "value": ""}, "value"),
        ({"name": "", "value": "x"}, "named"),
        ({"name": "bindings", "value": "x"}, "word of the API"),
        ({"value": "x"}, "name"),
    ]:
        answer = await server.http.post("/api/credentials", json=body)
        assert (answer.status_code, word in answer.json()["message"]) == (400, True), answer.text
    assert (await server.http.put("/api/credentials/KEY", json={})).status_code == 400
    assert (await server.http.put("/api/credentials/bindings/KEY", json={})).status_code == 400


async def test_a_binding_lets_a_task_have_a_credential_of_another_name(server):
    await stored(server, "REAL")
    answer = await server.http.put("/api/credentials/bindings/KEY", json={"store_name": "REAL"})
    assert (answer.status_code, answer.text) == (200, "")
    assert await server.get("/api/credentials/bindings") == [{"logical_key": "KEY", "store_name": "REAL"}]
    _, task = await polled(server)
    assert task["runtimeMetadata"] == {"KEY": VALUE}
    assert (await server.http.delete("/api/credentials/bindings/KEY")).status_code == 204
    assert await server.get("/api/credentials/bindings") == []


async def test_a_polled_task_brings_its_credentials_and_no_view_of_it_does(server):
    await stored(server)
    execution_id, task = await polled(server)
    token = task["inputData"].pop("__agentspan_ctx__")["execution_token"]
    assert task["runtimeMetadata"] == {"KEY": VALUE}
    assert (await ask(server, token, "KEY", "OTHER")).json() == {"KEY": VALUE}
    await server.complete(task)
    assert (await server.status(execution_id, 10_000))["isComplete"]
    used = await server.get(f"/api/agent/executions/{execution_id}/credentials")
    assert [(each["taskId"], each["name"]) for each in used] == [(task["taskId"], "KEY")]
    for path in (
        f"/api/tasks/{task['taskId']}",
        f"/api/workflow/{execution_id}",
        f"/api/agent/{execution_id}/result",
        f"/api/agent/{execution_id}/events",
        f"/api/agent/executions/{execution_id}",
        f"/api/agent/executions/{execution_id}/full",
    ):
        text = (await server.http.get(path)).text
        assert not any(word in text for word in (VALUE, token, "runtimeMetadata", "execution_token")), path


async def test_every_way_to_poll_brings_them(server):
    await stored(server)
    both = {"poll": {"workerId": "w", "queues": [{"name": "add"}], "count": 1, "timeoutMs": 5000}}
    for way in ("one", "batch", "many", "with a report", "update-v2"):
        await server.start(agent("adder", USING))
        if way == "one":
            task = await server.get("/api/tasks/poll/add", params={"workerid": "w"})
        elif way == "batch":
            (task,) = await server.poll()
        elif way == "many":
            (task,) = (await server.post("/api/tasks/poll", both["poll"]))["tasks"]
        elif way == "with a report":
            (task,) = (await server.post("/api/tasks/report", both))["tasks"]
        else:
            done = {"taskId": task["taskId"], "workflowInstanceId": task["workflowInstanceId"], "status": "COMPLETED"}
            task = await server.post("/api/tasks/update-v2", {**done, "outputData": {"result": 5}})
            assert task["taskId"] != done["taskId"]
        assert task["runtimeMetadata"] == {"KEY": VALUE}, way


async def test_a_task_that_declares_nothing_brings_nothing(server):
    await stored(server)
    await server.start(agent("adder", ADD))
    (task,) = await server.poll()
    assert "runtimeMetadata" not in task
    assert set(task["inputData"]) == {"a", "b", "_agent_state"}


async def test_a_start_may_name_credentials_for_all_its_tools(server):
    await stored(server)
    execution_id = await server.start(agent("adder", ADD), credentials=["KEY"])
    (task,) = await server.poll()
    assert task["runtimeMetadata"] == {"KEY": VALUE}
    assert (await server.get(f"/api/agent/executions/{execution_id}"))["input"]["credentials"] == ["KEY"]
    answer = await server.http.post(
        "/api/agent/start", json={"agentConfig": agent(), "prompt": "Hi", "credentials": ["a b"]}
    )
    assert answer.status_code == 400


async def test_a_token_that_is_missing_wrong_or_of_a_run_that_ended_is_401(server):
    await stored(server)
    execution_id, task = await polled(server)
    token = task["inputData"]["__agentspan_ctx__"]["execution_token"]
    for wrong in ("", "x", token[:-3] + "abc"):
        answer = await ask(server, wrong, "KEY")
        assert (answer.status_code, answer.json()["status"]) == (401, 401)
    assert (await server.http.post("/api/credentials/resolve", json={"names": ["KEY"]})).status_code == 401
    await server.complete(task)
    assert (await server.status(execution_id, 10_000))["isComplete"]
    assert (await ask(server, token, "KEY")).status_code == 401


async def test_a_token_that_asks_too_often_is_429(server):
    await stored(server)
    _, task = await polled(server)
    token = task["inputData"]["__agentspan_ctx__"]["execution_token"]
    server.engine.secrets.per_minute = 2
    answers = [(await ask(server, token, "KEY")).status_code for _ in range(6)]
    assert (answers[:2], answers[-1]) == ([200, 200], 429)


async def test_a_server_with_a_login_asks_for_it_everywhere(locked):
    for method, path in [
        ("GET", "/api/credentials"),
        ("POST", "/api/credentials"),
        ("GET", "/api/credentials/KEY"),
        ("PUT", "/api/credentials/KEY"),
        ("DELETE", "/api/credentials/KEY"),
        ("GET", "/api/credentials/bindings"),
        ("PUT", "/api/credentials/bindings/KEY"),
        ("DELETE", "/api/credentials/bindings/KEY"),
        ("POST", "/api/credentials/resolve"),
    ]:
        assert (await locked.http.request(method, path)).status_code == 401, (method, path)
    assert (await locked.http.get("/api/credentials", headers=LOGIN)).json() == []
    token = (await locked.http.post("/api/token", json={"keyId": "kim", "keySecret": "s3cret"})).json()["token"]
    assert (await ask(locked, token, "KEY", headers=LOGIN)).status_code == 401


@pytest.mark.parametrize("key", ["short", "no base64!", "c2hvcnQ="])
async def test_a_master_key_that_is_none_stops_the_start(tmp_path, key):
    from agentspan.config import Settings
    from agentspan.errors import ConfigurationProblem

    with pytest.raises(ConfigurationProblem, match="AGENTSPAN_MASTER_KEY") as caught:
        Settings.load({"AGENTSPAN_MASTER_KEY": key, "AGENTSPAN_DATA_DIR": str(tmp_path)})
    assert key not in str(caught.value)
