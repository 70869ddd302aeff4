"""Schedules over HTTP, as Conductor's clients keep them."""

from tests.server.running import agent


def schedule(**more):
    start = {"name": "helper", "input": {"prompt": "Report."}}
    return {"name": "daily", "cronExpression": "0 0 9 ? * MON-FRI", "startWorkflowRequest": start, **more}


async def saved(server, **more):
    await server.post("/api/agent/deploy", {"agentConfig": agent()})
    return await server.post("/api/scheduler/schedules", schedule(**more))


async def test_a_schedule_is_kept_as_it_was_sent(server):
    given = {
        "zoneId": "Europe/Berlin",
        "runCatchupScheduleInstances": True,
        "scheduleEndTime": 4_000_000_000_000,
        "overlapPolicy": "CANCEL_RUNNING",
        "description": "each working day",
    }
    shown = await saved(server, **given)
    for key, value in {**given, "overlapPolicy": "cancel_running"}.items():
        assert shown[key] == value
    assert shown["startWorkflowRequest"] == {"name": "helper", "input": {"prompt": "Report."}, "priority": 0}
    assert shown["nextRunTime"] > shown["createTime"]
    assert await server.get("/api/scheduler/schedules/daily") == shown
    assert await server.get("/api/scheduler/schedules", params={"workflowName": "helper"}) == [shown]
    assert await server.get("/api/scheduler/schedules", params={"workflowName": "other"}) == []


async def test_a_schedule_rests_goes_on_and_goes_away(server):
    await saved(server)
    for verb in ("PUT", "GET"):
        path = "/api/scheduler/schedules/daily"
        paused = (await server.http.request(verb, f"{path}/pause")).json()
        assert (paused["paused"], paused["nextRunTime"]) == (True, None)
        resumed = (await server.http.request(verb, f"{path}/resume")).json()
        assert (resumed["paused"], bool(resumed["nextRunTime"])) == (False, True)
    assert (await server.http.delete(path)).status_code == 200
    for verb, more in (("GET", ""), ("PUT", "/pause"), ("PUT", "/resume"), ("POST", "/run"), ("DELETE", "")):
        assert (await server.http.request(verb, path + more)).status_code == 404


async def test_a_schedule_runs_now(server):
    await saved(server)
    execution_id = (await server.post("/api/scheduler/schedules/daily/run"))["executionId"]
    assert (await server.status(execution_id, 10_000))["status"] == "COMPLETED"
    assert (await server.get(f"/api/agent/executions/{execution_id}"))["input"]["prompt"] == "Report."


async def test_the_next_times_are_shown(server):
    params = {"cronExpression": "30 2 * * *", "zoneId": "Europe/Berlin", "scheduleStartTime": 1_774_695_600_000}
    moments = await server.get("/api/scheduler/nextFewSchedules", params={**params, "limit": 2})
    # On the 29th of March 2026 the clocks skip half past two.
    assert moments == [1_774_746_000_000, 1_774_830_600_000]
    until = {**params, "scheduleEndTime": 1_774_746_000_000}
    assert await server.get("/api/scheduler/nextFewSchedules", params=until) == moments[:1]
    for wrong in ({}, {"cronExpression": "x"}, {"cronExpression": "* * * * *", "zoneId": "Mars"}):
        assert (await server.http.get("/api/scheduler/nextFewSchedules", params=wrong)).status_code == 400


async def test_a_schedule_that_cannot_be_kept_says_why(server):
    await saved(server)
    for wrong, status, word in [
        ({"cronExpression": "61 * * * *"}, 400, "cron expression"),
        ({"zoneId": "Mars"}, 400, "time zone"),
        ({"overlapPolicy": "queue"}, 400, "overlap"),
        ({"startWorkflowRequest": {"name": "nobody"}}, 404, "nobody"),
        ({"startWorkflowRequest": {"name": "helper", "workflowDef": {"name": "x"}}}, 400, "deploy"),
        ({"startWorkflowRequest": None}, 400, "startWorkflowRequest"),
    ]:
        answer = await server.http.post("/api/scheduler/schedules", json=schedule(**wrong))
        assert (answer.status_code, word in answer.text) == (status, True), answer.text
