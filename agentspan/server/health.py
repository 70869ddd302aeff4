"""Whether the server lives, is ready, and which version it is. Nobody needs credentials to ask."""

import asyncio
from typing import Any

import agentspan
from agentspan.errors import AgentspanError, Unavailable
from agentspan.server.handler import Handler, Route

Json = dict[str, Any]

PING_SECONDS = 2.0


class HealthHandler(Handler):
    without_credentials = True
    may_be_a_link = True

    async def check(self) -> None:
        """Raise Unavailable with the reason if work cannot be done here now."""
        if self.engine.draining:
            raise Unavailable("the server is draining: it finishes its work and takes no more")
        try:
            await asyncio.wait_for(self.engine.ping(), PING_SECONDS)
        except TimeoutError:
            raise Unavailable(f"the database has not answered within {PING_SECONDS:g} s") from None


class Health(HealthHandler):
    def get(self) -> None:
        """Whether the server is there; clients look for it by this."""
        self.answer({"healthy": True, "version": agentspan.__version__})


class Live(HealthHandler):
    def get(self) -> None:
        """Whether the event loop turns."""
        self.answer({"status": "UP"})


class Ready(HealthHandler):
    async def get(self) -> None:
        """Whether work can be done here: 503 with the reason if the database is away or the server is draining."""
        await self.check()
        self.answer({"status": "UP"})


class ActuatorHealth(HealthHandler):
    async def get(self) -> None:
        """The same in the form of Spring's actuator, with the parts."""
        try:
            await self.check()
        except AgentspanError as problem:
            down = {"status": "DOWN", "components": {"db": {"status": "DOWN", "details": {"error": problem.message}}}}
            self.answer(down, problem.status)
        else:
            self.answer({"status": "UP", "components": {"db": {"status": "UP"}, "ping": {"status": "UP"}}})


class ActuatorInfo(HealthHandler):
    def get(self) -> None:
        """Name and version."""
        self.answer({"app": {"name": "agentspan", "version": agentspan.__version__}})


class Version(Handler):
    may_be_a_link = True

    def get(self) -> None:
        """The version, as text."""
        self.answer_text(agentspan.__version__)


class Root(HealthHandler):
    def get(self) -> None:
        """What this server is, and where to read on."""
        self.answer(
            {
                "name": "agentspan",
                "version": agentspan.__version__,
                "api": "/openapi.json",
                "executions": "/api/agent/executions",
                "health": "/health",
                "metrics": "/metrics",
                **({"ui": "/ui/"} if self.context.settings.ui else {}),
            }
        )


ROUTES = [
    Route("/health", Health),
    Route("/livez", Live),
    Route("/readyz", Ready),
    Route("/actuator/health", ActuatorHealth),
    Route("/actuator/info", ActuatorInfo),
    Route("/api/version", Version),
    Route("/", Root),
]
