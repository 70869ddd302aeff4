"""Whole runs through the engine: the turn loop, teams, and what the model is told when something goes wrong."""

from typing import Any

import pytest

from agentspan.core import events as e
from agentspan.core import transcript
from agentspan.engine.engine import Engine
from agentspan.errors import BadInput, InvalidSpec
from tests.engine.house import (
    agent,
    calls,
    ended,
    facts,
    log,
    result,
    script,
    start,
    team,
    tool,
    working,
)


async def told(engine: Engine, execution: str) -> list[str]:
    """What the tool messages of the transcript say."""
    return [each["content"] for each in await engine.reads.messages(execution) if each["role"] == "tool"]


async def test_an_agent_calls_a_tool_and_answers(engine: Engine) -> None:
    spec = agent(script(calls("weather", city="Turin"), "It is {result}."), "weather")
    async with working(engine, weather=lambda city: f"sunny in {city}"):
        assert await result(engine, await start(engine, spec)) == "It is sunny in Turin."


async def test_the_calls_of_a_turn_are_open_at_once(engine: Engine) -> None:
    spec = agent(script(calls("a", "b", "c"), "done"), "a", "b", "c")
    execution = await start(engine, spec)
    async with working(engine, at_once=1, a=1, b=2, c=3):
        await ended(engine, execution)
    kinds = [type(each) for each in facts(await log(engine, execution), e.TaskScheduled, e.TaskCompleted)]
    assert kinds[2:5] == [e.TaskScheduled] * 3
    assert await told(engine, execution) == ["1", "2", "3"]


async def test_an_unknown_tool_is_answered_with_the_names_of_those_that_exist(engine: Engine) -> None:
    execution = await start(engine, agent(script(calls("wether"), "sorry"), "weather", "news"))
    assert await result(engine, execution) == "sorry"
    assert await told(engine, execution) == ["Error: there is no tool named 'wether'; the tools are: weather, news"]


async def test_arguments_that_are_no_object_are_told_to_the_model(engine: Engine) -> None:
    answer = {"tool_calls": [{"name": "weather", "arguments": "[1, 2"}]}
    execution = await start(engine, agent(script(answer, "sorry"), "weather"))
    assert await result(engine, execution) == "sorry"
    assert "not a JSON object" in (await told(engine, execution))[0]


async def test_a_tool_that_fails_gives_its_error_to_the_model_after_its_retries(engine: Engine) -> None:
    execution = await start(engine, agent(script(calls("weather"), "no idea"), tool("weather", retry_count=1)))

    def broken() -> None:
        raise ValueError("no such city")

    async with working(engine, weather=broken):
        assert await result(engine, execution) == "no idea"
    assert await told(engine, execution) == ["Error: no such city"]
    attempts = [each for each in await engine.reads.tasks(execution) if each.name == "weather"]
    assert [each.attempt for each in attempts] == [0, 1]
    assert [each.retried for each in attempts] == [True, False]
    assert attempts[1].retried_task_id == attempts[0].task_id


async def test_a_run_that_reaches_max_turns_ends_with_its_last_words(engine: Engine) -> None:
    answer = {"content": "still looking", **calls("look"), "times": "forever"}
    execution = await start(engine, agent(script(answer), "look", max_turns=3))
    async with working(engine, look="nothing"):
        view = await ended(engine, execution)
    assert view.output == {"result": "still looking", "finishReason": "max_turns", "context": {}}
    assert view.row.turns == 3


async def test_an_answer_that_was_cut_short_is_continued(engine: Engine) -> None:
    spec = agent(script({"content": "one ", "finish_reason": "length"}, {"content": "two"}))
    assert await result(engine, await start(engine, spec)) == "one two"


async def test_an_answer_that_is_cut_short_for_ever_ends_with_what_there_is(engine: Engine) -> None:
    spec = agent(script({"content": "la ", "finish_reason": "length", "times": "forever"}), max_turns=3)
    view = await ended(engine, await start(engine, spec))
    assert view.output is not None
    assert (view.output["result"], view.output["finishReason"]) == ("la la la ", "length")


async def test_a_sequence_hands_each_result_on(engine: Engine) -> None:
    spec = team(
        "two", "sequential", agent(script("a poem"), name="poet"), agent(script("read: {prompt}"), name="critic")
    )
    said = await result(engine, await start(engine, spec, "write"))
    assert said == "read: write\n\nResult of the step before:\na poem"


async def test_a_parallel_branch_that_fails_stands_beside_the_results_of_the_others(engine: Engine) -> None:
    broken = {"errors": [{"status": 401, "message": "the key is wrong"}]}
    spec = team("all", "parallel", agent(script("good"), name="one"), agent(script(broken), name="two"))
    view = await ended(engine, await start(engine, spec))
    assert view.row.status == "COMPLETED"
    assert view.output is not None
    assert view.output["subResults"] == {"one": "good", "two": "Error: the key is wrong"}


