"""Forks and their edits."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentspan.core import events as e
from agentspan.core.advance import ROOT, Tree, advance
from agentspan.core.fork import branch, carried, edited_spec, fold, fork
from agentspan.core.states import Kind, Purpose
from agentspan.errors import BadInput
from agentspan.spec.agent import AgentSpec
from agentspan.spec.tool import ToolSpec
from tests.core.programs import Program
from tests.core.story import Story, lone, team
from tests.core.test_laws import some, tapes

few = settings(parent=some, max_examples=300)


def finished() -> Story:
    story = Story(lone())
    story.think("", "look")
    story.act(0, "sunny")
    story.think("It is sunny.")
    return story


def two_calls() -> Story:
    story = Story(lone())
    story.think("", "look", "pay")
    return story


def output(event: e.Event) -> Any:
    assert isinstance(event.fact, e.TaskCompleted | e.AnswerGiven)
    return event.fact.output


def goes_on(story: Story, at: int, edits: dict[str, Any]) -> Story:
    """The story of a fork, as it stands after the fork was made."""
    fork_ = Story(story.spec)
    begun = branch("F", story.spec, story.log, at, edits)
    fork_.spec, fork_.log = begun.spec, list(begun.events)
    facts = carried(begun.spec, begun.tree, begun.events, e.ExecutionForked("T", at))
    fork_.tree, events = advance(begun.spec, begun.tree, facts, fork_.now, fork_.facts())
    fork_.log += events
    return fork_


def test_the_prompt_can_be_edited() -> None:
    shared = fork(finished().log, 1, {"prompt": "stay"})
    assert isinstance(shared[0].fact, e.ExecutionStarted)
    assert shared[0].fact.input == {"prompt": "stay"}


@pytest.mark.parametrize("key", ["output", "tool_result"])
def test_a_tools_result_can_be_edited(key: str) -> None:
    assert output(fork(finished().log, 5, {key: "rainy"})[-1]) == {"result": "rainy"}


def test_what_a_tool_did_to_the_shared_state_stays_when_its_result_is_edited() -> None:
    story = Story(lone())
    story.think("", "look")
    story.when(e.TaskCompleted(story.task("call.0"), {"result": 1, "_state_updates": {"n": 1}}))
    assert output(fork(story.log, 5, {"tool_result": 2})[-1]) == {"result": 2, "_state_updates": {"n": 1}}


def test_a_failed_call_can_be_given_a_result() -> None:
    story = Story(lone())
    story.think("", "look")
    story.fail("call.0", "no network", terminal=True)
    forked = goes_on(story, 5, {"tool_result": "sunny"})
    assert forked.messages()[-1]["content"] == "sunny"
    assert forked.run().open("think")


@pytest.mark.parametrize("key", ["output", "answer"])
def test_a_models_answer_can_be_written_by_hand_and_what_was_paid_for_it_stays(key: str) -> None:
    story = Story(lone())
    usage = {"prompt_tokens": 5, "completion_tokens": 2}
    story.think("", "look", usage=usage, cost=0.5)
    shared = fork(story.log, 3, {key: "I know it"})
    assert output(shared[-1]) == {"content": "I know it", "finish_reason": "stop", "usage": usage, "cost": 0.5}
    forked = goes_on(story, 3, {key: "I know it"})
    assert (forked.run().status, forked.run().usage.cost) == ("COMPLETED", 0.5)


def test_an_answer_can_be_given_other_calls() -> None:
    forked = goes_on(finished(), 3, {"output": {"tool_calls": [{"name": "look", "arguments": {"n": 7}}]}})
    assert forked.facts().call(3, 0) == {"n": 7}
    assert forked.run().open("call.0")


@pytest.mark.parametrize("at", [3, 4])
def test_a_calls_arguments_can_be_edited_where_it_was_asked_for_or_scheduled(at: int) -> None:
    shared = fork(finished().log, at, {"arguments": {"city": "Rome"}})
    assert [call["arguments"] for call in output(shared[2])["tool_calls"]] == [{"city": "Rome"}]
    assert len(shared) == at


@pytest.mark.parametrize("key", ["1", "pay"])
def test_of_several_calls_one_is_edited_by_its_place_or_its_tool(key: str) -> None:
    shared = fork(two_calls().log, 3, {"arguments": {key: {"n": 9}}})
    assert [call["arguments"] for call in output(shared[2])["tool_calls"]] == [{"n": 0}, {"n": 9}]


def test_the_arguments_of_a_request_for_approval_can_be_edited_before_and_after_it_is_answered() -> None:
    story = two_calls()
    asked = story.task("approve.1")
    forked = goes_on(story, asked, {"arguments": {"n": 5}})
    assert forked.facts().call(forked.run().tasks[forked.task("approve.1")].source, 1) == {"n": 5}
    story.decide(1, approved=True)
    answered = next(event.seq for event in story.log if output_of(event) == {"approved": True})
    forked = goes_on(story, answered, {"arguments": {"n": 6}})
    assert forked.facts().call(forked.run().tasks[forked.task("call.1")].source, 1) == {"n": 6}


def test_the_answer_of_a_person_can_be_the_other_one() -> None:
    story = two_calls()
    story.decide(1, approved=True)
    answered = next(event.seq for event in story.log if output_of(event) == {"approved": True})
    forked = goes_on(story, answered, {"output": False})
    assert not forked.run().open("call.1")
    assert "Rejected" in forked.messages()[-1]["content"]


def output_of(event: e.Event) -> Any:
    return event.fact.output if isinstance(event.fact, e.TaskCompleted) else None


def test_the_reply_of_a_sub_agent_can_be_edited() -> None:
    story = Story(team("sequential", "one", "two"))
    one = story.child("one")
    story.think("from one", execution=one)
    told = next(x.seq for x in story.log if isinstance(x.fact, e.TaskCompleted) and x.fact.result is not None)
    forked = goes_on(story, told, {"output": "from me"})
    two = forked.run(forked.child("two"))
    assert [forked.facts().text(each) for each in two.after] == ["from me"]


# Whose model


def nested() -> AgentSpec:
    config = {"agentConfig": {"name": "helper", "model": "scripted/h"}}
    tool = ToolSpec("ask_helper", tool_type="agent_tool", config=config)
    one = AgentSpec(name="one", model="scripted/one", tools=(tool,))
    return AgentSpec(
        name="team", strategy="router", agents=(one, AgentSpec(name="two", model="scripted/two")),
        router={"name": "clerk", "model": "scripted/clerk", "instructions": "choose"},
    )  # fmt: skip


@pytest.mark.parametrize("path", [(0,), (1,), ("router",), (0, "tool:ask_helper"), (1, "self")])
def test_model_and_instructions_of_any_agent_can_be_edited_and_of_no_other(path: Any) -> None:
    spec = edited_spec(nested(), path, {"model": "scripted/other", "instructions": "be brief"})
    assert (spec.at(path).model, spec.at(path).instructions) == ("scripted/other", "be brief")
    paths: list[Any] = [(0,), (1,), ("router",), (0, "tool:ask_helper")]
    changed = [each for each in paths if spec.at(each).model == "scripted/other"]
    assert changed == [tuple(step for step in path if step != "self")]


def test_a_member_of_a_swarm_that_is_the_team_itself_is_edited_as_the_team() -> None:
    spec = team("swarm", "one", model="scripted/any")
    assert edited_spec(spec, ("self",), {"model": "scripted/other"}).at(("self",)).model == "scripted/other"


def test_a_tool_that_a_member_has_from_its_team_is_edited_there() -> None:
    tool = ToolSpec("ask", tool_type="agent_tool", config={"agentConfig": {"name": "h", "model": "scripted/h"}})
    spec = team("sequential", "one", "two", tools=(tool,))
    edited = edited_spec(spec, (1, "tool:ask"), {"model": "scripted/other"})
    assert edited.at((1, "tool:ask")).model == edited.at((0, "tool:ask")).model == "scripted/other"


def test_a_fork_at_an_event_of_a_sub_agent_edits_that_one_and_another_if_it_is_named() -> None:
    story = Story(team("sequential", "one", "two"))
    at = story.task("think", story.child("one"))
    own = branch("F", story.spec, story.log, at, {"model": "scripted/other"})
    assert [agent.model for agent in own.spec.agents] == ["scripted/other", "scripted/any"]
    named = branch("F", story.spec, story.log, at, {"model": "scripted/other", "agent": "two"})
    assert [agent.model for agent in named.spec.agents] == ["scripted/any", "scripted/other"]


def test_a_call_that_is_open_at_the_cut_goes_to_the_edited_model() -> None:
    story = finished()
    forked = goes_on(story, 2, {"model": "scripted/other"})
    assert forked.run().tasks[2].name == "scripted/other"
    assert story.log[1].fact.name == "scripted/any"  # type: ignore[union-attr]


def test_an_agent_that_had_gone_on_with_a_fallback_goes_on_with_the_edited_model() -> None:
    story = Story(lone(fallback=["scripted/second"]))
    story.fail("think", "refused", terminal=True)
    assert story.run().tasks[story.task("think")].name == "scripted/second"
    forked = goes_on(story, story.task("think"), {"model": "scripted/other"})
    assert forked.run().tasks[forked.task("think")].name == "scripted/other"
    forked.think("", "look")
    forked.act(0)
    assert forked.run().tasks[forked.task("think")].name == "scripted/other"


# Budgets


def test_a_fork_may_have_its_own_budget_in_which_the_shared_part_counts() -> None:
    story = finished()
    forked = goes_on(story, 5, {"budget": {"modelCalls": 1}})
    assert forked.run().spent.model_calls == 1
    assert (forked.run().status, forked.run().finish_reason) == ("TERMINATED", "budget")
    assert goes_on(story, 5, {"budget": {"modelCalls": 2}}).run().open("think")


def test_a_run_that_ended_for_its_budget_goes_on_in_a_fork_with_more() -> None:
    story = Story(lone())
    story.tree, story.log = Tree("T"), []
    story.when(e.ExecutionStarted({"prompt": "go", "budget": {"modelCalls": 1}}))
    story.think("", "look")
    story.act(0)
    assert story.run().finish_reason == "budget"
    at = len(story.log) - 1
    assert goes_on(story, at, {}).run().finish_reason == "budget"
    assert goes_on(story, at, {"budget": {"modelCalls": 5}}).run().open("think")


# What cannot be


@pytest.mark.parametrize(
    ("at", "edits", "said"),
    [
        (0, {}, "from 1 to 7"),
        (99, {}, "from 1 to 7"),
        (8, {}, "has ended at event 8; fork at an event from 1 to 7"),
        (4, {"output": 1}, "event 4 has no output to edit; it can be edited at the events 3, 5, 7"),
        (5, {"answer": "x"}, "no answer to edit; it can be edited at the events 3, 7"),
        (3, {"tool_result": "x"}, "at the events 5"),
        (4, {"color": 1}, "unknown edits color"),
        (5, {"arguments": {}}, "event 5 has no arguments to edit; it can be edited at the events 3, 4"),
        (4, {"arguments": "Rome"}, "must be a JSON object"),
        (5, {"output": 1, "tool_result": 2}, "the same place"),
        (3, {"output": {"tool_calls": "look"}}, "tool_calls is not a list of"),
        (1, {"prompt": 1}, "prompt must be text, got int"),
        (1, {"model": " "}, "must name a model"),
        (1, {"budget": {"tokens": "many"}}, "tokens must be a whole number"),
    ],
)
def test_a_fork_that_cannot_be_says_why(at: int, edits: dict[str, object], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        fork(finished().log, at, edits)


def test_arguments_of_several_calls_must_say_whose() -> None:
    with pytest.raises(BadInput, match=r"makes 2 calls.* the calls are 0: look, 1: pay"):
        fork(two_calls().log, 3, {"arguments": {"city": "Rome"}})


def test_the_edit_of_an_agent_that_is_not_there_says_which_are() -> None:
    story = Story(nested())
    with pytest.raises(BadInput, match="no agent 'three'; the agents are team, one, helper, two, clerk"):
        branch("F", story.spec, story.log, 1, {"agent": "three", "model": "scripted/x"})
    with pytest.raises(BadInput, match="'team' has no model of its own"):
        branch("F", story.spec, story.log, 1, {"model": "scripted/x"})
    with pytest.raises(BadInput, match="give one of them too"):
        branch("F", story.spec, story.log, 1, {"agent": "one"})


# Wherever the cut is


def test_a_question_that_was_cut_while_it_was_stopped_is_refused() -> None:
    story = Story(lone(tools=(ToolSpec("ask", tool_type="human"),)))
    story.think("", "ask")
    story.when(e.StopRequested())
    cut = next(event.seq for event in story.log if isinstance(event.fact, e.TaskCanceled))
    assert goes_on(story, cut, {}).run().finish_reason == story.run().finish_reason == "stopped"


def test_a_retry_that_was_cut_before_it_reached_a_sub_agent_reaches_it() -> None:
    inner = team("sequential", "one")
    story = Story(AgentSpec(name="outer", agents=(inner,), strategy="sequential"))
    story.fail("think", "wrong key", terminal=True, execution=story.child("one"))
    story.tree = fold("T", story.log)
    story.when(e.ExecutionRetried())
    for cut in [event.seq for event in story.log if isinstance(event.fact, e.ExecutionRetried)]:
        assert goes_on(story, cut, {}).run(story.child("one")).open("think"), cut


def test_the_end_for_a_budget_that_was_cut_in_a_sub_agent_is_the_end_of_all() -> None:
    story = Story(team("sequential", "one", "two"))
    story.tree, story.log = Tree("T"), []
    story.when(e.ExecutionStarted({"prompt": "go", "budget": {"modelCalls": 1}}))
    story.think("", "nothing", execution=story.child("one"))
    cut = next(event.seq for event in story.log if isinstance(event.fact, e.ExecutionTerminated))
    assert goes_on(story, cut, {}).run().finish_reason == story.run().finish_reason == "budget"


# Laws


@few
@given(tapes, st.integers(0, 10_000))
def test_a_fork_at_any_event_goes_on_to_its_end(tape: bytes, place: int) -> None:
    program = Program(tape).run()
    at = 1 + place % len(program.log)
    if fold("T", program.log[:at]).runs[ROOT].ended:
        return
    begun = branch("T", program.spec, program.log, at, {})
    facts = carried(program.spec, begun.tree, begun.events, e.ExecutionForked("S", at))
    program.tree, program.log = begun.tree, list(begun.events)
    program.commit(facts)
    program.settle()
    assert program.tree.runs[ROOT].ended


@few
@given(tapes, st.integers(0, 10_000))
def test_any_result_can_be_edited_and_the_fork_still_ends(tape: bytes, place: int) -> None:
    program = Program(tape).run()
    settled = [
        event.seq
        for event in program.log
        if isinstance(event.fact, e.TaskCompleted) and event.fact.result is None
        and not fold("T", program.log[: event.seq]).runs[ROOT].ended
    ]  # fmt: skip
    if not settled:
        return
    at = settled[place % len(settled)]
    order = program.log[program.log[at - 1].fact.task - 1].fact  # type: ignore[union-attr]
    assert isinstance(order, e.TaskScheduled)
    value: Any = {"approved": True} if order.purpose is Purpose.APPROVE else "edited"
    begun = branch("T", program.spec, program.log, at, {"output": value})
    if order.kind is Kind.LLM:
        assert output(begun.events[-1])["content"] == "edited"
    facts = carried(program.spec, begun.tree, begun.events, e.ExecutionForked("S", at))
    program.tree, program.log = begun.tree, list(begun.events)
    program.commit(facts)
    program.settle()
    assert program.tree.runs[ROOT].ended
