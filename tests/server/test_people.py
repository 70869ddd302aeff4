"""The inbox, answers, messages and budgets over HTTP."""

import asyncio

import pytest

from tests.server.running import ADD, agent

GUARDED = {**ADD, "approvalRequired": True}
ASKING = {**GUARDED, "approval": {"requesterMayNotApprove": True, "deadlineSeconds": 3600, "to": ["lee"]}}
TEAM = {"name": "team", "strategy": "sequential", "agents": [agent("adder", GUARDED, name="one")]}


async def asked(server, execution_id, count=1):
    """The open requests of a run, once there are so many."""
    while len(found := (await server.status(execution_id))["requests"]) < count:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    return found


async def test_the_inbox_shows_who_asks_what_and_lists_by_filter(server):
    team, alone = await server.start(TEAM), await server.start(agent("adder", ASKING))
    [below], [own] = await asked(server, team), await asked(server, alone)
    inbox = (await server.get("/api/inbox"))["requests"]
    assert {each["requestId"] for each in inbox} == {below["requestId"], own["requestId"]}
    shown = next(each for each in inbox if each["requestId"] == own["requestId"])
    assert (shown["kind"], shown["tool"], shown["to"], shown["status"]) == ("approval", "add", ["lee"], "open")
    assert shown["deadline"] == shown["since"] + 3_600_000
    assert shown["age"] >= 0
    for query, found in [
        ("agent=team", below), ("agent=one", below), ("to=lee", own), (f"executionId={alone}", own),
    ]:  # fmt: skip
        page = await server.get(f"/api/inbox?{query}")
        assert [each["requestId"] for each in page["requests"]] == [found["requestId"]], query
    assert (await server.get("/api/inbox?kind=question"))["requests"] == []
    first = await server.get("/api/inbox?limit=1")
    second = await server.get(f"/api/inbox?limit=1&cursor={first['nextCursor']}")
    assert [each["requestId"] for page in (first, second) for each in page["requests"]] == [
        each["requestId"] for each in inbox
    ]
    for query in ("status=odd", "limit=0", "cursor=x"):
        assert (await server.http.get(f"/api/inbox?{query}")).status_code == 400, query


async def test_a_request_is_answered_in_the_inbox_and_the_decision_is_kept(server):
    execution_id = await server.start(TEAM)
    [request] = await asked(server, execution_id)
    path = f"/api/inbox/{request['requestId']}/respond"
    answer = await server.post(path, {"approved": False, "reason": "too much"}, headers={"X-Agentspan-User": "kim"})
    assert answer == {"requestId": request["requestId"], "status": "answered", "alreadyAnswered": False}
    again = await server.post(path, {"approved": False, "reason": "too much", "by": "lee"})
    assert (again["alreadyAnswered"], again["decidedBy"], again["at"] > 0) == (True, "kim", True)
    other = await server.http.post(path, json={"approved": True})
    assert other.status_code == 409
    assert "too much" in other.json()["message"]
    for query in ("", "?status=answered"):
        [kept] = (await server.get(f"/api/agent/{execution_id}/requests{query}"))["requests"]
        assert (kept["status"], kept["decidedBy"], kept["answer"]["reason"]) == ("answered", "kim", "too much")
        assert kept["path"] == ["one"]
    assert (await server.get(f"/api/agent/{execution_id}/requests?status=open"))["requests"] == []
    [listed] = (await server.get(f"/api/inbox?status=answered&executionId={execution_id}"))["requests"]
    assert listed["requestId"] == request["requestId"]


async def test_what_was_decided_in_any_run_is_listed_the_last_one_first(server):
    runs = [await server.start(TEAM) for _ in range(3)]
    wanted = [(await asked(server, each))[0]["requestId"] for each in runs]
    for place, name in enumerate(wanted):
        await server.post(f"/api/inbox/{name}/respond", {"approved": place != 1, "by": "kim"})
    first = await server.get("/api/inbox?status=answered&limit=2")
    second = await server.get(f"/api/inbox?status=answered&limit=2&cursor={first['nextCursor']}")
    found = [*first["requests"], *second["requests"]]
    assert [each["requestId"] for each in found] == wanted[::-1]
    assert [each["answer"]["approved"] for each in found] == [True, False, True]
    assert "nextCursor" not in second
    assert (await server.get("/api/inbox?status=answered&kind=question"))["requests"] == []
    assert (await server.get("/api/inbox"))["requests"] == []


