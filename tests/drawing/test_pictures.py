"""Whatever is drawn stands by itself: well formed, without a script or anything from outside, and safe."""

import re
import time
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentspan.drawing import graph, markdown, steps, table, transcript, tree, waterfall
from agentspan.drawing.cards import agent_card, plan_card, rail_card, tool_card
from agentspan.drawing.output import output
from agentspan.drawing.runs import comparison_card, result_card, run_card, runs_table
from tests.drawing.looks import TIMELINE, anything, keeps_to_the_rules, span

EVIL = "<script>alert('x')</script>\"'&"

objects = st.dictionaries(st.text(max_size=12), anything, max_size=5)


def with_keys(*names: str) -> st.SearchStrategy[dict[str, Any]]:
    """Objects that have some of these keys, with anything under them."""
    return st.dictionaries(st.sampled_from(names), anything, max_size=len(names))


SPANS = st.lists(
    with_keys(
        "taskId", "executionId", "agentName", "name", "kind", "purpose", "scheduledAt", "availableAt", "startedAt",
        "endedAt", "status", "attempt", "promptTokens", "cost", "summary", "error", "childId", "seq", "staleTool",
    ),
    max_size=4,
)  # fmt: skip
MESSAGES = st.lists(with_keys("role", "content", "tool_calls", "name", "tool_call_id"), max_size=4)


@settings(deadline=None)
@given(anything)
def test_any_value_has_a_tree_and_a_picture(value: Any) -> None:
    keeps_to_the_rules(tree(value))
    keeps_to_the_rules(output(value))
    keeps_to_the_rules(table(("a", "b"), [value] if isinstance(value, (dict, list)) else [[value]]))


@settings(deadline=None)
@given(st.fixed_dictionaries({"executions": anything, "spans": SPANS, "now": anything}) | anything)
def test_any_timeline_has_a_waterfall_and_a_list_of_steps(timeline: Any) -> None:
    ElementTree.fromstring(waterfall(timeline))
    keeps_to_the_rules(waterfall(timeline))
    keeps_to_the_rules(steps(timeline))


@settings(deadline=None)
@given(MESSAGES | anything)
def test_any_conversation_has_a_transcript(messages: Any) -> None:
    keeps_to_the_rules(transcript(messages))


@settings(deadline=None)
@given(
    with_keys(
        "name", "model", "strategy", "description", "instructions", "tools", "guardrails", "agents", "budget", "router",
    )
)  # fmt: skip
def test_any_agent_has_a_card_and_a_graph(config: dict[str, Any]) -> None:
    keeps_to_the_rules(agent_card(config))
    ElementTree.fromstring(graph(config))


@settings(deadline=None)
@given(objects, anything)
def test_any_run_has_cards(body: dict[str, Any], timeline: Any) -> None:
    keeps_to_the_rules(result_card(body, None, timeline))
    keeps_to_the_rules(run_card(body))
    keeps_to_the_rules(runs_table([body]))


@settings(deadline=None)
@given(st.text())
def test_any_text_is_markdown(text: str) -> None:
    keeps_to_the_rules(markdown(text))


@pytest.mark.parametrize(
    "drawn",
    [
        graph({"name": EVIL, "model": EVIL, "tools": [{"name": EVIL, "description": EVIL}]}),
        agent_card({"name": EVIL, "instructions": EVIL, "tools": [{"name": EVIL}], "guardrails": [{"name": EVIL}]}),
        tool_card({"name": EVIL, "description": EVIL, "inputSchema": {"properties": {EVIL: {"type": EVIL}}}}),
        rail_card({"name": EVIL, "policy": EVIL}),
        plan_card({"steps": [{"id": EVIL, "generate": EVIL, "ops": [{"tool": EVIL, "args": {EVIL: EVIL}}]}]}),
        tree({EVIL: EVIL}),
        table([EVIL], [[EVIL]]),
        waterfall({"spans": [span(1, "x", "worker", "act", EVIL, 0, 10, summary=EVIL, error=EVIL, agentName=EVIL)]}),
        steps({"spans": [span(1, "x", "worker", "act", EVIL, 0, 10, summary=EVIL, error=EVIL, agentName=EVIL)]}),
        transcript([{"role": EVIL, "content": EVIL, "tool_calls": [{"function": {"name": EVIL, "arguments": EVIL}}]}]),
        result_card({"agentName": EVIL, "error": EVIL, "executionId": EVIL, "finishReason": EVIL}, EVIL, url=EVIL),
        run_card({"agentName": EVIL, "text": EVIL, "speaker": EVIL, "step": EVIL, "requests": [{"tool": EVIL}]}),
        runs_table([{"executionId": EVIL, "agentName": EVIL, "status": EVIL, "preview": EVIL}], url=EVIL),
        comparison_card({"first": EVIL, "rows": [{"agent": EVIL, "name": EVIL, "a": EVIL}], "definition": [EVIL]}),
    ],
    ids=lambda drawn: "",
)
def test_what_users_and_models_write_is_text(drawn: str) -> None:
    assert "alert(" in keeps_to_the_rules(drawn).text or "alert(" in drawn
    assert "<script" not in drawn.lower()


