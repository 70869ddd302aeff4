"""The turn loop of one agent."""

import json

import pytest

from agentspan.core import events as e
from agentspan.core.states import CallState, Kind, Status
from agentspan.spec.tool import ToolSpec
from tests.core.story import Story, lone, slots


def test_an_execution_begins_with_a_model_call() -> None:
    story = Story(lone())
    assert slots([each.fact for each in story.log]) == ["think"]


def test_an_answer_without_calls_is_the_end() -> None:
    story = Story(lone())
    assert story.think("hello") == [e.ExecutionCompleted("stop", e.Result((3,)))]


def test_all_calls_of_a_turn_are_scheduled_at_once_and_the_next_turn_waits_for_all() -> None:
    story = Story(lone())
    assert slots(story.think("", "look", "look", "look")) == ["call.0", "call.1", "call.2"]
    assert story.act(2) == []
    assert story.act(0) == []
    assert slots(story.act(1)) == ["think"]
    assert story.run().turn == 2


def test_an_approval_holds_back_its_own_call_alone() -> None:
    story = Story(lone())
    assert slots(story.think("", "pay", "look")) == ["approve.0", "call.1"]
    assert story.act(1) == []
    assert slots(story.decide(0, approved=True)) == ["call.0"]
    assert slots(story.act(0)) == ["think"]


def test_two_approvals_are_answered_in_any_order() -> None:
    story = Story(lone())
    assert slots(story.think("", "pay", "pay")) == ["approve.0", "approve.1"]
    assert slots(story.decide(1, approved=True)) == ["call.1"]
    assert slots(story.decide(0, approved=True)) == ["call.0"]


def test_a_request_for_approval_is_for_a_person_and_knows_where_the_arguments_stand() -> None:
    story = Story(lone())
    (request,) = story.think("", "pay")
    assert isinstance(request, e.TaskScheduled)
    assert (request.kind, request.name, request.source) == (Kind.HUMAN, "pay", 3)


def test_edited_arguments_are_those_that_the_call_gets() -> None:
    story = Story(lone())
    story.think("", "pay")
    (call,) = story.decide(0, approved=True, arguments={"amount": 1})
    assert isinstance(call, e.TaskScheduled)
    assert call.source == story.log[-2].seq


def test_a_rejected_call_is_not_made_and_the_model_is_told_why() -> None:
    story = Story(lone())
    story.think("", "pay")
    assert slots(story.decide(0, approved=False, reason="too dear")) == ["think"]
    assert story.messages()[-1]["content"] == "Rejected by a person: too dear"
    assert story.think("as you wish") == [e.ExecutionCompleted("rejected", e.Result((story.log[-2].seq,)))]


def test_a_run_that_goes_on_after_a_rejection_does_not_end_as_rejected() -> None:
    story = Story(lone())
    story.think("", "pay")
    story.decide(0, approved=False)
    story.think("", "look")
    story.act()
    assert story.think("found another way")[-1] == e.ExecutionCompleted("stop", e.Result((story.log[-2].seq,)))


def test_an_unknown_tool_is_answered_with_the_names_of_those_that_exist() -> None:
    story = Story(lone())
    refused, *rest = story.think("", "dance")
    assert isinstance(refused, e.CallRefused)
    assert "look, pay" in refused.detail
    assert slots(rest) == ["think"]
    assert "look, pay" in story.messages()[-1]["content"]


def test_arguments_that_are_no_object_are_answered_with_an_error() -> None:
    story = Story(lone())
    refused, *rest = story.think("", tool_calls=[{"name": "look", "raw": "{oops"}])
    assert isinstance(refused, e.CallRefused)
    assert refused.cause == "bad_arguments"
    assert slots(rest) == ["think"]


def test_a_failed_tool_is_tried_again_and_its_error_becomes_data_at_last() -> None:
    story = Story(lone())
    story.think("", "look")
    for attempt in (1, 2):
        (again,) = story.fail("call.0")
        assert isinstance(again, e.TaskScheduled)
        assert (again.attempt, again.delay_ms, again.origin) == (attempt, 2_000 * attempt, 4)
    assert slots(story.fail("call.0", "ValueError: no")) == ["think"]
    assert story.messages()[-1]["content"] == "Error: ValueError: no"


