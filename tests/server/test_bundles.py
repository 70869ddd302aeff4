"""Runs as histories over HTTP: steps, forks, comparisons, files."""

import json

from tests.server.running import ADD, agent


async def added(server, **more):
    execution_id = await server.start(agent("adder", ADD, **more))
    [task] = await server.poll()
    await server.complete(task)
    assert (await server.status(execution_id, 10_000))["isComplete"]
    return execution_id


async def forked(server, execution_id, at, **edits):
    path = f"/api/agent/executions/{execution_id}/fork"
    fork = (await server.post(path, {"at": at, "edits": edits}))["executionId"]
    assert (await server.status(fork, 10_000))["isComplete"]
    return fork


async def test_the_steps_of_a_run_say_where_it_can_be_forked(server):
    steps = (await server.get(f"/api/agent/{await added(server)}/steps"))["steps"]
    assert [(step["seq"], step["kind"], step["forkable"]) for step in steps] == [
        (1, "execution_started", True),
        (2, "thinking", True),
        (3, "answer", True),
        (4, "call", True),
        (5, "result", True),
        (6, "thinking", True),
        (7, "answer", True),
        (8, "execution_completed", False),
    ]
    assert steps[4] | {"at": 0} == {
        "seq": 5, "kind": "result", "agent": "helper", "path": [], "turn": 1, "at": 0, "summary": "5", "forkable": True,
        "edits": ["output", "tool_result"],
    }  # fmt: skip


async def test_a_fork_is_listed_and_compared_with_where_it_came_from(server):
    execution_id = await added(server)
    fork = await forked(server, execution_id, 5, tool_result=6)
    [listed] = await server.get(f"/api/agent/{execution_id}/forks")
    assert (listed["executionId"], listed["at"], listed["status"]) == (fork, 5, "COMPLETED")
    found = await server.get("/api/agent/compare", params={"a": execution_id, "b": fork})
    assert (found["same"], found["shared"]) == (False, 5)
    assert found["firstDifference"]["changes"] == [{"path": "got", "before": 5, "after": 6}]
    assert (found["a"]["executionId"], found["b"]["executionId"]) == (execution_id, fork)
    assert (await server.get("/api/agent/compare", params={"a": fork, "b": fork}))["same"]


async def test_a_comparison_needs_two_runs_that_are_there(server):
    execution_id = await server.run()
    nobody = "01890000-0000-7000-8000-000000000000"
    for params, status in [({"a": execution_id}, 400), ({}, 400), ({"a": execution_id, "b": nobody}, 404)]:
        answer = await server.http.get("/api/agent/compare", params=params)
        assert answer.status_code == status, answer.text
    for path in ("steps", "forks", "export"):
        assert (await server.http.get(f"/api/agent/{nobody}/{path}")).status_code == 404


async def test_a_run_goes_out_as_a_file_and_comes_back_as_another_run(server):
    execution_id = await added(server)
    file = await server.http.get(f"/api/agent/{execution_id}/export")
    assert file.headers["Content-Type"] == "application/x-ndjson"
    assert f"{execution_id}.jsonl" in file.headers["Content-Disposition"]
    head = json.loads(file.content.splitlines()[0])
    assert (head["format"], head["version"], head["events"]) == ("agentspan.run", 1, 8)
    taken = (await server.http.post("/api/agent/import", content=file.content)).json()
    assert taken["importedFrom"] == execution_id != taken["executionId"]
    ours, theirs = [await server.get(f"/api/agent/{each}/result") for each in (execution_id, taken["executionId"])]
    assert ours["output"] == theirs["output"]
    assert ours["messages"] == theirs["messages"]
    detail = await server.get(f"/api/agent/executions/{taken['executionId']}")
    assert detail["importedFrom"] == execution_id
    assert "importedFrom" not in await server.get(f"/api/agent/executions/{execution_id}")
    events = await server.get(f"/api/agent/{taken['executionId']}/events")
    assert [event["type"] for event in events["events"]][-1] == "done"


async def test_a_file_that_is_none_is_a_bad_request(server):
    for body in (b"", b"hello", b'{"line": "run"}'):
        answer = await server.http.post("/api/agent/import", content=body)
        assert (answer.status_code, answer.json()["retryable"]) == (400, False), answer.text


async def test_no_credential_and_no_token_of_a_worker_is_in_the_file(server):
    put = await server.http.put("/api/credentials/PIN", json={"value": "s3cret-of-the-run"})
    assert put.is_success, put.text
    execution_id = await server.start(agent("adder", {**ADD, "config": {"credentials": ["PIN"]}}))
    [task] = await server.poll()
    token = task["inputData"]["__agentspan_ctx__"]["execution_token"]
    assert task["runtimeMetadata"] == {"PIN": "s3cret-of-the-run"}
    await server.complete(task)
    await server.status(execution_id, 10_000)
    text = (await server.http.get(f"/api/agent/{execution_id}/export")).text
    assert "PIN" in text
    for secret in ("s3cret-of-the-run", token, "__agentspan_ctx__"):
        assert secret not in text


async def test_files_need_credentials_where_the_server_asks_for_them(locked):
    assert (await locked.http.post("/api/agent/import", content=b"x")).status_code == 401
    assert (await locked.http.get("/api/agent/compare?a=x&b=y")).status_code == 401
