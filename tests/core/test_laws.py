"""The laws of the core, over random programs of everything that an agent can be, with failures, duplicates, late and
reordered reports, reports that make no sense, interference and retries."""

from collections import Counter

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from agentspan.core import events as e
from agentspan.core import run as runs
from agentspan.core.advance import ROOT, Tree, resumed
from agentspan.core.call import result_text
from agentspan.core.fork import fold, fork
from agentspan.core.run import Run, evolve
from agentspan.core.states import ENDED, STEPS, CallState, Kind, Purpose, Status
from agentspan.core.transcript import NO_ANSWER, NO_TEXT, call_id
from agentspan.errors import BadInput
from tests.core import legal
from tests.core.programs import Program
from tests.sizes import size, sized

pytestmark = sized
tapes = st.binary(min_size=60, max_size=600)
many = settings(max_examples=size(800, 2_500), deadline=None, database=None, suppress_health_check=list(HealthCheck))
some = settings(parent=many, max_examples=size(250, 700))
FACTS = msgspec.json.Decoder(e.Event)


@many
@given(tapes)
def test_every_program_ends_and_none_is_ever_stuck(tape: bytes) -> None:
    program = Program(tape).run()
    assert program.tree.runs[ROOT].ended
    for tree in program.trees:
        assert_alive(tree)


def assert_alive(tree: Tree) -> None:
    """Who runs waits for something that is open: of its own, or of others while a budget has no room for its own."""
    asking = any(order.kind is Kind.LLM for run in tree.runs.values() for order in run.tasks.values())
    for run in tree.runs.values():
        waits = run.status is Status.PAUSED or run.tasks or (tree.runs[ROOT].budget and asking)
        assert run.ended or waits, "running with nothing to wait for"
        assert not (run.ended and run.tasks), "ended with something open"
        slots = [order.slot for order in run.tasks.values()]
        assert len(set(slots)) == len(slots), "something is done twice"
        children = [task for task, order in run.tasks.items() if order.kind is Kind.AGENT]
        assert all(task in tree.runs and not tree.runs[task].ended for task in children), "waiting for nobody"


@some
@given(tapes)
def test_the_log_tells_the_same_story_as_the_states_and_every_attempt_is_settled_once(tape: bytes) -> None:
    program = Program(tape).run()
    assert [event.seq for event in program.log] == list(range(1, len(program.log) + 1))
    stored = [FACTS.decode(msgspec.json.encode(event)) for event in program.log]
    assert stored == program.log
    replayed = fold("T", stored).runs
    assert {number: replayed[number] for number in program.tree.runs} == program.tree.runs
    for run in replayed.values():
        assert runs.load(runs.dump(run)) == run
    assert_each_attempt_lands_once(program.log)


def assert_each_attempt_lands_once(log: list[e.Event]) -> None:
    """Only the first settlement of an attempt changes anything; a fenced one never does. The task of a sub-agent is
    open again when it is retried."""
    state: dict[int, Run] = {}
    landed: set[int] = set()
    for event in log:
        before = state.get(event.execution) or Run(id=event.execution)
        after = state[event.execution] = evolve(before, event)
        if isinstance(event.fact, e.ExecutionRetried):
            landed -= after.tasks.keys()
        if isinstance(event.fact, e.SETTLEMENTS):
            if event.fact.task in before.tasks:
                assert event.fact.task not in landed
                landed.add(event.fact.task)
            else:
                assert replace(after, at=before.at, seq=before.seq) == before


@some
@given(tapes)
def test_an_ended_execution_stays_ended_until_it_is_retried(tape: bytes) -> None:
    state: dict[int, Run] = {}
    for event in Program(tape).run().log:
        before = state.get(event.execution) or Run(id=event.execution)
        after = state[event.execution] = evolve(before, event)
        if before.status is not after.status:
            assert after.status in STEPS[before.status]
        if before.ended and not isinstance(event.fact, e.ExecutionRetried):
            assert after.status is before.status
            assert after.result == before.result


@some
@given(tapes)
def test_whoever_is_asked_gets_what_the_task_is_about_and_models_what_their_providers_accept(tape: bytes) -> None:
    program = Program(tape).run()
    for event in program.log:
        if not isinstance(event.fact, e.TaskScheduled) or event.fact.kind is Kind.AGENT:
            continue
        messages = program.shown(event.seq, event.execution, event.fact)
        if messages is not None:
            legal.check(messages)
            assert messages[-1]["role"] in ("user", "tool"), "the model would answer itself"
            assert all(message["content"] != NO_ANSWER for message in messages), "a call without a real result"


