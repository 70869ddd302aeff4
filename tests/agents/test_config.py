"""Settings of the runtime: given, or of the environment."""

import sys
from types import SimpleNamespace

import pytest

import agentspan.agents as agents
from agentspan.agents import Agent, AgentConfig, AgentRuntime, ConfigurationError, configure
from agentspan.agents import default as default_module
from agentspan.agents.runtime import config as config_module
from agentspan.agents.runtime import runtime as runtime_module
from tests.agents.serving import ServerProcess


def test_the_defaults_are_the_contract_s() -> None:
    config = AgentConfig.from_env({})
    assert config == AgentConfig()
    assert config.server_url == "http://localhost:6767/api"
    assert (config.api_key, config.auto_start_server, config.auto_start_workers) == (None, True, True)
    assert (config.worker_poll_interval_ms, config.log_level, config.llm_retry_count) == (100, "INFO", 3)


def test_the_environment_sets_what_it_names() -> None:
    config = AgentConfig.from_env(
        {
            "AGENTSPAN_SERVER_URL": "http://far:1",
            "AGENTSPAN_API_KEY": "k",
            "AGENTSPAN_WORKER_THREADS": "4",
            "AGENTSPAN_AUTO_START_SERVER": "false",
            "AGENTSPAN_MISSING_WORKER_GRACE": "2.5",
            "AGENTSPAN_LOG_LEVEL": "",
        }
    )
    assert config.server_url == "http://far:1/api"
    assert (config.api_key, config.worker_thread_count, config.auto_start_server) == ("k", 4, False)
    assert (config.missing_worker_grace_seconds, config.log_level) == (2.5, "INFO")


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("AGENTSPAN_WORKER_THREADS", "many", "AGENTSPAN_WORKER_THREADS='many' must be a whole number"),
        ("AGENTSPAN_AUTO_START_SERVER", "perhaps", "must be true or false"),
        ("AGENTSPAN_MISSING_WORKER_GRACE", "soon", "must be a number"),
        ("AGENTSPAN_WORKER_THREADS", "0", "must be 1 or more"),
    ],
)
def test_a_wrong_value_is_named(name: str, text: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        AgentConfig.from_env({name: text})


def test_integrations_are_a_matter_of_the_server_s_keys_which_is_said_once() -> None:
    config_module._say_where_keys_belong.cache_clear()
    with pytest.warns(UserWarning, match="models are enabled by their keys on the server") as said:
        config = AgentConfig(auto_register_integrations=True)
    assert len(said) == 1
    assert AgentRuntime(server_url="http://b", config=config).config.auto_register_integrations


def test_without_conductor_python_its_configuration_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "conductor", None)
    with pytest.raises(ImportError, match=r"needs conductor-python: pip install conductor-python$"):
        AgentConfig().to_conductor_configuration()


def test_a_key_that_conductor_python_cannot_send_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="needs auth_key and auth_secret"):
        AgentConfig(api_key="k").to_conductor_configuration()


def test_parameters_come_before_the_config() -> None:
    config = AgentConfig(server_url="http://a", api_key="x")
    runtime = AgentRuntime(server_url="http://b/api/", api_key="k", api_secret="s", config=config)
    assert runtime.config.server_url == "http://b/api"
    assert (runtime.config.api_key, runtime.config.auth_key, runtime.config.auth_secret) == (None, "k", "s")
    assert AgentRuntime(api_key="k", config=config).config.api_key == "k"
    assert config.api_key == "x"


@pytest.fixture
def no_default() -> object:
    agents.shutdown()
    default_module._config = None
    yield
    agents.shutdown()
    default_module._config = None


@pytest.mark.usefixtures("no_default")
def test_the_process_s_runtime_is_configured_before_it_is_used(server: ServerProcess) -> None:
    configure(server_url=server.url)
    assert agents.run(Agent("a", server.script("plain", "You said {prompt}.")), "hi").is_success
    with pytest.raises(RuntimeError, match="exists already"):
        configure(server_url="http://other")
    with pytest.raises(TypeError, match="server_urll"):
        configure(server_urll="http://other")
    handle = agents.AgentHandle(agents.start(Agent("a", "scripted/plain"), "hi").execution_id)
    assert handle.join(10).is_success
    assert agents.attach(handle.execution_id).get_status().is_complete


@pytest.mark.usefixtures("no_default")
async def test_the_module_s_async_functions_use_the_same_runtime(server: ServerProcess) -> None:
    configure(AgentConfig(server_url=server.url))
    agent = Agent("a", server.script("plain", "You said {prompt}."))
    assert (await agents.run_async(agent, "hi")).is_success
    stream = await agents.stream_async(agent, "hi")
    assert [event.type async for event in stream][-1] == "done"
    assert (await (await agents.start_async(agent, "hi")).join_async()).is_success
    assert (await agents.plan_async(agent))["requiredWorkers"] == []
    await agents.shutdown_async()


def test_without_an_address_a_local_server_is_found_or_started_when_needed(
    server: ServerProcess, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from agentspan.client import launch

    asked = []

    def find_or_start() -> SimpleNamespace:
        asked.append(1)
        return SimpleNamespace(url=server.url, started=True)

    monkeypatch.setattr(launch, "find_or_start", find_or_start)
    agent = Agent("a", server.script("plain", "You said {prompt}."))
    with AgentRuntime(config=AgentConfig()) as runtime:
        assert asked == []
        assert runtime.run(agent, "hi").is_success
        assert runtime.run(agent, "hi").is_success
    assert asked == [1]
    assert capsys.readouterr().err == f"agentspan: started a local server at {server.url}\n"


@pytest.mark.parametrize(
    "runtime",
    [
        AgentRuntime(server_url="http://localhost:6767"),
        AgentRuntime(config=AgentConfig(server_url="http://elsewhere:1")),
        AgentRuntime(config=AgentConfig(auto_start_server=False)),
    ],
    ids=["parameter", "config", "not allowed"],
)
def test_a_configured_address_starts_nothing(runtime: AgentRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    def launched() -> str:
        raise AssertionError("a server was started")

    monkeypatch.setattr(runtime_module, "_launched", launched)
    runtime.portal.call(runtime.client())
    runtime.shutdown()
