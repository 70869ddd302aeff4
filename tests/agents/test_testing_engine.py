"""The engine in memory: what a run does without a server."""

from pathlib import Path
from typing import Any

import pytest

from agentspan.agents import (
    Agent,
    ApprovalPolicy,
    Budget,
    CallbackHandler,
    EventType,
    OnFail,
    Position,
    Status,
    ToolContext,
    get_credential,
    guardrail,
    tool,
    wait_for_message_tool,
)
from agentspan.agents.guardrail import Guardrail, GuardrailResult
from agentspan.agents.testing import Asked, LocalEngine, expect, scripted_model
from agentspan.errors import BadInput, Conflict, InvalidSpec

MODEL = "openai/gpt-4o"


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool(approval_required=True)
def pay(amount: int) -> str:
    """Pay."""
    return f"paid {amount}"


def agent(**more: Any) -> Agent:
    return Agent(**{"name": "lone", "model": MODEL, **more})


def call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"tool_calls": [{"name": name, "arguments": arguments}]}


def test_answers_are_given_in_their_order() -> None:
    result = LocalEngine(agent(tools=[add]), model=[call("add", a=1, b=2), "It is {result}."]).run("1 + 2?")
    expect(result).completed().used_tool("add").output_contains("It is 3.")
    assert [asked.turn for asked in result.asked] == [1, 2]
    assert [each["name"] for each in result.asked[0].tools] == ["add"]
    assert result.token_usage.total_tokens > 0


def test_a_function_sees_what_the_model_is_asked() -> None:
    def answer(asked: Asked) -> str:
        return f"{asked.agent} was asked {asked.prompt!r}"

    assert LocalEngine(agent(), model=answer).run("hi").output["result"] == "lone was asked 'hi'"


def test_each_agent_may_have_answers_of_its_own() -> None:
    crew = Agent("team", MODEL, agents=[agent(name="a"), agent(name="b")], strategy="parallel")
    result = LocalEngine(crew, model={"a": ["alpha"], "*": lambda asked: asked.agent.upper()}).run("x")
    assert result.sub_results == {"a": "alpha", "b": "B"}


def test_an_agent_with_a_scripted_model_needs_no_answers() -> None:
    model = scripted_model("in_memory", ["You said {prompt}."])
    assert LocalEngine(agent(model=model)).run("hi").output["result"] == "You said hi."


def test_a_model_without_answers_fails_and_says_what_to_do() -> None:
    assert "pass model=[...]" in str(LocalEngine(agent()).run("hi").error)
    used_up = LocalEngine(agent(tools=[add]), model=[call("add", a=1, b=1)]).run("hi")
    assert "the answers given (1) are used up" in str(used_up.error)


def test_failures_are_tried_again_without_waiting() -> None:
    flaky = {"content": "there", "errors": [{"status": 503}, {"status": "timeout"}]}
    result = LocalEngine(agent(), model=[flaky]).run("hi")
    expect(result).completed().output_contains("there").no_errors()
    assert [asked.attempt for asked in result.asked] == [0, 1, 2]


def test_a_tool_that_fails_is_tried_again_and_then_told_to_the_model() -> None:
    tries = []

    @tool(retry_count=1)
    def shaky() -> str:
        """Fails."""
        tries.append(1)
        raise RuntimeError("no luck")

    result = LocalEngine(agent(tools=[shaky]), model=[call("shaky"), "It failed."]).run("hi")
    assert len(tries) == 2
    assert "no luck" in result.messages[-2]["content"]
    assert result.tool_calls[0]["attempts"] == 2


def test_a_fallback_model_goes_on() -> None:
    def answer(asked: Asked) -> Any:
        return "from the second" if asked.model == "anthropic/claude" else {"errors": [{"status": 401}]}

    result = LocalEngine(agent(fallback=["anthropic/claude"]), model=answer).run("hi")
    expect(result).completed().output_contains("from the second").events_contain("model_switched")


def test_a_fallback_is_chosen_by_the_kind_of_the_failure() -> None:
    def answer(asked: Asked) -> Any:
        return "here" if asked.model == "b/b" else {"errors": [{"status": 429, "retryable": False}]}

    patient = agent(fallback=[{"model": "a/a", "on": ["timeout"]}, {"model": "b/b", "on": ["rate_limit"]}])
    assert LocalEngine(patient, model=answer).run("x").output["result"] == "here"


def test_results_may_stand_for_tools() -> None:
    engine = LocalEngine(agent(tools=[add]), model=[call("add", a=1, b=2), "{result}"], tools={"add": 42})
    assert engine.run("x").output["result"] == "42"
    engine = LocalEngine(agent(tools=[add]), model=[call("add", a=1, b=2), "{result}"], tools={"add": max_of})
    assert engine.run("x").output["result"] == "2"


def max_of(a: int, b: int) -> int:
    return max(a, b)


def test_a_run_waits_for_people_and_goes_on() -> None:
    run = LocalEngine(agent(tools=[pay]), model=[call("pay", amount=5), "{result}"]).start("x")
    waiting = run.result()
    assert waiting.is_waiting
    assert waiting.pending[0]["tool"] == "pay"
    with pytest.raises(BadInput, match="approved"):
        run.respond({"maybe": 1})
    assert run.approve(arguments={"amount": 4}).output["result"] == "paid 4"
    with pytest.raises(Conflict):
        run.approve()


