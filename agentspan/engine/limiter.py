"""Who may ask a provider now: one quota for each key at each address, shared by all runs of this server.

A quota keeps to its limits in any minute and at once. When the provider refuses a call for its rate, the whole quota
rests until the time that the provider named; then one call goes ahead, and more follow as they are accepted.
"""

import asyncio
import random
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf
from weakref import WeakKeyDictionary

from agentspan.config import Limit

MINUTE = 60.0
FIRST_REST_SECONDS = 1.0
LONGEST_REST_SECONDS = 60.0
"""Of a refusal that names no time: the first rest, doubled at each further refusal, and the longest."""
JITTER = 0.1
"""A rest is longer by up to this part of it, and by up to this many seconds: several servers may share a key."""
MOST_QUOTAS = 1_000


class Limiter:
    """The quotas of one event loop, which is one server."""

    def __init__(self) -> None:
        self.quotas: OrderedDict[str, Quota] = OrderedDict()

    def quota(self, key: str, provider: str, limit: Limit | None = None) -> "Quota":
        """The quota under that key; the provider's name is for the metrics."""
        if key not in self.quotas:
            self._forget()
            self.quotas[key] = Quota(provider, limit)
        self.quotas.move_to_end(key)
        return self.quotas[key]

    def by_provider(self) -> dict[str, list["Quota"]]:
        """The quotas of each provider."""
        found: dict[str, list[Quota]] = {}
        for quota in self.quotas.values():
            found.setdefault(quota.provider, []).append(quota)
        return found

    def _forget(self) -> None:
        """Drop the quotas that were longest not used and of which there is nothing to remember."""
        spare = len(self.quotas) + 1 - MOST_QUOTAS
        for key in [key for key, quota in self.quotas.items() if quota.idle][: max(0, spare)]:
            del self.quotas[key]


def here() -> Limiter:
    """The limiter of the running event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _limiters:
        _limiters[loop] = Limiter()
    return _limiters[loop]


_limiters: WeakKeyDictionary[asyncio.AbstractEventLoop, Limiter] = WeakKeyDictionary()


class Quota:
    """`open` calls have their turn, `waiting` ones do not; `rested` are the seconds of rest so far."""

    def __init__(self, provider: str, limit: Limit | None = None) -> None:
        self.provider, self.limit = provider, limit
        self.open = 0
        self.rested = 0.0
        self._loop = asyncio.get_running_loop()
        self._line: OrderedDict[Slot, asyncio.Future[None]] = OrderedDict()
        self._minute = Minute(limit.rpm or inf, limit.tpm or inf) if limit and (limit.rpm or limit.tpm) else None
        self._rest_ends = -inf
        self._rests = self._strikes = 0
        self._asking, self._window = 0, inf
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        return len(self._line)

    @property
    def resting(self) -> float:
        """The seconds for which it still rests."""
        return max(0.0, self._rest_ends - self._loop.time())

    @property
    def counts_tokens(self) -> bool:
        return bool(self.limit and self.limit.tpm)

    @property
    def idle(self) -> bool:
        """True if nothing of it is worth remembering."""
        now = self._loop.time()
        is_fresh = self._minute is not None and not self._minute.is_over(now)
        return not (self.open or self._line or self._rest_ends > now or is_fresh)

    @asynccontextmanager
    async def slot(self, tokens: int = 0, *, again: bool = False) -> "AsyncIterator[Slot]":
        """Wait for a turn and hold it. A call that was refused goes `again`, before those that have not asked yet."""
        slot = Slot(self, tokens)
        await self._enter(slot, again)
        try:
            yield slot
        finally:
            self._leave(slot)

    async def _enter(self, slot: "Slot", again: bool) -> None:
        if not self._line and self._delay(slot) <= 0:
            return self._begin(slot)
        turn = self._line[slot] = self._loop.create_future()
        self._line.move_to_end(slot, last=not again)
        self._serve()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._line.pop(slot, None)
                self._serve()
            else:
                self._leave(slot)
            raise

    def _begin(self, slot: "Slot") -> None:
        self.open += 1
        self._asking += 1
        slot.rests = self._rests
        if self._minute:
            slot.spent = self._minute.spend(self._loop.time(), slot.tokens)

    def _leave(self, slot: "Slot") -> None:
        self.open -= 1
        if not slot.is_accepted:
            self._asking -= 1
        self._serve()

    def accepted(self, slot: "Slot") -> None:
        """The provider has begun to answer: after a rest, two more may ask."""
        self._asking -= 1
        if slot.rests == self._rests:
            self._strikes = 0
            self._window += 1
        self._serve()

    def refused(self, slot: "Slot", seconds: float | None) -> float:
        """Rest, and say for how many seconds. Refusals of calls that were under way together count as one."""
        now = self._loop.time()
        if slot.rests == self._rests:
            self._strikes += 1
        if seconds is None:
            seconds = min(LONGEST_REST_SECONDS, FIRST_REST_SECONDS * 2.0 ** (self._strikes - 1))
        end = now + seconds + random.uniform(0, min(JITTER, JITTER * seconds))
        if end > self._rest_ends:
            self.rested += end - max(now, self._rest_ends)
            self._rest_ends = end
        self._rests += 1
        self._window = 1
        return self._rest_ends - now

    def used(self, slot: "Slot", tokens: int) -> None:
        """What a call took, in place of its estimate."""
        if self._minute and slot.spent and tokens:
            self._minute.settle(slot.spent, tokens)

    def _delay(self, slot: "Slot") -> float:
        """Seconds until this call may begin; infinite if another has to end first."""
        if self._asking >= self._window or (self.limit and self.open >= (self.limit.concurrency or inf)):
            return inf
        now = self._loop.time()
        minute = self._minute.delay(now, slot.tokens) if self._minute else 0.0
        return max(self._rest_ends - now, minute, 0.0)

    def _serve(self) -> None:
        """Let those begin who may, in their order, and look again when the next one may."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        while self._line:
            slot, turn = next(iter(self._line.items()))
            if delay := 0.0 if turn.done() else self._delay(slot):
                if delay < inf:
                    self._timer = self._loop.call_later(delay, self._serve)
                return
            del self._line[slot]
            if not turn.done():
                self._begin(slot)
                turn.set_result(None)
        if self._rest_ends <= self._loop.time():
            self._window = inf


