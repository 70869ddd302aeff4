"""Agents: compiled to a view, deployed under their name, started, listed."""

from typing import Annotated, Any

import msgspec

from agentspan.errors import BadInput, NotImplementedHere
from agentspan.server import plan
from agentspan.server.graph import graph
from agentspan.server.handler import Handler, Route
from agentspan.spec import check, wire
from agentspan.spec.agent import AgentSpec

Json = dict[str, Any]

MAX_KEYS = 1000


class StartRequest(msgspec.Struct, rename="camel"):
    """What starts, deploys or compiles an agent: a definition, or the name of a deployed one, and its input."""

    agent_config: Json | None = None
    agent_name: str | None = None
    version: int | None = None
    prompt: str | None = None
    session_id: str | None = None
    media: list[str] | None = None
    context: Json | None = None
    idempotency_key: str | None = None
    correlation_id: str | None = None
    priority: int | None = None
    credentials: list[str] | None = None
    framework: str | None = None
    raw_config: Json | None = None
    timeout_seconds: float | None = None
    run_id: str | None = None
    budget: Json | None = None
    plan: Json | None = None


class BegunRequest(msgspec.Struct):
    """Idempotency keys, at most 1,000."""

    keys: Annotated[list[str], msgspec.Meta(max_length=MAX_KEYS)]


class RollbackRequest(msgspec.Struct, rename="camel"):
    """Which version to go back to."""

    version: int


class Start(Handler):
    async def post(self) -> None:
        """Start a run of an agent; it is stored when this answers."""
        request = self.body(StartRequest)
        given = run_input(request)
        spec, version = await self._agent(request)
        started = await self.engine.start(
            spec,
            given,
            idempotency_key=request.idempotency_key or "",
            session_id=request.session_id or "",
            run_id=request.run_id or "",
            correlation_id=request.correlation_id or "",
            priority=request.priority or 0,
            version=version,
            by=self.person(),
            traceparent=self.request.headers.get("traceparent", ""),
        )
        self.answer(
            {
                "executionId": started.execution_id,
                "agentName": spec.name,
                "requiredWorkers": plan.required_workers(spec),
                "existing": started.existing,
            }
        )

    async def _agent(self, request: StartRequest) -> tuple[AgentSpec, int]:
        if request.agent_config is None and request.agent_name:
            spec, version, _ = await self.engine.definition(request.agent_name, request.version)
            return with_timeout(spec, request.timeout_seconds), version
        return definition(request), request.version or 1


class Deploy(Handler):
    async def post(self) -> None:
        """Store an agent under its name, as a new version if it differs from the last."""
        spec = definition(self.body(StartRequest))
        version = await self.engine.deploy(spec)
        self.answer({"agentName": spec.name, "requiredWorkers": plan.required_workers(spec), "version": version})


class Compile(Handler):
    async def post(self) -> None:
        """What a start would run, in Conductor's words and as a graph. Nothing is stored."""
        request = self.body(StartRequest)
        if request.agent_config is not None:
            request.agent_config.setdefault("name", "agent_plan")
        spec = definition(request)
        check.check(spec)
        workers = plan.required_workers(spec)
        self.answer({"workflowDef": plan.workflow_def(spec), "requiredWorkers": workers, "graph": graph(spec)})


class List(Handler):
    may_be_a_link = True

    async def get(self) -> None:
        """The deployed agents, each in its latest version."""
        found = await self.engine.definitions()
        first = {name: created for name, _, created, *_ in reversed(found)}
        latest = {each[0]: each for each in found}
        self.answer([{**listed(*each), "createTime": first[name]} for name, each in latest.items()])


class One(Handler):
    may_be_a_link = True

    async def get(self, name: str) -> None:
        """The agentConfig of a deployed agent."""
        spec, _, _ = await self.engine.definition(name, self.optional_number("version"))
        self.answer(wire.encode(spec))

    async def delete(self, name: str) -> None:
        """Remove a deployed agent; runs of it go on."""
        await self.engine.undeploy(name, self.optional_number("version"))
        self.answer_nothing()


