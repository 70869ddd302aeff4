"""Guardrails: every position, every consequence; what is checked does not go on before every check has passed it."""

from typing import Any

import pytest

from agentspan.core import events as e
from agentspan.core.states import Kind, Status, Verdict
from agentspan.spec.tool import ToolSpec
from tests.core.story import Story, lone, only, slots, team

Json = dict[str, Any]


def pattern(**changes: Any) -> Json:
    return {"name": "no secrets", "guardrailType": "regex", "patterns": ["secret"], "onFail": "retry", **changes}


def function(**changes: Any) -> Json:
    return {"name": "check", "guardrailType": "custom", "taskName": "check", "onFail": "raise", **changes}


def model(**changes: Any) -> Json:
    return {"name": "judge", "guardrailType": "llm", "model": "scripted/judge", "policy": "be kind", **changes}


def guarded(*rails: Json, **changes: Any) -> Story:
    return Story(lone(guardrails=rails, **changes), "tell me the secret")


# What a run says


def test_an_answer_that_passes_is_the_end_and_the_verdict_is_in_the_log() -> None:
    story = guarded(pattern())
    (verdict, end) = story.think("hello")
    assert verdict == e.VerdictGiven("output.0", "no secrets", "output", Verdict.PASS)
    assert isinstance(end, e.ExecutionCompleted)


def test_an_answer_that_must_be_made_anew_is_asked_for_with_the_reason() -> None:
    story = guarded(pattern(message="Name no secrets."))
    assert slots(story.think("the secret is 7")) == ["think"]
    assert story.messages()[-1] == {"role": "user", "content": "Your answer was not accepted: Name no secrets."}
    story.think("I cannot say")
    assert story.end == (Status.COMPLETED, "stop", "I cannot say")


def test_a_check_asks_again_as_often_as_it_may_and_then_refuses_for_good() -> None:
    story = guarded(pattern(maxRetries=2))
    story.think("secret")
    story.think("secret")
    story.think("secret")
    assert (story.run().status, story.run().finish_reason) == (Status.FAILED, "guardrail")
    assert "after 2 retries" in story.run().reason


def test_each_check_counts_for_itself() -> None:
    story = guarded(pattern(maxRetries=1), pattern(name="no numbers", patterns=["[0-9]"], maxRetries=1))
    story.think("secret")
    story.think("7")
    story.think("fine")
    assert story.run().status is Status.COMPLETED


def test_asking_again_takes_no_turn_away() -> None:
    story = guarded(pattern(), max_turns=1)
    story.think("secret")
    story.think("fine")
    assert story.end == (Status.COMPLETED, "stop", "fine")


def test_a_check_that_refuses_for_good_fails_the_run_and_says_which_and_why() -> None:
    story = guarded(pattern(onFail="raise"))
    story.think("the secret")
    assert story.run().reason == "guardrail 'no secrets': the text matches the blocked pattern 'secret'"


def test_a_list_of_allowed_patterns_refuses_what_matches_none() -> None:
    story = guarded(pattern(mode="allow", patterns=["^yes$", "^no$"], onFail="raise"))
    story.think("maybe")
    assert story.run().finish_reason == "guardrail"


def test_a_pattern_that_takes_too_long_counts_as_broken() -> None:
    story = guarded(pattern(patterns=[r"^(\w|\w\w)*$"], onFail="raise"))
    story.think("a" * 60 + "-")
    assert "took longer than" in story.run().reason


def test_a_fix_takes_the_place_of_the_answer() -> None:
    story = guarded(function(onFail="fix"))
    story.think("the secret")
    story.settle("output.0", passed=False, message="no", fixed_output="[removed]")
    assert story.end == (Status.COMPLETED, "stop", "[removed]")


def test_a_fix_without_a_replacement_refuses() -> None:
    story = guarded(function(onFail="fix"))
    story.think("the secret")
    story.settle("output.0", passed=False, message="no")
    assert story.run().finish_reason == "guardrail"


def test_later_checks_see_what_a_fix_has_made() -> None:
    story = guarded(function(onFail="fix"), pattern(onFail="raise"))
    story.think("the secret")
    story.settle("output.0", passed=False, fixed_output="nothing")
    assert story.text() == "nothing"


