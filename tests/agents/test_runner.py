"""The names of the OpenAI Agents SDK: Runner and what it gives back."""

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from agentspan.agents import Agent, AgentEvent, AgentRuntime, ConversationMemory, ToolContext, agent_tool, tool
from agentspan.agents.runner import Runner, RunResult, RunResultStreaming
from tests.agents.serving import ServerProcess, tool_call


@pytest.fixture
def speaker(server: ServerProcess) -> Agent:
    return Agent("speaker", server.script("runner-speaker", {"content": "I hear {prompt}.", "times": "forever"}))


async def test_a_run_gives_its_answer_and_who_gave_it(runtime: AgentRuntime, speaker: Agent) -> None:
    result = await Runner.run(speaker, "one", runtime=runtime)
    assert (result.final_output, result.last_agent.name) == ("I hear one.", "speaker")
    assert runtime.attach(result.execution_id).get_status().is_complete


def test_code_that_does_not_await_runs_it_too(runtime: AgentRuntime, speaker: Agent) -> None:
    assert Runner.run_sync(speaker, "one", runtime=runtime).final_output == "I hear one."


def test_a_list_of_messages_is_a_conversation_and_its_end(runtime: AgentRuntime, speaker: Agent) -> None:
    first = Runner.run_sync(speaker, "one", runtime=runtime)
    given = [*first.to_input_list(), {"role": "user", "content": [{"type": "input_text", "text": "two"}]}]
    second = Runner.run_sync(speaker, given, runtime=runtime)
    messages = runtime.attach(second.execution_id).join().messages
    assert [each["content"] for each in messages] == ["one", "I hear one.", "two", "I hear two."]
    assert second.to_input_list() == [*given, {"role": "assistant", "content": "I hear two."}]
    assert speaker.memory is None


def test_the_agent_is_left_as_it_was(runtime: AgentRuntime, server: ServerProcess) -> None:
    @tool
    def look() -> str:
        """Look."""
        return "seen"

    model = server.script("runner-looker", *(tool_call("look") for _ in range(3)), "done")
    looker = Agent("looker", model, tools=[look])
    result = Runner.run_sync(looker, "go", max_turns=2, context=object(), runtime=runtime)
    assert runtime.attach(result.execution_id).join().finish_reason == "max_turns"
    assert (looker.max_turns, looker.stateful, looker.dependencies) == (25, False, {})


def test_a_dict_is_the_run_s_first_state(runtime: AgentRuntime, server: ServerProcess) -> None:
    @tool
    def whose(context: ToolContext) -> str:
        """Say whose."""
        return str(context.state["owner"])

    asker = Agent("asker", server.script("runner-state", tool_call("whose"), "{tool_result}"), tools=[whose])
    result = Runner.run_sync(asker, "go", context={"owner": "Ada"}, runtime=runtime)
    assert [each["result"] for each in runtime.attach(result.execution_id).join().tool_calls] == ["Ada"]


def test_any_other_object_reaches_the_tools_of_its_own_run_and_no_other(
    runtime: AgentRuntime, server: ServerProcess
) -> None:
    both, seen = threading.Barrier(2, timeout=20), []

    @tool
    def note(context: ToolContext) -> str:
        """Note."""
        both.wait()
        seen.append((context.execution_id, context.dependencies["context"]))
        return "noted"

    first, second = object(), object()
    models = [server.script(f"runner-noter-{each}", tool_call("note"), "done") for each in (1, 2)]
    agents = [Agent("noter", each, tools=[note]) for each in models]
    streams = [
        Runner.run_streamed(each, "go", context=given, runtime=runtime)
        for each, given in zip(agents, (first, second), strict=True)
    ]
    results = [runtime.portal.call(each.get_result()) for each in streams]
    told = dict(seen)
    assert [told[each.execution_id] for each in results] == [first, second]


def test_agents_below_have_the_object_too(runtime: AgentRuntime, server: ServerProcess) -> None:
    seen: list[Any] = []

    @tool
    def deep(context: ToolContext) -> str:
        """Look deep."""
        seen.append(context.dependencies)
        return "seen"

    below = Agent(
        "below", server.script("runner-below", tool_call("deep"), "ok"), tools=[deep], dependencies={"own": 1}
    )
    top = Agent("top", server.script("runner-top", tool_call("below", request="x"), "ok"), tools=[agent_tool(below)])
    given = object()
    assert Runner.run_sync(top, "go", context=given, runtime=runtime).final_output == "ok"
    assert seen == [{"own": 1, "context": given}]
    assert below.dependencies == {"own": 1}


