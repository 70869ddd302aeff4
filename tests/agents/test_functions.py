"""The functions of agents in real runs: each is called in this process, and what it says happens."""

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest

from agentspan.agents import (
    Agent,
    AgentResult,
    AgentRuntime,
    ApprovalPolicy,
    CallbackHandler,
    Guardrail,
    GuardrailResult,
    OnCondition,
    TerminationCondition,
    TerminationResult,
    ToolContext,
    agent_tool,
    tool,
)
from tests.agents.serving import ServerProcess, tool_call

Json = dict[str, Any]


class Stage:
    """Runs agents whose models say what a test writes down."""

    def __init__(self, runtime: AgentRuntime, server: ServerProcess, name: str) -> None:
        self.runtime, self.server, self.name = runtime, server, name

    def agent(self, name: str, *answers: Any, **more: Any) -> Agent:
        return Agent(name, self.server.script(f"{self.name}_{name}", *answers), **more)

    def run(self, agent: Agent, prompt: str = "go") -> AgentResult:
        return self.runtime.run(agent, prompt, timeout=30)


@pytest.fixture
def stage(runtime: AgentRuntime, server: ServerProcess, request: pytest.FixtureRequest) -> Stage:
    return Stage(runtime, server, re.sub(r"\W", "_", request.node.name)[:60])


def text(result: AgentResult) -> Any:
    assert result.is_success, (result.error, result.finish_reason)
    return result.output["result"]


@tool
def look(what: str = "x") -> str:
    """Look."""
    return f"saw {what}"


def in_both_ways(function: Callable[..., Any]) -> list[Callable[..., Any]]:
    """A function as it is, and as `async def`."""

    async def later(*args: Any) -> Any:
        await asyncio.sleep(0)
        return function(*args)

    return [function, later]


# Guardrails


@pytest.mark.parametrize("check", in_both_ways(lambda text: GuardrailResult("bad" not in text, "it is bad")))
def test_an_output_that_a_guardrail_refuses_is_asked_for_again(stage: Stage, check: Callable[..., Any]) -> None:
    one = stage.agent("a", "bad", "bad again", "good", guardrails=[Guardrail(check, name="fair")])
    assert text(stage.run(one)) == "good"


def test_a_guardrail_may_end_the_run_or_fix_the_output(stage: Stage) -> None:
    ends = stage.agent("ends", "bad", guardrails=[Guardrail(lambda text: False, on_fail="raise", name="never")])
    result = stage.run(ends)
    assert (str(result.status), str(result.finish_reason)) == ("FAILED", "guardrail")
    fixed = Guardrail(lambda text: GuardrailResult(False, "no", "better"), on_fail="fix", name="fix")
    assert text(stage.run(stage.agent("fixes", "bad", guardrails=[fixed]))) == "better"


def test_a_guardrail_that_raises_counts_as_failed(stage: Stage) -> None:
    calls = []

    def broken(text: str) -> bool:
        calls.append(text)
        raise ValueError("no dictionary")

    result = stage.run(stage.agent("a", "x", guardrails=[Guardrail(broken, on_fail="raise")]))
    assert str(result.status) == "FAILED"
    assert "Guardrail error: ValueError: no dictionary" in str(result.error)
    assert calls == ["x", "x"]


def test_a_sub_agent_s_input_and_output_are_checked(stage: Stage) -> None:
    seen = []

    def note(text: str) -> None:
        seen.append(text)

    child = stage.agent(
        "child", "out", guardrails=[Guardrail(note, "input", "raise", "before"), Guardrail(note, name="after")]
    )
    assert text(stage.run(stage.agent("team", "unused", agents=[child], strategy="sequential"), "in")) == "out"
    assert [each.splitlines()[0] for each in seen] == ["in", "out"]


def test_a_tool_s_arguments_and_result_are_checked(stage: Stage) -> None:
    calls = []

    def check(text: str) -> GuardrailResult:
        return GuardrailResult("secret" not in text, "no secrets")

    @tool(guardrails=[Guardrail(check, "input", "raise", "before"), Guardrail(check, "output", "fix", "after")])
    def read(file: str) -> str:
        """Read."""
        calls.append(file)
        return f"the secret of {file}"

    for file, stopped_by in (("secret", "before"), ("diary", "after")):
        result = stage.run(stage.agent(file, tool_call("read", file=file), "{results}", tools=[read]))
        assert (str(result.finish_reason), result.error) == ("guardrail", f"guardrail '{stopped_by}': no secrets")
    assert calls == ["diary"]


# Endings


@pytest.mark.parametrize("stop", in_both_ways(lambda context: context["iteration"] >= 2))
def test_stop_when_ends_a_run(stage: Stage, stop: Callable[..., Any]) -> None:
    one = stage.agent("a", {**tool_call("look"), "times": 9}, "done", tools=[look], stop_when=stop)
    assert len(stage.run(one).tool_calls) == 2


