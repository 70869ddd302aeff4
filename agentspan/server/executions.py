"""Executions as they stand: status, result, tasks, events and lists. Reading changes nothing."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from agentspan.errors import NotFound
from agentspan.server import conductor, listing, search
from agentspan.server.handler import MAX_WAIT_MS, Handler, Route
from agentspan.store.views import ExecutionRow, ExecutionView, RequestView, TaskView, WaitingView

Json = dict[str, Any]

MAX_PAGE = 1000
SHOWN = ("question", "content", "prompt", "conversation", "message")
"""Which of its arguments a request that is no approval is about."""
STATE_KEYS = ("_state_updates", "_state_deletions")


class ReadHandler(Handler):
    """A read that a person may also open in a browser."""

    may_be_a_link = True

    async def wait(self, execution_id: str) -> None:
        """With `waitMs`, wait for the end of the execution, at most so long."""
        if wait_ms := self.number("waitMs", 0, 0, MAX_WAIT_MS):
            await self.while_open(self.engine.wait(execution_id, wait_ms))


# One execution


class Status(ReadHandler):
    async def get(self, execution_id: str) -> None:
        """How a run stands, and what it waits for; with `waitMs` when it has ended, or after that time."""
        await self.wait(execution_id)
        view = await self.reads.execution(execution_id)
        is_open = view.row.status not in conductor.ENDED
        requests = await self.reads.requests(execution_id) if is_open else []
        waiting = await self.reads.waiting(execution_id) if is_open else []
        self.answer(status(view, requests, waiting))


class Result(ReadHandler):
    async def get(self, execution_id: str) -> None:
        """The result of a run as it stands, with what happened in the whole tree below it."""
        await self.wait(execution_id)
        story = await self.reads.story(execution_id)
        self.answer(
            {
                **result(story.view, story.rows),
                "messages": story.messages,
                "toolCalls": tool_calls(story.tasks),
                "requests": [request(each) for each in story.requests],
                "waitingFor": [waits(each) for each in story.waiting],
            }
        )


class Events(ReadHandler):
    async def get(self, execution_id: str) -> None:
        """A page of the run's log, from the number after `after`."""
        after = self.number("after", 0)
        events = await self.engine.events(execution_id, after, self.number("limit", 500, 1, MAX_PAGE))
        self.answer({"events": events, "last": max((each["id"] for each in events), default=after)})


class Run(ReadHandler):
    async def get(self, execution_id: str) -> None:
        """The run with its tasks and its own token usage; that of sub-agents is with their executions."""
        view = await self.reads.execution(execution_id)
        self.answer(agent_run(view, await self.reads.tasks(execution_id)))


class One(ReadHandler):
    async def get(self, execution_id: str) -> None:
        """The run in short, with the task that is open."""
        view = await self.reads.execution(execution_id)
        self.answer(detail(view, await self.reads.tasks(execution_id)))

    async def delete(self, execution_id: str) -> None:
        """End the run and all below it now."""
        await self.engine.cancel(execution_id, self.param("reason"))
        self.answer_nothing()


class Full(ReadHandler):
    async def get(self, execution_id: str) -> None:
        """The run with all its tasks, in Conductor's words."""
        view = await self.reads.execution(execution_id)
        self.answer(conductor.workflow(view, await self.reads.tasks(execution_id)))


class Tasks(ReadHandler):
    async def get(self, execution_id: str) -> None:
        """A page of the run's tasks."""
        await self.reads.row(execution_id)
        tasks = await self.reads.tasks(execution_id)
        self.answer(task_page(tasks, self.params("status"), self.number("start", 0), self.number("count", 15)))


class TaskLog(ReadHandler):
    async def get(self, task_id: str) -> None:
        """What a task wrote."""
        self.answer([conductor.task_log(task_id, *line) for line in await self.reads.logs(task_id)])


# Lists


class List(ReadHandler):
    async def get(self) -> None:
        """A page of runs, newest first; with `cursor` ("" for the first page) each begins where the last one ended."""
        if listing.is_asked(self):
            return self.answer(await listing.page(self, MAX_PAGE))
        total, rows = await self.reads.search(
            start=self.number("start", 0),
            size=self.number("size", 20, 0, MAX_PAGE),
            sort=search.order(self.param("sort")),
            status=self.params("status"),
            names=self.params("agentName"),
            text=search.free_text(self.param("freeText")),
            session_id=self.param("sessionId"),
            correlation_id=self.param("correlationId"),
        )
        payloads = await self.reads.inputs([row.execution_id for row in rows])
        whole = await self.reads.whole(rows)
        results = [listed(row, *payloads.get(row.execution_id, ({}, None))) for row in whole]
        self.answer({"totalHits": total, "results": results})


