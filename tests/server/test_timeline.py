"""One run looked into over HTTP: its spans, a task, a moment, the reason why it stands."""

import asyncio

from tests.server.running import ADD, agent


async def finish(server, execution_id):
    [task] = await server.poll()
    await server.complete(task)
    assert (await server.status(execution_id, 10_000))["isComplete"]


async def test_a_timeline_has_executions_and_spans_and_a_patch_goes_on_from_its_last_event(server):
    execution_id = await server.start(agent("adder", ADD))
    [task] = await server.poll()
    begun = await server.get(f"/api/agent/{execution_id}/timeline")
    assert [(each["name"], each["status"]) for each in begun["spans"]][1:] == [("add", "IN_PROGRESS")]
    await server.complete(task)
    await server.status(execution_id, 10_000)
    patch = await server.get(f"/api/agent/{execution_id}/timeline?after={begun['last']}")
    whole = await server.get(f"/api/agent/{execution_id}/timeline")
    assert [each["seq"] for each in patch["spans"]] == [each["seq"] for each in whole["spans"]][1:]
    assert (
        whole["executions"][0].items() >= {"executionId": execution_id, "parentId": "", "status": "COMPLETED"}.items()
    )
    span = whole["spans"][1]
    assert span["summary"] == '{"a": 2, "b": 3}'
    assert (span["taskId"], span["kind"], span["callId"]) == (task["taskId"], "worker", "call_1_0")
    assert (await server.http.get(f"/api/agent/{execution_id}/timeline?after=x")).status_code == 400
    assert (await server.http.get("/api/agent/nothing/timeline")).status_code == 404


async def test_a_task_is_told_closely(server):
    execution_id = await server.start(agent("adder", ADD, instructions="Add."), "2+3?")
    await finish(server, execution_id)
    spans = (await server.get(f"/api/agent/{execution_id}/timeline"))["spans"]
    first, call, last = [await server.get(f"/api/agent/tasks/{each['taskId']}/detail") for each in spans]
    assert [each["role"] for each in last["messages"]] == ["system", "user", "assistant", "tool"]
    assert [each["function"]["name"] for each in last["tools"]] == ["add"]
    assert last["parameters"] == {"model": "scripted/adder"}
    assert first["messages"] == last["messages"][:2]
    assert (call["input"], call["output"], call["messages"]) == ({"a": 2, "b": 3}, {"result": 5}, None)
    assert [each["taskId"] for each in call["attempts"]] == [call["taskId"]]
    assert (call["forkAt"], call["forkEdits"], call["request"]) == (call["endSeq"], ["output", "tool_result"], None)
    assert (await server.http.get(f"/api/agent/tasks/{execution_id}.t999/detail")).status_code == 404
    assert (await server.http.get("/api/agent/tasks/nothing/detail")).status_code == 404


async def test_a_request_is_told_as_the_inbox_has_it(server):
    execution_id = await server.start(agent("adder", {**ADD, "approvalRequired": True}))
    for _ in range(100):
        if found := (await server.get(f"/api/agent/{execution_id}/requests"))["requests"]:
            break
        await asyncio.sleep(0.05)
    detail = await server.get(f"/api/agent/tasks/{found[0]['requestId']}/detail")
    assert {**detail["request"], "age": 0} == {**found[0], "age": 0}
    assert detail["forkAt"] == detail["seq"]


async def test_a_moment_is_the_run_right_after_an_event(server):
    execution_id = await server.start(agent("adder", ADD))
    await finish(server, execution_id)
    steps = (await server.get(f"/api/agent/{execution_id}/steps"))["steps"]
    moment = await server.get(f"/api/agent/{execution_id}/at/4")
    assert moment.items() >= {"seq": 4, "kind": steps[3]["kind"], "summary": steps[3]["summary"]}.items()
    assert [(each["name"], each["arguments"]) for each in moment["pending"]] == [("add", {"a": 2, "b": 3})]
    for wrong in ("0", "99", "x"):
        answer = await server.http.get(f"/api/agent/{execution_id}/at/{wrong}")
        assert answer.status_code == 400
        assert "event" in answer.json()["message"]


async def test_the_reason_why_a_run_failed_names_the_step(server):
    execution_id = await server.run(agent("broken"))
    why = await server.get(f"/api/agent/{execution_id}/why")
    assert why["status"] == "FAILED"
    [reason] = why["reasons"]
    assert reason["code"] == "failed"
    assert "the key is wrong" in why["sentence"]
    assert reason["taskId"] == f"{execution_id}.t{reason['seq']}"
    assert (await server.http.get("/api/agent/nothing/why")).status_code == 404
