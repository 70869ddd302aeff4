"""GPTAssistantAgent: an assistant that OpenAI keeps, behind one tool."""

import asyncio
from typing import Any

import pytest

from agentspan.agents import AgentRuntime, GPTAssistantAgent
from agentspan.agents.serialize import serialize
from agentspan.spec.wire import encode
from tests.agents.serving import ServerProcess, tool_call
from tests.client.stub import Reply, Request, Stub, stub

KEY = "sk-the-key"


class Assistants:
    """The API, whose assistant repeats what it is told; `ends` are the states of its run, one for each look."""

    def __init__(self, *ends: dict[str, Any]) -> None:
        self.ends = list(ends) or [{"status": "completed"}]
        self.said = ""

    def __call__(self, request: Request) -> Reply:
        path = request.path.partition("?")[0].removeprefix("/v1")
        if request.headers["authorization"] != f"Bearer {KEY}":
            return Reply(401, {"error": {"message": "Incorrect API key provided"}})
        if path == "/threads/t1/messages" and request.method == "POST":
            self.said = request.body["content"]
        if "/runs" in path:
            return Reply(body={"id": "r1", **(self.ends.pop(0) if len(self.ends) > 1 else self.ends[0])})
        return Reply(body={"/assistants": {"id": "a1"}, "/threads": {"id": "t1"}}.get(path) or self._messages())

    def _messages(self) -> dict[str, Any]:
        said = [{"type": "text", "text": {"value": f"You said {self.said}."}}, {"type": "image_file"}]
        return {"data": [{"role": "assistant", "content": said}]}


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Any:
    def lead(api: Stub) -> None:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{api.url}/v1")
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    return lead


async def test_the_answer_of_the_assistant_is_the_answer_of_the_agent(
    runtime: AgentRuntime, server: ServerProcess, at: Any
) -> None:
    async with stub(Assistants({"status": "queued"}, {"status": "in_progress"}, {"status": "completed"})) as api:
        at(api)
        model = server.script("assistant", tool_call("helper_assistant_call", message="hi"))
        agent = GPTAssistantAgent("helper", "a7", model=model, api_key=KEY)
        result = await runtime.run_async(agent, "hi")
    assert "You said hi." in str(result.output["result"])
    assert [call["name"] for call in result.tool_calls] == ["helper_assistant_call"]
    assert api.requests[2].body == {"assistant_id": "a7"}
    assert {each.headers["openai-beta"] for each in api.requests} == {"assistants=v2"}


async def test_without_an_id_one_assistant_is_made_at_the_first_call(at: Any) -> None:
    async with stub(Assistants()) as api:
        at(api)
        agent = GPTAssistantAgent("helper", instructions="Help.", openai_tools=["file_search"], api_key=KEY)
        answers = await asyncio.gather(agent.ask("one"), agent.ask("one"))
    made = [each.body for each in api.requests if each.path == "/v1/assistants"]
    assert made == [{"name": "helper", "model": "gpt-4o", "instructions": "Help.", "tools": [{"type": "file_search"}]}]
    assert answers == ["You said one."] * 2
    assert agent.assistant_id == "a1"


async def test_the_key_is_read_from_the_environment_at_each_call(at: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with stub(Assistants()) as api:
        at(api)
        agent = GPTAssistantAgent("helper", "a7")
        assert await agent.ask("x") == (
            "Error: there is no key for OpenAI: give api_key=, or set OPENAI_API_KEY in this process"
        )
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        assert await agent.ask("x") == "You said x."


def test_the_key_is_no_part_of_the_definition() -> None:
    agent = GPTAssistantAgent("helper", api_key=KEY)
    spec = serialize(agent)
    assert KEY not in str(encode(spec))
    assert (spec.max_turns, [each.name for each in spec.tools]) == (1, ["helper_assistant_call"])
    assert list(spec.tools[0].input_schema["properties"]) == ["message"]


FAILED = {"status": "failed", "last_error": {"code": "rate_limit_exceeded", "message": "too many"}}
ENDS: dict[str, tuple[dict[str, Any], str]] = {
    "failed": (FAILED, "Error: the assistant's run ended failed: too many"),
    "expired": ({"status": "expired"}, "Error: the assistant's run ended expired: no explanation given"),
    "functions": ({"status": "requires_action"}, "Error: the assistant calls functions of its own"),
}


@pytest.mark.parametrize("name", ENDS)
async def test_a_run_that_does_not_complete_is_told_in_words(name: str, at: Any) -> None:
    end, told = ENDS[name]
    async with stub(Assistants(end)) as api:
        at(api)
        assert (await GPTAssistantAgent("helper", "a7", api_key=KEY).ask("x")).startswith(told)


async def test_a_refusal_is_told_in_the_words_of_the_api(at: Any) -> None:
    async with stub(Assistants()) as api:
        at(api)
        assert "401: Incorrect API key provided" in await GPTAssistantAgent("helper", "a7", api_key="wrong").ask("x")


async def test_an_address_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    told = await GPTAssistantAgent("helper", "a7", api_key=KEY).ask("x")
    assert told.startswith("Error: OpenAI's Assistants API does not answer at http://127.0.0.1:1/v1/threads")
