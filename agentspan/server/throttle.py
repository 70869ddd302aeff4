"""How often somebody may guess: a few wrong tries cost nothing, each further one twice the time of the one before."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

FREE = 4
LONGEST_SECONDS = 60.0
FORGOTTEN_SECONDS = 900.0
KEPT = 10_000


class Throttle:
    """Counts wrong tries by who made them. `now`: a clock in seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._wrong: dict[str, tuple[int, float]] = {}
        self._known: dict[tuple[str, ...], None] = {}
        self._trying: dict[str, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def alone(self, who: str) -> AsyncIterator[None]:
        """One try of theirs after the other, so that each is counted before the next."""
        lock, waiting = self._trying.get(who, (asyncio.Lock(), 0))
        self._trying[who] = (lock, waiting + 1)
        try:
            async with lock:
                yield
        finally:
            _, waiting = self._trying.pop(who)
            if waiting > 1:
                self._trying[who] = (lock, waiting - 1)

    def wait(self, who: str) -> float:
        """For how many seconds they may not try again; 0 if they may now."""
        count, last = self._wrong.get(who, (0, 0.0))
        if count < FREE:
            return 0.0
        return max(0.0, last + min(2.0 ** (count - FREE), LONGEST_SECONDS) - self._now())

    def missed(self, who: str) -> None:
        """They were wrong."""
        count, last = self._wrong.pop(who, (0, 0.0))
        now = self._now()
        self._wrong[who] = (count + 1 if now - last < FORGOTTEN_SECONDS else 1, now)
        if len(self._wrong) > KEPT:
            del self._wrong[next(iter(self._wrong))]

    def hit(self, who: str) -> None:
        """They were right."""
        self._wrong.pop(who, None)

    def remember(self, whole: tuple[str, ...]) -> None:
        """That somebody has come in from somewhere."""
        self._known.pop(whole, None)
        self._known[whole] = None
        if len(self._known) > KEPT:
            del self._known[next(iter(self._known))]

    def knows(self, whole: tuple[str, ...]) -> bool:
        return whole in self._known
