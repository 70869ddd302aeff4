"""Credentials of tools: declared, fetched, there for one call alone, and taken out of whatever it says."""

import asyncio
import base64
import os
import stat
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest

from agentspan.agents import (
    Agent,
    AgentRuntime,
    CredentialAuthError,
    CredentialFile,
    CredentialNotFoundError,
    CredentialRateLimitError,
    CredentialServiceError,
    ToolContext,
    get_credential,
    get_secret,
    resolve_credentials,
    tool,
)
from agentspan.agents.credentials import asked
from agentspan.agents.pool import Pool
from agentspan.agents.registry import Registry
from agentspan.agents.runtime.credentials import WorkerCredentialFetcher
from agentspan.agents.worker import Call
from agentspan.client.client import Client
from agentspan.spec.redact import forms, redacted
from tests.agents.serving import ServerProcess, tool_call

Json = dict[str, Any]

KEY = "sk-canary-0123456789"
OTHER = "other-canary-0123456789"
POOL = Pool("test")


async def perform(
    function: Any,
    came: Json | None = None,
    *,
    told: Any = None,
    resolve: Any = None,
    given: Json | None = None,
    **more: Any,
) -> Json:
    """The TaskResult of a task of this tool that came with these values, and with what the server says of them."""
    agent = Agent("helper", "m/x", tools=[function], **more)
    registry = Registry()
    registry.add(agent)
    name = agent.tools[0]._tool_def.name
    data = {**(given or {}), **({} if told is None else {"__agentspan_ctx__": told})}
    task = {"taskId": "t", "workflowInstanceId": "e", "taskDefName": name, "inputData": data}
    if came is not None:
        task["runtimeMetadata"] = came
    options = {} if resolve is None else {"resolve": resolve}
    return await Call(task, registry.find("helper", name), ToolContext(), POOL, **options).perform("w")


async def said(function: Any, *args: Any, **more: Any) -> Any:
    """What the tool returned."""
    result = await perform(function, *args, **more)
    assert result["status"] == "COMPLETED", result
    return result["outputData"]["result"]


def answering(*tokens: str, **values: str) -> Callable[[str, Sequence[str]], Any]:
    """A server that knows these tokens and has these values."""

    async def resolve(token: str, names: Sequence[str]) -> dict[str, str]:
        assert token in tokens
        return {name: values[name] for name in names if name in values}

    return resolve


# What a tool may read


async def test_a_tool_reads_what_it_declares_in_a_thread_and_on_a_loop() -> None:
    @tool(credentials=["KEY"])
    def plain() -> int:
        return len(get_credential("KEY") + get_secret("KEY"))

    @tool(credentials=["KEY"])
    async def later() -> int:
        await asyncio.sleep(0)
        return len(get_secret("KEY") + await asyncio.to_thread(get_secret, "KEY"))

    for function in (plain, later):
        assert await said(function, {"KEY": KEY}) == 2 * len(KEY)


async def test_a_plain_function_has_them_in_its_environment_while_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER", "as it was")
    monkeypatch.delenv("KEY", raising=False)

    @tool(credentials=["KEY", "OTHER"])
    def plain() -> bool:
        return (os.environ["KEY"], os.environ["OTHER"]) == (KEY, OTHER)

    @tool(credentials=["KEY", "OTHER"])
    def broken() -> None:
        raise RuntimeError(f"{len(os.environ['KEY'])}")

    assert await said(plain, {"KEY": KEY, "OTHER": OTHER}) is True
    assert (await perform(broken, {"KEY": KEY, "OTHER": OTHER}))["status"] == "FAILED"
    assert ("KEY" in os.environ, os.environ["OTHER"]) == (False, "as it was")


async def test_calls_that_need_the_same_values_run_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEY", raising=False)
    both = threading.Barrier(2, timeout=10)

    @tool(credentials=["KEY"])
    def plain() -> bool:
        both.wait()
        there = os.environ["KEY"] == KEY
        both.wait()
        return there

    assert await asyncio.gather(*(said(plain, {"KEY": KEY}) for _ in range(2))) == [True, True]
    assert "KEY" not in os.environ


