"""Teams: who speaks when, who is heard by whom, and how it ends. Swarms have a file of their own."""

from typing import Any

import pytest

from agentspan.core import events as e
from agentspan.core.states import Kind, Purpose, Status
from agentspan.spec.agent import AgentSpec
from agentspan.spec.tool import ToolSpec
from tests.core.story import Story, slots, team


def test_sequential_agents_speak_in_turn_and_the_last_one_is_the_result() -> None:
    story = Story(team("sequential", "one", "two"))
    story.think("first", execution=story.child("one"))
    assert [run.status for run in story.tree.runs.values()] == [Status.RUNNING, Status.COMPLETED, Status.RUNNING]
    answer = story.think("second", execution=story.child("two"))
    assert answer[-1] == e.ExecutionCompleted("stop", e.Result((story.log[-4].seq,)))


def test_each_stage_is_told_what_the_one_before_said() -> None:
    story = Story(team("sequential", "one", "two"))
    story.think("first", execution=story.child("one"))
    said = next(each.seq for each in story.log if isinstance(each.fact, e.TaskCompleted))
    assert story.run(story.child("two")).after == (e.Result((said,)),)


def test_parallel_agents_start_together_and_their_results_are_kept_by_name() -> None:
    story = Story(team("parallel", "one", "two"))
    one, two = story.child("one"), story.child("two")
    story.think("b", execution=two)
    assert story.run().status is Status.RUNNING
    story.think("a", execution=one)
    result = story.run().result
    assert [branch.name for branch in result.branches] == ["one", "two"]
    assert story.run().status is Status.COMPLETED


def test_a_branch_that_fails_does_not_lose_the_results_of_the_others() -> None:
    story = Story(team("parallel", "one", "two"))
    story.fail("think", "no key", execution=story.child("one"), terminal=True)
    assert story.run().status is Status.RUNNING
    story.think("fine", execution=story.child("two"))
    assert [branch.error for branch in story.run().result.branches] == ["no key", ""]
    assert story.run().status is Status.COMPLETED


def test_a_team_of_which_all_failed_has_failed() -> None:
    story = Story(team("parallel", "one", "two"))
    for name in ("one", "two"):
        story.fail("think", f"{name} broke", execution=story.child(name), terminal=True)
    assert story.run().status is Status.FAILED
    assert story.run().reason == "one: one broke; two: two broke"


def test_a_stage_that_fails_ends_the_sequence() -> None:
    story = Story(team("sequential", "one", "two"))
    story.fail("think", "no key", execution=story.child("one"), terminal=True)
    assert story.run().reason == "one: no key"


def test_a_retry_goes_on_in_the_stage_that_failed() -> None:
    story = Story(team("sequential", "one", "two"))
    story.think("first", execution=story.child("one"))
    two = story.child("two")
    story.fail("think", "no key", execution=two, terminal=True)
    story.when(e.ExecutionRetried())
    assert story.run().status is Status.RUNNING
    assert story.run(two).status is Status.RUNNING
    story.think("second", execution=two)
    assert story.run().status is Status.COMPLETED


def test_cancelling_reaches_every_level() -> None:
    inner = team("parallel", "x", "y", name="inner")
    story = Story(AgentSpec(name="outer", agents=(inner, inner), strategy="parallel").at(()))
    story.when(e.ExecutionTerminated("enough"))
    assert {run.status for run in story.tree.runs.values()} == {Status.TERMINATED}
    assert all(not run.tasks for run in story.tree.runs.values())


def test_a_stopped_sequence_ends_with_the_words_of_the_stage_that_ran() -> None:
    story = Story(team("sequential", "one", "two"))
    one = story.child("one")
    story.when(e.StopRequested())
    story.when(e.StopRequested(), execution=one)
    story.think("enough", execution=one)
    assert story.run().finish_reason == "stopped"
    assert story.run().result.answers


def test_teams_nest_five_deep_in_one_tree() -> None:
    spec = AgentSpec(name="leaf", model="scripted/any")
    for depth in range(5):
        spec = AgentSpec(name=f"level{depth}", agents=(spec,), strategy=("sequential", "parallel")[depth % 2])
    story = Story(spec)
    story.think("from the depth", execution=story.child("leaf"))
    assert story.run().status is Status.COMPLETED


def test_a_signal_in_force_is_handed_to_agents_that_start_later() -> None:
    story = Story(team("sequential", "one", "two"))
    story.when(e.SignalReceived("hurry"))
    heard = story.log[-1].seq
    story.think("first", execution=story.child("one"))
    assert story.run(story.child("two")).signal == heard


# Pipelines


