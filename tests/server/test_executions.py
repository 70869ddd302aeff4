"""Executions are read: status, result, tasks, events, lists."""

import asyncio
import json
import time

import pytest

from tests.server.running import ADD, agent

TEAM = {
    "name": "team",
    "strategy": "parallel",
    "agents": [agent("adder", ADD, name="one"), agent("plain", name="two")],
}


async def finish(server, execution_id):
    [task] = await server.poll()
    await server.complete(task)
    assert (await server.status(execution_id, 10_000))["isComplete"]


async def test_a_running_run_says_so(server):
    execution_id = await server.start(agent("slow"))
    status = await server.status(execution_id)
    assert (status["status"], status["isRunning"], status["isComplete"]) == ("RUNNING", True, False)
    assert "output" not in status
    assert (status["requests"], status["waitingFor"]) == ([], [])


async def test_a_failed_run_says_why(server):
    execution_id = await server.run(agent("broken"))
    status = await server.status(execution_id)
    assert status["status"] == "FAILED"
    assert "the key is wrong" in status["reasonForIncompletion"]
    assert (await server.get(f"/api/agent/{execution_id}/result"))["reasonForIncompletion"]


async def test_a_status_may_wait_for_the_end_but_not_longer_than_asked(server):
    slow = await server.start(agent("slow"))
    begun = time.monotonic()
    assert (await server.status(slow, 200))["status"] == "RUNNING"
    assert 0.15 < time.monotonic() - begun < 3

    execution_id = await server.start(agent("adder", ADD))
    waiting = asyncio.create_task(server.status(execution_id, 20_000))
    await finish(server, execution_id)
    assert (await waiting)["status"] == "COMPLETED"
    assert (await server.http.get(f"/api/agent/{slow}/status?waitMs=60001")).status_code == 400


async def test_a_result_tells_the_whole_tree(server):
    execution_id = await server.start(TEAM)
    await finish(server, execution_id)
    result = await server.get(f"/api/agent/{execution_id}/result")
    assert (result["status"], result["agentName"]) == ("COMPLETED", "team")
    assert result["subResults"] == {"one": "The sum is 5.", "two": "Hello."}
    [call] = result["toolCalls"]
    assert (call["name"], call["args"], call["result"], call["agentName"]) == ("add", {"a": 2, "b": 3}, 5, "one")
    assert (call["status"], call["error"], call["attempts"]) == ("COMPLETED", None, 1)
    assert call["executionId"] != execution_id
    tokens = result["tokenUsage"]
    assert tokens["totalTokens"] == tokens["promptTokens"] + tokens["completionTokens"] > 0
    assert (result["cost"], result["costUnknown"]) == (0, False)
    assert (result["requests"], result["waitingFor"]) == ([], [])


async def test_a_list_counts_the_tokens_of_a_whole_run(server):
    execution_id = await server.start(TEAM)
    await finish(server, execution_id)
    result = await server.get(f"/api/agent/{execution_id}/result")
    [listed] = (await server.get("/api/agent/executions"))["results"]
    assert listed["tokenUsage"].items() <= result["tokenUsage"].items()
    assert listed["tokenUsage"]["totalTokens"] > 0


async def test_the_messages_of_a_result_are_the_transcript(server):
    execution_id = await server.start(agent("adder", ADD), "2+3?")
    await finish(server, execution_id)
    messages = (await server.get(f"/api/agent/{execution_id}/result"))["messages"]
    assert [each["role"] for each in messages][-4:] == ["user", "assistant", "tool", "assistant"]


async def test_a_run_that_waits_for_a_missing_worker_says_which(server):
    execution_id = await server.start(agent("adder", ADD))
    for _ in range(100):
        if waiting := (await server.status(execution_id))["waitingFor"]:
            break
        await asyncio.sleep(0.05)
    [missing] = waiting
    assert (missing["tool"], missing["lastPoll"]) == ("add", 0)
    assert "add" in missing["reason"]
    assert (await server.get(f"/api/agent/{execution_id}/result"))["waitingFor"] == waiting


async def test_a_page_of_events_goes_on_where_the_last_ended(server):
    execution_id = await server.start(agent("adder", ADD))
    await finish(server, execution_id)
    whole = await server.get(f"/api/agent/{execution_id}/events")
    paged, after = [], 0
    while page := (await server.get(f"/api/agent/{execution_id}/events?after={after}&limit=2"))["events"]:
        paged += page
        after = page[-1]["id"]
    assert paged == whole["events"]
    assert whole["last"] == after


