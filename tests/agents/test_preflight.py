"""The input guardrails of a root agent are asked before a run is stored, and again by the server."""

import pytest

from agentspan.agents import Agent, AgentRuntime, FinishReason, Guardrail, GuardrailResult, RegexGuardrail, Status
from tests.agents.serving import ServerProcess


def polite(text: str) -> GuardrailResult:
    return GuardrailResult("please" in text, "say please", f"{text}, please")


async def polite_later(text: str) -> bool:
    return "please" in text


def broken(text: str) -> bool:
    raise LookupError("no dictionary")


def echo(server: ServerProcess, *guardrails: Guardrail) -> Agent:
    return Agent("echo", server.script("echo-preflight", "You said: {prompt}"), guardrails=list(guardrails))


@pytest.mark.parametrize("on_fail", ["raise", "retry"])
@pytest.mark.parametrize("function", [polite, polite_later])
def test_a_prompt_that_is_refused_is_never_run(
    runtime: AgentRuntime, server: ServerProcess, on_fail: str, function: object
) -> None:
    name = f"refuses_{on_fail}"
    agent = echo(server, Guardrail(function, "input", on_fail, name))  # type: ignore[arg-type]
    for use in (runtime.run, runtime.start, runtime.stream):
        with pytest.raises(ValueError, match=f"the input guardrail '{name}' refused the prompt"):
            use(agent, "more")
    assert runtime.run(agent, "more please").output["result"] == "You said: more please"


def test_a_pattern_refuses_too(runtime: AgentRuntime, server: ServerProcess) -> None:
    agent = echo(server, RegexGuardrail(r"\d{4}", position="input", on_fail="raise", message="no numbers"))
    with pytest.raises(ValueError, match="no numbers"):
        runtime.run(agent, "my pin is 1234")


def test_a_fixed_prompt_is_what_is_run(runtime: AgentRuntime, server: ServerProcess) -> None:
    result = runtime.run(echo(server, Guardrail(polite, "input", "fix")), "more")
    assert result.output["result"] == "You said: more, please"
    assert [each["content"] for each in result.messages if each["role"] == "user"] == ["more, please"]


def test_a_fix_that_fixes_nothing_refuses(runtime: AgentRuntime, server: ServerProcess) -> None:
    with pytest.raises(ValueError, match="no reason"):
        runtime.run(echo(server, Guardrail(polite_later, "input", "fix")), "more")


def test_a_guardrail_that_fails_lets_nothing_pass(runtime: AgentRuntime, server: ServerProcess) -> None:
    with pytest.raises(ValueError, match="Guardrail error: LookupError: no dictionary"):
        runtime.run(echo(server, Guardrail(broken, "input", "raise")), "more")


async def test_it_is_the_same_for_code_that_awaits(server: ServerProcess) -> None:
    async with AgentRuntime(server_url=server.url) as runtime:
        with pytest.raises(ValueError, match="refused"):
            await runtime.run_async(echo(server, Guardrail(polite_later, "input", "raise")), "more")


def test_what_another_process_judges_is_left_to_the_server(runtime: AgentRuntime, server: ServerProcess) -> None:
    def far(text: str) -> GuardrailResult:
        return GuardrailResult(False, "not today")

    agent = echo(server, Guardrail(None, "input", "raise", "far"))
    judge = Agent("judge", agent.model, guardrails=[Guardrail(far, "input", "raise", "far")])
    with AgentRuntime(server_url=server.url) as elsewhere:
        elsewhere.serve(judge, blocking=False)
        result = runtime.run(agent, "more")
    assert (result.status, result.finish_reason) == (Status.FAILED, FinishReason.GUARDRAIL)
    assert "not today" in str(result.error)
