"""A definition as Python code: it makes the very definition again, or says what it leaves out."""

from typing import Any, Literal

import pytest
from pydantic import BaseModel

from agentspan.agents import Agent, ApprovalPolicy, RegexGuardrail, agent_tool, http_tool, human_tool, tool
from agentspan.agents.as_code import as_code
from agentspan.agents.serialize import config_of


@tool
def search(to: str, when: str = "today", stops: int | None = None, tags: list[str] | None = None) -> dict[str, Any]:
    """Search a flight.

    Args:
        to: The "place", with a \\ in it.
    """
    return {}


@tool(name="class", max_calls=2, retry_count=0, timeout_seconds=5)
def odd(value: float, flag: bool = False) -> str:
    """Ends with a "quote\""""
    return ""


@tool
def typed(kind: Literal["a", "b"]) -> list[dict[str, int]]:
    return []


@tool(approval_required=True)
def pay(amount: int) -> str:
    """Pay."""
    return ""


class Answer(BaseModel):
    text: str


MODEL = "openai/gpt-4o"


def made(code: str, name: str) -> Any:
    names: dict[str, Any] = {"__name__": "made"}
    exec(code, names)
    return names[name]


@pytest.mark.parametrize(
    "agent",
    [
        Agent("lone", MODEL),
        Agent("told", MODEL, 'Say "hi" — in\ntwo lines \\ {braces}', temperature=0.2, max_turns=3, metadata={"a": [1]}),
        Agent("tools", MODEL, tools=[search, odd, typed]),
        Agent("asks", MODEL, tools=[pay, human_tool("ask", "Ask."), http_tool("get", "Get.", url="https://a.b/c")]),
        Agent("team", MODEL, agents=[Agent("one", MODEL), Agent("for", MODEL, tools=[search])], strategy="sequential"),
        Agent("boss", MODEL, tools=[agent_tool(Agent("aide", MODEL, "Help.", tools=[search]))], budget={"tokens": 9}),
        Agent("deep", MODEL, agents=[Agent("deep", MODEL, agents=[Agent("end", MODEL)], strategy="parallel")]),
    ],
    ids=lambda agent: agent.name,
)
def test_the_code_makes_the_definition_again(agent: Agent) -> None:
    config = config_of(agent)
    code = as_code(config)
    assert code.left_out == []
    assert code.is_whole, code.text
    assert made(code.text, code.name).name == agent.name


def test_a_function_is_written_with_its_signature() -> None:
    text = as_code(config_of(Agent("one", MODEL, tools=[search])), stand_in="return ask({name!r}, {arguments})").text
    assert "def search(to: str, when: str = 'today', stops: int | None = None, tags: list[str] | None = None)" in text
    assert "    return ask('search', to=to, when=when, stops=stops, tags=tags)" in text
    assert "-> dict[str, Any]:" in text
    assert "retry_count=0" in as_code(config_of(Agent("two", MODEL, tools=[odd]))).text


@pytest.mark.parametrize(
    ("agent", "word"),
    [
        (Agent("typed", MODEL, output_type=Answer), "output type"),
        (Agent("guarded", MODEL, guardrails=[RegexGuardrail("x", name="no_x")]), "guardrails"),
        (Agent("made", MODEL, lambda prompt: prompt), "instructions"),
        (
            Agent("limited", MODEL, tools=[tool(approval_required=ApprovalPolicy(to="boss"))(search.__wrapped__)]),
            "approval of the tool search",
        ),
    ],
    ids=lambda given: getattr(given, "name", None),
)
def test_what_the_code_does_not_say_is_named(agent: Agent, word: str) -> None:
    code = as_code(config_of(agent))
    assert any(word in each for each in code.left_out)
    assert not code.is_whole
    assert made(code.text, code.name).name == agent.name
