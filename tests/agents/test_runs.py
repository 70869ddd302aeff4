"""Runs from start to result, against a real server."""

import asyncio
import threading
import time
import warnings
from typing import Any

import pytest

from agentspan.agents import (
    Agent,
    AgentAPIError,
    AgentConfig,
    AgentNotFoundError,
    AgentRuntime,
    AgentspanError,
    EventType,
    FinishReason,
    RegexGuardrail,
    RunSettings,
    ServerUnreachableError,
    SessionBusyError,
    Status,
    ToolContext,
    WorkerMissingError,
    agent,
    tool,
)
from tests.agents.serving import ServerProcess, tool_call


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


@pytest.fixture
def weather(server: ServerProcess) -> Agent:
    model = server.script("weather", tool_call("get_weather", city="Paris"), "It is {result}.")
    return Agent("forecaster", model, "Be brief.", [get_weather])


@pytest.fixture
def plain(server: ServerProcess) -> Agent:
    return Agent("plain", server.script("plain", "You said {prompt}."))


def test_an_agent_calls_a_tool_and_answers(runtime: AgentRuntime, weather: Agent) -> None:
    result = runtime.run(weather, "How is it in Paris?")
    assert result.status is Status.COMPLETED, result.error
    assert result.is_success
    assert result.output["result"] == "It is sunny in Paris."
    assert result.output["finishReason"]
    assert result.finish_reason is FinishReason.STOP
    assert [(call["name"], call["args"], call["result"]) for call in result.tool_calls] == [
        ("get_weather", {"city": "Paris"}, "sunny in Paris")
    ]
    assert [message["role"] for message in result.messages] == ["system", "user", "assistant", "tool", "assistant"]
    kinds = [event.type for event in result.events]
    assert kinds.index(EventType.TOOL_CALL) < kinds.index(EventType.TOOL_RESULT) < kinds.index(EventType.DONE)
    assert result.token_usage is not None
    assert result.token_usage.total_tokens > 0
    assert result.cost == 0
    assert result.error is None
    assert result.agent_name == "forecaster"


def test_a_result_prints_itself(runtime: AgentRuntime, weather: Agent, capsys: pytest.CaptureFixture[str]) -> None:
    result = runtime.run(weather, "How is it in Paris?")
    result.print_result()
    said = capsys.readouterr().out
    assert "It is sunny in Paris." in said
    assert "Tool calls: 1" in said
    assert result.execution_id in said


def test_an_agent_function_runs_directly(runtime: AgentRuntime, server: ServerProcess) -> None:
    @agent(model=server.script("plain", "You said {prompt}."))
    def echo() -> None:
        """Repeat."""

    result = runtime.run(echo, "hello")
    assert result.output["result"] == "You said hello."
    assert result.messages[0]["content"] == "Repeat."


def test_runs_work_from_every_kind_of_code(server: ServerProcess, plain: Agent) -> None:
    runtime = AgentRuntime(server_url=server.url)

    async def once() -> str:
        return str((await runtime.run_async(plain, "hi")).output["result"])

    async def blocking_inside_a_loop() -> str:
        return str(runtime.run(plain, "hi").output["result"])

    async def many() -> list[str]:
        return await asyncio.gather(*(once() for _ in range(5)))

    told = [asyncio.run(once()), asyncio.run(once()), asyncio.run(blocking_inside_a_loop()), *asyncio.run(many())]
    thread = threading.Thread(target=lambda: told.append(runtime.run(plain, "hi").output["result"]))
    thread.start()
    thread.join()
    assert told == ["You said hi."] * 9
    runtime.shutdown()
    runtime.shutdown()


async def test_a_runtime_is_an_async_context_manager(server: ServerProcess, plain: Agent) -> None:
    async with AgentRuntime(server_url=f"{server.url}/api/") as runtime:
        handle = await runtime.start_async(plain, "hi")
        assert (await handle.join_async()).is_success
        status = await handle.get_status_async()
        assert (status.status, status.is_complete, status.is_running) == ("COMPLETED", True, False)