async def test_who_started_a_run_may_not_approve_it_where_that_is_forbidden(server):
    kim, lee = {"X-Agentspan-User": "kim"}, {"X-Agentspan-User": "lee"}
    started = await server.post(
        "/api/agent/start", {"agentConfig": agent("adder", ASKING), "prompt": "Hi"}, headers=kim
    )
    execution_id = started["executionId"]
    await asked(server, execution_id)
    path = f"/api/agent/{execution_id}/respond"
    assert (await server.http.post(path, json={"approved": True}, headers=kim)).status_code == 403
    assert (await server.http.post(path, json={"approved": True})).status_code == 403
    assert (await server.http.post(path, json={"approved": True}, headers=lee)).status_code == 200
    assert len(await server.poll()) == 1


async def test_a_message_has_a_receipt(server):
    execution_id = await server.start(agent("adder", ADD))
    [task] = await server.poll()
    path = f"/api/agent/{execution_id}/messages"
    sent = await server.post(path, {"message": "be brief"}, headers={"X-Agentspan-User": "kim"})
    assert (sent["status"], sent["turn"], sent["sender"]) == ("queued", None, "kim")
    pushed = await server.http.post(f"/api/workflow/{execution_id}/messages", json={"n": 1})
    assert pushed.headers["Content-Type"].startswith("text/plain")
    await server.complete(task)
    await server.status(execution_id, 10_000)
    for name in (sent["messageId"], pushed.text):
        receipt = await server.get(f"{path}/{name}")
        assert (receipt["status"], receipt["turn"]) == ("seen", 2)
    assert (await server.http.get(f"{path}/m999")).status_code == 404
    late = await server.http.post(path, json={"message": "too late"})
    assert (late.status_code, "nobody would read" in late.json()["message"]) == (409, True)


@pytest.mark.parametrize("body", [{}, {"message": 3}, {"message": {}}])
async def test_what_is_no_message_is_refused(server, body):
    execution_id = await server.start(agent("slow"))
    assert (await server.http.post(f"/api/agent/{execution_id}/messages", json=body)).status_code == 400


async def test_the_word_by_which_clients_wake_a_stopped_run_is_no_message(server):
    path = "/api/workflow/{}/messages"
    ended, running = await server.run(), await server.start(agent("adder", ADD))
    [task] = await server.poll()
    for execution_id in (ended, running):
        assert (await server.http.post(path.format(execution_id), json={"_signal": "stop"})).status_code == 200
    await server.complete(task)
    assert (await server.status(running, 10_000))["finishReason"] == "stopped"
    assert "_signal" not in str((await server.get(f"/api/agent/{running}/result"))["messages"])


async def test_a_run_with_a_budget_shows_what_it_used_and_goes_on_with_more(server):
    execution_id = await server.start(agent("adder", ADD), budget={"modelCalls": 1})
    [task] = await server.poll()
    status = await server.status(execution_id)
    assert (status["budget"], status["spent"]["modelCalls"]) == ({"modelCalls": 1}, 1)
    await server.complete(task)
    status = await server.status(execution_id, 10_000)
    assert (status["status"], status["finishReason"]) == ("TERMINATED", "budget")
    answer = await server.post(f"/api/agent/{execution_id}/budget", {"modelCalls": 5, "cost": 1})
    assert answer["budget"] == {"modelCalls": 5, "cost": 1}
    assert (await server.status(execution_id, 10_000))["output"]["result"] == "The sum is 5."
    detail = await server.get(f"/api/agent/executions/{execution_id}")
    assert (detail["budget"], detail["spent"]["modelCalls"]) == (answer["budget"], 2)
    assert (await server.http.post(f"/api/agent/{execution_id}/budget", json={"cost": 2})).status_code == 409
    assert (await server.http.post(f"/api/agent/{execution_id}/budget", json={"euros": 2})).status_code == 400


async def test_a_budget_that_cannot_be_is_refused_at_the_start(server):
    body = {"agentConfig": agent(), "prompt": "Hi", "budget": {"tokens": -1}}
    answer = await server.http.post("/api/agent/start", json=body)
    assert (answer.status_code, "tokens" in answer.json()["message"]) == (400, True)


async def test_a_run_whose_agent_has_a_budget_has_it_by_default(server):
    execution_id = await server.run(agent(budget={"modelCalls": 3}))
    assert (await server.status(execution_id))["spent"]["modelCalls"] == 1
