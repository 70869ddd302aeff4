"""Deployed agents from the SDK: versions, references, prompt templates, schedules, discovery."""

import inspect
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agentspan.agents import (
    Agent,
    AgentHandle,
    AgentResult,
    AgentRuntime,
    ConfigurationError,
    InvalidCronExpression,
    PromptTemplate,
    Schedule,
    ScheduleError,
    ScheduleInfo,
    ScheduleNameConflict,
    ScheduleNotFound,
    agent_tool,
    discover_agents,
    schedules,
)
from agentspan.agents.schedules import info_of, request_of
from agentspan.client.errors import AgentAPIError, AgentNotFoundError
from agentspan.errors import InvalidSpec
from tests.agents.serving import ServerProcess, tool_call


def speaker(server: ServerProcess, name: str, *answers: Any, **more: Any) -> Agent:
    return Agent(**{"name": name, "model": server.script(f"m{time.monotonic_ns()}", *answers), **more})


# Versions


def test_an_agent_is_deployed_compared_rolled_back_and_run_by_version(
    server: ServerProcess, runtime: AgentRuntime
) -> None:
    old = speaker(server, "herald", *[{"content": "old"}] * 5)
    new = speaker(server, "herald", *[{"content": "new"}] * 5, instructions="Be new.")
    assert [runtime.deploy(each)[0].version for each in (old, old, new)] == [1, 1, 2]
    assert [each["version"] for each in runtime.versions("herald")] == [2, 1]
    assert {each["path"] for each in runtime.diff("herald", 1, 2)} == {"model", "instructions"}
    assert str(runtime.run("herald", "hi").output["result"]) == "new"
    assert runtime.run("herald", "hi", version=1).output["result"] == "old"
    assert runtime.rollback("herald", 1) == 3
    assert runtime.run("herald", "hi").output["result"] == "old"
    with pytest.raises(AgentNotFoundError, match="version 9"):
        runtime.rollback("herald", 9)


async def test_the_same_without_waiting(server: ServerProcess, runtime: AgentRuntime) -> None:
    await runtime.deploy_async(speaker(server, "courier", {"content": "x"}))
    assert [each["version"] for each in await runtime.versions_async("courier")] == [1]
    assert await runtime.rollback_async("courier", 1) == 1
    assert await runtime.diff_async("courier", 1, 1) == []
    assert await runtime.save_prompt_async("courier", "Run.", description="what it says") == 1


# References


def test_a_sub_agent_without_a_model_is_the_deployed_one(server: ServerProcess, runtime: AgentRuntime) -> None:
    runtime.deploy(speaker(server, "expert", *[{"content": "the expert's word"}] * 5))
    own = speaker(server, "own", {"content": "mine"})
    reference = Agent("expert")
    assert (reference.external, own.external) == (True, False)
    assert runtime.run(own >> reference, "hi").output["result"] == "the expert's word"
    planned = runtime.plan(own >> reference)["workflowDef"]["tasks"][1]
    assert planned["subWorkflowParam"] == {"name": "expert"}


def test_an_agent_that_runs_elsewhere_can_be_a_tool(server: ServerProcess, runtime: AgentRuntime) -> None:
    runtime.deploy(speaker(server, "oracle", *[{"content": "42"}] * 5))
    asker = speaker(
        server, "asker", tool_call("oracle", request="why?"), {"content": "It says {result}."},
        tools=[agent_tool(Agent("oracle"))],
    )  # fmt: skip
    assert runtime.run(asker, "hi").output["result"] == "It says 42."


def test_a_root_without_a_model_says_what_to_do(runtime: AgentRuntime) -> None:
    for use in (runtime.run, runtime.start):
        with pytest.raises(InvalidSpec, match="run the deployed agent by its name"):
            use(Agent("expert"), "hi")
    with pytest.raises(InvalidSpec, match="run the deployed agent by its name"):
        runtime.deploy(Agent("expert"))


def test_a_reference_that_leads_nowhere_is_refused_before_the_run(server: ServerProcess, runtime: AgentRuntime) -> None:
    team = speaker(server, "own", {"content": "mine"}) >> Agent("nobody_at_all")
    with pytest.raises(AgentAPIError, match=r"'nobody_at_all' has no model .* no agent is deployed under this name"):
        runtime.run(team, "hi")


# Prompt templates


