"""Agents and tools as data: what is checked when they are made, and what goes over the wire."""

import inspect
import json
import threading
import warnings
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import msgspec
import pytest

from agentspan.agents import (
    Agent,
    ApprovalPolicy,
    Budget,
    CallbackHandler,
    ClaudeCode,
    CliConfig,
    CodeExecutionConfig,
    ConversationMemory,
    Guardrail,
    GuardrailResult,
    LLMGuardrail,
    MaxMessageTermination,
    OnCondition,
    OnTextMention,
    OnToolResult,
    PermissionMode,
    PrefillToolCall,
    PromptTemplate,
    RegexGuardrail,
    StopMessageTermination,
    Strategy,
    TextMentionTermination,
    TokenUsageTermination,
    ToolContext,
    ToolDef,
    UserProxyAgent,
    agent,
    agent_tool,
    api_tool,
    audio_tool,
    get_tool_def,
    get_tool_defs,
    guardrail,
    http_tool,
    human_tool,
    image_tool,
    index_tool,
    mcp_tool,
    pdf_tool,
    scatter_gather,
    search_tool,
    tool,
    video_tool,
    wait_for_message_tool,
)
from agentspan.agents.gate import TextGate
from agentspan.agents.serialize import ELSEWHERE, MADE, SPEC_FIELDS, serialize
from agentspan.spec import wire


@tool
def add(a: int, b: int) -> dict[str, int]:
    """Add."""
    return {"sum": a + b}


def encoded(agent: Agent) -> dict[str, Any]:
    """The agent as it stands in the body of a request."""
    return msgspec.json.decode(msgspec.json.encode(wire.encode(serialize(agent))), type=dict[str, Any])


# What is checked


@pytest.mark.parametrize("name", ["", "1a", "-a", "a b", "ä", "a.b", None, 3])
def test_a_bad_name_is_refused(name: Any) -> None:
    with pytest.raises(ValueError, match="name"):
        Agent(name)


def test_values_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="handoff, sequential, parallel, router, round_robin, random, swarm, manual"):
        Agent("a", strategy="chaos")
    with pytest.raises(ValueError, match="max_turns"):
        Agent("a", max_turns=0)
    with pytest.raises(ValueError, match="router"):
        Agent("a", strategy="router", agents=[Agent("b", "m/x")])
    with pytest.raises(ValueError, match="Duplicate sub-agent names: 'b'"):
        Agent("a", agents=[Agent("b", "m/x"), Agent("b", "m/x")])
    with pytest.raises(TypeError, match="Expected an Agent or an @agent-decorated function, got str"):
        Agent("a", agents=["b"])
    with pytest.raises(ValueError, match="strings"):
        Agent("a", "claude-code/opus", tools=[add])


