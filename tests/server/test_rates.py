"""How often somebody may ask: by address, by key and by tenant, and never so that a health check fails."""

from tests.server.conftest import KEY
from tests.server.running import running
from tests.server.test_access import key, root


async def test_a_key_that_asks_too_often_is_told_when_to_come_back_and_others_are_not(tmp_path):
    async with running(tmp_path, **KEY, AGENTSPAN_RATE_LIMIT="10/min per key") as server:
        busy, calm = await key(server, role="viewer"), await key(server, role="viewer")
        found = [await busy.ask("GET", "/api/agent/list") for _ in range(11)]
        assert [each.status_code for each in found] == [200] * 10 + [429]
        assert 1 <= int(found[-1].headers["Retry-After"]) <= 60
        assert await calm.status("GET", "/api/agent/list") == 200
        assert await root(server).status("GET", "/api/agent/list") == 200


async def test_health_checks_are_answered_whatever_the_rate(tmp_path):
    async with running(tmp_path, AGENTSPAN_RATE_LIMIT="1/min per address") as server:
        assert [(await server.http.get("/api/version")).status_code for _ in range(2)] == [200, 429]
        assert (await server.http.get("/readyz")).status_code == 200
