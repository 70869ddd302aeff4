"""People: what they are asked, until when, and what their answers do."""

from typing import Any

import pytest

from agentspan.core import events as e
from agentspan.core.people import answered, schema
from agentspan.core.states import Kind, Status
from agentspan.errors import BadInput
from agentspan.spec.agent import AgentSpec
from agentspan.spec.tool import ToolSpec
from tests.core.story import Story, lone, only, slots, team

Json = dict[str, Any]


def asking(approval: Json | None = None, **changes: Any) -> Story:
    return Story(lone(tools=(ToolSpec("pay", approval_required=True, approval=approval, **changes),)))


def call(story: Story, **arguments: Any) -> list[e.AnyFact]:
    return story.think("", tool_calls=[{"name": "pay", "arguments": arguments}])


def read(story: Story, slot: str, answer: Json, execution: int = 0) -> Json:
    """The answer as the log would keep it."""
    run = story.run(execution)
    return answered(story.spec.at(run.path), run, run.tasks[story.task(slot, execution)], answer)


def request(facts: list[e.AnyFact]) -> e.TaskScheduled:
    (order,) = only(e.TaskScheduled, facts)
    return order


# When a person is asked


def test_a_tool_that_needs_approval_always_asks() -> None:
    assert slots(call(asking(), amount=1)) == ["approve.0"]


@pytest.mark.parametrize(
    ("amount", "slot"), [(500, "approve.0"), (5, "call.0"), ("a lot", "approve.0"), (None, "approve.0")]
)
def test_a_policy_asks_about_some_arguments_and_about_those_that_it_cannot_judge(amount: Any, slot: str) -> None:
    story = asking({"when": [{"argument": "amount", "op": ">", "value": 100}]})
    assert slots(call(story, amount=amount)) == [slot]


@pytest.mark.parametrize(
    ("rule", "asks"),
    [
        ({"argument": "to.country", "op": "==", "value": "DE"}, True),
        ({"argument": "to.country", "op": "!=", "value": "DE"}, False),
        ({"argument": "to.country", "op": "in", "value": ["FR", "IT"]}, False),
        ({"argument": "note", "op": "contains", "value": "urgent"}, True),
        ({"argument": "note", "op": "matches", "value": "^urgent"}, False),
        ({"argument": "missing", "op": "==", "value": 1}, True),
        ({"argument": "note", "op": "resembles", "value": 1}, True),
    ],
)
def test_the_rules_of_a_policy(rule: Json, asks: bool) -> None:
    story = asking({"when": [rule]})
    facts = call(story, to={"country": "DE"}, note="very urgent")
    assert slots(facts) == (["approve.0"] if asks else ["call.0"])


@pytest.mark.parametrize(
    ("output", "asks"),
    [
        ({"approve": True}, True),
        ({"approve": False}, False),
        ({"result": False}, False),
        ({}, True),
        ({"approve": 0}, True),
    ],
)
def test_a_function_says_whether_a_person_is_asked_and_what_is_no_clear_no_asks(output: Json, asks: bool) -> None:
    story = asking({"taskName": "pay_approval"})
    assert slots(call(story, amount=5)) == ["policy.0"]
    assert story.given("policy.0") == {"tool_name": "pay", "arguments": {"amount": 5}, "agent_name": "lone"}
    assert slots(story.settle("policy.0", **output)) == (["approve.0"] if asks else ["call.0"])


def test_a_function_that_fails_asks() -> None:
    story = asking({"taskName": "pay_approval"})
    call(story)
    story.fail("policy.0")
    assert slots(story.fail("policy.0")) == ["approve.0"]


# Until when


def test_a_request_has_a_deadline_and_is_addressed() -> None:
    order = request(call(asking({"deadlineSeconds": 60, "to": ["ann"]})))
    assert (order.limits.start_ms, order.to) == (60_000, ("ann",))


@pytest.mark.parametrize(("word", "slot"), [("approve", "call.0"), ("reject", "think"), (None, "think")])
def test_a_request_that_nobody_answers_is_decided_by_its_policy(word: str | None, slot: str) -> None:
    story = asking({"deadlineSeconds": 60, "onDeadline": word})
    call(story)
    facts = story.when(e.TaskTimedOut(story.task("approve.0"), "deadline"))
    assert slots(facts) == [slot]
    assert [verdict.position for verdict in only(e.VerdictGiven, facts)] == ["approval"]