def member(name: str = "b") -> Agent:
    return Agent(name, "m/x")


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a model without a provider": ({"model": "gpt-4o"}, "such as \"openai/gpt-4o\", got 'gpt-4o'"),
    "a model without a name": ({"model": "openai/"}, "provider/model"),
    "a model that is no text": ({"model": 4}, "provider/model"),
    "a fallback without a provider": ({"fallback": ["openai/gpt-4o", "gpt"]}, "a fallback of agent 'a'.*'gpt'"),
    "max_turns": ({"max_turns": 1.5}, "max_turns must be a whole number, 1 or more, got 1.5"),
    "max_tokens": ({"max_tokens": 0}, "max_tokens"),
    "temperature": ({"temperature": 3}, "temperature must be a number, between 0 and 2, got 3"),
    "temperature as text": ({"temperature": "hot"}, "temperature"),
    "no number": ({"temperature": float("nan")}, "temperature"),
    "timeout_seconds": ({"timeout_seconds": -1}, "timeout_seconds"),
    "thinking": ({"thinking_budget_tokens": -5}, "thinking_budget_tokens"),
    "width": ({"width": 0}, "width"),
    "budget": ({"budget": {"cost": -1}}, "cost"),
    "an empty budget": ({"budget": {}}, "at least one of cost, tokens"),
    "a budget's unknown limit": ({"budget": {"money": 1}}, "money"),
    "include_contents": ({"include_contents": "all"}, "include_contents must be 'none' or 'default', got 'all'"),
    "stop_when": ({"stop_when": True}, "stop_when must be a function"),
    "router": ({"router": "b"}, "router must be an Agent or a function, got str"),
    "gate": ({"gate": "STOP"}, "gate must be a TextGate or a function, got str"),
    "termination": ({"termination": lambda context: True}, "termination must be a TerminationCondition, got function"),
    "a callback's class": ({"callbacks": [CallbackHandler]}, r"write CallbackHandler\(\)"),
    "a callback that is none": ({"callbacks": [print]}, "CallbackHandler objects"),
    "a guardrail that is none": ({"guardrails": ["fair"]}, "Expected a Guardrail or a function.*, got str"),
    "required_tools": ({"tools": [add], "required_tools": ["sub"]}, "names 'sub', but its tools are: add"),
    "two tools of one name": ({"tools": [add, human_tool("add", "d")]}, "Duplicate tool names: 'add' occurs twice"),
    "a handoff to nobody": ({"agents": [member()], "handoffs": [OnTextMention("c", "x")]}, "'c', but .*: a, b"),
    "a handoff that is none": ({"handoffs": [TextMentionTermination("x")]}, "got TextMentionTermination"),
    "transitions from nobody": ({"agents": [member()], "allowed_transitions": {"c": ["b"]}}, "names 'c'"),
    "transitions to nobody": ({"agents": [member()], "allowed_transitions": {"b": ["a", "c"]}}, "names 'c'"),
    "a swarm in a swarm of its name": ({"agents": [member("a")], "strategy": "swarm"}, "must not be named 'a'"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_slip_is_an_error_where_the_agent_is_made(what: str) -> None:
    parameters, words = REFUSED[what]
    with pytest.raises((ValueError, TypeError), match=words):
        Agent(**{"name": "a", "model": "m/x", **parameters})


def test_what_can_only_be_known_later_is_accepted() -> None:
    Agent("a", "m/x", tools=[mcp_tool("http://x")], required_tools=["found_at_run"])
    Agent("a", "m/x", tools=[api_tool("http://x"), api_tool("http://y")])
    Agent("a", required_tools=["the deployed agent's"])
    Agent("a", "m/x", agents=[member()], strategy="swarm", handoffs=[OnTextMention("a", "x")])


def test_a_plain_function_becomes_a_tool() -> None:
    class Shop:
        def sell(self, what: str) -> str:
            """Sell."""
            return what

    def plain(city: str) -> str:
        """Look."""
        return city

    config = encoded(Agent("a", "m/x", tools=[plain, Shop().sell]))
    assert [(each["name"], each["description"]) for each in config["tools"]] == [("plain", "Look."), ("sell", "Sell.")]
    assert list(config["tools"][1]["inputSchema"]["properties"]) == ["what"]
    for wrong in (Shop.sell, object(), 3, "plain", lambda city: city):
        with pytest.raises((TypeError, ValueError), match=r"method|tool|lambda"):
            Agent("a", "m/x", tools=[wrong])


def test_all_parameters_may_be_positional() -> None:
    names = [
        each.name for each in inspect.signature(Agent).parameters.values() if each.kind is each.POSITIONAL_OR_KEYWORD
    ]
    assert names[:3] == ["name", "model", "instructions"]
    assert names[-1] == "stateful"
    assert Agent("a", "m/x", "hi", [add]).tools == [add]


def test_legacy_callbacks_warn() -> None:
    with pytest.warns(DeprecationWarning, match="callbacks"):
        Agent("a", before_agent_callback=lambda: None)


# Every field is on the wire or knowingly not


def test_no_parameter_of_agent_is_forgotten() -> None:
    parameters = set(inspect.signature(Agent).parameters)
    properties = {"external"}
    assert parameters | properties >= set(SPEC_FIELDS) - {"thinking_config"}
    assert parameters - set(SPEC_FIELDS) == set(ELSEWHERE)
    assert set(MADE) <= set(SPEC_FIELDS)
    assert all(hasattr(Agent("a"), name) for name in parameters)


BASE: dict[str, dict[str, Any]] = {"required_tools": {"tools": [add]}}
"""What else an agent must have for a field to be accepted."""


SAMPLES: dict[str, Any] = {
    "description": "helps",
    "base_url": "http://x",
    "instructions": "Be brief.",
    "tools": [add],
    "max_turns": 3,
    "max_tokens": 100,
    "timeout_seconds": 60,
    "temperature": 0,
    "reasoning_effort": "low",
    "thinking_budget_tokens": 1000,
    "stop_when": lambda context: True,
    "termination": TextMentionTermination("DONE"),
    "handoffs": [OnTextMention("b", "x")],
    "callbacks": [type("Own", (CallbackHandler,), {"on_model_end": lambda self, **_: None})()],
    "allowed_transitions": {"a": ["b"]},
    "introduction": "I am a.",
    "metadata": {"team": "x"},
    "code_execution": CodeExecutionConfig(),
    "cli_config": CliConfig(),
    "include_contents": "none",
    "planner": True,
    "enable_planning": True,
    "planner_context": "x",
    "plan_source": "x",
    "required_tools": ["add"],
    "prefill_tools": [PrefillToolCall("add", {"a": 1, "b": 2})],
    "gate": TextGate("STOP"),
    "credentials": ["KEY"],
    "synthesize": False,
    "fallback": "openai/gpt-4o",
    "fallback_max_turns": 2,
    "context_window_budget": 1000,
    "masked_fields": ["a"],
    "guardrails": [RegexGuardrail("x")],
    "memory": ConversationMemory([{"role": "user", "message": "hi"}]),
    "output_type": int,
    "router": lambda prompt: "b",
    "budget": Budget(cost=1.5, model_calls=10),
    "fail_fast": True,
    "width": 4,
    "local_code_execution": True,
    "cli_commands": True,
    "cli_allowed_commands": ["ls"],
}

NO_SAMPLE = {
    "name", "model", "agents", "strategy",  # in every agent, or in the tests of their own
    "dependencies", "stateful", "allowed_languages", "allowed_commands",
    "before_agent_callback", "after_agent_callback", "before_model_callback", "after_model_callback",
}  # fmt: skip


def test_there_is_a_sample_of_every_field() -> None:
    assert set(inspect.signature(Agent).parameters) == set(SAMPLES) | NO_SAMPLE


@pytest.mark.parametrize("field", SAMPLES)
def test_a_field_that_is_set_reaches_the_other_side(field: str) -> None:
    base = BASE.get(field, {})
    plain = serialize(Agent("a", "m/x", **base))
    spec = serialize(Agent("a", "m/x", **base, **{field: SAMPLES[field]}))
    assert spec != plain
    config = wire.encode(spec)
    assert wire.decode(msgspec.json.decode(msgspec.json.encode(config))) == spec


def test_the_smallest_agent_on_the_wire_is_the_contract_s() -> None:
    config = encoded(Agent("helper", "openai/gpt-4o-mini", "Be brief.", [add]))
    assert len(config["tools"][0].pop("sourceDigest")) == 16
    assert config == {
        "name": "helper",
        "model": "openai/gpt-4o-mini",
        "instructions": "Be brief.",
        "maxTurns": 25,
        "timeoutSeconds": 0,
        "external": False,
        "tools": [
            {
                "name": "add",
                "description": "Add.",
                "inputSchema": {
                    "type": "object",
                    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
                    "required": ["a", "b"],
                },
                "outputSchema": {"type": "object", "additionalProperties": {"type": "integer"}},
                "toolType": "worker",
            }
        ],
    }


def test_a_strategy_is_only_sent_with_sub_agents() -> None:
    assert "strategy" not in encoded(Agent("a", "m/x", strategy="sequential"))
    assert encoded(Agent("a", agents=[Agent("b", "m/x")]))["strategy"] == "handoff"


def test_what_holds_a_function_is_sent_as_the_name_of_its_task() -> None:
    b = Agent("b", "m/x")
    config = encoded(
        Agent(
            "a",
            "m/x",
            agents=[b],
            strategy="router",
            router=lambda prompt: "b",
            stop_when=lambda context: True,
            gate=lambda output: True,
            handoffs=[OnCondition("b", lambda context: True), OnToolResult("b", "add", "7")],
            guardrails=[Guardrail(lambda text: GuardrailResult(True), name="fair"), Guardrail(name="other")],
            callbacks=[type("Own", (CallbackHandler,), {"on_agent_start": lambda self, **_: None})()],
        )
    )
    assert config["router"] == {"taskName": "a_router_fn"}
    assert config["stopWhen"] == {"taskName": "a_stop_when"}
    assert config["gate"] == {"taskName": "a_gate"}
    assert config["handoffs"] == [
        {"target": "b", "type": "on_condition", "taskName": "a_handoff_b"},
        {"target": "b", "type": "on_tool_result", "toolName": "add", "resultContains": "7"},
    ]
    common = {"position": "output", "onFail": "retry", "maxRetries": 3}
    assert config["guardrails"] == [
        {"name": "fair", **common, "guardrailType": "custom", "taskName": "fair"},
        {"name": "other", **common, "guardrailType": "external", "taskName": "other"},
    ]
    assert config["callbacks"] == [{"position": "before_agent", "taskName": "a_before_agent"}]


def test_a_router_that_is_an_agent_is_sent_whole() -> None:
    config = encoded(Agent("a", agents=[Agent("b", "m/x")], strategy="router", router=Agent("r", "m/r")))
    assert config["router"]["model"] == "m/r"


def test_data_guardrails_are_sent_whole() -> None:
    blocks = RegexGuardrail([r"\d+"], on_fail="raise", message="no numbers")
    judges = LLMGuardrail("openai/gpt-4o", "be kind", max_tokens=50)
    sent = encoded(Agent("a", "m/x", guardrails=[blocks, judges]))["guardrails"]
    assert sent == [
        {"name": "regex_guardrail", "position": "output", "onFail": "raise", "maxRetries": 3, "guardrailType": "regex",
         "patterns": [r"\d+"], "mode": "block", "message": "no numbers"},
        {"name": "llm_guardrail", "position": "output", "onFail": "retry", "maxRetries": 3, "guardrailType": "llm",
         "model": "openai/gpt-4o", "policy": "be kind", "maxTokens": 50},
    ]  # fmt: skip


def test_terminations_combine_and_are_sent() -> None:
    one, two, three = TextMentionTermination("x"), StopMessageTermination(), MaxMessageTermination(3)
    both = one & two & three
    assert both.to_config() == {
        "type": "and",
        "conditions": [
            {"type": "text_mention", "text": "x", "caseSensitive": False},
            {"type": "stop_message", "stopMessage": "TERMINATE"},
            {"type": "max_message", "maxMessages": 3},
        ],
    }
    assert (one | TokenUsageTermination(10)).to_config()["conditions"][1] == {
        "type": "token_usage", "maxTotalTokens": 10,
    }  # fmt: skip
    assert not both.should_terminate({"result": "x", "messages": []}).should_terminate
    told = (one | three).should_terminate({"result": "an X", "iteration": 1})
    assert (told.should_terminate, told.reason) == (True, "Text 'x' mentioned")
    with pytest.raises(ValueError, match="max_messages"):
        MaxMessageTermination(0)
    with pytest.raises(ValueError, match="at least one"):
        TokenUsageTermination()


def test_a_claude_code_agent_is_a_stub_with_one_task() -> None:
    coder = Agent("coder", ClaudeCode("opus", PermissionMode.PLAN), "Code.", ["Read"])
    assert coder.is_claude_code
    config = encoded(coder)
    assert config["model"] == "claude-code/claude-opus-4-6"
    assert config["metadata"] == {"_framework_passthrough": True}
    assert [each["name"] for each in config["tools"]] == ["coder"]


def test_code_and_command_tools_come_with_their_configurations() -> None:
    config = encoded(Agent("a", "m/x", local_code_execution=True, cli_allowed_commands=["ls"]))
    assert [each["name"] for each in config["tools"]] == ["a_execute_code", "a_run_command"]
    assert config["codeExecution"] == {
        "enabled": True, "allowedLanguages": ["python"], "allowedCommands": [], "timeout": 30,
    }  # fmt: skip
    assert config["cliConfig"] == {"enabled": True, "allowedCommands": ["ls"], "timeout": 30, "allowShell": False}


# Instructions


def test_instructions_may_be_a_function_or_a_template() -> None:
    assert encoded(Agent("a", "m/x", lambda: "said"))["instructions"] == "said"
    template = encoded(Agent("a", "m/x", PromptTemplate("p", {"x": 1}, 2)))["instructions"]
    assert template == {"type": "prompt_template", "name": "p", "variables": {"x": 1}, "version": 2}
    with pytest.raises(TypeError, match="needs topic"):
        encoded(Agent("a", "m/x", lambda topic: topic))


def test_an_agent_function_s_docstring_is_its_instructions_unless_it_returns_some() -> None:
    @agent(model="m/x", tools=[add])
    def helper() -> None:
        """Be brief."""

    @agent
    def other() -> str:
        """Not this."""
        return "This."

    config = encoded(Agent("team", "m/y", agents=[helper, other], strategy=Strategy.PARALLEL))
    assert [(each["name"], each["model"], each["instructions"]) for each in config["agents"]] == [
        ("helper", "m/x", "Be brief."),
        ("other", "m/y", "This."),
    ]
    assert config["agents"][0]["tools"][0]["name"] == "add"


def test_budgets_and_fallbacks_are_sent_in_the_wire_s_words() -> None:
    config = encoded(Agent("a", "m/x", budget={"model_calls": 3, "seconds": 1.5}, fallback="m/y"))
    assert (config["budget"], config["fallback"]) == ({"modelCalls": 3, "seconds": 1.5}, ["m/y"])
    ordered = ["m/y", {"model": "m/z", "on": ["timeout"]}]
    assert encoded(Agent("a", "m/x", fallback=ordered))["fallback"] == ordered
    assert encoded(Agent("a", "m/x", fallback=Agent("b", "m/y")))["fallback"]["name"] == "b"


def test_a_person_in_the_place_of_an_agent_is_sent_with_how_it_is_asked() -> None:
    proxy = UserProxyAgent("me", "TERMINATE", "Go on.", metadata={"team": "x"})
    assert encoded(Agent("a", "m/x", agents=[proxy]))["agents"][0]["metadata"] == {
        "team": "x", "_agent_type": "user_proxy", "_human_input_mode": "TERMINATE", "_default_response": "Go on.",
    }  # fmt: skip
    with pytest.raises(ValueError, match="ALWAYS, TERMINATE, NEVER"):
        UserProxyAgent(human_input_mode="SOMETIMES")


def test_agent_refuses_what_agent_does_not_take() -> None:
    with pytest.raises(TypeError, match="max_turn"):
        agent(max_turn=3)(lambda: "x")


# Pipelines and teams


def test_pipelines_are_flat() -> None:
    a, b, c = (Agent(name, f"m/{name}") for name in "abc")
    pipeline = a >> b >> c
    assert (pipeline.name, pipeline.model, pipeline.strategy) == ("a_b_c", "m/a", "sequential")
    assert [each.name for each in pipeline.agents] == ["a", "b", "c"]
    assert [each.name for each in (a >> (b >> c)).agents] == ["a", "b", "c"]


def test_a_pipeline_with_more_to_it_than_its_stages_stays_one_stage() -> None:
    inner = Agent("inner", "m/x", "Do it well.", agents=[Agent("b", "m/x")], strategy="sequential")
    assert [each.name for each in (Agent("a", "m/x") >> inner).agents] == ["a", "inner"]


def test_scatter_gather_makes_an_agent_with_the_worker_as_its_tool() -> None:
    team = scatter_gather("all", Agent("one", "m/x"), instructions="Well.", fail_fast=True, retry_count=1)
    assert (team.model, team.timeout_seconds) == ("m/x", 300)
    part = get_tool_def(team.tools[0])
    assert part.tool_type == "agent_tool"
    assert encoded(scatter_gather("all", Agent("one", "m/x"), fail_fast=True, width=5))["width"] == 5
    assert (encoded(team)["failFast"], team.fail_fast) == (True, True)
    config = encoded(team)["tools"][0]["config"]
    assert (config["retryCount"], config["optional"]) == (1, False)
    assert config["agentConfig"]["name"] == "one"
    assert "optional" not in encoded(scatter_gather("all", Agent("one", "m/x")))["tools"][0]["config"]


# Tools


def test_a_tool_is_still_a_function() -> None:
    assert add(1, 2) == {"sum": 3}
    assert add.__name__ == "add"
    assert get_tool_def(add).description == "Add."
    assert get_tool_defs([add, human_tool("ask", "Ask.")])[1].tool_type == "human"


def test_an_approval_policy_is_sent_as_data() -> None:
    def sent(**options: Any) -> dict[str, Any]:
        @tool(**options)
        def pay(amount: int, to: str = "") -> None:
            """Pay."""

        found: dict[str, Any] = encoded(Agent("a", "m/x", tools=[pay]))["tools"][0]
        return {key: value for key, value in found.items() if key.startswith("approval")}

    assert sent() == {}
    assert sent(approval_required=True) == {"approvalRequired": True}
    assert sent(approval_required=lambda amount: amount > 1) == {
        "approvalRequired": True, "approval": {"taskName": "pay_approval"},
    }  # fmt: skip
    policy = ApprovalPolicy(
        [("amount", ">", 100), {"argument": "to", "op": "in", "value": ["x"]}],
        deadline_seconds=60,
        on_deadline="approve",
        escalation=[{"to": "boss", "after_seconds": 30}],
        to=["me", "you"],
    )
    assert sent(approval_required=policy)["approval"] == {
        "when": [{"argument": "amount", "op": ">", "value": 100}, {"argument": "to", "op": "in", "value": ["x"]}],
        "deadlineSeconds": 60,
        "onDeadline": "approve",
        "to": ["me", "you"],
        "escalation": [{"to": ["boss"], "afterSeconds": 30}],
    }
    assert ToolDef("t", approval_required=policy).approval is policy  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="looks at 'sum', but the tool takes: amount, to"):
        sent(approval_required=ApprovalPolicy([("sum", ">", 1)]))


