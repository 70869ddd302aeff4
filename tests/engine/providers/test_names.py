"""The names of models: whose each is, under the names of both worlds, and which key it needs."""

import pytest

from agentspan.engine.providers.names import BY_NAME, PROVIDERS, check_model, route
from agentspan.errors import InvalidSpec

KEYS = {
    variable: f"value of {variable}" for each in PROVIDERS for names in each.variables.values() for variable in names
}


@pytest.mark.parametrize(
    ("model", "there"),
    [
        ("openai/gpt-4o", "openai/gpt-4o"),
        ("google_gemini/gemini-2.5-pro", "gemini/gemini-2.5-pro"),
        ("gemini/gemini-2.5-pro", "gemini/gemini-2.5-pro"),
        ("google_vertex_ai/gemini-2.5-pro", "vertex_ai/gemini-2.5-pro"),
        ("vertex_ai/gemini-2.5-pro", "vertex_ai/gemini-2.5-pro"),
        ("azure_openai/gpt-4o", "azure/gpt-4o"),
        ("aws_bedrock/amazon.nova-pro-v1:0", "bedrock/amazon.nova-pro-v1:0"),
        ("bedrock/amazon.nova-pro-v1:0", "bedrock/amazon.nova-pro-v1:0"),
        ("hugging_face/org/model", "huggingface/org/model"),
        ("huggingface/org/model", "huggingface/org/model"),
        ("Grok/grok-4", "xai/grok-4"),
        ("grok/grok-4", "xai/grok-4"),
        ("xai/grok-4", "xai/grok-4"),
        ("perplexity/sonar", "perplexity/sonar"),
        ("ollama/llama3", "ollama_chat/llama3"),
        ("together/meta/llama", "together_ai/meta/llama"),
        ("openrouter/openai/gpt-4o", "openrouter/openai/gpt-4o"),
        ("groq/llama", "groq/llama"),
        ("deepseek/deepseek-chat", "deepseek/deepseek-chat"),
        ("cohere/command-r", "cohere_chat/command-r"),
    ],
)
def test_a_model_is_known_by_the_names_of_both_worlds(model: str, there: str) -> None:
    assert route(model, {}).model == there


@pytest.mark.parametrize(
    ("model", "environ", "arguments"),
    [
        (
            "openai/m",
            {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://x/v1"},
            {"api_key": "k", "api_base": "http://x/v1"},
        ),
        ("anthropic/m", {"ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": "http://x"}, {"api_base": "http://x"}),
        ("google_gemini/m", {"GOOGLE_GEMINI_API_KEY": "k"}, {"api_key": "k"}),
        ("perplexity/m", {"PERPLEXITY_API_KEY": "k"}, {"api_key": "k"}),
        ("perplexity/m", {"PERPLEXITYAI_API_KEY": "k"}, {"api_key": "k"}),
        ("grok/m", {"XAI_API_KEY": "k", "GROK_BASE_URL": "http://x"}, {"api_key": "k", "api_base": "http://x"}),
        ("together/m", {"TOGETHER_API_KEY": "k"}, {"api_key": "k"}),
        ("aws_bedrock/m", {"AWS_REGION": "eu-west-1"}, {"aws_region_name": "eu-west-1"}),
        ("bedrock/m", {}, {"aws_region_name": "us-east-1"}),
        ("vertex_ai/m", {"GOOGLE_CLOUD_PROJECT": "p"}, {"vertex_project": "p", "vertex_location": "us-central1"}),
        ("ollama/m", {}, {"api_base": "http://localhost:11434"}),
        ("ollama/m", {"OLLAMA_HOST": "10.0.0.1:11434"}, {"api_base": "http://10.0.0.1:11434"}),
        ("azure_openai/m", {"AZURE_OPENAI_ENDPOINT": "https://x"}, {"api_base": "https://x"}),
    ],
)
def test_keys_and_addresses_are_found_under_either_name(
    model: str, environ: dict[str, str], arguments: dict[str, str]
) -> None:
    assert arguments.items() <= route(model, environ).arguments.items()


def test_a_deployment_of_azure_takes_the_place_of_the_model() -> None:
    way = route("azure_openai/gpt-4o", {"AZURE_OPENAI_DEPLOYMENT": "ours"})
    assert way.model == "azure/ours"
    assert "deployment" not in way.arguments


def test_the_address_of_the_agent_wins() -> None:
    way = route("openai/m", {"OPENAI_BASE_URL": "http://server/v1"}, "http://agent/v1")
    assert way.arguments["api_base"] == "http://agent/v1"


@pytest.mark.parametrize("model", ["scripted/anything", "local/smollm2", "ollama/llama3", "LOCAL/smollm2"])
def test_some_models_need_no_key(model: str) -> None:
    check_model(model, {})


@pytest.mark.parametrize("prefix", BY_NAME)
def test_with_its_variables_every_provider_passes_and_without_them_it_names_one(prefix: str) -> None:
    check_model(f"{prefix}/m", KEYS)
    provider = BY_NAME[prefix]
    if "api_base" in dict(provider.defaults):
        return
    with pytest.raises(InvalidSpec, match=rf"needs {provider.variables[provider.needed[0]][0]}: set it"):
        check_model(f"{prefix}/m", {})


def test_an_address_of_ones_own_needs_no_key() -> None:
    check_model("openai/m", {}, "http://127.0.0.1:8000/v1")
    check_model("openai/m", {"OPENAI_BASE_URL": "http://127.0.0.1:8000/v1"})
    assert route("openai/m", {}, "http://127.0.0.1:8000/v1").arguments["api_key"] == "not-needed"


def test_credentials_that_the_cloud_gives_are_enough() -> None:
    check_model("bedrock/m", {"AWS_PROFILE": "work"})


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("gpt-4o", 'write "openai/gpt-4o"'),
        ("claude-sonnet-4-5", 'write "anthropic/claude-sonnet-4-5"'),
        ("smollm2", 'write "local/smollm2"'),
        ("homemade", 'write "PROVIDER/homemade"'),
        ("", 'write one as "openai/gpt-4o"'),
        ("openai/", 'write "openai/MODEL"'),
        ("opnai/gpt-4o", 'no model provider "opnai"; did you mean "openai"'),
        ("qqq/gpt-4o", "known are ai21, anthropic"),
        ("local/llama", 'write "local/smollm2"'),
        ("openai/gpt-4o", "openai/gpt-4o needs OPENAI_API_KEY: set it in the environment of the server"),
        ("azure_openai/gpt-4o", "AZURE_OPENAI_API_KEY"),
        ("aws_bedrock/m", "AWS_ACCESS_KEY_ID"),
        ("vertex_ai/m", "GOOGLE_CLOUD_PROJECT"),
        ("grok/grok-4", "XAI_API_KEY"),
    ],
)
def test_a_model_that_cannot_be_called_says_what_to_write_or_to_set(model: str, sentence: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        check_model(model, {})
    assert sentence in str(caught.value)
