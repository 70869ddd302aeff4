"""In the cell: displays, live runs, requests to answer, time travel, and maps over tables.

It may import the SDK, the client and the drawing room. Its doors are the names below, each loaded when it is used.
"""

from importlib import import_module
from typing import Any

DOORS = {
    "Cards": "card",
    "Estimate": "mapping",
    "SideBySide": "moments",
    "Travel": "moments",
    "agent_map": "mapping",
    "agent_map_async": "mapping",
    "export_notebook": "export",
    "export_notebook_async": "export",
    "side_by_side": "moments",
    "side_by_side_async": "moments",
    "travel": "moments",
    "travel_async": "moments",
    "attach": "cells",
    "cards": "card",
    "dashboard": "page",
    "last": "cells",
    "resume_cells": "cells",
    "display": "mode",
}
"""Each name, and the module that has it."""

__all__ = sorted(DOORS)


def __getattr__(name: str) -> Any:
    if name not in DOORS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{DOORS[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *DOORS})
