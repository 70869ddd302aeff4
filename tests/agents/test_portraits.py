"""How the SDK's objects show themselves in a notebook."""

import dataclasses
import json
import pickle
from typing import Any

import pytest
from pydantic import BaseModel

from agentspan.agents import (
    Agent,
    AgentHandle,
    AgentResult,
    AgentRuntime,
    ApprovalPolicy,
    Budget,
    ConversationMemory,
    FinishReason,
    LLMGuardrail,
    Op,
    Plan,
    RegexGuardrail,
    SemanticMemory,
    Status,
    Step,
    TokenUsage,
    agent_tool,
    compare,
    http_tool,
    tool,
)
from tests.agents.serving import ServerProcess, tool_call
from tests.drawing.looks import TIMELINE, keeps_to_the_rules

KEY = "sk-very-secret-1234567890"


@tool(approval_required=True)
def pay(amount: float, to: str = "Ann") -> str:
    """Pay an invoice."""
    return "paid"


class Invoice(BaseModel):
    number: str
    items: list[str]


def never_called() -> str:
    raise AssertionError("a picture must not call the user's functions")


def bundle(shown: Any) -> dict[str, Any]:
    found = shown._repr_mimebundle_()
    keeps_to_the_rules(found["text/html"])
    json.dumps(found)
    return found  # type: ignore[no-any-return]


def text(shown: Any) -> str:
    return keeps_to_the_rules(bundle(shown)["text/html"]).text


def result(**given: Any) -> AgentResult:
    known = {"execution_id": "some-id", "agent_name": "clerk", "token_usage": TokenUsage(10, 5, 15), "cost": 0.0123}
    return AgentResult(**{**known, **given})


def test_an_agent_is_a_card_with_its_tools_and_guardrails() -> None:
    clerk = Agent(
        "clerk",
        "openai/gpt-5",
        never_called,
        [pay],
        guardrails=[
            RegexGuardrail(r"\d{16}", name="no_cards"),
            LLMGuardrail("openai/gpt-5", "No advice.", name="scope"),
        ],
        output_type=Invoice,
        memory=ConversationMemory(),
        budget=Budget(cost=1),
    )
    said = text(clerk)
    signature = "pay(amount: number, to: string = Ann) -> string"
    for part in ("clerk", "openai/gpt-5", "never_called()", signature, "approval", "no_cards", "scope", "No advice.",
                 "Invoice", "ConversationMemory", "$1.00"):  # fmt: skip
        assert part in said, part
    assert "image/svg+xml" not in bundle(clerk)


def test_a_team_is_drawn_with_all_its_agents() -> None:
    expert = Agent("expert", "openai/gpt-5")
    team = Agent("team", "openai/gpt-5", agents=[Agent("a", "openai/x"), Agent("b", "openai/y")], strategy="sequential",
                 tools=[agent_tool(expert)])  # fmt: skip
    found = bundle(team)
    for drawn in (found["text/html"], found["image/svg+xml"]):
        assert all(f">{name}<" in drawn for name in ("team", "a", "b", "expert"))
    assert [each["name"] for each in found["application/json"]["agents"]] == ["a", "b"]


def test_no_secret_is_shown() -> None:
    search = http_tool("search", "Search", "http://x.example", headers={"Authorization": KEY})
    assert KEY not in json.dumps(bundle(search))
    assert KEY not in json.dumps(bundle(Agent("clerk", "openai/x", tools=[search], dependencies={"key": KEY})))


def test_a_tool_function_shows_its_signature_and_stays_a_function() -> None:
    assert pay(1.0) == "paid"
    assert "pay(amount: number, to: string = Ann) -> string" in text(pay)
    assert "Pay an invoice." in text(pay)
    assert "text/plain" not in bundle(pay)


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        (Budget(cost=0.5, tool_calls=3), "$0.50"),
        (ApprovalPolicy(when=[("amount", ">", 100)], to="boss"), "amount > 100"),
        (RegexGuardrail("secret", name="quiet"), "quiet"),
        (Plan([Step("a", [Op("look", {"city": "Oslo"})]), Step("b", generate="Tell ${a}")]), 'look({"city": "Oslo"})'),
        (ConversationMemory(messages=[{"role": "user", "content": "My dog is Rex."}]), "My dog is Rex."),
        (SemanticMemory(max_results=2), "2 texts"),
        (TokenUsage(1200, 5, 1205), "1,205"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_parts_of_an_agent_show_themselves(shown: Any, said: str) -> None:
    assert said in text(shown)


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ({"result": "It is **sunny**.", "finishReason": "stop"}, "sunny"),
        ({"result": {"sky": "blue", "wind": [1, 2]}}, 'sky: "blue"'),
        ({"result": [{"day": "Mon", "degrees": 21}]}, "degrees"),
        (Invoice(number="12", items=["tea"]), "number 12"),
        ([Invoice(number="12", items=[]), Invoice(number="13", items=[])], "13"),
    ],
)
def test_an_output_is_drawn_by_what_it_is(output: Any, said: str) -> None:
    assert said in text(result(output=output))