def test_a_terminal_failure_is_not_tried_again() -> None:
    story = Story(lone())
    story.think("", "look")
    assert slots(story.fail("call.0", terminal=True)) == ["think"]


def test_a_retry_of_one_call_holds_back_no_other() -> None:
    story = Story(lone())
    story.think("", "look", "pay")
    assert slots(story.fail("call.0")) == ["call.0"]
    assert slots(story.decide(1, approved=True)) == ["call.1"]


def test_an_attempt_lost_with_its_worker_is_handed_on_at_once_and_does_not_count_as_a_failure() -> None:
    story = Story(lone(tools=(ToolSpec("look", retry_count=0),)))
    story.think("", "look")
    for lost in range(1, 4):
        (again,) = story.when(e.TaskTimedOut(story.task("call.0"), "lease"))
        assert isinstance(again, e.TaskScheduled)
        assert (again.lost, again.attempt, again.delay_ms) == (lost, 0, 0)
    assert slots(story.act()) == ["think"]


def test_a_tool_that_kills_each_worker_ends_as_an_error() -> None:
    story = Story(lone())
    story.think("", "look")
    for _ in range(20):
        assert slots(story.when(e.TaskTimedOut(story.task("call.0"), "lease"))) == ["call.0"]
    assert slots(story.when(e.TaskTimedOut(story.task("call.0"), "lease"))) == ["think"]
    assert "lease" in story.messages()[-1]["content"]


def test_a_task_that_nobody_took_in_time_is_not_put_back() -> None:
    story = Story(lone())
    story.think("", "look")
    assert slots(story.when(e.TaskTimedOut(story.task("call.0"), "start"))) == ["think"]


def test_a_model_that_fails_is_asked_again_with_growing_delays_and_then_fails_the_run() -> None:
    story = Story(lone())
    delays = []
    for _ in range(3):
        (again,) = story.fail("think", "503")
        assert isinstance(again, e.TaskScheduled)
        delays.append(again.delay_ms)
    assert 1_000 <= delays[0] <= 1_500 < 2_000 <= delays[1] <= 2_500 < 4_000 <= delays[2] <= 4_500
    assert story.fail("think", "503") == [e.ExecutionFailed("503")]


def test_a_provider_that_says_when_to_come_back_is_not_asked_sooner() -> None:
    story = Story(lone())
    (again,) = story.fail("think", "429", retry_after_ms=7_000)
    assert isinstance(again, e.TaskScheduled)
    assert again.delay_ms == 7_000


def test_a_bad_key_fails_the_run_at_once() -> None:
    story = Story(lone())
    assert story.fail("think", "set OPENAI_API_KEY", terminal=True) == [e.ExecutionFailed("set OPENAI_API_KEY")]


def test_the_turn_limit_ends_the_run_with_its_last_words() -> None:
    story = Story(lone(max_turns=2))
    story.think("let me look", "look")
    words = story.log[-2].seq
    story.act()
    story.think("", "look")
    assert story.act() == [e.ExecutionCompleted("max_turns", e.Result((words,)))]


def test_the_turn_limit_of_a_run_without_words_shows_the_last_results() -> None:
    story = Story(lone(max_turns=1))
    story.think("", "look", "look")
    story.act(0)
    first = story.log[-1].seq
    assert story.act(1) == [e.ExecutionCompleted("max_turns", e.Result((first, first + 1)))]


def test_an_answer_cut_short_is_continued_and_the_pieces_are_the_result() -> None:
    story = Story(lone())
    assert slots(story.think("first half ", finish_reason="length")) == ["think"]
    first = story.log[-2].seq
    assert story.messages()[-1]["role"] == "user"
    assert story.think("second half") == [e.ExecutionCompleted("stop", e.Result((first, story.log[-2].seq)))]


def test_a_stop_lets_running_calls_end_and_asks_nothing_new() -> None:
    story = Story(lone())
    story.think("looking", "look", "pay")
    refused = story.when(e.StopRequested())
    assert [type(each) for each in refused] == [e.TaskCanceled, e.CallRefused]
    assert story.act(0) == [e.ExecutionCompleted("stopped", e.Result((3,)))]


