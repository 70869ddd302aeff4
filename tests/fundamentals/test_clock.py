"""The clock: milliseconds that never go back, and ids that sort by time."""

import threading
import time
import uuid

import pytest

from agentspan import clock


@pytest.fixture
def hands():
    """A clock that shows what the test puts into `hands["seconds"]`."""
    hands = {"seconds": 1_700_000_000.0}
    clock.use(lambda: hands["seconds"])
    yield hands
    clock.use(time.time)


def test_time_is_in_milliseconds_of_the_system_clock():
    before = int(time.time() * 1000)
    assert before <= clock.now_ms() <= int(time.time() * 1000)


def test_a_clock_that_others_share_counts_and_sets_time_back_once_at_most():
    try:
        clock.use(time.time)
        clock.follow(-60.0)
        assert -61_000 < clock.now_ms() - time.time() * 1000 < -59_000
        clock.follow(60.0)
        now = clock.now_ms()
        assert 59_000 < now - time.time() * 1000 < 61_000
        clock.follow(-60.0)
        assert clock.now_ms() >= now
    finally:
        clock.use(time.time)


def test_a_clock_of_the_tests_follows_nobody(hands):
    clock.follow(60.0)
    assert clock.now_ms() == 1_700_000_000_000


def test_time_goes_on_steadily_when_the_system_clock_is_set_back():
    hands = {"shown": 1_700_000_000.0, "steady": 5.0}
    clock.use(lambda: hands["shown"], lambda: hands["steady"])
    try:
        start = clock.now_ms()
        hands["shown"] -= 3600
        for second in range(1, 4):
            hands["shown"] += 1
            hands["steady"] += 1
            assert clock.now_ms() == start + 1000 * second
        hands["shown"] += 7200
        assert clock.now_ms() == start + 1000 * 3603
    finally:
        clock.use(time.time)


def test_time_does_not_start_before_what_is_stored():
    hands = {"shown": 1_700_000_000.0, "steady": 5.0}
    clock.use(lambda: hands["shown"], lambda: hands["steady"])
    try:
        start = clock.now_ms()
        clock.not_before(start + 60_000)
        assert clock.now_ms() == start + 60_000
        clock.not_before(start)
        assert clock.now_ms() == start + 60_000
    finally:
        clock.use(time.time)


def test_without_a_steady_clock_time_stands_still_until_a_clock_that_was_set_back_has_caught_up(hands):
    start = clock.now_ms()
    hands["seconds"] -= 3600
    assert clock.now_ms() == start
    hands["seconds"] += 3601
    assert clock.now_ms() == start + 1000


def test_an_id_is_a_uuid_of_version_seven_that_carries_the_time(hands):
    made = uuid.UUID(clock.new_id())
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == clock.now_ms()


def test_ids_sort_by_the_time_of_their_making(hands):
    ids = []
    for _ in range(100):
        ids.append(clock.new_id())
        hands["seconds"] += 2**-9  # about 2 ms, and exact as a float
    assert ids == sorted(ids)


def test_ids_made_at_once_by_many_threads_differ():
    made: list[str] = []
    threads = [threading.Thread(target=lambda: made.extend(clock.new_id() for _ in range(2000))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 8000
