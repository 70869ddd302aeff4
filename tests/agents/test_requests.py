"""What runs ask people, and what people tell runs, from any process."""

import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from agentspan.agents import (
    Agent,
    AgentAPIError,
    AgentConfig,
    AgentConflictError,
    AgentHandle,
    AgentRuntime,
    ApprovalPolicy,
    RegexGuardrail,
    Request,
    UserProxyAgent,
    attach,
    human_tool,
    inbox,
    tool,
    wait_for_message_tool,
)
from agentspan.agents.inbox import request_of
from tests.agents.serving import ServerProcess, tool_call


@tool(approval_required=True)
def pay(amount: int, to: str = "Ann") -> str:
    """Pay."""
    return f"paid {amount} to {to}"


@pytest.fixture
def payer(server: ServerProcess) -> Agent:
    two = {"tool_calls": [{"name": "pay", "arguments": {"amount": amount}} for amount in (1, 2)]}
    return Agent("payer", server.script("payer-requests", two, "{results}"), "", [pay])


def requests_of(handle: AgentHandle, count: int = 1) -> list[Request]:
    """The requests of a run when it has so many."""
    return eventually(handle.requests, lambda found: len(found) == count)


def eventually(ask: Callable[[], Any], holds: Callable[[Any], bool]) -> Any:
    deadline = time.monotonic() + 10
    while not holds(answer := ask()):
        assert time.monotonic() < deadline, answer
        time.sleep(0.02)
    return answer


def test_a_request_says_who_asks_what(server: ServerProcess, payer: Agent) -> None:
    with AgentRuntime(server_url=server.url) as runtime, AgentRuntime(server_url=server.url) as other:
        handle = runtime.start(Agent("boss", agents=[payer], strategy="sequential"), "pay")
        requests_of(handle, 2)
        first, second = other.inbox(execution_id=handle.execution_id)
        assert (first.kind, first.tool, first.arguments) == ("approval", "pay", {"amount": 1})
        assert (first.agent_name, first.path, first.root_id) == ("payer", ("payer",), handle.execution_id)
        assert first.execution_id != handle.execution_id
        assert first.since
        assert first.response_schema
        assert [each.request_id for each in other.inbox(execution_id=handle.execution_id, kind="question")] == []
        assert {each.request_id for each in inbox(agent_name="payer", runtime=other)} >= {
            first.request_id,
            second.request_id,
        }
        assert inbox(agent_name="nobody", runtime=other) == []
        second.reject("too much")
        first.approve()
        result = handle.join(10).output["result"]
        assert "paid 1 to Ann" in result
        assert "too much" in result


def test_an_approval_may_change_the_arguments(runtime: AgentRuntime, payer: Agent) -> None:
    handle = runtime.start(payer, "pay")
    first, second = requests_of(handle, 2)
    first.approve({"amount": 7, "to": "Bob"})
    handle.approve(request_id=second.request_id, arguments={"amount": 8})
    assert handle.join(10).output["result"] == "paid 7 to Bob, paid 8 to Ann"


async def test_a_request_is_answered_once(server: ServerProcess, payer: Agent) -> None:
    async with AgentRuntime(server_url=server.url) as runtime:
        handle = await runtime.start_async(payer, "pay")
        stream = handle.stream_async()
        seen = 0
        async for event in stream:
            seen += event.type == "waiting"
            if seen == 2:
                break
        first, second = await handle.requests_async()
        await second.approve_async()
        with pytest.raises(AgentConflictError):
            await second.reject_async("too late")
        await stream.approve(arguments={"amount": 5})
        assert (await stream.get_result()).output["result"] == "paid 5 to Ann, paid 2 to Ann"
        with pytest.raises(AgentConflictError):
            await first.approve_async()
        assert await runtime.inbox_async(execution_id=handle.execution_id) == []
        decided = await runtime.inbox_async("answered", execution_id=handle.execution_id)
        assert [each.status for each in decided] == ["answered", "answered"]
        assert [(each.decision or {}).get("arguments") for each in decided] == [{"amount": 5}, None]
        assert all(each.decided_at for each in decided)


def test_a_question_is_answered_by_a_message(runtime: AgentRuntime, server: ServerProcess) -> None:
    model = server.script("asker", tool_call("ask", question="Which year?"), "So {result}.")
    handle = runtime.start(Agent("asker", model, "", [human_tool("ask", "Ask a person.")]), "go")
    (request,) = requests_of(handle)
    assert request.kind == "question"
    assert request.arguments == {"question": "Which year?"}
    assert request.content == "Which year?"
    assert handle.send("2024") is None
    assert "2024" in handle.join(10).output["result"]


def test_a_review_may_edit_what_a_guardrail_stopped(runtime: AgentRuntime, server: ServerProcess) -> None:
    guard = RegexGuardrail("secret", on_fail="human", message="no secrets")
    handle = runtime.start(Agent("leaky", server.script("leaky", "The secret is 7."), guardrails=[guard]), "go")
    (request,) = requests_of(handle)
    assert (request.kind, request.content) == ("review", "The secret is 7.")
    assert request.arguments["message"] == "no secrets"
    request.edit("I may not say.")
    assert handle.join(10).output["result"] == "I may not say."


