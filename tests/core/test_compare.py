"""Two logs side by side, and a log as its steps."""

from typing import Any

from hypothesis import given, settings

from agentspan.core import events as e
from agentspan.core.advance import ROOT
from agentspan.core.compare import Comparison, Side, compare, deeds, shown
from agentspan.core.edits import calls_of
from agentspan.core.fork import branch, fold
from agentspan.core.states import Purpose
from agentspan.core.steps import steps
from tests.core.programs import Program
from tests.core.story import Story, lone, team
from tests.core.test_fork import goes_on
from tests.core.test_laws import some, tapes

few = settings(parent=some, max_examples=300)


def told(weather: str = "sunny", words: str = "Fine.") -> Story:
    story = Story(lone())
    usage = {"prompt_tokens": 10, "completion_tokens": 5}
    story.think("", "look", usage=usage, cost=0.5)
    story.now += 100
    story.act(0, weather)
    story.think(words, usage=usage, cost=0.25)
    return story


def compared(a: Story, b: Story, shared: int = 0) -> Comparison:
    return compare(Side("A", a.spec, a.log), Side("B", b.spec, b.log), shared)


def test_a_run_is_the_same_as_itself_and_as_one_that_did_the_same() -> None:
    for other in (told(), told()):
        comparison = compared(told(), other)
        assert comparison.same
        assert comparison.first_difference is None
        assert all(row.same for row in comparison.rows)
        assert comparison.definition == []


def test_the_first_difference_says_where_and_what() -> None:
    comparison = compared(told("sunny"), told("rainy", "Bad."))
    first = comparison.first_difference
    assert first is not None
    assert (first.kind, first.agent, first.name, first.turn) == ("call", "lone", "look", 1)
    assert first.changes == [{"path": "got", "before": "sunny", "after": "rainy"}]
    assert [row.kind for row in comparison.rows if not row.same] == ["call", "answer", "end"]


def test_other_arguments_are_a_difference_of_the_answer_that_gave_them() -> None:
    other = goes_on(told(), 3, {"arguments": {"n": 9}})
    other.act(0, "sunny")
    other.think("Fine.")
    first = compared(told(), other).first_difference
    assert first is not None
    assert first.kind == "answer"
    assert first.changes == [{"path": "got.tool_calls[look].arguments.n", "before": 0, "after": 9}]


def test_where_a_model_answers_otherwise_the_messages_that_it_saw_are_compared() -> None:
    other = Story(lone(instructions="Be rude."))
    other.think("No.")
    first = compared(told(), other).first_difference
    assert first is not None
    assert [change["path"] for change in first.changes] == ["got.content", "got.tool_calls[look]"]
    assert {change["path"] for change in first.messages} >= {"messages[0].content"}
    assert compared(told(), other).definition == [{"path": "instructions", "before": None, "after": "Be rude."}]


def test_the_same_question_with_another_answer_has_no_other_messages() -> None:
    first = compared(told(words="Fine."), told(words="Bad.")).first_difference
    assert first is not None
    assert (first.turn, first.messages) == (2, [])


def test_another_model_is_a_difference() -> None:
    other = Story(lone(model="scripted/other"))
    first = compared(told(), other).first_difference
    assert first is not None
    assert first.changes[0] == {"path": "given.model", "before": "scripted/any", "after": "scripted/other"}


def test_a_step_that_one_run_lacks_is_a_difference() -> None:
    short = Story(lone())
    short.think("Fine.")
    rows = compared(told(), short).rows
    assert [(row.kind, row.a is None, row.b is None) for row in rows if not row.same] == [
        ("answer", False, False),
        ("call", False, True),
        ("answer", False, True),
    ]


def test_branches_that_ran_in_another_order_are_no_difference() -> None:
    def run(*order: str) -> Story:
        story = Story(team("parallel", "one", "two"))
        for name in order:
            story.think(f"from {name}", execution=story.child(name))
        return story

    assert compared(run("one", "two"), run("two", "one")).same


def test_attempts_of_one_call_are_one_step() -> None:
    again = Story(lone())
    again.think("", "look")
    again.fail("call.0", "broken")
    again.act(0, "sunny")
    again.think("Fine.")
    found = list(deeds(Side("A", again.spec, again.log)).values())
    assert [(deed.kind, deed.attempts) for deed in found if deed.kind == "call"] == [("call", 2)]
    assert compared(told(), again).same


