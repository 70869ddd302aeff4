"""An open engine on each database, and a clock that stands still."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from agentspan.engine.engine import Engine
from agentspan.store.database import Database
from tests import postgres
from tests.engine import house


@pytest.fixture(scope="session")
def postgres_template(postgres_server_url: str) -> Iterator[str]:
    """The name of a database with the schema and nothing else: to copy it is quicker than to make it."""
    with postgres.fresh_database(postgres_server_url) as url:
        database = Database(url)
        database.open()
        database.close()
        yield urlsplit(url).path.strip("/")


@pytest.fixture
def postgres_url(postgres_server_url: str, postgres_template: str) -> Iterator[str]:
    """The URL of a PostgreSQL database that holds nothing yet."""
    with postgres.fresh_database(postgres_server_url, postgres_template) as url:
        yield url


@pytest.fixture
async def engine(database_url: str, tmp_path: Path) -> AsyncIterator[Engine]:
    async with house.opened(database_url, tmp_path, master_key=b"k" * 32) as engine:
        yield engine


@pytest.fixture
def hands() -> Iterator[house.Hands]:
    with house.stopped_clock() as hands:
        yield hands
