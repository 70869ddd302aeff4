"""The dialect: pure functions from views to Conductor's JSON."""

import pytest

from agentspan.errors import BadInput
from agentspan.server import conductor, search
from agentspan.server.conductor import TaskResult
from agentspan.store.views import ExecutionRow, PollView, QueueView, TaskView

TASK = TaskView(
    task_id="t.t4",
    execution_id="t",
    root_id="t",
    agent_name="my agent",
    name="add",
    kind="worker",
    purpose="act",
    ref="call_1_0",
    status="IN_PROGRESS",
    input={"a": 1},
    state={"seen": 1},
    turn=1,
    scheduled_at=1000,
    available_at=3500,
    started_at=4000,
    lease_ms=9500,
)
ROW = ExecutionRow(
    execution_id="t",
    root_id="t",
    agent_name="a",
    status="COMPLETED",
    started_at=1_000,
    updated_at=3_000,
    ended_at=2_500,
)


def change(view, **changes):
    return type(view)(**{name: getattr(view, name) for name in view.__struct_fields__} | changes)


def test_a_workers_input_is_the_arguments_and_the_state():
    assert conductor.task(TASK)["inputData"] == {"a": 1, "_agent_state": {"seen": 1}}
    for other in ({"kind": "llm"}, {"purpose": "judge"}, {"purpose": "hook"}):
        assert conductor.task(change(TASK, **other))["inputData"] == {"a": 1}


def test_a_models_answer_is_told_in_conductors_words_too():
    usage = {"prompt_tokens": 3, "completion_tokens": 4}
    answer = {"content": "Hi", "tool_calls": [], "finish_reason": "stop", "usage": usage}
    told = conductor.task(change(TASK, kind="llm", purpose="think", output=answer))["outputData"]
    assert answer.items() <= told.items()
    assert (told["result"], told["finishReason"], told["tokenUsed"]) == ("Hi", "stop", 7)


def test_a_tool_that_waits_for_messages_has_a_type_of_its_own():
    task = conductor.task(change(TASK, kind="human", purpose="wait"))
    assert (task["taskType"], task["workflowTask"]["type"]) == ("PULL_WORKFLOW_MESSAGES",) * 2


@pytest.mark.parametrize(
    ("kind", "task_type", "step"),
    [
        ("worker", "add", "SIMPLE"),
        ("llm", "LLM_CHAT_COMPLETE", "LLM_CHAT_COMPLETE"),
        ("human", "HUMAN", "HUMAN"),
        ("agent", "SUB_WORKFLOW", "SUB_WORKFLOW"),
    ],
)
def test_kinds_have_conductors_types(kind, task_type, step):
    task = conductor.task(change(TASK, kind=kind))
    assert (task["taskType"], task["workflowTask"]["type"]) == (task_type, step)


def test_times_are_milliseconds_and_leases_whole_seconds():
    task = conductor.task(TASK)
    assert (task["scheduledTime"], task["startTime"], task["queueWaitTime"]) == (1000, 4000, 500)
    assert (task["startDelayInSeconds"], task["responseTimeoutSeconds"]) == (2, 10)


def test_what_is_unknown_is_left_out():
    assert not {"domain", "retriedTaskId", "subWorkflowId", "reasonForIncompletion"} & conductor.task(TASK).keys()
    full = conductor.task(change(TASK, domain="d", retried_task_id="x", child_id="c", reason="r"))
    assert (full["domain"], full["retriedTaskId"], full["subWorkflowId"], full["reasonForIncompletion"]) == tuple(
        "dxcr"
    )


def test_a_result_becomes_a_report():
    report = conductor.report(
        TaskResult(
            task_id="t.t4", status="FAILED", reason_for_incompletion="no", callback_after_seconds=1.5, worker_id="w",
            logs=[conductor.TaskLog("line")],
        )
    )  # fmt: skip
    assert (report.status, report.error, report.retry_after_ms) == ("FAILED", "no", 1500)
    assert (report.worker, report.logs, report.output) == ("w", ("line",), {})
    for status in (None, "SCHEDULED", "completed"):
        with pytest.raises(BadInput):
            conductor.report(TaskResult(task_id="t.t4", status=status))


def test_a_summary_has_texts_for_times_and_payloads():
    summary = conductor.summary(ROW, {"prompt": "ü"}, {"result": "x"})
    assert (summary["startTime"], summary["endTime"]) == ("1970-01-01T00:00:01.000Z", "1970-01-01T00:00:02.500Z")
    assert (summary["input"], summary["output"], summary["executionTime"]) == ('{"prompt":"ü"}', '{"result":"x"}', 1500)
    running = conductor.summary(change(ROW, ended_at=0), {}, None)
    assert "endTime" not in running
    assert running["output"] == "{}"


def test_queues_in_a_domain_are_named_by_both():
    views = [QueueView(name="add", domain="", ready=2, leased=1, oldest_ms=0)]
    views.append(QueueView(name="add", domain="d", ready=1, leased=0, oldest_ms=0))
    assert conductor.queue_sizes(views) == {"add": 2, "d:add": 1}
    poll = conductor.poll_data(PollView(name="add", domain="d", worker="w", at=5))
    assert poll == {"queueName": "add", "domain": "d", "workerId": "w", "lastPollTime": 5}


def test_queries_become_arguments():
    found = search.arguments("status IN ('RUNNING', FAILED) AND startTime > 5 AND startTime<9 AND correlationId = c")
    assert found == {
        "status": ["RUNNING", "FAILED"],
        "started_after": 5,
        "started_before": 9,
        "correlation_id": "c",
    }
    assert search.arguments("") == search.arguments("workflowType = *") == search.arguments("shoe = 3") == {}
    for wrong in ("status", "status ~ RUNNING", "startTime > soon"):
        with pytest.raises(BadInput):
            search.arguments(wrong)


def test_orders_are_those_of_the_lists():
    assert search.order("") == "started_at:DESC"
    assert search.order("endTime") == "ended_at:ASC"
    for wrong in ("shoe:ASC", "startTime:UP"):
        with pytest.raises(BadInput):
            search.order(wrong)
