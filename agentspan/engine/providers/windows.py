"""How much a model can read: by litellm's table, for those that it knows."""

import importlib
from functools import lru_cache

USUAL = 128_000
"""What a model of a provider is thought to take when the table does not know it."""

EMBEDDED = ("scripted/", "local/")


def window(model: str) -> int | None:
    """The tokens that a conversation may have; None if there is no limit to speak of."""
    return None if model.startswith(EMBEDDED) else _known(model)


@lru_cache(maxsize=500)
def _known(model: str) -> int:
    table = importlib.import_module("litellm").model_cost
    found = table.get(model) or table.get(model.partition("/")[2]) or {}
    return int(found.get("max_input_tokens") or USUAL)