async def test_a_call_that_needs_another_value_waits_for_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEY", raising=False)
    began, may_end = threading.Event(), threading.Event()

    @tool(credentials=["KEY"])
    def first() -> bool:
        began.set()
        may_end.wait(10)
        return os.environ["KEY"] == KEY

    @tool(credentials=["KEY"])
    def second() -> list[bool]:
        return [os.environ["KEY"] == OTHER, may_end.is_set()]

    one = asyncio.create_task(said(first, {"KEY": KEY}))
    await asyncio.to_thread(began.wait, 10)
    two = asyncio.create_task(said(second, {"KEY": OTHER}))
    await asyncio.sleep(0)
    may_end.set()
    assert (await one, await two) == (True, [True, True])


async def test_a_file_is_there_while_the_tool_runs() -> None:
    seen: list[Path] = []

    @tool(credentials=[CredentialFile("KUBECONFIG", ".kube/config"), CredentialFile("LOCAL", "a.txt", "from here")])
    def plain() -> bool:
        paths = [Path(os.environ["KUBECONFIG"]), Path(os.environ["LOCAL"])]
        seen.extend(paths)
        assert paths[0].as_posix().endswith("/.kube/config")
        if os.name == "posix":
            assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600}
        return (
            [path.read_text() for path in paths]
            == [KEY, "from here"]
            == [get_secret("KUBECONFIG"), get_secret("LOCAL")]
        )

    assert await said(plain, {"KUBECONFIG": KEY}) is True
    assert len(seen) == 2
    assert not any(path.exists() or path.parent.exists() for path in seen)


async def test_a_tool_that_declares_nothing_is_given_what_its_agent_and_run_declare() -> None:
    @tool
    def plain() -> list[str]:
        return [name for name in ("KEY", "OTHER", "FILE") if len(os.environ.get(name, "")) > 3 and get_secret(name)]

    agent = [CredentialFile("FILE", "f", "content here"), "KEY"]
    told = {"execution_token": "t", "credentials": ["KEY", "OTHER"]}
    assert await said(plain, {"KEY": KEY, "OTHER": OTHER}, told=told, credentials=agent) == ["KEY", "OTHER", "FILE"]


async def test_a_tool_is_not_given_what_only_another_declares() -> None:
    @tool(credentials=["KEY"])
    def plain() -> str:
        return get_secret("OTHER")

    result = await perform(plain, {"KEY": KEY, "OTHER": OTHER})
    assert result["status"] == "FAILED_WITH_TERMINAL_ERROR"
    assert result["reasonForIncompletion"] == (
        "CredentialNotFoundError: no such credential: OTHER (plain is given: KEY; declare it by credentials=['OTHER'])"
    )


def test_outside_of_a_tool_there_are_none() -> None:
    for read in (get_credential, get_secret):
        with pytest.raises(CredentialNotFoundError, match="inside a tool that declares them") as caught:
            read("KEY")
        assert caught.value.missing_names == ["KEY"]


async def test_after_the_call_a_thread_knows_nothing_of_it() -> None:
    @tool(credentials=["KEY"])
    def plain() -> str:
        return str(bool(get_secret("KEY")))

    @tool
    def curious() -> str:
        return get_secret("KEY")

    pool = await said(plain, {"KEY": KEY})
    assert pool == "True"
    assert "inside a tool" not in (await perform(curious))["reasonForIncompletion"]
    assert (await perform(curious))["status"] == "FAILED_WITH_TERMINAL_ERROR"


# Where the values come from


async def test_what_did_not_come_with_the_task_is_asked_for_by_its_token() -> None:
    @tool(credentials=["KEY", "OTHER"])
    def plain() -> bool:
        return (get_secret("KEY"), get_secret("OTHER")) == (KEY, OTHER)

    resolve = answering("token", KEY="not asked for", OTHER=OTHER)
    for told in ({"execution_token": "token"}, "token"):
        assert await said(plain, {"KEY": KEY}, told=told, resolve=resolve) is True


async def test_all_that_is_missing_is_named_and_not_tried_again() -> None:
    @tool(credentials=["KEY", "OTHER", "THIRD"])
    def plain() -> None:
        raise AssertionError("it must not run")

    result = await perform(plain, {}, told="token", resolve=answering("token", OTHER=OTHER))
    assert result["status"] == "FAILED_WITH_TERMINAL_ERROR"
    assert result["reasonForIncompletion"] == (
        "CredentialNotFoundError: no such credential: KEY, THIRD (store it with `agentspan credentials set KEY`)"
    )
    assert "without a token" in (await perform(plain, {}))["reasonForIncompletion"]


