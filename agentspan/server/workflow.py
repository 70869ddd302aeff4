"""Executions under Conductor's paths: what its clients read, start and steer."""

from collections.abc import Mapping
from typing import Any

from agentspan.errors import BadInput, NotImplementedHere
from agentspan.server import conductor, control, search
from agentspan.server.conductor import StartWorkflow
from agentspan.server.executions import ReadHandler, Search, task_page
from agentspan.server.handler import Handler, Route
from agentspan.server.limits import check_items

Json = dict[str, Any]

MAX_RUNNING = 1000
INPUT_KEYS = ("prompt", "context", "media", "session_id")


class StartHandler(Handler):
    async def start(self, request: StartWorkflow) -> str:
        """Start a deployed agent by its name."""
        if request.workflow_def:
            raise NotImplementedHere("a workflow definition is not run here; deploy an agent and start it by its name")
        spec, version, _ = await self.engine.definition(request.name, request.version)
        given = run_input(request.input or {})
        started = await self.engine.start(
            spec,
            given,
            idempotency_key=request.idempotency_key or "",
            session_id=str(given.get("session_id", "")),
            run_id=domain_of(request.task_to_domain or {}),
            correlation_id=request.correlation_id or "",
            priority=request.priority or 0,
            version=version,
        )
        return started.execution_id


class Start(StartHandler):
    async def post(self) -> None:
        """Start a deployed agent by its name; the run's id as text."""
        self.answer_text(await self.start(self.body(StartWorkflow)))


class Execute(StartHandler):
    async def post(self, name: str, version: str) -> None:
        """Start a deployed agent and wait for its end, at most `waitForSeconds`; the run as it then stands."""
        request = self.body(StartWorkflow) if self.request.body else StartWorkflow(name=name)
        request.name, request.version = name, int(version) if version.isdecimal() else None
        execution_id = await self.start(request)
        seconds = self.number("waitForSeconds", 10, 0, 60)
        await self.while_open(self.engine.wait(execution_id, seconds * 1000))
        view = await self.reads.execution(execution_id)
        tasks = await self.reads.tasks(execution_id)
        self.answer({**conductor.workflow(view, tasks), "requestId": self.param("requestId")})


class One(StartHandler, ReadHandler):
    """A run's id, or to start one an agent's name: Conductor has both under one path."""

    async def get(self, execution_id: str) -> None:
        """A run, with its tasks unless `includeTasks` is false."""
        view = await self.reads.execution(execution_id)
        tasks = await self.reads.tasks(execution_id) if self.switch("includeTasks", True) else None
        self.answer(conductor.workflow(view, tasks))

    async def delete(self, execution_id: str) -> None:
        """End the run and all below it now."""
        await self.engine.cancel(execution_id, self.param("reason"))
        self.answer_nothing()

    async def post(self, name: str) -> None:
        """Start a deployed agent; the body is its input. The run's id as text."""
        self.answer_text(
            await self.start(
                StartWorkflow(
                    name=name,
                    version=self.optional_number("version"),
                    correlation_id=self.param("correlationId"),
                    priority=self.number("priority", 0, 0, 99),
                    input=self.json_object(),
                )
            )
        )


class Tasks(ReadHandler):
    async def get(self, execution_id: str) -> None:
        """A page of the run's tasks."""
        await self.reads.row(execution_id)
        tasks = await self.reads.tasks(execution_id)
        page = task_page(tasks, self.params("status"), self.number("start", 0), self.number("count", 15))
        self.answer({"results": page["results"], "totalHits": page["totalHits"]})


class Correlated(ReadHandler):
    async def get(self, name: str, correlation_id: str) -> None:
        """The runs of an agent with that correlation id."""
        self.answer(await correlated(self, name, correlation_id))


class CorrelatedMany(ReadHandler):
    async def post(self, name: str) -> None:
        """The runs of an agent by correlation ids, a list for each."""
        ids = self.json()
        if not isinstance(ids, list):
            raise BadInput("the body must be a list of correlation ids")
        check_items(len(ids), "correlation ids")
        self.answer({str(each): await correlated(self, name, str(each)) for each in ids})


