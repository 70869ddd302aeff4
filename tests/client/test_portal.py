"""The portal: coroutines from threads and from other loops, and errands back to the caller."""

import asyncio
import contextvars
import threading
import time

import pytest

from agentspan.client.portal import Portal, in_caller


@pytest.fixture
def portal():  # type: ignore[no-untyped-def]
    portal = Portal("test")
    yield portal
    portal.close()


async def where() -> threading.Thread:
    return threading.current_thread()


def test_a_call_runs_on_the_portal_and_waits(portal: Portal) -> None:
    assert portal.call(where()) is not threading.current_thread()
    assert portal.call(where()) is portal.call(where())


def test_an_error_reaches_the_caller(portal: Portal) -> None:
    async def fail() -> None:
        raise LookupError("no")

    with pytest.raises(LookupError, match="no"):
        portal.call(fail())


def test_a_call_inside_a_running_loop_does_not_stop_the_portal(portal: Portal) -> None:
    async def outer() -> threading.Thread:
        return portal.call(where())

    assert asyncio.run(outer()) is portal.call(where())


def test_a_blocking_call_on_the_portal_itself_is_refused(portal: Portal) -> None:
    async def inner() -> None:
        portal.call(where())

    with pytest.raises(RuntimeError, match="await the async twin"):
        portal.call(inner())


def test_a_bridge_waits_from_any_loop(portal: Portal) -> None:
    async def outer() -> threading.Thread:
        return await portal.bridge(where())

    home = portal.call(where())
    assert asyncio.run(outer()) is home
    assert asyncio.run(outer()) is home
    assert portal.call(outer()) is home


def test_a_bridge_that_is_cancelled_cancels(portal: Portal) -> None:
    cancelled = threading.Event()

    async def long() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async def outer() -> None:
        async with asyncio.timeout(0.05):
            await portal.bridge(long())

    with pytest.raises(TimeoutError):
        asyncio.run(outer())
    assert cancelled.wait(5)


def test_an_errand_runs_in_the_thread_that_waits(portal: Portal) -> None:
    async def ask() -> list[object]:
        def errand(value: int) -> object:
            # The caller may call again while it is being asked.
            return (threading.current_thread(), value, portal.call(where()) is not threading.current_thread())

        return [await in_caller(errand, value) for value in (1, 2)]

    me = threading.current_thread()
    assert portal.call(ask()) == [(me, 1, True), (me, 2, True)]
    assert asyncio.run(ask()) == [(me, 1, True), (me, 2, True)]


def test_what_an_errand_raises_reaches_the_coroutine(portal: Portal) -> None:
    async def ask() -> str:
        try:
            await in_caller(int, "x")
        except ValueError as problem:
            return str(problem)
        return ""

    assert "invalid literal" in portal.call(ask())


def test_the_caller_s_context_goes_along(portal: Portal) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="")

    async def read() -> str:
        return variable.get()

    variable.set("mine")
    assert portal.call(read()) == "mine"


def test_many_threads_call_at_once(portal: Portal) -> None:
    async def wait(value: int) -> int:
        await asyncio.sleep(0.05)
        return value

    told: list[int] = []
    threads = [threading.Thread(target=lambda v=v: told.append(portal.call(wait(v)))) for v in range(20)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == list(range(20))
    assert time.monotonic() - began < 1


def test_a_background_task_is_cancelled_when_the_portal_closes() -> None:
    portal, ended = Portal("closing"), threading.Event()

    async def long() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    portal.spawn(long(), "long")
    portal.call(where())
    portal.close()
    assert ended.is_set()
    portal.close()
    assert portal.call(where()) is not threading.current_thread()
    portal.close()
