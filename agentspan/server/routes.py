"""Every route of the API in the order in which Tornado tries them: hot ones first, then words before parameters."""

import re

from agentspan.server import (
    agents,
    audit,
    bundles,
    changes,
    configuration,
    control,
    credentials,
    embeddings,
    executions,
    health,
    hooks,
    households,
    inbox,
    keys,
    messages,
    metadata,
    metrics,
    removal,
    schedules,
    shares,
    statistics,
    stream,
    tasks,
    templates,
    timeline,
    tokens,
    users,
    workers,
    workflow,
)
from agentspan.server.handler import Planned, Route
from agentspan.server.unbuilt import unbuilt

HOT = (
    "/api/tasks/report",
    "/api/tasks/poll",
    "/api/tasks/poll/batch/{name}",
    "/api/tasks/update-v2",
    "/api/tasks/extend",
    "/api/tasks",
    "/api/agent/start",
    "/api/agent/{execution_id}/status",
    "/api/agent/{execution_id}/result",
    "/health",
)


def collect(*tables: list[Route]) -> list[Route]:
    """The routes of all tables, and one for each path of which nothing is built yet."""
    routes = [route for table in tables for route in table]
    known = {route.path for route in routes}
    planned = dict.fromkeys(path for _, path, _ in unbuilt() if path not in known)
    return sorted([*routes, *(Route(path, Planned) for path in planned)], key=_place)


def pattern(path: str) -> str:
    """The path as a regular expression; a slash at its end makes no difference."""
    return re.sub(r"{\w+}", "([^/]+)", path.rstrip("/")) + "/?"


def _place(route: Route) -> tuple[int, list[bool]]:
    rank = HOT.index(route.path) if route.path in HOT else len(HOT)
    return rank, [part.startswith("{") for part in route.path.split("/")]


ROUTES = collect(
    tasks.ROUTES,
    agents.ROUTES,
    executions.ROUTES,
    statistics.ROUTES,
    bundles.ROUTES,
    timeline.ROUTES,
    control.ROUTES,
    stream.ROUTES,
    changes.ROUTES,
    inbox.ROUTES,
    messages.ROUTES,
    embeddings.ROUTES,
    workflow.ROUTES,
    removal.ROUTES,
    metadata.ROUTES,
    credentials.ROUTES,
    templates.ROUTES,
    schedules.ROUTES,
    hooks.ROUTES,
    tokens.ROUTES,
    users.ROUTES,
    keys.ROUTES,
    households.ROUTES,
    audit.ROUTES,
    shares.ROUTES,
    health.ROUTES,
    metrics.ROUTES,
    workers.ROUTES,
    configuration.ROUTES,
)
