"""What runs ask is listed and answered in a terminal."""

import json
import time

import pytest

from agentspan.agents import Agent, AgentRuntime, human_tool, tool
from tests.agents.serving import ServerProcess, tool_call
from tests.cli.running import agentspan


@tool(approval_required=True)
def pay(amount: int) -> str:
    """Pay."""
    return f"paid {amount}"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server in a process of its own."""
    found = ServerProcess(tmp_path_factory.mktemp("server"))
    found.start()
    yield found
    found.stop()


@pytest.fixture
def runtime(server):
    with AgentRuntime(server_url=server.url) as found:
        yield found


@pytest.fixture
def payer(server):
    return Agent("payer", server.script("payer", tool_call("pay", amount=5), "{result}"), "", [pay])


@pytest.fixture
def command(server, tmp_path):
    """The command line, on the server."""
    return lambda *words: agentspan(*words, folder=tmp_path, AGENTSPAN_SERVER_URL=server.url)


def request_of(handle):
    deadline = time.monotonic() + 10
    while not (found := handle.requests()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found[0].request_id


def test_a_request_is_listed_and_approved_with_other_arguments(command, runtime, payer):
    handle = runtime.start(payer, "pay")
    request = request_of(handle)
    titles, *rows = command("inbox", "--agent", "payer").stdout.splitlines()
    assert titles.split() == ["REQUEST", "AGENT", "KIND", "TOOL", "AGE", "DEADLINE", "STATUS"]
    [row] = [row.split() for row in rows if row.startswith(f"{request} ")]
    assert (row[1:4], row[-1]) == (["payer", "approval", "pay"], "open")
    assert request not in command("inbox", "--agent", "nobody").stdout
    done = command("approve", request, "--arguments", '{"amount": 7}', "--by", "lee")
    assert (done.returncode, done.stdout) == (0, f"approved {request}\n"), done.stderr
    assert handle.join(10).output["result"] == "paid 7"
    assert request not in command("inbox").stdout
    found = json.loads(command("inbox", "--run", handle.execution_id, "--all-statuses", "--json").stdout)
    assert [(each["status"], each["decidedBy"]) for each in found] == [("answered", "lee")]


def test_a_call_is_rejected_with_a_reason(command, runtime, payer):
    handle = runtime.start(payer, "pay")
    request = request_of(handle)
    assert command("reject", request, "--reason", "too much").stdout == f"rejected {request}\n"
    assert "too much" in handle.join(10).output["result"]
    again = command("approve", request)
    assert (again.returncode, again.stderr.count("\n")) == (1, 1)
    assert "too much" in again.stderr


def test_a_question_is_answered_in_words(command, runtime, server):
    model = server.script("clerk", tool_call("ask_owner", question="Which?"), "{result}")
    handle = runtime.start(Agent("clerk", model, "", [human_tool("ask_owner", "Ask.", deadline_seconds=3600)]), "go")
    request = request_of(handle)
    [row] = [row for row in command("inbox").stdout.splitlines() if row.startswith(request)]
    assert "in 59 min" in row
    assert command("answer", request, "the blue one").stdout == f"answered {request}\n"
    assert "the blue one" in handle.join(10).output["result"]


def test_what_cannot_be_asked_or_said_is_one_sentence(command):
    for words, code, said in [
        (["approve", "no.1", "--arguments", "[1]"], 2, "must be a JSON object"),
        (["answer", "no.1", "{"], 2, "is not JSON"),
        (["inbox", "--all-statuses"], 2, "--run"),
        (["reject", "no.1"], 8, "no"),
    ]:
        done = command(*words)
        assert (done.returncode, done.stderr.count("\n")) == (code, 1), done.stderr
        assert said in done.stderr
