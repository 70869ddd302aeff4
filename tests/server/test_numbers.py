"""A number of any size is taken, refused or as good as none: it fails no request and no run, and poisons no queue."""

import logging
from typing import Any

import pytest

from agentspan.core.retry import delay_ms
from agentspan.spec.policy import LONGEST_SECONDS, RetryPolicy, milliseconds
from tests.server.running import ADD, Running, agent

HUGE = [1e308, 10**18, 2**63, 2**64, 10**30]
OF_TOOL = (
    "timeoutSeconds",
    "startTimeoutSeconds",
    "retryDelaySeconds",
    "retryMaxDelaySeconds",
    "retryCount",
    "maxCalls",
)
OF_AGENT = ("timeoutSeconds", "maxTurns", "maxTokens", "contextWindowBudget", "temperature")
OF_TASK = ("responseTimeoutSeconds", "retryDelaySeconds", "timeoutSeconds", "retryCount")


@pytest.mark.parametrize("number", HUGE)
async def test_a_huge_number_does_no_harm(server: Running, number: float, caplog: pytest.LogCaptureFixture) -> None:
    bodies: list[dict[str, Any]] = [
        *({"agentConfig": agent("plain", **{name: number})} for name in OF_AGENT),
        *({"agentConfig": agent("adder", {**ADD, name: number})} for name in OF_TOOL),
        {"agentConfig": agent("adder", {**ADD, "approvalRequired": True, "approval": {"deadlineSeconds": number}})},
        {"agentConfig": agent(), "timeoutSeconds": number},
        {"agentConfig": agent(), "budget": {"seconds": number, "cost": number}},
        {"agentConfig": agent(), "priority": number},
        {"agentName": "helper", "version": number},
    ]
    for body in bodies:
        answer = await server.http.post("/api/agent/start", json={"prompt": "Hi", **body})
        assert answer.status_code in (200, 400, 404), (body, answer.text)
    answer = await server.http.post("/api/metadata/taskdefs", json=[{"name": "add", **dict.fromkeys(OF_TASK, number)}])
    assert answer.status_code in (200, 400), answer.text
    for task in await server.poll(count=50):
        report = {"taskId": task["taskId"], "status": "FAILED", "callbackAfterSeconds": number, "workerId": "w1"}
        assert (await server.http.post("/api/tasks", json=report)).status_code in (200, 400)
    page = await server.get("/api/agent/executions", params={"size": 100})
    assert not [each for each in page["results"] if each["status"] == "FAILED" and each["finishReason"] == "error"]
    assert not [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR]


@pytest.mark.parametrize(("seconds", "ms"), [(None, 0), (0, 0), (-5, 0), (1.5, 1_500), (1e308, LONGEST_SECONDS * 1000)])
def test_a_time_is_bounded(seconds: float | None, ms: int) -> None:
    assert milliseconds(seconds) == ms


def test_the_wait_before_the_hundredth_attempt_is_bounded() -> None:
    policy = RetryPolicy(limit=10**15, delay_ms=2_000, back_off="exponential")
    assert delay_ms(policy, 100, "seed") == LONGEST_SECONDS * 1000
