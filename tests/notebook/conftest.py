"""What the tests of the notebook room share: a server, and a runtime for each test."""

from tests.agents.conftest import runtime, server

__all__ = ["runtime", "server"]
