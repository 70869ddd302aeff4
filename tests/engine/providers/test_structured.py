"""How a provider is told of the schema that its answer should have."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from agentspan.engine.providers import ModelAnswer, ModelRequest, complete
from agentspan.errors import ModelFailure
from tests.engine.providers import stub as does
from tests.engine.providers.settings import GENEROUS
from tests.engine.providers.stub import Chat, Stub, serving

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("litellm"),
    pytest.mark.filterwarnings("ignore:Accessing the 'model_:DeprecationWarning"),
]

KEYS = {"OPENAI_API_KEY": "key-of-openai", "ANTHROPIC_API_KEY": "key-of-anthropic", "GEMINI_API_KEY": "key-of-gemini"}
CITY = {"type": "object", "properties": {"city": {"type": "string"}, "size": {"type": "integer", "default": 3}}}
CLOSED = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "size": {"type": "integer"}},
    "required": ["city", "size"],
    "additionalProperties": False,
}
FREE = {"type": "object", "additionalProperties": {"type": "integer"}}
CHAIN = {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}


@pytest_asyncio.fixture(loop_scope="module")
async def provider() -> AsyncIterator[Stub]:
    async with serving() as stub:
        yield stub


async def ask(provider: Stub, model: str, schema: dict[str, Any], **fields: Any) -> ModelAnswer:
    base = provider.url if model.startswith("openai") else provider.url.removesuffix("/v1")
    given = {"messages": [{"role": "user", "content": "Answer in JSON."}]} | fields
    request = ModelRequest(model=model, base_url=base, response_schema={"name": "City", "schema": schema}, **given)
    return await complete(request, GENEROUS, environ=KEYS)


async def sent(provider: Stub, model: str, schema: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """The body of the request, whatever becomes of it."""
    provider.act = does.fails(418, "I am a teapot")
    with pytest.raises(ModelFailure):
        await ask(provider, model, schema, **fields)
    return provider.asked[-1]


async def test_openai_is_given_the_schema_in_its_strict_form(provider: Stub) -> None:
    body = await sent(provider, "openai/gpt-4o", CITY)
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "City", "schema": CLOSED, "strict": True},
    }


async def test_openai_is_given_a_schema_that_cannot_be_closed_as_it_is(provider: Stub) -> None:
    body = await sent(provider, "openai/gpt-4o", FREE)
    assert body["response_format"]["json_schema"] == {"name": "City", "schema": FREE, "strict": False}


async def test_openai_takes_tools_and_a_recursive_schema_in_one_call(provider: Stub) -> None:
    body = await sent(provider, "openai/gpt-4o", CHAIN, tools=[TOOL])
    assert body["response_format"]["json_schema"]["strict"] is True
    assert body["tools"] == [TOOL]


async def test_a_model_of_which_little_is_known_is_put_into_json_mode_if_it_was_told_of_json(provider: Stub) -> None:
    body = await sent(provider, "openai/homemade", CITY)
    assert body["response_format"] == {"type": "json_object"}
    body = await sent(provider, "openai/homemade", CITY, messages=[{"role": "user", "content": "Hi"}])
    assert "response_format" not in body


async def test_a_list_is_left_to_the_words_of_the_conversation(provider: Stub) -> None:
    assert "response_format" not in await sent(provider, "openai/gpt-4o", {"type": "array", "items": CITY})


async def test_anthropic_is_given_the_schema_beside_its_tools(provider: Stub) -> None:
    for tools in ([], [TOOL]):
        body = await sent(provider, "anthropic/claude-sonnet-4-5", CITY, tools=tools)
        assert body["output_format"] == {"type": "json_schema", "schema": CLOSED}
        assert "tool_choice" not in body


async def test_older_models_of_anthropic_are_not_forced_into_a_tool(provider: Stub) -> None:
    body = await sent(provider, "anthropic/claude-3-5-sonnet-20241022", CITY, tools=[TOOL])
    assert "tool_choice" not in body
    assert [each["name"] for each in body["tools"]] == ["look"]


async def test_gemini_is_given_the_schema_if_there_are_no_tools(provider: Stub) -> None:
    body = await sent(provider, "gemini/gemini-2.5-flash", CITY)
    assert body["generationConfig"]["response_mime_type"] == "application/json"
    assert body["generationConfig"]["response_json_schema"]["required"] == ["city", "size"]
    body = await sent(provider, "gemini/gemini-2.5-flash", CITY, tools=[TOOL])
    assert "response_mime_type" not in body.get("generationConfig", {})


@pytest.mark.parametrize("model", ["anthropic/claude-sonnet-4-5", "gemini/gemini-2.5-flash"])
async def test_a_recursive_schema_is_left_to_the_words_where_it_cannot_be_sent(provider: Stub, model: str) -> None:
    body = await sent(provider, model, CHAIN)
    assert "output_format" not in body
    assert "response_mime_type" not in body.get("generationConfig", {})


async def test_a_schema_that_the_provider_refuses_is_left_out_at_once(provider: Stub) -> None:
    async def act(chat: Chat) -> None:
        refused = "response_format" in provider.asked[-1]
        await (does.fails(400, "Invalid schema for response_format 'City'") if refused else does.says("{}"))(chat)

    provider.act = act
    answer = await ask(provider, "openai/gpt-4o", CITY)
    assert answer.content == "{}"
    assert ["response_format" in each for each in provider.asked] == [True, False]
