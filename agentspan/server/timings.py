"""How long requests took, counted by method, route and status; /metrics prints it."""

from bisect import bisect_left

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)


class Timings:
    """A histogram for each kind of request; the last bucket holds what took longer than every bound."""

    def __init__(self) -> None:
        self.buckets: dict[tuple[str, str, int], list[int]] = {}
        self.sums: dict[tuple[str, str, int], float] = {}

    def add(self, method: str, route: str, status: int, seconds: float) -> None:
        kind = (method, route, status)
        counts = self.buckets.get(kind)
        if counts is None:
            counts = self.buckets[kind] = [0] * (len(BOUNDS) + 1)
            self.sums[kind] = 0.0
        counts[bisect_left(BOUNDS, seconds)] += 1
        self.sums[kind] += seconds
