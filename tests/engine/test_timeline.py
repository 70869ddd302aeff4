"""One run looked into: spans of time, one task closely, the run as it stood at an event."""

import json
from collections.abc import Callable
from random import Random
from typing import Any

import msgspec
import pytest

from agentspan.clock import new_id
from agentspan.core import events as e
from agentspan.core.ids import task_id
from agentspan.core.timeline import Span
from agentspan.engine import bundle, providers
from agentspan.engine.engine import Engine
from agentspan.engine.inspection import Inspection
from agentspan.engine.why import asked
from agentspan.errors import BadInput, NotFound
from agentspan.spec import wire
from agentspan.store import codec
from agentspan.store.ledger import Meta
from agentspan.store.moments import Moment
from agentspan.store.timeline import Timeline
from tests.core.programs import Program
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
    working,
)

Json = dict[str, Any]


async def lines(engine: Engine, execution: str, after: int = 0) -> Timeline:
    return await engine.history.timeline(execution, after)


async def at(engine: Engine, execution: str, seq: int) -> Moment:
    return await engine.history.moment(execution, seq)


async def closely(engine: Engine, span: Span) -> Inspection:
    return await engine.history.task(span.task_id)


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
    assert span.ended_at
    assert span.ended_at >= span.started_at == running.started_at
    first, last = (each for each in line.spans if each.kind == "llm")
    assert (first.summary, last.summary) == ('search({"q": "kites"})', "They fly.")
    assert first.prompt_tokens > 0
    assert not first.cost_unknown
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
    assert not patch.spans
    assert not patch.executions


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
    assert found.queue_ms == 0
    assert found.latency_ms >= 0


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
        await engine.history.task(task_id("01890000-0000-7000-8000-000000000000", 3))
    execution = await start(engine, agent(script({"content": "hi"})))
    await ended(engine, execution)
    with pytest.raises(NotFound):
        await engine.history.task(task_id(execution, 1))


@pytest.mark.parametrize(
    ("code", "outdated", "stale"),
    [
        ((), False, False),
        (("new",), False, False),
        (("old",), False, True),
        (("newest", "new"), False, False),
        (("new",), True, True),
    ],
)
async def test_a_call_is_flagged_whose_code_is_older_than_the_agent_s(
    engine: Engine, code: tuple[str, ...], outdated: bool, stale: bool
) -> None:
    execution = await start(
        engine, agent(script(calls("a", "b"), {"content": "x"}), tool("a", source_digest="new"), "b")
    )
    await complete(engine, await take(engine, "b"), code=code)
    await fail(engine, await take(engine, "a"), status="FAILED_WITH_TERMINAL_ERROR", code=code, outdated=outdated)
    await ended(engine, execution)
    line = await lines(engine, execution)
    assert one(line, name="a").stale_tool is stale
    assert not one(line, name="b").stale_tool


async def test_old_logs_have_no_code_and_new_ones_keep_it(engine: Engine) -> None:
    execution = await start(engine, agent(script(calls("a"), {"content": "x"}), "a"))
    await complete(engine, await take(engine, "a"), code=("d1", "d0"), outdated=True)
    await ended(engine, execution)
    [kept] = [x.fact for x in await log(engine, execution) if isinstance(x.fact, e.TaskCompleted) and x.fact.code]
    assert (kept.code, kept.outdated) == (("d1", "d0"), True)
    assert codec.decode(b'{"type":"TaskCompleted","task":3}') == e.TaskCompleted(3)
    for decode in (codec.decode, codec.sketch):
        told = decode(codec.encode(kept, 10_000)[0])
        assert isinstance(told, e.TaskCompleted)
        assert (told.code, told.outdated, told.worker) == (kept.code, True, kept.worker)


# What a model was sent