def test_results_come_at_once(runtime: AgentRuntime, plain: Agent) -> None:
    runtime.run(plain, "warm")
    began = time.perf_counter()
    for _ in range(5):
        runtime.run(plain, "hi")
    assert (time.perf_counter() - began) / 5 < 0.5


def test_pipelines_and_teams_run_with_their_tools(runtime: AgentRuntime, server: ServerProcess) -> None:
    first = Agent("first", server.script("first", tool_call("get_weather", city="Oslo"), "{result}"), "", [get_weather])
    second = Agent("second", server.script("second", "Then: {prompt}"))
    result = runtime.run(first >> second, "weather?")
    assert result.is_success, result.error
    assert "sunny in Oslo" in result.output["result"]
    team = Agent("team", agents=[first, second], strategy="parallel")
    both = runtime.run(team, "weather?")
    assert set(both.sub_results) == {"first", "second"}
    assert [call["agentName"] for call in both.tool_calls] == ["first"]
    assert {tuple(event.path) for event in both.events if event.path} >= {("first",), ("second",)}


def test_a_failed_run_is_a_result(runtime: AgentRuntime, server: ServerProcess) -> None:
    model = server.script("broken", {"content": "", "errors": [{"status": 401, "message": "the key is wrong"}]})
    result = runtime.run(Agent("broken", model), "hi")
    assert result.status is Status.FAILED
    assert result.is_failed
    assert result.finish_reason is FinishReason.ERROR
    assert "the key is wrong" in str(result.error)
    assert result.output == {"error": result.error, "status": "FAILED"}
    assert result.events[-1].type is EventType.ERROR
    assert result.events[-1].final


def test_max_turns_end_a_run_with_their_own_reason(runtime: AgentRuntime, server: ServerProcess) -> None:
    model = server.script("loop", {**tool_call("get_weather", city="x"), "content": "on it", "times": "forever"})
    result = runtime.run(Agent("loop", model, "", [get_weather], max_turns=2), "hi")
    assert result.finish_reason is FinishReason.MAX_TURNS
    assert result.output["result"]


def test_a_time_out_of_the_waiting_says_how_to_wait_on(runtime: AgentRuntime, server: ServerProcess) -> None:
    slow = Agent("slow", server.script("slow", {"content": "At last.", "delay_ms": 1500}))
    with pytest.raises(
        TimeoutError, match=r"The run goes on; wait for it with runtime.attach\('.*'\).join\(\)"
    ) as told:
        runtime.run(slow, "hi", timeout=0.3)
    execution_id = str(told.value).split("'")[1]
    assert runtime.attach(execution_id).join(timeout=10).output["result"] == "At last."


def test_a_run_has_its_own_settings_for_once(runtime: AgentRuntime, server: ServerProcess, plain: Agent) -> None:
    other = server.script("other", "The other model.")
    assert runtime.run(plain, "hi", run_settings=RunSettings(model=other)).output["result"] == "The other model."
    assert runtime.run(plain, "hi").output["result"] == "You said hi."


def test_the_same_idempotency_key_is_the_same_run(runtime: AgentRuntime, plain: Agent) -> None:
    first = runtime.start(plain, "hi", idempotency_key="order-7")
    second = runtime.start(plain, "hi", idempotency_key="order-7")
    assert first.execution_id == second.execution_id
    assert runtime.start(plain, "hi").execution_id != first.execution_id


def test_a_run_needs_something_to_work_on(runtime: AgentRuntime, plain: Agent) -> None:
    for prompt in (None, "", "  "):
        with pytest.raises(ValueError, match="prompt"):
            runtime.run(plain, prompt)


def test_an_unknown_parameter_is_told_with_what_may_have_been_meant(runtime: AgentRuntime, plain: Agent) -> None:
    with pytest.warns(UserWarning, match="'contxt' is ignored; did you mean 'context'"):
        assert runtime.run(plain, "hi", contxt={}).is_success


