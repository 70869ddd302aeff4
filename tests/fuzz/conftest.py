"""A server in this process for each test that asks for one."""

from tests.server.conftest import server as server
