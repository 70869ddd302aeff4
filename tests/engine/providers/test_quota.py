"""Rate limits and time limits of whole calls: a refusal rests the quota, a silence changes the next attempt."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from agentspan.config import Limit
from agentspan.engine import limiter
from agentspan.engine.providers import ModelAnswer, ModelRequest, check_limits, complete, register
from agentspan.engine.providers.call import MOST_REFUSALS
from agentspan.errors import ConfigurationProblem, ModelFailure
from tests.engine.providers import stub as does
from tests.engine.providers.settings import GENEROUS, Limits
from tests.engine.providers.stub import Chat, Stub, serving

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("litellm"),
    pytest.mark.filterwarnings("ignore:Accessing the 'model_:DeprecationWarning"),
]

ASKED = [{"role": "user", "content": "Hi"}]


@pytest_asyncio.fixture(loop_scope="module")
async def provider() -> AsyncIterator[Stub]:
    async with serving() as stub:
        yield stub


async def ask(
    provider: Stub, limits: Limits = GENEROUS, on_delta: Any = None, key: str = "one", **fields: Any
) -> ModelAnswer:
    request = ModelRequest(**{"model": "openai/gpt-4o", "messages": ASKED, "base_url": provider.url} | fields)
    return await complete(request, limits, on_delta, environ={"OPENAI_API_KEY": key})


def refuses(times: int, **headers: str) -> Any:
    """Refuse for the rate so many times, then answer."""
    left = times

    async def act(chat: Chat) -> None:
        nonlocal left
        left -= 1
        await (does.fails(429, "Slow down", **headers) if left >= 0 else does.says("Hello"))(chat)

    return act


async def test_a_refused_call_is_made_again_in_the_same_attempt(provider: Stub) -> None:
    provider.act = refuses(3, retry_after_ms="10")
    answer = await ask(provider)
    assert answer.content == "Hello"
    assert len(provider.asked) == 4


async def test_a_provider_that_is_overloaded_and_names_a_time_is_left_alone_until_then(provider: Stub) -> None:
    left = [503, 529]

    async def act(chat: Chat) -> None:
        await (does.fails(left.pop(), "Overloaded", retry_after_ms="10") if left else does.says("Hello"))(chat)

    provider.act = act
    assert (await ask(provider)).content == "Hello"
    assert len(provider.asked) == 3


async def test_refusals_without_end_are_a_failure_that_names_the_time(provider: Stub) -> None:
    provider.act = refuses(100, retry_after_ms="5")
    with pytest.raises(ModelFailure) as caught:
        await ask(provider)
    assert (caught.value.retryable, caught.value.retry_after_ms) == (True, 5)
    assert len(provider.asked) == MOST_REFUSALS


async def test_a_refusal_pauses_the_other_calls_of_the_key_and_they_do_not_fail(provider: Stub) -> None:
    provider.act = does.fails(429, "Slow down", Retry_After="1000")
    with pytest.raises(ModelFailure):
        await ask(provider)
    provider.act = does.says("Hello")
    waiting = [asyncio.create_task(ask(provider)) for _ in range(5)]
    assert (await ask(provider, key="another")).content == "Hello"
    [quota] = [each for each in limiter.here().quotas.values() if each.waiting]
    assert quota.waiting == 5
    assert quota.rested >= 1000
    assert len(provider.asked) == 2
    for call in waiting:
        call.cancel()
    await asyncio.wait(waiting)
    assert quota.waiting == 0


async def test_many_calls_get_through_a_provider_that_takes_few_at_once(provider: Stub) -> None:
    open_calls, most = 0, 0

    async def act(chat: Chat) -> None:
        nonlocal open_calls, most
        open_calls += 1
        most = max(most, open_calls)
        try:
            if open_calls > 3:
                await does.fails(429, "Slow down", retry_after_ms="20")(chat)
            else:
                await asyncio.sleep(0.005)
                await does.says("Hello")(chat)
        finally:
            open_calls -= 1

    provider.act = act
    answers = await asyncio.gather(*(ask(provider) for _ in range(30)))
    assert [each.content for each in answers] == ["Hello"] * 30


async def test_a_limit_of_calls_at_once_holds_for_all_of_the_provider(provider: Stub) -> None:
    limited = Limits(limits=(Limit("openai", concurrency=2),))
    over = asyncio.Event()

    async def act(chat: Chat) -> None:
        await chat.send(does.delta(content="It is"))
        await over.wait()

    provider.act = act
    heard: asyncio.Queue[str] = asyncio.Queue()
    calls = [asyncio.create_task(ask(provider, limited, heard.put_nowait)) for _ in range(4)]
    await heard.get()
    await heard.get()
    assert len(provider.asked) == 2
    calls[0].cancel()
    await heard.get()
    assert len(provider.asked) == 3
    over.set()
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)


async def test_a_limit_under_a_providers_other_name_holds_too(provider: Stub) -> None:
    limited = Limits(limits=(Limit("google_gemini", concurrency=1), Limit("scripted", concurrency=1)))
    register("limited", [{"content": "Hi"}])
    await complete(ModelRequest(model="scripted/limited", messages=ASKED), limited)
    quotas = limiter.here().quotas
    assert quotas["scripted"].limit == Limit("scripted", concurrency=1)
    request = ModelRequest(model="gemini/gemini-2.5-flash", messages=ASKED, base_url=provider.url)
    provider.act = does.fails(400, "No")
    with pytest.raises(ModelFailure):
        await complete(request, limited, environ={"GEMINI_API_KEY": "k"})
    [quota] = [each for each in quotas.values() if each.provider == "gemini"]
    assert quota.limit is limited.limits[0]


async def test_a_limit_of_a_provider_that_nobody_has_stops_the_start() -> None:
    check_limits((Limit("openai", rpm=1), Limit("google_gemini", rpm=1), Limit("scripted", rpm=1)))
    with pytest.raises(ConfigurationProblem, match='"opanai", which is no model provider'):
        check_limits((Limit("opanai", rpm=1),))


async def test_after_a_silence_the_next_attempt_is_not_streamed(provider: Stub) -> None:
    provider.act = does.stalls(does.delta(content="It is"))
    with pytest.raises(ModelFailure, match="AGENTSPAN_IDLE_SECONDS"):
        await ask(provider, Limits(idle_seconds=0.1), seed="a:1")
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "It is sunny."}}
    body = {"id": "c", "object": "chat.completion", "model": "m", "choices": [choice], "usage": does.TOKENS}

    async def act(chat: Chat) -> None:
        await asyncio.sleep(0.3)
        await does.gives(body)(chat)

    provider.act = act
    heard: list[str] = []
    hasty = Limits(idle_seconds=0.1, first_token_seconds=0.1)
    answer = await ask(provider, hasty, heard.append, seed="a:1", attempt=1)
    assert answer.content == "It is sunny." == "".join(heard)
    assert "stream" not in provider.asked[1]


async def test_each_answer_that_does_not_end_halves_the_next(provider: Stub) -> None:
    provider.act = does.goes_on()
    for attempt in range(3):
        with pytest.raises(ModelFailure, match="AGENTSPAN_TOTAL_SECONDS"):
            await ask(provider, Limits(total_seconds=0.1), seed="b:1", attempt=attempt, max_tokens=1000)
    assert [each["max_tokens"] for each in provider.asked] == [1000, 500, 250]
    with pytest.raises(ModelFailure):
        await ask(provider, Limits(total_seconds=0.1), seed="b:2")
    provider.act = does.says("Short.")
    await ask(provider, seed="b:2", attempt=1)
    assert provider.asked[-1]["max_tokens"] == 4096


async def test_another_turn_and_an_attempt_after_another_fault_are_made_as_ever(provider: Stub) -> None:
    provider.act = does.stalls()
    with pytest.raises(ModelFailure):
        await ask(provider, Limits(first_token_seconds=0.1), seed="c:1")
    provider.act = does.says("Hello")
    await ask(provider, seed="c:2", attempt=1)
    await ask(provider, seed="c:1", attempt=1, model="openai/gpt-4o-mini")
    await ask(provider, seed="c:1", attempt=0)
    assert [each["stream"] for each in provider.asked] == [True] * 4