BAD_POLICIES: dict[str, tuple[dict[str, Any], str]] = {
    "op": ({"when": [("amount", "~", 1)]}, "op must be one of"),
    "form": ({"when": ["amount > 1"]}, "a condition must be"),
    "keys": ({"when": [{"argument": "a", "op": "==", "than": 1}]}, "keys argument, op and value"),
    "deadline": ({"deadline_seconds": 0}, "deadline_seconds"),
    "on_deadline": ({"on_deadline": "wait"}, "on_deadline must be 'reject' or 'approve'"),
    "to": ({"to": [3]}, "names"),
    "escalation": ({"escalation": [{"to": ["boss"]}]}, "after_seconds"),
}


@pytest.mark.parametrize("what", BAD_POLICIES)
def test_an_approval_policy_checks_its_values(what: str) -> None:
    parameters, words = BAD_POLICIES[what]
    with pytest.raises(ValueError, match=words):
        ApprovalPolicy(**parameters)


def test_an_approval_is_a_flag_a_function_or_a_policy() -> None:
    with pytest.raises(TypeError, match="approval_required must be a bool, a function or an ApprovalPolicy, got str"):
        tool(approval_required="yes")  # type: ignore[call-overload]


def test_a_tool_keeps_its_options() -> None:
    @tool(name="sum", external=True, approval_required=True, timeout_seconds=5, retry_count=0,
          retry_policy="exponential_backoff", retry_delay_seconds=1)  # fmt: skip
    def total(values: list[int]) -> int:
        """Sum."""
        return sum(values)

    definition = get_tool_def(total)
    assert (definition.name, definition.func) == ("sum", None)
    sent = encoded(Agent("a", "m/x", tools=[total]))["tools"][0]
    assert sent["approvalRequired"] is True
    assert (sent["timeoutSeconds"], sent["retryCount"], sent["retryLogic"]) == (5, 0, "exponential_backoff")
    with pytest.raises(ValueError, match="retry_policy"):
        tool(retry_policy="now")


