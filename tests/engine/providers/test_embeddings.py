"""Vectors of texts: from a provider on loopback, and by their words alone."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from agentspan.engine.providers import embed
from agentspan.engine.providers.embeddings import lexical
from agentspan.errors import AgentspanError, BadInput, InvalidSpec, ModelFailure
from tests.engine.providers import stub as does
from tests.engine.providers.settings import GENEROUS, Limits
from tests.engine.providers.stub import Chat, Stub, serving

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("litellm"),
    pytest.mark.filterwarnings("ignore:Accessing the 'model_:DeprecationWarning"),
]

KEY = {"OPENAI_API_KEY": "key-of-openai"}
MODEL = "openai/text-embedding-3-small"


@pytest_asyncio.fixture(loop_scope="module")
async def provider() -> AsyncIterator[Stub]:
    async with serving() as stub:
        yield stub


def vectors(*rows: list[float]) -> dict[str, Any]:
    data = [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(rows)]
    return {"object": "list", "model": "m", "data": data[::-1], "usage": {"prompt_tokens": 5, "total_tokens": 5}}


async def test_a_provider_gives_a_vector_for_each_text_in_their_order(provider: Stub) -> None:
    provider.act = does.gives(vectors([1, 0], [0, 1.5]))
    assert await embed(MODEL, ["one", "two"], GENEROUS, provider.url, KEY) == [[1.0, 0.0], [0.0, 1.5]]
    assert provider.paths == ["/v1/embeddings"]
    assert (provider.asked[0]["model"], provider.asked[0]["input"]) == ("text-embedding-3-small", ["one", "two"])
    assert provider.keys == ["Bearer key-of-openai"]


async def test_a_refusal_for_the_rate_rests_the_quota_and_the_call_goes_again(provider: Stub) -> None:
    left = 2

    async def act(chat: Chat) -> None:
        nonlocal left
        left -= 1
        await (does.fails(429, "Slow", retry_after_ms="5") if left >= 0 else does.gives(vectors([1])))(chat)

    provider.act = act
    assert await embed(MODEL, ["one"], GENEROUS, provider.url, KEY) == [[1.0]]
    assert len(provider.asked) == 3


@pytest.mark.parametrize(
    ("act", "says", "retryable"),
    [
        (does.fails(401, "No such key"), "set a valid OPENAI_API_KEY", False),
        (does.fails(500, "Broken"), "failed (500)", True),
        (does.gives(vectors([1])), "gave 1 vectors for 2 texts", True),
        (does.stalls(), "did not answer within 0.3 s", True),
    ],
)
async def test_what_goes_wrong_is_told_in_a_sentence(provider: Stub, act: Any, says: str, retryable: bool) -> None:
    provider.act = act
    with pytest.raises(ModelFailure) as caught:
        await embed(MODEL, ["one", "two"], Limits(total_seconds=0.3), provider.url, KEY)
    assert says in str(caught.value)
    assert len(provider.asked) == 1
    assert caught.value.retryable is retryable


@pytest.mark.parametrize(
    ("model", "texts", "error", "says"),
    [
        ("local/smollm2", ["one"], BadInput, "makes no embeddings"),
        (MODEL, ["one", " "], BadInput, "must have a word"),
        ("cohere/embed-v4", ["one"], InvalidSpec, "needs COHERE_API_KEY"),
        ("nobody/x", ["one"], InvalidSpec, "no model provider"),
    ],
)
async def test_what_cannot_be_embedded_is_refused(
    model: str, texts: list[str], error: type[AgentspanError], says: str
) -> None:
    with pytest.raises(error, match=says):
        await embed(model, texts, GENEROUS, environ=KEY)


async def test_no_texts_are_no_vectors() -> None:
    assert await embed(MODEL, [], GENEROUS, environ=KEY) == []


async def test_a_scripted_model_is_near_what_shares_its_words() -> None:
    asked, near, far = await embed(
        "scripted/any", ["The cat sleeps", "a cat that sleeps", "Invoices of May"], GENEROUS, environ={}
    )
    assert sum(each * each for each in asked) == pytest.approx(1)
    assert product(asked, near) > 0.4 > product(asked, far)
    assert lexical("The cat sleeps") == asked == lexical("the CAT, sleeps!")


def product(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))