async def test_a_team_whose_branches_all_fail_fails_with_their_reasons(engine: Engine) -> None:
    broken = {"errors": [{"status": 401, "message": "the key is wrong"}]}
    spec = team("all", "parallel", agent(script(broken), name="one"), agent(script(broken), name="two"))
    view = await ended(engine, await start(engine, spec))
    assert view.row.status == "FAILED"
    assert set(view.row.reason.split("; ")) == {"one: the key is wrong", "two: the key is wrong"}


async def test_teams_stand_in_teams_five_levels_deep(engine: Engine) -> None:
    spec = agent(script(calls("dig"), "gold"), "dig", name="digger")
    for depth in range(5):
        beside = agent(script(f"idle {depth}"), name=f"idler{depth}")
        spec = team(f"team{depth}", "sequential" if depth % 2 else "parallel", beside, spec)
    execution = await start(engine, spec)
    async with working(engine, dig="deep"):
        assert "gold" in await result(engine, execution)
    assert len(await engine.reads.children(execution)) == 10


async def test_tokens_and_cost_are_added_up_and_an_unknown_price_is_not_zero(engine: Engine) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 2, "cached_tokens": 4, "reasoning_tokens": 1}
    spec = agent(
        script({**calls("a"), "usage": usage, "cost": 0.5}, {"content": "b", "usage": usage, "cost": None}), "a"
    )
    execution = await start(engine, spec)
    async with working(engine, a=1):
        row = (await ended(engine, execution)).row
    assert (row.prompt_tokens, row.completion_tokens, row.cached_tokens, row.reasoning_tokens) == (20, 4, 8, 2)
    assert (row.cost, row.unpriced) == (0.5, 1)


async def test_a_tool_changes_the_state_that_later_calls_see(engine: Engine) -> None:
    spec = agent(script(calls("put"), calls("get"), "done"), "put", "get")
    execution = (await engine.start(spec, {"prompt": "x", "context": {"old": 1}})).execution_id
    async with working(
        engine, put={"result": "ok", "_state_updates": {"new": 2}, "_state_deletions": ["old"]}, get="ok"
    ):
        view = await ended(engine, execution)
    assert view.state == {"new": 2}
    got = next(task for task in await engine.reads.tasks(execution) if task.name == "get")
    assert got.state == {"new": 2}
    assert await told(engine, execution) == ["ok", "ok"]


async def test_a_member_of_a_team_is_told_the_state_that_it_shares(engine: Engine) -> None:
    one = agent(script(calls("put"), "done"), "put", name="one")
    spec = team("both", "sequential", one, agent(script("done"), name="two"))
    execution = (await engine.start(spec, {"prompt": "x", "context": {"old": 1}})).execution_id
    async with working(engine, put={"result": "ok", "_state_updates": {"new": 2}}):
        await ended(engine, execution)
    contexts = ({"old": 1}, {"old": 1, "new": 2})
    for row, context in zip(await engine.reads.children(execution), contexts, strict=True):
        assert (await engine.reads.execution(row.execution_id)).input["context"] == context
        first = (await engine.reads.messages(row.execution_id))[0]["content"]
        assert first.startswith('Context: {"old": 1, "new": 2}\n\nx')


async def test_every_prefix_of_a_log_is_a_transcript_with_each_call_answered(engine: Engine) -> None:
    execution = await start(engine, agent(script(calls("a", "nope", "b"), calls("a"), "done"), "a", "b"))
    async with working(engine, a=1, b=2):
        await ended(engine, execution)
    spec, _ = await engine.reads.transcript(execution)
    events = await log(engine, execution)
    for end in range(len(events) + 1):
        messages = transcript.Transcript("hello").extend(events[:end]).messages(spec)
        asked = [call["id"] for each in messages for call in each.get("tool_calls", ())]
        assert asked == [each["tool_call_id"] for each in messages if each["role"] == "tool"]


@pytest.mark.parametrize("given", [{}, {"prompt": "  "}, {"prompt": "x", "context": "no object"}])
async def test_a_start_without_something_to_do_is_refused(engine: Engine, given: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        await engine.start(agent(script("x")), given)


async def test_a_spec_that_cannot_run_is_refused_before_anything_is_stored(engine: Engine) -> None:
    broken = tool("a", input_schema={"type": "object", "properties": 5})
    with pytest.raises(InvalidSpec, match="inputSchema is not JSON Schema"):
        await start(engine, agent(script("x"), broken))
    assert await engine.reads.counts() == {}
