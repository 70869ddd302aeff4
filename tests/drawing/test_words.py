"""Numbers, times and states in words."""

from datetime import UTC

import pytest

from agentspan.drawing import words
from tests.drawing.looks import T


@pytest.mark.parametrize(
    ("ms", "said"),
    [
        (0, "0 ms"), (340.4, "340 ms"), (999, "999 ms"), (1000, "1.0 s"), (9949, "9.9 s"), (9950, "10 s"),
        (59_400, "59 s"), (59_600, "1 min 00 s"), (245_000, "4 min 05 s"), (3_599_600, "1 h 00 min"),
        (7_800_000, "2 h 10 min"), (273_600_000, "3 d 4 h"), (-5, "0 ms"), (None, "0 ms"), (float("nan"), "0 ms"),
    ],
)  # fmt: skip
def test_a_duration_has_the_units_that_it_needs(ms: float | None, said: str) -> None:
    assert words.duration(ms) == said


@pytest.mark.parametrize(
    ("usd", "unknown", "said"),
    [
        (0, False, "$0"), (0.00001, False, "< $0.0001"), (0.0012, False, "$0.0012"), (1.234, False, "$1.23"),
        (1234.5, False, "$1,234"), (0, True, "price unknown"), (None, False, "price unknown"), (0.5, True, "≥ $0.50"),
    ],
)  # fmt: skip
def test_money_has_the_places_that_it_needs(usd: float | None, unknown: bool, said: str) -> None:
    assert words.money(usd, unknown) == said


def test_moments_are_told_by_the_clock_and_by_how_long_ago() -> None:
    assert words.clock(T, UTC) == "08:53:20"
    assert words.moment(T, UTC) == "2025-10-09 08:53:20"
    assert words.stamp(T, UTC) == "10-09 08:53"
    assert [words.since(T - ms, T) for ms in (1000, 9000, 240_000, 7_300_000, 200_000_000)] == [
        "just now", "9 s ago", "4 min ago", "2 h ago", "2 d ago",
    ]  # fmt: skip
    assert (words.clock(0), words.clock("soon"), words.since(None, T)) == ("-", "-", "-")


def test_counts_limits_and_short_texts() -> None:
    assert (words.count(12345), words.plural(1, "step"), words.plural(3, "step")) == ("12,345", "1 step", "3 steps")
    assert (words.limit("cost", 1), words.limit("toolCalls", 5)) == ("$1.00", "5 tool calls")
    assert (words.short("a\n b", 9), words.short("abcdefgh", 5)) == ("a b", "abcd…")


def test_a_status_is_a_sign_and_a_word_and_not_a_colour_alone() -> None:
    for status, (sign, word, _) in words.STATUS.items():
        mark = words.status_mark(status)
        assert sign in mark
        assert word in mark
    assert "never heard" in words.status_mark("NEVER_HEARD")


@pytest.mark.parametrize("ground", ["#ffffff", "#111111"])
def test_every_colour_reads_on_light_and_on_dark(ground: str) -> None:
    colours = {colour for _, _, colour in words.STATUS.values()} | {colour for _, colour in words.KIND.values()}
    for colour in colours:
        bright, dim = sorted((luminance(colour), luminance(ground)), reverse=True)
        assert (bright + 0.05) / (dim + 0.05) >= 4, colour


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