async def assert_sent(engine: Engine, execution: str, asked: list[Any]) -> list[Inspection]:
    """Every model call of the run is told as it was asked. `asked` is what the models heard, in their order."""
    line = await lines(engine, execution)
    found = [await closely(engine, each) for each in line.spans if each.kind == "llm"]
    assert len(found) == len(asked)
    for each, request in zip(found, asked, strict=True):
        assert each.asked is not None
        assert each.asked["messages"] == request.messages
        assert each.asked["tools"] == request.tools
        assert each.asked["parameters"]["model"] == request.model
        assert each.asked["parameters"].get("temperature") == request.temperature
        assert each.asked["parameters"].get("maxTokens") == request.max_tokens
    return found


def next_of(*answers: Any) -> Callable[[Any], Any]:
    given = iter(answers)
    return lambda request: next(given)


async def test_each_turn_is_told_with_the_messages_and_tools_that_its_model_was_sent(engine: Engine) -> None:
    model, asked = overheard(
        "turns", next_of(calls("a", x=1), {**calls("b"), "content": "hm"}, {"content": "third"}),
    )  # fmt: skip
    spec = agent(model, "a", tool("b", input_schema={"type": "object", "properties": {"x": {"type": "integer"}}}),
                 instructions="Be brief.", temperature=0.5)  # fmt: skip
    execution = await start(engine, spec)
    await complete(engine, await take(engine, "a"), "first")
    await engine.send(execution, {"message": "hurry"})
    await engine.signal(execution, "it is late")
    await complete(engine, await take(engine, "b"), "second")
    await ended(engine, execution)
    found = await assert_sent(engine, execution, asked)
    assert [len(each.asked["messages"]) for each in found] == [2, 4, 7]  # type: ignore[index]
    assert found[2].given == {}


async def test_the_questions_to_a_team_s_model_are_told_as_they_were_asked(engine: Engine) -> None:
    boss, asked = overheard("boss", next_of({"content": "a"}, {"content": "b"}, {"content": "DONE"}, {"content": "!"}))
    one_, two = agent(script({"content": "left"}), name="a"), agent(script({"content": "right"}), name="b")
    execution = await start(engine, team("boss", "handoff", one_, two, model=boss, instructions="Choose well."))
    await ended(engine, execution)
    line = await lines(engine, execution)
    own = [each for each in line.spans if each.kind == "llm" and each.agent_name == "boss"]
    assert [each.purpose for each in own] == ["choose", "choose", "choose", "speak"][: len(asked)]
    for span, request in zip(own, asked, strict=True):
        found = await closely(engine, span)
        assert found.asked
        assert found.asked["messages"] == request.messages


async def test_what_a_guardrail_s_model_and_a_summary_were_asked_is_told(engine: Engine) -> None:
    judge, judged = overheard("judge", lambda request: {"content": '{"passed": true, "reason": "fine"}'})
    model, asked = overheard(
        "long",
        lambda r: {"content": "summary"} if "Summarise" in str(r.messages[0]["content"])
        else {"content": "done"} if sum(m["role"] == "assistant" for m in r.messages) > 3
        or "Summary of" in str(r.messages) else calls("a"),
    )  # fmt: skip
    rail = {"name": "kind", "guardrailType": "llm", "model": judge, "policy": "be kind", "position": "output"}
    spec = agent(model, "a", guardrails=(rail,), context_window_budget=300)
    execution = await start(engine, spec)
    async with working(engine, a=lambda: "word " * 100):
        await ended(engine, execution)
    line = await lines(engine, execution)
    found = {each.seq: await closely(engine, each) for each in line.spans if each.kind == "llm"}
    assert {each.purpose for each in line.spans if each.kind == "llm"} == {"think", "judge", "condense"}
    told = [each.asked["messages"] for each in found.values() if each.asked and each.span.purpose == "judge"]
    assert told == [each.messages for each in judged]
    sent = [each.asked["messages"] for each in found.values() if each.asked and each.span.purpose != "judge"
            and "overflow" not in (each.output or {})]  # fmt: skip
    assert sent == [each.messages for each in asked]


