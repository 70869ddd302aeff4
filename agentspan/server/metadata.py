"""Task definitions, which workers register, and the deployed agents under Conductor's paths for definitions."""

from typing import Any

from agentspan.errors import BadInput, NotFound
from agentspan.server import conductor, plan
from agentspan.server.handler import Handler, Route

Json = dict[str, Any]


class TaskDefs(Handler):
    async def get(self) -> None:
        """The task definitions."""
        self.answer([conductor.task_def(each) for each in await self.engine.task_defs()])

    async def post(self) -> None:
        """Store task definitions, a list."""
        await self.engine.put_task_defs(definitions(self.json()))
        self.answer_nothing()

    async def put(self) -> None:
        """Store a task definition, or a list of them."""
        await self.engine.put_task_defs(definitions(self.json()))
        self.answer_nothing()


class TaskDef(Handler):
    async def get(self, name: str) -> None:
        """One task definition."""
        stored = await self.engine.task_def(name)
        if stored is None:
            raise NotFound(f"there is no task definition {name!r}")
        self.answer(conductor.task_def(stored))

    async def delete(self, name: str) -> None:
        """Remove a task definition; the defaults take its place."""
        await self.engine.delete_task_def(name)
        self.answer_nothing()


class Definitions(Handler):
    may_be_a_link = True

    async def get(self) -> None:
        """The deployed agents, in Conductor's words."""
        found = await self.engine.definitions()
        self.answer([plan.workflow_def(spec, version) for _, version, _, _, _, spec in found])


class Versions(Handler):
    async def get(self) -> None:
        """The names and versions of the deployed agents."""
        found: dict[str, list[Json]] = {}
        for name, version, at, *_ in await self.engine.definitions():
            found.setdefault(name, []).append({"name": name, "version": version, "createTime": at})
        self.answer(found)


class Latest(Handler):
    async def get(self) -> None:
        """The latest version of each deployed agent."""
        found = await self.engine.definitions()
        latest = {name: {"name": name, "version": version, "createTime": at} for name, version, at, *_ in found}
        self.answer(list(latest.values()))


class Definition(Handler):
    may_be_a_link = True

    async def get(self, name: str) -> None:
        """A deployed agent, in Conductor's words."""
        spec, version, created_at = await self.engine.definition(name, self.optional_number("version"))
        self.answer({**plan.workflow_def(spec, version), "createTime": created_at})


class DefinitionVersion(Handler):
    async def delete(self, name: str, version: str) -> None:
        """Remove one version of a deployed agent; runs of it go on."""
        if not version.isdecimal():
            raise BadInput(f"version must be a whole number, not {version!r}")
        await self.engine.undeploy(name, int(version))
        self.answer_nothing()


def definitions(body: Any) -> list[Json]:
    """Task definitions out of a body: one or a list, each with a name and numbers that make sense."""
    found = body if isinstance(body, list) else [body]
    for each in found:
        if not isinstance(each, dict) or not each.get("name") or not isinstance(each["name"], str):
            raise BadInput("a task definition must be a JSON object with a name")
        for key in NUMBERS:
            value = each.get(key)
            if value is not None and (not isinstance(value, int | float) or isinstance(value, bool) or value < 0):
                raise BadInput(f"task definition {each['name']!r}: {key} must be a number of 0 or more, not {value!r}")
        if each.get("retryLogic") not in (None, *RETRY_LOGICS):
            raise BadInput(f"task definition {each['name']!r}: retryLogic must be one of {', '.join(RETRY_LOGICS)}")
    return found


RETRY_LOGICS = ("FIXED", "LINEAR_BACKOFF", "EXPONENTIAL_BACKOFF")
NUMBERS = (
    "retryCount",
    "retryDelaySeconds",
    "backoffScaleFactor",
    "maxRetryDelaySeconds",
    "backoffJitterMs",
    "timeoutSeconds",
    "responseTimeoutSeconds",
    "pollTimeoutSeconds",
    "totalTimeoutSeconds",
    "concurrentExecLimit",
)

ROUTES = [
    Route("/api/metadata/taskdefs", TaskDefs),
    Route("/api/metadata/taskdefs/{name}", TaskDef),
    Route("/api/metadata/workflow", Definitions),
    Route("/api/metadata/workflow/names-and-versions", Versions),
    Route("/api/metadata/workflow/latest-versions", Latest),
    Route("/api/metadata/workflow/{name}", Definition),
    Route("/api/metadata/workflow/{name}/{version}", DefinitionVersion),
]
