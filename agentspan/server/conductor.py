"""The dialect of Conductor's clients: pure functions from our views to Task, Workflow, WorkflowSummary and back.

An execution is a workflow here and nowhere else. Keys whose value is unknown are left out; times are milliseconds,
in summaries ISO-8601 texts.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from agentspan.errors import BadInput
from agentspan.store.views import Delivery, ExecutionRow, ExecutionView, PollView, QueueView, Report, TaskView

Json = dict[str, Any]

ENDED = frozenset({"COMPLETED", "FAILED", "TIMED_OUT", "TERMINATED"})
TASK_ENDED = frozenset({"COMPLETED", "FAILED", "FAILED_WITH_TERMINAL_ERROR", "TIMED_OUT", "CANCELED"})
FAILED_TASK = frozenset({"FAILED", "FAILED_WITH_TERMINAL_ERROR", "TIMED_OUT"})


MOST_DIGESTS = 2
MOST_SECONDS = 365 * 86_400


# What clients send


class TaskLog(msgspec.Struct, rename="camel"):
    log: str = ""


class TaskResult(msgspec.Struct, rename="camel"):
    """A worker's report, or with `extendLease` its heartbeat. `sourceDigests` are those of the code that ran and of the
    code that it took the place of; `outdated`: newer code was there when it ended."""

    task_id: str
    workflow_instance_id: str | None = None
    status: str | None = None
    output_data: Json | None = None
    reason_for_incompletion: str | None = None
    callback_after_seconds: float | None = None
    worker_id: str | None = None
    logs: list[TaskLog] | None = None
    extend_lease: bool | None = None
    source_digests: list[str] | None = None
    outdated: bool | None = None


class StartWorkflow(msgspec.Struct, rename="camel"):
    """A start by name."""

    name: str
    version: int | None = None
    correlation_id: str | None = None
    input: Json | None = None
    task_to_domain: dict[str, str] | None = None
    workflow_def: Json | None = None
    priority: int | None = None
    idempotency_key: str | None = None


REPORTED = frozenset({"COMPLETED", "FAILED", "FAILED_WITH_TERMINAL_ERROR", "CANCELED"})


def report(result: TaskResult) -> Report:
    """A TaskResult with a final status as a report."""
    if result.status not in REPORTED:
        raise BadInput(f"status must be IN_PROGRESS or one of {', '.join(sorted(REPORTED))}, not {result.status!r}")
    return Report(
        task_id=result.task_id,
        status=result.status,
        output=result.output_data or {},
        error=result.reason_for_incompletion or "",
        worker=result.worker_id or "",
        retry_after_ms=after_ms(result),
        logs=tuple(each.log for each in result.logs or ()),
        code=tuple(result.source_digests or ())[:MOST_DIGESTS],
        outdated=bool(result.outdated),
    )


def after_ms(result: TaskResult) -> int:
    """When the task may be tried again, from now."""
    return round(min(max(result.callback_after_seconds or 0, 0), MOST_SECONDS) * 1000)


# Task


def task(view: TaskView) -> Json:
    """A task as workers and clients see it; beside Conductor's keys `idempotencyKey`, `agentName` and `sessionId`."""
    lease_seconds = -(-view.lease_ms // 1000)
    return {
        "taskType": task_type(view),
        "status": view.status,
        "inputData": {**view.input, "_agent_state": view.state} if is_tool(view) else view.input,
        "referenceTaskName": view.ref,
        "retryCount": view.attempt,
        "seq": view.seq,
        "pollCount": view.poll_count,
        "taskDefName": view.name,
        "scheduledTime": view.scheduled_at,
        "startTime": view.started_at,
        "endTime": view.ended_at,
        "updateTime": view.ended_at or view.started_at or view.scheduled_at,
        "startDelayInSeconds": max(0, view.available_at - view.scheduled_at) // 1000,
        "retried": view.retried,
        "executed": view.status in TASK_ENDED,
        "callbackFromWorker": True,
        "responseTimeoutSeconds": lease_seconds,
        "workflowInstanceId": view.execution_id,
        "workflowType": view.agent_name,
        "taskId": view.task_id,
        "callbackAfterSeconds": 0,
        "outputData": output(view),
        "workflowTask": {"name": view.name, "taskReferenceName": view.ref, "type": step_type(view)},
        "rateLimitPerFrequency": 0,
        "rateLimitFrequencyInSeconds": 0,
        "workflowPriority": view.priority,
        "iteration": view.turn,
        "subworkflowChanged": False,
        "firstStartTime": view.started_at,
        "queueWaitTime": max(0, view.started_at - view.available_at) if view.started_at else 0,
        "loopOverTask": view.turn > 0,
        "agentName": view.agent_name,
        **_known(
            {
                "correlationId": view.correlation_id,
                "retriedTaskId": view.retried_task_id,
                "reasonForIncompletion": view.reason,
                "workerId": view.worker,
                "domain": view.domain,
                "subWorkflowId": view.child_id,
                "idempotencyKey": view.idempotency_key,
                "sessionId": view.session_id,
            }
        ),
    }


def polled(view: TaskView, delivery: Delivery | None) -> Json:
    """A task as it is handed to the worker that has taken it, and to nobody else: with its credentials, if it has any.

    Newer workers read the values from `runtimeMetadata`; older ones ask for them with the token in the input.
    """
    shown = task(view)
    given = {key: value for key, value in shown["inputData"].items() if key != EXECUTION}
    if delivery is None:
        return {**shown, "inputData": given}
    told = {"execution_token": delivery.token, "credentials": list(view.credentials), "problem": delivery.problem}
    return {**shown, "inputData": {**given, EXECUTION: _known(told)}, "runtimeMetadata": delivery.values}


EXECUTION = "__agentspan_ctx__"
"""The key of a task's input that is the server's own: what a model says under it is not passed on."""


def plain(name: str) -> str:
    """A name as references are written: every other character becomes an underscore."""
    return "".join(letter if letter.isascii() and (letter.isalnum() or letter == "_") else "_" for letter in name)


def is_tool(view: TaskView) -> bool:
    """Is it a call of a user's tool, which may change the shared state? Checks and callbacks are not."""
    return view.kind == "worker" and view.purpose == "act"


def output(view: TaskView) -> Json:
    """What a task gave; a model's answer in Conductor's words too."""
    given = view.output or {}
    usage = given.get("usage")
    if view.kind != "llm" or not isinstance(usage, dict):
        return given
    prompt, completion = usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0)
    return {
        **given,
        "result": given.get("content", ""),
        "toolCalls": given.get("tool_calls") or [],
        "finishReason": given.get("finish_reason"),
        "promptTokens": prompt,
        "completionTokens": completion,
        "tokenUsed": prompt + completion,
    }