def test_the_model_is_told_that_nobody_answered_and_the_run_can_end_as_rejected() -> None:
    story = asking({"deadlineSeconds": 60})
    call(story)
    story.when(e.TaskTimedOut(story.task("approve.0"), "deadline"))
    assert "nobody answered before the deadline" in story.messages()[-1]["content"]
    story.think("then not")
    assert story.end == (Status.COMPLETED, "rejected", "then not")


def test_a_request_is_passed_on_before_its_deadline_decides() -> None:
    steps = [{"to": ["bob"], "afterSeconds": 10}, {"to": ["carl"], "afterSeconds": 20}]
    story = asking({"deadlineSeconds": 60, "to": ["ann"], "escalation": steps})
    order = request(call(story))
    passed = [(order.to, order.limits.start_ms)]
    for _ in range(2):
        order = request(story.when(e.TaskTimedOut(story.task("approve.0"), "deadline")))
        passed.append((order.to, order.limits.start_ms))
    assert passed == [(("ann",), 10_000), (("bob",), 20_000), (("carl",), 60_000)]
    assert slots(story.when(e.TaskTimedOut(story.task("approve.0"), "deadline"))) == ["think"]


def test_a_request_that_was_passed_on_can_still_be_answered() -> None:
    story = asking({"escalation": [{"to": ["bob"], "afterSeconds": 10}]})
    call(story)
    story.when(e.TaskTimedOut(story.task("approve.0"), "deadline"))
    assert slots(story.decide(0, approved=True)) == ["call.0"]


# What their answers mean


@pytest.mark.parametrize("answer", [{}, {"approved": "perhaps"}, {"approved": None}, {"approve": True}])
def test_what_is_neither_yes_nor_no_is_refused_and_the_request_stays_open(answer: Json) -> None:
    story = asking()
    call(story)
    with pytest.raises(BadInput, match="approved"):
        read(story, "approve.0", answer)
    assert story.task("approve.0")


def test_edited_arguments_must_fit_the_tools_schema() -> None:
    form = {"type": "object", "properties": {"amount": {"type": "integer"}}}
    story = asking(input_schema=form)
    call(story, amount=500)
    with pytest.raises(BadInput, match="amount"):
        read(story, "approve.0", {"approved": True, "arguments": {"amount": "few"}})
    story.decide(0, **read(story, "approve.0", {"approved": "yes", "arguments": {"amount": 5}}))
    assert story.given("call.0") == {"amount": 5}


def test_who_answered_is_kept() -> None:
    story = asking()
    call(story)
    story.when(e.TaskCompleted(story.task("approve.0"), {"approved": True}, worker="ann"))
    decided = [x for x in only(e.TaskCompleted, [event.fact for event in story.log]) if x.worker == "ann"]
    assert len(decided) == 1


def test_an_answer_that_comes_twice_changes_nothing() -> None:
    story = asking()
    call(story)
    task = story.task("approve.0")
    story.when(e.TaskCompleted(task, {"approved": True}))
    assert story.when(e.TaskCompleted(task, {"approved": False})) == []
    assert story.task("call.0")


# Questions


def human(**config: Any) -> Story:
    return Story(lone(tools=(ToolSpec("ask", tool_type="human", config=config),)))


def test_a_person_who_is_asked_answers_as_a_tool() -> None:
    story = human()
    (order,) = only(e.TaskScheduled, story.think("", tool_calls=[{"name": "ask", "arguments": {"question": "Age?"}}]))
    assert (order.kind, story.given("call.0")) == (Kind.HUMAN, {"question": "Age?"})
    story.settle("call.0", **read(story, "call.0", {"response": "42"}))
    assert story.messages()[-1]["content"] == "42"


def test_an_answer_must_fit_the_form() -> None:
    form = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    story = human(responseSchema=form)
    story.think("", "ask")
    run = story.run()
    assert schema(story.spec, run, run.tasks[story.task("call.0")]) == form
    with pytest.raises(BadInput, match="age"):
        read(story, "call.0", {"age": "old"})
    story.settle("call.0", **read(story, "call.0", {"age": 42}))
    assert story.messages()[-1]["content"] == '{"age": 42}'


