"""What a piece of work is about, for whoever writes of it in a log: its request, its run, its task."""

from contextvars import ContextVar

about: ContextVar[dict[str, str]] = ContextVar("about")
"""Set where the work begins, and seen by all that is awaited there."""


def known() -> dict[str, str]:
    """What the present work is about; nothing if nobody has said."""
    return about.get({})
