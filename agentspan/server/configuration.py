"""What this server runs with: its settings with their sources, its database, its libraries. Nothing secret."""

import asyncio
import os
import platform
from importlib import metadata
from typing import Any

import agentspan
from agentspan.config import HOME, SETTINGS, mask_url
from agentspan.server.executions import ReadHandler
from agentspan.server.handler import Route
from agentspan.server.maintenance import enabled_providers

Json = dict[str, Any]

PACKAGES = (
    "agentspan", "tornado", "msgspec", "SQLAlchemy", "alembic", "psycopg", "httpx", "litellm", "cryptography",
    "panel", "panel-material-ui", "bokeh", "mcp", "pydantic",
)  # fmt: skip
"""The libraries whose versions matter."""


class Configuration(ReadHandler):
    async def get(self) -> None:
        """The settings, each with its source, and the versions of everything; of another tenant's admin, only the
        latter."""
        settings, is_home = self.context.settings, self.principal.tenant == HOME
        accepts = {setting.field: setting.accepts for setting in SETTINGS}
        self.answer(
            {
                "version": agentspan.__version__,
                "python": platform.python_version(),
                "platform": platform.platform(),
                "database": mask_url(settings.database_url) if is_home else "",
                "schemaRevision": await self.reads.schema_revision(),
                "startedAt": self.engine.started_at,
                "providers": enabled_providers(os.environ),
                "settings": [
                    {"name": name, "value": value, "source": source, "description": accepts[name]}
                    for name, value, source in (settings.describe() if is_home else ())
                ],
                "packages": await asyncio.to_thread(versions),
            }
        )


def versions() -> dict[str, str]:
    """The versions of those libraries that are installed."""
    found: dict[str, str] = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


ROUTES = [Route("/api/config", Configuration)]