def task_type(view: TaskView) -> str:
    return _type(view, view.name)


def step_type(view: TaskView) -> str:
    return _type(view, "SIMPLE")


def _type(view: TaskView, other: str) -> str:
    return PURPOSES.get(view.purpose) or TASK_TYPES.get(view.kind, other)


TASK_TYPES = {
    "llm": "LLM_CHAT_COMPLETE",
    "http": "HTTP",
    "mcp": "CALL_MCP_TOOL",
    "human": "HUMAN",
    "agent": "SUB_WORKFLOW",
}
PURPOSES = {"wait": "PULL_WORKFLOW_MESSAGES"}
"""Purposes that have a type of their own, whoever performs them."""


def task_log(task_id: str, at: int, text: str) -> Json:
    return {"log": text, "taskId": task_id, "createdTime": at}


# Workflow


def workflow(view: ExecutionView, tasks: Sequence[TaskView] | None) -> Json:
    """An execution; `tasks` None leaves them out."""
    row = view.row
    failed = [each for each in tasks or () if each.status in FAILED_TASK and not each.retried]
    return {
        "workflowId": row.execution_id,
        "status": row.status,
        "startTime": row.started_at,
        "endTime": row.ended_at,
        "createTime": row.started_at,
        "updateTime": row.updated_at,
        "workflowName": row.agent_name,
        "workflowVersion": row.version,
        "workflowDefinition": {"name": row.agent_name, "version": row.version, "schemaVersion": 2, "tasks": []},
        "input": view.input,
        "output": view.output or {},
        "tasks": [task(each) for each in tasks or ()],
        "taskToDomain": {"*": row.run_id} if row.run_id else {},
        "failedReferenceTaskNames": [each.ref for each in failed],
        "failedTaskNames": [each.name for each in failed],
        "priority": row.priority,
        "variables": {"_agent_state": view.state},
        "lastRetriedTime": 0,
        "ownerApp": "",
        **_known(
            {
                "parentWorkflowId": row.parent_id,
                "parentWorkflowTaskId": view.parent_task_id,
                "correlationId": row.correlation_id,
                "reasonForIncompletion": row.reason,
                "reRunFromWorkflowId": view.forked_from,
            }
        ),
    }


