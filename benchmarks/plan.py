"""How much is measured."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    rounds: int = 5
    seconds: float = 3.0
    at_once: tuple[int, ...] = (1, 8, 32, 256)
    sizes: tuple[int, ...] = (10, 10_000)
    worker: str = "sdk"
    quick: bool = False


QUICK = Plan(rounds=2, seconds=1.0, at_once=(1, 32), sizes=(10, 1_000), quick=True)
FULL = Plan(sizes=(10, 10_000, 1_000_000))