def test_an_unknown_run_is_not_found(runtime: AgentRuntime, plain: Agent) -> None:
    handle = runtime.attach("no-such-run")
    for ask in (handle.get_status, handle.join, handle.pause, lambda: list(handle.stream())):
        with pytest.raises(AgentNotFoundError) as told:
            ask()
        assert told.value.status_code == 404
        assert "{" not in told.value.message
    with pytest.raises(AgentNotFoundError):
        runtime.resume("no-such-run", plain)


def test_an_unknown_model_is_an_error_with_the_server_s_sentence(runtime: AgentRuntime) -> None:
    with pytest.raises(AgentAPIError, match='There is no model provider "nobody"') as told:
        runtime.run(Agent("a", "nobody/nothing"), "hi")
    assert told.value.status_code == 400
    assert "{" not in told.value.message


def test_nobody_at_the_address_says_what_to_start() -> None:
    runtime = AgentRuntime(server_url="http://127.0.0.1:9")
    with pytest.raises(ServerUnreachableError, match=r"127.0.0.1:9.*start one with `agentspan server start`") as told:
        runtime.run(Agent("a", "m/x"), "hi")
    assert isinstance(told.value, ConnectionError)


def test_a_tool_that_nobody_serves_is_named(server: ServerProcess, weather: Agent) -> None:
    config = AgentConfig(server_url=server.url, auto_start_workers=False, missing_worker_grace_seconds=0.5)
    with AgentRuntime(config=config) as runtime:
        unique = Agent("lonely", weather.model, "", [tool(name="get_weather_lonely")(get_weather.__wrapped__)])
        unique.model = server.script("lonely", tool_call("get_weather_lonely", city="x"), "{result}")
        with pytest.raises(WorkerMissingError, match=r"'get_weather_lonely' since \d{4}-.*runtime.serve") as told:
            runtime.run(unique, "hi")
        waiting = runtime.get_status(told.value.execution_id).waiting_for
        assert [each["tool"] for each in waiting] == ["get_weather_lonely"]
        with pytest.raises(WorkerMissingError):
            runtime.run(unique, "hi", on_event=lambda event: None)
    with AgentRuntime(server_url=server.url) as other:
        assert other.resume(told.value.execution_id, unique).join(10).output["result"] == "sunny in x"


def test_the_wait_survives_a_slow_worker_that_is_there(server: ServerProcess) -> None:
    @tool
    def dawdle() -> str:
        """Take long."""
        time.sleep(1.5)
        return "done"

    config = AgentConfig(server_url=server.url, missing_worker_grace_seconds=0.5)
    with AgentRuntime(config=config) as runtime:
        slow = Agent("dawdler", server.script("dawdler", tool_call("dawdle"), "{result}"), "", [dawdle])
        assert runtime.run(slow, "hi").output["result"] == "done"


# Events


def test_events_are_told_in_the_caller_s_thread(runtime: AgentRuntime, weather: Agent) -> None:
    seen: list[Any] = []

    def look(event: Any) -> None:
        seen.append((event.type, threading.current_thread()))
        runtime.get_status(event.execution_id)

    result = runtime.run(weather, "hi", on_event=look)
    assert {thread for _, thread in seen} == {threading.current_thread()}
    kinds = [kind for kind, _ in seen]
    assert kinds[-1] is EventType.DONE
    assert EventType.TOKEN in kinds
    assert [event.type for event in result.events] == [kind for kind in kinds if kind is not EventType.TOKEN]


def test_what_a_listener_raises_reaches_the_caller(runtime: AgentRuntime, weather: Agent) -> None:
    def fail(event: Any) -> None:
        raise LookupError("no")

    with pytest.raises(LookupError, match="no"):
        runtime.run(weather, "hi", on_event=fail)


async def test_a_listener_may_be_async(server: ServerProcess, weather: Agent) -> None:
    seen = []

    async def look(event: Any) -> None:
        await asyncio.sleep(0)
        seen.append(event.type)

    async with AgentRuntime(server_url=server.url) as runtime:
        await runtime.run_async(weather, "hi", on_event=look)
    assert seen[-1] is EventType.DONE


