"""Who works, and the sentence that says what is wrong with whom."""

from pathlib import Path
from typing import Any

import pytest

from agentspan.engine.engine import Engine
from agentspan.engine.roster import Roster, Signs, roster, span
from agentspan.store.views import LeaseView, PollView, QueueView
from tests.engine.house import agent, calls, complete, ended, opened, script, start, take, until

NOW = 1_000_000_000
TREE = "00000000-0000-7000-8000-000000000001"


def poll(ago: int, name: str = "refund", domain: str = "", worker: str = "w") -> PollView:
    return PollView(name=name, domain=domain, worker=worker, at=NOW - ago)


def lease(ago: int, left: int = 60_000, name: str = "refund", owner: str = "w") -> LeaseView:
    until = NOW + left if left else 0
    return LeaseView(
        task_id=f"{TREE}.t4", name=name, execution_id=TREE, domain="", owner=owner, since=NOW - ago, lease_until=until
    )


def depth(ready: int, oldest: int, name: str = "refund", domain: str = "") -> QueueView:
    return QueueView(name=name, domain=domain, ready=ready, leased=0, oldest_ms=oldest)


def look(polls: Any = (), leases: Any = (), queues: Any = (), **signs: int) -> Roster:
    heard = Signs()
    for what, ago in signs.items():
        heard.note("w", what, NOW - ago)
    return roster(NOW, polls, heard, leases, queues)


@pytest.mark.parametrize(
    ("given", "state", "healthy", "words"),
    [
        ({"polls": [poll(0)]}, "idle", True, "Waits for work"),
        ({"polls": [poll(0)], "leases": [lease(2_000)]}, "busy", True, "1 task of refund for 2 s"),
        ({"polls": [poll(40_000)], "leases": [lease(39_000)], "extended": 3_000}, "busy", True, "Works on 1 task"),
        ({"polls": [poll(20_000)], "leases": [lease(19_000)]}, "silent", False, "not heard of for 19 s"),
        ({"leases": [lease(240_000, left=-5)]}, "silent", False, "its lease is over"),
        ({"polls": [poll(0)], "leases": [lease(90_000)]}, "silent", False, "Takes tasks and reports none"),
        ({"polls": [poll(0)], "leases": [lease(90_000)], "reported": 5_000}, "busy", True, "Works on"),
        ({"polls": [poll(0)], "leases": [lease(90_000)], "extended": 5_000}, "busy", True, "Works on"),
        ({"polls": [poll(300_000)]}, "gone", False, "Not heard of for 5 min"),
        ({"polls": [poll(0)], "queues": [depth(3, 9_000)]}, "idle", False, "3 tasks waited for 9 s, and is given none"),
        (
            {"polls": [poll(0, domain="a")], "queues": [depth(1, 9_000, domain="b")]},
            "idle", False, "polls refund in domain 'a', but 1 task waited for 9 s in domain 'b', which it does not",
        ),
        (
            {"polls": [poll(0, domain="a")], "queues": [depth(1, 9_000, domain="b")], "received": 500_000},
            "idle", True, "Waits for work",
        ),
        ({"polls": [poll(11_000)], "queues": [depth(1, 10_000)]}, "idle", True, "Has not polled for 11 s."),
        (
            {"polls": [poll(11_000, domain="a")], "queues": [depth(1, 9_000, domain="b")]},
            "idle", True, "Has not polled for 11 s.",
        ),
        (
            {"polls": [poll(11_000), poll(0, "other")], "queues": [depth(1, 10_000)]}, "idle", True, "Waits for work.",
        ),
        ({"polls": [poll(11_000)], "reported": 1_000}, "idle", True, "Has not polled for 11 s."),
        ({"polls": [poll(0, "@llm")], "leases": [lease(90_000, 0, "@llm")]}, "busy", True, "a model call under way"),
    ],
)  # fmt: skip
def test_a_worker_is_what_it_was_heard_of(given: Any, state: str, healthy: bool, words: str) -> None:
    [worker] = look(**given).workers
    assert (worker.state, worker.healthy) == (state, healthy)
    assert words in worker.sentence


