"""What is done beside a running server: bring the database to this version's schema, fetch weights, look at keys."""

from collections.abc import Mapping
from pathlib import Path

from agentspan.config import Settings
from agentspan.engine import providers
from agentspan.engine.engine import Engine
from agentspan.engine.providers.names import PROVIDERS, Provider


def upgrade(settings: Settings) -> str | None:
    """Bring the database to this version's schema; the path of the copy that was made before, if one was."""
    return Engine.upgrade(settings)


def pull(model: str, settings: Settings) -> Path:
    """Fetch the weights of a local model; their path."""
    return providers.pull(model, models_folder(settings))


def has_weights(model: str, settings: Settings) -> bool:
    return providers.weights_path(model, models_folder(settings)).exists()


def models_folder(settings: Settings) -> Path:
    return settings.data_dir / "models"


def enabled_providers(environ: Mapping[str, str]) -> list[str]:
    """The model providers that have what they need in the environment."""
    return [provider.prefix for provider in PROVIDERS if _is_enabled(provider, environ)]


def _is_enabled(provider: Provider, environ: Mapping[str, str]) -> bool:
    if any(environ.get(name) for name in provider.ambient):
        return True
    needed = [provider.variables[argument] for argument in provider.needed]
    return bool(needed) and all(any(environ.get(name) for name in names) for names in needed)