def test_a_stream_goes_on_where_it_was_left(runtime: AgentRuntime, weather: Agent) -> None:
    stream = runtime.stream(weather, "hi")
    seen = []
    for _ in range(20):
        for event in stream:
            if event.id is not None:
                seen.append(event.id)
                break
    assert seen == sorted(set(seen))
    assert seen == [event.id for event in stream.events] == [event.id for event in stream.result.events]
    assert stream.get_result().output["result"] == "It is sunny in Paris."
    assert list(stream) == []


async def test_an_async_stream_goes_on_where_it_was_left(server: ServerProcess, weather: Agent) -> None:
    async with AgentRuntime(server_url=server.url) as runtime:
        stream = await runtime.stream_async(weather, "hi")
        seen = []
        for _ in range(20):
            async for event in stream:
                if event.id is not None:
                    seen.append(event.id)
                    break
        result = await stream.get_result()
        assert seen == sorted(set(seen)) == [event.id for event in result.events]
        assert stream.result is result
        again = [event async for event in stream.handle.stream_async()]
        assert [event.id for event in again if event.id] == seen
        assert [event.id for event in await stream.handle.events_async(after=seen[1])] == seen[2:]


def test_a_stream_s_result_needs_no_iterating(runtime: AgentRuntime, weather: Agent) -> None:
    stream = runtime.stream(weather, "hi")
    result = stream.get_result()
    assert result.is_success
    assert stream.events == result.events != []


def test_a_stream_needs_something_to_stream(runtime: AgentRuntime, weather: Agent) -> None:
    with pytest.raises(ValueError, match="handle"):
        runtime.stream()
    handle = runtime.start(weather, "hi")
    assert [event.type for event in runtime.stream(handle=handle)][-1] is EventType.DONE


def test_a_stream_goes_past_errors_that_are_tried_again(runtime: AgentRuntime, server: ServerProcess) -> None:
    attempts = []

    @tool(retry_count=1, retry_delay_seconds=0)
    def flaky() -> str:
        """Fail once."""
        attempts.append(1)
        if len(attempts) == 1:
            raise ValueError("not yet")
        return "now"

    stream = runtime.stream(Agent("flaky", server.script("flaky", tool_call("flaky"), "{result}"), "", [flaky]), "hi")
    errors = [event for event in stream if event.type is EventType.ERROR]
    assert [(event.final, "ValueError: not yet" in event.content) for event in errors] == [(False, True)]
    assert stream.result.status is Status.COMPLETED
    assert stream.result.output["result"] == "now"


def test_a_stream_goes_past_checks_that_failed(runtime: AgentRuntime, server: ServerProcess) -> None:
    guard = RegexGuardrail("secret", on_fail="retry", message="no secrets")
    leaky = Agent("leaky", server.script("leaky-stream", "The secret is 7.", "I may not say."), guardrails=[guard])
    stream = runtime.stream(leaky, "hi")
    checks = [event.type for event in stream if event.guardrail_name == "regex_guardrail"]
    assert checks == [EventType.GUARDRAIL_FAIL, EventType.GUARDRAIL_PASS]
    assert stream.result.status is Status.COMPLETED
    assert stream.result.output["result"] == "I may not say."


def test_calls_that_run_at_once_are_paired_with_their_results(runtime: AgentRuntime, server: ServerProcess) -> None:
    slow_first = threading.Event()

    @tool
    def measure(place: str) -> str:
        """Measure."""
        if place == "top":
            assert slow_first.wait(10)
        else:
            slow_first.set()
        return f"{place} measured"

    both = {"tool_calls": [{"name": "measure", "arguments": {"place": place}} for place in ("top", "foot")]}
    result = runtime.run(Agent("both", server.script("both", both, "{results}"), "", [measure]), "hi")
    args = {event.call_id: event.args for event in result.events if event.type is EventType.TOOL_CALL}
    said = {event.call_id: event.result for event in result.events if event.type is EventType.TOOL_RESULT}
    assert {args[call]["place"]: said[call] for call in args if args[call]} == {  # type: ignore[index]
        "top": "top measured",
        "foot": "foot measured",
    }
    assert [(call["args"]["place"], call["result"]) for call in result.tool_calls] == [
        ("top", "top measured"),
        ("foot", "foot measured"),
    ]


