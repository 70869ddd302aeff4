"""The scripted model: exact answers, in order, from a list, a function or a file."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from agentspan.engine.providers import ModelAnswer, ModelRequest, ToolCall, Usage, complete, register
from agentspan.errors import InvalidSpec, ModelFailure
from tests.engine.providers.settings import GENEROUS, Limits

USER = {"role": "user", "content": "What is the weather in Paris?"}


async def ask(name: str, *later: dict[str, Any], limits: Limits = GENEROUS, **fields: Any) -> ModelAnswer:
    request = ModelRequest(model=f"scripted/{name}", messages=[USER, *later], **fields)
    return await complete(request, limits)


def said(text: str | None = None) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def result(text: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": "c", "content": text}


async def test_the_answer_that_is_due_follows_from_the_conversation() -> None:
    register("two", ["first", {"content": "second"}])
    assert (await ask("two")).content == "first"
    assert (await ask("two", said("first"))).content == "second"
    assert (await ask("two")).content == "first"


async def test_a_script_that_is_over_says_how_many_answers_it_has() -> None:
    register("short", ["first", {"content": "again", "times": 2}])
    assert (await ask("short", said(), said())).content == "again"
    with pytest.raises(ModelFailure, match='"short" has only 3 answers and this is turn 4') as caught:
        await ask("short", said(), said(), said())
    assert not caught.value.retryable


async def test_the_last_answer_repeats_if_it_is_for_ever() -> None:
    register("endless", ["first", {"content": "turn {turn}", "times": "forever"}])
    assert (await ask("endless", *[said()] * 40)).content == "turn 41"


async def test_tool_calls_have_ids_of_their_turn() -> None:
    register("tools", [{"tool_calls": [{"name": "a", "arguments": {"x": 1}}, {"name": "b", "id": "mine"}]}])
    answer = await ask("tools")
    assert answer.tool_calls == (ToolCall("call_1_1", "a", {"x": 1}), ToolCall("mine", "b", {}))
    assert (answer.content, answer.finish_reason) == ("", "tool_calls")


async def test_arguments_as_text_may_be_malformed() -> None:
    register("malformed", [{"tool_calls": [{"name": "a", "arguments": '{"x": '}]}])
    assert (await ask("malformed")).tool_calls == (ToolCall("call_1_1", "a", None, '{"x": '),)


async def test_names_in_braces_are_filled_and_other_braces_left_alone() -> None:
    call = {"name": "f", "arguments": {"text": "{prompt}", "deep": [{"n": "{turn}"}], "number": 3}}
    register("fill", [{"tool_calls": [call]}, {"content": "{result}|{results}|{prompt}|{turn}|{other} {}"}])
    assert (await ask("fill")).tool_calls[0].arguments == {
        "text": USER["content"],
        "deep": [{"n": "1"}],
        "number": 3,
    }
    answer = await ask("fill", said(), result("12 {turn}"), result("rain"))
    assert answer.content == f"rain|12 {{turn}}, rain|{USER['content']}|2|{{other}} {{}}"


async def test_a_text_is_streamed_in_words_or_in_the_pieces_of_the_script() -> None:
    register("words", ["It is  sunny.\n", {"chunks": ["Par", "is"]}])
    for later, pieces in (([], ["It ", "is  ", "sunny.\n"]), ([said()], ["Par", "is"])):
        heard: list[str] = []
        request = ModelRequest(model="scripted/words", messages=[USER, *later])
        answer = await complete(request, GENEROUS, heard.append)
        assert heard == pieces
        assert answer.content == "".join(pieces)


async def test_tokens_are_words_unless_the_script_counts_them() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 8, "cached_tokens": 7, "reasoning_tokens": 6}
    register("count", ["It is sunny.", {"content": "x", "usage": usage, "cost": None}])
    first, second = await ask("count"), await ask("count", said())
    assert (first.usage, first.cost) == (Usage(6, 3), 0.0)
    assert (second.usage, second.cost) == (Usage(9, 8, 7, 6), None)


@pytest.mark.parametrize(
    ("fault", "retryable", "after"),
    [
        ({"status": 429, "retry_after_ms": 50}, True, 50),
        ({"status": 500}, True, None),
        ({"status": "timeout"}, True, None),
        ({"status": "connection"}, True, None),
        ({"status": 401}, False, None),
        ({"status": 500, "retryable": False}, False, None),
    ],
)
async def test_each_attempt_takes_its_error_until_they_are_used_up(
    fault: dict[str, Any], retryable: bool, after: int | None
) -> None:
    register("faulty", [{"content": "at last", "errors": [fault, fault | {"message": "Twice"}]}])
    with pytest.raises(ModelFailure) as first:
        await ask("faulty")
    assert (first.value.retryable, first.value.retry_after_ms) == (retryable, after)
    assert str(fault["status"]) in str(first.value)
    with pytest.raises(ModelFailure, match="Twice"):
        await ask("faulty", attempt=1)
    assert (await ask("faulty", attempt=2)).content == "at last"


async def test_a_function_answers_with_a_dict_or_a_text() -> None:
    register("echo", lambda request: request.messages[-1]["content"])
    register("late", lambda request: {"content": f"attempt {request.attempt}", "finish_reason": "length"})
    assert (await ask("echo")).content == USER["content"]
    answer = await ask("late", attempt=3)
    assert (answer.content, answer.finish_reason) == ("attempt 3", "length")


@pytest.mark.parametrize(
    ("answer", "limit"),
    [
        ({"content": "late", "delay_ms": 60_000}, "AGENTSPAN_FIRST_TOKEN_SECONDS"),
        ({"content": "It is late", "stall_ms": 60_000}, "AGENTSPAN_IDLE_SECONDS"),
        ({"content": "a " * 1000, "chunk_ms": 5}, "AGENTSPAN_TOTAL_SECONDS"),
    ],
)
async def test_delays_run_into_the_limits(answer: dict[str, Any], limit: str) -> None:
    register("slow", [answer])
    limits = Limits(first_token_seconds=0.1, idle_seconds=0.2, total_seconds=0.4)
    with pytest.raises(ModelFailure, match=limit) as caught:
        await ask("slow", limits=limits)
    assert caught.value.retryable


async def test_a_cancelled_call_stays_cancelled() -> None:
    register("waiting", [{"delay_ms": 60_000}])
    task = asyncio.create_task(ask("waiting"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_scripts_are_read_from_a_file_and_read_again_when_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "scripts.json"
    limits = Limits(scripts_path=file)
    file.write_text(json.dumps({"filed": ["one"], "other": ["x"]}))
    assert (await ask("filed", limits=limits)).content == "one"
    file.write_text(json.dumps({"filed": ["two"]}))
    os.utime(file, ns=(1, 1))
    assert (await ask("filed", limits=limits)).content == "two"


async def test_scripts_are_read_from_a_folder_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "alone.json").write_text(json.dumps(["by the name of the file"]))
    (tmp_path / "several.json").write_text(json.dumps({"a": ["by its key"]}))
    (tmp_path / "notes.txt").write_text("not a script")
    limits = Limits(scripts_path=tmp_path)
    assert (await ask("alone", limits=limits)).content == "by the name of the file"
    assert (await ask("a", limits=limits)).content == "by its key"


async def test_an_unknown_script_names_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text('["x"]')
    with pytest.raises(ModelFailure, match=r'no script "nobody".*mine') as caught:
        await ask("nobody", limits=Limits(scripts_path=tmp_path))
    assert not caught.value.retryable


@pytest.mark.parametrize("text", ["{", '{"a": {"content": "x"}}', '{"a": [{"contents": "x"}]}', '{"a": [3]}'])
async def test_a_file_that_is_no_script_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "broken.json"
    file.write_text(text)
    with pytest.raises(ModelFailure, match=r"broken\.json"):
        await ask("a", limits=Limits(scripts_path=file))


def test_a_script_with_an_unknown_field_is_refused_at_once() -> None:
    with pytest.raises(InvalidSpec, match="contents"):
        register("typo", [{"contents": "x"}])
