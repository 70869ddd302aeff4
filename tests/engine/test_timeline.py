"""One run looked into: spans of time, one task closely, the run as it stood at an event."""

from collections.abc import Callable
from typing import Any

import pytest

from agentspan.core.ids import task_id
from agentspan.core.timeline import Span
from agentspan.engine import providers
from agentspan.engine.engine import Engine
from agentspan.engine.inspection import Inspection, inspect
from agentspan.errors import NotFound
from agentspan.store.moments import Moment, moment
from agentspan.store.timeline import Timeline, timeline
from tests.engine.house import (
    agent,
    calls,
    complete,
    ended,
    fail,
    log,
    requests,
    script,
    start,
    take,
    team,
    tool,
    until,
)

Json = dict[str, Any]


async def lines(engine: Engine, execution: str, after: int = 0) -> Timeline:
    return await engine.reads.query(lambda c: timeline(engine.reads, c, execution, after))


async def at(engine: Engine, execution: str, seq: int) -> Moment:
    return await engine.reads.query(lambda c: moment(engine.reads, c, execution, seq))


async def closely(engine: Engine, span: Span) -> Inspection:
    return await inspect(engine.reads, span.task_id)


def one(line: Timeline, **wanted: Any) -> Span:
    [found] = [each for each in line.spans if all(getattr(each, key) == value for key, value in wanted.items())]
    return found


def overheard(name: str, answers: Callable[[Any], Any]) -> tuple[str, list[Any]]:
    """A model that gives these answers, and what it was asked."""
    asked: list[Any] = []

    def answer(request: Any) -> Any:
        asked.append(request)
        return answers(request)

    providers.register(name, answer)
    return f"scripted/{name}", asked


async def test_a_span_says_when_a_call_waited_ran_and_ended_and_what_it_was_about(engine: Engine) -> None:
    spec = agent(script(calls("search", q="kites"), {"content": "They fly."}), "search")
    execution = await start(engine, spec)
    waiting = one(await until_open(engine, execution, "search"), name="search")
    assert (waiting.status, waiting.started_at, waiting.ended_at, waiting.end_seq) == ("SCHEDULED", 0, None, None)
    task = await take(engine, "search", worker="w1")
    running = one(await lines(engine, execution), name="search")
    assert (running.status, running.worker) == ("IN_PROGRESS", "w1")
    assert running.started_at >= running.available_at >= running.scheduled_at > 0
    await complete(engine, task, worker="w1")
    await ended(engine, execution)
    line = await lines(engine, execution)
    span = one(line, name="search")
    assert (span.kind, span.purpose, span.turn, span.call_id, span.ref) == ("worker", "act", 1, "call_1_0", "call_1_0")
    assert (span.status, span.worker, span.summary) == ("COMPLETED", "w1", '{"q": "kites"}')
    assert span.ended_at and span.ended_at >= span.started_at == running.started_at
    first, last = (each for each in line.spans if each.kind == "llm")
    assert (first.summary, last.summary) == ('search({"q": "kites"})', "They fly.")
    assert first.prompt_tokens > 0 and not first.cost_unknown
    [part] = line.executions
    assert (part.status, part.agent_name, part.turns, part.end_time is not None) == ("COMPLETED", "helper", 2, True)
    assert part.prompt_tokens == first.prompt_tokens + last.prompt_tokens
    assert line.last == (await log(engine, execution))[-1].seq


async def until_open(engine: Engine, execution: str, name: str) -> Timeline:
    """The timeline once a task of that name is open."""

    async def found() -> Timeline | None:
        line = await lines(engine, execution)
        return line if any(each.name == name and not each.ended_at for each in line.spans) else None

    line: Timeline = await until(found)
    return line


async def test_the_attempts_of_a_task_are_spans_of_their_own_that_know_each_other(engine: Engine) -> None:
    execution = await start(engine, agent(script(calls("a"), {"content": "done"}), "a"))
    await fail(engine, await take(engine, "a"), "first")
    await fail(engine, await take(engine, "a"), "second")
    await complete(engine, await take(engine, "a"))
    await ended(engine, execution)
    line = await lines(engine, execution)
    tries = [each for each in line.spans if each.name == "a"]
    assert [(each.attempt, each.status, each.error) for each in tries] == [
        (0, "FAILED", "first"), (1, "FAILED", "second"), (2, "COMPLETED", ""),
    ]  # fmt: skip
    assert [each.retried_task_id for each in tries] == ["", tries[0].task_id, tries[1].task_id]
    assert tries[1].available_at > tries[1].scheduled_at
    for each in tries:
        found = await closely(engine, each)
        assert [every.task_id for every in found.attempts] == [every.task_id for every in tries]
    patch = await lines(engine, execution, tries[2].seq - 1)
    assert one(patch, name="a", attempt=2).retried_task_id == tries[1].task_id


def crew() -> Any:
    """A team with a nested agent, tools that fail once, an approval and an agent that fails."""
    failing = agent(script({"errors": [{"status": 401, "message": "wrong key"}]}), name="broken")
    inner = team("inner", "sequential", agent(script(calls("a"), {"content": "one"}), "a", name="first"),
                 agent(script(calls("pay", sum=5), {"content": "two"}), tool("pay", approval_required=True),
                       name="second"))  # fmt: skip
    return team("outer", "parallel", inner, failing)


