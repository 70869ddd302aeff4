"""A missing optional package as one sentence."""

import contextlib
from collections.abc import Iterator

from agentspan.errors import ConfigurationProblem


@contextlib.contextmanager
def needs(extra: str) -> Iterator[None]:
    """Say which `pip install` brings what an import lacks."""
    try:
        yield
    except ModuleNotFoundError as problem:
        if (problem.name or "agentspan").startswith("agentspan"):
            raise
        raise ConfigurationProblem(f'this needs {problem.name}: pip install "agentspan[{extra}]"') from problem