class Running(ReadHandler):
    async def get(self, name: str) -> None:
        """The ids of an agent's runs that have not ended."""
        _, rows = await self.reads.search(
            size=MAX_RUNNING, names=[name], status=["RUNNING", "PAUSED"], roots_only=False
        )
        self.answer([row.execution_id for row in rows])


class SearchWhole(Search):
    async def get(self) -> None:
        """A page of runs, each whole but for its tasks."""
        total, rows = await self.found(100)
        views = [await self.reads.execution(row.execution_id) for row in rows]
        self.answer({"totalHits": total, "results": [conductor.workflow(view, None) for view in views]})


class Terminate(Handler):
    async def post(self, execution_id: str) -> None:
        """End the run and all below it now."""
        await self.engine.cancel(execution_id, self.param("reason"))
        self.answer_nothing()


class Retry(Handler):
    async def post(self, execution_id: str) -> None:
        """Let a failed run go on from where it failed."""
        await self.engine.retry(execution_id)
        self.answer_nothing(204)


class BulkSearch(control.Bulk):
    async def post(self) -> None:
        """Many runs by their ids."""
        found: list[Json] = []

        async def take(execution_id: str) -> None:
            view = await self.reads.execution(execution_id)
            tasks = await self.reads.tasks(execution_id) if self.switch("includeTasks", True) else None
            found.append(conductor.workflow(view, tasks))

        errors, _ = await self.each(take)
        self.answer(conductor.bulk(errors, found))


# Parts


def run_input(given: Json) -> Json:
    """The input of a run out of a workflow's input."""
    if not any(given.get(key) for key in ("prompt", "context", "media")):
        raise BadInput("there is nothing to run on: the input needs a prompt, media or a context")
    return {"prompt": str(given.get("prompt") or ""), **{key: given[key] for key in INPUT_KEYS[1:] if given.get(key)}}


def domain_of(domains: Mapping[str, str]) -> str:
    """The one domain of a run: that of most tasks."""
    names = list(domains.values())
    return max(names, key=names.count) if names else ""


async def correlated(handler: Handler, name: str, correlation_id: str) -> list[Json]:
    _, rows = await handler.reads.search(
        size=100,
        sort=search.order(""),
        names=[name],
        correlation_id=correlation_id,
        status=() if handler.switch("includeClosed") else ("RUNNING", "PAUSED"),
        roots_only=False,
    )
    views = [await handler.reads.execution(row.execution_id) for row in rows]
    with_tasks = handler.switch("includeTasks")
    return [
        conductor.workflow(view, await handler.reads.tasks(view.row.execution_id) if with_tasks else None)
        for view in views
    ]


ROUTES = [
    Route("/api/workflow", Start),
    Route("/api/workflow/search", Search),
    Route("/api/workflow/search-v2", SearchWhole),
    Route("/api/workflow/execute/{name}/{version}", Execute),
    Route("/api/workflow/running/{name}", Running),
    Route("/api/workflow/bulk/pause", control.BulkPause),
    Route("/api/workflow/bulk/resume", control.BulkResume),
    Route("/api/workflow/bulk/retry", control.BulkRetry),
    Route("/api/workflow/bulk/terminate", control.BulkTerminate),
    Route("/api/workflow/bulk/search", BulkSearch),
    Route("/api/workflow/{execution_id}", One),
    Route("/api/workflow/{execution_id}/tasks", Tasks),
    Route("/api/workflow/{execution_id}/pause", control.Pause),
    Route("/api/workflow/{execution_id}/resume", control.Resume),
    Route("/api/workflow/{execution_id}/terminate", Terminate),
    Route("/api/workflow/{execution_id}/retry", Retry),
    Route("/api/workflow/{execution_id}/rerun", control.Rerun),
    Route("/api/workflow/{name}/correlated", CorrelatedMany),
    Route("/api/workflow/{name}/correlated/{correlation_id}", Correlated),
]