def test_a_method_is_a_tool_of_its_object() -> None:
    class Shop:
        def __init__(self, name: str) -> None:
            self.name = name

        @tool
        def sell(self, what: str) -> str:
            """Sell."""
            return f"{what} from {self.name}"

        @classmethod
        @tool
        def close(cls, when: str) -> str:
            """Close."""
            return f"{cls.__name__} {when}"

        @staticmethod
        @tool
        def greet(who: str) -> str:
            """Greet."""
            return f"hello {who}"

    one, two = Shop("one"), Shop("two")
    assert one.sell("a") == "a from one"
    first, second = get_tool_def(one.sell), get_tool_def(two.sell)
    assert first.func is not None
    assert second.func is not None
    assert (first.func("a"), second.func(what="b")) == ("a from one", "b from two")
    assert list(first.input_schema["properties"]) == ["what"]
    assert get_tool_def(one.greet).input_schema["required"] == ["who"]
    assert get_tool_def(one.greet).func("me") == "hello me"  # type: ignore[misc]
    with pytest.raises(TypeError, match="method"):
        get_tool_def(Shop.sell)


def test_a_lambda_needs_a_name() -> None:
    assert get_tool_def(tool(name="one")(lambda: 1)).name == "one"
    with pytest.raises(ValueError, match="lambda"):
        tool(lambda: 1)


