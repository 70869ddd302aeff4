"""The laws of the core, over random programs with failures, duplicates, late and reordered reports and interference."""

import json

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentspan.core import events as e
from agentspan.core import run as runs
from agentspan.core.advance import ROOT, Tree, advance
from agentspan.core.fork import fold, fork
from agentspan.core.run import Run, evolve
from agentspan.core.states import ENDED, STEPS, CallState, Kind, Status
from agentspan.core.transcript import NO_ANSWER, Transcript
from agentspan.errors import BadInput
from tests.core.programs import Program

tapes = st.binary(min_size=20, max_size=90)
many = settings(
    max_examples=10_000, deadline=None, database=None, suppress_health_check=list(HealthCheck), derandomize=False
)
some = settings(parent=many, max_examples=1_500)
FACTS = msgspec.json.Decoder(e.Event)


@many
@given(tapes)
def test_every_program_ends_and_none_is_ever_stuck(tape: bytes) -> None:
    program = Program(tape).run()
    assert program.tree.runs[ROOT].ended
    for tree in program.trees:
        for run in tree.runs.values():
            assert run.ended or run.status is Status.PAUSED or run.tasks, "running with nothing to wait for"
            assert not (run.ended and run.tasks), "ended with something open"


@many
@given(tapes)
def test_the_log_tells_the_same_story_as_the_states_and_every_attempt_is_settled_once(tape: bytes) -> None:
    program = Program(tape).run()
    assert [event.seq for event in program.log] == list(range(1, len(program.log) + 1))
    stored = [FACTS.decode(msgspec.json.encode(event)) for event in program.log]
    assert stored == program.log
    replayed = fold("T", stored)
    assert replayed.runs == program.tree.runs
    for run in replayed.runs.values():
        assert runs.load(runs.dump(run)) == run
    assert_each_attempt_lands_once(program.log)


def assert_each_attempt_lands_once(log: list[e.Event]) -> None:
    """Only the first settlement of an attempt changes anything; a fenced one never does."""
    state: dict[int, Run] = {}
    landed: set[int] = set()
    for event in log:
        before = state.get(event.execution) or Run(id=event.execution)
        after = state[event.execution] = evolve(before, event)
        if isinstance(event.fact, e.SETTLEMENTS):
            if event.fact.task in before.tasks:
                assert event.fact.task not in landed
                landed.add(event.fact.task)
            else:
                assert msgspec.structs.replace(after, at=before.at, seq=before.seq) == before


@some
@given(tapes)
def test_an_ended_execution_stays_ended_until_it_is_retried(tape: bytes) -> None:
    state: dict[int, Run] = {}
    for event in Program(tape).run().log:
        before = state.get(event.execution) or Run(id=event.execution)
        after = state[event.execution] = evolve(before, event)
        if before.status is not after.status:
            assert after.status in STEPS[before.status]
        if before.ended:
            assert after.status is before.status
            assert after.result == before.result


@some
@given(tapes)
def test_the_transcript_of_any_prefix_is_one_that_every_provider_accepts(tape: bytes) -> None:
    program = Program(tape).run()
    scripts = {event.execution: Transcript("go") for event in program.log}
    for event in program.log:
        script = scripts[event.execution].extend([event])
        assert_legal(script.messages(program.spec))


def assert_legal(messages: list[dict[str, object]]) -> None:
    roles = [str(message["role"]) for message in messages]
    first = 1 if roles[0] == "system" else 0
    assert roles[first] == "user"
    assert "system" not in roles[1:]
    seen: set[str] = set()
    owed: list[str] = []
    for before, message in zip([None, *messages], messages, strict=False):
        if message["role"] == "tool":
            assert owed, "a result without its call"
            assert message["tool_call_id"] == owed.pop(0), "results out of order"
            assert message["content"] != ""
            continue
        assert not owed, "a call without its result"
        if message["role"] == "assistant":
            assert (before or {}).get("role") in ("user", "tool"), "two answers in a row"
            owed = [call["id"] for call in message.get("tool_calls", [])]  # type: ignore[attr-defined,index]
            assert not seen & set(owed), "a call id used twice"
            seen.update(owed)
            assert message["content"] or owed
            for call in message.get("tool_calls", []):  # type: ignore[attr-defined]
                json.loads(call["function"]["arguments"])
    assert not owed


@some
@given(tapes)
def test_when_a_model_is_asked_every_call_before_has_a_real_answer(tape: bytes) -> None:
    program = Program(tape).run()
    scripts = {event.execution: Transcript("go") for event in program.log}
    for event in program.log:
        script = scripts[event.execution].extend([event])
        if isinstance(event.fact, e.TaskScheduled) and event.fact.kind is Kind.LLM:
            assert all(message["content"] != NO_ANSWER for message in script.messages(program.spec))


@some
@given(tapes, st.integers(0, 10_000))
def test_a_fork_shares_its_past_and_does_nothing_of_it_again(tape: bytes, place: int) -> None:
    program = Program(tape).run()
    at = 1 + place % len(program.log)
    if fold("T", program.log[:at]).runs[ROOT].ended:
        with pytest.raises(BadInput):
            fork(program.log, at, {})
        return
    shared = fork(program.log, at, {})
    tree = fold("F", shared)
    assert tree.runs == fold("T", program.log[:at]).runs
    living = Tree("F", tree.seq, {n: run for n, run in tree.runs.items() if n == ROOT or not run.ended})
    settled = {x.fact.task for x in shared if isinstance(x.fact, e.SETTLEMENTS)}
    after, events = advance(program.spec, living, [(ROOT, e.ExecutionForked("T", at))], program.now)
    for run in after.runs.values():
        assert not settled & run.tasks.keys()
    done = {
        (run.id, index)
        for run in tree.runs.values()
        for index, call in enumerate(run.calls)
        if call.state is CallState.DONE
    }
    begun = {
        (event.execution, event.fact.index)
        for event in events
        if isinstance(event.fact, e.TaskScheduled) and event.fact.slot.startswith("call.")
    }
    assert not done & begun


@some
@given(tapes)
def test_a_retry_reopens_what_failed_and_can_still_end(tape: bytes) -> None:
    program = Program(tape).run()
    root = program.tree.runs[ROOT]
    if root.status is Status.COMPLETED:
        return
    done = {(event.execution, event.fact.task) for event in program.log if isinstance(event.fact, e.TaskCompleted)}
    program.tree = fold("T", program.log)
    program.commit([(ROOT, e.ExecutionRetried())])
    assert program.tree.runs[ROOT].status in (Status.RUNNING, *ENDED)
    for run in program.tree.runs.values():
        assert not any((run.id, task) in done for task in run.tasks)
    program.settle()
    assert program.tree.runs[ROOT].ended


def test_a_snapshot_does_not_grow_with_turns() -> None:
    program = Program(b"")
    program.spec = msgspec.structs.replace(program.spec, max_turns=2_000)
    sizes = []
    for _ in range(600):
        (run, number, order), *_ = program.open_tasks()
        output = {"content": "x" * 500, "tool_calls": [{"name": "look", "arguments": {}}], "cost": None}
        fact = e.TaskCompleted(number, output if order.kind is Kind.LLM else {"result": "y" * 500})
        program.commit([(run.id, fact)])
        sizes.append(len(runs.dump(program.tree.runs[ROOT])))
    assert max(sizes[-10:]) <= max(sizes[:10]) * 1.1
    assert max(sizes) < 2_000