def test_an_output_that_is_a_table_or_a_picture_is_one() -> None:
    pandas = pytest.importorskip("pandas")
    assert "Oslo" in text(result(output={"result": pandas.DataFrame({"city": ["Oslo"], "degrees": [3]})}))
    assert "<img" in bundle(result(output={"result": b"\x89PNG\r\n\x1a\n"}))["text/html"]
    assert "<b" in bundle(result(output={"result": "It is **bold**."}))["text/html"]
    assert bundle(result(output={"result": "It is **bold**."}))["text/markdown"] == "It is **bold**."


def test_a_result_says_what_it_took_and_how_to_come_back() -> None:
    shown = result(output={"result": "done"}, tool_calls=[{"name": "pay", "args": {"amount": 5}, "result": "paid"}])
    said = text(shown)
    for part in ("clerk", "completed", "1 tool call", "15 tokens", "$0.0123", 'runtime.attach("some-id")', "pay"):
        assert part in said, part
    assert bundle(shown)["text/plain"] == "clerk: completed · 1 tool call · 15 tokens · $0.0123\ndone"
    assert bundle(shown)["application/json"]["output"] == {"result": "done"}


def test_a_result_that_failed_says_why() -> None:
    shown = result(
        status=Status.FAILED, error="the key is wrong", output={"error": "the key is wrong", "status": "FAILED"}
    )
    assert "the key is wrong" in text(shown)
    assert bundle(shown)["text/plain"].endswith("\nthe key is wrong")
    cut = result(
        status=Status.TERMINATED, finish_reason=FinishReason.BUDGET, error="too dear", output={"result": "half"}
    )
    assert "budget" in text(cut)
    assert "half" in text(cut)


def test_a_result_shows_the_steps_that_are_known_of_it() -> None:
    shown = result(output={"result": "done"})
    assert "<svg" not in bundle(shown)["text/html"]
    shown.surround(timeline=TIMELINE, url="https://agents.example/ui/runs/some-id")
    assert "<svg" in bundle(shown)["text/html"]
    assert "6 steps" in text(shown)
    assert 'href="https://agents.example/ui/runs/some-id"' in bundle(shown)["text/html"]


def test_what_is_known_of_a_result_is_no_field_of_it() -> None:
    shown, plain = result(output="x"), result(output="x")
    shown.surround(timeline=TIMELINE)
    assert shown == plain
    assert repr(shown) == repr(plain)
    assert dataclasses.asdict(shown) == dataclasses.asdict(plain)
    assert bundle(pickle.loads(pickle.dumps(shown))) == bundle(shown)


def test_forms_that_are_not_wanted_are_left_out() -> None:
    shown = result(output={"result": "done"})
    assert set(shown._repr_mimebundle_(include={"text/plain"})) == {"text/plain"}
    assert "text/html" not in shown._repr_mimebundle_(exclude={"text/html"})


def test_a_run_shows_how_it_stands(runtime: AgentRuntime, server: ServerProcess) -> None:
    model = server.script("shown", tool_call("pay", amount=5), "{result}")
    handle = runtime.start(Agent("cashier", model, tools=[pay], budget=Budget(cost=2)), "Pay!")
    while not handle.requests():
        pass
    assert "waits for a person" in text(handle)
    assert 'pay({"amount": 5})' in text(handle)
    assert "$2.00 of $2.00 left" in text(handle)
    assert "asks 1 person" in bundle(handle.get_status())["text/plain"]
    handle.approve()
    handle.join()
    assert "completed" in text(handle)
    assert bundle(handle)["text/plain"] == repr(handle)


def test_a_run_whose_server_is_silent_shows_that() -> None:
    runtime = AgentRuntime(server_url="http://127.0.0.1:1")
    assert "Its server cannot say" in text(AgentHandle("some-id", runtime))


def test_two_runs_are_compared_side_by_side(runtime: AgentRuntime, server: ServerProcess) -> None:
    echo = Agent("echo", server.script("echoed", "You said {prompt}."))
    said = text(compare(runtime.run(echo, "one"), runtime.run(echo, "two"), runtime=runtime))
    assert "different" in said
    assert "First difference" in said
    assert "model calls" in said
