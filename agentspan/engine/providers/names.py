"""Which provider a model's prefix means, under the names of both litellm and other servers, and where its key is."""

import difflib
from collections.abc import Mapping
from typing import NamedTuple

from agentspan.errors import InvalidSpec

Environ = Mapping[str, str]

EMBEDDED = {"scripted", "local"}
LOCAL_MODELS = ("smollm2",)
NO_KEY = "not-needed"


class Provider(NamedTuple):
    """A provider under litellm's prefix. `variables` says, for each argument of a call, where its value may stand.

    `needed` are the arguments without which it cannot work; `ambient` are variables which mean that the provider's own
    library finds its credentials by itself.
    """

    prefix: str
    variables: dict[str, tuple[str, ...]]
    needed: tuple[str, ...] = ("api_key",)
    aliases: tuple[str, ...] = ()
    defaults: tuple[tuple[str, str], ...] = ()
    ambient: tuple[str, ...] = ()


class Route(NamedTuple):
    """How litellm is called for a model: its name there, arguments from the environment, what must stay secret."""

    provider: Provider
    model: str
    arguments: dict[str, str]
    secrets: tuple[str, ...]


def check_model(model: str, environ: Environ, base_url: str | None = None, *, here: bool = True) -> None:
    """Raise InvalidSpec if this model cannot be called: no such provider, or, where the calls are made `here`, its key
    is not in the environment."""
    prefix, name = _split(model)
    if prefix == "local" and name not in LOCAL_MODELS:
        raise InvalidSpec(f'There is no local model "{name}"; write "local/{LOCAL_MODELS[0]}".')
    if prefix in EMBEDDED:
        return
    provider = _provider(prefix)
    if not here or any(environ.get(variable) for variable in provider.ambient):
        return
    found = _arguments(provider, environ, base_url)
    for argument in provider.needed:
        if argument not in found and not (argument == "api_key" and _is_elsewhere(provider, found)):
            variable = provider.variables[argument][0]
            raise InvalidSpec(f"The model {model} needs {variable}: set it in the environment of the server.")


def route(model: str, environ: Environ, base_url: str | None = None) -> Route:
    """Where and how to call the model. Raises InvalidSpec for a prefix that nobody has."""
    prefix, name = _split(model)
    provider = _provider(prefix)
    arguments = _arguments(provider, environ, base_url)
    if "api_key" not in arguments and _is_elsewhere(provider, arguments):
        arguments["api_key"] = NO_KEY
    name = arguments.pop("deployment", name)
    secrets = tuple(value for key, value in arguments.items() if key in SECRET and value != NO_KEY)
    return Route(provider, f"{provider.prefix}/{name}", arguments, secrets)


def _split(model: str) -> tuple[str, str]:
    prefix, slash, name = model.strip().partition("/")
    if not model.strip():
        raise InvalidSpec('The agent has no model; write one as "openai/gpt-4o".')
    if not slash:
        raise InvalidSpec(f'The model "{model}" does not say whose it is; write "{_guess(prefix)}/{prefix}".')
    if not name:
        raise InvalidSpec(f'"{model}" names a provider but no model; write "{prefix}/MODEL".')
    return prefix.lower(), name


def _guess(name: str) -> str:
    return next((provider for start, provider in FAMILIES.items() if name.lower().startswith(start)), "PROVIDER")


def _provider(prefix: str) -> Provider:
    if provider := BY_NAME.get(prefix):
        return provider
    near = difflib.get_close_matches(prefix, [*BY_NAME, *EMBEDDED], n=1)
    hint = f'did you mean "{near[0]}"?' if near else f"known are {', '.join(sorted(EMBEDDED | BY_NAME.keys()))}."
    raise InvalidSpec(f'There is no model provider "{prefix}"; {hint}')


def _arguments(provider: Provider, environ: Environ, base_url: str | None) -> dict[str, str]:
    found = dict(provider.defaults)
    for argument, variables in provider.variables.items():
        if value := next((environ[each] for each in variables if environ.get(each)), None):
            found[argument] = value
    if base_url:
        found["api_base"] = base_url
    if "api_base" in found and "://" not in found["api_base"]:
        found["api_base"] = f"http://{found['api_base']}"
    return found


def _is_elsewhere(provider: Provider, arguments: dict[str, str]) -> bool:
    """True if the call goes to an address of the user's own, which may need no key."""
    return "api_base" in arguments and "api_base" not in provider.needed


def _simple(prefix: str, *keys: str, base: tuple[str, ...] = (), aliases: tuple[str, ...] = ()) -> Provider:
    stem = prefix.upper()
    return Provider(
        prefix,
        {"api_key": keys or (f"{stem}_API_KEY",), "api_base": (*base, f"{stem}_BASE_URL", f"{stem}_API_BASE")},
        aliases=aliases,
    )


def _keyless(prefix: str, *bases: str, aliases: tuple[str, ...] = (), default: str | None = None) -> Provider:
    return Provider(
        prefix,
        {"api_base": bases, "api_key": (f"{prefix.upper()}_API_KEY",)},
        needed=() if default else ("api_base",),
        aliases=aliases,
        defaults=(("api_base", default),) if default else (),
    )


SECRET = {"api_key", "aws_access_key_id", "aws_secret_access_key", "aws_session_token", "vertex_credentials"}

