"""What the protocol documents and this server does not do: each route with the sentence that its 501 answers."""

_FRAMEWORK = "Runs of other frameworks are not shown yet; only agents that are sent as agentConfig run here."
_RESTART = "A run's history is never deleted; use rerun, which starts a new run with the same input."
_DEFINITIONS = "Workflow definitions are not run here; deploy an agent by POST /api/agent/deploy."
_EVENTS = "Event handlers are not built yet."
_TASK_SEARCH = "Searching tasks is not built yet; read a run's tasks by GET /api/agent/executions/{id}/tasks."
_BY_TASKS = "Searching runs by their tasks is not built yet; search runs by GET /api/agent/executions."
_STORAGE = "Payloads are kept by the server itself; there is no outside storage to name."
_DECIDE = "A run goes on with each fact that reaches it; there is nothing to push."
_SKIP = "Tasks cannot be skipped; fork the run at an event, with edits."
_INTEGRATIONS = "Model providers are enabled by their keys in the server's environment; there is nothing to register."
_ADMIN = "This server has no such administration; see GET /metrics and the command agentspan doctor."
_QUEUE_UPDATE = "Outside queues are not built yet; report by POST /api/tasks or answer by POST /api/agent/{id}/respond."
_REQUEUE = (
    "A queue here is a view of the runs' logs, from which no task can be missing; there is nothing to push again."
)

UNBUILT: dict[str, str] = {
    "POST /api/agent/executions/{execution_id}/restart": _RESTART,
    "POST /api/agent/executions/bulk/restart": _RESTART,
    "POST /api/agent/events/{execution_id}": _FRAMEWORK,
    "POST /api/agent/execution": _FRAMEWORK,
    "POST /api/agent/{execution_id}/tasks": _FRAMEWORK,
    "POST /api/agent/execution/{execution_id}/complete": _FRAMEWORK,
    "POST /api/tasks/queue/requeue/{name}": _REQUEUE,
    "GET /api/tasks/search": _TASK_SEARCH,
    "GET /api/tasks/search-v2": _TASK_SEARCH,
    "GET /api/tasks/externalstoragelocation": _STORAGE,
    "PUT /api/workflow/decide/{execution_id}": _DECIDE,
    "PUT /api/workflow/{execution_id}/skiptask/{ref}": _SKIP,
    "POST /api/workflow/{execution_id}/restart": _RESTART,
    "POST /api/workflow/{execution_id}/resetcallbacks": _DECIDE,
    "GET /api/workflow/search-by-tasks": _BY_TASKS,
    "GET /api/workflow/search-by-tasks-v2": _BY_TASKS,
    "GET /api/workflow/externalstoragelocation": _STORAGE,
    "POST /api/workflow/test": _DEFINITIONS,
    "POST /api/workflow/bulk/restart": _RESTART,
    "POST /api/metadata/workflow": _DEFINITIONS,
    "PUT /api/metadata/workflow": _DEFINITIONS,
    "POST /api/metadata/workflow/validate": _DEFINITIONS,
    "GET /api/event": _EVENTS,
    "POST /api/event": _EVENTS,
    "PUT /api/event": _EVENTS,
    "GET /api/event/{name}": _EVENTS,
    "DELETE /api/event/{name}": _EVENTS,
    "POST /api/queue/update/{execution_id}/{ref}/{status}": _QUEUE_UPDATE,
    "POST /api/queue/update/{execution_id}/task/{task_id}/{status}": _QUEUE_UPDATE,
    "GET /api/admin/config": _ADMIN,
    "GET /api/admin/task/{name}": _ADMIN,
    "POST /api/admin/sweep/requeue/{execution_id}": _ADMIN,
    "POST /api/admin/consistency/verifyAndRepair/{execution_id}": _ADMIN,
    "GET /api/admin/queues": _ADMIN,
    "POST /api/integrations/provider/{name}": _INTEGRATIONS,
    "POST /api/integrations/provider/{name}/integration/{model}": _INTEGRATIONS,
}


def unbuilt() -> list[tuple[str, str, str]]:
    """Method, path and sentence of all that is documented and not built."""
    return [(*entry.split(" ", 1), sentence) for entry, sentence in UNBUILT.items()]  # type: ignore[misc]
