"""The magics, in real kernels: what they show, and the one sentence that they say when something is wrong."""

import re
from collections.abc import Iterator

import pytest

from tests.agents.serving import ServerProcess, tool_call
from tests.notebook.kernel import Kernel

pytestmark = pytest.mark.xdist_group("kernels")

AGENTS = """
%load_ext agentspan
from agentspan.agents import Agent, AgentRuntime, tool

@tool(approval_required=True)
def spend(amount: int) -> str:
    "Spend."
    return f"spent {amount}"

spender = Agent(name="magic_spender", model="scripted/magic_spender", tools=[spend])
echo = Agent(name="magic_echo", model="scripted/magic_echo")
runtime = AgentRuntime()
city = "Oslo"
"""


@pytest.fixture(scope="module", autouse=True)
def scripts(server: ServerProcess) -> None:
    server.script("magic_spender", tool_call("spend", amount=5), {"content": "{result}."})
    server.script("magic_echo", "You said: {prompt}")


@pytest.fixture
def magic(either: Kernel) -> Iterator[Kernel]:
    either.say(AGENTS)
    yield either
    either.say("for each in runtime.inbox(agent_name='magic_spender'): each.reject('the test is over')")


def asks(kernel: Kernel) -> str:
    """Start a run that asks; the id of its request."""
    kernel.say("import time\nrun = runtime.start(spender, 'Go.')\nwhile not run.requests(): time.sleep(0.02)")
    return kernel.say("print(run.requests()[0].request_id)")


def problem(kernel: Kernel, code: str) -> str:
    """The one line that a cell says instead of a traceback."""
    cell = kernel.run(code)
    assert cell.status == "error"
    told = cell.text.strip()
    assert len(told.splitlines()) == 1, told
    assert "Traceback" not in cell.error
    return told


def test_a_cell_is_a_prompt_with_variables(magic: Kernel) -> None:
    magic.say('%%agent echo --as answer\nWeather in {city}, {{city}} and {"a": 1}?')
    assert magic.say("print(answer.output['result'])") == 'You said: Weather in Oslo, {city} and {"a": 1}?'


def test_an_agent_is_found_by_its_own_name_and_may_have_another_model(magic: Kernel) -> None:
    magic.say("%%agent magic_echo\nHi")
    assert magic.say("print(_agent.output['result'])") == "You said: Hi"
    magic.say("%%agent --model scripted/magic_echo --as other\nHi there")
    assert magic.say("print(other.output['result'])") == "You said: Hi there"


def test_runs_are_listed_and_one_is_shown_by_a_part_of_its_id(magic: Kernel) -> None:
    magic.say("%%agent echo --as answer\nHi")
    listed = magic.run("found = %runs magic_echo --since 1h --limit 5\nprint(found.ids[0] == answer.execution_id)")
    assert listed.text.strip() == "True"
    shown = magic.run("%tail {answer.execution_id[-12:]}")
    assert shown.status == "ok", shown.error
    magic.until(lambda: any("magic_echo" in str(each) for each in magic.messages[-20:]), "the run")


def test_a_request_is_listed_and_approved_with_other_arguments(magic: Kernel) -> None:
    request = asks(magic)
    listed = magic.run("%inbox --agent magic_spender")
    assert request in listed.displays[-1]["text/html"]
    assert "Approval wanted: spend" in listed.displays[-1]["text/plain"]
    said = magic.say(f'%approve {request} --edit {{"amount": 3}}')
    assert said == 'approved: spend {"amount": 3} of magic_spender'
    assert magic.say("print(run.join(20).output['result'])") == "spent 3."


def test_a_request_is_rejected_by_the_id_of_its_run(magic: Kernel) -> None:
    asks(magic)
    assert magic.say("%reject {run.execution_id} too much for today").startswith("rejected: spend")
    assert magic.say("print('too much for today' in str(run.join(20).messages))") == "True"


def test_the_dashboard_is_a_frame_of_its_page(magic: Kernel, server: ServerProcess) -> None:
    [shown] = magic.run("%dashboard inbox").displays
    assert shown["text/plain"] == f"{server.url}/ui/inbox"
    assert f'<iframe src="{server.url}/ui/inbox"' in shown["text/html"]


def test_behind_jupyterhub_the_dashboard_is_reached_by_its_proxy(magic: Kernel, server: ServerProcess) -> None:
    told = magic.say(
        "import os\nos.environ['JUPYTERHUB_SERVICE_PREFIX'] = '/user/ada/'\n"
        "from agentspan.notebook import dashboard\n"
        "print(dashboard('runs'))\ndel os.environ['JUPYTERHUB_SERVICE_PREFIX']"
    )
    assert told == f"/user/ada/proxy/{server.port}/ui/runs"


def test_in_vs_code_the_dashboard_is_a_link(magic: Kernel) -> None:
    magic.say("import os\nos.environ['VSCODE_PID'] = '1'")
    cell = magic.run("%dashboard runs")
    magic.say("del os.environ['VSCODE_PID']")
    assert cell.displays, (cell.text, cell.error)
    [shown] = cell.displays
    assert "<iframe" not in shown["text/html"]
    assert "<a href=" in shown["text/html"]


def test_status_tells_of_the_kernel_and_its_server(magic: Kernel, server: ServerProcess) -> None:
    asks(magic)
    [shown] = magic.run("%agentspan status").displays
    assert f"server: {server.url}" in shown["text/plain"]
    assert re.search(r"served here: .*spend", shown["text/plain"])


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("%%agent\nHi", "say which agent, or which model"),
        ("%%agent echo\n{nothing}", "there is no such variable"),
        ("%%agent nobody_of_this_name\nHi", "nobody_of_this_name"),
        ("%runs --since soon", "--since must be a number and s, m, h or d"),
        ("%runs --nothing", "unrecognized arguments: --nothing; %runs? tells more"),
        ("%tail 000", "no run of this list has an id like '000'"),
        ("%tail 01a206fc-92d5-73d5-8beb-1bd8d675d50b", "01a206fc-92d5-73d5-8beb-1bd8d675d50b"),
        ("%approve", "say which request"),
        ("%approve 000", "no open request is '000'; see %inbox"),
        ("%approve x --edit {", "--edit must be JSON"),
        ("%agentspan dance", "%agentspan knows status, not 'dance'"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(magic: Kernel, code: str, told: str) -> None:
    assert told in problem(magic, code)


def test_each_magic_has_help_with_an_example(magic: Kernel) -> None:
    code = "from agentspan.notebook.magics import AgentMagics\nhelps = [getattr(AgentMagics, name).__doc__ for name in "
    names = "['agent', 'runs', 'tail', 'inbox', 'approve', 'reject', 'dashboard', 'agentspan']"
    assert magic.say(f"{code}{names}]\nprint(all('Example::' in each for each in helps))") == "True"


def test_what_was_listed_completes_a_line(magic: Kernel) -> None:
    request = asks(magic)
    magic.say("%inbox")
    found = magic.say(f"print(get_ipython().complete('', '%approve {request[:8]}')[1])")
    assert request in found
