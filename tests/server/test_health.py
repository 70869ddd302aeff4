"""Health for probes, numbers for Prometheus."""

from prometheus_client.parser import text_string_to_metric_families

import agentspan
from tests.server.running import ADD, agent


async def test_a_server_is_healthy(server):
    assert (await server.get("/health"))["healthy"] is True
    assert (await server.get("/livez")) == {"status": "UP"}
    assert (await server.get("/readyz")) == {"status": "UP"}
    assert (await server.get("/actuator/health"))["status"] == "UP"
    assert (await server.get("/actuator/info"))["app"]["version"] == agentspan.__version__
    assert (await server.http.get("/api/version")).text == agentspan.__version__
    assert (await server.get("/"))["name"] == "agentspan"


async def test_a_draining_server_lives_but_is_not_ready(server):
    await server.engine.drain(0.1)
    assert (await server.http.get("/livez")).status_code == 200
    assert (await server.http.get("/health")).status_code == 200
    answer = await server.http.get("/readyz")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.json()["retryable"] is True
    assert "draining" in answer.json()["message"]
    actuator = await server.http.get("/actuator/health")
    assert (actuator.status_code, actuator.json()["status"]) == (503, "DOWN")


async def test_a_poll_during_the_drain_is_empty_at_once(server):
    await server.start(agent("adder", ADD))
    await server.engine.drain(0.1)
    assert await server.poll() == []


async def test_the_numbers_are_for_prometheus(server):
    await server.run()
    await server.start(agent("slow"))
    await server.start(agent("adder", ADD))
    [_] = await server.poll()
    await server.start(agent("adder", ADD))
    while not (await server.get("/api/tasks/queue/all")).get("add"):
        pass
    for path in ("/metrics", "/actuator/prometheus"):
        answer = await server.http.get(path)
        assert answer.headers["Content-Type"].startswith("text/plain")
        samples = {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
        }
        assert samples["agentspan_executions_ended_total", "COMPLETED"] == 1
        assert samples["agentspan_executions", "RUNNING"] == 3
        model = next(key[1] for key in samples if key[0] == "agentspan_model_calls_total")
        assert samples["agentspan_model_calls_total", model] >= 1
        assert samples["agentspan_model_tokens_total", "completion", model] > 0
        assert samples["agentspan_model_cost_dollars_total", model] == 0
        assert samples["agentspan_queue_ready", "", "add"] == 1
        assert samples["agentspan_queue_in_flight", "", "add"] == 1
        assert ("agentspan_queue_oldest_seconds", "", "add") in samples
        assert samples["agentspan_http_request_seconds_count", "POST", "/api/agent/start", "200"] == 4
        assert ("agentspan_loop_lag_seconds",) in samples
