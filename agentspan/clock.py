"""The only source of time and ids: milliseconds since the epoch that never go back, and UUIDs in order of time."""

import os
import threading
import time
import uuid
from collections.abc import Callable

SET_BACK_SECONDS = 0.05
"""A system clock that is more than this behind what it must show was set back; less is a correction, and followed."""

_lock = threading.Lock()
_last_ms = 0
_source: Callable[[], float] = time.time
_steady: Callable[[], float] = time.monotonic
_anchor = (0.0, 0.0)


def now_ms() -> int:
    """Milliseconds since the epoch. If the system clock is set back, time goes on steadily as if it were not."""
    global _last_ms, _anchor
    with _lock:
        shown, steady = _source(), _steady()
        expected = _anchor[0] + steady - _anchor[1]
        if shown > expected - SET_BACK_SECONDS:
            _anchor, expected = (shown, steady), shown
        _last_ms = max(_last_ms, int(expected * 1000))
        return _last_ms


def new_id() -> str:
    """A UUIDv7 as text: unique, and sorted by the time of its making."""
    stamp = now_ms()
    noise = int.from_bytes(os.urandom(10), "big")
    value = (stamp & (1 << 48) - 1) << 80 | 7 << 76 | (noise >> 68 & 0xFFF) << 64 | 2 << 62 | noise & (1 << 62) - 1
    return str(uuid.UUID(int=value))


def use(source: Callable[[], float], steady: Callable[[], float] | None = None) -> None:
    """Replace the clock (tests only). `source` returns seconds since the epoch, `steady` those since any moment.

    Without `steady`, the system's own goes with the system's clock, and a stopped one with any other.
    """
    global _source, _steady, _last_ms, _anchor
    with _lock:
        _source, _last_ms, _anchor = source, 0, (0.0, 0.0)
        _steady = steady or (time.monotonic if source is time.time else lambda: 0.0)