async def test_the_run_of_an_agent_lists_its_tasks_and_tokens(server):
    execution_id = await server.start(TEAM)
    await finish(server, execution_id)
    run = await server.get(f"/api/agent/execution/{execution_id}")
    assert (run["agentName"], run["status"], run["input"]["prompt"]) == ("team", "COMPLETED", "Hi")
    assert [task["taskType"] for task in run["tasks"]] == ["SUB_WORKFLOW", "SUB_WORKFLOW"]

    child = await server.get(f"/api/agent/execution/{run['tasks'][0]['subWorkflowId']}")
    assert [task["taskType"] for task in child["tasks"]] == ["LLM_CHAT_COMPLETE", "add", "LLM_CHAT_COMPLETE"]
    assert child["tasks"][0]["referenceTaskName"] == "one_llm__1"
    assert child["tokenUsage"]["totalTokens"] > 0


async def test_a_run_in_short_names_its_open_task(server):
    execution_id = await server.start(agent("adder", ADD))
    [task] = await server.poll()
    detail = await server.get(f"/api/agent/executions/{execution_id}")
    assert detail["currentTask"]["taskRefName"] == task["referenceTaskName"]
    await finish_task(server, task)
    detail = await server.get(f"/api/agent/executions/{execution_id}")
    assert "currentTask" not in detail
    assert detail["output"]["result"] == "The sum is 5."


async def finish_task(server, task):
    await server.complete(task)
    await server.status(task["workflowInstanceId"], 10_000)


async def test_the_tasks_of_a_run_come_in_pages_with_a_summary(server):
    execution_id = await server.start(agent("adder", ADD))
    await finish(server, execution_id)
    page = await server.get(f"/api/agent/executions/{execution_id}/tasks?count=1&start=1")
    assert [task["taskType"] for task in page["results"]] == ["add"]
    assert (page["totalHits"], page["summary"]) == (3, {"COMPLETED": 3})
    failed = await server.get(f"/api/agent/executions/{execution_id}/tasks?status=FAILED")
    assert (failed["results"], failed["summary"]) == ([], {"COMPLETED": 3})


async def test_the_full_run_is_a_workflow(server):
    execution_id = await server.run()
    full = await server.get(f"/api/agent/executions/{execution_id}/full")
    assert full == await server.get(f"/api/workflow/{execution_id}")


@pytest.mark.parametrize(
    "path",
    [
        "/api/agent/{}/status",
        "/api/agent/{}/result",
        "/api/agent/{}/events",
        "/api/agent/execution/{}",
        "/api/agent/executions/{}",
        "/api/agent/executions/{}/full",
        "/api/agent/executions/{}/tasks",
        "/api/workflow/{}",
        "/api/workflow/{}/tasks",
        "/api/agent/stream/{}",
    ],
)
@pytest.mark.parametrize("name", ["nothing", "00000000-0000-0000-0000-000000000000", "x.e1", "%00"])
async def test_an_unknown_run_is_404_everywhere(server, path, name):
    answer = await server.http.get(path.format(name))
    assert answer.status_code == 404
    assert answer.json()["status"] == 404


async def test_runs_are_listed_newest_first_filtered_and_paged(server):
    ids = [
        await server.run(agent(name=f"a{index}"), f"prompt {index}", sessionId=f"s{index % 2}") for index in range(3)
    ]
    everything = await server.get("/api/agent/executions")
    assert everything["totalHits"] == 3
    assert [each["executionId"] for each in everything["results"]] == ids[::-1]
    first = everything["results"][-1]
    assert (first["agentName"], first["sessionId"], first["finishReason"]) == ("a0", "s0", "stop")
    assert json.loads(first["input"])["prompt"] == "prompt 0"
    assert json.loads(first["output"])["result"] == "Hello."
    assert first["startTime"].endswith("Z")

    async def found(query):
        return [each["executionId"] for each in (await server.get(f"/api/agent/executions?{query}"))["results"]]

    assert await found("agentName=a1") == [ids[1]]
    assert await found("sessionId=s0&sort=startTime:ASC") == [ids[0], ids[2]]
    assert await found("size=1&start=1") == [ids[1]]
    assert await found("status=RUNNING") == []
    assert await found("freeText=prompt 2") == [ids[2]]
    assert await found("freeText=*&size=2") == ids[:0:-1]
    assert (await server.http.get("/api/agent/executions?sort=shoeSize")).status_code == 400


async def test_runs_are_found_by_conductors_query(server):
    first, second = await server.run(agent(name="a")), await server.run(agent(name="b"))

    async def found(query):
        page = await server.get("/api/workflow/search", params={"query": query})
        assert page == await server.get("/api/agent/executions/search", params={"query": query})
        return {each["workflowId"] for each in page["results"]}

    assert await found("workflowType IN (a,b) AND status = 'COMPLETED'") == {first, second}
    assert await found('workflowType = "a"') == {first}
    assert await found(f"workflowId = '{second}'") == {second}
    assert await found("status IN (RUNNING, PAUSED)") == set()
    assert await found("startTime > 99999999999999") == set()
    assert await found("shoeSize = 43 AND workflowType = b") == {second}
    assert (await server.http.get("/api/workflow/search", params={"query": "what?"})).status_code == 400