def summary(row: ExecutionRow, given: Json, output: Json | None) -> Json:
    """One line of a list, in Conductor's words."""
    return {
        "workflowType": row.agent_name,
        "version": row.version,
        "workflowId": row.execution_id,
        "startTime": iso(row.started_at),
        "updateTime": iso(row.updated_at),
        "status": row.status,
        "input": text_of(given),
        "output": text_of(output or {}),
        "executionTime": duration(row),
        "failedReferenceTaskNames": "",
        "priority": row.priority,
        **_known(
            {
                "endTime": iso(row.ended_at),
                "correlationId": row.correlation_id,
                "reasonForIncompletion": row.reason,
                "parentWorkflowId": row.parent_id,
            }
        ),
    }


def iso(ms: int) -> str:
    """The time as text; "" for none."""
    return (
        datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if ms else ""
    )


def duration(row: ExecutionRow) -> int:
    return max(0, (row.ended_at or row.updated_at) - row.started_at)


def text_of(value: Json) -> str:
    return msgspec.json.encode(value).decode()


# Queues


def queue_name(view: QueueView | PollView) -> str:
    return f"{view.domain}:{view.name}" if view.domain else view.name


def queue_sizes(views: Iterable[QueueView]) -> dict[str, int]:
    return {queue_name(view): view.ready for view in views}


def queue_details(views: Iterable[QueueView]) -> Json:
    """Conductor's verbose form: the queue, its one shard, what is ready and what is with workers."""
    return {queue_name(view): {"1": {"size": view.ready, "uacked": view.leased}} for view in views}


def poll_data(view: PollView) -> Json:
    return {
        "queueName": view.name,
        "workerId": view.worker,
        "lastPollTime": view.at,
        **_known({"domain": view.domain}),
    }


# Task definitions


TASK_DEF_DEFAULTS: Json = {
    "retryCount": 3,
    "retryLogic": "FIXED",
    "retryDelaySeconds": 60,
    "backoffScaleFactor": 1,
    "maxRetryDelaySeconds": 0,
    "backoffJitterMs": 0,
    "timeoutSeconds": 0,
    "timeoutPolicy": "TIME_OUT_WF",
    "responseTimeoutSeconds": 3600,
    "totalTimeoutSeconds": 0,
    "inputKeys": [],
    "outputKeys": [],
    "inputTemplate": {},
    "rateLimitPerFrequency": 0,
    "rateLimitFrequencyInSeconds": 1,
}


def task_def(stored: Json) -> Json:
    """A stored definition with the defaults of what it leaves open."""
    return {**TASK_DEF_DEFAULTS, **stored}


# Many at once


def bulk(errors: dict[str, str], succeeded: Sequence[Any]) -> Json:
    return {"bulkErrorResults": errors, "bulkSuccessfulResults": succeeded}


def _known(values: Json) -> Json:
    return {key: value for key, value in values.items() if value not in ("", None)}
