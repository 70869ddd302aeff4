"""How runs show themselves in a notebook: live, once at their end, or not at all."""

import os
from collections.abc import Mapping
from typing import Any

from agentspan.errors import BadInput

VARIABLE = "AGENTSPAN_DISPLAY"
LIVE, STATIC, OFF, AUTO = "live", "static", "off", "auto"
MODES = (LIVE, STATIC, OFF)


def display(mode: str) -> None:
    """Say how runs show themselves from now on: "live", "static" (one output for each, at its end), "off", or "auto".

    "auto" goes by AGENTSPAN_DISPLAY, and without it is live where somebody looks on and static elsewhere.
    """
    _chosen[:] = [_checked(mode, "display(...)")]


def mode(environ: Mapping[str, str] | None = None) -> str:
    """How a run that begins now shows itself."""
    if _chosen[-1] != AUTO:
        return _chosen[-1]
    environ = os.environ if environ is None else environ
    if (asked := environ.get(VARIABLE, "").strip().lower()) and _checked(asked, VARIABLE) != AUTO:
        return asked
    if any(environ.get(name) for name in UNATTENDED):
        return STATIC
    return LIVE if _asks() else STATIC


def _asks() -> bool:
    """Could the front end answer a prompt? Programs that run notebooks cannot: nobody looks on."""
    from IPython import get_ipython

    kernel: Any = getattr(get_ipython(), "kernel", None)
    return bool(getattr(kernel, "_allow_stdin", False))


def _checked(mode: str, where: str) -> str:
    if mode not in (*MODES, AUTO):
        raise BadInput(f"{where} must be one of {', '.join((*MODES, AUTO))}; got {mode!r}")
    return mode


UNATTENDED = ("PYTEST_VERSION", "CI")
_chosen = [AUTO]