def test_who_speaks_is_told_and_results_of_parallel_agents_come_by_name(
    runtime: AgentRuntime, server: ServerProcess
) -> None:
    pair = [Agent(name, server.script(f"{name}-pair", f"I am {name}.")) for name in ("ann", "bob")]
    turns = runtime.run(Agent("turns", agents=pair, strategy="round_robin", max_turns=2), "hi")
    assert [event.target for event in turns.events if event.type is EventType.SPEAKER] == ["ann", "bob"]
    both = runtime.run(Agent("both", agents=pair, strategy="parallel"), "hi")
    assert both.sub_results == {"ann": "I am ann.", "bob": "I am bob."}


# Steering


def test_a_run_is_paused_and_goes_on(runtime: AgentRuntime, server: ServerProcess) -> None:
    slow = Agent("slow", server.script("slow2", {"content": "At last.", "delay_ms": 500}))
    handle = runtime.start(slow, "hi")
    handle.pause()
    assert handle.get_status().status == "PAUSED"
    handle.resume()
    assert handle.join(10).is_success
    with pytest.raises(AgentspanError) as told:
        handle.resume()
    assert told.value.status == 409


def test_a_run_is_cancelled(runtime: AgentRuntime, server: ServerProcess) -> None:
    handle = runtime.start(Agent("slow", server.script("slower", {"content": "x", "delay_ms": 60_000})), "hi")
    runtime.cancel(handle.execution_id, "enough")
    result = handle.join(10)
    assert (result.status, result.finish_reason) == (Status.TERMINATED, FinishReason.CANCELLED)
    assert "enough" in str(result.error)


def test_a_run_is_stopped_and_signalled(runtime: AgentRuntime, server: ServerProcess) -> None:
    model = server.script("slow3", {"content": "x", "delay_ms": 300, **tool_call("get_weather", city="x"), "times": 9})
    handle = runtime.start(Agent("stopped", model, "", [get_weather]), "hi")
    runtime.signal(handle.execution_id, "hurry")
    runtime.stop(handle.execution_id)
    result = handle.join(10)
    assert (result.status, result.finish_reason) == (Status.COMPLETED, FinishReason.STOPPED)


def test_a_run_is_forked_at_an_event(runtime: AgentRuntime, weather: Agent) -> None:
    calls = len(runtime.run(weather, "hi").tool_calls)
    first = runtime.run(weather, "hi")
    at = next(event.id for event in first.events if event.type is EventType.TOOL_RESULT)
    fork = runtime.fork(first.execution_id, at)
    second = fork.join(10)
    assert fork.execution_id != first.execution_id
    assert second.output["result"] == first.output["result"]
    assert len(second.tool_calls) == calls


def test_a_fork_changes_what_comes_after(runtime: AgentRuntime, weather: Agent) -> None:
    first = runtime.run(weather, "hi")
    handle = runtime.attach(first.execution_id)
    at = {event.type: event.id for event in first.events}
    assert handle.fork(at[EventType.TOOL_RESULT], tool_result="rain").join(10).output["result"] == "It is rain."
    assert handle.fork(at[EventType.TOOL_RESULT], output=None).join(10).output["result"] == "It is null."
    assert handle.fork(at[EventType.MESSAGE], answer="By hand.").join(10).output["result"] == "By hand."
    assert handle.fork(1, budget={"model_calls": 1}).join(10).finish_reason is FinishReason.BUDGET
    told = handle.fork(1, prompt="bye", instructions="Be long.").join(10).messages
    assert [each["content"] for each in told[:2]] == ["Be long.", "bye"]
    with pytest.raises(TypeError, match="promt"):
        runtime.fork(first.execution_id, 1, promt="bye")


