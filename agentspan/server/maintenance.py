"""What is done beside a running server: bring the database to this version's schema, fetch weights, look at keys."""

from collections.abc import Mapping
from pathlib import Path

from agentspan.config import Settings
from agentspan.engine import providers, secrets, vitals
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


def clock_ahead_ms(settings: Settings) -> int | None:
    """How far the database's clock is ahead of this machine's; None for a file. Unavailable."""
    return vitals.clock_ahead_ms(settings)


def check_key(settings: Settings) -> None:
    """ConfigurationProblem where credentials could not be kept: nothing is made by asking."""
    secrets.check_key(settings)


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
