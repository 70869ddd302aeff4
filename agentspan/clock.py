"""The only source of time and ids: milliseconds since the epoch that never go back, and UUIDs in order of time."""

import os
import threading
import time
import uuid
from collections.abc import Callable

_lock = threading.Lock()
_last_ms = 0
_source: Callable[[], float] = time.time


def now_ms() -> int:
    """Milliseconds since the epoch. If the system clock is set back, time stands still until it catches up."""
    global _last_ms
    with _lock:
        _last_ms = max(_last_ms, int(_source() * 1000))
        return _last_ms


def new_id() -> str:
    """A UUIDv7 as text: unique, and sorted by the time of its making."""
    stamp = now_ms()
    noise = int.from_bytes(os.urandom(10), "big")
    value = (stamp & (1 << 48) - 1) << 80 | 7 << 76 | (noise >> 68 & 0xFFF) << 64 | 2 << 62 | noise & (1 << 62) - 1
    return str(uuid.UUID(int=value))


def use(source: Callable[[], float]) -> None:
    """Replace the clock (tests only). `source` returns seconds since the epoch."""
    global _source, _last_ms
    with _lock:
        _source, _last_ms = source, 0
