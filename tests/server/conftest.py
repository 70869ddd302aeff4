"""A server in this process for each test that asks for one."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.server.running import Running, running

KEY = {"AGENTSPAN_AUTH_KEY": "kim", "AGENTSPAN_AUTH_SECRET": "s3cret"}


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    """An open server."""
    async with running(tmp_path) as found:
        yield found


@pytest_asyncio.fixture
async def locked(tmp_path: Path) -> AsyncIterator[Running]:
    """A server that asks for credentials; its client shows none."""
    async with running(tmp_path, **KEY) as found:
        yield found