async def test_messages_that_a_callback_gave_are_the_ones_that_are_told(engine: Engine) -> None:
    model, asked = overheard("called", lambda request: {"content": "ok"})
    spec = agent(model, callbacks=({"position": "before_model", "taskName": "helper_before_model"},))
    execution = await start(engine, spec)
    given = [{"role": "user", "content": "something else"}]
    await complete(engine, await take(engine, "helper_before_model"), {"messages": given})
    await ended(engine, execution)
    [found] = await assert_sent(engine, execution, asked)
    assert found.asked
    assert found.asked["messages"] == given
    hook = one(await lines(engine, execution), purpose="hook")
    assert (await closely(engine, hook)).given["messages"][-1]["content"] == "hello"


async def test_what_a_fork_shares_is_told_as_it_was_sent_there(engine: Engine) -> None:
    model, asked = overheard("shared", lambda r: {"content": "done"} if len(r.messages) > 2 else calls("a"))
    execution = await start(engine, agent(model, "a", instructions="Old."))
    await complete(engine, await take(engine, "a"))
    await ended(engine, execution)
    at_call = one(await lines(engine, execution), name="a").seq
    fork = await engine.fork(execution, at_call, {"instructions": "New."})
    await complete(engine, await take(engine, "a"))
    await ended(engine, fork)
    assert len(asked) == 3
    found = await assert_sent(engine, fork, [asked[0], asked[2]])
    assert [each.asked["messages"][0]["content"] for each in found if each.asked] == ["Old.", "New."]


async def test_masked_fields_are_masked_wherever_a_task_is_told(engine: Engine) -> None:
    model, _ = overheard("masked", next_of(calls("pay", card="4111", sum=3), {"content": "paid"}))
    spec = agent(model, tool("pay", approval_required=True), masked_fields=("card",))
    execution = await start(engine, spec)
    [asked] = await requests(engine, execution, 1)
    await engine.respond(execution, {"approved": True}, request_id=asked.request_id)
    await fail(engine, await take(engine, "pay"), '{"card": "4111"} refused', status="FAILED_WITH_TERMINAL_ERROR")
    await ended(engine, execution)
    line = await lines(engine, execution)
    told = [msgspec.json.encode(await closely(engine, each)) for each in line.spans]
    told += [msgspec.json.encode(await at(engine, execution, seq)) for seq in range(1, line.last + 1)]
    told.append(msgspec.json.encode(line))
    assert not any(b"4111" in each for each in told)
    assert any(b"***" in each for each in told)


# What a task was given, gave, and what a fork can change


async def test_a_task_is_told_with_what_it_was_given_and_gave_and_where_it_can_be_forked(engine: Engine) -> None:
    execution = await start(engine, agent(script(calls("a", x=1), {"content": "done"}), "a"))
    await complete(engine, await take(engine, "a"), {"n": 2}, logs=("looked", "found"))
    await ended(engine, execution)
    line = await lines(engine, execution)
    found = await closely(engine, one(line, name="a"))
    assert (found.given, found.output) == ({"x": 1}, {"n": 2})
    assert [text for _, text in found.logs] == ["looked", "found"]
    assert (found.fork_at, found.fork_edits) == (found.span.end_seq, ("output", "tool_result"))
    assert found.asked is None
    assert found.latency_ms >= 0
    for span in line.spans:
        each = await closely(engine, span)
        assert each.fork_at is not None
        edits = {"answer": "Another."} if "answer" in each.fork_edits else {}
        assert await engine.fork(execution, each.fork_at, edits)


async def test_a_failure_is_told_whole_and_an_agent_with_its_prompt(engine: Engine) -> None:
    execution = await start(engine, crew(), "the prompt")
    await fail(engine, await take(engine, "a"), "x" * 1500, status="FAILED_WITH_TERMINAL_ERROR")
    [_asked] = await requests(engine, execution, 1)
    line = await lines(engine, execution)
    failed = one(line, name="a")
    assert len(failed.error) == 500
    assert (await closely(engine, failed)).error == "x" * 1500
    below = await closely(engine, one(line, kind="agent", name="first"))
    assert below.given == {"prompt": "the prompt"}
    still = await closely(engine, one(line, kind="human"))
    assert (still.fork_at, still.output, still.request and still.request.status) == (still.span.seq, None, "open")


