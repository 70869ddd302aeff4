"""An open engine on each database, and a clock that stands still."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from agentspan.engine.engine import Engine
from tests.engine import house


@pytest.fixture
async def engine(database_url: str, tmp_path: Path) -> AsyncIterator[Engine]:
    async with house.opened(database_url, tmp_path, master_key=b"k" * 32) as engine:
        yield engine


@pytest.fixture
def hands() -> Iterator[house.Hands]:
    with house.stopped_clock() as hands:
        yield hands
