"""Whether and when a failed task is tried again."""

import hashlib

from msgspec.structs import replace

from agentspan.core.events import TaskScheduled
from agentspan.core.run import Fault
from agentspan.spec.policy import LONGEST_SECONDS, RetryPolicy


def again(fault: Fault, seed: str) -> TaskScheduled | None:
    """The next attempt, or None if there is none. An attempt lost to a dead worker does not count as a failure."""
    order, policy = fault.order, fault.order.retry
    if fault.terminal:
        return None
    if fault.lost:
        return replace(order, lost=order.lost + 1, delay_ms=0) if order.lost < policy.lost_limit else None
    if order.attempt >= policy.limit:
        return None
    delay = delay_ms(policy, order.attempt + 1, f"{seed}:{fault.task}")
    return replace(order, attempt=order.attempt + 1, delay_ms=max(delay, fault.retry_after_ms))


def delay_ms(policy: RetryPolicy, attempt: int, seed: str) -> int:
    """Milliseconds before attempt `attempt` (from 1), jitter included; the same seed draws the same jitter."""
    factors: dict[str, int] = {"fixed": 1, "linear": attempt, "exponential": 2 ** (attempt - 1)}
    delay = policy.delay_ms * factors[policy.back_off]
    if policy.max_delay_ms:
        delay = min(delay, policy.max_delay_ms)
    return min(delay, LONGEST_SECONDS * 1000) + chance(seed, policy.jitter_ms + 1)


def chance(seed: str, below: int) -> int:
    """A number from 0 to below - 1 that depends on the seed alone."""
    return int.from_bytes(hashlib.blake2b(seed.encode(), digest_size=8).digest(), "big") % below
