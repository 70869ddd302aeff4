"""What can be asked of a running engine: starts, reports, answers, signals and controls, retries and forks."""

import asyncio
from typing import Any

import pytest

from agentspan.core import events as e
from agentspan.core.fork import fold
from agentspan.engine import providers
from agentspan.engine.engine import Engine
from agentspan.errors import BadInput, Conflict, NotFound
from agentspan.store.views import Report
from tests.engine.house import (
    agent,
    calls,
    complete,
    ended,
    facts,
    fail,
    log,
    requests,
    result,
    script,
    start,
    take,
    team,
    tool,
    until,
    working,
)


async def told(engine: Engine, execution: str) -> list[str]:
    return [each["content"] for each in await engine.reads.messages(execution) if each["role"] == "tool"]


async def test_fifty_starts_at_once_with_one_key_begin_one_execution(engine: Engine) -> None:
    spec = agent(script("hi"))
    started = await asyncio.gather(*(engine.start(spec, {"prompt": "x"}, idempotency_key="k") for _ in range(50)))
    assert len({each.execution_id for each in started}) == 1
    assert sorted(each.existing for each in started) == [False] + [True] * 49
    await ended(engine, started[0].execution_id)
    assert await engine.start(spec, {"prompt": "x"}, idempotency_key="k") == started[1]
    assert await engine.reads.counts() == {"COMPLETED": 1}


async def test_a_key_counts_for_its_agent_alone(engine: Engine) -> None:
    one, two = (agent(script("hi"), name=name) for name in ("one", "two"))
    begun = [await start(engine, spec, idempotency_key="k") for spec in (one, two, one)]
    assert begun[0] == begun[2] != begun[1]


async def test_a_second_report_changes_nothing_and_says_so(engine: Engine) -> None:
    execution = await start(engine, agent(script(calls("a"), "{result}"), "a"))
    task = await take(engine, "a")
    assert (await complete(engine, task, "first")).landed
    second = await complete(engine, task, "second")
    assert not second.landed
    assert "settled" in second.reason
    assert await result(engine, execution) == "first"
    after_the_end = await fail(engine, task)
    assert not after_the_end.landed


async def test_of_many_reports_at_once_one_lands(engine: Engine) -> None:
    execution = await start(engine, agent(script(calls("a"), "{result}"), "a"))
    task = await take(engine, "a")
    receipts = await asyncio.gather(*(complete(engine, task, f"nr {n}") for n in range(20)))
    assert [each.landed for each in receipts].count(True) == 1
    await ended(engine, execution)
    landed = [each for each in facts(await log(engine, execution), e.TaskCompleted) if "result" in (each.output or {})]
    assert len(landed) == 1


async def test_a_report_of_what_never_was_says_so(engine: Engine) -> None:
    unknown = Report(task_id="01890000-0000-7000-8000-000000000000.t3", status="COMPLETED")
    receipt = (await engine.report([unknown]))[0]
    assert (receipt.landed, receipt.reason) == (False, "there is no such execution")
    with pytest.raises(NotFound):
        await engine.report([Report(task_id="nonsense", status="COMPLETED")])


async def test_a_report_with_an_unknown_status_is_refused_and_the_task_stays_open(engine: Engine) -> None:
    execution = await start(engine, agent(script(calls("a"), "{result}"), "a"))
    task = await take(engine, "a")
    with pytest.raises(BadInput, match="COMPLETED, FAILED"):
        await engine.report([Report(task_id=task.task_id, status="DONE")])
    assert (await complete(engine, task)).landed
    assert await result(engine, execution) == "ok"


async def test_a_sub_agents_task_ends_with_its_execution_and_not_by_a_report(engine: Engine) -> None:
    execution = await start(engine, team("t", "sequential", agent(script(calls("a"), "mine"), "a", name="one")))
    task = await take(engine, "a")
    speaking = next(each for each in await engine.reads.tasks(execution) if each.kind == "agent")
    receipt = await complete(engine, speaking, "not mine")
    assert not receipt.landed
    await complete(engine, task)
    assert await result(engine, execution) == "mine"


async def test_two_approvals_are_open_at_once_and_answered_in_any_order(engine: Engine) -> None:
    spec = agent(
        script(calls("pay", "ship"), "done"), tool("pay", approval_required=True), tool("ship", approval_required=True)
    )
    execution = await start(engine, spec)
    first, second = await requests(engine, execution, 2)
    assert (first.tool, second.tool) == ("pay", "ship")
    await engine.respond(execution, {"approved": True}, request_id=second.request_id)
    await complete(engine, await take(engine, "ship"), "shipped")
    assert [each.request_id for each in await engine.reads.requests()] == [first.request_id]
    await engine.respond(execution, {"approved": True}, request_id=first.request_id)
    await complete(engine, await take(engine, "pay"), "paid")
    assert await result(engine, execution) == "done"
    assert await told(engine, execution) == ["paid", "shipped"]