async def test_what_kept_them_back_is_the_task_s_failure() -> None:
    @tool(credentials=["KEY"])
    def plain() -> None:
        raise AssertionError("it must not run")

    result = await perform(plain, {}, told={"problem": "set AGENTSPAN_MASTER_KEY"})
    assert result["reasonForIncompletion"] == "CredentialServiceError: set AGENTSPAN_MASTER_KEY"
    assert result["status"] == "FAILED_WITH_TERMINAL_ERROR"


@pytest.mark.parametrize("told", ["token", {"execution_token": "token"}])
def test_workers_of_one_s_own_find_them_in_any_form_of_a_task(told: Any) -> None:
    data = {"a": 1, "__agentspan_ctx__": told}

    conductor = SimpleNamespace(input_data=data, runtime_metadata={"KEY": KEY, "OTHER": OTHER})
    came = {"inputData": data, "runtimeMetadata": {"KEY": KEY}}
    for task in (conductor, came):
        assert resolve_credentials(task, ["KEY"]) == {"KEY": KEY}
    with pytest.raises(CredentialNotFoundError, match="without a token"):
        resolve_credentials({"a": 1}, ["KEY"])


# What may be declared


def test_what_is_no_credential_is_refused_where_it_is_declared() -> None:
    def plain() -> None: ...

    for make in (
        lambda given: tool(plain, credentials=given),
        lambda given: Agent("a", "m/x", credentials=given),
        lambda given: AgentRuntime(server_url="http://127.0.0.1:1").run(Agent("a", "m/x"), "hi", credentials=given),
    ):
        for wrong in ("KEY", [3]):
            with pytest.raises(TypeError, match="credential"):
                make(wrong)
        for wrong in (["a b"], ["bindings"], [""]):
            with pytest.raises(ValueError, match="credential"):
                make(wrong)
    with pytest.raises(TypeError, match=r"CredentialFile\('KEY'\)"):
        AgentRuntime(server_url="http://127.0.0.1:1").run(
            Agent("a", "m/x"), "hi", credentials=[CredentialFile("KEY", "f")]
        )
    for path in ("", "/etc/passwd", "../up", "a/../../b"):
        with pytest.raises(ValueError, match="relative_path"):
            CredentialFile("KEY", path)


def test_no_repr_shows_a_value() -> None:
    assert KEY not in repr(CredentialFile("KEY", "f", KEY))


# What leaves the process


ODD = 'p"ss/w\\rd+ü&=%'


@pytest.mark.parametrize("value", [KEY, ODD])
async def test_a_value_is_taken_out_of_whatever_a_call_says(value: str) -> None:
    data = value.encode()
    told = [
        value,
        f"Bearer {value}",
        quote(value, safe=""),
        data.hex(),
        data.hex().upper(),
        base64.b64encode(data).decode(),
        *(base64.b64encode(b"user"[:length] + b":" + data + b":x").decode() for length in range(4)),
        {"nested": [{value: value}]},
        repr(value),
    ]

    @tool(credentials=["KEY"])
    def leaky(state: ToolContext) -> Any:
        print(f"using {get_secret('KEY')}")
        state.state["token"] = get_secret("KEY")
        return told

    @tool(credentials=["KEY"])
    def broken() -> None:
        raise RuntimeError(f"GET https://x/?key={quote(get_secret('KEY'), safe='')} failed: {get_secret('KEY')!r}")

    left = [value, quote(value, safe=""), data.hex(), data.hex().upper(), base64.b64encode(data).decode()[:-2]]
    for function in (leaky, broken):
        text = repr(await perform(function, {"KEY": value}))
        assert "${KEY}" in text
        assert [each for each in left if each in text] == []


def test_short_values_and_other_texts_are_left_alone() -> None:
    said = {"text": "yes, on port 443", "number": 443, "none": None, "list": [True, 1.5]}
    assert redacted(said, {"A": "on", "B": "443", "C": ""}) == said
    assert redacted(said, {}) is said
    assert forms("short") == set()


