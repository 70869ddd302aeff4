"""Histories as a whole: forks of every kind, retries of every failure, runs compared, exported and imported."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agentspan.core import events as e
from agentspan.core.fork import fold
from agentspan.core.ids import split_execution
from agentspan.engine import bundle, providers
from agentspan.engine.engine import Engine
from agentspan.errors import BadInput, NotFound
from agentspan.spec.tool import ToolSpec
from agentspan.store import reads
from agentspan.store.ledger import Meta
from agentspan.store.views import Want
from tests.engine.house import (
    agent,
    calls,
    complete,
    ended,
    log,
    opened,
    requests,
    result,
    script,
    start,
    take,
    team,
    tool,
    working,
)
from tests.store.test_queue import explain

NUMBER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
WRONG_KEY = {"errors": [{"status": 401, "message": "wrong key"}]}


def in_turn(name: str, *answers: Any) -> str:
    """The model that gives these answers one after the other, whatever it is asked."""
    given = iter([{"content": each} if isinstance(each, str) else each for each in answers])
    providers.register(name, lambda request: next(given))
    return f"scripted/{name}"


async def at_result(engine: Engine, execution: str, value: Any) -> int:
    """The event that brings a tool's result."""
    return next(
        x.seq
        for x in await log(engine, execution)
        if isinstance(x.fact, e.TaskCompleted) and (x.fact.output or {}).get("result") == value
    )


# Forks


async def test_a_fork_in_a_session_does_not_write_the_session(engine: Engine) -> None:
    spec = agent(script("one", "two", "three", "four"))
    first = await start(engine, spec, session_id="s")
    assert await result(engine, first) == "one"
    forked = await engine.fork(first, 1)
    await ended(engine, forked)
    assert (await engine.reads.row(forked)).session_id == ""
    second = await start(engine, spec, "and now?", session_id="s")
    await ended(engine, second)
    said = [message["content"] for message in await engine.reads.messages(second)]
    assert said[:2] == ["hello", "one"]
    again = await engine.fork(second, 1)
    await ended(engine, again)
    assert [message["content"] for message in await engine.reads.messages(again)][:3] == said[:3]


async def test_a_failed_fork_of_a_session_run_can_be_retried(engine: Engine) -> None:
    spec = agent(in_turn("in-session", "one", "two", WRONG_KEY, "at last"))
    first = await start(engine, spec, session_id="s")
    await ended(engine, first)
    await ended(engine, await start(engine, spec, session_id="s"))
    forked = await engine.fork(first, 1)
    assert (await ended(engine, forked)).row.status == "FAILED"
    await engine.retry(forked)
    assert await result(engine, forked) == "at last"


async def test_an_open_request_is_asked_again_in_the_fork_and_answered_there_alone(engine: Engine) -> None:
    spec = agent(script(calls("pay", amount=5), "done"), tool("pay", approval_required=True))
    execution = await start(engine, spec)
    await requests(engine, execution, 1)
    at = next(x.seq for x in await log(engine, execution) if getattr(x.fact, "slot", "") == "approve.0")
    forked = await engine.fork(execution, at, {"arguments": {"amount": 7}})
    (asked,) = await requests(engine, forked, 1)
    assert asked.arguments == {"amount": 7}
    await engine.respond(forked, {"approved": True})
    await complete(engine, await take(engine, "pay"), "paid")
    assert await result(engine, forked) == "done"
    assert [each.arguments for each in await engine.reads.requests(execution)] == [{"amount": 5}]


async def test_a_fork_inside_an_agent_that_was_called_as_a_tool_changes_that_agent(engine: Engine) -> None:
    inner = agent(script("from the helper"), name="inner")
    ask = ToolSpec(name="ask", tool_type="agent_tool", config={"agentConfig": msgspec.to_builtins(inner)})
    execution = await start(engine, agent(script(calls("ask", request="who?"), "{result}"), ask))
    assert await result(engine, execution) == "from the helper"
    child = next(x for x in await log(engine, execution) if isinstance(x.fact, e.TaskScheduled) and x.execution)
    forked = await engine.fork(execution, child.seq, {"model": script("from another")})
    assert await result(engine, forked) == "from another"


async def test_a_fork_counts_no_money_twice(engine: Engine) -> None:
    execution = await start(engine, agent(script(calls("a"), "done"), "a"))
    async with working(engine, a="A"):
        await ended(engine, execution)
        before = sum(engine.spending.calls.values())
        await ended(engine, await engine.fork(execution, await at_result(engine, execution, "A")))
    assert (before, sum(engine.spending.calls.values())) == (2, 3)


