"""The moments of cron expressions: fields, zones, clocks that jump, and what cannot be read."""

import itertools
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as some

from agentspan.engine import cron
from agentspan.errors import BadInput

BERLIN = "Europe/Berlin"
HOUR_MS = 3_600_000


def at(text: str, zone: str = BERLIN) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


def first(expression: str, after: str, count: int = 3, zone: str = BERLIN) -> list[str]:
    moments = itertools.islice(cron.moments(expression, zone, at(after, zone)), count)
    return [cron.written(each, zone) for each in moments]


def test_five_fields_are_minute_hour_day_month_weekday() -> None:
    assert first("30 9 * * MON-FRI", "2026-06-05T12:00") == [
        "2026-06-08T09:30:00+02:00",
        "2026-06-09T09:30:00+02:00",
        "2026-06-10T09:30:00+02:00",
    ]


def test_six_fields_begin_with_the_seconds_and_know_the_question_mark() -> None:
    assert first("*/20 * * * * *", "2026-06-05T12:00", 2) == ["2026-06-05T12:00:20+02:00", "2026-06-05T12:00:40+02:00"]
    assert first("0 0 9 ? * MON", "2026-06-05T12:00", 1) == ["2026-06-08T09:00:00+02:00"]


def test_words_stand_for_expressions() -> None:
    assert first("@daily", "2026-06-05T12:00", 1) == ["2026-06-06T00:00:00+02:00"]


def test_a_time_that_the_clocks_skip_comes_when_they_have_jumped() -> None:
    assert first("30 2 * * *", "2026-03-28T12:00", 2) == ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]


def test_a_time_that_the_clocks_show_twice_comes_once() -> None:
    assert first("30 2 * * *", "2026-10-24T12:00", 2) == ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]


def test_what_runs_every_hour_runs_in_the_hour_that_comes_twice_too() -> None:
    assert first("0 * * * *", "2026-10-25T01:30", 3) == [
        "2026-10-25T02:00:00+02:00",
        "2026-10-25T02:00:00+01:00",
        "2026-10-25T03:00:00+01:00",
    ]


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("", "5 fields"),
        ("* * *", "5 fields"),
        ("* * * * * * *", "5 fields"),
        ("61 * * * *", "out of range"),
        ("x * * * *", "cannot be read"),
        ("0 0 31 2 *", "never comes"),
        ("H * * * *", "chance"),
        ("R(1-3) * * * *", "chance"),
    ],
)
def test_an_expression_that_cannot_be_read_says_why(expression: str, says: str) -> None:
    with pytest.raises(cron.InvalidCron, match=says):
        cron.check(expression, "UTC")


def test_a_zone_that_does_not_exist_is_named() -> None:
    with pytest.raises(BadInput, match="no time zone 'Mars/Olympus'"):
        cron.check("* * * * *", "Mars/Olympus")


def test_nothing_comes_after_the_end() -> None:
    start = at("2026-06-05T12:00")
    assert cron.following("0 * * * *", BERLIN, start, start + HOUR_MS) == start + HOUR_MS
    assert cron.following("0 * * * *", BERLIN, start, start + HOUR_MS - 1) == 0


def test_what_has_passed_is_listed_up_to_now() -> None:
    start = at("2026-06-05T12:00")
    assert cron.passed("0 * * * *", BERLIN, start, start, 10) == [start]
    assert cron.passed("0 * * * *", BERLIN, start, start + 2 * HOUR_MS, 10) == [
        start,
        start + HOUR_MS,
        start + 2 * HOUR_MS,
    ]


def test_after_a_long_absence_the_last_moments_are_found_quickly() -> None:
    start = at("2026-01-01T00:00")
    now = start + 90 * 24 * HOUR_MS
    assert cron.passed("* * * * * *", BERLIN, start, now, 100) == [now - 1000 * n for n in range(99, -1, -1)]


@given(
    expression=some.sampled_from(["*/7 * * * *", "0 */5 * * *", "15 2 * * *", "0 0 1 * *", "*/30 * * * * *"]),
    zone=some.sampled_from(["UTC", BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]),
    start=some.integers(1_700_000_000_000, 1_900_000_000_000),
)
def test_moments_only_go_forward_and_the_next_one_does_not_depend_on_how_it_was_reached(
    expression: str, zone: str, start: int
) -> None:
    moments = list(itertools.islice(cron.moments(expression, zone, start), 20))
    assert moments == sorted(set(moments))
    assert moments[0] > start
    for before, after in itertools.pairwise(moments):
        assert cron.following(expression, zone, before) == after