def gated(gate: dict[str, object]) -> AgentSpec:
    first = AgentSpec("one", model="scripted/any", gate=gate)
    return team("sequential", agents=(first, AgentSpec("two", model="scripted/any")))


def test_a_text_gate_stops_the_pipeline_after_the_stage_that_says_the_word() -> None:
    story = Story(gated({"text": "STOP"}))
    story.think("STOP here", execution=story.child("one"))
    assert story.end == (Status.COMPLETED, "stop", "STOP here")


def test_a_text_gate_may_be_case_blind() -> None:
    story = Story(gated({"text": "STOP", "caseSensitive": False}))
    story.think("stop here", execution=story.child("one"))
    assert story.speakers == ["one"]


def test_a_gate_that_is_a_function_sees_the_result_and_stops_or_lets_pass() -> None:
    for decision, speakers in (("stop", ["one"]), ("continue", ["one", "two"])):
        story = Story(gated({"taskName": "one_gate"}))
        story.think("said", execution=story.child("one"))
        assert story.given("gate.1") == {"result": "said"}
        story.settle("gate.1", decision=decision)
        assert story.speakers == speakers


def test_a_gate_that_fails_twice_lets_the_pipeline_go_on() -> None:
    story = Story(gated({"taskName": "one_gate"}))
    story.think("said", execution=story.child("one"))
    story.fail("gate.1")
    story.fail("gate.1")
    assert story.speakers == ["one", "two"]


def test_each_stage_is_asked_the_prompt_and_what_the_stage_before_said() -> None:
    story = Story(team("sequential", "one", "two", "three"), "write a poem")
    story.think("draft", execution=story.child("one"))
    assert "write a poem" in str(story.messages(story.child("two")))
    assert "draft" in str(story.messages(story.child("two")))
    story.think("better", execution=story.child("two"))
    assert "better" in str(story.messages(story.child("three")))
    assert "draft" not in str(story.messages(story.child("three")))


def test_an_agent_that_wants_no_contents_is_asked_the_bare_prompt() -> None:
    two = AgentSpec("two", model="scripted/any", include_contents="none")
    story = Story(team("sequential", agents=(AgentSpec("one", model="scripted/any"), two)), context={"key": "secret"})
    story.think("secret", execution=story.child("one"))
    assert story.messages(story.child("two")) == [{"role": "user", "content": "go"}]


# Fan-outs


def test_a_fan_out_has_a_width() -> None:
    story = Story(team("parallel", "one", "two", "three", width=2))
    assert story.speakers == ["one", "two"]
    story.think("a", execution=story.child("one"))
    assert story.speakers == ["one", "two", "three"]


def test_a_fan_out_of_hundred_begins_with_as_many_as_there_is_room_for() -> None:
    story = Story(team("parallel", *(f"agent{n}" for n in range(100))))
    assert len(story.speakers) == 25


def test_a_fan_out_that_fails_fast_cancels_the_others() -> None:
    story = Story(team("parallel", "one", "two", fail_fast=True))
    story.fail("think", "no key", execution=story.child("one"), terminal=True)
    assert story.run().status is Status.FAILED
    assert story.run().reason == "one: no key"
    assert story.run(3).status is Status.TERMINATED


def test_a_fan_out_that_is_stopped_starts_nobody_else() -> None:
    story = Story(team("parallel", "one", "two", width=1))
    story.when(e.StopRequested())
    story.think("a", execution=story.child("one"))
    assert story.speakers == ["one"]
    assert story.run().finish_reason == "stopped"


# Handoff


def test_the_teams_model_is_asked_who_is_next_until_it_says_that_the_work_is_done() -> None:
    story = Story(team("handoff", "one", "two", model="scripted/any"))
    story.settle("choose.0", content="two")
    story.think("from two", execution=story.child("two"))
    story.settle("choose.1", content="one")
    story.think("from one", execution=story.child("one"))
    assert slots(story.settle("choose.2", content="DONE")) == ["synthesis"]
    story.settle("synthesis", content="both", finish_reason="stop")
    assert story.end == (Status.COMPLETED, "stop", "both")
    assert story.speakers[:2] == ["two", "one"]


def test_no_synthesis_is_paid_for_when_one_agent_has_answered() -> None:
    story = Story(team("handoff", "one", "two", model="scripted/any"))
    story.settle("choose.0", content="one")
    story.think("the answer", execution=story.child("one"))
    story.settle("choose.1", content="DONE")
    assert story.end == (Status.COMPLETED, "stop", "the answer")


