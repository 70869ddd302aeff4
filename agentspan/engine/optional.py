"""Parts of the engine whose libraries need not be installed, and take long to load."""

import asyncio
from types import ModuleType

from agentspan.errors import NotImplementedHere


async def mcp() -> ModuleType:
    """`agentspan.engine.mcp`, loaded when it is first needed: it takes a second and 60 MB. NotImplementedHere."""

    def load() -> ModuleType:
        from agentspan.engine import mcp

        return mcp

    try:
        return await asyncio.to_thread(load)
    except ModuleNotFoundError as missing:
        raise NotImplementedHere(
            f"this server cannot speak to MCP servers, since it has no package {missing.name}: "
            'pip install "agentspan[server,mcp]"'
        ) from None