# How the names of well-known models begin, to correct a model without its provider.
FAMILIES = {
    "gpt": "openai",
    "chatgpt": "openai",
    "o1": "openai",
    "o3": "openai",
    "o4": "openai",
    "claude": "anthropic",
    "gemini": "gemini",
    "mistral": "mistral",
    "command": "cohere",
    "grok": "xai",
    "deepseek": "deepseek",
    "sonar": "perplexity",
    "llama": "ollama",
    "qwen": "ollama",
    "smollm2": "local",
}

OLLAMA = ("OLLAMA_HOST", "OLLAMA_API_BASE", "OLLAMA_BASE_URL")

PROVIDERS: tuple[Provider, ...] = (
    Provider(
        "openai",
        {
            "api_key": ("OPENAI_API_KEY",),
            "api_base": ("OPENAI_BASE_URL", "OPENAI_API_BASE"),
            "organization": ("OPENAI_ORG_ID", "OPENAI_ORGANIZATION"),
        },
    ),
    _simple("anthropic"),
    _simple("gemini", "GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GEMINI_API_KEY", aliases=("google_gemini",)),
    Provider(
        "vertex_ai",
        {
            "vertex_project": ("GOOGLE_CLOUD_PROJECT", "VERTEXAI_PROJECT"),
            "vertex_location": ("GOOGLE_CLOUD_LOCATION", "VERTEXAI_LOCATION"),
            "vertex_credentials": ("GOOGLE_APPLICATION_CREDENTIALS", "VERTEXAI_CREDENTIALS"),
        },
        needed=("vertex_project",),
        aliases=("google_vertex_ai",),
        defaults=(("vertex_location", "us-central1"),),
    ),
    Provider(
        "azure",
        {
            "api_key": ("AZURE_OPENAI_API_KEY", "AZURE_API_KEY"),
            "api_base": ("AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_BASE_URL", "AZURE_API_BASE"),
            "api_version": ("AZURE_API_VERSION", "AZURE_OPENAI_API_VERSION", "OPENAI_API_VERSION"),
            "deployment": ("AZURE_OPENAI_DEPLOYMENT",),
        },
        needed=("api_key", "api_base"),
        aliases=("azure_openai", "azureopenai"),
    ),
    Provider(
        "bedrock",
        {
            "aws_access_key_id": ("AWS_ACCESS_KEY_ID",),
            "aws_secret_access_key": ("AWS_SECRET_ACCESS_KEY",),
            "aws_session_token": ("AWS_SESSION_TOKEN",),
            "aws_region_name": ("AWS_REGION", "AWS_REGION_NAME", "AWS_DEFAULT_REGION"),
            "api_key": ("BEDROCK_API_KEY",),
        },
        needed=("aws_access_key_id", "aws_secret_access_key"),
        aliases=("aws_bedrock",),
        defaults=(("aws_region_name", "us-east-1"),),
        ambient=(
            "BEDROCK_API_KEY",
            "AWS_BEARER_TOKEN_BEDROCK",
            "AWS_PROFILE",
            "AWS_ROLE_ARN",
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        ),
    ),
    _simple("mistral", aliases=("mistralai", "mistral_ai")),
    _simple("cohere_chat", "COHERE_API_KEY", "CO_API_KEY", base=("COHERE_BASE_URL",), aliases=("cohere",)),
    _simple("groq"),
    _simple("deepseek"),
    _simple("xai", "XAI_API_KEY", "GROK_API_KEY", base=("GROK_BASE_URL",), aliases=("grok",)),
    _simple("perplexity", "PERPLEXITY_API_KEY", "PERPLEXITYAI_API_KEY"),
    _simple(
        "huggingface",
        "HUGGINGFACE_API_KEY",
        "HUGGINGFACE_API_TOKEN",
        "HF_TOKEN",
        aliases=("hugging_face",),
    ),
    _simple("together_ai", "TOGETHERAI_API_KEY", "TOGETHER_API_KEY", "TOGETHER_AI_API_KEY", aliases=("together",)),
    _simple("openrouter"),
    _simple("fireworks_ai", "FIREWORKS_AI_API_KEY", "FIREWORKS_API_KEY", aliases=("fireworks",)),
    _simple("replicate", "REPLICATE_API_KEY", "REPLICATE_API_TOKEN"),
    _simple("github", "GITHUB_API_KEY", "GITHUB_TOKEN"),
    _simple("azure_ai"),
    *map(_simple, ("ai21", "cerebras", "dashscope", "databricks", "deepinfra", "meta_llama", "minimax", "moonshot")),
    *map(_simple, ("nebius", "novita", "nvidia_nim", "sambanova", "vercel_ai_gateway", "volcengine", "zai")),
    _keyless("ollama_chat", *OLLAMA, aliases=("ollama",), default="http://localhost:11434"),
    _keyless("lm_studio", "LM_STUDIO_API_BASE"),
    _keyless("hosted_vllm", "HOSTED_VLLM_API_BASE", aliases=("vllm",)),
    _keyless("llamafile", "LLAMAFILE_API_BASE", default="http://127.0.0.1:8080/v1"),
    _keyless("litellm_proxy", "LITELLM_PROXY_API_BASE"),
)

BY_NAME = {name: provider for provider in PROVIDERS for name in (provider.prefix, *provider.aliases)}