# The run as it stood


async def test_a_moment_is_the_run_as_it_stood_then(engine: Engine) -> None:
    execution = await play(engine)
    steps = await engine.history.steps(execution)
    whole = await lines(engine, execution)
    open_: set[str] = set()
    for line in steps:
        found = await at(engine, execution, line.seq)
        assert (found.kind, found.summary, found.agent, found.path) == (line.kind, line.summary, line.agent, line.path)
        assert (found.forkable, found.edits, found.at, found.turn) == (line.forkable, line.edits, line.at, line.turn)
        open_ = {each.task_id for each in whole.spans if each.seq <= line.seq < (each.end_seq or 10**9)}
        assert {each.task_id for each in found.pending} == open_
        assert len(json.dumps(found.messages)) > 10
    assert not open_
    assert found.status == (await engine.reads.row(execution)).status
    assert found.prompt_tokens == sum(each.prompt_tokens for each in whole.executions)
    assert found.elapsed_ms == found.at - whole.executions[0].start_time
    with pytest.raises(BadInput, match="1 to"):
        await at(engine, execution, len(steps) + 1)
    with pytest.raises(BadInput, match="name that one"):
        await at(engine, whole.executions[1].execution_id, 1)


async def test_a_moment_has_the_messages_state_and_cost_of_then(engine: Engine) -> None:
    model, asked = overheard("then", next_of(calls("a"), calls("b"), {"content": "done"}))
    given = {"prompt": "hello", "context": {"n": 1}}
    execution = (await engine.start(agent(model, "a", "b"), given)).execution_id
    await complete(engine, await take(engine, "a"), {"result": "one", "_state_updates": {"n": 2}})
    await complete(engine, await take(engine, "b"), "two")
    await ended(engine, execution)
    line = await lines(engine, execution)
    thinks = [each for each in line.spans if each.purpose == "think"]
    for span, request in zip(thinks, asked, strict=True):
        assert (await at(engine, execution, span.seq)).messages == request.messages
    states = [(await at(engine, execution, each.seq)).state["n"] for each in thinks]
    assert states == [1, 2, 2]
    tokens = [(await at(engine, execution, each.seq)).prompt_tokens for each in thinks]
    assert tokens[0] == 0 < tokens[1] < tokens[2]
    pending = (await at(engine, execution, thinks[1].seq)).pending
    assert [(each.name, each.kind, each.arguments) for each in pending] == [(thinks[1].name, "llm", {})]


# Whatever a run can be


@pytest.mark.parametrize("seed", range(6))
async def test_any_run_can_be_looked_into_at_any_place(engine: Engine, seed: int) -> None:
    """Random programs of everything that an agent can be, with failures and reports that make no sense."""
    chance = Random(seed)
    for _ in range(5):
        program = Program(chance.randbytes(chance.randint(60, 600))).run()
        program.spec = wire.load(wire.dump(program.spec))  # as it is stored: keys in their order
        meta = Meta(new_id(), wire.digest(program.spec), "", "", "", 0, 1, "", 0)
        execution, _ = await engine.history.take_in(bundle.write(meta, program.spec, program.log, [], []))
        line = await lines(engine, execution)
        spans = {each.seq: each for each in line.spans}
        orders = {x.seq: (x.execution, x.fact) for x in program.log if isinstance(x.fact, e.TaskScheduled)}
        assert spans.keys() == orders.keys()
        assert all(each.end_seq for each in line.spans)
        patch = await lines(engine, execution, chance.randint(1, line.last))
        assert all(each == spans[each.seq] for each in patch.spans)
        for seq, (number, order) in orders.items():
            found = await closely(engine, spans[seq])
            assert (found.asked or {}).get("messages") == program.shown(seq, number, order)
        for step in chance.sample(await engine.history.steps(execution), k=3):
            then = await at(engine, execution, step.seq)
            assert (then.kind, then.summary, then.edits) == (step.kind, step.summary, step.edits)
        assert (await asked(engine, execution)).reasons[0].code in ("ended", "failed", "budget")