def test_a_team_that_wants_no_synthesis_answers_with_its_last_words() -> None:
    story = Story(team("handoff", "one", "two", model="scripted/any", synthesize=False))
    for name in ("one", "two"):
        story.settle(f"choose.{story.run().spoken}", content=name)
        story.think(f"from {name}", execution=story.child(name))
    story.settle("choose.2", content="DONE")
    assert story.text() == "from two"


def test_a_coordinator_that_needs_nobody_answers_itself() -> None:
    story = Story(team("handoff", "one", model="scripted/any"))
    assert slots(story.settle("choose.0", content="DONE")) == ["synthesis"]


@pytest.mark.parametrize(
    "answer", ["two", "TWO", '"two"', "**Two**.", "I choose two!", '{"agent": "two"}', "team_transfer_to_two"]
)
def test_a_choice_is_understood_however_it_is_written(answer: str) -> None:
    story = Story(team("handoff", "one", "two", model="scripted/any"))
    story.settle("choose.0", content=answer)
    assert story.speakers == ["two"]


@pytest.mark.parametrize("answer", ["nobody", "", "one or two", "oneself"])
def test_an_answer_that_names_nobody_is_asked_again_once_and_then_fails_with_its_words(answer: str) -> None:
    story = Story(team("handoff", "one", "two", model="scripted/any"))
    assert slots(story.settle("choose.0", content=answer)) == ["choose.0.again"]
    story.settle("choose.0.again", content="whoever")
    assert story.run().status is Status.FAILED
    assert "'whoever' names none of one, two" in story.run().reason
    assert story.speakers == []


def test_a_choice_that_is_right_the_second_time_counts() -> None:
    story = Story(team("handoff", "one", "two", model="scripted/any"))
    story.settle("choose.0", content="hm")
    story.settle("choose.0.again", content="one")
    assert story.speakers == ["one"]


def test_a_name_within_another_name_is_told_apart() -> None:
    story = Story(team("handoff", "writer", "senior writer", model="scripted/any"))
    story.settle("choose.0", content="the senior writer")
    assert story.speakers == ["senior writer"]


# Router


def test_a_router_function_says_once_who_answers() -> None:
    story = Story(team("router", "one", "two", router={"taskName": "team_router_fn"}), "help me")
    assert story.given("choose.0")["prompt"] == "help me"
    story.settle("choose.0", selected_agent="two")
    story.think("done", execution=story.child("two"))
    assert story.end == (Status.COMPLETED, "stop", "done")


def test_a_router_function_that_names_nobody_fails_with_what_it_said() -> None:
    story = Story(team("router", "one", router={"taskName": "team_router_fn"}))
    story.settle("choose.0", selected_agent="three")
    assert story.run().status is Status.FAILED
    assert "'three'" in story.run().reason


def test_a_router_function_that_raises_never_becomes_the_first_agent() -> None:
    story = Story(team("router", "one", router={"taskName": "team_router_fn"}))
    story.fail("choose.0", "KeyError")
    story.fail("choose.0", "KeyError")
    assert story.run().reason == "team could not choose who is next: KeyError"
    assert story.speakers == []


def test_a_router_may_be_an_agent_and_is_asked_again_once() -> None:
    router = {"name": "dispatcher", "model": "scripted/any", "instructions": "Route."}
    story = Story(team("router", "one", "two", router=router))
    assert story.think("hm", execution=story.child("dispatcher")) != []
    story.think("one", execution=story.child("dispatcher"))
    assert story.speakers == ["one"]


# Turns


def test_a_round_begins_with_the_first_agent_and_goes_round() -> None:
    story = Story(team("round_robin", "one", "two", max_turns=3))
    for name in ("one", "two", "one"):
        story.think("well", execution=story.child(name))
    assert story.speakers == ["one", "two", "one"]
    assert story.end == (Status.COMPLETED, "max_turns", "well")


def test_each_speaker_of_a_round_hears_what_was_said() -> None:
    story = Story(team("round_robin", "one", "two", max_turns=2))
    story.think("I say yes", execution=story.child("one"))
    assert "I say yes" in str(story.messages(story.child("two")))


def test_a_round_keeps_to_the_transitions_that_are_allowed() -> None:
    spec = team("round_robin", "one", "two", "three", max_turns=3, allowed_transitions={"one": ["three"]})
    story = Story(spec)
    for name in ("one", "three", "one"):
        story.think("well", execution=story.child(name))
    assert story.speakers == ["one", "three", "one"]


def test_a_round_in_which_nobody_may_follow_ends() -> None:
    story = Story(team("round_robin", "one", "two", allowed_transitions={"one": []}))
    story.think("last words", execution=story.child("one"))
    assert story.end == (Status.COMPLETED, "stop", "last words")


