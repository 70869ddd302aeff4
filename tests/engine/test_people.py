"""What runs ask people: deadlines, who is asked next, defaults, and what is known of each decision."""

from pathlib import Path
from typing import Any

import pytest

from agentspan import clock
from agentspan.engine.engine import Engine
from agentspan.errors import BadInput, Conflict, Forbidden, NotFound
from agentspan.spec.agent import AgentSpec
from agentspan.spec.tool import ToolSpec
from tests.engine.house import (
    Hands,
    agent,
    calls,
    complete,
    ended,
    opened,
    requests,
    result,
    script,
    start,
    take,
    team,
    tool,
    until,
    working,
)  # fmt: skip


def payer(*answers: Any, **approval: Any) -> AgentSpec:
    """An agent that pays after approval, then says what came of it."""
    pay = tool("pay", approval_required=True, approval=approval or None)
    return agent(script(calls("pay", amount=5), *(answers or ("{result}",))), pay)


async def settled(engine: Engine, execution: str) -> list[tuple[str, Any, str]]:
    """Status, answer and who decided, of all requests."""
    found = await engine.reads.all_requests(execution)
    return [(each.status, each.answer, each.decided_by) for each in found]


async def test_a_request_that_nobody_answers_in_time_is_rejected_and_the_model_is_told(
    engine: Engine, hands: Hands
) -> None:
    execution = await start(engine, payer(deadlineSeconds=60, to=["kim"]))
    (request,) = await requests(engine, execution, 1)
    assert (request.deadline - request.since, request.to) == (60_000, ("kim",))
    await hands.forward(engine, 59)
    assert (await requests(engine, execution, 1))[0].request_id == request.request_id
    await hands.forward(engine, 2)
    assert "nobody answered before the deadline" in await result(engine, execution)
    ((status, answer, by),) = await settled(engine, execution)
    assert (status, answer["approved"], by) == ("expired", False, "deadline")


async def test_the_default_of_a_request_may_be_to_approve(engine: Engine, hands: Hands) -> None:
    execution = await start(engine, payer(deadlineSeconds=60, onDeadline="approve"))
    await requests(engine, execution, 1)
    await hands.forward(engine, 61)
    async with working(engine, pay="paid"):
        assert await result(engine, execution) == "paid"
    assert [(status, answer["approved"]) for status, answer, _ in await settled(engine, execution)] == [
        ("expired", True)
    ]


async def test_a_request_goes_to_the_next_person_when_the_first_is_late(engine: Engine, hands: Hands) -> None:
    steps = [{"to": ["boss"], "afterSeconds": 60}, {"to": ["board"], "afterSeconds": 60}]
    execution = await start(engine, payer(to=["kim"], deadlineSeconds=60, escalation=steps))
    (first,) = await requests(engine, execution, 1)
    asked = [first]
    for _ in steps:
        await hands.forward(engine, 61)
        (now,) = await requests(engine, execution, 1)
        asked.append(now)
    assert [each.to for each in asked] == [("kim",), ("boss",), ("board",)]
    assert len({each.request_id for each in asked}) == 3
    with pytest.raises(Conflict, match="it was expired"):
        await engine.respond(execution, {"approved": True}, request_id=first.request_id)
    await engine.respond(execution, {"approved": True}, request_id=asked[-1].request_id, by="board")
    async with working(engine, pay="paid"):
        assert await result(engine, execution) == "paid"
    assert [(status, by) for status, _, by in await settled(engine, execution)] == [
        ("expired", ""), ("expired", ""), ("answered", "board"),
    ]  # fmt: skip


async def test_a_deadline_passes_while_no_server_runs(database_url: str, tmp_path: Path, hands: Hands) -> None:
    async with opened(database_url, tmp_path) as engine:
        execution = await start(engine, payer(deadlineSeconds=3600))
        await requests(engine, execution, 1)
    hands.at += 3601
    async with opened(database_url, tmp_path) as engine:
        assert "nobody answered before the deadline" in await result(engine, execution)


async def test_a_deadline_wakes_the_server_by_itself(engine: Engine) -> None:
    execution = await start(engine, payer(deadlineSeconds=0.2))
    assert "nobody answered before the deadline" in await result(engine, execution)


async def test_a_question_has_a_deadline_too(engine: Engine, hands: Hands) -> None:
    ask = tool("ask", tool_type="human", config={"deadlineSeconds": 30, "to": ["kim"]})
    execution = await start(engine, agent(script(calls("ask", question="Which year?"), "{result}"), ask))
    (request,) = await requests(engine, execution, 1)
    assert (request.kind, request.arguments, request.to) == ("question", {"question": "Which year?"}, ("kim",))
    await hands.forward(engine, 31)
    assert "nobody answered" in await result(engine, execution)


async def test_who_decided_what_when_and_what_they_saw_is_kept(engine: Engine) -> None:
    execution = await start(engine, team("office", "sequential", payer()))
    (request,) = await requests(engine, execution, 1)
    before = clock.now_ms()
    await engine.respond(execution, {"approved": True, "arguments": {"amount": 3}}, by="kim")
    task = await take(engine, "pay")
    assert task.input == {"amount": 3}
    await complete(engine, task)
    await ended(engine, execution)
    (kept,) = await engine.reads.all_requests(execution, status="answered")
    assert (kept.request_id, kept.path, kept.arguments) == (request.request_id, ("helper",), {"amount": 5})
    assert (kept.decided_by, kept.answer) == ("kim", {"approved": True, "arguments": {"amount": 3}})
    assert before <= kept.decided_at <= clock.now_ms()
    assert kept.response_schema == request.response_schema
    assert await engine.reads.all_requests(execution, status="open") == []