def test_checks_are_made_in_their_order_and_the_first_that_refuses_ends_it() -> None:
    story = guarded(pattern(onFail="raise"), function())
    assert only(e.TaskScheduled, story.think("secret")) == []


@pytest.mark.parametrize(
    ("output", "passes"),
    [
        ({"passed": True}, True),
        ({"result": True}, True),
        ({"result": None}, True),
        ({}, True),
        ({"passed": False, "message": "no"}, False),
        ({"result": False}, False),
        ({"tripwire_triggered": True}, False),
        ({"tripwire_triggered": False}, True),
    ],
)
def test_a_functions_verdict_is_read_however_it_is_given(output: Json, passes: bool) -> None:
    story = guarded(function())
    story.think("hello")
    story.settle("output.0", **output)
    assert story.run().status is (Status.COMPLETED if passes else Status.FAILED)


def test_a_function_sees_the_text_and_where_it_stands() -> None:
    story = guarded(function())
    story.think("hello")
    given = story.given("output.0")
    assert {key: given[key] for key in ("content", "iteration", "position", "agent_name")} == {
        "content": "hello", "iteration": 1, "position": "output", "agent_name": "lone",
    }  # fmt: skip


def test_a_function_may_choose_the_consequence_itself() -> None:
    story = guarded(function(onFail="raise"))
    story.think("hello")
    assert slots(story.settle("output.0", passed=False, on_fail="retry", message="longer")) == ["think"]


def test_a_function_that_raises_twice_counts_as_failed() -> None:
    story = guarded(function())
    story.think("hello")
    story.fail("output.0", "KeyError: x")
    story.fail("output.0", "KeyError: x")
    assert story.run().reason == "guardrail 'check': Guardrail error: KeyError: x"


def test_a_function_of_somebody_else_is_called_by_its_name() -> None:
    story = guarded({"name": "shared_check", "guardrailType": "external", "onFail": "raise"})
    (task,) = story.think("hello")
    assert isinstance(task, e.TaskScheduled)
    assert (task.kind, task.name) == (Kind.WORKER, "shared_check")


def test_a_model_judges_by_its_policy() -> None:
    story = guarded(model(onFail="raise"))
    (task,) = story.think("you fool")
    assert isinstance(task, e.TaskScheduled)
    assert (task.kind, task.name) == (Kind.LLM, "scripted/judge")
    story.settle("output.0", content='```json\n{"passed": false, "reason": "rude"}\n```')
    assert story.run().reason == "guardrail 'judge': rude"


@pytest.mark.parametrize("said", ["", "looks fine", "[]", '{"passed": "yes"}', "{"])
def test_a_judging_model_that_gives_no_verdict_does_not_let_pass(said: str) -> None:
    story = guarded(model(onFail="raise"))
    story.think("you fool")
    story.settle("output.0", content=said)
    assert "gave no verdict" in story.run().reason


def test_the_tokens_of_a_judging_model_count() -> None:
    story = guarded(model())
    story.think("hello", usage={"prompt_tokens": 10})
    story.settle("output.0", content='{"passed": true}', usage={"prompt_tokens": 5}, cost=0.1)
    assert story.run().usage.prompt_tokens == 15


# A person's review


def test_a_person_may_let_pass_what_a_check_has_stopped() -> None:
    story = guarded(pattern(onFail="human"))
    (verdict, request) = story.think("the secret")
    assert isinstance(request, e.TaskScheduled)
    assert isinstance(verdict, e.VerdictGiven)
    assert (verdict.verdict, request.kind) == (Verdict.HUMAN, Kind.HUMAN)
    assert story.given("review.output.0")["content"] == "the secret"
    story.settle("review.output.0", approved=True)
    assert story.text() == "the secret"


def test_a_person_may_write_it_anew() -> None:
    story = guarded(pattern(onFail="human"))
    story.think("the secret")
    story.settle("review.output.0", approved=True, edited_output="nothing")
    assert story.end == (Status.COMPLETED, "stop", "nothing")


def test_a_person_may_refuse_it() -> None:
    story = guarded(pattern(onFail="human"))
    story.think("the secret")
    story.settle("review.output.0", approved=False, reason="never")
    assert story.run().reason == "guardrail 'no secrets': rejected by a person: never"


# What a run is given


