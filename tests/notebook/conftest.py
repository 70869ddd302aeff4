"""What the tests in real kernels share: one server, and a kernel of each kind for all cells that do not hurt it."""

from collections.abc import Iterator

import pytest

from tests.agents.conftest import runtime
from tests.agents.serving import ServerProcess
from tests.browser import browser, context, page, seen
from tests.notebook.kernel import Kernel, kernel

KEY = "a-key-that-nobody-is-to-see"

__all__ = ["browser", "context", "page", "runtime", "seen"]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    server = ServerProcess(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session", params=["ipykernel 7", "ipykernel 6"])
def either(
    request: pytest.FixtureRequest, server: ServerProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Kernel]:
    """A kernel that knows the server, of each kind."""
    with kernel_of(server, tmp_path_factory, old=request.param == "ipykernel 6") as started:
        yield started


def kernel_of(server: ServerProcess, folders: pytest.TempPathFactory, *, old: bool = False, **environ: str):  # type: ignore[no-untyped-def]
    """A kernel that knows the server and has a data folder of its own."""
    data = str(folders.mktemp("kernel"))
    known = {"AGENTSPAN_SERVER_URL": server.url, "AGENTSPAN_DATA_DIR": data, "AGENTSPAN_USER": "Ada"}
    return kernel(old=old, **{**known, "AGENTSPAN_API_KEY": KEY, **environ})