class Search(ReadHandler):
    async def get(self) -> None:
        """A page of runs by Conductor's query language."""
        total, rows = await self.found()
        payloads = await self.reads.inputs([row.execution_id for row in rows])
        results = [conductor.summary(row, *payloads.get(row.execution_id, ({}, None))) for row in rows]
        self.answer({"totalHits": total, "results": results})

    async def found(self, size: int = 20) -> tuple[int, Sequence[ExecutionRow]]:
        asked = search.arguments(self.param("query"))
        if ids := asked.pop("execution_ids", None):
            rows = [row for row in [await self._row(each) for each in ids] if row]
            return len(rows), rows
        return await self.reads.search(
            start=self.number("start", 0),
            size=self.number("size", size, 0, MAX_PAGE),
            sort=search.order(self.param("sort")),
            text=search.free_text(self.param("freeText")),
            roots_only=False,
            **asked,
        )

    async def _row(self, execution_id: str) -> ExecutionRow | None:
        try:
            return await self.reads.row(execution_id)
        except NotFound:
            return None


# From views to JSON


def status(view: ExecutionView, requests: Sequence[RequestView], waiting: Sequence[WaitingView]) -> Json:
    row = view.row
    is_over = row.status in conductor.ENDED
    body: Json = {
        "executionId": row.execution_id,
        "agentName": row.agent_name,
        "status": row.status,
        "isComplete": is_over,
        "isRunning": row.status == "RUNNING",
        "requests": [request(each) for each in requests],
        "waitingFor": [waits(each) for each in waiting],
    }
    if is_over:
        body["output"] = view.output or {}
        body["finishReason"] = row.finish_reason
    if row.reason:
        body["reasonForIncompletion"] = row.reason
    if view.budget is not None:
        body |= {"budget": view.budget, "spent": view.spent}
    if requests:
        body["isWaiting"] = True
        body["pendingTool"] = pending_tool(requests[0])
    return body


def result(view: ExecutionView, rows: Sequence[ExecutionRow]) -> Json:
    row, output = view.row, view.output or {}
    body: Json = {
        "executionId": row.execution_id,
        "agentName": row.agent_name,
        "status": row.status,
        "output": view.output,
        "finishReason": row.finish_reason,
        "tokenUsage": {
            **tokens(rows),
            "cachedTokens": sum(each.cached_tokens for each in rows),
            "reasoningTokens": sum(each.reasoning_tokens for each in rows),
        },
        "cost": sum(each.cost for each in rows),
        "costUnknown": any(each.unpriced for each in rows),
        "subResults": output.get("subResults", {}),
        "startTime": row.started_at,
        "endTime": row.ended_at,
    }
    if row.reason:
        body["reasonForIncompletion"] = row.reason
    return body


def tool_calls(tasks: Iterable[TaskView]) -> list[Json]:
    """Each call once, with its last attempt, in the order in which they were made."""
    calls: dict[tuple[str, str], Json] = {}
    for task in sorted(tasks, key=lambda task: task.seq):
        if task.purpose == "act":
            key = (task.execution_id, task.ref)
            attempts = calls[key]["attempts"] + 1 if key in calls else 1
            calls[key] = tool_call(task, attempts)
    return list(calls.values())


def tool_call(task: TaskView, attempts: int) -> Json:
    return {
        "id": task.ref,
        "name": task.name,
        "args": task.input,
        "result": tool_result(task),
        "error": task.reason or None,
        "status": task.status,
        "executionId": task.execution_id,
        "agentName": task.agent_name,
        "taskId": task.task_id,
        "attempts": attempts,
    }


def tool_result(task: TaskView) -> Any:
    """What the tool returned: a worker wraps what is no object as {result}."""
    output = {key: value for key, value in (task.output or {}).items() if key not in STATE_KEYS}
    return output["result"] if set(output) == {"result"} else output or None


def agent_run(view: ExecutionView, tasks: Sequence[TaskView]) -> Json:
    row = view.row
    return {
        "executionId": row.execution_id,
        "agentName": row.agent_name,
        "version": row.version,
        "status": row.status,
        "startTime": row.started_at,
        "endTime": row.ended_at,
        "input": view.input,
        "output": view.output or {},
        "tokenUsage": tokens([row]),
        "tasks": [
            {
                "taskType": conductor.task_type(task),
                "referenceTaskName": task.ref,
                "status": task.status,
                "outputData": conductor.output(task),
                **({"subWorkflowId": task.child_id} if task.child_id else {}),
            }
            for task in tasks
        ],
    }