class Slot:
    """One call's turn. The caller says when the provider accepts it, or refuses it, and what it used."""

    def __init__(self, quota: Quota, tokens: int) -> None:
        self.tokens, self.rests = tokens, 0
        self.is_accepted = False
        self.spent: Spent | None = None
        self._quota = quota

    def accepted(self) -> None:
        """The provider has begun to answer."""
        if not self.is_accepted:
            self.is_accepted = True
            self._quota.accepted(self)

    def refused(self, seconds: float | None) -> float:
        """The provider wants to be left alone for so long; gives the seconds until the quota goes on."""
        return self._quota.refused(self, seconds)

    def used(self, tokens: int) -> None:
        """What the call really took, in place of the estimate."""
        self._quota.used(self, tokens)


class Spent:
    """One call in the last minute."""

    def __init__(self, at: float, tokens: int) -> None:
        self.at, self.tokens = at, tokens


class Minute:
    """What was spent in the last minute: no window of 60 seconds, wherever it begins, holds more than the limits."""

    def __init__(self, requests: float, tokens: float) -> None:
        self._requests, self._tokens = requests, tokens
        self._spent: deque[Spent] = deque()
        self._total = 0

    def delay(self, now: float, tokens: int) -> float:
        """Seconds until a call with so many tokens fits. One that never fits may go when nothing else is left."""
        self._drop(now)
        calls, total, wait = len(self._spent) + 1, self._total + tokens, 0.0
        for oldest in self._spent:
            if calls <= self._requests and total <= self._tokens:
                break
            calls, total, wait = calls - 1, total - oldest.tokens, oldest.at + MINUTE - now
        return wait

    def spend(self, now: float, tokens: int) -> Spent:
        """Count a call that begins."""
        self._spent.append(Spent(now, tokens))
        self._total += tokens
        return self._spent[-1]

    def settle(self, spent: Spent, tokens: int) -> None:
        """Correct what a call took."""
        if self._spent and self._spent[0].at <= spent.at:
            self._total += tokens - spent.tokens
            spent.tokens = tokens

    def is_over(self, now: float) -> bool:
        """True if nothing was spent for a minute."""
        self._drop(now)
        return not self._spent

    def _drop(self, now: float) -> None:
        while self._spent and self._spent[0].at + MINUTE <= now:
            self._total -= self._spent.popleft().tokens
