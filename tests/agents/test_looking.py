"""One run looked into from the SDK: its timeline, a moment of it, the reason why it stands."""

from agentspan.agents import Agent, AgentRuntime, tool
from tests.agents.serving import ServerProcess, tool_call


@tool
def measure(city: str) -> str:
    """Measure the rain."""
    return f"wet in {city}"


def test_a_handle_gives_the_timeline_a_moment_and_the_reasons_of_its_run(
    runtime: AgentRuntime, server: ServerProcess
) -> None:
    model = server.script("looked-into", tool_call("measure", city="Oslo"), "It is {result}.")
    result = runtime.run(Agent("gauge", model, "Be brief.", [measure]), "How wet?")
    handle = runtime.attach(result.execution_id)
    timeline = handle.timeline()
    think, call, answer = timeline["spans"]
    assert (call["name"], call["summary"], call["status"]) == ("measure", '{"city": "Oslo"}', "COMPLETED")
    assert handle.timeline(timeline["last"])["spans"] == []
    moment = handle.moment(answer["seq"])
    assert moment["messages"][-1]["content"] == "wet in Oslo"
    why = handle.why()
    assert (why.status, [each["code"] for each in why.reasons]) == ("COMPLETED", ["ended"])
    assert str(why) == why.sentence
    assert runtime.timeline(result.execution_id, think["seq"])["spans"]
    assert runtime.moment(result.execution_id, 1)["seq"] == 1
    assert runtime.why(result.execution_id) == why
