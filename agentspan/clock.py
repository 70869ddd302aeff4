"""The only source of time and ids: milliseconds since the epoch that never go back, and UUIDs in order of time."""

import os
import threading
import time
import uuid
from collections.abc import Callable

_lock = threading.Lock()
_source: Callable[[], float] = time.time
_steady: Callable[[], float] = time.monotonic
_ahead = float("-inf")
_follows: float | None = None


def now_ms() -> int:
    """Milliseconds since the epoch. If the system clock is set back, time goes on from where it was, so that no lease
    and no back-off waits until the clock catches up."""
    global _ahead
    with _lock:
        # In this order, a pause between the two makes the difference too small, which the next reading mends.
        shown, steady = _source() + (_follows or 0.0), _steady()
        _ahead = max(_ahead, shown - steady)
        return int((steady + _ahead) * 1000)


def not_before(moment_ms: int) -> None:
    """Start at `moment_ms` if the system clock is behind it: what is stored must not lie in the future."""
    global _ahead
    with _lock:
        _ahead = max(_ahead, (moment_ms + 0.5) / 1000 - _steady())  # half a millisecond, against rounding


def follow(ahead: float) -> None:
    """Go by a clock that is so many seconds ahead of the system's, or behind it: that of the database which several
    servers share. Only the first time can set it back, when nothing has been told the time yet."""
    global _ahead, _follows
    with _lock:
        if _source is not time.time:
            return
        if _follows is None:
            _follows, _ahead = ahead, float("-inf")
        elif ahead > _follows:
            _follows = ahead


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
    global _source, _steady, _ahead, _follows
    with _lock:
        _source, _ahead, _follows = source, float("-inf"), None
        _steady = steady or (time.monotonic if source is time.time else lambda: 0.0)