async def test_an_approval_holds_back_no_other_call_of_the_turn(engine: Engine) -> None:
    spec = agent(script(calls("pay", "look"), "done"), tool("pay", approval_required=True), "look")
    execution = await start(engine, spec)
    await complete(engine, await take(engine, "look"), "seen")
    await engine.respond(execution, {"approved": False})
    assert await result(engine, execution) == "done"


async def test_the_approver_edits_the_arguments(engine: Engine) -> None:
    execution = await start(
        engine, agent(script(calls("pay", amount=1000), "done"), tool("pay", approval_required=True))
    )
    (request,) = await requests(engine, execution, 1)
    assert request.arguments == {"amount": 1000}
    await engine.respond(execution, {"approved": True, "arguments": {"amount": 10}}, by="ann")
    task = await take(engine, "pay")
    assert task.input == {"amount": 10}
    await complete(engine, task)
    await ended(engine, execution)


async def test_a_rejection_is_told_to_the_model_and_the_tool_does_not_run(engine: Engine) -> None:
    execution = await start(engine, agent(script(calls("pay"), "as you wish"), tool("pay", approval_required=True)))
    await requests(engine, execution, 1)
    await engine.respond(execution, {"approved": False, "reason": "too much"})
    view = await ended(engine, execution)
    assert view.row.finish_reason == "rejected"
    assert await told(engine, execution) == ["Rejected by a person: too much"]
    assert [each.kind for each in await engine.reads.tasks(execution)] == ["llm", "human", "llm"]


async def test_a_second_answer_is_a_conflict(engine: Engine) -> None:
    execution = await start(engine, agent(script(calls("pay"), "done"), tool("pay", approval_required=True)))
    (request,) = await requests(engine, execution, 1)
    answers = [
        engine.respond(execution, {"approved": True, "reason": str(n)}, request_id=request.request_id) for n in range(5)
    ]
    done = await asyncio.gather(*answers, return_exceptions=True)
    assert sorted(type(each).__name__ for each in done) == ["Conflict"] * 4 + ["Receipt"]
    with pytest.raises(Conflict, match="waits for an answer"):
        await engine.respond(execution, {"approved": True})


async def test_an_approval_below_is_seen_and_answered_at_the_root(engine: Engine) -> None:
    child = agent(script(calls("pay"), "done"), tool("pay", approval_required=True), name="clerk")
    execution = await start(engine, team("office", "sequential", child))
    (request,) = await requests(engine, execution, 1)
    assert request.path == ("clerk",)
    assert request.execution_id != execution
    await engine.respond(execution, {"approved": True})
    await complete(engine, await take(engine, "pay"))
    assert await result(engine, execution) == "done"


async def test_a_paused_tree_keeps_results_and_goes_on_when_resumed(engine: Engine) -> None:
    child = agent(script(calls("a"), "done"), "a", name="child")
    execution = await start(engine, team("t", "sequential", child))
    other = await start(engine, agent(script(calls("b"), "other"), "b"))
    task = await take(engine, "a")
    await engine.pause(execution)
    assert (await engine.reads.row(task.execution_id)).status == "PAUSED"
    await complete(engine, task)
    before = len(await log(engine, execution))
    await complete(engine, await take(engine, "b"))
    assert await result(engine, other) == "other"
    assert len(await log(engine, execution)) == before
    await engine.resume(execution)
    assert await result(engine, execution) == "done"


async def test_what_is_not_paused_cannot_be_resumed(engine: Engine) -> None:
    execution = await start(engine, agent(script(calls("a")), "a"))
    with pytest.raises(Conflict, match="not paused"):
        await engine.resume(execution)


async def test_a_stop_lets_what_runs_finish_and_asks_nothing_new(engine: Engine) -> None:
    child = agent(script({**calls("a"), "content": "let me see"}, "never said"), "a", name="child")
    execution = await start(engine, team("t", "sequential", child, agent(script("never"), name="next")))
    task = await take(engine, "a")
    await engine.stop(execution)
    await complete(engine, task)
    view = await ended(engine, execution)
    assert (view.row.status, view.row.finish_reason) == ("COMPLETED", "stopped")
    assert view.output is not None
    assert view.output["result"] == "let me see"