def test_a_template_is_the_instructions_or_the_prompt(server: ServerProcess, runtime: AgentRuntime) -> None:
    assert runtime.save_prompt("tone", "Speak like ${who}.") == 1
    assert runtime.save_prompt("tone", "Talk like {{who}}.") == 2
    agent = speaker(server, "actor", *[{"content": "ok"}] * 5, instructions=PromptTemplate("tone", {"who": "a king"}))
    result = runtime.run(agent, PromptTemplate("tone", {"who": "a queen"}, version=1))
    assert [each["content"] for each in result.messages[:2]] == ["Talk like a king.", "Speak like a queen."]


def test_a_template_that_cannot_be_filled_in_says_why(server: ServerProcess, runtime: AgentRuntime) -> None:
    runtime.save_prompt("tone", "Talk like {{who}}.")
    agent = speaker(server, "actor", {"content": "ok"})
    with pytest.raises(ValueError, match="'tone' needs who"):
        runtime.run(agent, PromptTemplate("tone"))
    with pytest.raises(ValueError, match="no prompt template 'none'"):
        runtime.run(agent, PromptTemplate("none"))
    agent = speaker(server, "actor", {"content": "ok"}, instructions=PromptTemplate("none"))
    with pytest.raises(AgentAPIError, match="no prompt template 'none'"):
        runtime.run(agent, "hi")


# Schedules


def test_an_agent_is_deployed_with_its_schedules(server: ServerProcess, runtime: AgentRuntime) -> None:
    agent = speaker(server, "reporter", *[{"content": "the news"}] * 20)
    end = datetime.now(UTC) + timedelta(days=1)
    runtime.deploy(
        agent,
        schedules=[
            Schedule("each-second", "* * * * * *", input={"prompt": "Tell."}, overlap="allow", end_at=end),
            Schedule("daily", "0 9 * * MON-FRI", "Europe/Berlin", paused=True, catchup=True, description="at nine"),
        ],
    )
    try:
        names = [each.name for each in schedules.list("reporter", runtime=runtime)]
        assert names == ["reporter-daily", "reporter-each-second"]
        deadline = time.monotonic() + 15
        while not (info := schedules.get("reporter-each-second", runtime=runtime)).last_execution_id:
            assert time.monotonic() < deadline
        assert runtime.attach(info.last_execution_id).join(20).output["result"] == "the news"
        assert (info.agent, info.cron, info.overlap, info.input) == (
            "reporter",
            "* * * * * *",
            "allow",
            {"prompt": "Tell."},
        )
    finally:
        schedules.delete("reporter-each-second", runtime=runtime)
    daily = schedules.get("reporter-daily", runtime=runtime)
    assert (daily.paused, daily.catchup, daily.timezone, daily.next_run_at) == (True, True, "Europe/Berlin", None)
    schedules.resume("reporter-daily", runtime=runtime)
    assert schedules.get("reporter-daily", runtime=runtime).next_run_at
    schedules.pause("reporter-daily", runtime=runtime)
    assert schedules.get("reporter-daily", runtime=runtime).paused


def test_a_schedule_runs_now(server: ServerProcess, runtime: AgentRuntime) -> None:
    runtime.deploy(speaker(server, "crier", *[{"content": "hear!"}] * 5))
    kept = schedules.save("crier", Schedule("yearly", "@yearly", input={"prompt": "Cry."}), runtime=runtime)
    assert isinstance(kept, ScheduleInfo)
    result = schedules.run_now(kept.name, wait=True, timeout=20, runtime=runtime)
    assert isinstance(result, AgentResult)
    assert result.output["result"] == "hear!"
    handle = schedules.run_now(kept.name, runtime=runtime)
    assert isinstance(handle, AgentHandle)
    assert handle.join(20).output["result"] == "hear!"


def test_the_next_times_are_shown(runtime: AgentRuntime) -> None:
    first, second = schedules.preview_next("0 9 * * *", 2, "Asia/Tokyo", runtime=runtime)
    assert second - first == 24 * 3_600_000
    assert datetime.fromtimestamp(first / 1000, UTC).hour == 0