async def test_forks_are_listed_where_they_came_from(engine: Engine) -> None:
    execution = await start(engine, agent(script("one")))
    await ended(engine, execution)
    assert await engine.history.forks(execution) == []
    forked = [await engine.fork(execution, at) for at in (1, 2)]
    assert [(row.execution_id, at) for row, at in await engine.history.forks(execution)] == [
        (forked[1], 2),
        (forked[0], 1),
    ]
    with pytest.raises(NotFound):
        await engine.history.forks("01890000-0000-7000-8000-000000000000")


async def test_forks_are_found_by_their_index(engine: Engine) -> None:
    plan = await explain(engine, reads.FORKS, {"tree": "x"})
    assert "ix_trees_forked_from" in plan, plan


async def test_a_fork_of_a_budget_that_was_used_up_goes_on_with_more(engine: Engine) -> None:
    execution = await engine.start(agent(script(calls("a"), "done"), "a"), {"prompt": "x", "budget": {"modelCalls": 1}})
    name = execution.execution_id
    async with working(engine, a="A"):
        assert (await ended(engine, name)).row.finish_reason == "budget"
        at = await at_result(engine, name, "A")
        assert (await ended(engine, await engine.fork(name, at))).row.finish_reason == "budget"
        assert await result(engine, await engine.fork(name, at, {"budget": {"modelCalls": 2}})) == "done"


# Retries


async def test_a_retry_goes_on_after_a_guardrail_that_refused_the_answer(engine: Engine) -> None:
    rail = {
        "name": "no-secrets",
        "guardrailType": "regex",
        "patterns": ["secret"],
        "position": "output",
        "onFail": "raise",
    }
    execution = await start(engine, agent(script(calls("a"), "a secret", "all is well"), "a", guardrails=(rail,)))
    await complete(engine, await take(engine, "a"))
    assert (await ended(engine, execution)).row.finish_reason == "guardrail"
    await engine.retry(execution)
    assert await result(engine, execution) == "all is well"
    assert len([x for x in await log(engine, execution) if getattr(x.fact, "slot", "") == "call.0"]) == 1


async def test_a_retry_of_a_used_budget_ends_for_it_again_and_goes_on_with_more(engine: Engine) -> None:
    started = await engine.start(agent(script(calls("a"), "done"), "a"), {"prompt": "x", "budget": {"modelCalls": 1}})
    name = started.execution_id
    async with working(engine, a="A"):
        await ended(engine, name)
        await engine.retry(name)
        assert (await ended(engine, name)).row.finish_reason == "budget"
        await engine.budget(name, {"modelCalls": 3})
        assert await result(engine, name) == "done"
    assert len([x for x in await log(engine, name) if getattr(x.fact, "slot", "") == "call.0"]) == 1


async def test_a_retry_after_an_answer_of_the_wrong_shape_asks_again(engine: Engine) -> None:
    spec = agent(script(*["no json"] * 6, '{"n": 1}'), output_type={"schema": NUMBER, "className": "N"})
    execution = await start(engine, spec)
    for _ in range(6):
        if (await ended(engine, execution)).row.status == "COMPLETED":
            break
        await engine.retry(execution)
    assert await result(engine, execution) == {"n": 1}


async def test_a_retry_after_a_time_out_of_the_run_gives_it_its_time_anew(engine: Engine, hands: Any) -> None:
    execution = await start(engine, agent(script(calls("a"), "done"), "a", timeout_seconds=10))
    old = await take(engine, "a")
    await hands.forward(engine, 11)
    assert (await ended(engine, execution)).row.status == "TIMED_OUT"
    await engine.retry(execution)
    new = await take(engine, "a")
    assert not (await complete(engine, old)).landed
    await complete(engine, new)
    assert await result(engine, execution) == "done"


async def test_a_retry_of_a_call_that_failed_for_good_in_a_sub_agent_goes_on_there(engine: Engine) -> None:
    inner = agent(in_turn("inner-key", WRONG_KEY, "at last"), name="inner")
    execution = await start(engine, team("t", "sequential", agent(script("first"), name="first"), inner))
    assert (await ended(engine, execution)).row.status == "FAILED"
    await engine.retry(execution)
    assert await result(engine, execution) == "at last"
    orders = [x.fact.name for x in await log(engine, execution) if isinstance(x.fact, e.TaskScheduled)]
    assert orders.count("first") == 1


# Comparisons