async def test_a_cancel_ends_the_whole_tree_at_once(engine: Engine) -> None:
    slow = agent(script({"content": "late", "delay_ms": 60_000}), name="slow")
    spec = team("t", "parallel", slow, agent(script(calls("a")), "a", name="child"))
    execution = await start(engine, spec)
    task = await take(engine, "a")
    await until(lambda: engine.builtin["llm"].busy)
    await engine.cancel(execution, "enough")
    assert {row.status for row in await engine.reads.children(execution)} == {"TERMINATED"}
    assert (await engine.reads.row(execution)).reason == "enough"
    assert await engine.reads.queues() == []
    await until(lambda: not engine.builtin["llm"].busy)
    assert not (await complete(engine, task)).landed
    assert (await engine.extend([task.task_id], "w"))[1] == [task.task_id]
    await engine.cancel(execution)
    with pytest.raises(Conflict, match="TERMINATED"):
        await engine.signal(execution, "hello?")


async def test_controls_wake_nothing_else(engine: Engine) -> None:
    quiet = [await start(engine, agent(script(calls("b")), "b")) for _ in range(3)]
    for _ in quiet:
        await take(engine, "b")
    before = [len(await log(engine, each)) for each in quiet]
    execution = await start(engine, agent(script(calls("a")), "a"))
    await take(engine, "a")
    for control in (engine.pause, engine.resume, engine.stop, engine.cancel):
        await control(execution)
    assert [len(await log(engine, each)) for each in quiet] == before


@pytest.mark.parametrize("control", ["pause", "resume", "stop", "cancel", "retry"])
async def test_a_control_of_what_never_was_is_not_found(engine: Engine, control: str) -> None:
    with pytest.raises(NotFound):
        await getattr(engine, control)("01890000-0000-7000-8000-000000000000")


async def test_a_signal_stays_until_the_next_one_and_can_be_cleared(engine: Engine) -> None:
    seen: list[str] = []

    def answer(request: Any) -> dict[str, Any]:
        seen.append(str(request.messages[0]["content"]))
        return calls("a") if len(seen) < 4 else {"content": "done"}

    providers.register("signals", answer)
    execution = await start(engine, agent("scripted/signals", "a", instructions="Be kind."))
    for message in ("hurry", None, ""):
        task = await take(engine, "a")
        if message is not None:
            await engine.signal(execution, message)
        await complete(engine, task)
    await ended(engine, execution)
    assert ["hurry" in each for each in seen] == [False, True, True, False]
    assert all("Be kind." in each for each in seen)


async def test_a_signal_reaches_sub_agents_that_start_later(engine: Engine) -> None:
    spec = team(
        "t", "sequential", agent(script(calls("a"), "one"), "a", name="first"), agent(script("{prompt}"), name="last")
    )
    execution = await start(engine, spec)
    task = await take(engine, "a")
    await engine.signal(execution, "in French")
    await complete(engine, task)
    await ended(engine, execution)
    last = (await engine.reads.children(execution))[-1]
    assert "in French" in (await engine.reads.messages(last.execution_id))[0]["content"]


async def test_a_failed_tree_is_retried_in_place_from_the_point_of_failure(engine: Engine) -> None:
    answers = iter([{"errors": [{"status": 401, "message": "wrong key"}]}, {"content": "at last"}])
    providers.register("flaky", lambda request: next(answers))
    first = agent(script(calls("a"), "one"), "a", name="first")
    inner = team("inner", "sequential", first, agent("scripted/flaky", name="second"))
    execution = await start(engine, team("outer", "sequential", inner))
    done: list[int] = []
    async with working(engine, a=lambda: done.append(1)):
        failed = await ended(engine, execution)
        assert (failed.row.status, failed.row.reason) == ("FAILED", "inner: second: wrong key")
        before = await log(engine, execution)
        await engine.retry(execution)
        assert await result(engine, execution) == "at last"
    assert done == [1]
    after = await log(engine, execution)
    assert after[: len(before)] == before
    assert [fact.name for fact in facts(after[len(before) :], e.TaskScheduled)] == ["scripted/flaky"]


async def test_a_retry_of_what_has_not_failed_is_a_conflict(engine: Engine) -> None:
    execution = await start(engine, agent(script(calls("a"), "done"), "a"))
    task = await take(engine, "a")
    with pytest.raises(Conflict, match="only an ended one"):
        await engine.retry(execution)
    await complete(engine, task)
    await ended(engine, execution)
    with pytest.raises(Conflict, match="COMPLETED; fork it"):
        await engine.retry(execution)


