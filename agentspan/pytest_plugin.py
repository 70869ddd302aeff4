"""Fixtures and markers for tests of agents. Nothing of the SDK is imported until a fixture is used."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from agentspan.agents.testing import MockEvent


def pytest_configure(config: pytest.Config) -> None:
    """Make the markers known."""
    for line in MARKERS:
        config.addinivalue_line("markers", line)


@pytest.fixture
def mock_agent_run() -> Callable[..., Any]:
    """`mock_run`."""
    from agentspan.agents.testing import mock_run

    return mock_run


@pytest.fixture
def agentspan_event() -> "type[MockEvent]":
    """`MockEvent`."""
    from agentspan.agents.testing import MockEvent

    return MockEvent


@pytest.fixture
def event(agentspan_event: "type[MockEvent]") -> "type[MockEvent]":
    """`MockEvent`, under its short name; a fixture `event` of your own takes its place."""
    return agentspan_event


@pytest.fixture
def agentspan_cassette(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """A function that gives this test's cassette, `cassettes/<test>.json` beside the test's file."""
    from agentspan.agents.testing import cassette

    def tape(runtime: Any = None, *, name: str = "", **options: Any) -> Any:
        return cassette(request.path.parent / "cassettes" / f"{name or request.node.name}.json", runtime, **options)

    return tape


MARKERS = (
    "agent_correctness: a test of what an agent does",
    "semantic: a test that a model judges",
)