def test_who_was_handed_to_is_the_last_agent(runtime: AgentRuntime, server: ServerProcess) -> None:
    expert = Agent("expert", server.script("runner-expert", {"content": "42", "times": "forever"}))
    desk = Agent("desk", server.script("runner-desk", {"content": "expert", "times": "forever"}), agents=[expert])
    result = Runner.run_sync(desk, "go", runtime=runtime)
    assert (result.last_agent.name, result.final_output) == ("expert", "42")


@pytest.mark.parametrize("session", ["runner-talk", SimpleNamespace(session_id="runner-talk-2")], ids=["id", "object"])
def test_a_session_goes_on(runtime: AgentRuntime, speaker: Agent, session: Any) -> None:
    Runner.run_sync(speaker, "one", session=session, runtime=runtime)
    second = Runner.run_sync(speaker, "two", session=session, run_config=None, runtime=runtime)
    messages = runtime.attach(second.execution_id).join().messages
    assert [each["content"] for each in messages] == ["one", "I hear one.", "two", "I hear two."]


def test_what_means_nothing_here_is_named(runtime: AgentRuntime, speaker: Agent) -> None:
    with pytest.warns(UserWarning, match="unknown parameter 'run_config' is ignored"):
        Runner.run_sync(speaker, "one", run_config=object(), runtime=runtime)


async def test_a_streamed_run_is_there_at_once_and_tells_its_events(runtime: AgentRuntime, speaker: Agent) -> None:
    streamed = Runner.run_streamed(speaker, "one", runtime=runtime)
    assert (streamed.final_output, streamed.is_complete) == (None, False)
    with pytest.raises(RuntimeError, match="has not ended"):
        streamed.to_input_list()
    assert (await streamed) is streamed
    assert streamed.execution_id
    events = [event async for event in streamed.stream_events()]
    assert events[-1].type == "done"
    assert (streamed.final_output, streamed.last_agent.name) == ("I hear one.", "speaker")
    assert streamed.to_input_list()[-1] == {"role": "assistant", "content": "I hear one."}


async def collect(streamed: RunResultStreaming, seen: list[AgentEvent]) -> None:
    async for event in streamed.stream_events():
        seen.append(event)


async def test_a_run_that_fails_raises(runtime: AgentRuntime, server: ServerProcess) -> None:
    answer = {"content": "", "errors": [{"status": 401, "message": "the key is wrong"}], "times": "forever"}
    broken = Agent("broken", server.script("runner-broken", answer))
    with pytest.raises(RuntimeError, match=r"ended FAILED: .*the key is wrong"):
        await Runner.run(broken, "go", runtime=runtime)
    seen: list[AgentEvent] = []
    with pytest.raises(RuntimeError, match="the key is wrong"):
        await collect(Runner.run_streamed(broken, "go", runtime=runtime), seen)
    assert (seen[-1].type, seen[-1].final) == ("error", True)


async def test_a_streamed_run_that_cannot_start_says_so_when_it_is_awaited(speaker: Agent) -> None:
    with AgentRuntime(server_url="http://127.0.0.1:1") as nowhere, pytest.raises(ConnectionError):
        await Runner.run_streamed(speaker, "one", runtime=nowhere)


REMEMBERING = Agent("keeper", "scripted/x", memory=ConversationMemory())
TALK = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
REFUSED: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "no messages": ({"input": []}, TypeError, "text or a list"),
    "a number": ({"input": 3}, TypeError, "got int"),
    "not the user last": ({"input": TALK[:2]}, ValueError, "must be the user's, its role is 'assistant'"),
    "a call": ({"input": [{"type": "function_call"}]}, ValueError, "a message is"),
    "an image": ({"input": [{"role": "user", "content": [{"image_url": "x"}]}]}, ValueError, "media=.*"),
    "two histories": ({"input": TALK, "agent": REMEMBERING}, ValueError, "the memory of agent 'keeper' has"),
    "a session's history": ({"input": TALK, "session": "s"}, ValueError, "the session has the conversation already"),
    "no session": ({"session": object()}, TypeError, "session must be an id"),
    "no turns": ({"max_turns": 0}, ValueError, "max_turns must be 1 or more"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_run_is_refused_at_once(name: str) -> None:
    given, kind, told = REFUSED[name]
    for use in (Runner.run_sync, Runner.run_streamed):
        with pytest.raises(kind, match=told):
            use(**{"agent": Agent("x", "scripted/x"), "input": "hi", **given})


def test_an_answer_that_is_no_text_is_written_as_json() -> None:
    answer = RunResult({"a": 1}, "run", input="q").to_input_list()[1]
    assert answer == {"role": "assistant", "content": '{"a": 1}'}