def test_markdown_loads_nothing_and_runs_nothing() -> None:
    drawn = markdown("![cat](https://cats.example/cat.png) [run](javascript:alert(1)) <img src=https://x.example/y>")
    assert "<img" not in drawn
    assert 'href="https://cats.example/cat.png"' in drawn
    assert 'href="javascript' not in drawn


def test_a_picture_in_the_text_is_shown() -> None:
    assert "<img" in markdown("![dot](data:image/png;base64,iVBORw0KGgo=)")
    assert "data:image/png;base64,iVBORw0KGgo=" in output(b"\x89PNG\r\n\x1a\n")
    assert "<img" not in output('data:image/png;base64,x" onerror="alert(1) >')


def test_a_waterfall_has_the_steps_of_an_agent_below_the_step_that_began_it() -> None:
    drawn = waterfall(TIMELINE)
    texts = [each.text for each in ElementTree.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text")]
    steps_ = ("think", "writer", "refund", "approval of pay", "search")
    assert [each for each in texts if each in steps_ and each != "writer"] == [
        "think", "think", "refund", "approval of pay", "search",
    ]  # fmt: skip
    assert "✕ 400 ms" in texts
    assert "4.0 s" in texts
    assert "2.0 s …" in texts


def test_a_waterfall_has_an_alternative_in_words() -> None:
    drawn = waterfall(TIMELINE)
    assert 'role="img"' in drawn
    assert "<title>desk: running, 6 steps in 9.0 s</title>" in drawn


def test_what_failed_is_drawn_before_anything_is_left_out() -> None:
    many = [span(n, "x", "worker", "act", f"step_{n}", n * 10, n * 10 + 5) for n in range(1, 1001)]
    many[900] |= {"status": "FAILED"}
    drawn = waterfall({"spans": many}, limit=50)
    assert "step_901" in drawn
    assert "step_49<" in drawn
    assert "step_500" not in drawn
    assert "950 more steps" in drawn


def test_the_same_agent_is_drawn_the_same() -> None:
    config = {"name": "team", "strategy": "sequential", "agents": [{"name": "a"}, {"name": "b"}]}
    assert graph(config) == graph(dict(reversed(config.items())))


def test_an_agent_of_agents_is_drawn_with_all_of_them() -> None:
    inner = {"name": "expert", "model": "x/y"}
    config = {
        "name": "team",
        "strategy": "sequential",
        "agents": [{"name": "writer", "tools": [{"name": "look", "approvalRequired": True}]}, {"name": "editor"}],
        "tools": [{"name": "ask", "config": {"agentConfig": inner}}],
        "router": {"name": "clerk"},
    }
    texts = [each.text for each in ElementTree.fromstring(graph(config)).iter("{http://www.w3.org/2000/svg}text")]
    assert {"team", "writer", "editor", "expert", "clerk", "look", "approval", "1", "2", "tool", "router"} <= set(texts)


def test_large_agents_and_runs_are_drawn_quickly() -> None:
    nested: dict[str, Any] = {"name": "leaf"}
    for _ in range(60):
        nested = {"name": "inner", "agents": [nested]}
    wide = {"name": "root", "agents": [{"name": f"agent_{n}", "tools": [{"name": "t"}] * 20} for n in range(300)]}
    many = [span(n, "x", "worker", "act", f"step_{n}", n * 10, n * 10 + 5) for n in range(5000)]
    began = time.perf_counter()
    keeps_to_the_rules(graph(nested))
    keeps_to_the_rules(graph(wide))
    keeps_to_the_rules(waterfall({"spans": many}))
    assert time.perf_counter() - began < 3


def test_a_card_without_times_is_the_same_each_time() -> None:
    later = {**TIMELINE, "spans": [{**each, "endedAt": each["scheduledAt"] + 77} for each in TIMELINE["spans"]]}
    told = [result_card({"agentName": "desk"}, "x", each, times=False) for each in (TIMELINE, later)]
    drawn = [re.sub(r"color:#\w+", "", each) for each in told]
    assert "ms" not in keeps_to_the_rules(drawn[0]).text
    assert keeps_to_the_rules(drawn[0]).tags == keeps_to_the_rules(drawn[1]).tags