def test_headers_may_only_use_declared_credentials() -> None:
    headers = {"Authorization": "Bearer ${TOKEN}"}
    for make in (
        lambda **more: http_tool("h", "d", "http://x", headers=headers, **more),
        lambda **more: api_tool("http://x", headers=headers, **more),
        lambda **more: mcp_tool("http://x", headers=headers, **more),
    ):
        with pytest.raises(ValueError, match="TOKEN"):
            make()
        assert make(credentials=["TOKEN"]).credentials == ["TOKEN"]


@dataclass
class Sent:
    tool: ToolDef
    kind: str
    config: dict[str, Any]


SENT = [
    Sent(
        http_tool("h", "d", "http://x", "post"),
        "http",
        {"url": "http://x", "method": "POST", "headers": {}, "accept": ["application/json"],
         "contentType": "application/json"},
    ),
    Sent(api_tool("http://x", tool_names=["a"]), "api", {"url": "http://x", "max_tools": 64, "tool_names": ["a"]}),
    Sent(
        mcp_tool("http://x", headers={"a": "b"}),
        "mcp",
        {"server_url": "http://x", "max_tools": 64, "headers": {"a": "b"}},
    ),
    Sent(human_tool("h", "d"), "human", {}),
    Sent(
        human_tool("h", "d", deadline_seconds=60, to="me", response_schema={"type": "object"}),
        "human",
        {"deadlineSeconds": 60, "to": ["me"], "responseSchema": {"type": "object"}},
    ),
    Sent(wait_for_message_tool("h", "d", 5, False), "pull_workflow_messages", {"batchSize": 5, "blocking": False}),
    Sent(
        image_tool("h", "d", "openai", "m", width=64),
        "generate_image",
        {"taskType": "GENERATE_IMAGE", "llmProvider": "openai", "model": "m", "width": 64},
    ),
    Sent(
        audio_tool("h", "d", "openai", "m"),
        "generate_audio",
        {"taskType": "GENERATE_AUDIO", "llmProvider": "openai", "model": "m"},
    ),
    Sent(
        video_tool("h", "d", "openai", "m"),
        "generate_video",
        {"taskType": "GENERATE_VIDEO", "llmProvider": "openai", "model": "m"},
    ),
    Sent(pdf_tool(), "generate_pdf", {"taskType": "GENERATE_PDF"}),
    Sent(
        index_tool("h", "d", "pg", "i", "openai", "e", chunk_size=10),
        "rag_index",
        {"taskType": "LLM_INDEX_TEXT", "vectorDB": "pg", "namespace": "default_ns", "index": "i",
         "embeddingModelProvider": "openai", "embeddingModel": "e", "chunkSize": 10},
    ),
    Sent(
        search_tool("h", "d", "pg", "i", "openai", "e"),
        "rag_search",
        {"taskType": "LLM_SEARCH_INDEX", "vectorDB": "pg", "namespace": "default_ns", "index": "i",
         "embeddingModelProvider": "openai", "embeddingModel": "e", "maxResults": 5},
    ),
]  # fmt: skip


