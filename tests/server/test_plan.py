"""The plan of an agent in Conductor's words."""

import pytest

from agentspan.server import plan
from agentspan.server.graph import graph
from agentspan.spec import wire
from tests.server.running import ADD, agent

APPROVED = {**ADD, "name": "wipe", "approvalRequired": True}


def spec(config):
    return wire.decode(config)


def types(steps):
    return [step["type"] for step in steps]


def test_an_agent_is_a_loop_around_its_model():
    definition = plan.workflow_def(spec(agent("plain")))
    assert types(definition["tasks"]) == ["DO_WHILE"]
    assert types(definition["tasks"][0]["loopOver"]) == ["LLM_CHAT_COMPLETE"]
    assert definition["metadata"]["agent_capabilities"] == ["simple"]


def test_tools_are_a_fork_behind_a_router_and_approvals_come_before_them():
    [loop] = plan.workflow_def(spec(agent("plain", ADD, APPROVED)))["tasks"]
    fork, join = loop["loopOver"][1]["decisionCases"]["tool_call"]
    assert [types(branch) for branch in fork["forkTasks"]] == [["SIMPLE"], ["HUMAN", "SIMPLE"]]
    assert join["joinOn"] == ["helper_add", "helper_wipe"]


def test_names_of_any_characters_make_references():
    definition = plan.workflow_def(spec(agent("plain", name="my agent-ü")))
    assert definition["tasks"][0]["taskReferenceName"] == "my_agent___loop"
    assert definition["name"] == "my agent-ü"


def test_sub_agents_follow_one_another_or_fork():
    one, two = agent("plain", name="one"), agent("plain", ADD, name="two")
    team = {"name": "team", "agents": [one, two]}
    steps = plan.workflow_def(spec({**team, "strategy": "sequential"}))["tasks"]
    assert [(step["type"], step["taskReferenceName"]) for step in steps] == [
        ("SUB_WORKFLOW", "team_one"),
        ("SUB_WORKFLOW", "team_two"),
    ]
    fork, join = plan.workflow_def(spec({**team, "strategy": "parallel"}))["tasks"]
    assert [types(branch) for branch in fork["forkTasks"]] == [["SUB_WORKFLOW"], ["SUB_WORKFLOW"]]
    assert join["joinOn"] == ["team_one", "team_two"]
    assert plan.required_workers(spec({**team, "strategy": "parallel"})) == ["add"]
    assert plan.capabilities(spec({**team, "strategy": "parallel"})) == [
        "multi-agent-parallel",
        "simple",
        "tool-calling",
    ]


ONE, TWO = agent("plain", name="one"), agent("plain", name="two")
EVERY = {
    "sequential": {"agents": [{**ONE, "gate": {"type": "text_contains", "text": "STOP"}}, TWO]},
    "parallel": {"agents": [ONE, TWO]},
    "handoff": {"agents": [ONE, TWO], "model": "scripted/plain"},
    "router": {"agents": [ONE, TWO], "router": {"taskName": "team_router_fn"}},
    "round_robin": {"agents": [ONE, TWO]},
    "random": {"agents": [ONE, TWO]},
    "manual": {"agents": [ONE, TWO]},
    "swarm": {
        "agents": [ONE, TWO],
        "model": "scripted/plain",
        "handoffs": [{"type": "on_condition", "target": "two", "taskName": "team_handoff_check"}],
    },
}


def tasks_in(step):
    """A step and all steps within it."""
    yield step
    inner = [*step.get("loopOver", ()), *(each for branch in step.get("forkTasks", ()) for each in branch)]
    for each in [*inner, *(task for case in step.get("decisionCases", {}).values() for task in case)]:
        yield from tasks_in(each)


@pytest.mark.parametrize("strategy", EVERY)
def test_every_strategy_has_a_plan_that_names_all_its_agents(strategy):
    given = spec({"name": "team", "strategy": strategy, **EVERY[strategy]})
    definition = plan.workflow_def(given)
    inside = [task for step in definition["tasks"] for task in tasks_in(step)]
    called = {task["name"] for task in inside if task["type"] == "SUB_WORKFLOW"}
    assert called >= {"one", "two"}
    references = [task["taskReferenceName"] for task in inside]
    assert len(references) == len(set(references)), references
    kinds = {"manual": "HUMAN", "handoff": "LLM_CHAT_COMPLETE", "parallel": "JOIN"}
    assert kinds.get(strategy, "SUB_WORKFLOW") in {task["type"] for task in inside}