class Versions(Handler):
    may_be_a_link = True

    async def get(self, name: str) -> None:
        """The versions of a deployed agent, the newest first."""
        found = await self.engine.life.versions(name)
        self.answer([listed(name, version, at, at, digest, spec) for version, at, digest, spec in found])


class Begun(Handler):
    async def post(self, name: str) -> None:
        """Which idempotency keys have begun a run of an agent, and how it stands. Nothing is started."""
        found = await self.reads.begun(name, self.body(BegunRequest).keys)
        self.answer({"runs": {key: {"executionId": tree, "status": status} for key, tree, status in found}})


class Rollback(Handler):
    async def post(self, name: str) -> None:
        """Make an old version's content the latest again, as a new version. Runs are not touched."""
        version = await self.engine.life.roll_back(name, self.body(RollbackRequest).version)
        self.answer({"agentName": name, "version": version})


class Diff(Handler):
    may_be_a_link = True

    async def get(self, name: str) -> None:
        """What differs between the versions `from` and `to` of a deployed agent, place by place."""
        before, after = self.optional_number("from"), self.optional_number("to")
        if before is None or after is None:
            raise BadInput("say which versions: ?from=1&to=2")
        self.answer(await self.engine.life.diff(name, before, after))


class Definition(Handler):
    may_be_a_link = True

    async def get(self, name: str) -> None:
        """A deployed agent in Conductor's words."""
        spec, version, created_at = await self.engine.definition(name, self.optional_number("version"))
        self.answer({**plan.workflow_def(spec, version), "createTime": created_at})


# Parts


def definition(request: StartRequest) -> AgentSpec:
    """The agent that a request describes."""
    if request.framework or request.raw_config:
        raise NotImplementedHere(
            f"agents of the framework {request.framework or 'of rawConfig'!r} are not run yet; send agentConfig"
        )
    if request.agent_config is None:
        raise BadInput("agentConfig is missing: send the agent's definition")
    return with_timeout(wire.decode(request.agent_config), request.timeout_seconds)


def with_timeout(spec: AgentSpec, timeout_seconds: float | None) -> AgentSpec:
    return msgspec.structs.replace(spec, timeout_seconds=timeout_seconds) if timeout_seconds is not None else spec


def run_input(request: StartRequest) -> Json:
    """The input of a run; BadInput if there is nothing to run on."""
    media = [each for each in request.media or () if each.strip()]
    if not (request.prompt or "").strip() and not media and not request.context:
        raise BadInput("there is nothing to run on: send a prompt, media or a context")
    given: Json = {"prompt": request.prompt or ""}
    if media:
        given["media"] = media
    if request.context:
        given["context"] = request.context
    if request.session_id:
        given["session_id"] = request.session_id
    if request.credentials:
        given["credentials"] = request.credentials
    if request.budget is not None:
        given["budget"] = request.budget
    if request.plan is not None:
        given["plan"] = request.plan
    return given


def listed(name: str, version: int, created_at: int, updated_at: int, digest: str, spec: AgentSpec) -> Json:
    return {
        "name": name,
        "version": version,
        "type": plan.SDK,
        "tags": plan.capabilities(spec),
        "createTime": created_at,
        "updateTime": updated_at,
        "description": spec.description,
        "checksum": digest,
        "model": spec.model,
        "strategy": spec.strategy if spec.agents else "",
        "tools": [each.name for each in spec.tools],
        "agents": [each.name for each in spec.agents],
    }


ROUTES = [
    Route("/api/agent/start", Start),
    Route("/api/agent/deploy", Deploy),
    Route("/api/agent/compile", Compile),
    Route("/api/agent/list", List),
    Route("/api/agent/definitions/{name}", Definition),
    Route("/api/agent/{name}", One),
    Route("/api/agent/{name}/begun", Begun),
    Route("/api/agent/{name}/versions", Versions),
    Route("/api/agent/{name}/rollback", Rollback),
    Route("/api/agent/{name}/diff", Diff),
]
