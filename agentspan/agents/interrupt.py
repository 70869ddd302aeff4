"""What an interrupt of the waiting means: the run goes on, or is cancelled; in a notebook it is told in one line."""

import sys
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from agentspan.agents import watching

if TYPE_CHECKING:
    from agentspan.client.portal import Portal

Handle = Any
"""An AgentHandle; it knows of interrupts, so they do not know of it here."""
T = TypeVar("T")

SECOND_SECONDS = 2.0


class Detached(str):
    """The note of an interrupt: what becomes of the run. `handle` is the run's."""

    handle: Handle

    def __new__(cls, text: str, handle: Handle) -> "Detached":
        note = super().__new__(cls, text)
        note.handle = handle
        return note


def waited(portal: "Portal", coroutine: Coroutine[Any, Any, T]) -> T:
    """Wait for a coroutine. In a notebook, who interrupts twice within two seconds cancels the run."""
    try:
        return portal.call(coroutine)
    except KeyboardInterrupt as interrupt:
        if watching.in_kernel() and (note := note_of(interrupt)) is not None:
            if note.handle.interrupts == "detach" and _again():
                note.handle.cancel("interrupted twice")
                note = Detached(f"The run {note.handle.execution_id} is cancelled.", note.handle)
                interrupt.__notes__ = [note]
            shorten(interrupt)
        raise


def shorten(stop: BaseException) -> None:
    """Let IPython show the note in place of a traceback, which would say nothing about the run."""
    if watching.in_kernel() and (note := note_of(stop)) is not None:
        stop._render_traceback_ = lambda: [f"{type(stop).__name__}: {note}"]  # type: ignore[attr-defined]


def note_of(stop: BaseException) -> Detached | None:
    """What an interrupt says about a run."""
    return next((each for each in getattr(stop, "__notes__", ()) if isinstance(each, Detached)), None)


def _again() -> bool:
    """Is there another interrupt within two seconds?"""
    try:
        print("detached; interrupt again within 2 s to cancel the run", file=sys.stderr, flush=True)
        time.sleep(SECOND_SECONDS)
    except KeyboardInterrupt:
        return True
    return False
