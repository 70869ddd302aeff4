"""Odd answers, in the shapes of three providers: each is an answer with a finish reason, never an error of ours."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from agentspan.engine.providers import ModelAnswer, ModelRequest, ToolCall, complete
from tests.engine.providers import stub as does
from tests.engine.providers.settings import GENEROUS
from tests.engine.providers.stub import Stub, serving

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("litellm"),
    pytest.mark.filterwarnings("ignore:Accessing the 'model_:DeprecationWarning"),
]

OPENAI, ANTHROPIC, GEMINI = "openai/gpt-4o", "anthropic/claude-sonnet-4-5", "gemini/gemini-2.5-flash"
KEYS = {"OPENAI_API_KEY": "key-of-openai", "ANTHROPIC_API_KEY": "key-of-anthropic", "GEMINI_API_KEY": "key-of-gemini"}
TOOL = {
    "type": "function",
    "function": {"name": "look", "parameters": {"type": "object", "properties": {"at": {"type": "string"}}}},
}


@pytest_asyncio.fixture(loop_scope="module")
async def provider() -> AsyncIterator[Stub]:
    async with serving() as stub:
        yield stub


async def ask(provider: Stub, model: str, **fields: Any) -> ModelAnswer:
    base = provider.url if model == OPENAI else provider.url.removesuffix("/v1")
    messages = [{"role": "user", "content": "Hi"}]
    request = ModelRequest(model=model, base_url=base, messages=messages, tools=[TOOL], **fields)
    return await complete(request, GENEROUS, environ=KEYS)


# Anthropic's events


def message(*blocks: list[dict[str, Any]], reason: str | None) -> Any:
    start = {"id": "m", "type": "message", "role": "assistant", "content": [], "model": "m"}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": start | {"usage": {"input_tokens": 9, "output_tokens": 0}}}
    ]
    for index, block in enumerate(blocks):
        events += [{"type": "content_block_start", "index": index, "content_block": block[0]}]
        events += [{"type": "content_block_delta", "index": index, "delta": each} for each in block[1:]]
        events += [{"type": "content_block_stop", "index": index}]
    ended = {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 3}}
    return does.streams(*events, ended, {"type": "message_stop"})


def words(*pieces: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": ""}, *({"type": "text_delta", "text": each} for each in pieces)]


def use(name: str, arguments: str, call_id: str = "toolu_1") -> list[dict[str, Any]]:
    block = {"type": "tool_use", "id": call_id, "name": name, "input": {}}
    return [block, {"type": "input_json_delta", "partial_json": arguments}]


# Gemini's chunks


def candidate(*parts: dict[str, Any], reason: str | None, **more: Any) -> Any:
    content = {"content": {"role": "model", "parts": list(parts)}} if parts else {}
    found: dict[str, Any] = {"index": 0, **content, **({"finishReason": reason} if reason else {})}
    usage = {"promptTokenCount": 9, "candidatesTokenCount": 3, "totalTokenCount": 12}
    return does.streams({"candidates": [found], "usageMetadata": usage, **more})


@pytest.mark.parametrize(
    ("model", "act"),
    [
        (OPENAI, does.says("Once upon", reason="length")),
        (ANTHROPIC, message(words("Once ", "upon"), reason="max_tokens")),
        (GEMINI, candidate({"text": "Once upon"}, reason="MAX_TOKENS")),
    ],
)
async def test_an_answer_that_was_cut_is_kept_and_says_so(provider: Stub, model: str, act: Any) -> None:
    provider.act = act
    answer = await ask(provider, model)
    assert (answer.content, answer.finish_reason) == ("Once upon", "length")


@pytest.mark.parametrize(
    ("model", "act"),
    [
        (OPENAI, does.says(reason="stop")),
        (ANTHROPIC, message(reason="end_turn")),
        (GEMINI, candidate(reason="STOP")),
        (GEMINI, candidate({"text": ""}, reason="STOP")),
    ],
)
async def test_an_empty_answer_is_an_answer(provider: Stub, model: str, act: Any) -> None:
    provider.act = act
    answer = await ask(provider, model)
    assert (answer.content, answer.tool_calls, answer.finish_reason) == ("", (), "stop")


@pytest.mark.parametrize(
    ("model", "act"),
    [
        (OPENAI, does.says("I will", reason="content_filter")),
        (OPENAI, does.streams(does.delta(refusal="I will not."), does.end("stop"))),
        (OPENAI, does.fails(400, "Rejected by our safety system", "content_policy_violation")),
        (ANTHROPIC, message(words("I will"), reason="refusal")),
        (GEMINI, candidate({"text": "I will"}, reason="SAFETY")),
        (GEMINI, candidate({"text": "I will"}, reason="PROHIBITED_CONTENT")),
        (GEMINI, does.streams({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"totalTokenCount": 9}})),
    ],
)
async def test_a_refusal_is_an_answer_that_says_so(provider: Stub, model: str, act: Any) -> None:
    provider.act = act
    answer = await ask(provider, model)
    assert answer.finish_reason == "content_filter"


async def test_the_words_of_a_refusal_are_kept(provider: Stub) -> None:
    provider.act = does.streams(does.delta(refusal="I will "), does.delta(refusal="not."), does.end("stop"))
    assert (await ask(provider, OPENAI)).content == "I will not."
    provider.act = does.fails(400, "Rejected by our safety system", "content_policy_violation")
    assert "Rejected by our safety system" in (await ask(provider, OPENAI)).content


@pytest.mark.parametrize(
    ("model", "act"),
    [
        (OPENAI, does.streams(does.call(0, '{"at": "x', "look", "c"), does.end("tool_calls"))),
        (ANTHROPIC, message(use("look", '{"at": "x'), reason="tool_use")),
    ],
)
async def test_broken_arguments_are_kept_as_text(provider: Stub, model: str, act: Any) -> None:
    provider.act = act
    answer = await ask(provider, model)
    [call] = answer.tool_calls
    assert (call.name, call.arguments, call.raw) == ("look", None, '{"at": "x')
    assert answer.finish_reason == "tool_calls"


@pytest.mark.parametrize(
    ("model", "act"),
    [
        (OPENAI, does.streams(does.call(0, '{"at": "x', "look", "c"), does.end("length"))),
        (ANTHROPIC, message(use("look", '{"at": "x'), reason="max_tokens")),
    ],
)
async def test_a_call_that_was_cut_says_so(provider: Stub, model: str, act: Any) -> None:
    provider.act = act
    answer = await ask(provider, model)
    assert answer.finish_reason == "length"
    assert answer.tool_calls[0].arguments is None


@pytest.mark.parametrize(
    ("model", "act"),
    [
        (OPENAI, does.streams(does.call(0, "{}", "fly", "c"), does.end("tool_calls"))),
        (ANTHROPIC, message(use("fly", "{}"), reason="tool_use")),
        (GEMINI, candidate({"functionCall": {"name": "fly", "args": {}}}, reason="STOP")),
    ],
)
async def test_a_tool_that_nobody_has_is_left_to_the_engine(provider: Stub, model: str, act: Any) -> None:
    provider.act = act
    answer = await ask(provider, model)
    assert [(each.name, each.arguments) for each in answer.tool_calls] == [("fly", {})]
    assert answer.finish_reason == "tool_calls"


@pytest.mark.parametrize(
    ("model", "act"),
    [
        (
            OPENAI,
            does.streams(
                does.call(0, '{"at": "x"}', "look", "c"), does.call(1, '{"at": "y"}', "look", "c"), does.end("stop")
            ),
        ),
        (
            OPENAI,
            does.streams(
                does.call(0, '{"at": "x"}', "look", "c"), does.call(0, '{"at": "y"}', "look", "c"), does.end("stop")
            ),
        ),
        (ANTHROPIC, message(use("look", '{"at": "x"}'), use("look", '{"at": "y"}'), reason="tool_use")),
        (
            GEMINI,
            candidate(
                {"functionCall": {"name": "look", "args": {"at": "x"}}},
                {"functionCall": {"name": "look", "args": {"at": "y"}}},
                reason="STOP",
            ),
        ),
    ],
)
async def test_calls_with_one_id_are_two(provider: Stub, model: str, act: Any) -> None:
    provider.act = act
    answer = await ask(provider, model)
    assert [(each.name, each.arguments) for each in answer.tool_calls] == [("look", {"at": "x"}), ("look", {"at": "y"})]


async def test_a_name_that_comes_with_each_piece_is_one_name(provider: Stub) -> None:
    provider.act = does.streams(
        does.call(0, '{"at": ', "look", "c"), does.call(0, '"x"}', "look", "c"), does.end("tool_calls")
    )
    assert (await ask(provider, OPENAI)).tool_calls == (ToolCall("c", "look", {"at": "x"}),)


async def test_signed_thoughts_before_a_call_are_kept_whole(provider: Stub) -> None:
    pieces = [{"type": "thinking_delta", "thinking": "Hm, "}, {"type": "thinking_delta", "thinking": "so."}]
    thought = [{"type": "thinking", "thinking": ""}, *pieces, {"type": "signature_delta", "signature": "S"}]
    hidden = [{"type": "redacted_thinking", "data": "X"}]
    provider.act = message(thought, hidden, words("Hi"), use("look", "{}"), reason="tool_use")
    answer = await ask(provider, ANTHROPIC)
    assert answer.thoughts == (
        {"type": "thinking", "thinking": "Hm, so.", "signature": "S"},
        {"type": "redacted_thinking", "data": "X"},
    )
    provider.act = message(thought, words("Hi"), reason="end_turn")
    assert (await ask(provider, ANTHROPIC)).thoughts == ()


async def test_a_malformed_call_of_gemini_is_an_answer(provider: Stub) -> None:
    provider.act = candidate(reason="MALFORMED_FUNCTION_CALL")
    answer = await ask(provider, GEMINI)
    assert (answer.content, answer.tool_calls) == ("", ())


def whole_call(call_id: str, arguments: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": "look", "arguments": arguments}}


def whole(reason: str, **said: Any) -> dict[str, Any]:
    """OpenAI's answer in one piece."""
    choice = {"index": 0, "finish_reason": reason, "message": {"role": "assistant", **said}}
    return {"id": "c", "object": "chat.completion", "model": "m", "choices": [choice], "usage": does.TOKENS}


async def test_an_answer_in_one_piece_is_the_same_answer(provider: Stub) -> None:
    calls = [whole_call("a", '{"at": "x"}'), whole_call("b", "{")]
    provider.act = does.gives(whole("tool_calls", content="So.", tool_calls=calls))
    answer = await ask(provider, OPENAI, stream=False)
    assert "stream" not in provider.asked[0]
    assert (answer.content, answer.finish_reason) == ("So.", "tool_calls")
    assert answer.tool_calls == (ToolCall("a", "look", {"at": "x"}), ToolCall("b", "look", None, "{"))
    assert answer.usage.prompt_tokens == 20


async def test_a_refusal_in_one_piece_is_a_refusal(provider: Stub) -> None:
    provider.act = does.gives(whole("stop", content=None, refusal="I will not."))
    answer = await ask(provider, OPENAI, stream=False)
    assert (answer.content, answer.finish_reason) == ("I will not.", "content_filter")
