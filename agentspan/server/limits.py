"""How much a request may bring, and how many of them somebody may make. Pure: numbers and what is checked against them.

`Rates.check` is asked before a request is worked on; everything else before it is even read.
"""

import math
from collections.abc import Callable, Iterable, Mapping

from agentspan.config import Rate
from agentspan.errors import AgentspanError, BadInput, TooMany
from agentspan.spec.nesting import NESTING, is_deep

TARGET_CHARS = 16 * 1024
"""The path and the query of a request."""
HEADERS = 200
HEAD_BYTES = 64 * 1024
PARAMETERS = 1_000
"""In a query, or fields in a form."""
ITEMS = 1_000
"""In one request about many things."""
IDLE_SECONDS = 120.0
"""How long a connection may say nothing, or take for the head of a request."""
BODY_SECONDS = 300.0
"""How long a body may take."""
BODIES_AT_ONCE = 8
"""The bodies that are coming in may have the room of so many of the largest."""


class HeadProblem(AgentspanError):
    """A request that is not read because of its first lines."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Rates:
    """So many requests in so long a time for each key, address or tenant: a bucket for each, filled as time goes by.

    `now`: a clock in seconds. Who has not asked for long is forgotten, as their bucket is full.
    """

    KEPT = 10_000

    def __init__(self, rates: Iterable[Rate], now: Callable[[], float]) -> None:
        self._rates, self._now = tuple(rates), now
        self._buckets: tuple[dict[str, tuple[float, float]], ...] = tuple({} for _ in self._rates)

    def __bool__(self) -> bool:
        return bool(self._rates)

    def check(self, who: Mapping[str, str]) -> None:
        """TooMany unless they may go on."""
        if self._rates and (wait := self.admit(who)):
            raise TooMany(f"this server takes no more requests of yours for {math.ceil(wait)} s", after_seconds=wait)

    def admit(self, who: Mapping[str, str]) -> float:
        """For how many seconds they must wait; 0.0 if they may go on, which counts. `who`: {key, address, tenant}."""
        now = self._now()
        each = zip(self._rates, self._buckets, strict=True)
        asked = [(rate, bucket, who[rate.per]) for rate, bucket in each if who.get(rate.per)]
        filled = [self._filled(rate, bucket, name, now) for rate, bucket, name in asked]
        short = [
            (1 - level) * rate.seconds / rate.count
            for (rate, _, _), level in zip(asked, filled, strict=True)
            if level < 1
        ]
        if short:
            return max(short)
        for (_, bucket, name), level in zip(asked, filled, strict=True):
            bucket.pop(name, None)
            bucket[name] = (level - 1, now)
            if len(bucket) > self.KEPT:
                del bucket[next(iter(bucket))]
        return 0.0

    @staticmethod
    def _filled(rate: Rate, bucket: dict[str, tuple[float, float]], name: str, now: float) -> float:
        level, at = bucket.get(name, (float(rate.count), now))
        return min(float(rate.count), level + (now - at) * rate.count / rate.seconds)


def head_problem(target: str, headers: Iterable[tuple[str, str]]) -> HeadProblem | None:
    """Why a request is not read any further; None if it is."""
    if len(target) > TARGET_CHARS:
        return HeadProblem(414, f"the address is longer than {TARGET_CHARS} characters; send what is long in the body")
    if target.count("&") >= PARAMETERS:
        return HeadProblem(414, f"the address has more than {PARAMETERS} parameters")
    number = 0
    for name, value in headers:
        number += 1
        if name == "Content-Encoding" and value.strip().lower() not in ("", "identity"):
            return HeadProblem(415, f"a body that is packed as {value.strip()[:40]!r} is not read; send it as it is")
    if number > HEADERS:
        return HeadProblem(431, f"the request has more than {HEADERS} headers")
    return None


def check_nesting(text: bytes) -> None:
    """BadInput for JSON that is nested deeper than anything here would bear."""
    if is_deep(text):
        raise BadInput(f"the body is nested deeper than {NESTING} levels")


def check_items(number: int, what: str) -> None:
    """BadInput for a request about more things than one may be about."""
    if number > ITEMS:
        raise BadInput(f"{number} {what} are more than the {ITEMS} of one request; send several")
