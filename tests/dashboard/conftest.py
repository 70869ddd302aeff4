"""What the dashboard's tests share: one server with its dashboard, runs of every kind on it, and a browser."""

import asyncio
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest

from agentspan.client.client import Client
from tests.agents.serving import ServerProcess
from tests.browser import browser, context, page, seen
from tests.dashboard.house import House, answers, until

T = TypeVar("T")

__all__ = ["browser", "context", "page", "seen"]


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A server with runs of every kind, that a test may look at and add to, but not change."""
    server = ServerProcess(tmp_path_factory.mktemp("house"))
    server.start()
    house = House(server)
    house.furnish()
    house.open()
    yield house
    house.close()
    server.stop()


@pytest.fixture
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server on which nothing has ever run."""
    server = ServerProcess(tmp_path_factory.mktemp("empty"))
    server.start()
    until(lambda: answers(f"{server.url}/ui/runs"), 60)
    yield server
    server.stop()


@pytest.fixture
def ask(house: House) -> Any:
    """Ask the server of the house: `ask(lambda client: client.status(name))`."""

    def asked(question: Any) -> Any:
        return run(_asked(house.server.url, question))

    return asked


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, in a thread: the browser has a loop in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


async def _asked(url: str, question: Any) -> Any:
    async with Client(url) as client:
        return await question(client)