def test_what_is_wrong_with_a_schedule_is_an_error_of_its_own(server: ServerProcess, runtime: AgentRuntime) -> None:
    runtime.deploy(speaker(server, "critic", {"content": "x"}))
    with pytest.raises(InvalidCronExpression, match="out of range"):
        schedules.save("critic", Schedule("s", "61 * * * *"), runtime=runtime)
    with pytest.raises(InvalidCronExpression):
        schedules.preview_next("61 * * * *", runtime=runtime)
    with pytest.raises(ScheduleError, match="time zone 'Mars'"):
        schedules.save("critic", Schedule("s", "* * * * *", timezone="Mars"), runtime=runtime)
    with pytest.raises(AgentNotFoundError, match="no agent 'nobody' is deployed"):
        schedules.save("nobody", Schedule("s", "* * * * *"), runtime=runtime)
    for use in (schedules.get, schedules.pause, schedules.resume, schedules.delete, schedules.run_now):
        with pytest.raises(ScheduleNotFound, match="no schedule 'none'"):
            use("none", runtime=runtime)
    schedules.save("critic", Schedule("a-b", "@yearly"), runtime=runtime)
    runtime.deploy(speaker(server, "critic-a", {"content": "x"}))
    with pytest.raises(ScheduleNameConflict, match="of another agent, 'critic'"):
        schedules.save("critic-a", Schedule("b", "@yearly"), runtime=runtime)


def test_a_schedule_that_cannot_be_is_refused_where_it_is_written() -> None:
    cases: list[tuple[dict[str, Any], type[Exception]]] = [
        ({"name": ""}, ScheduleError),
        ({"cron": "* *"}, InvalidCronExpression),
        ({"cron": 5}, InvalidCronExpression),
        ({"overlap": "queue"}, ScheduleError),
        ({"start_at": 2, "end_at": 1}, ScheduleError),
        ({"start_at": datetime(2026, 1, 1)}, ScheduleError),
    ]
    for wrong, kind in cases:
        with pytest.raises(kind):
            Schedule(**{"name": "s", "cron": "* * * * *", **wrong})
    runtime = AgentRuntime(server_url="http://127.0.0.1:1")
    twice = [Schedule("s", "* * * * *"), Schedule("s", "@daily")]
    with pytest.raises(ScheduleNameConflict, match="two schedules are named 's'"):
        runtime.deploy(Agent("a", "m/x"), schedules=twice)
    with pytest.raises(TypeError, match="Expected a Schedule, got int"):
        runtime.deploy(Agent("a", "m/x"), schedules=[1])


def test_a_schedule_goes_over_the_wire_and_back() -> None:
    given = Schedule("s", "@daily", "UTC", {"prompt": "x"}, True, True, 1, 2, "why", "allow")
    info = info_of(request_of("a", given))
    assert info == ScheduleInfo(
        "a-s", "a", "@daily", "UTC", True, None, None, None, {"prompt": "x"}, True, "allow", 1, 2, "why", None
    )


def test_functions_of_schedules_have_twins() -> None:
    for name in [each for each in schedules.__all__ if f"{each}_async" in schedules.__all__]:
        sync, twin = getattr(schedules, name), getattr(schedules, f"{name}_async")
        assert inspect.signature(sync).parameters == inspect.signature(twin).parameters, name
        assert inspect.iscoroutinefunction(twin)


# Discovery


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "crew_of_tests"
    (folder / "below").mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "below" / "__init__.py").write_text("")
    (folder / "one.py").write_text(
        "from agentspan.agents import Agent, agent\n"
        "first = Agent('first', 'm/x')\n"
        "again = first\n"
        "@agent(model='m/x')\n"
        "def second():\n    'Help.'\n"
    )
    (folder / "below" / "two.py").write_text("from agentspan.agents import Agent\nthird = Agent('third', 'm/x')\n")
    (folder / "__main__.py").write_text("raise SystemExit('must not run')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for name in [each for each in sys.modules if each.partition(".")[0] == "crew_of_tests"]:
        del sys.modules[name]


def test_agents_of_a_package_and_below_are_found_once_each(package: Path) -> None:
    assert sorted(each.name for each in discover_agents(["crew_of_tests"])) == ["first", "second", "third"]


def test_modules_that_cannot_be_imported_are_all_named(package: Path) -> None:
    (package / "bad.py").write_text("import nothing_of_the_kind\n")
    (package / "below" / "worse.py").write_text("1 / 0\n")
    with pytest.raises(ConfigurationError) as refused:
        discover_agents(["crew_of_tests", "no_such_package"])
    said = str(refused.value)
    for part in ("crew_of_tests.bad: ModuleNotFoundError", "crew_of_tests.below.worse: ZeroDivisionError"):
        assert part in said
    assert "no_such_package: ModuleNotFoundError" in said


def test_one_name_is_no_list_of_packages() -> None:
    with pytest.raises(TypeError, match=r"\['crew'\]"):
        discover_agents("crew")
