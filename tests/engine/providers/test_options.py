"""How the settings of an agent reach each provider, in its own words."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from agentspan.engine.providers import ModelRequest, complete
from agentspan.errors import ModelFailure
from tests.engine.providers import stub as does
from tests.engine.providers.settings import GENEROUS
from tests.engine.providers.stub import Stub, serving

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("litellm"),
    pytest.mark.filterwarnings("ignore:Accessing the 'model_:DeprecationWarning"),
]

CLAUDE, GEMINI = "anthropic/claude-sonnet-4-5", "gemini/gemini-2.5-flash"
KEYS = {f"{name}_API_KEY": f"key-of-{name}" for name in ("OPENAI", "ANTHROPIC", "GEMINI")}
ASKED = {"role": "user", "content": "Hi"}
CALL = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}
CALLED = {"role": "assistant", "content": "", "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "c", "content": "nothing"}
THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": "s"}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}


@pytest_asyncio.fixture(loop_scope="module")
async def provider() -> AsyncIterator[Stub]:
    async with serving() as stub:
        yield stub


async def failure(provider: Stub, model: str, **fields: Any) -> ModelFailure:
    provider.act = does.fails(418, "I am a teapot")
    base = provider.url if model.startswith("openai") else provider.url.removesuffix("/v1")
    request = ModelRequest(model=model, base_url=base, **{"messages": [ASKED]} | fields)
    with pytest.raises(ModelFailure) as caught:
        await complete(request, GENEROUS, environ=KEYS)
    return caught.value


async def sent(provider: Stub, model: str, **fields: Any) -> dict[str, Any]:
    await failure(provider, model, **fields)
    [body] = provider.asked
    return body


@pytest.mark.parametrize(
    ("model", "fields", "words"),
    [
        ("openai/gpt-4o", {"temperature": 0.5, "max_tokens": 99}, {"temperature": 0.5, "max_tokens": 99}),
        ("openai/o3", {"max_tokens": 99}, {"max_completion_tokens": 99}),
        ("openai/gpt-5", {"reasoning_effort": "minimal"}, {"reasoning_effort": "minimal"}),
        ("openai/my-own", {"reasoning_effort": "low"}, {"reasoning_effort": "low"}),
        (CLAUDE, {"temperature": 0.5, "max_tokens": 99}, {"temperature": 0.5, "max_tokens": 99}),
        (CLAUDE, {"thinking_budget_tokens": 2048}, {"thinking": {"type": "enabled", "budget_tokens": 2048}}),
        (CLAUDE, {"reasoning_effort": "low"}, {"thinking": {"type": "enabled", "budget_tokens": 1024}}),
        (
            GEMINI,
            {"temperature": 0.5, "max_tokens": 99},
            {"generationConfig": {"temperature": 0.5, "max_output_tokens": 99}},
        ),
        (
            GEMINI,
            {"thinking_budget_tokens": 2048},
            {"generationConfig": {"thinkingConfig": {"includeThoughts": True, "thinkingBudget": 2048}}},
        ),
    ],
)
async def test_each_provider_is_told_in_its_own_words(
    provider: Stub, model: str, fields: dict[str, Any], words: dict[str, Any]
) -> None:
    body = await sent(provider, model, **fields)
    assert {name: body[name] for name in words} == words


async def test_room_is_left_for_an_answer_beside_the_thoughts(provider: Stub) -> None:
    assert (await sent(provider, CLAUDE, thinking_budget_tokens=2048))["max_tokens"] > 2048


@pytest.mark.parametrize(
    ("model", "fields", "name"),
    [
        ("openai/gpt-4o", {"thinking_budget_tokens": 2048}, "thinking"),
        ("openai/gpt-4o", {"reasoning_effort": "low"}, "reasoning_effort"),
        ("openai/gpt-5", {"temperature": 0.5}, "temperature"),
    ],
)
async def test_what_a_model_does_not_take_is_named_and_never_left_out(
    provider: Stub, model: str, fields: dict[str, Any], name: str
) -> None:
    error = await failure(provider, model, **fields)
    assert "does not take a setting of this agent" in str(error)
    assert name in str(error)
    assert not error.retryable
    assert provider.asked == []


async def test_claude_does_not_think_on_amid_calls_whose_thoughts_are_gone(provider: Stub) -> None:
    fields = {"thinking_budget_tokens": 2048, "tools": [TOOL]}
    body = await sent(provider, CLAUDE, messages=[ASKED, CALLED, RESULT], **fields)
    assert "thinking" not in body


async def test_claude_thinks_on_when_it_is_given_its_thoughts(provider: Stub) -> None:
    fields = {"thinking_budget_tokens": 2048, "tools": [TOOL]}
    called = {**CALLED, "thinking_blocks": [THOUGHT]}
    body = await sent(provider, CLAUDE, messages=[ASKED, called, RESULT], **fields)
    assert body["thinking"]["budget_tokens"] == 2048
    assert body["messages"][1]["content"][0] == THOUGHT