def test_an_input_that_is_refused_is_never_shown_to_a_model() -> None:
    story = guarded(pattern(position="input", onFail="raise"))
    assert story.run().finish_reason == "guardrail"
    assert only(e.TaskScheduled, [event.fact for event in story.log]) == []


def test_an_input_cannot_be_made_anew_and_so_is_refused() -> None:
    assert guarded(pattern(position="input", onFail="retry")).run().finish_reason == "guardrail"


def test_an_input_may_be_fixed() -> None:
    story = guarded(function(position="input", onFail="fix"))
    assert slots(story.settle("input.0", passed=False, fixed_output="tell me a joke")) == ["think"]
    assert story.messages()[-1]["content"] == "tell me a joke"


def test_members_of_a_team_are_asked_what_the_teams_check_has_made_of_the_prompt() -> None:
    story = Story(team("sequential", "one", guardrails=(function(position="input", onFail="fix"),)), "the secret")
    story.settle("input.0", passed=False, fixed_output="a joke")
    assert "a joke" in str(story.messages(story.child("one")))
    assert "secret" not in str(story.messages(story.child("one")))


def test_a_members_pattern_sees_what_the_teams_check_has_made_of_the_prompt() -> None:
    member = lone(name="one", guardrails=(pattern(position="input", onFail="raise"),))
    story = Story(
        team("sequential", guardrails=(function(position="input", onFail="fix"),), agents=(member,)), "secret"
    )
    story.settle("input.0", passed=False, fixed_output="a joke")
    assert story.run(story.child("one")).status is Status.RUNNING


def test_a_pattern_of_a_member_of_a_team_that_is_a_tool_sees_what_the_tool_is_asked() -> None:
    config = {
        "name": "desk",
        "strategy": "sequential",
        "agents": [{"name": "one", "model": "scripted/one", "guardrails": [pattern(position="input", onFail="raise")]}],
    }
    story = Story(lone(tools=(ToolSpec("ask", tool_type="agent_tool", config={"agentConfig": config}),)), "go")
    follow = story.think("", tool_calls=[{"name": "ask", "arguments": {"request": "the secret?"}}])
    assert "no secrets" in next(fact.reason for fact in only(e.ExecutionFailed, follow))


def test_each_check_of_an_input_sees_what_the_one_before_has_made_of_it() -> None:
    story = guarded(
        function(position="input", onFail="fix"), function(name="other", taskName="other", position="input")
    )
    story.settle("input.0", passed=False, fixed_output="a joke")
    assert story.given("input.1")["content"] == "a joke"


# Calls


def tooled(rail: Json) -> Story:
    return Story(lone(tools=(ToolSpec("look", guardrails=(rail,)), ToolSpec("other"))))


def test_a_call_that_is_refused_is_not_made_and_the_model_is_told() -> None:
    story = tooled(pattern(position="input", patterns=["DROP TABLE"]))
    calls = [{"name": "look", "arguments": {"sql": "DROP TABLE users"}}]
    facts = story.think("", tool_calls=calls)
    assert slots(facts) == ["think"]
    assert [refused.cause for refused in only(e.CallRefused, facts)] == ["guardrail"]
    assert "DROP TABLE" in story.messages()[-1]["content"]


def test_a_check_of_a_call_holds_back_no_other_call() -> None:
    story = tooled(function(position="input"))
    assert slots(story.think("", "look", "other")) == ["tool_in.0.0", "call.1"]


def test_a_check_of_a_call_sees_its_arguments() -> None:
    story = tooled(function(position="input"))
    story.think("", "look")
    given = story.given("tool_in.0.0")
    assert (given["tool_name"], given["arguments"], given["content"]) == ("look", {"n": 0}, '{"n": 0}')


def test_the_arguments_of_a_call_may_be_fixed() -> None:
    story = tooled(function(position="input", onFail="fix"))
    story.think("", "look")
    story.settle("tool_in.0.0", passed=False, fixed_output='{"n": 7}')
    assert story.given("call.0") == {"n": 7}


def test_a_call_that_is_refused_for_good_fails_the_run() -> None:
    story = tooled(function(position="input", onFail="raise"))
    story.think("", "look")
    story.settle("tool_in.0.0", passed=False, message="never")
    assert story.run().reason == "guardrail 'check': never"


