"""Over PostgreSQL: any of several servers serves any run, and a server outlives its database's absence."""

import asyncio

from tests.server.running import ADD, agent, running


async def test_one_server_streams_and_serves_what_another_started(postgres_url, tmp_path):
    async with (
        running(tmp_path / "a", AGENTSPAN_DATABASE_URL=postgres_url) as one,
        running(tmp_path / "b", AGENTSPAN_DATABASE_URL=postgres_url) as two,
    ):
        execution_id = await one.start(agent("adder", ADD))
        streamed = asyncio.create_task(two.frames(execution_id))
        [task] = await two.poll()
        await one.complete(task)
        assert (await two.status(execution_id, 10_000))["status"] == "COMPLETED"
        seen = [frame for frame in await streamed if frame["event"] != "token"]
        assert seen == await one.frames(execution_id)


async def test_a_server_says_that_its_database_is_away_and_recovers(own_postgres, tmp_path):
    async with running(tmp_path, AGENTSPAN_DATABASE_URL=own_postgres.url) as server:
        execution_id = await server.run()
        await asyncio.to_thread(own_postgres.stop)
        for method, path in [
            ("GET", "/readyz"),
            ("GET", f"/api/agent/{execution_id}/status"),
            ("POST", "/api/agent/start"),
        ]:
            body = {"agentConfig": agent(), "prompt": "Hi"} if method == "POST" else None
            answer = await server.http.request(method, path, json=body)
            assert (answer.status_code, answer.json()["retryable"]) == (503, True), (path, answer.text)
        assert (await server.http.get("/health")).status_code == 200
        assert (await server.http.get("/livez")).status_code == 200
        await asyncio.to_thread(own_postgres.start)
        await server.ready()
        assert (await server.status(execution_id))["status"] == "COMPLETED"
        await server.run()
