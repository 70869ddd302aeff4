"""Why a run does not go on, or what it does, or why it failed: a sentence for each code, of a real engine."""

import asyncio
from pathlib import Path

import pytest

from agentspan.config import Limit
from agentspan.engine.engine import Engine
from agentspan.engine.why import FORMS, RANKS, SENTENCES, Reason, Why, asked, why
from agentspan.errors import NotFound
from agentspan.spec.tool import ToolSpec
from agentspan.store.standing import Known
from agentspan.store.views import Want
from tests.engine.house import (
    Hands,
    agent,
    calls,
    complete,
    ended,
    fail,
    opened,
    requests,
    script,
    start,
    take,
    team,
    tool,
    until,
)

WRONG_KEY = {"errors": [{"status": 401, "message": "wrong key"}]}


async def because(engine: Engine, execution: str, code: str, count: int = 1) -> Why:
    """The answer, once its first reason has that code, and there are so many."""

    async def found() -> Why | None:
        answer = await asked(engine, execution)
        return answer if answer.reasons[0].code == code and len(answer.reasons) >= count else None

    answer: Why = await until(found)
    first = answer.reasons[0]
    assert answer.sentence.startswith(f"{first.sentence} {first.remedy}")
    return answer


async def first(engine: Engine, execution: str, code: str) -> Reason:
    return (await because(engine, execution, code)).reasons[0]


def test_between_two_steps_a_run_says_that_it_goes_on() -> None:
    times = {"started_at": 1, "updated_at": 2, "ended_at": 0}
    answer = why(Known(execution_id="x", status="RUNNING", finish_reason="", reason="", **times), (), 3)
    assert answer.reasons[0].code == "working"
    assert answer.sentence.startswith("The run goes on: it is between two steps.")


@pytest.mark.parametrize("status", ["COMPLETED", "FAILED", "TIMED_OUT", "TERMINATED"])
def test_an_end_for_which_no_step_is_to_blame_is_told_too(status: str) -> None:
    times = {"started_at": 1, "updated_at": 2, "ended_at": 2}
    answer = why(Known(execution_id="x", status=status, finish_reason="error", reason="so it was", **times), (), 3)
    assert (answer.reasons[0].code, "so it was" in answer.sentence) == ("ended", True)


def test_every_sentence_has_a_code_and_every_code_a_sentence() -> None:
    told = {form.partition(" ")[0] for form in SENTENCES}
    assert told == set(RANKS)
    assert FORMS.keys() <= SENTENCES.keys()
    assert all(sentence.endswith((".", "{silent}")) and remedy.endswith(".") for sentence, remedy in SENTENCES.values())


async def test_a_task_that_nobody_polls_for_names_the_worker_that_is_missing(engine: Engine, hands: Hands) -> None:
    execution = await start(engine, agent(script(calls("refund")), "refund"))
    await because(engine, execution, "queued")
    hands.at += 240
    reason = await first(engine, execution, "no_worker")
    assert reason.sentence == "helper waits 4 min for a worker that serves refund: none polls."
    assert "Run the cell or process that defines refund" in reason.remedy
    assert reason.task_id
    assert reason.execution_id == execution


async def test_a_queue_that_was_left_says_when_it_was_last_polled(engine: Engine, hands: Hands) -> None:
    assert await engine.poll([Want("refund", "d1")], "w") == []
    execution = await start(engine, agent(script(calls("refund")), "refund"), run_id="d1")
    await because(engine, execution, "queued")
    hands.at += 60
    reason = await first(engine, execution, "no_worker")
    assert reason.sentence.endswith("a worker that serves refund in domain 'd1': the last poll was 1 min ago.")


async def test_a_worker_that_is_not_heard_of_is_said_to_be_silent(engine: Engine, hands: Hands) -> None:
    execution = await start(engine, agent(script(calls("refund")), "refund"))
    await take(engine, "refund", worker="w9", lease_ms=3_600_000)
    reason = await first(engine, execution, "working")
    assert reason.sentence == "Worker w9 runs refund of helper for 0 s and keeps its lease."
    hands.at += 300
    reason = await first(engine, execution, "worker_silent")
    assert reason.sentence.startswith("Worker w9 has had refund of helper for 5 min.")
    assert "start it again" in reason.remedy


async def test_a_worker_that_is_busy_and_keeps_its_lease_is_not_said_to_be_dead(engine: Engine, hands: Hands) -> None:
    execution = await start(engine, agent(script(calls("refund")), "refund"))
    task = await take(engine, "refund", worker="kernel", lease_ms=10_000)
    for _ in range(20):
        hands.at += 5
        assert await engine.extend([task.task_id], "kernel", 10_000) == ([task.task_id], [])
    reason = await first(engine, execution, "working")
    assert reason.sentence == "Worker kernel runs refund of helper for 100 s and keeps its lease."


async def test_a_question_to_a_person_is_told_with_what_is_asked(engine: Engine, hands: Hands) -> None:
    spec = agent(script(calls("pay", sum=250)), tool("pay", approval_required=True), name="cashier")
    execution = await start(engine, team("shop", "sequential", spec, agent(script({"content": "x"}))))
    await requests(engine, execution, 1)
    hands.at += 7200
    reason = await first(engine, execution, "person")
    assert reason.sentence == 'cashier waits 2 h for a person: may pay({"sum": 250}) be called.'
    assert "inbox" in reason.remedy
    assert reason.execution_id != execution


async def test_a_tool_that_waits_for_messages_says_so(engine: Engine) -> None:
    waits = ToolSpec(name="listen", tool_type="pull_workflow_messages")
    execution = await start(engine, agent(script(calls("listen")), waits))
    reason = await first(engine, execution, "message")
    assert "send_message()" in reason.remedy


