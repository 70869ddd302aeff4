"""Whatever wrong thing is sent, the answer is a status and a sentence, and the server goes on."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from agentspan.agents import Agent, AgentAPIError, AgentNotFoundError, AgentRuntime, ToolDef, tool
from agentspan.errors import InvalidSpec
from tests.acceptance.processes import Server, serving, worker_tool

Json = dict[str, Any]

MB = 1 << 20
PLAIN = {"name": "helper", "model": "scripted/plain"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("bad")
    database = f"sqlite:///{(folder / 'agentspan.db').as_posix()}"
    with serving(folder / "data", database, {"AGENTSPAN_MAX_BODY_BYTES": str(12 * MB)}) as server:
        server.script("plain", [{"content": "Hello.", "times": "forever"}])
        yield server


@pytest.fixture
def runtime(server: Server) -> Iterator[AgentRuntime]:
    with AgentRuntime(server_url=server.url) as runtime:
        yield runtime


def refused(server: Server, status: int, *words: str, content: bytes | None = None, **body: Any) -> str:
    """The sentence with which a start is refused."""
    sent = content if content is not None else json.dumps(body).encode()
    answer = server.http.post("/api/agent/start", content=sent, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    problem = answer.json()
    assert problem["status"] == status
    for word in words:
        assert word in problem["message"], problem["message"]
    assert server.is_ready()
    return str(problem["message"])


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"model": "scripted/plain"}, ["name"]),
        ({"name": "", "model": "scripted/plain"}, ["name"]),
        ({**PLAIN, "maxTurns": 0}, ["max"]),
        ({**PLAIN, "maxTurns": "many"}, ["maxTurns"]),
        ({**PLAIN, "tools": {"not": "a list"}}, ["tools"]),
        ({**PLAIN, "tools": [worker_tool("same"), worker_tool("same")]}, ["same"]),
        ({"name": "team", "strategy": "sideways", "agents": [PLAIN]}, ["sideways"]),
        ([], ["agentConfig"]),
        ({"name": "helper"}, ["no model", "deployed"]),
        ({**PLAIN, "guardrails": [{"name": "g", "guardrailType": "regex", "patterns": ["("]}]}, ["regular expression"]),
        ({**PLAIN, "guardrails": [{"name": "g", "onFail": "shout"}]}, ["onFail"]),
        ({**PLAIN, "requiredTools": ["nothing"]}, ["nothing"]),
        ({"name": "team", "model": "scripted/plain", "strategy": "router", "agents": [PLAIN]}, ["router"]),
        ({"name": "team", "strategy": "swarm", "agents": [PLAIN], "handoffs": [{"target": "nobody"}]}, ["nobody"]),
        ({**PLAIN, "budget": {"tokens": -1}}, ["budget"]),
    ],
)
def test_an_agent_that_cannot_run_is_refused_with_the_reason(server: Server, config: Any, words: list[str]) -> None:
    refused(server, 400, *words, agentConfig=config, prompt="Hi")


def test_what_this_version_does_not_run_is_said_and_not_skipped(server: Server) -> None:
    refused(server, 501, "code execution", agentConfig={**PLAIN, "codeExecution": {"enabled": True}}, prompt="Hi")
    there = {"name": "there", "toolType": "rag_search"}
    refused(server, 501, "tools for media or search", agentConfig={**PLAIN, "tools": [there]}, prompt="Hi")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("nobody/model", ["nobody"]),
        ("opneai/gpt-4o", ["opneai", 'did you mean "openai"']),
        ("gpt-4o", ["openai/gpt-4o"]),
        ("openai/gpt-4o", ["OPENAI_API_KEY"]),
        ("local/llama", ["local/smollm2"]),
        ("openai/", ["openai/MODEL"]),
    ],
)
def test_an_unknown_model_prefix_is_refused_with_a_suggestion(
    server: Server, runtime: AgentRuntime, model: str, words: list[str]
) -> None:
    sentence = refused(server, 400, *words, agentConfig={"name": "helper", "model": model}, prompt="Hi")
    if model.partition("/")[2]:
        with pytest.raises((AgentAPIError, InvalidSpec)) as raised:
            runtime.run(Agent(name="helper", model=model), "Hi")
        assert sentence in str(raised.value)
    else:
        with pytest.raises(ValueError, match='must be "provider/model"'):
            Agent(name="helper", model=model)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "objekt"},
        {"type": "object", "properties": {"a": {"type": "int"}}},
        {"type": "object", "required": "a"},
        {"type": "object", "properties": []},
    ],
)
def test_a_tool_schema_that_is_no_json_schema_is_refused(server: Server, runtime: AgentRuntime, schema: Json) -> None:
    wrong = {"name": "look", "toolType": "worker", "inputSchema": schema}
    sentence = refused(server, 400, "look", agentConfig={**PLAIN, "tools": [wrong]}, prompt="Hi")
    with pytest.raises((AgentAPIError, InvalidSpec)) as raised:
        runtime.run(Agent(name="helper", model="scripted/plain", tools=[ToolDef("look", "", schema, func=print)]), "Hi")
    assert sentence in str(raised.value)


@pytest.mark.parametrize("content", [b"{", b"{'a': 1}", b"\xff\xfe", b'{"prompt": "Hi"', b"nothing"])
def test_malformed_json_is_a_bad_request(server: Server, content: bytes) -> None:
    refused(server, 400, "not JSON", content=content)


def test_a_body_of_another_type_is_refused(server: Server) -> None:
    answer = server.http.post("/api/agent/start", content=b"{}", headers={"Content-Type": "text/plain"})
    assert (answer.status_code, "application/json" in answer.text) == (415, True)


def test_a_prompt_of_ten_megabytes_works(server: Server, runtime: AgentRuntime) -> None:
    server.script("echo", [{"content": "{prompt}"}])
    prompt = "0123456789abcdef" * (10 * MB // 16)
    result = runtime.run(Agent(name="echo", model="scripted/echo"), prompt, timeout=60)
    assert result.output["result"] == prompt
    execution_id = server.run({"name": "echo", "model": "scripted/echo"}, prompt)
    assert server.result(execution_id)["output"]["result"] == prompt


def test_a_body_over_the_limit_is_refused_before_it_is_read(server: Server, runtime: AgentRuntime) -> None:
    prompt = "x" * (13 * MB)
    sentence = refused(server, 413, str(12 * MB), agentConfig=PLAIN, prompt=prompt)
    with pytest.raises(AgentAPIError) as raised:
        runtime.run(Agent(name="helper", model="scripted/plain"), prompt)
    assert (raised.value.status_code, sentence in str(raised.value)) == (413, True)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/agent/{}/status"),
        ("GET", "/api/agent/{}/result"),
        ("GET", "/api/agent/{}/events"),
        ("GET", "/api/agent/stream/{}"),
        ("GET", "/api/agent/execution/{}"),
        ("GET", "/api/workflow/{}"),
        ("POST", "/api/agent/{}/respond"),
        ("POST", "/api/agent/{}/stop"),
        ("PUT", "/api/agent/{}/pause"),
        ("DELETE", "/api/agent/{}/cancel"),
    ],
)
@pytest.mark.parametrize("execution_id", ["01890000-0000-7000-8000-000000000000", "nonsense"])
def test_an_unknown_execution_is_not_found(server: Server, method: str, path: str, execution_id: str) -> None:
    answer = server.http.request(method, path.format(execution_id), json={} if method == "POST" else None)
    assert answer.status_code == 404, answer.text
    assert execution_id in answer.json()["message"]


def test_an_unknown_execution_is_not_found_by_the_sdk(runtime: AgentRuntime) -> None:
    handle = runtime.attach("01890000-0000-7000-8000-000000000000")
    for ask in (handle.get_status, handle.join, handle.stop, handle.cancel, handle.approve, handle.pause):
        with pytest.raises(AgentNotFoundError, match="01890000"):
            ask()
    with pytest.raises(AgentNotFoundError):
        list(handle.stream())
    with pytest.raises(AgentNotFoundError):
        runtime.run("no-such-agent", "Hi")


def test_a_second_response_is_a_conflict(server: Server, runtime: AgentRuntime) -> None:
    @tool(approval_required=True)
    def pay(amount: int) -> str:
        """Pay."""
        return f"paid {amount}"

    server.script("pay", [{"tool_calls": [{"name": "pay", "arguments": {"amount": 3}}]}, {"content": "{result}."}])
    handle = runtime.start(Agent(name="payer", model="scripted/pay", tools=[pay]), "Pay.")
    next(event for event in handle.stream() if event.pending_tool)
    [request] = handle.get_status().requests
    handle.approve(request_id=request["requestId"])
    with pytest.raises(AgentAPIError) as raised:
        handle.reject("too late", request_id=request["requestId"])
    assert raised.value.status_code == 409
    assert handle.join(20).output["result"] == "paid 3."
    answer = server.http.post(f"/api/agent/{handle.execution_id}/respond", json={"approved": True})
    assert (answer.status_code, handle.execution_id in answer.json()["message"]) == (409, True)


def test_a_run_without_anything_to_run_on_is_refused(server: Server) -> None:
    refused(server, 400, "prompt", agentConfig=PLAIN, prompt="  ")
    refused(server, 400, "agentConfig", prompt="Hi")


def test_a_script_that_does_not_exist_fails_the_run_with_its_name(runtime: AgentRuntime) -> None:
    began = time.monotonic()
    result = runtime.run(Agent(name="helper", model="scripted/nowhere"), "Hi", timeout=20)
    assert (result.status, "nowhere" in str(result.error)) == ("FAILED", True)
    assert time.monotonic() - began < 15