def detail(view: ExecutionView, tasks: Sequence[TaskView]) -> Json:
    row = view.row
    body: Json = {
        "executionId": row.execution_id,
        "agentName": row.agent_name,
        "version": row.version,
        "status": row.status,
        "input": view.input,
        "output": view.output or {},
        "path": view.path,
        "agentDef": view.spec,
        "lastEventId": view.seq,
        **_lineage(view),
        **({"budget": view.budget, "spent": view.spent} if view.budget is not None else {}),
    }
    if task := next((each for each in reversed(tasks) if each.status not in conductor.TASK_ENDED), None):
        body["currentTask"] = {
            "taskRefName": task.ref,
            "taskType": conductor.task_type(task),
            "status": task.status,
            "inputData": task.input,
            "outputData": conductor.output(task),
        }
    return body


def _lineage(view: ExecutionView) -> Json:
    lineage: Json = {"rootExecutionId": view.row.root_id}
    if view.row.parent_id:
        lineage["parentExecutionId"] = view.row.parent_id
    if view.forked_from:
        lineage["forkedFrom"] = {"executionId": view.forked_from, "at": view.forked_at}
    if view.imported_from:
        lineage["importedFrom"] = view.imported_from
    return lineage


def task_page(tasks: Sequence[TaskView], wanted: Sequence[str], start: int, count: int) -> Json:
    chosen = [task for task in tasks if not wanted or task.status in wanted]
    return {
        "results": [conductor.task(task) for task in chosen[start : start + count]],
        "totalHits": len(chosen),
        "summary": dict(Counter(task.status for task in tasks)),
    }


def listed(row: ExecutionRow, given: Json, output: Json | None) -> Json:
    body: Json = {
        "executionId": row.execution_id,
        "agentName": row.agent_name,
        "version": row.version,
        "status": row.status,
        "startTime": conductor.iso(row.started_at),
        "updateTime": conductor.iso(row.updated_at),
        "executionTime": conductor.duration(row),
        "input": conductor.text_of(given),
        "output": conductor.text_of(output or {}),
        "finishReason": row.finish_reason,
        "sessionId": row.session_id,
        "turns": row.turns,
        "tokenUsage": tokens([row]),
        "cost": row.cost,
        "costUnknown": row.unpriced > 0,
    }
    if row.ended_at:
        body["endTime"] = conductor.iso(row.ended_at)
    return body


def tokens(rows: Sequence[ExecutionRow]) -> Json:
    prompt, completion = sum(row.prompt_tokens for row in rows), sum(row.completion_tokens for row in rows)
    return {"promptTokens": prompt, "completionTokens": completion, "totalTokens": prompt + completion}


def request(view: RequestView) -> Json:
    """What a person is asked, or was asked and has answered."""
    return {
        "requestId": view.request_id,
        "executionId": view.execution_id,
        "rootExecutionId": view.root_id,
        "agentName": view.agent_name,
        "path": view.path,
        "tool": view.tool,
        "ref": view.ref,
        "arguments": view.arguments,
        "argumentsSchema": view.arguments_schema,
        "since": view.since,
        "responseSchema": view.response_schema,
        "kind": view.kind,
        "content": content(view),
        "age": view.age,
        "deadline": view.deadline or None,
        "to": view.to,
        "rootAgentName": view.root_agent,
        "status": view.status,
        **(_decided(view) if view.status != "open" else {}),
    }


def content(view: RequestView) -> Any:
    """What a person reads: the question, or the text to review; None for an approval."""
    shown = () if view.kind == "approval" else (view.arguments[name] for name in SHOWN if name in view.arguments)
    return next(iter(shown), None)


def _decided(view: RequestView) -> Json:
    return {"answer": view.answer, "decidedBy": view.decided_by or None, "decidedAt": view.decided_at}


def pending_tool(view: RequestView) -> Json:
    """The same as the contract's pendingTool, mixed case and all."""
    return {
        "taskRefName": view.ref,
        "tool_name": view.tool,
        "parameters": view.arguments,
        "response_schema": view.response_schema,
        "requestId": view.request_id,
        "executionId": view.execution_id,
        "kind": view.kind,
    }


def waits(view: WaitingView) -> Json:
    """A task that no live worker polls for."""
    return {
        "taskId": view.task_id,
        "executionId": view.execution_id,
        "tool": view.tool,
        "domain": view.domain,
        "since": view.since,
        "lastPoll": view.last_poll,
        "reason": view.reason,
    }


ROUTES = [
    Route("/api/agent/{execution_id}/status", Status),
    Route("/api/agent/{execution_id}/result", Result),
    Route("/api/agent/{execution_id}/events", Events),
    Route("/api/agent/execution/{execution_id}", Run),
    Route("/api/agent/executions", List),
    Route("/api/agent/executions/search", Search),
    Route("/api/agent/executions/{execution_id}", One),
    Route("/api/agent/executions/{execution_id}/full", Full),
    Route("/api/agent/executions/{execution_id}/tasks", Tasks),
    Route("/api/agent/tasks/{task_id}/log", TaskLog),
]
