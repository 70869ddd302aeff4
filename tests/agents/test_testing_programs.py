"""Random agents and random scripts: whatever is mocked comes to a result or to an assertion, and plays again alike."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agentspan.agents import Agent, RegexGuardrail, Status, tool
from agentspan.agents.testing import Asked, Cassette, LocalEngine, MockEvent, mock_run, replay_run

MODEL = "openai/gpt-4o"
NAMES = "abcdefgh"
STRATEGIES = ["handoff", "sequential", "parallel", "round_robin", "random", "swarm", "manual", "router"]
EXAMPLES = 60


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool(approval_required=True)
def pay(n: int) -> str:
    """Pay."""
    return "paid"


@tool
def boom() -> str:
    """Fail."""
    raise RuntimeError("boom")


@st.composite
def agents(draw: st.DrawFn) -> Agent:
    return built(draw, 2, list(NAMES))


def built(draw: st.DrawFn, depth: int, names: list[str]) -> Agent:
    name, more = names.pop(0), dict[str, Any]()
    more["max_turns"] = draw(st.integers(1, 4))
    more["tools"] = draw(st.lists(st.sampled_from([add, pay, boom]), unique=True, max_size=2))
    if draw(st.integers(0, 4)) == 0:
        position, on_fail = draw(st.sampled_from(CHECKS))
        more["guardrails"] = [RegexGuardrail(["bad"], name=f"no_bad_{name}", position=position, on_fail=on_fail)]
    if depth and len(names) > 2 and draw(st.integers(0, 3)):
        members = [built(draw, depth - 1, names) for _ in range(draw(st.integers(2, 3))) if names]
        strategy = draw(st.sampled_from(STRATEGIES))
        more |= {"agents": members, "strategy": strategy, **({} if strategy == "handoff" else {"tools": []})}
        if strategy == "router":
            more["router"] = draw(st.sampled_from([Agent("boss", MODEL), lambda prompt: members[0].name]))
    return Agent(name, MODEL, **more)


CHECKS = [("input", "raise"), ("output", "retry"), ("output", "raise"), ("output", "human")]
TEXTS = st.sampled_from(["ok", "bad", "a", "DONE", ""])
ARGUMENTS: list[dict[str, Any]] = [{}, {"a": 1, "b": 2}, {"n": 1}]
CHECKED = st.sampled_from(["no_bad_a", "no_bad_b", "elsewhere"])
EVENTS = st.one_of(
    st.builds(MockEvent.tool_call, st.sampled_from(["add", "pay", "boom", "ghost"]), st.sampled_from(ARGUMENTS)),
    st.builds(MockEvent.tool_result, st.sampled_from(["add", "pay", "ghost"]), st.sampled_from([1, "x", None, {}])),
    st.builds(MockEvent.handoff, st.sampled_from(NAMES + "z")),
    st.builds(MockEvent.message, TEXTS),
    st.builds(MockEvent.done, TEXTS),
    st.builds(MockEvent.thinking, TEXTS),
    st.builds(MockEvent.error, TEXTS),
    st.builds(MockEvent.waiting),
    st.builds(MockEvent.guardrail_pass, CHECKED),
    st.builds(MockEvent.guardrail_fail, CHECKED),
)


@settings(max_examples=EXAMPLES)
@given(agents(), st.lists(EVENTS, max_size=9), st.booleans())
def test_any_script_comes_to_a_result_or_to_an_assertion(agent: Agent, events: list[Any], runs_tools: bool) -> None:
    try:
        result = mock_run(agent, "go", events, auto_execute_tools=runs_tools)
    except AssertionError:
        return
    assert result.is_waiting == bool(result.pending)
    assert result.status in (*Status, "RUNNING")


@settings(max_examples=EXAMPLES)
@given(agents(), st.randoms(use_true_random=False))
def test_any_run_is_played_again_alike(agent: Agent, chance: Any) -> None:
    def answer(asked: Asked) -> Any:
        if asked.purpose == "choose":
            return chance.choice([*NAMES[:4], "DONE", "nobody"])
        odds = chance.random()
        if odds < 0.15:
            return {"content": "ok", "errors": [{"status": 503 if odds < 0.1 else 401}]}
        if asked.tools and odds < 0.6:
            name = chance.choice(asked.tools)["name"]
            return {"tool_calls": [{"name": name, "arguments": chance.choice(ARGUMENTS)}]}
        return chance.choice(["ok", "bad", "c"])

    def person(request: dict[str, Any]) -> dict[str, Any]:
        return {"done": True} if request["kind"] == "selection" else {"approved": chance.random() < 0.5}

    run = LocalEngine(agent, model=answer, people=person).start("go")
    first = run.result()
    assert first.status in tuple(Status), first.pending
    again = replay_run(agent, cassette=Cassette.from_result(run))
    assert (again.status, again.output, again.error) == (first.status, first.output, first.error)
    assert [(each.type, each.target) for each in again.events] == [(each.type, each.target) for each in first.events]