async def test_an_attempt_that_is_put_off_says_when_and_after_which_error(engine: Engine, hands: Hands) -> None:
    spec = agent(script(calls("refund")), tool("refund", retry_delay_seconds=30))
    execution = await start(engine, spec)
    await fail(engine, await take(engine, "refund"), "the bank is closed.")
    reason = await first(engine, execution, "retry_later")
    assert reason.sentence == "Attempt 2 of 3 of refund begins in 30 s, after: the bank is closed."


async def test_a_model_call_that_was_refused_for_its_rate_says_when_it_is_made_again(engine: Engine) -> None:
    model = script({"errors": [{"status": 429, "message": "slow down", "retry_after_ms": 600_000}]}, {"content": "x"})
    execution = await start(engine, agent(model))
    reason = await first(engine, execution, "limited")
    assert "AGENTSPAN_LIMITS" in reason.remedy


async def test_a_model_call_under_way_is_what_the_run_does_now(engine: Engine) -> None:
    execution = await start(engine, agent(script({"content": "x", "delay_ms": 60_000})))
    reason = await first(engine, execution, "working")
    assert reason.sentence.startswith("helper waits for the answer of scripted/")


async def test_a_task_whose_workers_are_all_busy_waits_in_its_queue(engine: Engine) -> None:
    execution = await start(engine, agent(script(calls("a", "a")), "a"))
    await take(engine, "a", worker="w")
    waiting = asyncio.create_task(engine.poll([Want("other"), Want("b")], "w", wait_ms=20_000))
    answer = await because(engine, execution, "queued", 2)
    assert answer.reasons[0].sentence.startswith("a of helper has waited for 0 s in its queue")
    assert [each.code for each in answer.reasons] == ["queued", "working"]
    assert answer.sentence.endswith("(1 more)")
    waiting.cancel()


async def test_a_paused_run_says_for_how_long_and_how_it_goes_on(engine: Engine, hands: Hands) -> None:
    execution = await start(engine, agent(script(calls("a")), "a"))
    task = await take(engine, "a")
    await engine.pause(execution)
    hands.at += 180
    await complete(engine, task)
    reason = await first(engine, execution, "paused")
    assert reason.sentence == "The run has been paused for 3 min."
    assert "resume()" in reason.remedy


async def test_a_run_that_has_used_its_budget_says_how_it_gets_another(engine: Engine) -> None:
    execution = (
        await engine.start(agent(script(calls("a"), calls("a")), "a"), {"prompt": "x", "budget": {"modelCalls": 1}})
    ).execution_id
    await complete(engine, await take(engine, "a"))
    await ended(engine, execution)
    reason = await first(engine, execution, "budget")
    assert "1 of 1 model calls are used" in reason.sentence
    assert "continue_with(" in reason.remedy


async def test_a_failed_run_names_the_deepest_step_that_failed_its_agent_and_its_error(engine: Engine) -> None:
    inner = team("inner", "sequential", agent(script(WRONG_KEY), name="broken"), agent(script({"content": "x"})))
    execution = await start(engine, team("outer", "sequential", inner, agent(script({"content": "y"}), name="last")))
    await ended(engine, execution)
    reason = await first(engine, execution, "failed")
    assert "of broken failed:" in reason.sentence
    assert "wrong key" in reason.sentence
    assert "retry()" in reason.remedy
    events = await engine.reads.log_of(execution)
    assert reason.seq is not None
    assert reason.task_id == f"{execution}.t{reason.seq}"
    assert events[reason.seq - 1].execution != 0


async def test_a_run_that_a_guardrail_ended_names_the_check(engine: Engine) -> None:
    rail = {"name": "no_digits", "guardrailType": "regex", "patterns": [r"\d"], "mode": "block", "position": "output",
            "onFail": "raise", "message": "no digits please"}  # fmt: skip
    execution = await start(engine, agent(script({"content": "42"}), guardrails=(rail,)))
    await ended(engine, execution)
    reason = await first(engine, execution, "failed")
    assert "A check (output) of helper failed:" in reason.sentence
    assert "no digits please" in reason.sentence
    assert reason.seq


async def test_a_run_that_took_too_long_names_where_it_was(engine: Engine, hands: Hands) -> None:
    execution = await start(engine, agent(script(calls("slow")), "slow", timeout_seconds=5))
    await take(engine, "slow", lease_ms=60_000)
    await hands.forward(engine, 10)
    await ended(engine, execution)
    reason = await first(engine, execution, "failed")
    assert "longer than it may, at slow of helper" in reason.sentence
    assert "timeout_seconds" in reason.remedy


@pytest.mark.parametrize("end", ["completed", "cancelled"])
async def test_a_run_that_has_ended_says_so(engine: Engine, end: str) -> None:
    execution = await start(engine, agent(script({"content": "hi", "delay_ms": 60_000 * (end == "cancelled")})))
    if end == "cancelled":
        await engine.cancel(execution, "not needed any more")
    await ended(engine, execution)
    answer = await because(engine, execution, "ended")
    assert answer.sentence.startswith(
        "The run has completed (stop)." if end == "completed" else "The run was ended from outside: not needed"
    )


async def test_calls_that_share_a_quota_for_which_others_wait_say_so(database_url: str, tmp_path: Path) -> None:
    async with opened(database_url, tmp_path, limits=(Limit(provider="scripted", concurrency=1),)) as engine:
        model = script({"content": "x", "delay_ms": 60_000})
        runs = [await start(engine, agent(model)) for _ in range(2)]
        answer = await because(engine, runs[0], "limited")
        assert "1 call waits for the quota of scripted" in answer.sentence


async def test_an_unknown_run_is_not_found(engine: Engine) -> None:
    with pytest.raises(NotFound):
        await asked(engine, "01890000-0000-7000-8000-000000000000")