async def play(engine: Engine) -> str:
    execution = await start(engine, crew())
    await fail(engine, await take(engine, "a"))
    await complete(engine, await take(engine, "a"))
    [asked] = await requests(engine, execution, 1)
    await engine.respond(execution, {"approved": True}, request_id=asked.request_id, by="kim")
    await complete(engine, await take(engine, "pay"))
    await ended(engine, execution)
    return execution


async def test_a_patch_holds_what_events_after_its_number_touched_as_the_whole_tells_it(engine: Engine) -> None:
    execution = await play(engine)
    whole = await lines(engine, execution)
    spans = {each.seq: each for each in whole.spans}
    parts = {each.execution_id: each for each in whole.executions}
    for after in range(1, whole.last + 1):
        patch = await lines(engine, execution, after)
        assert patch.last == whole.last
        assert all(each == spans[each.seq] for each in patch.spans)
        assert all(each == parts[each.execution_id] for each in patch.executions)
        touched = {seq for seq, each in spans.items() if seq > after or (each.end_seq or 0) > after}
        assert {each.seq for each in patch.spans} == touched
    assert not patch.spans and not patch.executions


async def test_a_lease_that_no_event_tells_of_is_in_the_next_patch(engine: Engine) -> None:
    execution = await start(engine, agent(script(calls("a"), {"content": "done"}), "a"))
    line = await until_open(engine, execution, "a")
    assert one(await lines(engine, execution, line.last)).status == "SCHEDULED"
    await take(engine, "a", worker="w7")
    assert one(await lines(engine, execution, line.last)).worker == "w7"


async def test_the_timeline_of_an_agent_below_has_it_and_what_is_below_it(engine: Engine) -> None:
    execution = await play(engine)
    whole = await lines(engine, execution)
    inner = next(each for each in whole.executions if each.agent_name == "inner")
    assert [each.path for each in whole.executions if each.agent_name == "second"] == [("inner", "second")]
    part = await lines(engine, inner.execution_id)
    assert [each.agent_name for each in part.executions] == ["inner", "first", "second"]
    assert part.spans == [each for each in whole.spans if each.path[:1] == ("inner",)]
    assert {each.agent_name for each in part.spans} == {"inner", "first", "second"}
    patch = await lines(engine, inner.execution_id, part.spans[-1].seq - 1)
    assert patch.spans[-1] == part.spans[-1]


async def test_a_decision_of_a_person_is_a_span_from_the_question_to_the_answer(engine: Engine) -> None:
    execution = await play(engine)
    line = await lines(engine, execution)
    asked = one(line, kind="human")
    assert (asked.purpose, asked.worker, asked.status) == ("approve", "kim", "COMPLETED")
    assert asked.summary == '{"sum": 5} → approved'
    found = await closely(engine, asked)
    assert found.request is not None
    assert (found.request.status, found.request.decided_by, found.given) == ("answered", "kim", {"sum": 5})
    assert (found.output or {})["approved"] is True
    assert found.queue_ms == 0 and found.latency_ms >= 0


async def test_an_agent_that_is_retried_is_an_open_span_again(engine: Engine) -> None:
    answers = iter([{"errors": [{"status": 401, "message": "wrong key"}]}, {"content": "done"}])
    model, _ = overheard("retried", lambda request: next(answers))
    held = agent(script(calls("slow"), {"content": "x"}), "slow", name="b")
    execution = await start(engine, team("pair", "sequential", agent(model, name="a"), held))
    await ended(engine, execution)
    before = await lines(engine, execution)
    assert one(before, kind="agent").status == "FAILED_WITH_TERMINAL_ERROR"
    await engine.retry(execution)
    line = await until_open(engine, execution, "slow")
    assert one(line, kind="agent", name="a").status == "COMPLETED"
    patch = await lines(engine, execution, before.last)
    assert one(patch, kind="agent", name="a") == one(line, kind="agent", name="a")
    assert one(line, kind="agent", name="b").ended_at is None


async def test_a_timeline_does_not_read_the_results_of_tools_that_stand_apart(engine: Engine) -> None:
    execution = await start(engine, agent(script(calls("a"), {"content": "done"}), "a"))
    await complete(engine, await take(engine, "a"), "x" * 100_000)
    await ended(engine, execution)
    read = await statements(engine, lambda: lines(engine, execution))
    assert not any("blobs" in each for each in read)
    assert len(read) <= 6


async def statements(engine: Engine, work: Callable[[], Any]) -> list[str]:
    """The statements that some work sends to the database."""
    import sqlalchemy as sa

    sent: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        sent.append(statement)

    sa.event.listen(engine.database.reading, "before_cursor_execute", note)
    try:
        await work()
    finally:
        sa.event.remove(engine.database.reading, "before_cursor_execute", note)
    return sent


async def test_the_timeline_of_an_unknown_run_is_not_found(engine: Engine) -> None:
    with pytest.raises(NotFound):
        await lines(engine, "01890000-0000-7000-8000-000000000000")
    with pytest.raises(NotFound):
        await inspect(engine.reads, task_id("01890000-0000-7000-8000-000000000000", 3))
    execution = await start(engine, agent(script({"content": "hi"})))
    await ended(engine, execution)
    with pytest.raises(NotFound):
        await inspect(engine.reads, task_id(execution, 1))