def test_people_answer_as_the_test_says() -> None:
    def boss(request: dict[str, Any]) -> dict[str, Any]:
        return {"approved": request["arguments"]["amount"] < 10, "reason": "too much"}

    assert LocalEngine(agent(tools=[pay]), model=[call("pay", amount=5), "{result}"], people=boss).run("x").is_success
    assert LocalEngine(agent(tools=[pay]), model=[call("pay", amount=50), "no"], people=boss).run("x").is_rejected


def test_deadlines_pass_when_nobody_comes() -> None:
    @tool(approval_required=ApprovalPolicy(deadline_seconds=60, on_deadline="approve"))
    def send(text: str) -> str:
        """Send."""
        return f"sent {text}"

    model = [call("send", text="hi"), "{result}"]
    assert LocalEngine(agent(tools=[send]), model=model).run("x").is_waiting
    assert LocalEngine(agent(tools=[send]), model=model, deadlines=True).run("x").output["result"] == "sent hi"


def test_messages_and_signals_reach_the_run() -> None:
    listener = agent(tools=[wait_for_message_tool("wait", "Wait for a message.")])
    run = LocalEngine(listener, model=[call("wait"), "{result}"]).start("x")
    assert run.result().is_waiting
    assert "hello" in run.send("hello").output["result"]

    run = LocalEngine(agent(tools=[pay]), model=[call("pay", amount=1), "ok"]).start("x")
    run.signal("be quick")
    told = run.approve()
    assert "be quick" in told.asked[-1].messages[0]["content"]


def test_a_run_can_be_stopped_and_cancelled() -> None:
    run = LocalEngine(agent(tools=[pay]), model=[call("pay", amount=1), "never"]).start("x")
    stopped = run.stop()
    assert (stopped.status, stopped.finish_reason) == (Status.COMPLETED, "stopped")
    run = LocalEngine(agent(tools=[pay]), model=[call("pay", amount=1)]).start("x")
    assert run.cancel("enough").status is Status.TERMINATED


def test_budgets_end_a_run() -> None:
    engine = LocalEngine(agent(tools=[add], budget=Budget(tool_calls=1)), model=lambda _: call("add", a=1, b=1))
    result = engine.run("x")
    assert (result.status, result.finish_reason) == (Status.TERMINATED, "budget")
    assert LocalEngine(agent(), model=["x"]).run("x", budget={"modelCalls": 0}).finish_reason == "budget"


def test_callbacks_and_state_work_as_in_production() -> None:
    class Shout(CallbackHandler):
        def on_model_end(self, llm_result: str = "", **_: Any) -> dict[str, Any]:
            return {"result": llm_result.upper()}

    @tool
    def remember(word: str, context: ToolContext) -> str:
        """Keep a word."""
        context.state["word"] = word
        return "kept"

    engine = LocalEngine(agent(tools=[remember], callbacks=[Shout()]), model=[call("remember", word="blue"), "done"])
    result = engine.run("x", context={"old": 1})
    assert result.output["context"] == {"old": 1, "word": "blue"}
    assert result.output["result"] == "DONE"


def test_a_guardrail_may_ask_a_person() -> None:
    @guardrail
    def careful(text: str) -> GuardrailResult:
        """Nothing secret."""
        return GuardrailResult("secret" not in text, "it tells a secret")

    guarded = agent(guardrails=[Guardrail(careful, Position.OUTPUT, OnFail.HUMAN)])
    run = LocalEngine(guarded, model=["the secret"]).start("x")
    assert run.result().pending[0]["kind"] == "review"
    assert run.respond({"approved": True, "edited_output": "nothing"}).output["result"] == "nothing"


def test_an_agent_that_cannot_run_is_refused() -> None:
    with pytest.raises((InvalidSpec, ValueError)):
        LocalEngine(Agent("nobody"))
    with pytest.raises(TypeError, match="unknown options"):
        LocalEngine(agent(), model=["x"]).run("x", colour="blue")


def test_time_is_virtual_and_ends_a_run_that_takes_too_long() -> None:
    slow = [{"content": "late", "delay_ms": 3_600_000}]
    assert LocalEngine(agent(), model=slow).run("x").output["result"] == "late"
    assert LocalEngine(agent(timeout_seconds=60), model=slow).run("x").status is Status.TIMED_OUT
    assert LocalEngine(agent(), model=slow).run("x", budget={"seconds": 60}).finish_reason == "budget"


async def test_it_runs_where_a_loop_runs() -> None:
    result = await LocalEngine(agent(tools=[add]), model=[call("add", a=1, b=2), "{result}"]).run_async("x")
    assert result.output["result"] == "3"
    assert [event.type for event in result.events][-1] is EventType.DONE


def test_two_runs_of_one_engine_are_alike(tmp_path: Path) -> None:
    crew = Agent("team", MODEL, agents=[agent(name=each) for each in "abc"], strategy="random", max_turns=6)
    engine = LocalEngine(crew, model=lambda asked: asked.agent)
    first, second = engine.run("x"), engine.run("x")
    told = [[event.target for event in result.events if event.type == "handoff"] for result in (first, second)]
    assert told[0] == told[1]
    assert len(told[0]) == 6


def test_credentials_are_what_the_test_gives() -> None:
    @tool(credentials=["WEATHER_KEY"])
    def forecast() -> str:
        """The weather."""
        return f"sunny, by {get_credential('WEATHER_KEY')[:2]}..."

    model = [call("forecast"), "{result}"]
    given = LocalEngine(agent(tools=[forecast]), model=model, credentials={"WEATHER_KEY": "k1-secret"})
    assert given.run("x").output["result"] == "sunny, by k1..."
    assert "WEATHER_KEY" in LocalEngine(agent(tools=[forecast]), model=model).run("x").tool_calls[0]["error"]
