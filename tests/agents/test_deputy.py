"""Where nobody looks on, a policy, a function or whoever types answers what a run asks a person."""

import io
import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from agentspan.agents import Agent, AgentConfig, AgentRuntime, Strategy, human_tool, tool
from agentspan.agents.exceptions import ConfigurationError, HumanNeededError
from agentspan.agents.inbox import Request
from tests.agents.serving import ServerProcess, tool_call


@pytest.fixture
def payer(server: ServerProcess) -> Agent:
    @tool(approval_required=True)
    def pay(amount: int) -> str:
        """Pay."""
        return f"paid {amount}"

    model = server.script("deputy_payer", tool_call("pay", amount=5), {"content": "{result}."})
    return Agent(name="deputy_payer", model=model, tools=[pay])


@pytest.fixture
def asker(server: ServerProcess) -> Agent:
    model = server.script("deputy_asker", tool_call("ask", question="Which colour?"), {"content": "{result}!"})
    return Agent(name="deputy_asker", model=model, tools=[human_tool(name="ask", description="Ask a person.")])


def said(result: Any) -> str:
    return str(result.output["result"])


def test_approve_says_yes(runtime: AgentRuntime, payer: Agent) -> None:
    assert said(runtime.run(payer, "Pay.", on_human="approve")) == "paid 5."


async def test_reject_says_no(runtime: AgentRuntime, payer: Agent) -> None:
    result = await runtime.run_async(payer, "Pay.", on_human="reject")
    assert "nobody is there" in str(result.messages)


def test_fail_raises_and_the_run_goes_on_waiting(runtime: AgentRuntime, payer: Agent) -> None:
    with pytest.raises(HumanNeededError, match="agentspan inbox --run") as told:
        runtime.run(payer, "Pay.", on_human="fail")
    handle = runtime.attach(told.value.execution_id)
    assert told.value.request.tool == "pay"
    handle.approve()
    assert said(handle.join(20)) == "paid 5."


def test_a_policy_that_can_only_say_yes_fails_at_a_question(runtime: AgentRuntime, asker: Agent) -> None:
    with pytest.raises(HumanNeededError, match="says yes and no more"):
        runtime.run(asker, "Ask.", on_human="approve")


@pytest.mark.parametrize(
    ("given", "result"),
    [
        (True, "paid 5."),
        ({"approved": True, "arguments": {"amount": 7}}, "paid 7."),
    ],
)
def test_the_value_of_a_function_is_the_answer(runtime: AgentRuntime, payer: Agent, given: Any, result: str) -> None:
    asked: list[Request] = []

    def person(request: Request) -> Any:
        asked.append(request)
        return given

    assert said(runtime.start(payer, "Pay.").join(20, on_human=person)) == result
    assert [each.arguments for each in asked] == [{"amount": 5}]


async def test_a_function_may_be_async_and_answers_questions_with_text(runtime: AgentRuntime, asker: Agent) -> None:
    async def person(request: Request) -> str:
        return f"blue, {request.kind}"

    result = await runtime.run_async(asker, "Ask.", on_human=person)
    assert "blue, question" in said(result)


def test_a_function_that_says_nothing_leaves_it_to_others(runtime: AgentRuntime, payer: Agent) -> None:
    def person(request: Request) -> None:
        request.host.portal.spawn(request.approve_async(by="Bo"), "test")  # type: ignore[union-attr]

    assert said(runtime.run(payer, "Pay.", on_human=person)) == "paid 5."


def test_whoever_types_is_asked_until_it_can_be_read(
    runtime: AgentRuntime, payer: Agent, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO('perhaps\n{"amount": 9}\n'))
    assert said(runtime.run(payer, "Pay.", on_human="prompt")) == "paid 9."
    assert capsys.readouterr().out.count("pay(amount=5)") == 2


def test_no_and_why_can_be_typed(runtime: AgentRuntime, payer: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("no, too much\n"))
    assert "too much" in str(runtime.run(payer, "Pay.", on_human="prompt").messages)


def test_a_name_can_be_typed_where_a_person_chooses(
    runtime: AgentRuntime, server: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = server.script("deputy_one", "One.")
    members = [Agent(name=name, model=model) for name in ("ann", "bob")]
    team = Agent(name="deputy_team", model=model, agents=members, strategy=Strategy.MANUAL, max_turns=4)
    monkeypatch.setattr(sys, "stdin", io.StringIO("nobody\nbob\nDONE\n"))
    assert runtime.run(team, "Go.", on_human="prompt").is_success


def test_a_prompt_that_nobody_can_answer_is_an_error_that_says_so(
    runtime: AgentRuntime, payer: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    with pytest.raises(HumanNeededError, match="nobody can type here"):
        runtime.run(payer, "Pay.", on_human="prompt")


def test_a_stream_has_its_deputy_too(runtime: AgentRuntime, payer: Agent) -> None:
    stream = runtime.stream(payer, "Pay.", on_human="approve")
    assert "waiting" in [each.type for each in stream]
    assert said(stream.get_result(20)) == "paid 5."


def test_what_is_no_policy_is_refused_before_anything_starts(runtime: AgentRuntime, payer: Agent) -> None:
    with pytest.raises(ConfigurationError, match="on_human must be one of 'wait', 'fail'"):
        runtime.start(payer, "Pay.", on_human="perhaps")
    with pytest.raises(ConfigurationError, match="on_interrupt must be 'detach' or 'cancel'"):
        runtime.start(payer, "Pay.", on_interrupt="explode")


def test_the_environment_says_what_is_not_said_otherwise(server: ServerProcess, payer: Agent) -> None:
    config = AgentConfig.from_env({"AGENTSPAN_SERVER_URL": server.url, "AGENTSPAN_ON_HUMAN": "approve"})
    with AgentRuntime(config=config) as runtime:
        assert said(runtime.run(payer, "Pay.")) == "paid 5."
    with pytest.raises(ConfigurationError, match="on_human"):
        AgentConfig.from_env({"AGENTSPAN_ON_HUMAN": "maybe"})


INTERRUPTED = """
import sys
from agentspan.agents import AgentRuntime
from agentspan.agents.handle import AgentHandle
runtime = AgentRuntime(server_url=sys.argv[1])
AgentHandle(sys.argv[2], runtime).join(on_interrupt=sys.argv[3], on_human=lambda _: print("waits", flush=True))
"""


@pytest.mark.parametrize(("wanted", "status"), [("detach", "RUNNING"), ("cancel", "TERMINATED")])
def test_an_interrupt_leaves_the_run_or_ends_it(
    server: ServerProcess, runtime: AgentRuntime, payer: Agent, wanted: str, status: str
) -> None:
    handle = runtime.start(payer, "Pay.")
    command = [sys.executable, "-c", INTERRUPTED, server.url, handle.execution_id, wanted]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waits\n"
        os.kill(process.pid, signal.SIGINT)
        _, problem = process.communicate(timeout=30)
    assert "KeyboardInterrupt" in problem
    assert handle.get_status().status == status
    assert ("is cancelled" in problem) == (wanted == "cancel")
