"""How the SDK's objects show themselves in a notebook: one mixin; what they look like is in `portraits`."""

from collections.abc import Collection
from importlib import import_module
from typing import Any

Json = dict[str, Any]


class Shown:
    """An object with a picture: HTML, where it fits markdown and JSON, and text, all without a server or a script."""

    def _repr_mimebundle_(self, include: Collection[str] | None = None, exclude: Collection[str] | None = None) -> Json:
        return bundle(self, include, exclude)


def bundle(shown: Any, include: Collection[str] | None = None, exclude: Collection[str] | None = None) -> Json:
    """The forms of an object by mime type, as IPython asks for them."""
    # By its name: the pictures know every class, and every class is shown.
    found: Json = import_module("agentspan.agents.portraits").portrait(shown)
    return {key: each for key, each in found.items() if (not include or key in include) and key not in (exclude or ())}