def test_chance_is_drawn_from_the_name_of_the_run_and_so_replays() -> None:
    def drawn(name: str) -> list[str]:
        story = Story(team("random", "one", "two", "three", max_turns=8), tree=name)
        while not story.run().ended:
            story.think("well", execution=story.child(story.speakers[-1]))
        return story.speakers

    assert drawn("T") == drawn("T")
    assert len({tuple(drawn(name)) for name in "ABCDE"}) > 1
    assert set(drawn("T")) == {"one", "two", "three"}


# A person chooses


@pytest.mark.parametrize("answer", [{"selected": "two"}, {"selected": 1}, {"selected": "1"}, {"agent": "Two"}])
def test_a_person_chooses_by_name_or_by_place(answer: dict[str, Any]) -> None:
    story = Story(team("manual", "one", "two"))
    story.settle("choose.0", **answer)
    assert story.speakers == ["two"]


@pytest.mark.parametrize("answer", [{"selected": "DONE"}, {"done": True}, {"selected": "done"}])
def test_a_person_can_end_it(answer: dict[str, Any]) -> None:
    story = Story(team("manual", "one", "two"))
    story.settle("choose.0", selected="one")
    story.think("the answer", execution=story.child("one"))
    story.settle("choose.1", **answer)
    assert story.end == (Status.COMPLETED, "stop", "the answer")


def test_a_person_is_offered_only_those_who_may_follow() -> None:
    story = Story(team("manual", "one", "two", allowed_transitions={"one": ["two"]}))
    story.settle("choose.0", selected="one")
    story.think("well", execution=story.child("one"))
    assert story.given("choose.1")["choices"] == ["two"]
    assert story.given("choose.1")["last_agent"] == "one"


# Whole teams


def test_a_rule_of_the_team_ends_it_when_a_speaker_fulfils_it() -> None:
    story = Story(team("round_robin", "one", "two", termination={"type": "text_mention", "text": "APPROVED"}))
    story.think("I think APPROVED", execution=story.child("one"))
    assert story.end == (Status.COMPLETED, "stop", "I think APPROVED")


def test_introductions_are_heard_by_all() -> None:
    members = tuple(AgentSpec(n, model="scripted/any", introduction=f"I am {n}, a poet.") for n in ("one", "two"))
    story = Story(team("round_robin", agents=members))
    assert "I am two, a poet." in str(story.messages(story.child("one")))


def test_a_member_that_fails_ends_the_discussion_with_what_there_is() -> None:
    story = Story(team("round_robin", "one", "two"))
    story.think("half", execution=story.child("one"))
    story.fail("think", "no key", execution=story.child("two"), terminal=True)
    assert story.run().reason == "two: no key"
    assert story.text() == "half"


def test_a_mixed_team_five_deep_ends_in_one_tree() -> None:
    leaf = AgentSpec("leaf", model="scripted/any")
    for depth, strategy in enumerate(("parallel", "sequential", "handoff", "round_robin", "swarm")):
        leaf = AgentSpec(f"level{depth}", model="scripted/any", agents=(leaf,), strategy=strategy, max_turns=2)
    story = Story(leaf)
    while not story.run().ended:
        run, task, order = next(
            (run, task, order)
            for run in story.tree.runs.values()
            for task, order in run.tasks.items()
            if order.kind is Kind.LLM
        )
        target = story.spec.at(run.path).agents[0].name if order.purpose is Purpose.CHOOSE else ""
        calls = [] if target or run.path != ("self",) else [{"name": "level4_transfer_to_level3", "arguments": {}}]
        story.when(e.TaskCompleted(task, {"content": target or "deep", "tool_calls": calls}), execution=run.id)
    assert story.run().status is Status.COMPLETED
    assert max(len(run.path) for run in story.tree.runs.values()) == 5
    assert "deep" in story.text()


def test_the_state_that_tools_of_a_member_change_is_known_to_those_after_it() -> None:
    one = AgentSpec("one", model="scripted/any", tools=(ToolSpec("look"),))
    story = Story(team("sequential", agents=(one, AgentSpec("two", model="scripted/any"))), context={"a": 1, "b": 2})
    first = story.child("one")
    story.think("", "look", execution=first)
    story.settle("call.0", first, result=1, _state_updates={"c": 3}, _state_deletions=["a"])
    story.think("done", execution=first)
    assert story.run(story.child("two")).state == {"b": 2, "c": 3}
    assert story.messages(first)[0]["content"] == 'Context: {"b": 2, "c": 3}\n\ngo'
    assert story.messages(story.child("two"))[0]["content"].startswith('Context: {"b": 2, "c": 3}\n\ngo')