async def test_a_cancelled_tree_goes_on_after_a_retry(engine: Engine) -> None:
    spec = team("t", "sequential", agent(script(calls("a"), "done"), "a", name="child"))
    execution = await start(engine, spec)
    old = await take(engine, "a")
    await engine.cancel(execution)
    await engine.retry(execution)
    new = await take(engine, "a")
    assert new.task_id != old.task_id
    assert not (await complete(engine, old)).landed
    await complete(engine, new)
    assert await result(engine, execution) == "done"


async def test_a_fork_at_every_event_has_the_same_past_and_repeats_nothing_of_it(engine: Engine) -> None:
    child = agent(script(calls("a", "b"), "{results}"), "a", tool("b", approval_required=True), name="child")
    spec = team("t", "sequential", child, agent(script("after: {prompt}"), name="after"))
    execution = await start(engine, spec)
    async with working(engine, a="A", b="B"):
        await requests(engine, execution, 1)
        await engine.respond(execution, {"approved": True})
        said = await result(engine, execution)
        events = await log(engine, execution)
        approved = next(
            x.seq for x in events if isinstance(x.fact, e.TaskCompleted) and "approved" in (x.fact.output or {})
        )
        for at in range(1, len(events)):
            forked = await engine.fork(execution, at)
            if at < approved:
                await requests(engine, forked, 1)
                await engine.respond(forked, {"approved": True})
            assert await result(engine, forked) == said, f"forked at {at}"
            copy = await log(engine, forked)
            assert copy[:at] == events[:at]
            assert isinstance(copy[at].fact, e.ExecutionForked)
            settled = {fact.task for fact in facts(events[:at], e.TaskCompleted)}
            slots = {
                (event.execution, event.fact.turn, event.fact.slot) for event in events[:at] if event.seq in settled
            }
            again = {(x.execution, x.fact.turn, x.fact.slot) for x in copy[at:] if isinstance(x.fact, e.TaskScheduled)}
            assert not slots & again, f"forked at {at}"
            ours, theirs = fold("", copy[:at]).runs, fold("", events[:at]).runs
            assert ours == theirs


async def test_a_fork_with_another_output_goes_another_way(engine: Engine) -> None:
    execution = await start(engine, agent(script(calls("a"), "I read {result}"), "a"))
    async with working(engine, a="A"):
        assert await result(engine, execution) == "I read A"
    events = await log(engine, execution)
    at = next(
        x.seq for x in events if isinstance(x.fact, e.TaskCompleted) and (x.fact.output or {}).get("result") == "A"
    )
    forked = await engine.fork(execution, at, {"output": "B"})
    assert await result(engine, forked) == "I read B"
    view = await engine.reads.execution(forked)
    assert (view.forked_from, view.forked_at) == (execution, at)


async def test_a_fork_with_another_model_and_other_instructions(engine: Engine) -> None:
    execution = await start(engine, agent(script("one"), instructions="old"))
    assert await result(engine, execution) == "one"
    forked = await engine.fork(execution, 1, {"model": script("two"), "instructions": "new"})
    assert await result(engine, forked) == "two"
    assert (await engine.reads.messages(forked))[0]["content"] == "new"
    assert (await engine.reads.messages(execution))[0]["content"] == "old"


async def test_a_fork_outside_the_log_is_refused(engine: Engine) -> None:
    execution = await start(engine, agent(script("one")))
    await ended(engine, execution)
    last = len(await log(engine, execution))
    for at in (0, last, last + 1):
        with pytest.raises(BadInput):
            await engine.fork(execution, at)
    with pytest.raises(BadInput, match="unknown edits"):
        await engine.fork(execution, 1, {"colour": "red"})
    with pytest.raises(NotFound):
        await engine.fork("01890000-0000-7000-8000-000000000000", 1)


async def test_a_rerun_from_a_task_goes_on_from_just_before_it(engine: Engine) -> None:
    execution = await start(engine, agent(script(calls("a"), "{result}"), "a"))
    async with working(engine, a=iter("AB").__next__):
        assert await result(engine, execution) == "A"
        tasks = await engine.reads.tasks(execution)
        again = await engine.rerun(execution, tasks[1].task_id)
        assert await result(engine, again) in ("A", "B")
    assert [each.name for each in await engine.reads.tasks(again)] == [each.name for each in tasks]


async def test_an_agent_is_deployed_in_versions_and_undeployed(engine: Engine) -> None:
    spec = agent(script("one"), name="known")
    assert [await engine.deploy(spec), await engine.deploy(spec)] == [1, 1]
    assert await engine.deploy(agent(script("two"), name="known")) == 2
    assert (await engine.definition("known"))[1] == 2
    assert (await engine.definition("known", 1))[0] == spec
    await engine.undeploy("known")
    assert (await engine.definition("known"))[1] == 1
    with pytest.raises(NotFound):
        await engine.undeploy("unknown")