def test_a_question_that_nobody_answers_becomes_an_error_that_the_model_reads() -> None:
    story = human(deadlineSeconds=9)
    story.think("", "ask")
    assert slots(story.when(e.TaskTimedOut(story.task("call.0"), "deadline"))) == ["think"]
    assert story.messages()[-1]["content"] == "Error: nobody answered before the deadline"


# Who chooses, who stands for a person


def test_a_choice_must_be_one_of_those_who_may_speak() -> None:
    story = Story(team("manual", "one", "two"))
    with pytest.raises(BadInput, match="one, two, DONE"):
        read(story, "choose.0", {"selected": "three"})
    assert read(story, "choose.0", {"selected": "TWO"}) == {"selected": "two"}


def proxy(mode: str, **metadata: Any) -> AgentSpec:
    given = {"_agent_type": "user_proxy", "_human_input_mode": mode, **metadata}
    return AgentSpec("user", model="scripted/any", metadata=given)


def test_a_proxy_asks_the_person_each_time() -> None:
    story = Story(team("round_robin", agents=(AgentSpec("one", model="scripted/any"), proxy("ALWAYS")), max_turns=3))
    story.think("Shall I go on?", execution=story.child("one"))
    user = story.child("user")
    assert story.run(user).tasks[story.task("think", user)].kind is Kind.HUMAN
    assert story.given("think", user)["prompt"] == "Shall I go on?"
    story.settle("think", user, **read(story, "think", {"message": "yes, do"}, user))
    assert story.speakers == ["one", "user", "one"]
    assert "yes, do" in str(story.messages(story.child("one")))


def test_a_proxy_that_is_never_asked_answers_by_itself() -> None:
    spec = team("round_robin", agents=(proxy("NEVER", _default_response="Fine."),), max_turns=1)
    assert Story(spec).end == (Status.COMPLETED, "max_turns", "Fine.")


def test_a_proxy_may_ask_only_when_the_others_are_done() -> None:
    story = Story(team("round_robin", agents=(AgentSpec("one", model="scripted/any"), proxy("TERMINATE")), max_turns=4))
    story.think("working", execution=story.child("one"))
    assert story.speakers == ["one", "user", "one"]
    story.think("TERMINATE", execution=story.child("one"))
    assert story.task("think", story.child("user"))


def test_an_answer_to_a_proxy_must_be_text() -> None:
    story = Story(proxy("ALWAYS"))
    with pytest.raises(BadInput, match="message"):
        read(story, "think", {"message": 7})


# A policy that is only tried out


def test_a_policy_in_audit_holds_nothing_and_keeps_what_it_would_have_asked() -> None:
    story = asking({"audit": True, "when": [{"argument": "amount", "op": ">", "value": 100}]})
    facts = call(story, amount=500)
    (noted,) = only(e.VerdictGiven, facts)
    assert (noted.slot, noted.guardrail, noted.message) == ("approve.0", "audit", "would have asked")
    assert slots(facts) == ["call.0"]
    assert only(e.VerdictGiven, story.act()) == []


def test_a_policy_in_audit_keeps_nothing_about_what_it_would_not_have_asked() -> None:
    story = asking({"audit": True, "when": [{"argument": "amount", "op": ">", "value": 100}]})
    facts = call(story, amount=5)
    assert (only(e.VerdictGiven, facts), slots(facts)) == ([], ["call.0"])


def test_a_policy_in_audit_notes_each_turn_once() -> None:
    story = asking({"audit": True})
    call(story, amount=1)
    story.act()
    facts = call(story, amount=2)
    assert (len(only(e.VerdictGiven, facts)), slots(facts)) == (1, ["call.0"])


def test_a_function_of_a_policy_in_audit_is_asked_and_no_person() -> None:
    story = asking({"audit": True, "taskName": "pay_approval"})
    assert slots(call(story, amount=1)) == ["policy.0"]
    facts = story.settle("policy.0", result=True)
    assert (len(only(e.VerdictGiven, facts)), slots(facts)) == (1, ["call.0"])