def test_a_run_that_a_check_fails_names_that_check_and_not_one_that_refused_another_call() -> None:
    mild, strict = function(name="mild", position="input", onFail="retry"), function(name="strict", position="input")
    story = Story(lone(tools=(ToolSpec("look", guardrails=(mild,)), ToolSpec("other", guardrails=(strict,)))))
    story.think("", "look", "other")
    story.settle("tool_in.0.0", passed=False, message="not so")
    story.settle("tool_in.1.0", passed=False, message="never")
    assert story.run().reason == "guardrail 'strict': never"


def test_each_call_is_told_why_it_was_refused_itself() -> None:
    story = tooled(function(position="input", onFail="retry"))
    story.think("", *["look"] * 11)
    said = [story.settle(f"tool_in.{index}.0", passed=False, message=f"not {index}") for index in (10, 1)]
    assert [refused.detail for facts in said for refused in only(e.CallRefused, facts)] == ["not 10", "not 1"]


def test_a_result_that_is_refused_is_not_shown_to_the_model() -> None:
    story = tooled(pattern(position="output"))
    story.think("", "look")
    assert slots(story.act(0, "the secret is 7")) == ["think"]
    assert "is 7" not in str(story.messages())


def test_a_result_may_be_fixed() -> None:
    story = tooled(function(position="output", onFail="fix"))
    story.think("", "look")
    story.act(0, "the secret is 7")
    assert slots(story.settle("tool_out.0.0", passed=False, fixed_output="[removed]")) == ["think"]
    assert story.messages()[-1]["content"] == "[removed]"


def test_a_result_may_be_shown_to_a_person_first() -> None:
    story = tooled(pattern(position="output", onFail="human"))
    story.think("", "look")
    assert slots(story.act(0, "the secret is 7")) == ["review.tool_out.0.0"]
    story.settle("review.tool_out.0.0", approved=True, edited_output="a number")
    assert story.messages()[-1]["content"] == "a number"


def test_a_tools_check_counts_over_the_turns_of_a_run() -> None:
    story = tooled(pattern(position="output", maxRetries=1))
    for _ in range(2):
        story.think("", "look")
        story.act(0, "secret")
    assert story.run().finish_reason == "guardrail"


@pytest.mark.parametrize(("position", "slot"), [("tool_input", "tool_in.0.0"), ("tool_output", "tool_out.0.0")])
def test_an_agent_may_check_the_calls_of_all_its_tools(position: str, slot: str) -> None:
    story = Story(lone(guardrails=(function(position=position),)))
    facts = story.think("", "look")
    facts = story.act(0) if position == "tool_output" else facts
    assert slots(facts) == [slot]


def test_a_refused_call_needs_no_approval() -> None:
    rail = pattern(position="input", patterns=["n"])
    story = Story(lone(tools=(ToolSpec("pay", approval_required=True, guardrails=(rail,)),)))
    assert slots(story.think("", "pay")) == ["think"]


# Teams


def test_a_members_checks_are_its_own() -> None:
    one = lone(name="one", guardrails=(pattern(),))
    story = Story(team("sequential", agents=(one,)))
    child = story.child("one")
    assert slots(story.think("secret", execution=child)) == ["think"]
    story.think("fine", execution=child)
    assert story.text() == "fine"


def test_a_team_whose_answer_is_not_accepted_begins_anew_and_hears_why() -> None:
    story = Story(team("sequential", "one", guardrails=(pattern(message="Name no secrets."),)))
    story.think("secret", execution=story.child("one"))
    assert story.speakers == ["one", "one"]
    assert "Name no secrets." in str(story.messages(story.child("one")))
    story.think("fine", execution=story.child("one"))
    assert story.end == (Status.COMPLETED, "stop", "fine")


def test_the_results_of_a_fan_out_are_checked_together() -> None:
    story = Story(team("parallel", "one", "two", guardrails=(pattern(onFail="raise"),)))
    story.think("fine", execution=story.child("one"))
    story.think("secret", execution=story.child("two"))
    assert story.run().finish_reason == "guardrail"


def test_a_run_that_was_refused_and_is_retried_answers_anew() -> None:
    story = guarded(pattern(onFail="raise"))
    story.think("secret")
    assert slots(story.when(e.ExecutionRetried())) == ["think"]
    assert "not accepted" in story.messages()[-1]["content"]
    story.think("fine")
    assert story.end == (Status.COMPLETED, "stop", "fine")
