"""Teams: one after the other, and all at once, nested."""

from agentspan.core import events as e
from agentspan.core.states import Status
from agentspan.spec.agent import AgentSpec
from tests.core.story import Story, team


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
    assert story.think("b", execution=two)[-1] != e.ExecutionCompleted
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
