"""The API's description: OpenAPI 3.1 out of the routes, the verbs' docstrings and a table of what goes in and out.

`python -m agentspan.server.openapi` prints it; with `--unbuilt` the routes that answer 501, as a table for the docs.
"""

import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Any

import msgspec
from tornado.web import RequestHandler

import agentspan
from agentspan.server import (
    agents,
    conductor,
    control,
    credentials,
    embeddings,
    hooks,
    households,
    inbox,
    keys,
    messages,
    removal,
    routes,
    schedules,
    shares,
    tasks,
    tokens,
    users,
)
from agentspan.server.handler import Handler, Route
from agentspan.server.unbuilt import unbuilt

Json = dict[str, Any]

VERBS = ("get", "post", "put", "patch", "delete")


class Operation(msgspec.Struct, frozen=True):
    """What one verb of one path takes and gives. `takes` is a struct or a word of WORDS, `gives` a word of WORDS."""

    gives: str
    takes: Any = None
    query: str = ""


def describe(table: Iterable[Route]) -> Json:
    """The OpenAPI document of these routes."""
    shapes = [each.takes for each in OPERATIONS.values() if isinstance(each.takes, type)]
    _, components = msgspec.json.schema_components(
        list(dict.fromkeys(shapes)), ref_template="#/components/schemas/{name}"
    )
    paths: Json = {}
    for route in table:
        for verb, method in verbs(route.handler):
            paths.setdefault(route.path, {})[verb] = operation(route, verb, method)
    for verb, path, sentence in unbuilt():
        answer = {"501": {"description": sentence}}
        paths.setdefault(path, {})[verb.lower()] = {
            "summary": "Not built yet",
            "tags": [tag(path)],
            "parameters": path_parameters(path),
            "responses": answer,
        }
    return {
        "openapi": "3.1.0",
        "info": {"title": "agentspan", "version": agentspan.__version__},
        "paths": paths,
        "components": {
            "schemas": {**components, "Error": ERROR},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "token": {"type": "apiKey", "in": "header", "name": "X-Authorization"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def verbs(handler: type[Handler]) -> Iterator[tuple[str, Any]]:
    """The verbs that a handler answers itself."""
    for verb in VERBS:
        method = getattr(handler, verb)
        if method is not getattr(RequestHandler, verb):
            yield verb, method


def operation(route: Route, verb: str, method: Any) -> Json:
    known = OPERATIONS[f"{verb.upper()} {route.path}"]
    content = {"application/json": {"schema": WORDS[known.gives]}} if known.gives in WORDS else {}
    if known.gives == "text":
        content = {"text/plain": {"schema": {"type": "string"}}}
    if known.gives == "lines":
        content = {"application/x-ndjson": {"schema": {"type": "string"}}}
    if known.gives == "events":
        content = {"text/event-stream": {"schema": {"type": "string"}}}
    body: Json = {
        "summary": inspect.getdoc(method),
        "tags": [tag(route.path)],
        "parameters": [*path_parameters(route.path), *map(query_parameter, known.query.split())],
        "responses": {
            **answers(f"{verb.upper()} {route.path}", content),
            "default": {
                "description": "An error",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
            },
        },
    }
    if known.takes is not None:
        body["requestBody"] = {"content": request_content(known.takes)}
    if route.handler.without_credentials:
        body["security"] = []
    return body


def answers(name: str, content: Json) -> Json:
    """The answers that are no error, by status."""
    told = {status: {"description": HTTPStatus(status).phrase} for status in STATUSES.get(name, (200,))}
    return {str(status): each | ({} if status == 204 else {"content": content}) for status, each in told.items()}


def request_content(takes: Any) -> Json:
    if takes == "text":
        return {"text/plain": {"schema": {"type": "string"}}}
    schema = WORDS[takes] if isinstance(takes, str) else {"$ref": f"#/components/schemas/{takes.__name__}"}
    return {"application/json": {"schema": schema}}


def path_parameters(path: str) -> list[Json]:
    names = re.findall(r"{(\w+)}", path)
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def query_parameter(name: str) -> Json:
    return {"name": name, "in": "query", "required": False, "schema": PARAMETERS.get(name, {"type": "string"})}


def tag(path: str) -> str:
    parts = path.strip("/").split("/")
    return parts[1] if parts[0] == "api" and len(parts) > 1 else "server"


def unbuilt_table() -> str:
    """The routes that answer 501, as a Markdown table."""
    lines = ["| method | path | what the answer says |", "|---|---|---|"]
    lines += [f"| {verb} | `{path}` | {sentence} |" for verb, path, sentence in unbuilt()]
    return "\n".join(lines)


class Document(Handler):
    may_be_a_link = True

    def get(self) -> None:
        """This description."""
        self.answer(describe([*routes.ROUTES, *ROUTES]))


_OBJECT: Json = {"type": "object"}
_OBJECTS: Json = {"type": "array", "items": _OBJECT}

WORDS: dict[str, Json] = {
    "object": _OBJECT,
    "objects": _OBJECTS,
    "ids": {"type": "array", "items": {"type": "string"}},
    "number": {"type": "integer"},
    "numbers": {"type": "array", "items": {"type": "integer"}},
    "sizes": {"type": "object", "additionalProperties": {"type": "integer"}},
    "values": {"type": "object", "additionalProperties": {"type": "string"}},
    "started": {
        "type": "object",
        "properties": {
            "executionId": {"type": "string"},
            "agentName": {"type": "string"},
            "requiredWorkers": {"type": "array", "items": {"type": "string"}},
            "existing": {"type": "boolean"},
        },
    },
    "page": {
        "type": "object",
        "properties": {
            "totalHits": {"type": "integer"},
            "totalCapped": {"type": "boolean"},
            "nextCursor": {"type": "string"},
            "results": _OBJECTS,
        },
    },
    "tasks": {"type": "object", "properties": {"tasks": _OBJECTS}},
    "bulk": {
        "type": "object",
        "properties": {"bulkErrorResults": _OBJECT, "bulkSuccessfulResults": {"type": "array"}},
    },
    "execution": {"type": "object", "properties": {"executionId": {"type": "string"}}},
    "token": {"type": "object", "properties": {"token": {"type": "string"}}},
    "vectors": {
        "type": "object",
        "properties": {
            "model": {"type": "string"},
            "embeddings": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
        },
    },
}
"""Shapes of answers and of bodies that are no struct."""

_COUNT: Json = {"type": "integer", "minimum": 0}
_SWITCH: Json = {"type": "boolean"}

PARAMETERS: dict[str, Json] = {
    **dict.fromkeys(("after", "buckets", "count", "from", "limit", "priority", "since", "size", "start"), _COUNT),
    **dict.fromkeys(("scheduleStartTime", "scheduleEndTime", "timeout", "until", "version"), _COUNT),
    **dict.fromkeys(("waitForSeconds", "waitMs"), _COUNT),
    **dict.fromkeys(("includeClosed", "includeTasks", "resume"), _SWITCH),
}
"""Parameters that are no text."""

ERROR: Json = {
    "type": "object",
    "required": ["status", "message", "instance", "retryable"],
    "properties": {
        "status": {"type": "integer"},
        "message": {"type": "string"},
        "instance": {"type": "string"},
        "retryable": {"type": "boolean"},
        "validationErrors": _OBJECTS,
        "error": {"type": "string", "enum": ["INVALID_TOKEN", "EXPIRED_TOKEN"]},
    },
}

OPERATIONS: dict[str, Operation] = {
    "POST /api/agent/start": Operation("started", agents.StartRequest),
    "POST /api/agent/deploy": Operation("object", agents.StartRequest),
    "POST /api/agent/compile": Operation("object", agents.StartRequest),
    "GET /api/agent/list": Operation("objects"),
    "GET /api/agent/definitions/{name}": Operation("object", query="version"),
    "GET /api/agent/{name}": Operation("object", query="version"),
    "DELETE /api/agent/{name}": Operation("nothing", query="version"),
    "GET /api/agent/{name}/versions": Operation("objects"),
    "POST /api/agent/{name}/begun": Operation("object", agents.BegunRequest),
    "POST /api/agent/{name}/rollback": Operation("object", agents.RollbackRequest),
    "GET /api/agent/{name}/diff": Operation("objects", query="from to"),
    "GET /api/agent/{execution_id}/status": Operation("object", query="waitMs"),
    "GET /api/agent/{execution_id}/result": Operation("object", query="waitMs"),
    "GET /api/agent/{execution_id}/events": Operation("object", query="after limit"),
    "GET /api/agent/{execution_id}/steps": Operation("object"),
    "GET /api/agent/{execution_id}/forks": Operation("objects"),
    "GET /api/agent/{execution_id}/export": Operation("lines"),
    "GET /api/agent/{execution_id}/timeline": Operation("object", query="after"),
    "GET /api/agent/{execution_id}/why": Operation("object"),
    "GET /api/agent/{execution_id}/at/{seq}": Operation("object"),
    "GET /api/agent/tasks/{task_id}/detail": Operation("object"),
    "GET /api/agent/compare": Operation("object", query="a b"),
    "POST /api/agent/import": Operation("object", "text", query="resume"),
    "GET /api/agent/stream/{execution_id}": Operation("events", query="lastEventId"),
    "GET /api/changes": Operation("events"),
    "GET /api/agent/execution/{execution_id}": Operation("object"),
    "GET /api/agent/executions": Operation(
        "page",
        query="start cursor count size sort freeText status agentName model finishReason sessionId correlationId"
        " version minCost waiting since until",
    ),
    "GET /api/agent/executions/facets": Operation(
        "object",
        query="freeText status agentName model finishReason sessionId correlationId version minCost waiting since"
        " until",
    ),
    "GET /api/stats": Operation("object", query="since until buckets agentName"),
    "GET /api/costs": Operation("object", query="since until by"),
    "GET /api/workers": Operation("object"),
    "GET /api/config": Operation("object"),
    "GET /api/agent/executions/search": Operation("page", query="start size sort freeText query"),
    "GET /api/agent/executions/{execution_id}": Operation("object"),
    "DELETE /api/agent/executions/{execution_id}": Operation("nothing", query="reason"),
    "GET /api/agent/executions/{execution_id}/full": Operation("object"),
    "GET /api/agent/executions/{execution_id}/tasks": Operation("page", query="status start count"),
    "GET /api/agent/tasks/{task_id}/log": Operation("objects"),
    "POST /api/agent/{execution_id}/respond": Operation("object", "object", query="requestId by"),
    "GET /api/agent/{execution_id}/requests": Operation("object", query="status agent kind to"),
    "POST /api/agent/{execution_id}/messages": Operation("object", messages.Message),
    "GET /api/agent/{execution_id}/messages/{message_id}": Operation("object"),
    "POST /api/agent/{execution_id}/budget": Operation("object", "object"),
    "PUT /api/agent/{execution_id}/pause": Operation("nothing"),
    "PUT /api/agent/{execution_id}/resume": Operation("nothing"),
    "POST /api/agent/{execution_id}/stop": Operation("nothing"),
    "POST /api/agent/{execution_id}/signal": Operation("nothing", control.Signal),
    "DELETE /api/agent/{execution_id}/cancel": Operation("nothing", query="reason"),
    "POST /api/agent/executions/{execution_id}/fork": Operation("execution", control.ForkRequest),
    "POST /api/agent/executions/{execution_id}/retry": Operation("nothing", query="resumeSubworkflowTasks"),
    "POST /api/agent/executions/{execution_id}/rerun": Operation("text", control.RerunRequest),
    "PUT /api/agent/executions/bulk/pause": Operation("bulk", "ids"),
    "PUT /api/agent/executions/bulk/resume": Operation("bulk", "ids"),
    "POST /api/agent/executions/bulk/retry": Operation("bulk", "ids"),
    "POST /api/agent/executions/bulk/terminate": Operation("bulk", "ids", query="reason"),
    "GET /api/inbox": Operation("object", query="status executionId agent kind to limit cursor"),
    "POST /api/inbox/{request_id}/respond": Operation("object", "object", query="by"),
    "POST /api/inbox/{request_id}/link": Operation("object", inbox.LinkRequest),
    "GET /api/inbox/answer/{token}": Operation("object"),
    "POST /api/inbox/answer/{token}": Operation("object", "object"),
    "POST /api/embeddings": Operation("vectors", embeddings.EmbedRequest),
    "POST /api/tasks/poll": Operation("tasks", tasks.PollRequest),
    "POST /api/tasks/report": Operation("tasks", tasks.ReportRequest),
    "POST /api/tasks/extend": Operation("object", tasks.ExtendRequest),
    "POST /api/tasks": Operation("text", conductor.TaskResult),
    "POST /api/tasks/update-v2": Operation("object", conductor.TaskResult),
    "GET /api/tasks/poll/{name}": Operation("object", query="workerid domain"),
    "GET /api/tasks/poll/batch/{name}": Operation("objects", query="workerid domain count timeout"),
    "GET /api/tasks/queue/sizes": Operation("sizes", query="taskType"),
    "GET /api/tasks/queue/size": Operation("number", query="taskType domain"),
    "GET /api/tasks/queue/all": Operation("sizes"),
    "GET /api/tasks/queue/all/verbose": Operation("object"),
    "GET /api/tasks/queue/polldata": Operation("objects", query="taskType"),
    "GET /api/tasks/queue/polldata/all": Operation("objects"),
    "GET /api/tasks/{task_id}": Operation("object"),
    "GET /api/tasks/{task_id}/log": Operation("objects"),
    "POST /api/tasks/{task_id}/log": Operation("nothing", "text"),
    "POST /api/tasks/{execution_id}/{ref}/{status}": Operation("text", "object", query="workerid"),
    "POST /api/agent/tasks/{execution_id}/{ref}/{status}": Operation("text", "object", query="workerid"),
    "POST /api/tasks/{execution_id}/{ref}/{status}/sync": Operation("object", "object", query="workerid"),
    "GET /api/metadata/taskdefs": Operation("objects"),
    "POST /api/metadata/taskdefs": Operation("nothing", "objects"),
    "PUT /api/metadata/taskdefs": Operation("nothing", "objects"),
    "GET /api/metadata/taskdefs/{name}": Operation("object"),
    "DELETE /api/metadata/taskdefs/{name}": Operation("nothing"),
    "GET /api/metadata/workflow": Operation("objects"),
    "GET /api/metadata/workflow/names-and-versions": Operation("object"),
    "GET /api/metadata/workflow/latest-versions": Operation("objects"),
    "GET /api/metadata/workflow/{name}": Operation("object", query="version"),
    "DELETE /api/metadata/workflow/{name}/{version}": Operation("nothing"),
    "POST /api/workflow": Operation("text", conductor.StartWorkflow),
    "POST /api/workflow/execute/{name}/{version}": Operation(
        "object", conductor.StartWorkflow, query="waitForSeconds requestId"
    ),
    "GET /api/workflow/search": Operation("page", query="start size sort freeText query"),
    "GET /api/workflow/search-v2": Operation("page", query="start size sort freeText query"),
    "GET /api/workflow/running/{name}": Operation("ids"),
    "PUT /api/workflow/bulk/pause": Operation("bulk", "ids"),
    "PUT /api/workflow/bulk/resume": Operation("bulk", "ids"),
    "POST /api/workflow/bulk/retry": Operation("bulk", "ids"),
    "POST /api/workflow/bulk/terminate": Operation("bulk", "ids", query="reason"),
    "POST /api/workflow/bulk/search": Operation("bulk", "ids", query="includeTasks"),
    "GET /api/workflow/{execution_id}": Operation("object", query="includeTasks"),
    "POST /api/workflow/{execution_id}": Operation("text", "object", query="version correlationId priority"),
    "DELETE /api/workflow/{execution_id}": Operation("nothing", query="reason"),
    "DELETE /api/workflow/{execution_id}/remove": Operation("nothing"),
    "DELETE /api/workflow/{execution_id}/terminate-remove": Operation("nothing", query="reason"),
    "DELETE /api/workflow/bulk/remove": Operation("bulk", "ids"),
    "DELETE /api/workflow/bulk/terminate-remove": Operation("bulk", "ids", query="reason"),
    "POST /api/admin/prune": Operation("object", removal.PruneRequest),
    "GET /api/workflow/{execution_id}/tasks": Operation("page", query="status start count"),
    "PUT /api/workflow/{execution_id}/pause": Operation("nothing"),
    "PUT /api/workflow/{execution_id}/resume": Operation("nothing"),
    "POST /api/workflow/{execution_id}/messages": Operation("text", "object"),
    "POST /api/workflow/{execution_id}/terminate": Operation("nothing", query="reason"),
    "POST /api/workflow/{execution_id}/retry": Operation("nothing"),
    "POST /api/workflow/{execution_id}/rerun": Operation("text", control.RerunRequest),
    "POST /api/workflow/{name}/correlated": Operation("object", "ids", query="includeClosed includeTasks"),
    "GET /api/workflow/{name}/correlated/{correlation_id}": Operation("objects", query="includeClosed includeTasks"),
    "GET /api/prompts": Operation("objects"),
    "GET /api/prompts/{name}": Operation("object", query="version"),
    "POST /api/prompts/{name}": Operation("object", "text", query="description models"),
    "DELETE /api/prompts/{name}": Operation("nothing"),
    "GET /api/prompts/{name}/versions": Operation("objects"),
    "GET /api/scheduler/schedules": Operation("objects", query="workflowName"),
    "POST /api/scheduler/schedules": Operation("object", schedules.SaveSchedule),
    "GET /api/scheduler/schedules/{name}": Operation("object"),
    "DELETE /api/scheduler/schedules/{name}": Operation("nothing"),
    "GET /api/scheduler/schedules/{name}/pause": Operation("object"),
    "PUT /api/scheduler/schedules/{name}/pause": Operation("object"),
    "GET /api/scheduler/schedules/{name}/resume": Operation("object"),
    "PUT /api/scheduler/schedules/{name}/resume": Operation("object"),
    "POST /api/scheduler/schedules/{name}/run": Operation("execution"),
    "GET /api/scheduler/nextFewSchedules": Operation(
        "numbers", query="cronExpression zoneId scheduleStartTime scheduleEndTime limit"
    ),
    "GET /api/hooks": Operation("objects"),
    "GET /api/hooks/{name}": Operation("object"),
    "PUT /api/hooks/{name}": Operation("object", hooks.PutHook),
    "POST /api/hooks/{name}": Operation("execution", "object"),
    "DELETE /api/hooks/{name}": Operation("nothing"),
    "GET /api/credentials": Operation("objects"),
    "POST /api/credentials": Operation("nothing", credentials.PostCredential),
    "GET /api/credentials/{name}": Operation("object"),
    "PUT /api/credentials/{name}": Operation("nothing", credentials.PutCredential),
    "DELETE /api/credentials/{name}": Operation("nothing"),
    "GET /api/credentials/bindings": Operation("objects"),
    "PUT /api/credentials/bindings/{key}": Operation("nothing", credentials.PutBinding),
    "DELETE /api/credentials/bindings/{key}": Operation("nothing"),
    "POST /api/credentials/rotate": Operation("object"),
    "POST /api/credentials/resolve": Operation("values", credentials.ResolveRequest),
    "GET /api/agent/executions/{execution_id}/credentials": Operation("objects"),
    "POST /api/token": Operation("token", tokens.TokenRequest),
    "POST /api/auth/ticket": Operation("object"),
    "GET /api/auth/me": Operation("object"),
    "POST /api/auth/password": Operation("nothing", tokens.NewPassword),
    "GET /api/users": Operation("objects"),
    "POST /api/users": Operation("object", users.NewUser),
    "GET /api/users/{name}": Operation("object"),
    "PATCH /api/users/{name}": Operation("object", users.ChangedUser),
    "DELETE /api/users/{name}": Operation("nothing"),
    "GET /api/keys": Operation("objects"),
    "POST /api/keys": Operation("object", keys.NewKey),
    "DELETE /api/keys/{key_id}": Operation("nothing"),
    "GET /api/tenants": Operation("objects"),
    "POST /api/tenants": Operation("object", households.NewTenant),
    "GET /api/tenants/{name}": Operation("object"),
    "PATCH /api/tenants/{name}": Operation("object", households.ChangedTenant),
    "DELETE /api/tenants/{name}": Operation("nothing", query="confirm"),
    "GET /api/audit": Operation("object", query="limit cursor action by subject outcome since until"),
    "POST /api/agent/executions/{execution_id}/share": Operation("object", shares.NewShare),
    "GET /api/shares": Operation("objects"),
    "DELETE /api/shares/{share_id}": Operation("nothing"),
    "POST /api/auth/login": Operation("token", tokens.Login),
    "GET /api/version": Operation("text"),
    "GET /": Operation("object"),
    "GET /health": Operation("object"),
    "GET /livez": Operation("object"),
    "GET /readyz": Operation("object"),
    "GET /actuator/health": Operation("object"),
    "GET /actuator/info": Operation("object"),
    "GET /actuator/prometheus": Operation("text"),
    "GET /metrics": Operation("text"),
    "GET /openapi.json": Operation("object"),
    "GET /api-docs": Operation("object"),
}

_MADE = ("credentials", "users", "keys", "tenants", "agent/executions/{execution_id}/share")
_GONE = (
    *("credentials/{name}", "credentials/bindings/{key}", "users/{name}", "keys/{key_id}"),
    *("tenants/{name}", "shares/{share_id}"),
)

STATUSES: dict[str, tuple[int, ...]] = {
    **{f"POST /api/{path}": (201,) for path in _MADE},
    **{f"DELETE /api/{path}": (204,) for path in _GONE},
    "POST /api/auth/password": (204,),
    "POST /api/workflow/{execution_id}/retry": (204,),
    "POST /api/tasks/update-v2": (200, 204),
    "GET /api/tasks/poll/{name}": (200, 204),
    "GET /api/tasks/{task_id}/log": (200, 204),
}
"""The statuses of answers that are no error, where they are others than 200."""

ROUTES = [Route("/openapi.json", Document), Route("/api-docs", Document)]


def main(arguments: list[str]) -> None:
    if arguments == ["--unbuilt"]:
        print(unbuilt_table())
    else:
        print(msgspec.json.format(msgspec.json.encode(describe([*routes.ROUTES, *ROUTES]))).decode())


if __name__ == "__main__":
    main(sys.argv[1:])
