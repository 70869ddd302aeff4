"""Agents are compiled, deployed, started and listed over HTTP."""

import asyncio

from tests.server.running import ADD, agent


async def test_a_run_starts_and_ends(server):
    started = await server.post("/api/agent/start", {"agentConfig": agent("adder", ADD), "prompt": "2+3?"})
    assert started["agentName"] == "helper"
    assert started["requiredWorkers"] == ["add"]

    [task] = await server.poll()
    assert task["inputData"] == {"a": 2, "b": 3, "_agent_state": {}}
    await server.complete(task)

    status = await server.status(started["executionId"], 10_000)
    assert (status["status"], status["isComplete"], status["isRunning"]) == ("COMPLETED", True, False)
    assert status["output"]["result"] == "The sum is 5."


async def test_the_same_key_starts_one_run_even_fifty_times_at_once(server):
    body = {"agentConfig": agent(), "prompt": "Hi", "idempotencyKey": "k & k"}
    starts = await asyncio.gather(*(server.post("/api/agent/start", body) for _ in range(50)))
    assert len({each["executionId"] for each in starts}) == 1
    assert sum(not each["existing"] for each in starts) == 1


async def test_it_can_be_asked_which_keys_have_begun_a_run(server):
    body = {"agentConfig": agent("talker"), "prompt": "Hi", "idempotencyKey": "first"}
    started = await server.post("/api/agent/start", body)
    found = await server.post("/api/agent/helper/begun", {"keys": ["first", "second"]})
    assert list(found["runs"]) == ["first"]
    assert found["runs"]["first"]["executionId"] == started["executionId"]
    assert (await server.post("/api/agent/stranger/begun", {"keys": ["first"]}))["runs"] == {}
    many = await server.http.post("/api/agent/helper/begun", json={"keys": ["x"] * 1001})
    assert many.status_code == 400


async def test_nothing_to_run_on_is_refused(server):
    answer = await server.http.post("/api/agent/start", json={"agentConfig": agent(), "prompt": "  "})
    assert answer.status_code == 400
    assert "prompt" in answer.json()["message"]


async def test_clients_may_send_null_for_what_is_not_set(server):
    body = {"agentConfig": {**agent(), "router": None}, "prompt": "Hi", "sessionId": None, "media": [], "context": None}
    assert (await server.post("/api/agent/start", body))["executionId"]


async def test_a_definition_that_cannot_run_is_refused_before_anything_is_stored(server):
    for wrong, word in [
        ({"agentConfig": {**agent(), "name": ""}}, "name"),
        ({"agentConfig": {**agent(), "maxTurns": "many"}}, "maxTurns"),
        ({"agentConfig": {**agent(), "model": "nobody/x"}}, "nobody"),
        ({"agentConfig": {**agent(), "tools": [ADD, ADD]}}, "add"),
        ({"agentConfig": {**agent(), "tools": [{**ADD, "inputSchema": {"type": 7}}]}}, "JSON Schema"),
        ({"prompt": "Hi"}, "agentConfig"),
    ]:
        answer = await server.http.post("/api/agent/start", json={"prompt": "Hi", **wrong})
        assert answer.status_code == 400, (wrong, answer.text)
        assert word in answer.json()["message"]
    assert (await server.get("/api/agent/executions"))["totalHits"] == 0


async def test_what_is_not_built_answers_501(server):
    for body in (
        {"framework": "langgraph", "rawConfig": {"name": "g"}},
        {"agentConfig": agent("plain", {"name": "find", "toolType": "rag_search"})},
    ):
        answer = await server.http.post("/api/agent/start", json={"prompt": "Hi", **body})
        assert answer.status_code == 501, answer.text


async def test_a_deployed_agent_starts_by_its_name(server):
    deployed = await server.post("/api/agent/deploy", {"agentConfig": agent("adder", ADD)})
    assert (deployed["agentName"], deployed["requiredWorkers"]) == ("helper", ["add"])
    started = await server.post("/api/agent/start", {"agentName": "helper", "prompt": "2+3?"})
    assert started["requiredWorkers"] == ["add"]

    answer = await server.http.post("/api/agent/start", json={"agentName": "nobody", "prompt": "Hi"})
    assert answer.status_code == 404


async def test_deployed_agents_are_listed_shown_and_removed(server):
    await server.post("/api/agent/deploy", {"agentConfig": agent("adder", ADD, description="Adds.")})
    [listed] = await server.get("/api/agent/list")
    assert (listed["name"], listed["description"], listed["tags"]) == ("helper", "Adds.", ["tool-calling"])
    assert len(listed["checksum"]) == 64

    assert (await server.get("/api/agent/helper"))["model"] == "scripted/adder"
    assert (await server.get("/api/agent/definitions/helper"))["metadata"]["agentDef"]["name"] == "helper"
    assert (await server.http.delete("/api/agent/helper")).status_code == 200
    for path in ("/api/agent/helper", "/api/agent/definitions/helper"):
        assert (await server.http.get(path)).status_code == 404


async def test_a_compiled_agent_is_shown_in_conductors_words_and_not_stored(server):
    config = agent("adder", ADD, maxTurns=4)
    compiled = await server.post("/api/agent/compile", {"agentConfig": config})
    assert compiled["requiredWorkers"] == ["add"]
    definition = compiled["workflowDef"]
    assert definition["metadata"]["agentDef"]["tools"][0]["name"] == "add"
    [loop] = definition["tasks"]
    assert (loop["type"], loop["taskReferenceName"]) == ("DO_WHILE", "helper_loop")
    assert [each["taskReferenceName"] for each in loop["loopOver"]] == ["helper_llm", "helper_tool_router"]
    assert await server.get("/api/agent/list") == []


async def test_the_time_limit_of_a_start_replaces_the_agents_own(server):
    execution_id = await server.start(agent("slow"), timeoutSeconds=0.3)
    status = await server.status(execution_id, 10_000)
    assert status["status"] == "TIMED_OUT"
    assert "0.3 s" in status["reasonForIncompletion"]
