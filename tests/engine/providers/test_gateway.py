"""Models behind litellm: real litellm, against a provider on loopback."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from agentspan.engine.providers import ModelAnswer, ModelRequest, ToolCall, Usage, complete, preload
from agentspan.engine.providers.names import PROVIDERS
from agentspan.errors import ModelFailure
from tests.engine.providers import stub as does
from tests.engine.providers.settings import GENEROUS, Limits
from tests.engine.providers.stub import Stub, serving

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("litellm"),
    # litellm reads fields of pydantic in an old way.
    pytest.mark.filterwarnings("ignore:Accessing the 'model_:DeprecationWarning"),
]

KEY = "sk-secret-0123456789"
ASKED = [{"role": "user", "content": "What is the weather in Paris?"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest_asyncio.fixture(loop_scope="module")
async def provider() -> AsyncIterator[Stub]:
    async with serving() as stub:
        yield stub


async def ask(provider: Stub, limits: Limits = GENEROUS, on_delta: Any = None, **fields: Any) -> ModelAnswer:
    request = ModelRequest(**{"model": "openai/gpt-4o", "messages": ASKED, "base_url": provider.url} | fields)
    return await complete(request, limits, on_delta, environ={"OPENAI_API_KEY": KEY})


async def failure(provider: Stub, limits: Limits = GENEROUS, **fields: Any) -> ModelFailure:
    with pytest.raises(ModelFailure) as caught:
        await ask(provider, limits, **fields)
    assert KEY not in str(caught.value)
    return caught.value


async def test_a_text_is_streamed_and_whole(provider: Stub) -> None:
    provider.act = does.says("It is ", "sunny", " in Paris.")
    heard: list[str] = []
    answer = await ask(provider, on_delta=heard.append)
    assert answer.content == "It is sunny in Paris." == "".join(heard)
    assert len(heard) == 3
    assert (answer.finish_reason, answer.tool_calls, answer.model) == ("stop", (), "openai/gpt-4o")
    assert provider.keys == [f"Bearer {KEY}"]


async def test_the_request_is_the_one_that_was_meant(provider: Stub) -> None:
    await ask(provider, tools=[WEATHER], temperature=0.25, max_tokens=77)
    sent = provider.asked[0]
    assert sent["model"] == "gpt-4o"
    assert sent["messages"] == ASKED
    assert sent["tools"] == [WEATHER]
    assert (sent["temperature"], sent["max_tokens"]) == (0.25, 77)
    assert (sent["stream"], sent["stream_options"]) == (True, {"include_usage": True})


async def test_what_is_not_set_is_not_sent(provider: Stub) -> None:
    await ask(provider)
    assert provider.asked[0].keys() == {"model", "messages", "stream", "stream_options"}


async def test_tool_calls_are_rebuilt_from_their_pieces_and_the_text_beside_them_is_kept(provider: Stub) -> None:
    provider.act = does.streams(
        does.delta(content="Let me look."),
        does.call(0, "", "get_weather", "call_a"),
        does.call(0, '{"city": '),
        does.call(0, '"Paris"}'),
        does.call(1, '{"city": "Rome"}', "get_weather", "call_b"),
        does.end("tool_calls"),
    )
    answer = await ask(provider, tools=[WEATHER])
    assert answer.content == "Let me look."
    assert answer.finish_reason == "tool_calls"
    assert answer.tool_calls == (
        ToolCall("call_a", "get_weather", {"city": "Paris"}),
        ToolCall("call_b", "get_weather", {"city": "Rome"}),
    )


async def test_calls_that_share_an_index_are_told_apart_by_their_ids(provider: Stub) -> None:
    provider.act = does.streams(
        does.call(0, '{"city": "Paris"}', "get_weather", "call_a"),
        does.call(0, '{"city": "Rome"}', "get_weather", "call_b"),
        does.end("stop"),
    )
    answer = await ask(provider, tools=[WEATHER])
    assert [each.arguments for each in answer.tool_calls] == [{"city": "Paris"}, {"city": "Rome"}]
    assert answer.finish_reason == "tool_calls"


async def test_a_string_that_looks_like_json_stays_a_string(provider: Stub) -> None:
    provider.act = does.streams(does.call(0, '{"city": "{\\"a\\": 1}"}', "get_weather", "c"), does.end("tool_calls"))
    answer = await ask(provider, tools=[WEATHER])
    assert answer.tool_calls[0].arguments == {"city": '{"a": 1}'}


@pytest.mark.parametrize("text", ['{"city": "Par', '["Paris"]', "Paris", '{"city": NaN}'])
async def test_malformed_arguments_are_none_and_their_text_is_kept(provider: Stub, text: str) -> None:
    provider.act = does.streams(does.call(0, text, "get_weather", "c"), does.end("tool_calls"))
    answer = await ask(provider, tools=[WEATHER])
    assert answer.tool_calls == (ToolCall("c", "get_weather", None, text),)


async def test_no_arguments_are_an_empty_object(provider: Stub) -> None:
    provider.act = does.streams(does.call(0, "", "now", "c"), does.end("tool_calls"))
    assert (await ask(provider, tools=[WEATHER])).tool_calls == (ToolCall("c", "now", {}),)


async def test_a_missing_finish_reason_is_no_fault(provider: Stub) -> None:
    provider.act = does.says("Hi", reason=None)
    answer = await ask(provider)
    assert (answer.content, answer.finish_reason) == ("Hi", "stop")


async def test_an_answer_without_choices_is_empty(provider: Stub) -> None:
    provider.act = does.streams(does.counted(does.TOKENS))
    answer = await ask(provider)
    assert (answer.content, answer.finish_reason, answer.tool_calls) == ("", "stop", ())


@pytest.mark.parametrize("reason", ["length", "content_filter"])
async def test_an_answer_that_was_cut_says_so(provider: Stub, reason: str) -> None:
    provider.act = does.says("Once upon", reason=reason)
    assert (await ask(provider)).finish_reason == reason


async def test_tokens_and_cost_are_counted(provider: Stub) -> None:
    provider.act = does.says(
        "Hi",
        usage={
            "prompt_tokens": 1000,
            "completion_tokens": 100,
            "total_tokens": 1100,
            "prompt_tokens_details": {"cached_tokens": 400},
            "completion_tokens_details": {"reasoning_tokens": 60},
        },
    )
    answer = await ask(provider)
    assert answer.usage == Usage(1000, 100, 400, 60)
    # 600 fresh and 400 cached prompt tokens, 100 of the answer, at the prices of gpt-4o.
    assert answer.cost == pytest.approx(600 * 2.5e-6 + 400 * 1.25e-6 + 100 * 10e-6)


async def test_an_unknown_price_is_unknown_and_not_zero(provider: Stub) -> None:
    assert (await ask(provider, model="openai/homemade")).cost is None


async def test_a_server_of_ones_own_needs_no_key(provider: Stub) -> None:
    request = ModelRequest(model="openai/homemade", messages=ASKED)
    answer = await complete(request, GENEROUS, environ={"OPENAI_BASE_URL": provider.url})
    assert answer.content == "Hello"


async def test_a_rate_limit_is_retryable_after_the_time_that_the_provider_names(provider: Stub) -> None:
    provider.act = does.fails(429, "Slow down", Retry_After="7")
    error = await failure(provider, Limits(total_seconds=5))
    assert (error.retryable, error.retry_after_ms) == (True, 7000)
    assert "rate" in str(error)
    assert "Slow down" in str(error)
    assert len(provider.asked) == 1


async def test_an_exact_retry_time_wins(provider: Stub) -> None:
    provider.act = does.fails(429, "Slow down", Retry_After="7", retry_after_ms="1234")
    assert (await failure(provider, Limits(total_seconds=1))).retry_after_ms == 1234


async def test_a_call_that_is_larger_than_a_minutes_limit_is_not_retried(provider: Stub) -> None:
    provider.act = does.fails(429, "Request too large for gpt-4o on tokens per min: Limit 30000, Requested 50000.")
    error = await failure(provider)
    assert not error.retryable
    assert "shorten the conversation" in str(error)


async def test_an_empty_account_is_not_retried(provider: Stub) -> None:
    provider.act = does.fails(429, "You exceeded your current quota", "insufficient_quota")
    error = await failure(provider)
    assert not error.retryable
    assert "OPENAI_API_KEY" in str(error)


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
async def test_a_fault_of_the_provider_is_retryable(provider: Stub, status: int) -> None:
    provider.act = does.fails(status, "Something broke")
    error = await failure(provider)
    assert error.retryable
    assert len(provider.asked) == 1


@pytest.mark.parametrize(
    ("status", "message", "code", "says"),
    [
        (401, f"Incorrect API key provided: {KEY}", "invalid_api_key", "set a valid OPENAI_API_KEY"),
        (403, "Country not supported", None, "may not use openai/gpt-4o: Country"),
        (404, "The model gpt-4o does not exist", "model_not_found", "does not know the model openai/gpt-4o"),
        (400, "This model's maximum context length is 8192 tokens", "context_length_exceeded", "too long for"),
        (400, f"Bad tools for {KEY}", None, "refused the request to openai/gpt-4o (400): Bad tools for ***"),
        (422, "Wrong", None, "refused the request"),
    ],
)
async def test_what_cannot_succeed_is_not_retried_and_says_what_to_change(
    provider: Stub, status: int, message: str, code: str | None, says: str
) -> None:
    provider.act = does.fails(status, message, code)
    error = await failure(provider)
    assert not error.retryable
    assert says in str(error)
    assert "litellm" not in str(error)


async def test_a_setting_that_the_model_does_not_take_is_named(provider: Stub) -> None:
    error = await failure(provider, model="openai/gpt-5", temperature=0.5)
    assert not error.retryable
    assert "temperature" in str(error)


async def test_a_provider_that_is_away_is_retryable() -> None:
    async with serving() as gone:
        pass
    error = await failure(gone)
    assert error.retryable
    assert "cannot be reached" in str(error)


async def test_a_stream_that_breaks_off_is_retryable(provider: Stub) -> None:
    async def act(chat: Any) -> None:
        await chat.send(does.delta(content="It is"))
        chat.request.connection.stream.close()

    provider.act = act
    assert (await failure(provider)).retryable


async def test_an_error_inside_the_stream_is_told(provider: Stub) -> None:
    provider.act = does.streams(does.delta(content="It"), {"error": {"message": "overloaded", "code": 503}})
    error = await failure(provider)
    assert "overloaded" in str(error)


async def test_a_silent_start_hits_the_first_token_limit_and_closes_the_call(provider: Stub) -> None:
    provider.act = does.stalls()
    error = await failure(provider, Limits(first_token_seconds=0.2))
    assert error.retryable
    assert "no token within 0.2 s (AGENTSPAN_FIRST_TOKEN_SECONDS)" in str(error)
    await provider.was_abandoned()


async def test_a_silence_in_the_middle_hits_the_idle_limit_and_closes_the_call(provider: Stub) -> None:
    provider.act = does.stalls(does.delta(content="It is"))
    error = await failure(provider, Limits(idle_seconds=0.2))
    assert error.retryable
    assert "silent for 0.2 s (AGENTSPAN_IDLE_SECONDS)" in str(error)
    await provider.was_abandoned()


async def test_an_endless_answer_hits_the_total_limit(provider: Stub) -> None:
    provider.act = does.goes_on()
    error = await failure(provider, Limits(total_seconds=0.4))
    assert error.retryable
    assert "did not end within 0.4 s (AGENTSPAN_TOTAL_SECONDS)" in str(error)
    await provider.was_abandoned()


@pytest.mark.parametrize("chunks", [(), (does.delta(content="It is"),)])
async def test_cancelling_closes_the_call(provider: Stub, chunks: tuple[dict[str, Any], ...]) -> None:
    provider.act = does.stalls(*chunks)
    heard = asyncio.Event()
    task = asyncio.create_task(ask(provider, on_delta=lambda text: heard.set()))
    await (heard if chunks else provider.reached).wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await provider.was_abandoned()


async def test_agents_do_not_wait_for_each_others_connections(provider: Stub) -> None:
    provider.act = does.stalls(does.delta(content="It is"))
    heard: asyncio.Queue[str] = asyncio.Queue()
    calls = [asyncio.create_task(ask(provider, on_delta=heard.put_nowait)) for _ in range(600)]
    all_heard = asyncio.create_task(_take(heard, len(calls)))
    # A call that fails would never be heard: it shows itself here instead.
    [first, *_], _ = await asyncio.wait({all_heard, *calls}, return_when=asyncio.FIRST_COMPLETED)
    await first
    for call in calls:
        call.cancel()
    assert all(isinstance(each, BaseException) for each in await asyncio.gather(*calls, return_exceptions=True))


async def _take(heard: "asyncio.Queue[str]", count: int) -> None:
    for _ in range(count):
        await heard.get()


async def test_every_provider_of_ours_is_one_of_litellm() -> None:
    await preload()
    import litellm

    known = {str(getattr(each, "value", each)) for each in litellm.provider_list}
    assert {each.prefix for each in PROVIDERS} <= known


async def test_nothing_is_printed_or_logged(
    provider: Stub, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    provider.act = does.fails(400, "Wrong")
    with caplog.at_level(logging.INFO):
        await failure(provider)
    assert capsys.readouterr() == ("", "")
    assert KEY not in caplog.text
