"""Vectors of texts over HTTP."""

import pytest

from agentspan.client.client import Client
from agentspan.client.errors import AgentAPIError
from agentspan.config import Settings
from agentspan.engine.engine import Engine
from agentspan.errors import ConfigurationProblem
from tests.server.running import agent


async def test_texts_are_embedded_in_their_order(server):
    async with Client(server.url) as client:
        one, two = await client.embed("scripted/words", ["the cat", "the dog"])
        assert (await client.embed("scripted/words", ["the dog"])) == [two]
    assert one != two
    answer = await server.post("/api/embeddings", {"model": "scripted/words", "input": ["the cat"]})
    assert answer == {"model": "scripted/words", "embeddings": [one]}


async def test_what_cannot_be_embedded_is_a_bad_request(server):
    async with Client(server.url) as client:
        with pytest.raises(AgentAPIError, match="needs OPENAI_API_KEY") as caught:
            await client.embed("openai/text-embedding-3-small", ["the cat"])
        assert caught.value.status_code == 400
    for body in ({"model": "scripted/words"}, {"model": "scripted/words", "input": "the cat"}, {"input": []}):
        assert (await server.http.post("/api/embeddings", json=body)).status_code == 400


async def test_texts_are_not_sent_where_the_server_may_not_go(server):
    body = {"model": "openai/text-embedding-3-small", "input": ["the cat"], "baseUrl": "http://169.254.169.254/v1"}
    answer = await server.http.post("/api/embeddings", json=body)
    assert answer.status_code == 400
    assert "gives out credentials" in answer.text


async def test_embeddings_need_credentials(locked):
    answer = await locked.http.post("/api/embeddings", json={"model": "scripted/words", "input": []})
    assert answer.status_code == 401


async def test_the_quotas_of_providers_are_in_the_metrics(server):
    await server.run(agent())
    text = (await server.http.get("/metrics")).text
    assert 'agentspan_provider_waiting_calls{provider="scripted"} 0.0' in text
    assert 'agentspan_provider_open_calls{provider="scripted"} 0.0' in text
    assert 'agentspan_provider_rest_seconds_total{provider="scripted"} 0.0' in text


async def test_a_limit_of_an_unknown_provider_stops_the_start(tmp_path):
    settings = Settings.load({"AGENTSPAN_DATA_DIR": str(tmp_path), "AGENTSPAN_LIMITS": "opanai rpm=5"})
    with pytest.raises(ConfigurationProblem, match="no model provider"):
        await Engine.open(settings)
