"""One run looked into from the SDK: its timeline, a moment of it, the reason why it stands."""

import linecache
from threading import Event
from typing import Any

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


DEFINE = """
@tool
def step() -> str:
    "One step."
    begun.set()
    assert go.wait(10)
    return "{}"
"""


def cell(number: int, source: str, scope: dict[str, Any]) -> None:
    """Run a cell of a notebook, whose source a kernel keeps."""
    name = f"<cell {number} of looking>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    exec(compile(source, name, "exec"), scope)


def test_a_call_that_ran_while_its_cell_was_run_again_is_flagged_and_the_next_one_is_not(
    runtime: AgentRuntime, server: ServerProcess
) -> None:
    scope: dict[str, Any] = {"__name__": "__main__", "tool": tool, "begun": Event(), "go": Event()}
    cell(1, DEFINE.format("old"), scope)
    model = server.script("recelled", tool_call("step"), tool_call("step"), "{result}")
    handle = runtime.start(Agent("stepper", model, "", [scope["step"]]), "go")
    assert scope["begun"].wait(10)
    cell(2, DEFINE.format("new"), scope)
    scope["go"].set()
    assert handle.join(20).output["result"] == "new"
    first, second = (each for each in handle.timeline()["spans"] if each["name"] == "step")
    assert first["staleTool"]
    assert not second["staleTool"]


def test_a_comment_beside_a_tool_is_no_other_source_and_a_tool_without_source_has_no_digest() -> None:
    scope: dict[str, Any] = {"__name__": "__main__", "tool": tool}
    cell(3, DEFINE.format("same"), scope)
    first = scope["step"]._tool_def.source_digest
    cell(4, f"# a comment\n{DEFINE.format('same')}", scope)
    assert first
    assert scope["step"]._tool_def.source_digest == first
    exec(DEFINE.format("same"), scope)
    assert scope["step"]._tool_def.source_digest == ""
