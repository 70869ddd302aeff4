"""What reaches a model's provider, and what its refusals do, through a real server."""

import base64
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentspan.agents import Agent, AgentAPIError, AgentConfig, AgentRuntime, RunSettings, Status
from tests.acceptance.provider import Asked, Provider, Reply, providing
from tests.agents.serving import ServerProcess

KEYS = {"OPENAI_API_KEY": "a-key", "HOSTED_VLLM_API_KEY": "a-key"}


class House:
    """A server, a runtime and a provider that says what `reply` says."""

    def __init__(self, server: ServerProcess, runtime: AgentRuntime, provider: Provider) -> None:
        self.server, self.runtime, self.provider = server, runtime, provider

    def agent(self, model: str = "openai/gpt-4o", name: str = "writer", **more: Any) -> Agent:
        return Agent(name, model, base_url=self.provider.url, **more)

    def asked(self) -> list[dict[str, Any]]:
        """The bodies of all requests."""
        return [each.body for each in self.provider.asked]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    environ = {**KEYS, "AGENTSPAN_LIMITS": "hosted_vllm concurrency=2"}
    server = ServerProcess(tmp_path_factory.mktemp("server"), **environ)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def house(server: ServerProcess) -> Iterator[House]:
    with (
        providing(lambda asked: Reply("Hello.")) as provider,
        AgentRuntime(config=AgentConfig(server_url=server.url)) as runtime,
    ):
        yield House(server, runtime, provider)


def test_what_an_agent_says_of_its_model_reaches_the_provider(house: House) -> None:
    agent = house.agent(temperature=0.25, max_tokens=321)
    assert house.runtime.run(agent, "Hi").status is Status.COMPLETED
    assert house.runtime.run(house.agent("openai/gpt-5", reasoning_effort="low"), "Hi").status is Status.COMPLETED
    assert house.runtime.run(house.agent("vllm/some", thinking_budget_tokens=2048), "Hi").is_success
    first, second, third = house.asked()
    assert (first["model"], first["temperature"], first["max_tokens"]) == ("gpt-4o", 0.25, 321)
    assert (second["model"], second["reasoning_effort"]) == ("gpt-5", "low")
    # In this provider's words.
    assert third["reasoning_effort"] == "medium"


@pytest.mark.parametrize(
    ("settings", "sent"),
    [
        (RunSettings(model="openai/gpt-4o-mini"), {"model": "gpt-4o-mini", "temperature": 0.25}),
        (RunSettings(temperature=0.75), {"model": "gpt-4o", "temperature": 0.75}),
        (RunSettings(temperature=0), {"temperature": 0}),
        (RunSettings(max_tokens=55), {"max_tokens": 55, "temperature": 0.25}),
        (RunSettings(model="vllm/some", reasoning_effort="high"), {"model": "some", "reasoning_effort": "high"}),
        (RunSettings(model="vllm/some", thinking_budget_tokens=2048), {"reasoning_effort": "medium"}),
    ],
)
def test_the_settings_of_a_run_take_the_place_of_the_agents(
    house: House, settings: RunSettings, sent: dict[str, Any]
) -> None:
    agent = house.agent(temperature=0.25, max_tokens=321)
    result = house.runtime.run(agent, "Hi", run_settings=settings)
    assert result.status is Status.COMPLETED, result.error
    [body] = house.asked()
    assert {name: body[name] for name in sent} == sent
    assert (agent.model, agent.temperature, agent.max_tokens) == ("openai/gpt-4o", 0.25, 321)


def test_sub_agents_keep_their_own_settings(house: House) -> None:
    steps = [house.agent(name=name, temperature=0.25) for name in ("first", "second")]
    team = Agent("team", agents=steps, strategy="sequential")
    assert house.runtime.run(team, "Hi", run_settings=RunSettings(temperature=1.5)).status is Status.COMPLETED
    assert [each["temperature"] for each in house.asked()] == [0.25, 0.25]


def test_a_setting_that_the_model_does_not_take_ends_the_run_with_its_name(house: House) -> None:
    result = house.runtime.run(house.agent(), "Hi", run_settings=RunSettings(thinking_budget_tokens=1024))
    assert result.status is Status.FAILED
    assert "does not take a setting of this agent" in str(result.error)
    assert "thinking" in str(result.error)
    assert house.asked() == []


def test_media_reach_the_model_beside_the_prompt(house: House) -> None:
    address, image = "https://example.com/cat.png", base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(8)).decode()
    result = house.runtime.run(house.agent(instructions="Look."), "What is it?", media=[address, image])
    assert result.output["result"] == "Hello."
    [asked] = house.provider.asked
    assert asked.messages[-1]["content"] == [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": address}},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}},
    ]
    with pytest.raises(AgentAPIError, match="known are png, jpg") as caught:
        house.runtime.run(house.agent(), "What is it?", media=["photo.png"])
    assert caught.value.status_code == 400


def test_media_alone_are_enough_to_run_on(house: House) -> None:
    result = house.runtime.run(house.agent(), "", media=["https://example.com/cat.png"])
    assert result.output["result"] == "Hello."
    [asked] = house.provider.asked
    assert asked.messages[-1]["content"][1]["type"] == "image_url"


def test_a_refusal_for_the_rate_costs_no_attempt(house: House) -> None:
    house.provider.reply = lambda asked: Reply("Hello.", rest=0.02 if asked.number <= 4 else None)
    result = house.runtime.run(house.agent(), "Hi")
    assert result.output["result"] == "Hello."
    assert len(house.provider.asked) == 5
    events = house.runtime.attach(result.execution_id).events()
    assert not [each for each in events if "failed" in str(each.type).lower()]


def test_a_limit_of_calls_at_once_holds_over_all_runs(house: House) -> None:
    most, lock = 0, threading.Lock()

    def reply(asked: Asked) -> Reply:
        nonlocal most
        with lock:
            most = max(most, house.provider.open + 1)
        return Reply("Hello.", seconds=0.02)

    house.provider.reply = reply
    handles = [house.runtime.start(house.agent("vllm/some"), "Hi") for _ in range(8)]
    assert {handle.join(30).output["result"] for handle in handles} == {"Hello."}
    assert most == 2
    assert len(house.provider.asked) == 8


def test_calls_that_wait_for_a_quota_outlive_the_server(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, **KEYS)
    server.start()
    refused = threading.Event()

    def reply(asked: Asked) -> Reply:
        refused.set()
        return Reply("", rest=500)

    with providing(reply) as provider, AgentRuntime(config=AgentConfig(server_url=server.url)) as runtime:
        house = House(server, runtime, provider)
        first = runtime.start(house.agent(), "Hi")
        assert refused.wait(30)
        second = runtime.start(house.agent(), "Hi")
        server.kill()
        provider.reply = lambda asked: Reply("Hello.")
        server.start()
        assert first.join(60).output["result"] == second.join(60).output["result"] == "Hello."
        server.stop()