def test_a_fork_changes_the_arguments_of_a_call(runtime: AgentRuntime, weather: Agent) -> None:
    first = runtime.run(weather, "hi")
    at = next(event.id for event in first.events if event.type is EventType.TOOL_CALL)
    fork = runtime.fork(first.execution_id, at, arguments={"city": "Rome"}).join(10)
    assert [call["args"] for call in fork.tool_calls] == [{"city": "Rome"}]
    assert fork.output["result"] == "It is sunny in Rome."


def test_a_failed_run_is_retried(runtime: AgentRuntime, server: ServerProcess) -> None:
    model = server.script("once", {"content": "better", "errors": [{"status": 401, "message": "wrong key"}]})
    handle = runtime.start(Agent("once", model), "hi")
    assert handle.join(10).is_failed
    server.script("once", "better")
    again = runtime.retry(handle.execution_id)
    result = again.join(10)
    assert result.output["result"] == "better"
    assert [event.type for event in again.stream()][-1] is EventType.DONE


# Approval


@pytest.fixture
def careful(server: ServerProcess) -> Agent:
    @tool(approval_required=True)
    def pay(amount: int) -> str:
        """Pay."""
        return f"paid {amount}"

    two = {"tool_calls": [{"name": "pay", "arguments": {"amount": amount}} for amount in (1, 2)]}
    return Agent("payer", server.script("payer", two, "{results}"), "", [pay])


def requests_of(runtime: AgentRuntime, execution_id: str, count: int) -> list[dict[str, Any]]:
    for _ in range(200):
        status = runtime.get_status(execution_id)
        if len(status.requests) == count:
            assert status.is_waiting
            assert status.pending_tool is not None
            return status.requests
        time.sleep(0.02)
    raise AssertionError(status)


def test_requests_are_answered_one_by_one_from_anywhere(server: ServerProcess, careful: Agent) -> None:
    with AgentRuntime(server_url=server.url) as runtime, AgentRuntime(server_url=server.url) as other:
        handle = runtime.start(careful, "pay")
        first, second = requests_of(other, handle.execution_id, 2)
        assert [(each["tool"], each["arguments"]) for each in (first, second)] == [
            ("pay", {"amount": 1}),
            ("pay", {"amount": 2}),
        ]
        other.attach(handle.execution_id).reject("too much", request_id=second["requestId"])
        with pytest.raises(AgentspanError) as told:
            other.approve(handle.execution_id, request_id=second["requestId"])
        assert told.value.status == 409
        requests_of(other, handle.execution_id, 1)
        handle.approve()
        result = handle.join(10)
        assert "paid 1" in result.output["result"]
        assert "too much" in result.output["result"]


def test_run_waits_for_a_person(runtime: AgentRuntime, careful: Agent) -> None:
    asked = []

    def approve(event: Any) -> None:
        if event.type is EventType.WAITING:
            asked.append(event.pending_tool["parameters"])
            runtime.approve(event.execution_id, request_id=event.pending_tool["requestId"])

    result = runtime.run(careful, "pay", on_event=approve)
    assert asked == [{"amount": 1}, {"amount": 2}]
    assert result.output["result"] == "paid 1, paid 2"


# Where tools run


def test_tools_get_the_very_objects_the_agent_depends_on(runtime: AgentRuntime, server: ServerProcess) -> None:
    database, seen = object(), list[Any]()

    @tool
    def ask(context: ToolContext) -> str:
        """Ask."""
        seen.append(context.dependencies["database"])
        return context.agent_name

    inner = Agent("inner", server.script("inner", tool_call("ask"), "{result}"), "", [ask])
    inner.dependencies = {"database": database}
    result = runtime.run(Agent("outer", agents=[inner], strategy="sequential"), "hi")
    assert result.output["result"] == "inner"
    assert seen == [database]