def test_an_agent_whose_only_function_is_its_stop_when_ends(stage: Stage) -> None:
    assert text(stage.run(stage.agent("a", "done", stop_when=lambda context: False))) == "done"


def test_the_functions_of_a_stateful_agent_are_called_in_its_domain(stage: Stage) -> None:
    calls = []
    guardrails = [Guardrail(lambda text: calls.append(text), name="note")]
    assert text(stage.run(stage.agent("a", "done", stateful=True, guardrails=guardrails))) == "done"
    assert calls == ["done"]


def test_a_termination_of_one_s_own_ends_a_run_with_its_reason(stage: Stage) -> None:
    seen: list[Json] = []

    class Enough(TerminationCondition):
        def should_terminate(self, context: Any) -> TerminationResult:
            seen.append(dict(context))
            return TerminationResult(context["token_usage"]["total_tokens"] > 0 and context["iteration"] > 1, "enough")

    one = stage.agent("a", {**tool_call("look"), "times": 9}, "done", tools=[look], termination=Enough())
    assert len(stage.run(one).tool_calls) == 2
    assert [each["iteration"] for each in seen] == [1, 2]
    assert seen[1]["messages"]


def test_a_gate_stops_a_pipeline(stage: Stage) -> None:
    seen = []

    def is_open(output: Json) -> bool:
        seen.append(output["result"])
        return "go on" in output["result"]

    first = stage.agent("first", "go on", gate=is_open)
    second = stage.agent("second", "stop here", gate=is_open)
    third = stage.agent("third", "too far")
    assert text(stage.run(first >> second >> third)) == "stop here"
    assert seen == ["go on", "stop here"]


# Choices


@pytest.mark.parametrize("router", in_both_ways(lambda prompt: "c" if "code" in prompt else "b"))
def test_a_router_function_chooses(stage: Stage, router: Callable[..., Any]) -> None:
    team = Agent(
        "team", agents=[stage.agent("b", "I am b"), stage.agent("c", "I am c")], strategy="router", router=router
    )
    assert "I am c" in text(stage.run(team, "code"))


def test_a_router_function_that_raises_chooses_nobody(stage: Stage) -> None:
    calls = []

    def broken(prompt: str) -> str:
        calls.append(prompt)
        raise KeyError(prompt)

    team = Agent("team", agents=[stage.agent("b", "I am b")], strategy="router", router=broken)
    result = stage.run(team)
    assert str(result.status) == "FAILED"
    assert "KeyError: 'go'" in str(result.error)
    assert set(calls) == {"go"}


@pytest.mark.parametrize("condition", in_both_ways(lambda context: "help" in context["result"]))
def test_a_condition_hands_off_in_a_swarm(stage: Stage, condition: Callable[..., Any]) -> None:
    members = [stage.agent("b", "I am b"), stage.agent("c", "I am c")]
    team = stage.agent(
        "team", "I need help", agents=members, strategy="swarm", handoffs=[OnCondition("c", condition)], max_turns=4
    )
    assert "I am c" in text(stage.run(team))


# Callbacks


class Everywhere(CallbackHandler):
    """Notes each position, with the keywords that came."""

    def __init__(self, **answers: Json) -> None:
        self.seen: list[tuple[str, Json]] = []
        self.answers = answers

    def note(self, position: str, given: Json) -> Json | None:
        self.seen.append((position, given))
        return self.answers.get(position)

    def on_agent_start(self, **kwargs: Any) -> Json | None:
        return self.note("before_agent", kwargs)

    async def on_agent_end(self, **kwargs: Any) -> Json | None:
        return self.note("after_agent", kwargs)

    def on_model_start(self, **kwargs: Any) -> Json | None:
        return self.note("before_model", kwargs)

    def on_model_end(self, **kwargs: Any) -> Json | None:
        return self.note("after_model", kwargs)

    def on_tool_start(self, **kwargs: Any) -> Json | None:
        return self.note("before_tool", kwargs)

    def on_tool_end(self, **kwargs: Any) -> Json | None:
        return self.note("after_tool", kwargs)


def test_callbacks_are_called_at_all_six_positions_in_one_object(stage: Stage) -> None:
    everywhere = Everywhere()
    one = stage.agent("a", tool_call("look", what="y"), "{results}", tools=[look], callbacks=[everywhere])
    assert text(stage.run(one, "hi")) == "saw y"
    assert [position for position, _ in everywhere.seen] == [
        "before_agent", "before_model", "after_model", "before_tool", "after_tool", "before_model", "after_model",
        "after_agent",
    ]  # fmt: skip
    given = dict(everywhere.seen)
    assert all(each["agent_name"] == "a" for each in given.values())
    assert given["before_agent"]["prompt"] == "hi"
    assert given["before_model"]["messages"]
    assert given["after_model"]["llm_result"] == "saw y"
    assert (given["before_tool"]["tool_name"], given["before_tool"]["args"]) == ("look", {"what": "y"})
    assert "saw y" in str(given["after_tool"]["result"])
    assert given["after_agent"]["result"] == "saw y"