def test_a_line_of_a_long_key_is_taken_out_too() -> None:
    pem = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQ\n-----END PRIVATE KEY-----\n"
    assert redacted(["MIIEvQIBADANBgkqhkiG9w0BAQ"], {"PEM": pem}) == ["${PEM}"]


def test_the_longer_of_two_values_goes_first() -> None:
    assert redacted("abcdefgh abcdef", {"A": "abcdef", "B": "abcdefgh"}) == "${B} ${A}"


# In real runs


@pytest.fixture
def stored(server: ServerProcess, runtime: AgentRuntime) -> Client:
    """The client of a server that keeps KEY and OTHER."""

    async def store() -> Client:
        client = await runtime.client()
        await client.save_credential("KEY", KEY)
        await client.save_credential("OTHER", OTHER)
        await client.delete_credential("MISSING")
        return client

    return runtime.portal.call(store())


def test_a_run_s_tools_are_given_what_they_declare(
    server: ServerProcess, runtime: AgentRuntime, stored: Client
) -> None:
    @tool(credentials=["KEY"])
    def own() -> list[bool]:
        return [get_secret("KEY") == KEY, os.environ["KEY"] == KEY]

    @tool
    async def of_the_run() -> bool:
        return get_secret("OTHER") == OTHER

    @tool(credentials=["KEY", "MISSING"])
    def missing() -> None:
        raise AssertionError("it must not run")

    model = server.script("credentialed", tool_call("own"), tool_call("of_the_run"), tool_call("missing"), "done")
    result = runtime.run(
        Agent("helper", model, tools=[own, of_the_run, missing]), "go", credentials=["OTHER"], timeout=30
    )
    first, second, third = result.tool_calls
    assert (first["result"], second["result"]) == ([True, True], True)
    assert third["error"].startswith("CredentialNotFoundError: no such credential: MISSING (store it")
    used = runtime.portal.call(stored.used_credentials(result.execution_id))
    assert sorted({each["name"] for each in used}) == ["KEY", "OTHER"]


def test_a_model_is_told_the_name_and_never_the_value(
    server: ServerProcess, runtime: AgentRuntime, stored: Client
) -> None:
    @tool(credentials=["KEY"])
    def leaky() -> str:
        return f"the key is {get_secret('KEY')}"

    model = server.script("nosy", tool_call("leaky"), "I read: {result}")
    result = runtime.run(Agent("helper", model, tools=[leaky]), "go", timeout=30)
    assert result.output["result"] == "I read: the key is ${KEY}"


async def test_what_a_server_refuses_has_an_error_of_its_own(server: ServerProcess, stored: Client) -> None:
    fetcher = WorkerCredentialFetcher(server.url)
    with pytest.raises(CredentialAuthError, match="no execution token"):
        await fetcher.fetch_async("wrong", ["KEY"])
    with pytest.raises(CredentialServiceError) as caught:
        await fetcher.fetch_async("wrong", ["a b"])
    assert caught.value.status_code == 400
    with pytest.raises(CredentialServiceError) as caught:
        await asked(Client("http://127.0.0.1:1"), "token", ["KEY"])
    assert caught.value.status_code == 0


async def test_a_token_that_asks_too_often_is_told_so(
    server: ServerProcess, runtime: AgentRuntime, stored: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = {"name": "asker", "model": server.script("asker", tool_call("outside"), "done")}
    outside = {"name": "outside", "toolType": "worker", "config": {"credentials": ["KEY"]}}
    await stored.start({"agentConfig": {**agent, "tools": [outside]}, "prompt": "go"})
    poll = {"workerId": "w", "queues": [{"name": "outside"}], "count": 1, "timeoutMs": 10_000}
    (task,) = await stored.poll(poll)
    del task["runtimeMetadata"]
    monkeypatch.setenv("AGENTSPAN_SERVER_URL", server.url)
    assert await asyncio.to_thread(resolve_credentials, task["inputData"], ["KEY"]) == {"KEY": KEY}
    token = task["inputData"]["__agentspan_ctx__"]["execution_token"]

    async def ask_often() -> None:
        for _ in range(250):  # at most two minutes are touched
            await asked(stored, token, ["KEY"])

    with pytest.raises(CredentialRateLimitError, match="120 times"):
        await ask_often()