@pytest.mark.parametrize("sent", SENT, ids=lambda sent: sent.kind)
def test_a_tool_of_the_server_is_sent_with_its_configuration(sent: Sent) -> None:
    config = encoded(Agent("a", "m/x", tools=[sent.tool]))["tools"][0]
    assert (config["toolType"], config.get("config", {})) == (sent.kind, sent.config)


def test_credentials_of_a_tool_are_sent_as_names() -> None:
    sent = encoded(Agent("a", "m/x", tools=[http_tool("h", "d", "http://x", credentials=["KEY"])]))["tools"][0]
    assert sent["config"]["credentials"] == ["KEY"]


def test_an_agent_tool_carries_its_agent_and_stays_as_it_was() -> None:
    inner = agent_tool(Agent("inner", "m/x", tools=[add]), retry_count=2)
    outer = Agent("outer", "m/x", tools=[inner])
    first, second = encoded(outer), encoded(outer)
    assert first == second
    assert first["tools"][0]["config"]["agentConfig"]["tools"][0]["name"] == "add"
    assert first["tools"][0]["inputSchema"]["required"] == ["request"]


# Guardrails and memory


def test_guardrails_check_their_own_values() -> None:
    @guardrail(name="fair")
    def is_fair(text: str) -> GuardrailResult:
        """Fair?"""
        return GuardrailResult("unfair" not in text)

    check = Guardrail(is_fair, position="input", on_fail="raise")
    assert (check.name, check.external, check.check("unfair").passed) == ("fair", False, False)
    with pytest.raises(ValueError, match="position"):
        Guardrail(is_fair, position="middle")
    with pytest.raises(ValueError, match="on_fail"):
        Guardrail(is_fair, on_fail="cry")
    with pytest.raises(ValueError, match="human"):
        Guardrail(is_fair, position="input", on_fail="human")
    with pytest.raises(ValueError, match="name"):
        Guardrail()
    with pytest.raises(ValueError, match="max_retries"):
        Guardrail(is_fair, max_retries=0)
    with pytest.raises(RuntimeError, match="external"):
        Guardrail(name="elsewhere").check("x")
    assert not RegexGuardrail("a").check("cat").passed
    assert not RegexGuardrail(["x"], mode="allow").check("cat").passed
    assert Guardrail(lambda text: True).name == "guardrail"
    with pytest.raises(ValueError, match="no regular expression"):
        RegexGuardrail("(")
    with pytest.raises(ValueError, match="pattern"):
        RegexGuardrail([])
    with pytest.raises(TypeError, match="function"):
        Guardrail("fair")  # type: ignore[arg-type]