def test_a_proxy_agent_says_what_it_is_told(runtime: AgentRuntime, server: ServerProcess) -> None:
    helper = Agent("helper", server.script("helper-proxy", "Where to?"))
    team = Agent("talk", agents=[helper, UserProxyAgent("guest")], strategy="sequential")
    handle = runtime.start(team, "go")
    (request,) = requests_of(handle)
    assert (request.kind, request.agent_name) == ("turn", "guest")
    assert "Where to?" in request.content
    assert handle.send("To Oslo") is None
    assert handle.join(10).output["result"] == "To Oslo"


def test_a_message_is_seen_in_the_next_turn(runtime: AgentRuntime, server: ServerProcess, payer: Agent) -> None:
    payer.model = server.script("payer-told", tool_call("pay", amount=1), "{prompt}")
    handle = runtime.start(payer, "pay")
    (request,) = requests_of(handle)
    number = attach(handle.execution_id, runtime=runtime).send("only in euros")
    assert number is not None
    assert handle.message_status(number).status == "queued"
    request.approve()
    assert "only in euros" in handle.join(10).output["result"]
    seen = runtime.message_status(handle.execution_id, number)
    assert (seen.message_id, seen.status, seen.turn) == (number, "seen", 2)


def test_a_message_after_the_end_is_told_so(runtime: AgentRuntime, server: ServerProcess) -> None:
    handle = runtime.start(Agent("brief", server.script("brief", "done")), "go")
    handle.join(10)
    with pytest.raises(AgentConflictError, match="nobody would read the message"):
        handle.send_message("wait")


def test_a_tool_waits_for_messages(runtime: AgentRuntime, server: ServerProcess) -> None:
    model = server.script("listener", tool_call("listen"), "heard {result}")
    handle = runtime.start(Agent("listener", model, "", [wait_for_message_tool("listen", "Wait.")]), "go")
    first = runtime.send_message(handle.execution_id, {"order": 7})
    assert "7" in handle.join(10).output["result"]
    assert handle.message_status(first).status == "seen"


def test_a_person_chooses_who_speaks(runtime: AgentRuntime, server: ServerProcess) -> None:
    team = Agent(
        "panel",
        agents=[
            Agent("ann", server.script("ann", "Ann says yes.")),
            Agent("bob", server.script("bob", "Bob says no.")),
        ],
        strategy="manual",
    )
    handle = runtime.start(team, "well?")
    (request,) = requests_of(handle)
    assert request.kind == "selection"
    with pytest.raises(AgentAPIError, match="one of ann, bob"):
        request.select("carl")
    request.select("bob")
    (again,) = eventually(handle.requests, lambda found: found and found[0].request_id != request.request_id)
    assert again.kind == "selection"
    handle.finish()
    assert "Bob says no." in handle.join(10).output["result"]


def test_a_request_of_an_older_server_is_an_approval(runtime: AgentRuntime) -> None:
    request = request_of({"requestId": "r", "executionId": "e"}, runtime)
    assert (request.kind, request.root_id, request.path, request.deadline) == ("approval", "e", (), None)


def payer_with(server: ServerProcess, name: str, policy: ApprovalPolicy) -> Agent:
    """An agent that pays once, under this policy."""

    @tool(approval_required=policy)
    def pay(amount: int) -> str:
        """Pay."""
        return f"paid {amount}"

    return Agent(name, server.script(name, tool_call("pay", amount=5), "{result}"), "", [pay])


def test_who_started_a_run_does_not_approve_its_calls(server: ServerProcess) -> None:
    agent = payer_with(server, "two-pairs-of-eyes", ApprovalPolicy(requester_may_not_approve=True))
    with AgentRuntime(config=AgentConfig(server_url=server.url, user="kim")) as runtime:
        handle = runtime.start(agent, "pay")
        (request,) = requests_of(handle)
        for approve in (request.approve, handle.approve, lambda: runtime.approve(handle.execution_id, by="kim")):
            with pytest.raises(AgentAPIError, match="may not be approved by who asked"):
                approve()
        request.approve(by="lee")
        assert handle.join(10).output["result"] == "paid 5"
        (kept,) = runtime.inbox("answered", execution_id=handle.execution_id)
        assert kept.decided_by == "lee"


def test_a_policy_in_audit_asks_nobody_and_shows_what_it_would_have_asked(
    runtime: AgentRuntime, server: ServerProcess
) -> None:
    handle = runtime.start(payer_with(server, "audited", ApprovalPolicy(audit=True)), "pay")
    events = list(handle.stream())
    noted = [(each.guardrail_name, each.content) for each in events if each.type == "guardrail_pass"]
    assert noted == [("audit", "would have asked")]
    assert "waiting" not in [each.type for each in events]
    assert handle.join(10).output["result"] == "paid 5"


def test_a_link_answers_a_request_for_somebody(runtime: AgentRuntime, server: ServerProcess) -> None:
    handle = runtime.start(payer_with(server, "linking", ApprovalPolicy()), "pay")
    (request,) = requests_of(handle)
    link = request.link(60, by="lee")
    with httpx.Client(trust_env=False) as outside:
        assert outside.get(link).json()["arguments"] == {"amount": 5}
        assert outside.post(link, json={"approved": True}).status_code == 200
        assert outside.post(link, json={"approved": True}).status_code == 409
    assert handle.join(10).output["result"] == "paid 5"
    (kept,) = runtime.inbox("answered", execution_id=handle.execution_id)
    assert kept.decided_by == "lee"


def test_a_user_whom_no_header_can_name_is_refused() -> None:
    with pytest.raises(ValueError, match="ASCII"):
        AgentConfig(user="Zoë")