@pytest.mark.parametrize("strategy", EVERY)
def test_every_strategy_has_a_graph_that_leads_from_its_start_to_its_end(strategy):
    drawn = graph(spec({"name": "team", "strategy": strategy, **EVERY[strategy]}))
    ids = [node["id"] for node in drawn["nodes"]]
    assert len(ids) == len(set(ids))
    following = {}
    for edge in drawn["edges"]:
        assert {edge["source"], edge["target"]} <= set(ids), edge
        following.setdefault(edge["source"], set()).add(edge["target"])
    reached, left = set(), ["start"]
    while left:
        reached.add(each := left.pop())
        left += following.get(each, set()) - reached
    assert reached == set(ids)


def test_the_graph_of_a_pipeline_reads_like_it():
    drawn = graph(spec({"name": "team", "strategy": "sequential", **EVERY["sequential"]}))
    edges = {(edge["source"], edge["target"]): edge["label"] for edge in drawn["edges"]}
    assert edges["team/one#gate", "team/two"] == "if it lets pass"
    assert edges["team", "team/one"] == "first"
    assert ("team/one#gate", "end") in edges


def test_the_graph_shows_tools_approvals_and_guardrails():
    rail = {"name": "polite", "guardrailType": "regex", "patterns": ["x"], "onFail": "raise"}
    nested = {"name": "ask_two", "toolType": "agent_tool", "config": {"agentConfig": TWO}}
    drawn = graph(spec(agent("plain", ADD, APPROVED, nested, guardrails=[rail])))
    kinds = {node["id"]: node["kind"] for node in drawn["nodes"]}
    assert kinds["helper#wipe#approval"] == "person"
    assert kinds["helper#guardrail.0"] == "guardrail"
    assert kinds["helper#ask_two/two"] == "agent"
    assert {"source": "helper#ask_two", "target": "helper#ask_two/two", "label": "runs"} in drawn["edges"]


def test_all_functions_of_the_user_that_a_run_needs_are_listed_and_nothing_that_is_data():
    rails = [
        {"name": "own", "guardrailType": "custom", "taskName": "own"},
        {"name": "else's", "guardrailType": "external"},
        {"name": "pattern", "guardrailType": "regex", "patterns": ["x"]},
    ]
    asking = {**ADD, "name": "pay", "approval": {"taskName": "pay_approval"}, "guardrails": [{"name": "tool_rail"}]}
    inner = agent(
        "plain", asking, name="inner", stopWhen={"taskName": "inner_stop_when"}, guardrails=rails,
        termination={"type": "and", "conditions": [{"type": "max_message", "maxMessages": 3}, {"type": "unknown"}]},
        callbacks=[{"position": "before_model", "taskName": "inner_before_model"}],
        instructions={"_worker_ref": "inner_instructions"}, gate={"taskName": "inner_gate"},
    )  # fmt: skip
    nested = {"name": "ask", "toolType": "agent_tool", "config": {"agentConfig": agent("plain", ADD, name="deep")}}
    plain = agent("plain", nested, name="plain", termination={"type": "text_mention", "text": "BYE"})
    swarm = {**EVERY["swarm"], "agents": [inner, plain], "strategy": "swarm", "name": "team"}
    swarm["handoffs"] = [{"type": "on_condition", "target": "plain"}, {"type": "on_text_mention", "target": "inner"}]
    assert sorted(plan.required_workers(spec(swarm))) == [
        "add", "inner_before_model", "inner_gate", "inner_instructions", "inner_stop_when", "inner_termination",
        "own", "pay", "pay_approval", "team_handoff_check", "tool_rail",
    ]  # fmt: skip
    routed = {"name": "team", "strategy": "router", **EVERY["router"]}
    assert plan.required_workers(spec(routed)) == ["team_router_fn"]


async def test_a_plan_is_given_in_both_forms(server):
    given = {"agentConfig": {"name": "team", "strategy": "manual", **EVERY["manual"]}}
    answer = await server.post("/api/agent/compile", given)
    assert answer["workflowDef"]["name"] == "team"
    assert {node["kind"] for node in answer["graph"]["nodes"]} == {"start", "end", "team", "agent", "person"}