def test_a_stop_during_a_model_call_lets_it_end() -> None:
    story = Story(lone())
    assert story.when(e.StopRequested()) == []
    assert story.think("hello") == [e.ExecutionCompleted("stop", e.Result((story.log[-2].seq,)))]


def test_a_paused_run_takes_results_and_decides_nothing() -> None:
    story = Story(lone())
    story.think("", "look")
    story.when(e.ExecutionPaused())
    assert story.act() == []
    assert story.run().calls[0].state is CallState.DONE
    assert slots(story.when(e.ExecutionResumed())) == ["think"]


def test_a_terminated_run_cancels_what_is_open() -> None:
    story = Story(lone())
    story.think("", "look", "pay")
    canceled = story.when(e.ExecutionTerminated("enough"))
    assert [type(each) for each in canceled] == [e.TaskCanceled, e.TaskCanceled]
    assert story.run().tasks == {}


def test_a_signal_is_seen_in_each_turn_until_it_is_cleared() -> None:
    story = Story(lone(instructions="Be brief."))
    story.when(e.SignalReceived("use metric units"))
    for _ in range(2):
        story.think("", "look")
        story.act()
        assert "use metric units" in story.messages()[0]["content"]
    story.when(e.SignalReceived(""))
    assert story.messages()[0]["content"] == "Be brief."


def test_the_state_of_tools_is_kept_and_keys_can_be_deleted() -> None:
    story = Story(lone())
    story.think("", "look", "look")
    story.when(e.TaskCompleted(story.task("call.0"), {"result": 1, "_state_updates": {"a": 1, "b": 2}}))
    story.when(e.TaskCompleted(story.task("call.1"), {"result": 1, "_state_deletions": ["a"]}))
    assert story.run().state == {"b": 2}
    assert '{"b": 2}' in story.messages()[0]["content"]


def test_the_model_reads_a_tools_whole_result_whatever_its_keys_are() -> None:
    story = Story(lone())
    story.think("", "look")
    page = {"title": "News", "content": "Rain.", "logs": ["fetched"], "finish_reason": "none"}
    story.when(e.TaskCompleted(story.task("call.0"), {**page, "_state_updates": {"seen": 1}}))
    assert json.loads(story.messages()[-1]["content"]) == page


def test_tokens_and_money_add_up_and_an_unknown_price_is_counted_as_unknown() -> None:
    story = Story(lone())
    usage = {"prompt_tokens": 10, "completion_tokens": 2, "cached_tokens": 4}
    story.think("", "look", usage=usage, cost=0.5)
    story.act()
    story.think("done", usage=usage, cost=None)
    total = story.run().usage
    assert (total.prompt_tokens, total.completion_tokens, total.cached_tokens) == (20, 4, 8)
    assert (total.cost, total.unpriced, total.calls) == (0.5, 1, 2)


@pytest.mark.parametrize("end", [e.ExecutionFailed("x"), e.ExecutionTimedOut("x"), e.ExecutionTerminated("x")])
def test_a_retry_calls_again_what_was_open_or_failed_and_nothing_that_was_done(end: e.AnyFact) -> None:
    story = Story(lone())
    story.think("", "look", "look")
    story.act(0)
    story.when(end)
    assert slots(story.when(e.ExecutionRetried())) == ["call.1"]
    assert story.run().status is Status.RUNNING
    assert slots(story.act(1)) == ["think"]


def test_a_retry_after_a_failed_model_call_asks_it_again() -> None:
    story = Story(lone())
    story.fail("think", terminal=True)
    assert slots(story.when(e.ExecutionRetried())) == ["think"]
    assert story.run().turn == 1


def test_a_retry_does_not_ask_a_second_time_for_an_approval_that_was_given() -> None:
    story = Story(lone())
    story.think("", "pay")
    story.decide(0, approved=True)
    story.when(e.ExecutionTerminated("oops"))
    assert slots(story.when(e.ExecutionRetried())) == ["call.0"]