def test_what_another_worker_serves_is_no_fault_of_this_one() -> None:
    polls = [poll(0, domain="a"), poll(0, domain="b", worker="v")]
    found = {each.worker_id: each.healthy for each in look(polls, queues=[depth(1, 9_000, domain="b")]).workers}
    assert found == {"w": True, "v": False}


def test_who_has_been_gone_for_long_is_forgotten() -> None:
    assert look([poll(2 * 3_600_000)]).workers == []


def test_the_unwell_come_first() -> None:
    found = look([poll(0, worker="a"), poll(99_000, worker="b")], [lease(99_000, owner="b"), lease(1, owner="a")])
    assert [each.worker_id for each in found.workers] == ["b", "a"]


@pytest.mark.parametrize(
    ("given", "state", "words"),
    [
        ({"polls": [poll(0)]}, "ok", "Nothing waits"),
        ({"queues": [depth(2, 1_000)]}, "ok", "2 tasks to be taken"),
        ({"queues": [depth(2, 240_000)]}, "unserved", "no worker polls refund: run the cell or process that defines"),
        ({"queues": [depth(1, 9_000)], "polls": [poll(99_000)]}, "unserved", "1 task waited for 9 s"),
        ({"queues": [depth(1, 9_000)], "polls": [poll(11_000)]}, "unserved", "no worker polls refund"),
        (
            {"queues": [depth(1, 9_000)], "polls": [poll(40_000)], "leases": [lease(39_000)], "extended": 3_000},
            "lagging",
            "1 of its workers cannot keep up",
        ),
        ({"queues": [depth(9, 9_000)], "polls": [poll(9)]}, "lagging", "1 of its workers cannot keep up"),
        ({"queues": [depth(9, 9_000, "@llm")], "polls": [poll(9, "@llm")]}, "lagging", "provider's limits"),
    ],
)
def test_a_queue_says_why_its_tasks_wait(given: Any, state: str, words: str) -> None:
    [queue] = look(**given).queues
    assert queue.state == state
    assert words in queue.sentence


def test_people_are_no_workers() -> None:
    assert look(queues=[depth(5, 99_000, "@human")]).queues == []


@pytest.mark.parametrize(
    ("ms", "words"), [(999, "0 s"), (119_000, "119 s"), (60_000, "1 min"), (7_200_000, "2 h"), (200_000_000, "2 d")]
)
def test_a_length_of_time_is_said_in_one_unit(ms: int, words: str) -> None:
    assert span(ms) == words


def test_the_oldest_signs_are_forgotten() -> None:
    signs = Signs()
    for n in range(2_001):
        signs.note(f"w{n}", "reported", n + 1)
    assert signs.of("w0").last == 0
    assert signs.of("w2000").last == 2_001


async def test_what_one_server_heard_of_a_worker_is_known_to_the_others(postgres_url: str, tmp_path: Path) -> None:
    async with opened(postgres_url, tmp_path) as one, opened(postgres_url, tmp_path) as two:
        execution = await start(one, agent(script(calls("look"), "done"), "look"))
        task = await take(one, "look", worker="hand")
        await one.extend([task.task_id], "hand")
        await until(lambda: two.signs.of("hand") == one.signs.of("hand"))
        assert two.signs.of("hand").extended
        worker = next(each for each in (await two.roster()).workers if each.worker_id == "hand")
        assert (worker.state, worker.last_heard) == ("busy", max(worker.last_poll, one.signs.of("hand").last))
        await complete(two, task, worker="hand")
        await ended(one, execution)
        await until(lambda: one.signs.of("hand").reported)


async def test_real_workers_are_seen_at_work(engine: Engine) -> None:
    execution = await start(engine, agent(script(calls("look"), "done"), "look"))
    task = await take(engine, "look", worker="hand")
    found = {each.worker_id: each for each in (await engine.roster()).workers}
    [held] = found["hand"].in_flight
    assert (held.task_id, held.name, held.execution_id) == (task.task_id, "look", execution)
    assert [each.name for each in found["hand"].queues] == ["look"]
    assert found[engine.replica].healthy
    await complete(engine, task)
    await ended(engine, execution)
    worker = next(each for each in (await engine.roster()).workers if each.worker_id == "hand")
    assert (worker.state, list(worker.in_flight)) == ("idle", [])
    assert engine.signs.of("hand").reported