def test_tokens_cost_and_time_are_told_for_each_run_and_step() -> None:
    comparison = compared(told(), told("rainy"))
    total = comparison.a
    assert (total.total_tokens, total.cost, total.cost_unknown) == (30, 0.75, False)
    assert (total.model_calls, total.tool_calls, total.ms) == (2, 1, 100)
    assert [(row.a_tokens, row.a_cost, row.a_ms) for row in comparison.rows if row.kind == "answer"] == [
        (15, 0.5, 0),
        (15, 0.25, 0),
    ]
    assert [row.a_ms for row in comparison.rows if row.kind == "call"] == [100]


def test_the_shared_part_of_a_fork_is_marked_and_the_time_before_the_fork_is_not_counted() -> None:
    first = told()
    first.now += 1_000_000
    fork = goes_on(first, 5, {})
    fork.think("Bad.")
    comparison = compared(first, fork, 5)
    assert [row.shared for row in comparison.rows if row.kind != "end"] == [True, True, True, False]
    assert comparison.b.ms < 1_000_000
    edited = goes_on(first, 5, {"output": "rainy"})
    edited.think("Fine.")
    assert [row.shared for row in compared(first, edited, 5).rows][:3] == [True, True, False]


def test_masked_fields_are_masked_on_both_sides() -> None:
    def run(pin: str) -> Story:
        story = Story(lone(masked_fields=("pin",)))
        asked = {"content": "", "tool_calls": [{"name": "look", "arguments": {"pin": pin}}], "finish_reason": "stop"}
        story.when(e.TaskCompleted(story.task("think"), asked))
        story.act(0, {"pin": pin})
        return story

    comparison = compared(run("1234"), run("5678"))
    assert not comparison.same
    assert comparison.first_difference is not None
    assert [change["after"] for change in comparison.first_difference.changes] == ["***"]
    said = str(comparison) + str(steps(run("1234").spec, run("1234").log))
    assert "1234" not in said
    assert "5678" not in said


@few
@given(tapes)
def test_every_run_is_the_same_as_itself_and_each_model_call_has_its_messages(tape: bytes) -> None:
    program = Program(tape).run()
    side = Side("A", program.spec, program.log)
    assert compare(side, side).same
    for event in program.log:
        if isinstance(event.fact, e.TaskScheduled) and event.fact.slot == "think":
            assert shown(side, event.seq)
            break


# Steps


def test_the_steps_of_a_run_say_what_happened_and_what_can_be_edited() -> None:
    told_ = [(step.seq, step.kind, step.summary, step.edits) for step in steps(told().spec, told().log)]
    assert told_ == [
        (1, "execution_started", "go", []),
        (2, "thinking", "scripted/any", []),
        (3, "answer", 'look({"n": 0})', ["output", "answer", "arguments"]),
        (4, "call", 'look({"n": 0})', ["arguments"]),
        (5, "result", "sunny", ["output", "tool_result"]),
        (6, "thinking", "scripted/any", []),
        (7, "answer", "Fine.", ["output", "answer"]),
        (8, "execution_completed", "stop: Fine.", []),
    ]


def test_a_run_can_be_forked_at_every_step_but_those_after_its_end() -> None:
    assert [step.seq for step in steps(told().spec, told().log) if not step.forkable] == [8]


def test_the_step_of_a_sub_agent_bears_its_name_and_path() -> None:
    story = Story(team("sequential", "one", "two"))
    story.think("hi", execution=story.child("one"))
    said = next(step for step in steps(story.spec, story.log) if step.kind == "answer")
    assert (said.agent, said.path) == ("one", ["one"])


@few
@given(tapes)
def test_what_a_step_offers_to_edit_can_be_edited_there(tape: bytes) -> None:
    program = Program(tape).run()
    for step in steps(program.spec, program.log):
        fact: Any = program.log[step.seq - 1].fact
        assert step.forkable is not fold("T", program.log[: step.seq]).runs[ROOT].ended
        order = program.log[fact.task - 1].fact if isinstance(fact, e.SETTLEMENTS) else None
        approval = isinstance(order, e.TaskScheduled) and order.purpose is Purpose.APPROVE
        calls = calls_of(fact, order if isinstance(order, e.TaskScheduled) else None)
        values: dict[str, Any] = {
            "output": True if approval else "x",
            "answer": "x",
            "tool_result": "x",
            "arguments": {str(place): {} for place in range(len(calls))} or {"n": 1},
        }
        for key in step.edits:
            assert branch("T", program.spec, program.log, step.seq, {key: values[key]}).events
