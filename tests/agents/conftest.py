"""What the SDK's tests share: one server for all, one runtime for each."""

from collections.abc import Iterator

import pytest

from agentspan.agents import AgentConfig, AgentRuntime
from tests.agents.serving import ServerProcess


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    server = ServerProcess(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def runtime(server: ServerProcess) -> Iterator[AgentRuntime]:
    config = AgentConfig(server_url=server.url, missing_worker_grace_seconds=2)
    with AgentRuntime(config=config) as runtime:
        yield runtime