def test_a_stateful_run_is_taken_over_by_another_process(server: ServerProcess) -> None:
    own = Agent("own", server.script("own", tool_call("get_weather", city="Oslo"), "{result}"), "", [get_weather])
    own.stateful = True
    idle = AgentConfig(server_url=server.url, auto_start_workers=False, missing_worker_grace_seconds=0.5)
    with AgentRuntime(config=idle) as dead, AgentRuntime(server_url=server.url) as other:
        handle = dead.start(own, "hi")
        assert handle.run_id
        other.serve(own, blocking=False)
        with pytest.raises(WorkerMissingError):
            handle.join(10)
        taken = other.resume(handle.execution_id, own)
        assert taken.run_id == handle.run_id
        assert taken.join(10).output["result"] == "sunny in Oslo"


# Starts


def test_a_listener_of_a_start_is_told_while_nobody_waits(runtime: AgentRuntime, weather: Agent) -> None:
    told, over = list[Any](), threading.Event()

    def look(event: Any) -> None:
        told.append(event)
        if event.type is EventType.DONE:
            over.set()

    handle = runtime.start(weather, "hi", on_event=look)
    assert over.wait(10)
    assert {event.execution_id for event in told} == {handle.execution_id}
    assert {event.call_id for event in told if event.tool_name} == {"call_1_0"}


def test_a_listener_of_a_stream_is_told_before_the_loop(runtime: AgentRuntime, weather: Agent) -> None:
    told: list[Any] = []
    for event in runtime.stream(weather, "hi", on_event=told.append):
        assert told[-1] is event
    assert told[-1].type is EventType.DONE


def test_a_stream_has_a_time_limit_and_settings_as_a_start_has(runtime: AgentRuntime, server: ServerProcess) -> None:
    other = server.script("other", "The other model.")
    slow = Agent("slow", server.script("slow-stream", {"content": "x", "delay_ms": 60_000}))
    assert runtime.stream(slow, "hi", run_settings=RunSettings(model=other)).result.output["result"] == (
        "The other model."
    )
    result = runtime.stream(slow, "hi", timeout=0.3).result
    assert (result.status, result.finish_reason) == (Status.TIMED_OUT, FinishReason.TIMEOUT)


def test_a_session_has_one_writer_at_a_time(runtime: AgentRuntime, server: ServerProcess) -> None:
    slow = Agent("slow", server.script("slow-session", {"content": "x", "delay_ms": 60_000, "times": 9}))
    first = runtime.start(slow, "hi", session_id="s-busy")
    with pytest.raises(SessionBusyError, match=first.execution_id) as told:
        runtime.run(slow, "hi again", session_id="s-busy")
    assert (told.value.session_id, told.value.execution_id) == ("s-busy", first.execution_id)
    first.cancel()
    first.join(10)
    second = runtime.start(slow, "hi again", session_id="s-busy")
    assert second.execution_id != first.execution_id
    second.cancel()


# By name


def test_a_deployed_agent_runs_by_its_name(runtime: AgentRuntime, server: ServerProcess, weather: Agent) -> None:
    plan = runtime.plan(weather)
    assert plan["requiredWorkers"] == ["get_weather"]
    deployed = runtime.deploy(weather)
    assert [(each.registered_name, each.agent_name) for each in deployed] == [("forecaster", "forecaster")]
    runtime.serve(weather, blocking=False)
    with AgentRuntime(server_url=server.url) as other:
        assert other.run("forecaster", "hi").output["result"] == "It is sunny in Paris."
        settings = RunSettings(model=server.script("by-name", "Another model."))
        assert other.run("forecaster", "hi", run_settings=settings).output["result"] == "Another model."
        with pytest.raises(AgentspanError, match="nobody"):
            other.run("nobody", "hi")
    with pytest.raises(ValueError, match="no agents"):
        runtime.deploy()


def test_nothing_warns_in_a_whole_run(server: ServerProcess, weather: Agent) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with AgentRuntime(server_url=server.url) as runtime:
            assert runtime.run(weather, "hi").is_success
