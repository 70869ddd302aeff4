"""The functions of an agent that are no tools, as tasks: what they get, what they answer, and what goes wrong."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from agentspan.agents import (
    Agent,
    ApprovalPolicy,
    CallbackHandler,
    Guardrail,
    GuardrailResult,
    HandoffCondition,
    LLMGuardrail,
    MaxMessageTermination,
    OnCondition,
    OnTextMention,
    OnToolResult,
    PromptTemplate,
    RegexGuardrail,
    TerminationCondition,
    TerminationResult,
    TextMentionTermination,
    TokenUsageTermination,
    ToolContext,
    agent,
    agent_tool,
    guardrail,
    human_tool,
    tool,
)
from agentspan.agents.gate import TextGate
from agentspan.agents.pool import Pool
from agentspan.agents.registry import Lane, Queue, Registry
from agentspan.agents.serialize import serialize
from agentspan.agents.worker import Call

Json = dict[str, Any]

POOL = Pool("test")


def queues(*agents: Agent) -> list[str]:
    """The names of the queues that these agents need their process for."""
    registry = Registry()
    for each in agents:
        registry.add(each)
    return [queue.name for queue in registry.queues()]


async def perform(agent: Agent, name: str, given: Json, *, of: str = "", registry: Registry | None = None) -> Json:
    """The TaskResult of one task of agent `of`, or of the agent itself."""
    if registry is None:
        registry = Registry()
        registry.add(agent)
    entry = registry.find(of or agent.name, name)
    task = {"taskId": "t", "workflowInstanceId": "e", "taskDefName": name, "inputData": given}
    return await Call(task, entry, ToolContext(), POOL).perform("w")


async def answer(agent: Agent, name: str, given: Json, **more: Any) -> Json:
    """The output of a task that completes."""
    result = await perform(agent, name, given, **more)
    assert result["status"] == "COMPLETED", result
    return dict(result["outputData"])


def lines(result: Json) -> str:
    return "\n".join(line["log"] for line in result.get("logs", ()))


def both(function: Callable[..., Any]) -> list[Callable[..., Any]]:
    """A function as it is, and as `async def`."""

    async def later(*args: Any) -> Any:
        await asyncio.sleep(0)
        return function(*args)

    return [function, later]


# Which queues


def test_every_function_of_a_tree_has_its_queue() -> None:
    @tool(approval_required=lambda amount: amount > 1, guardrails=[Guardrail(bool, name="whole")])
    def pay(amount: int) -> int:
        """Pay."""
        return amount

    inner = Agent("inner", "m/x", lambda prompt: prompt, stop_when=lambda context: True)
    router = Agent("router", "m/x", callbacks=[type("Own", (CallbackHandler,), {"on_tool_end": bool})()])
    child = Agent(
        "child",
        "m/x",
        tools=[pay, agent_tool(inner)],
        guardrails=[Guardrail(bool, name="fair")],
        gate=lambda output: True,
    )
    team = Agent("team", agents=[child], strategy="router", router=router)
    assert sorted(queues(team)) == [
        "child_gate", "fair", "inner_instructions", "inner_stop_when", "pay", "pay_approval", "router_after_tool",
        "whole",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "more",
    [
        {"stop_when": bool},
        {"gate": bool},
        {"guardrails": [lambda text: True]},
        {"instructions": lambda prompt: prompt},
        {"callbacks": [type("Own", (CallbackHandler,), {"on_agent_start": bool})()]},
        {"agents": [Agent("b", "m/x")], "strategy": "router", "router": lambda prompt: "b"},
        {"agents": [Agent("b", "m/x")], "strategy": "swarm", "handoffs": [OnCondition("b", bool)]},
    ],
    ids=lambda more: list(more)[-1],
)
def test_an_agent_with_any_function_is_polled_for(more: Json) -> None:
    assert len(queues(Agent("a", "m/x", **more))) == 1


def test_what_is_data_needs_no_process() -> None:
    team = Agent(
        "a", "m/x", "text",
        agents=[Agent("b", "m/x", gate=TextGate("STOP"))],
        strategy="swarm",
        handoffs=[OnTextMention("b", "help"), OnToolResult("b", "look")],
        guardrails=[RegexGuardrail("x"), LLMGuardrail("m/x", "be kind"), Guardrail(name="elsewhere")],
        termination=TextMentionTermination("DONE") & MaxMessageTermination(3),
    )  # fmt: skip
    assert queues(team) == []


def test_checks_do_not_wait_for_places_of_tools() -> None:
    @tool
    async def look() -> None:
        """Look."""

    registry = Registry()
    registry.add(Agent("a", "m/x", tools=[look, tool(name="see")(lambda: None)], stop_when=bool), "domain")
    lanes = {name: entry.lane for name in ("look", "see", "a_stop_when") if (entry := registry.find("a", name))}
    assert lanes == {"look": Lane.LOOP, "see": Lane.THREADS, "a_stop_when": Lane.CHECKS}
    assert Queue("a_stop_when", "domain") in registry.queues()


# Guardrails


@pytest.mark.parametrize("check", both(lambda text: GuardrailResult("bad" not in text, "it is bad", "good")))
async def test_a_guardrail_answers_with_its_verdict(check: Callable[..., Any]) -> None:
    one = Agent("a", "m/x", guardrails=[Guardrail(check, name="fair", on_fail="fix")])
    assert await answer(one, "fair", {"content": "fine", "iteration": 1}) == {
        "passed": True, "message": "it is bad", "on_fail": "pass", "fixed_output": "good", "guardrail_name": "fair",
        "should_continue": False,
    }  # fmt: skip
    failed = await answer(one, "fair", {"content": {"a": "bad"}})
    assert (failed["passed"], failed["on_fail"], failed["fixed_output"]) == (False, "fix", "good")


@pytest.mark.parametrize(
    ("said", "passed"),
    [(True, True), (False, False), (None, True), ({"passed": False, "message": "no"}, False)],
    ids=["true", "false", "none", "dict"],
)
async def test_a_guardrail_may_answer_plainly(said: Any, passed: bool) -> None:
    one = Agent("a", "m/x", guardrails=[Guardrail(lambda text: said, name="fair")])
    assert (await answer(one, "fair", {"content": "x"}))["passed"] is passed
    assert one.guardrails[0].check("x").passed is passed


async def test_a_guardrail_that_raises_or_answers_nonsense_fails_its_task() -> None:
    def broken(text: str) -> bool:
        raise ValueError("no dictionary")

    one = Agent("a", "m/x", guardrails=[broken, Guardrail(lambda text: "yes", name="vague")])
    result = await perform(one, "broken", {"content": "x"})
    assert (result["status"], result["reasonForIncompletion"]) == ("FAILED", "ValueError: no dictionary")
    assert "raise ValueError" in lines(result)
    assert "must return a GuardrailResult" in (await perform(one, "vague", {"content": "x"}))["reasonForIncompletion"]


async def test_guardrails_of_one_name_are_told_apart_by_their_agent() -> None:
    registry = Registry()
    agents = [
        Agent(name, "m/x", guardrails=[Guardrail(lambda text, name=name: name in text, name="own")]) for name in "ab"
    ]
    for each in agents:
        registry.add(each)
    for each in agents:
        told = [
            (await answer(each, "own", {"content": text}, registry=registry))["passed"] for text in ("for a", "for b")
        ]
        assert told == [each.name == "a", each.name == "b"]


async def test_guardrails_of_one_name_in_one_agent_get_numbers() -> None:
    @guardrail
    def fair(text: str) -> bool:
        """Fair?"""
        return True

    @tool(guardrails=[Guardrail(lambda text: False, name="fair")])
    def look() -> None:
        """Look."""

    rails = [RegexGuardrail("a"), RegexGuardrail("b"), fair, Guardrail(fair, position="input"), Guardrail(name="x")]
    one = Agent("a", "m/x", tools=[look], guardrails=rails)
    spec = serialize(one)
    assert [each["name"] for each in spec.guardrails] == ["regex_guardrail", "regex_guardrail_2", "fair", "fair_2", "x"]
    assert [each.get("taskName") for each in spec.guardrails] == [None, None, "fair", "fair_2", "x"]
    sent = spec.tools[0].guardrails[0]
    assert (sent["name"], sent["taskName"]) == ("fair", "fair_3")
    assert [(await answer(one, task, {"content": ""}))["passed"] for task in ("fair", "fair_2", "fair_3")] == [
        True, True, False,
    ]  # fmt: skip


async def test_members_find_the_functions_of_their_team_s_tools_and_their_own_first() -> None:
    def check(verdict: bool) -> Guardrail:
        return Guardrail(lambda text: verdict, name="fair")

    shared = tool(name="shared", guardrails=[check(False)])(lambda: "team")
    own = tool(name="shared")(lambda: "own")
    members = [Agent("b", "m/x"), Agent("c", "m/x", tools=[own], guardrails=[check(True)])]
    team = Agent("a", "m/x", tools=[shared], agents=members, strategy="round_robin")
    registry = Registry()
    registry.add(team)
    registry.add(Agent("other", "m/x", tools=[tool(name="shared")(lambda: "other")], guardrails=[check(True)]))
    assert [(await answer(team, "shared", {}, of=name, registry=registry))["result"] for name in "abc"] == [
        "team", "team", "own",
    ]  # fmt: skip
    verdicts = [await answer(team, "fair", {"content": ""}, of=name, registry=registry) for name in "abc"]
    assert [each["passed"] for each in verdicts] == [False, False, True]


# Endings


@pytest.mark.parametrize("stop", both(lambda context: context["iteration"] >= 2 and "x" in context["result"]))
async def test_stop_when_sees_the_turn(stop: Callable[..., Any]) -> None:
    one = Agent("a", "m/x", stop_when=stop)
    assert await answer(one, "a_stop_when", {"result": "x", "iteration": 1}) == {"should_continue": True}
    assert await answer(one, "a_stop_when", {"result": "x", "iteration": 2, "messages": []}) == {
        "should_continue": False
    }


async def test_a_stop_when_that_raises_goes_on_and_says_so_in_its_log() -> None:
    one = Agent("a", "m/x", stop_when=lambda context: context["nothing"])
    result = await perform(one, "a_stop_when", {})
    assert result["outputData"] == {"should_continue": True}
    assert "KeyError: 'nothing'" in lines(result)


class Polite(TerminationCondition):
    """Ends when somebody says thanks."""

    def should_terminate(self, context: Any) -> TerminationResult:
        return TerminationResult("thanks" in context["result"], "thanked")


class Slow(TerminationCondition):
    """Ends when a service says so."""

    async def should_terminate(self, context: Any) -> bool:  # type: ignore[override]
        return context["iteration"] > 1  # type: ignore[no-any-return]


async def test_a_termination_of_one_s_own_is_judged_in_this_process_with_all_it_is_combined_with() -> None:
    one = Agent("a", "m/x", termination=(Polite() & TokenUsageTermination(10)) | Slow())
    assert serialize(one).termination == {"type": "unknown", "taskName": "a_termination"}

    async def told(result: str, tokens: int, iteration: int) -> Json:
        usage = {"promptTokens": 1, "completionTokens": tokens - 1, "totalTokens": tokens}
        return await answer(one, "a_termination", {"result": result, "iteration": iteration, "token_usage": usage})

    assert await told("thanks", 5, 1) == {"should_continue": True, "reason": ""}
    assert await told("thanks", 10, 1) == {
        "should_continue": False, "reason": "thanked AND Used 10 of 10 total tokens",
    }  # fmt: skip
    assert await told("no", 5, 2) == {"should_continue": False, "reason": "Slow"}


async def test_a_termination_that_raises_goes_on() -> None:
    class Broken(TerminationCondition):
        def should_terminate(self, context: Any) -> TerminationResult:
            raise ValueError("broken")

    result = await perform(Agent("a", "m/x", termination=Broken()), "a_termination", {"result": "x"})
    assert result["outputData"] == {"should_continue": True, "reason": ""}
    assert "ValueError: broken" in lines(result)


@pytest.mark.parametrize("gate", both(lambda output: "good" in output["result"]))
async def test_a_gate_lets_pass_what_it_says_yes_to(gate: Callable[..., Any]) -> None:
    one = Agent("a", "m/x", gate=gate)
    assert await answer(one, "a_gate", {"result": "good"}) == {"decision": "continue"}
    assert await answer(one, "a_gate", {"result": "bad"}) == {"decision": "stop"}


async def test_a_gate_that_raises_lets_pass() -> None:
    result = await perform(Agent("a", "m/x", gate=lambda output: output["nothing"]), "a_gate", {"result": "x"})
    assert result["outputData"] == {"decision": "continue"}
    assert "KeyError" in lines(result)


# Choices


def routed(router: Callable[..., Any]) -> Agent:
    return Agent("a", agents=[Agent("b", "m/x"), Agent("c", "m/x")], strategy="router", router=router)


@pytest.mark.parametrize("router", both(lambda prompt: "c" if "code" in prompt else "b"))
async def test_a_router_names_who_speaks(router: Callable[..., Any]) -> None:
    assert await answer(routed(router), "a_router_fn", {"prompt": "code"}) == {"selected_agent": "c"}
    assert await answer(routed(router), "a_router_fn", {"prompt": "talk"}) == {"selected_agent": "b"}


async def test_a_router_may_ask_for_more_and_answer_with_an_agent() -> None:
    @agent(name="c")
    def described() -> None:
        """Speak."""

    def route(text: str, last_agent: str = "") -> Any:
        return described if last_agent == "b" else Agent("b", "m/x")

    given = {"prompt": "hi", "conversation": "...", "last_agent": "b"}
    assert await answer(routed(route), "a_router_fn", given) == {"selected_agent": "c"}
    assert await answer(routed(route), "a_router_fn", {"prompt": "hi"}) == {"selected_agent": "b"}
    assert await answer(routed(lambda prompt: None), "a_router_fn", {"prompt": "hi"}) == {"selected_agent": ""}


async def test_a_router_that_raises_fails_and_chooses_nobody() -> None:
    result = await perform(routed(lambda prompt: {}[prompt]), "a_router_fn", {"prompt": "hi"})
    assert (result["status"], result["reasonForIncompletion"]) == ("FAILED", "KeyError: 'hi'")


def swarm(*handoffs: HandoffCondition, **more: Any) -> Agent:
    members = [Agent("b", "m/x"), Agent("c", "m/x")]
    return Agent("a", "m/x", agents=members, strategy="swarm", handoffs=list(handoffs), **more)


def stays(name: str) -> Json:
    return {"active_agent": name, "handoff": False}


def goes(name: str) -> Json:
    return {"active_agent": name, "handoff": True}


async def test_the_first_condition_that_is_met_hands_off() -> None:
    team = swarm(
        OnTextMention("b", "Billing"),
        OnCondition("c", lambda context: context["iteration"] > 2 and context["active_agent"] == "a"),
    )

    async def after(result: str, iteration: int = 1, active: str = "0") -> Json:
        return await answer(team, "a_handoff_check", {"result": result, "active_agent": active, "iteration": iteration})

    assert await after("hello") == stays("a")
    assert await after("this is billing", 3) == goes("b")
    assert await after("hello", 3) == goes("c")
    assert await after("this is billing", 3, active="1") == stays("b")


async def test_a_transfer_goes_before_conditions_and_only_where_it_is_allowed() -> None:
    team = swarm(OnCondition("c", lambda context: True), allowed_transitions={"a": ["b"], "b": ["a"]})
    given = {"result": "x", "active_agent": "a", "is_transfer": True}
    assert await answer(team, "a_handoff_check", {**given, "transfer_to": "b"}) == goes("b")
    assert await answer(team, "a_handoff_check", {**given, "transfer_to": "c"}) == stays("a")
    assert await answer(team, "a_handoff_check", {"result": "x", "active_agent": "a"}) == stays("a")
    assert await answer(team, "a_handoff_check", {"result": "x", "active_agent": "c"}) == stays("c")


async def test_conditions_see_what_tools_answered_since_the_user_spoke() -> None:
    seen = []

    async def ask(context: Json) -> bool:
        seen.append((context["tool_name"], context["tool_result"]))
        return False

    team = swarm(OnCondition("c", ask), OnToolResult("b", "look", "urgent"))
    call = {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "look"}}]}
    messages = [
        {"role": "user", "content": "hi"},
        call,
        {"role": "tool", "tool_call_id": "1", "content": "it is urgent"},
        {"role": "tool", "name": "see", "content": "nothing"},
    ]
    given = {"result": "", "active_agent": "a", "messages": messages}
    assert await answer(team, "a_handoff_check", given) == goes("b")
    given["messages"] = [*messages, {"role": "user", "content": "and now?"}]
    assert await answer(team, "a_handoff_check", given) == stays("a")
    assert seen == [("see", "nothing"), ("", "")]


async def test_a_condition_of_one_s_own_class_and_one_that_raises() -> None:
    class AfterLunch(HandoffCondition):
        def should_handoff(self, context: Any) -> bool:
            return "lunch" in context["result"]

    team = swarm(OnCondition("c", lambda context: context["nothing"]), AfterLunch("b"))
    assert [each["type"] for each in serialize(team).handoffs] == ["on_condition", "on_condition"]
    result = await perform(team, "a_handoff_check", {"result": "lunch", "active_agent": "a"})
    assert result["outputData"] == goes("b")
    assert "KeyError" in lines(result)


# Callbacks


class Note(CallbackHandler):
    """Writes down what it is called with, and keeps a count."""

    def __init__(self, **answers: Any) -> None:
        self.seen: list[Json] = []
        self.answers = answers

    def on_agent_start(self, **kwargs: Any) -> Json | None:
        self.seen.append(kwargs)
        return self.answers.get("agent_start")

    async def on_model_end(self, llm_result: str = "", turn: int = 0) -> Json | None:  # type: ignore[override]
        self.seen.append({"llm_result": llm_result, "turn": turn})
        return self.answers.get("model_end")

    def on_tool_start(self, **kwargs: Any) -> Json | None:
        raise RuntimeError("broken")


async def test_callbacks_get_keywords_and_keep_their_state() -> None:
    note = Note()
    one = Agent("a", "m/x", callbacks=[note])
    assert sorted(queues(one)) == ["a_after_model", "a_before_agent", "a_before_tool"]
    assert await answer(one, "a_before_agent", {"prompt": "hi", "turn": 0}) == {}
    assert await answer(one, "a_after_model", {"llm_result": "yes", "turn": 1, "tool_calls": []}) == {}
    assert note.seen == [
        {"agent_name": "a", "position": "before_agent", "prompt": "hi", "turn": 0},
        {"llm_result": "yes", "turn": 1},
    ]


async def test_the_first_callback_that_says_something_overrides() -> None:
    silent, first, second = Note(agent_start={}), Note(agent_start={"prompt": "one"}), Note(agent_start={"prompt": "2"})
    one = Agent("a", "m/x", callbacks=[silent, first, second])
    assert await answer(one, "a_before_agent", {"prompt": "hi"}) == {"prompt": "one"}
    assert [len(each.seen) for each in (silent, first, second)] == [1, 1, 0]


async def test_a_legacy_callback_goes_first() -> None:
    order = []

    def legacy(prompt: str) -> None:
        order.append(prompt)

    handler = type("Own", (CallbackHandler,), {"on_agent_start": lambda self, **_: order.append("handler")})()
    with pytest.warns(DeprecationWarning, match="callbacks"):
        one = Agent("a", "m/x", before_agent_callback=legacy, callbacks=[handler])
    assert await answer(one, "a_before_agent", {"prompt": "legacy", "messages": []}) == {}
    assert order == ["legacy", "handler"]


@pytest.mark.parametrize("said", [3, "text", {"result": object()}])
async def test_a_callback_that_raises_or_answers_nonsense_changes_nothing(said: Any) -> None:
    last = Note(agent_start={"prompt": "good"})
    one = Agent("a", "m/x", callbacks=[Note(agent_start=said), last])
    result = await perform(one, "a_before_agent", {"prompt": "hi"})
    assert result["outputData"] == {"prompt": "good"}
    assert "Error" in lines(result)
    result = await perform(one, "a_before_tool", {"tool_name": "look", "args": {}})
    assert (result["status"], result["outputData"]) == ("COMPLETED", {})
    assert "RuntimeError: broken" in lines(result)


async def test_plain_functions_run_in_threads_and_async_ones_on_their_loop() -> None:
    threads = []
    handler = type(
        "Own",
        (CallbackHandler,),
        {"on_agent_start": lambda self, **_: threads.append(threading.current_thread().name)},
    )()
    await answer(Agent("a", "m/x", callbacks=[handler]), "a_before_agent", {})
    assert threads == ["test"]


# Approvals and instructions


PREDICATES: dict[str, Callable[..., Any]] = {
    "by name": lambda amount: amount > 100,
    "by name, one of two": lambda amount, **_: amount > 100,
    "as a dict": lambda args: int(args["amount"]) > 100,
    "all names": lambda **arguments: arguments["amount"] > 100 and arguments["currency"] == "EUR",
}


@pytest.mark.parametrize("predicate", PREDICATES.values(), ids=PREDICATES.keys())
@pytest.mark.parametrize("form", ["function", "policy"])
async def test_a_predicate_says_whether_to_ask_a_person(predicate: Callable[..., Any], form: str) -> None:
    policy = ApprovalPolicy(when=predicate, deadline_seconds=60)

    @tool(approval_required=predicate if form == "function" else policy)
    def pay(amount: int, currency: str = "EUR") -> None:
        """Pay."""

    one = Agent("a", "m/x", tools=[pay])
    for amount, asked in ((50, False), ("150", True)):
        given = {"tool_name": "pay", "arguments": {"amount": amount}, "agent_name": "a"}
        assert await answer(one, "pay_approval", given) == {"approve": asked}


async def test_a_predicate_that_cannot_say_asks() -> None:
    @tool(approval_required=lambda args: args["nothing"])
    def pay(amount: int) -> None:
        """Pay."""

    result = await perform(Agent("a", "m/x", tools=[pay]), "pay_approval", {"arguments": {"amount": 1}})
    assert result["outputData"] == {"approve": True, "reason": "KeyError: 'nothing'"}
    assert "KeyError" in lines(result)


async def test_instructions_that_ask_for_the_run_are_made_in_each_run() -> None:
    def brief(prompt: str, context: Json) -> str:
        return f"About {prompt}, in {context['language']}."

    async def slow() -> None:
        """Be slow."""

    one = Agent("a", "m/x", brief)
    assert serialize(one).instructions == {"_worker_ref": "a_instructions"}
    given = {"prompt": "cats", "context": {"language": "Dutch"}, "agent": "a"}
    assert await answer(one, "a_instructions", given) == {"result": "About cats, in Dutch."}
    assert await answer(Agent("b", "m/x", slow), "b_instructions", given) == {"result": "Be slow."}
    result = await perform(Agent("c", "m/x", lambda agent: PromptTemplate(agent)), "c_instructions", given)
    assert "PromptTemplate" in result["reasonForIncompletion"]


def test_a_tool_for_a_person_takes_no_queue() -> None:
    assert queues(Agent("a", "m/x", tools=[human_tool("ask", "Ask.")])) == []
