"""What every test may ask for: an empty database on SQLite and on PostgreSQL, and a clean environment."""

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests import postgres

hypothesis.settings.register_profile("agentspan", deadline=None)
hypothesis.settings.load_profile("agentspan")


@pytest.fixture(autouse=True, scope="session")
def clean_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test sees the settings, the data or the provider keys of the person who runs it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("AGENTSPAN_", "SPRING_")) or name.endswith("_API_KEY") or name == "SERVER_PORT":
                patch.delenv(name)
        patch.setenv("AGENTSPAN_DATA_DIR", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of an SQLite file that does not exist yet."""
    return f"sqlite:///{(tmp_path / 'agentspan.db').as_posix()}"


@pytest.fixture(scope="session")
def postgres_server_url() -> Iterator[str]:
    """The URL of the PostgreSQL server that the tests of one process share."""
    yield from postgres.shared_url()


@pytest.fixture
def postgres_url(postgres_server_url: str) -> Iterator[str]:
    """The URL of an empty PostgreSQL database."""
    with postgres.fresh_database(postgres_server_url) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database: the test runs once on SQLite and once on PostgreSQL."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def own_postgres() -> Iterator[postgres.Postgres]:
    """A durable PostgreSQL server that the test may stop, crash and start: `.url`, `.stop()`, `.start()`."""
    yield from postgres.server()