async def test_a_fork_is_compared_with_what_it_came_from(engine: Engine) -> None:
    execution = await start(engine, agent(script(calls("a"), "I read {result}"), "a"))
    async with working(engine, a="A"):
        await ended(engine, execution)
        at = await at_result(engine, execution, "A")
        forked = await engine.fork(execution, at, {"tool_result": "B"})
        await ended(engine, forked)
    found = await engine.history.compare(execution, forked)
    assert found.shared == at
    assert found.first_difference is not None
    assert found.first_difference.changes == [{"path": "got", "before": "A", "after": "B"}]
    assert [row.kind for row in found.rows if row.shared] == ["start", "answer"]
    assert (await engine.history.compare(forked, execution)).shared == at
    assert (await engine.history.compare(execution, execution)).same


# Files


async def test_a_run_that_was_exported_is_read_elsewhere_as_it_was(engine: Engine, tmp_path: Path) -> None:
    spec = team(
        "t",
        "sequential",
        agent(script(calls("a"), "{result}"), "a", name="one"),
        agent(script("x" * 9_000), name="two"),
    )
    execution = await start(engine, spec)
    task = await take(engine, "a")
    await complete(engine, task, {"big": "y" * 50_000}, logs=("line one", "line two"))
    await ended(engine, execution)
    data = await engine.history.export(execution)
    async with opened(f"sqlite:///{tmp_path}/other.db", tmp_path / "other") as other:
        name, before = await other.history.take_in(data)
        assert before == execution != name
        ours, theirs = await engine.reads.story(execution), await other.reads.story(name)
        assert theirs.view.output == ours.view.output
        assert theirs.view.input == ours.view.input
        assert theirs.messages == ours.messages
        assert [(t.name, t.status, t.input, t.output) for t in theirs.tasks] == [
            (t.name, t.status, t.input, t.output) for t in ours.tasks
        ]
        number = split_execution(task.task_id.replace(".t", ".e"))[1]
        assert [text for _, text in await other.reads.logs(f"{name}.t{number}")] == ["line one", "line two"]
        assert other.spending.calls == {}
        stored = await log(other, name)
        assert fold("", stored[1:]).runs.keys() == fold("", (await log(engine, execution))[1:]).runs.keys()
        assert (await other.reads.execution(name)).imported_from == execution
        copy = await other.history.export(name)
        assert bundle.read(copy).events[1:] == bundle.read(data).events[1:]


async def test_an_imported_run_can_be_forked_and_compared(engine: Engine) -> None:
    execution = await start(engine, agent(in_turn("imported", "one", "two")))
    await ended(engine, execution)
    name, _ = await engine.history.take_in(await engine.history.export(execution))
    forked = await engine.fork(name, 1)
    assert await result(engine, forked) == "two"
    assert (await engine.history.compare(execution, name)).same
    assert not (await engine.history.compare(name, forked)).same


async def test_an_imported_run_that_had_not_ended_ends_and_runs_nothing(engine: Engine, tmp_path: Path) -> None:
    child = agent(script(calls("a"), "done"), "a", name="child")
    execution = await start(engine, team("t", "sequential", child))
    await take(engine, "a")
    data = await engine.history.export(execution)
    async with opened(f"sqlite:///{tmp_path}/other.db", tmp_path / "other") as other:
        name, _ = await other.history.take_in(data)
        view = await other.reads.execution(name)
        assert (view.row.status, view.row.finish_reason) == ("TERMINATED", "imported")
        assert {row.status for row in await other.reads.children(name)} == {"TERMINATED"}
        assert await other.poll([Want("a")], "w") == []
    assert (await engine.reads.row(execution)).status == "RUNNING"


async def test_an_imported_run_goes_on_if_that_is_asked(engine: Engine, tmp_path: Path) -> None:
    execution = await start(engine, agent(script(calls("a"), "I read {result}"), "a"))
    await take(engine, "a")
    data = await engine.history.export(execution)
    async with opened(f"sqlite:///{tmp_path}/other.db", tmp_path / "other") as other:
        name, _ = await other.history.take_in(data, resume=True)
        await complete(other, await take(other, "a"), "A")
        assert await result(other, name) == "I read A"


async def test_what_was_said_before_in_the_session_comes_with_the_file(engine: Engine, tmp_path: Path) -> None:
    spec = agent(script("one", calls("a"), "two"), "a")
    await ended(engine, await start(engine, spec, session_id="s"))
    execution = await start(engine, spec, "and now?", session_id="s")
    await take(engine, "a")
    data = await engine.history.export(execution)
    assert (await engine.reads.messages(execution))[0]["content"] == "hello"
    async with opened(f"sqlite:///{tmp_path}/other.db", tmp_path / "other") as other:
        for resume in (False, True):
            name, _ = await other.history.take_in(data, resume=resume)
            assert (await other.reads.messages(name))[:2] == (await engine.reads.messages(execution))[:2]
        await complete(other, await take(other, "a"), "A")
        assert await result(other, name) == "two"