async def test_the_same_answer_twice_is_one_answer_and_another_is_refused(engine: Engine) -> None:
    execution = await start(engine, payer())
    (request,) = await requests(engine, execution, 1)
    answer = {"approved": "yes", "reason": "fine"}
    first = await engine.respond(execution, answer, request_id=request.request_id, by="kim")
    assert (first.landed, first.decision) == (True, None)
    for again in (answer, {"approved": True, "reason": "fine"}):
        receipt = await engine.respond(execution, again, request_id=request.request_id, by="lee")
        assert not receipt.landed
        assert receipt.decision
        assert receipt.decision.decided_by == "kim"
    with pytest.raises(Conflict, match=r"answered by kim.*fine"):
        await engine.respond(execution, {"approved": False}, request_id=request.request_id)
    with pytest.raises(BadInput):
        await engine.respond(execution, {"approved": "maybe"}, request_id=request.request_id)
    with pytest.raises(NotFound):
        await engine.respond(execution, answer, request_id=f"{execution}.t999")
    async with working(engine, pay="paid"):
        assert await result(engine, execution) == "paid"


async def test_a_request_of_another_run_is_not_answered_here(engine: Engine) -> None:
    one, two = await start(engine, payer()), await start(engine, payer())
    (request,) = await requests(engine, one, 1)
    await requests(engine, two, 1)
    with pytest.raises(NotFound, match="has no request"):
        await engine.respond(two, {"approved": True}, request_id=request.request_id)
    assert len(await requests(engine, one, 1)) == 1


async def test_who_asked_for_the_run_may_not_approve_it_where_that_is_forbidden(engine: Engine) -> None:
    spec = payer(requesterMayNotApprove=True)
    execution = (await engine.start(spec, {"prompt": "hello"}, by="kim")).execution_id
    await requests(engine, execution, 1)
    for by in ("kim", ""):
        with pytest.raises(Forbidden, match="answer as somebody else than 'kim'"):
            await engine.respond(execution, {"approved": True}, by=by)
    await engine.respond(execution, {"approved": True}, by="lee")
    async with working(engine, pay="paid"):
        assert await result(engine, execution) == "paid"
    assert "kim" not in str((await engine.reads.execution(execution)).input)


async def test_the_inbox_lists_requests_across_runs_in_pages(engine: Engine) -> None:
    ask = ToolSpec(name="ask", tool_type="human", config={"to": ["kim"]})
    runs = [await start(engine, payer()) for _ in range(3)]
    runs.append(await start(engine, team("desk", "sequential", agent(script(calls("ask", question="?"), "ok"), ask))))

    async def whole() -> Any:
        found, _ = await engine.reads.inbox("", 100)
        return found if len(found) == 4 else None

    found = await until(whole)
    assert {each.root_id for each in found} == set(runs)
    assert [each.since for each in found] == sorted(each.since for each in found)
    assert len(await engine.reads.inbox("", 100, kind="question")) == 2
    for wanted in ({"kind": "question"}, {"to": "kim"}, {"agent": "desk"}):
        assert [each.tool for each in (await engine.reads.inbox("", 100, **wanted))[0]] == ["ask"]
    paged, cursor = [], ""
    while True:
        page, cursor = await engine.reads.inbox(cursor, 2)
        paged += page
        if not cursor:
            break
    assert [each.request_id for each in paged] == [each.request_id for each in found]
    with pytest.raises(BadInput, match="cursor"):
        await engine.reads.inbox("nonsense", 2)


async def test_several_requests_are_answered_in_any_order(engine: Engine) -> None:
    many = {"tool_calls": [{"name": "pay", "arguments": {"amount": n}} for n in range(3)]}
    execution = await start(engine, agent(script(many, "done"), tool("pay", approval_required=True)))
    asked = await requests(engine, execution, 3)
    for n, each in enumerate(reversed(asked)):
        await engine.respond(execution, {"approved": n == 1}, request_id=each.request_id)
    assert (await take(engine, "pay")).input == {"amount": 1}


async def test_who_chooses_the_next_speaker_sees_what_was_said(engine: Engine) -> None:
    spec = team("talk", "manual", agent(script("hello there"), name="one"), agent(script("bye"), name="two"))
    execution = await start(engine, spec)
    await requests(engine, execution, 1)
    await engine.respond(execution, {"selected": "one"}, by="kim")

    async def second() -> Any:
        found = await engine.reads.requests(execution)
        return found if found and found[0].arguments["last_agent"] == "one" else None

    (request,) = await until(second)
    assert (request.kind, request.arguments["choices"]) == ("selection", ["one", "two"])
    assert "[one]: hello there" in request.arguments["conversation"]
    shown = [item["pendingTool"] for item in await engine.events(execution) if item["type"] == "waiting"]
    assert shown[-1]["parameters"] == request.arguments
    await engine.respond(execution, {"selected": "DONE"}, by="kim")
    await ended(engine, execution)
    kept = await engine.reads.all_requests(execution)
    assert kept[1].arguments == request.arguments
    assert [each.answer for each in kept] == [{"selected": "one"}, {"selected": "DONE"}]


async def test_an_unanswered_request_of_an_ended_run_is_canceled(engine: Engine) -> None:
    execution = await start(engine, payer())
    (request,) = await requests(engine, execution, 1)
    await engine.cancel(execution)
    assert [status for status, *_ in await settled(engine, execution)] == ["canceled"]
    with pytest.raises(Conflict, match="it was canceled"):
        await engine.respond(execution, {"approved": True}, request_id=request.request_id)