@some
@given(tapes, st.integers(0, 10_000))
def test_the_conversation_is_legal_at_every_moment_and_has_the_results_of_the_calls(tape: bytes, place: int) -> None:
    program = Program(tape).run()
    upto = 1 + place % len(program.log)
    material = program.material(upto)
    for number in {event.execution for event in program.log[:upto]}:
        run = material.run_of(number)
        script = material.transcript(run)
        assert script.state == run.state or run.alone, "the model would be told another state than its tools"
        messages = script.messages(program.spec.at(run.path))
        legal.check(messages)
        read = {message["tool_call_id"]: message["content"] for message in messages if message["role"] == "tool"}
        for index, call in enumerate(run.calls):
            if call.state is CallState.DONE:
                assert read[call_id(run.turn, index)] == (result_text(call, program.facts()) or NO_TEXT)


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
    done = {
        (run.id, index)
        for run in tree.runs.values()
        for index, call in enumerate(run.calls)
        if call.state is CallState.DONE
    }
    completed = {event.fact.task for event in shared if isinstance(event.fact, e.TaskCompleted)}
    program.take(tree, shared)
    events = program.commit(resumed(program.spec, tree, e.ExecutionForked("T", at)))
    assert not completed & {task for run in program.tree.runs.values() for task in run.tasks}
    begun = {
        (event.execution, event.fact.index)
        for event in events
        if isinstance(event.fact, e.TaskScheduled) and event.fact.slot.startswith("call.")
    }
    assert not done & begun
    program.settle()
    assert program.tree.runs[ROOT].ended
    for each in program.trees:
        assert_alive(each)


@some
@given(tapes)
def test_a_retry_reopens_what_failed_and_can_still_end(tape: bytes) -> None:
    program = Program(tape).run()
    if program.tree.runs[ROOT].status is Status.COMPLETED:
        return
    program.trees.clear()
    done = {event.fact.task for event in program.log if isinstance(event.fact, e.TaskCompleted)}
    program.retry()
    assert program.tree.runs[ROOT].status in (Status.RUNNING, *ENDED)
    assert not done & {task for run in program.tree.runs.values() for task in run.tasks}
    program.settle()
    assert program.tree.runs[ROOT].ended
    for tree in program.trees:
        assert_alive(tree)


def test_the_programs_are_made_of_everything() -> None:
    """If a purpose, a kind or an ending is missing here, the laws have not been tried on it."""
    import random

    seen: Counter[str] = Counter()
    for seed in range(1_500):
        for event in Program(random.Random(seed).randbytes(600)).run().log:
            seen[type(event.fact).__name__] += 1
            if isinstance(event.fact, e.TaskScheduled):
                seen[f"{event.fact.purpose} by {event.fact.kind}"] += 1
    facts = {each.__name__ for each in e.AnyFact.__args__} - {"ExecutionForked"}
    tasks = {f"{purpose} by {kind}" for kind, purposes in TABLE.items() for purpose in purposes}
    assert facts | tasks <= seen.keys()


TABLE = {
    Kind.LLM: (Purpose.THINK, Purpose.JUDGE, Purpose.CHOOSE, Purpose.SPEAK, Purpose.CONDENSE),
    Kind.WORKER: (Purpose.ACT, Purpose.JUDGE, Purpose.CHOOSE, Purpose.HOOK, Purpose.BRIEF),
    Kind.HUMAN: (Purpose.THINK, Purpose.ACT, Purpose.APPROVE, Purpose.JUDGE, Purpose.CHOOSE, Purpose.WAIT),
    Kind.AGENT: (Purpose.ACT, Purpose.SPEAK, Purpose.CHOOSE, Purpose.BRIEF),
}


def test_a_snapshot_does_not_grow_with_turns() -> None:
    program = Program(b"")
    program.begin(replace(program.spec, max_turns=2_000, agents=(), tools=(), strategy="handoff"))
    sizes: list[int] = []
    for _ in range(600):
        (run, number, _), *_ = program.open_tasks()
        output = {"content": "x" * 500, "tool_calls": [{"name": "nothing", "arguments": {}}], "cost": None}
        program.commit([(run.id, e.TaskCompleted(number, output))])
        sizes.append(len(runs.dump(program.tree.runs[ROOT])))
    assert_bounded(sizes)


@pytest.mark.parametrize("strategy", ["round_robin", "random", "handoff", "swarm", "manual"])
def test_a_teams_snapshot_does_not_grow_with_turns(strategy: str) -> None:
    from tests.core.story import team

    conditions = tuple({"type": "on_text_mention", "text": "well", "target": name} for name in ("one", "two"))
    program = Program(b"")
    program.begin(team(strategy, "one", "two", model="scripted/any", max_turns=2_000, handoffs=conditions))
    sizes: list[int] = []
    while len(sizes) < 600:
        (run, number, order), *_ = program.open_tasks()
        said = {"content": "one" if order.purpose is Purpose.CHOOSE else "well " * 100, "selected": "two", "cost": None}
        program.commit([(run.id, e.TaskCompleted(number, said))])
        sizes.append(sum(len(runs.dump(each)) for each in program.tree.runs.values()))
    assert not program.tree.runs[ROOT].ended
    assert_bounded(sizes)


def assert_bounded(sizes: list[int]) -> None:
    assert max(sizes[-10:]) <= max(sizes[:20]) * 1.1
    assert max(sizes) < 3_000
