"""Media on their way to providers: each gets them in its own shape, or the call says what it does not take."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from agentspan.engine.providers import ModelRequest, complete, local, register
from agentspan.errors import ModelFailure
from agentspan.spec.media import parts
from tests.engine.providers import stub as does
from tests.engine.providers.settings import GENEROUS
from tests.engine.providers.stub import Stub, serving

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("litellm"),
    pytest.mark.filterwarnings("ignore:Accessing the 'model_:DeprecationWarning"),
]

PROVIDERS = ("OPENAI", "ANTHROPIC", "GEMINI", "MISTRAL")
KEYS = {f"{name}_API_KEY": f"key-of-{name}" for name in PROVIDERS}
PNG, WAV, PDF = (
    base64.b64encode(each).decode() for each in (b"\x89PNG\r\n\x1a\n" + bytes(4), b"RIFF....WAVEfmt ", b"%PDF-1.7\n")
)


@pytest_asyncio.fixture(loop_scope="module")
async def provider() -> AsyncIterator[Stub]:
    async with serving() as stub:
        yield stub


async def ask(provider: Stub, model: str, medium: str) -> ModelFailure:
    provider.act = does.fails(418, "I am a teapot")
    base = provider.url if model.startswith("openai") else provider.url.removesuffix("/v1")
    messages = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, *parts([medium])]}]
    with pytest.raises(ModelFailure) as caught:
        await complete(ModelRequest(model=model, messages=messages, base_url=base), GENEROUS, environ=KEYS)
    return caught.value


async def sent(provider: Stub, model: str, medium: str) -> Any:
    """The second part of the message, as the provider got it."""
    await ask(provider, model, medium)
    [body] = provider.asked
    [message] = body.get("messages") or body["contents"]
    return (message.get("content") or message["parts"])[1]


@pytest.mark.parametrize("medium", [PNG, WAV, PDF, "https://example.com/a.png", "data:text/plain,Hello"])
async def test_openai_gets_the_parts_as_they_are(provider: Stub, medium: str) -> None:
    assert [await sent(provider, "openai/gpt-4o", medium)] == parts([medium])


@pytest.mark.parametrize(
    ("medium", "part"),
    [
        (PNG, {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}),
        ("https://example.com/a.png", {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}),
        (PDF, {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}}),
        (
            "https://example.com/a.pdf",
            {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}},
        ),
    ],
)
async def test_anthropic_gets_images_and_documents(provider: Stub, medium: str, part: dict[str, Any]) -> None:
    assert await sent(provider, "anthropic/claude-sonnet-4-5", medium) == part


@pytest.mark.parametrize(("medium", "mime"), [(PNG, "image/png"), (WAV, "audio/wav"), (PDF, "application/pdf")])
async def test_gemini_gets_all_of_them_inline(provider: Stub, medium: str, mime: str) -> None:
    part = await sent(provider, "gemini/gemini-2.5-flash", medium)
    assert part == {"inline_data": {"data": medium, "mime_type": mime}}


@pytest.mark.parametrize(
    ("model", "medium", "says"),
    [
        ("anthropic/claude-sonnet-4-5", WAV, "takes no audio; it takes text, image, PDF"),
        ("anthropic/claude-sonnet-4-5", "https://example.com/a.mp3", "takes no audio"),
        ("anthropic/claude-sonnet-4-5", "https://example.com/a.txt", "takes no text by address"),
        ("mistral/pixtral", WAV, "takes no audio"),
        ("ollama/llava", PDF, "takes no PDF; it takes text, image"),
    ],
)
async def test_what_would_be_left_out_is_refused(provider: Stub, model: str, medium: str, says: str) -> None:
    error = await ask(provider, model, medium)
    assert says in str(error)
    assert not error.retryable
    assert provider.asked == []


async def test_the_local_model_takes_only_text() -> None:
    request = ModelRequest(model="local/smollm2", messages=[{"role": "user", "content": parts([PNG])}])
    with pytest.raises(ModelFailure, match="takes no images, audio or documents"):
        await local.answer(request, GENEROUS, lambda text: None, {})


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/a.png", "http://169.254.169.254/latest/meta-data"])
async def test_no_private_address_is_fetched_for_a_provider_that_takes_none(provider: Stub, address: str) -> None:
    error = await ask(provider, "gemini/gemini-2.5-flash", address)
    assert "only public addresses are fetched" in str(error)
    assert address in str(error)
    assert not error.retryable
    assert provider.asked == []


async def test_a_scripted_model_answers_to_the_text(provider: Stub) -> None:
    register("looks", [{"content": "You ask: {prompt}"}])
    messages = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, *parts([PNG])]}]
    answer = await complete(ModelRequest(model="scripted/looks", messages=messages), GENEROUS)
    assert answer.content == "You ask: What is it?"
    assert answer.usage.prompt_tokens == 3
