"""What those who decide read of the log, and what a sub-agent hears of it."""

from agentspan.core import events as e
from agentspan.core.asking import question
from agentspan.core.material import Material
from agentspan.core.states import Status, Verdict
from agentspan.spec.agent import AgentSpec
from tests.core.story import Story, lone, slots, team


def test_a_check_that_is_decided_after_a_function_s_reads_the_text_that_is_no_longer_at_hand() -> None:
    rails = (
        {"name": "first", "guardrailType": "custom", "taskName": "first", "position": "output"},
        {"name": "second", "guardrailType": "regex", "patterns": ["rude"], "position": "output", "onFail": "raise"},
    )
    story = Story(lone(guardrails=rails))
    story.think("a rude answer")
    verdicts = story.when(e.TaskCompleted(story.task("output.0"), {"passed": True}))
    assert [each.verdict for each in verdicts if isinstance(each, e.VerdictGiven)] == [Verdict.PASS, Verdict.RAISE]
    assert story.run().status is Status.FAILED


def test_a_sub_agent_hears_results_in_the_order_of_the_calls_however_they_came() -> None:
    heard = []
    for order in ((0, 1), (1, 0)):
        member = AgentSpec("member", model="scripted/any")
        story = Story(lone(agents=(member,), model="scripted/any"))
        story.think("", "look", "look")
        for index in order:
            story.act(index, f"result {index}")
        assert "agent.0" in slots(story.think("", "lone_transfer_to_member"))
        heard.append(story.material().prompt(story.run(story.child("member"))))
    assert heard[0] == heard[1]
    assert heard[0].index("result 0") < heard[0].index("result 1")


def test_a_coordinator_is_asked_once_however_often_its_answer_was_lost() -> None:
    story = Story(team("handoff", "a", "b", model="scripted/any"))
    asked = []
    for _ in range(3):
        task = story.task("choose.0")
        material = Material(
            story.spec, story.facts(), story.run, lambda n: [each for each in story.log if each.execution == n]
        )
        asked.append(question(material, story.spec, story.run(), story.run().tasks[task]).messages)
        story.when(e.TaskTimedOut(task, "server"))
    assert asked[0] == asked[1] == asked[2]