def test_a_guardrail_that_is_async_can_be_checked_here() -> None:
    async def is_short(text: str) -> bool:
        return len(text) < 3

    assert [Guardrail(is_short).check(text).passed for text in ("ab", "abc")] == [True, False]


class Judge(BaseHTTPRequestHandler):
    """A model of OpenAI's protocol that judges by a word."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = asked["messages"][-1]["content"]
        verdict = "hm" if "odd" in text else json.dumps({"passed": "bad" not in text, "reason": "it is bad"})
        answer = {"choices": [{"index": 0, "message": {"role": "assistant", "content": verdict}}]}
        body = json.dumps({"id": "x", "object": "chat.completion", "model": asked["model"], **answer}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def test_a_model_can_judge_from_here_and_what_goes_wrong_counts_as_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    check = LLMGuardrail("openai/judge", "no bad words").check
    with HTTPServer(("127.0.0.1", 0), Judge) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("OPENAI_API_BASE", f"http://127.0.0.1:{server.server_port}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        told = [check(text) for text in ("good", "bad", "odd")]
        server.shutdown()
        thread.join()
    assert [each.passed for each in told] == [True, False, False]
    assert told[1].message == "it is bad"
    assert told[2].message.startswith("Guardrail error: ")
    with pytest.raises(ValueError, match="provider/model"):
        LLMGuardrail("judge", "be kind")


def test_a_pattern_that_takes_for_ever_fails_the_check() -> None:
    told = RegexGuardrail(r"^(a|a)*$", mode="allow").check("a" * 60 + "b")
    assert not told.passed
    assert "longer than" in told.message


def test_a_conversation_keeps_its_system_messages_and_the_newest_others() -> None:
    memory = ConversationMemory(max_messages=3)
    memory.add_system_message("s")
    for text in "abc":
        memory.add_user_message(text)
    assert [each["message"] for each in memory.messages] == ["s", "b", "c"]
    memory.add_tool_call("add", {"a": 1})
    memory.add_tool_result("add", 3)
    assert [each["role"] for each in memory.messages] == ["system", "tool_call", "tool"]
    copied = memory.to_chat_messages()
    copied[0]["message"] = "changed"
    assert memory.messages[0]["message"] == "s"
    memory.clear()
    assert memory.messages == []


def test_a_semantic_memory_finds_what_shares_words() -> None:
    from agentspan.agents import SemanticMemory

    memory = SemanticMemory(session_id="s")
    first = memory.add("the cat sat on the mat")
    memory.add("dogs bark")
    assert memory.search("where is the cat?") == ["the cat sat on the mat"]
    assert memory.search_entries("cat")[0].metadata == {"session_id": "s"}
    assert memory.get_context("cat").startswith("Relevant context from memory:")
    assert memory.get_context("fish") == ""
    assert memory.delete(first)
    assert not memory.delete(first)
    assert len(memory.list_all()) == 1


def test_a_tool_context_is_made_of_nothing() -> None:
    context = ToolContext()
    assert (context.session_id, context.execution_id, context.agent_name, context.metadata) == ("", "", "", {})
    assert (context.dependencies, context.state, context.cancelled) == ({}, {}, False)


def test_nothing_warns_when_an_agent_is_made() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Agent("a", "m/x", tools=[add])
