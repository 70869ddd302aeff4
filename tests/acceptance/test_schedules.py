"""A server that is killed neither loses a tick that it should start nor starts one twice."""

import time
from pathlib import Path

import pytest

from tests.acceptance.processes import Json, Server, eventually, serving

PERIOD_MS = 1_000


def deployed(server: Server, cron: str, **more: object) -> None:
    model = server.script("tick", [{"content": "done"}] * 500)
    server.post("/api/agent/deploy", {"agentConfig": {"name": "clock", "model": model}})
    start = {"name": "clock", "input": {"prompt": "Tick."}}
    server.post(
        "/api/scheduler/schedules",
        {"name": "clock-s", "cronExpression": cron, "startWorkflowRequest": start, "overlapPolicy": "allow", **more},
    )


def ticks(server: Server) -> list[int]:
    """The ticks for which a run was started, in order."""
    page: Json = server.get("/api/agent/executions", params={"agentName": "clock", "size": 500})
    runs = [server.get(f"/api/workflow/{each['executionId']}?includeTasks=false") for each in page["results"]]
    return sorted(int(each["correlationId"].rpartition(":")[2]) for each in runs)


@pytest.mark.parametrize("catch_up", [True, False])
def test_each_tick_is_started_once_though_the_server_is_killed_again_and_again(
    database_url: str, tmp_path: Path, catch_up: bool
) -> None:
    with serving(tmp_path, database_url) as server:
        deployed(server, "* * * * * *", runCatchupScheduleInstances=catch_up)
        first = eventually(lambda: ticks(server), "a first tick")[0]
        for _ in range(3):
            eventually(lambda: time.time() % 1 < 0.05, "the moment of a tick, where a start is half done")
            server.kill()
            server.ready()
        now = int(time.time() * 1000)
        eventually(lambda: ticks(server)[-1] > now, "ticks after the last start")
        server.http.put("/api/scheduler/schedules/clock-s/pause").raise_for_status()
        found = ticks(server)
        assert len(found) == len(set(found))
        if catch_up:
            assert found == list(range(first, found[-1] + 1, PERIOD_MS))
        for each in server.get("/api/agent/executions", params={"agentName": "clock", "size": 500})["results"]:
            assert server.result(each["executionId"])["status"] == "COMPLETED"