async def test_no_key_is_needed_to_read_a_run_and_one_to_let_it_go_on(engine: Engine, monkeypatch: Any) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-used")
    execution = await start(engine, agent("openai/gpt-4o-mini", "a", prefill_tools=({"name": "a", "arguments": {}},)))
    await take(engine, "a")
    data = await engine.history.export(execution)
    assert b"sk-not-used" not in data
    await engine.cancel(execution)
    monkeypatch.delenv("OPENAI_API_KEY")
    name, _ = await engine.history.take_in(data)
    assert (await engine.reads.row(name)).status == "TERMINATED"
    with pytest.raises(BadInput, match="OPENAI_API_KEY"):
        await engine.history.take_in(data, resume=True)


async def test_what_agents_mask_is_masked_in_the_file(engine: Engine) -> None:
    spec = agent(script(calls("a", pin="1234"), "done"), "a", masked_fields=("pin",))
    execution = await start(engine, spec)
    await complete(engine, await take(engine, "a"), {"pin": "5678", "ok": True}, logs=('{"pin": "9999"}',))
    await ended(engine, execution)
    data = await engine.history.export(execution)
    for secret in (b"1234", b"5678", b"9999"):
        assert secret not in data.replace(execution.encode(), b"")
    name, _ = await engine.history.take_in(data)
    assert await result(engine, name) == "done"


async def test_a_file_that_cannot_be_read_says_what_is_wrong_with_it(engine: Engine) -> None:
    execution = await start(engine, agent(script("one")))
    await ended(engine, execution)
    data = await engine.history.export(execution)
    lines = data.splitlines(keepends=True)
    head = {**json.loads(lines[0]), "version": 99}
    for wrong, said in [
        (b"hello", "line 1 of the file is not one of an exported run"),
        (b"", "is no exported run"),
        (b"".join(lines[1:]), "is no exported run"),
        (b"".join(lines[:-1]), "is not whole"),
        (b"".join([*lines[:3], *lines[4:]]), "is not whole"),
        (data.replace(b'"one"', b'"two"'), "was changed after it was written"),
        (b"".join([json.dumps(head).encode() + b"\n", *lines[1:]]), "version 99 of the format .* upgrade"),
    ]:
        with pytest.raises(BadInput, match=said):
            await engine.history.take_in(wrong)


async def test_a_file_whose_events_make_no_run_is_refused(engine: Engine) -> None:
    execution = await start(engine, agent(script("one")))
    await ended(engine, execution)
    read = bundle.read(await engine.history.export(execution))
    odd = msgspec.structs.replace(read.events[1], fact=e.CallRefused(1, 5, "stopped"), execution=7)
    meta = Meta(execution, "")
    for events, said in [
        ([read.events[0], *read.events[2:]], "lacks the run's agent or some of its events"),
        ([msgspec.structs.replace(read.events[1], seq=1)], "do not begin with the start|do not make a run"),
        ([read.events[0], msgspec.structs.replace(odd, fact=e.ExecutionStarted(path=(9,)))], "do not make a run"),
    ]:
        whole = [msgspec.structs.replace(read.events[0]), *events[1:]] if events[0].seq != 1 else events
        with pytest.raises(BadInput, match=said):
            bundle.read(_written(meta, read.spec, whole))


def _written(meta: Any, spec: Any, events: list[e.Event]) -> bytes:
    """A file of these events, whatever they are: whole and with its digest."""
    import hashlib

    good = bundle.write(meta, spec, [e.Event(1, 0, 0, e.ExecutionStarted({"prompt": "x"}))], [], [])
    head, agent_, *_ = good.splitlines(keepends=True)
    body = head + agent_ + b"".join(msgspec.json.encode(bundle.Happened(x)) + b"\n" for x in events)
    end = bundle.End(len(events) + 2, hashlib.sha256(body).hexdigest())
    return body + msgspec.json.encode(end) + b"\n"


async def test_only_whole_runs_are_forked_compared_and_exported(engine: Engine) -> None:
    execution = await start(engine, team("t", "sequential", agent(script("one"), name="one")))
    await ended(engine, execution)
    (child,) = await engine.reads.children(execution)
    for asked in (
        engine.history.export(child.execution_id),
        engine.history.compare(execution, child.execution_id),
        engine.fork(child.execution_id, 1),
    ):
        with pytest.raises(BadInput, match=execution):
            await asked
