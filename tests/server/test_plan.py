"""The plan of an agent in Conductor's words."""

from agentspan.server import plan
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