OVERRIDES: dict[str, tuple[Json, str]] = {
    "before_agent": ({"prompt": "bye"}, "bye saw y"),
    "before_agent, the result": ({"result": "nothing to do"}, "nothing to do"),
    "after_model": ({"result": "said by me"}, "said by me"),
    "before_tool": ({"args": {"what": "z"}}, "hi saw z"),
    "before_tool, the result": ({"result": "not looked"}, "hi not looked"),
    "after_tool": ({"result": "forgotten"}, "hi forgotten"),
    "after_agent": ({"result": "the end"}, "the end"),
}


@pytest.mark.parametrize("what", OVERRIDES)
def test_a_callback_overrides_what_it_wraps(stage: Stage, what: str) -> None:
    said, wanted = OVERRIDES[what]
    everywhere = Everywhere(**{what.partition(",")[0]: said})
    one = stage.agent("a", tool_call("look", what="y"), "{prompt} {results}", tools=[look], callbacks=[everywhere])
    assert text(stage.run(one, "hi")) == wanted


# Approvals, instructions, nesting


def test_a_predicate_asks_a_person_only_for_some_calls(stage: Stage) -> None:
    paid = []

    @tool(approval_required=lambda amount: amount > 100)
    def pay(amount: int) -> str:
        """Pay."""
        paid.append(amount)
        return f"paid {amount}"

    answer = {
        "tool_calls": [{"name": "pay", "arguments": {"amount": 5}}, {"name": "pay", "arguments": {"amount": 500}}]
    }
    handle = stage.runtime.start(stage.agent("a", answer, "{results}", tools=[pay]), "go")
    for event in handle.stream():
        if str(event.type) == "waiting":
            assert paid == [5]
            handle.approve()
    assert handle.join(20).is_success
    assert paid == [5, 500]


def test_a_policy_as_data_asks_without_a_function_and_a_deadline_rejects(stage: Stage) -> None:
    paid = []

    @tool(approval_required=ApprovalPolicy([("amount", ">", 100)], deadline_seconds=0.2))
    def pay(amount: int) -> str:
        """Pay."""
        paid.append(amount)
        return f"paid {amount}"

    answer = {
        "tool_calls": [{"name": "pay", "arguments": {"amount": 5}}, {"name": "pay", "arguments": {"amount": 500}}]
    }
    said = text(stage.run(stage.agent("a", answer, "{results}", tools=[pay])))
    assert said.startswith("paid 5")
    assert "nobody answered before the deadline" in said
    assert paid == [5]


def test_instructions_are_made_in_each_run(stage: Stage) -> None:
    prompts = []

    async def brief(prompt: str, context: Json) -> str:
        prompts.append((prompt, context))
        return f"Be {context['mood']}."

    everywhere = Everywhere()
    one = stage.agent("a", "ok", instructions=brief, callbacks=[everywhere])
    result = stage.runtime.run(one, "hi", context={"mood": "kind"}, timeout=30)
    assert text(result) == "ok"
    assert prompts == [("hi", {"mood": "kind"})]
    assert "Be kind." in str(dict(everywhere.seen)["before_model"]["messages"])


def test_the_functions_of_an_agent_that_is_a_tool_run_here_too(stage: Stage) -> None:
    seen = []

    @tool
    def tell(context: ToolContext) -> str:
        """Tell."""
        seen.append((context.agent_name, context.dependencies))
        return "told"

    inner = stage.agent(
        "inner", tool_call("tell"), "bad", "good", tools=[tell], dependencies={"db": 1},
        guardrails=[Guardrail(lambda text: "bad" not in text, name="fair")],
    )  # fmt: skip
    outer = stage.agent("outer", tool_call("inner", request="do it"), "{results}", tools=[agent_tool(inner)])
    assert "good" in text(stage.run(outer))
    assert seen == [("inner", {"db": 1})]


def test_members_of_a_team_may_have_functions_of_one_name(stage: Stage) -> None:
    def member(name: str) -> Agent:
        fix = Guardrail(lambda text: GuardrailResult(False, "x", f"{text}, fixed by {name}"), on_fail="fix", name="fix")
        return stage.agent(name, f"said by {name}", guardrails=[fix])

    team = Agent("team", agents=[member("b"), member("c")], strategy="parallel")
    result = stage.run(team)
    assert result.is_success, result.error
    assert result.sub_results == {"b": "said by b, fixed by b", "c": "said by c, fixed by c"}
