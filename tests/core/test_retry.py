"""Back-off."""

import pytest

from agentspan.core.retry import chance, delay_ms
from agentspan.spec.policy import RetryPolicy


@pytest.mark.parametrize(
    ("back_off", "delays"),
    [("fixed", [100, 100, 100, 100]), ("linear", [100, 200, 300, 400]), ("exponential", [100, 200, 400, 800])],
)
def test_delays_grow_as_the_policy_says(back_off: str, delays: list[int]) -> None:
    policy = RetryPolicy(delay_ms=100, back_off=back_off)  # type: ignore[arg-type]
    assert [delay_ms(policy, n, "seed") for n in range(1, 5)] == delays


def test_a_cap_bounds_the_delay() -> None:
    assert delay_ms(RetryPolicy(delay_ms=100, back_off="exponential", max_delay_ms=250), 9, "seed") == 250


def test_jitter_is_spread_over_its_range_and_the_same_for_the_same_seed() -> None:
    policy = RetryPolicy(delay_ms=0, jitter_ms=99)
    drawn = [delay_ms(policy, 1, f"seed {n}") for n in range(2_000)]
    assert set(drawn) == set(range(100))
    assert drawn == [delay_ms(policy, 1, f"seed {n}") for n in range(2_000)]
    assert 40 < sum(drawn) / len(drawn) < 60


def test_chance_stays_below_its_bound() -> None:
    assert {chance(str(n), 3) for n in range(200)} == {0, 1, 2}
