"""Runs are begun, listed, looked at and steered in a terminal, and scripts can tell how they ended."""

import csv
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from agentspan.agents import Agent, AgentRuntime, tool
from agentspan.cli import codes
from tests.agents.serving import ServerProcess, tool_call
from tests.cli.running import environment, inside

AGENTS = '''
from agentspan.agents import Agent, tool


@tool
def add(a: int, b: int) -> int:
    """Add."""
    return a + b


adder = Agent("adder", "scripted/adder", "", [add])
'''


@tool(approval_required=True)
def pay(amount: int) -> str:
    """Pay."""
    return f"paid {amount}"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server in a process of its own, with agents that are deployed."""
    found = ServerProcess(tmp_path_factory.mktemp("server"))
    found.script("plain", "hello")
    found.script("slow", {"content": "late", "delay_ms": 60_000})
    found.script("broken", {"errors": [{"status": 400, "message": "boom"}]})
    found.script("payer", tool_call("pay", amount=5), "{result}")
    found.script("adder", tool_call("add", a=2, b=3), "the sum is {result}")
    found.start()
    with AgentRuntime(server_url=found.url) as runtime:
        runtime.deploy(*(Agent(name, f"scripted/{name}") for name in ("plain", "slow", "broken")))
    yield found
    found.stop()


@pytest.fixture(autouse=True)
def here(server, monkeypatch, tmp_path):
    """The environment of whoever uses that server."""
    monkeypatch.setenv("AGENTSPAN_SERVER_URL", server.url)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def payment(server):
    """A run that waits for a person, whose tool is served."""
    with AgentRuntime(server_url=server.url) as runtime:
        handle = runtime.start(Agent("payer", "scripted/payer", "", [pay]), "pay")
        until(lambda: handle.requests())
        yield handle


def until(found, seconds=10):
    """What it gives as soon as it gives something."""
    deadline = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return value


def started(name="slow"):
    return inside("run", name, "hi", "--no-wait").out.strip()


def status_of(run):
    return json.loads(inside("status", run, "-o", "json").out)["status"]


# run


def test_the_answer_is_all_that_is_printed(server):
    done = inside("run", "plain", "hi")
    assert (done.code, done.out) == (0, "hello\n")
    assert re.fullmatch(r"run \S+\n", done.err)
    assert inside("run", "plain", "hi", "-q").err == ""


def test_a_result_and_what_happens_can_be_read_by_a_program(server):
    body = json.loads(inside("run", "plain", "hi", "-o", "json").out)
    assert (body["status"], body["output"]["result"]) == ("COMPLETED", "hello")
    events = [json.loads(line) for line in inside("run", "plain", "hi", "--stream", "-o", "jsonl").out.splitlines()]
    assert (events[0]["type"], events[-1]["type"]) == ("thinking", "done")
    assert inside("run", "plain", "hi", "--stream").out.splitlines()[-1].endswith("hello")


def test_the_exit_code_says_how_the_run_ended(server):
    failed = inside("run", "broken", "hi")
    assert (failed.code, failed.out) == (codes.RUN_FAILED, "")
    assert "FAILED" in failed.err
    late = inside("run", "slow", "hi", "--timeout", "0.1s")
    assert (late.code, late.out) == (codes.TIMEOUT, "")
    [run] = re.findall(r"agentspan tail (\S+)", late.err)
    assert inside("cancel", run, "--reason", "enough").out == f"cancelled {run}\n"
    assert inside("wait", run).code == codes.CANCELLED
    assert inside("status", run, "--exit-code").code == codes.CANCELLED
    assert inside("tail", run).code == codes.CANCELLED


def test_the_prompt_and_more_come_from_files_and_the_standard_input(server, tmp_path):
    (tmp_path / "prompt.txt").write_text("from a file")
    for words, stdin, prompt in [
        (["@prompt.txt"], None, "from a file"),
        (["-"], "from a pipe", "from a pipe"),
        (["--input", '{"prompt": "from json", "customer": 7}'], None, "from json"),
    ]:
        run = inside("run", "plain", *words, "--no-wait", stdin=stdin).out.strip()
        assert inside("show", run, "--fields", "messages", "--json").out.count(prompt) == 1


def test_an_agent_of_a_file_is_run_and_its_tools_are_served(server, tmp_path):
    (tmp_path / "sums.py").write_text(AGENTS)
    assert inside("run", "sums.py:adder", "2 + 3").out == "the sum is 5\n"
    begun = inside("run", "sums.py", "2 + 3", "--no-wait")
    run = begun.out.strip()
    assert f"agentspan wait {run} --serve sums.py" in begun.err
    assert inside("wait", run, "--serve", "sums.py").out == "the sum is 5\n"
    assert inside("run", "sums.py:other", "hi").code == codes.NOT_FOUND
    (tmp_path / "sums.py").write_text("1 / 0")
    wrong = inside("run", "sums.py", "hi")
    assert (wrong.code, wrong.err.count("\n")) == (codes.USAGE, 1)
    assert "ZeroDivisionError" in wrong.err


def test_the_same_key_is_the_same_run_and_a_session_goes_on(server):
    first, second = (inside("run", "plain", "hi", "--no-wait", "--idempotency-key", "k").out for _ in range(2))
    assert first == second
    run = inside("run", "plain", "hi", "--no-wait", "--session", "s", "--budget", "tokens=1000").out.strip()
    assert inside("ps", "--session", "s", "-o", "id").out.strip() == run


def test_a_run_that_asks_a_person_is_left_and_the_answer_is_told(server, payment):
    waiting = inside("wait", payment.execution_id)
    [request] = [each.request_id for each in payment.requests()]
    assert (waiting.code, waiting.out) == (codes.WAITING, "")
    assert f"agentspan approve {request}" in waiting.err
    assert inside("status", payment.execution_id, "--exit-code").code == codes.WAITING
    assert inside("approve", request).code == 0
    assert inside("wait", payment.execution_id).out == "paid 5\n"


@pytest.mark.parametrize(("typed", "code"), [("c", codes.CANCELLED), ("d", codes.INTERRUPTED)])
def test_ctrl_c_asks_whether_to_leave_the_run_or_to_cancel_it(server, tmp_path, typed, code):
    keyboard, terminal = pty.openpty()
    command = [sys.executable, "-m", "agentspan", "run", "slow", "hi"]
    with subprocess.Popen(
        command, env=environment(tmp_path), stdin=terminal, stdout=subprocess.PIPE, stderr=terminal, cwd=tmp_path,
        start_new_session=True,
    ) as running:  # fmt: skip
        os.close(terminal)
        [run] = re.findall(r"run (\S+)", read_until(keyboard, "\n"))
        running.send_signal(signal.SIGINT)
        assert "[c]ancel" in read_until(keyboard, "on? ")
        os.write(keyboard, f"{typed}\n".encode())
        told = read_until(keyboard, "is cancelled" if typed == "c" else f"agentspan tail {run}")
        assert running.wait(20) == code
    os.close(keyboard)
    assert run in told
    assert status_of(run) == ("TERMINATED" if typed == "c" else "RUNNING")
    inside("cancel", run)


def test_at_a_terminal_the_run_asks_there_and_the_answer_alone_is_data(server, payment, tmp_path):
    keyboard, terminal = pty.openpty()
    command = [sys.executable, "-m", "agentspan", "wait", payment.execution_id]
    with subprocess.Popen(
        command, env=environment(tmp_path), stdin=terminal, stdout=subprocess.PIPE, stderr=terminal, cwd=tmp_path
    ) as running:
        os.close(terminal)
        assert "pay(amount=5)" in read_until(keyboard, "as JSON? ")
        os.write(keyboard, b"yes\n")
        assert running.stdout.read() == b"paid 5\n"
        assert running.wait(20) == 0
    os.close(keyboard)


def read_until(keyboard, text):
    """What comes at the terminal, up to a text."""
    found = ""
    while text not in found:
        found += os.read(keyboard, 1024).decode()
    return found


def test_without_a_terminal_an_interrupt_does_what_was_said(server, tmp_path):
    command = [sys.executable, "-m", "agentspan.cli", "run", "slow", "hi", "--on-interrupt", "cancel"]
    with subprocess.Popen(command, env=environment(tmp_path), stderr=subprocess.PIPE, text=True) as running:
        run = running.stderr.readline().split()[-1]
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == codes.CANCELLED
    assert status_of(run) == "TERMINATED"


# tail


def test_tail_goes_on_over_a_restart_of_the_server_and_misses_nothing(server, payment, tmp_path):
    run = payment.execution_id
    command = [sys.executable, "-m", "agentspan", "tail", run, "-o", "jsonl"]
    with subprocess.Popen(command, env=environment(tmp_path), stdout=subprocess.PIPE, text=True) as tailing:
        first = [json.loads(tailing.stdout.readline()) for _ in range(2)]
        assert [each["type"] for each in first] == ["thinking", "waiting"]
        server.kill()
        server.start()
        assert inside("approve", payment.requests()[0].request_id).code == 0
        rest = [json.loads(line) for line in tailing.stdout]
        assert tailing.wait(20) == 0
    seen = [each["id"] for each in first + rest if each["type"] != "token"]
    kept = json.loads(inside("events", run, "--json").out)
    assert seen == [each["id"] for each in kept]
    again = inside("tail", run, "--after", str(kept[1]["id"]), "--no-follow", "--json")
    assert [json.loads(line)["id"] for line in again.out.splitlines()] == seen[2:]


# Lists


def test_every_format_can_be_read_by_its_own_reader(server):
    runs = [inside("run", "plain", "hi there: 1", "--no-wait").out.strip() for _ in range(2)]
    inside("wait", runs[0]), inside("wait", runs[1])
    ps = ["ps", "--agent", "plain", "-n", "2"]
    rows = json.loads(inside(*ps, "-o", "json").out)
    assert [row["executionId"] for row in rows] == runs[::-1]
    assert inside(*ps, "-o", "id").out.split() == runs[::-1]
    assert [json.loads(line) for line in inside(*ps, "-o", "jsonl").out.splitlines()] == rows
    assert yaml.safe_load(inside(*ps, "-o", "yaml").out) == rows
    table = list(csv.DictReader(io.StringIO(inside(*ps, "-o", "csv").out)))
    assert [(row["executionId"], row["preview"]) for row in table] == [(run, "hi there: 1") for run in runs[::-1]]
    titles, *lines = inside(*ps).out.splitlines()
    assert titles.split() == ["RUN", "AGENT", "STATUS", "WAITING", "STARTED", "TOOK", "COST", "PROMPT"]
    assert [line.split()[:3] for line in lines] == [[run, "plain", "COMPLETED"] for run in runs[::-1]]
    assert [line.split() for line in inside(*ps, "-q").out.splitlines()] == [line.split() for line in lines]


def test_the_keys_are_those_that_the_page_promises(server):
    page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
    promised = dict(re.findall(r"^\| `([a-z -]+)`(?:, `wait`)? \| ((?:\w+, )+(?:\w+|\.\.\.)) \|$", page, re.MULTILINE))
    run = inside("run", "plain", "hi", "--no-wait").out.strip()
    inside("wait", run)
    for command, words in {
        "run": ["run", "plain", "hi"],
        "status": ["status", run],
        "config explain": ["config", "explain"],
    }.items():
        found = json.loads(inside(*words, "--json").out)
        keys = set(found if isinstance(found, dict) else found[0])
        assert keys >= {key for key in promised[command].split(", ") if key != "..."}, command


def test_fields_choose_what_is_told(server):
    inside("run", "plain", "hi")
    assert json.loads(inside("ps", "-n", "1", "--fields", "agentName,status", "--json").out) == [
        {"agentName": "plain", "status": "COMPLETED"}
    ]
    assert inside("ps", "-n", "1", "--fields", "status,agentName").out.split()[2:] == ["COMPLETED", "plain"]
    wrong = inside("ps", "--fields", "colour")
    assert wrong.code == codes.USAGE
    assert "agentName" in wrong.err
    assert inside("ps", "-o", "xml").code == codes.USAGE


def test_a_list_goes_on_where_it_ended_and_says_so_to_people_alone(server):
    runs = [started("plain") for _ in range(3)]
    first = inside("ps", "--agent", "plain", "-n", "1")
    [cursor] = re.findall(r"--cursor (\S+)", first.err)
    assert runs[-1] in first.out
    assert runs[-2] in inside("ps", "--agent", "plain", "-n", "1", "--cursor", cursor).out
    assert inside("ps", "--agent", "plain", "-n", "1", "-o", "json").err == ""


def test_lists_are_filtered(server):
    failed = started("broken")
    until(lambda: status_of(failed) == "FAILED")
    assert inside("ps", "--status", "failed", "-o", "id").out.split()[0] == failed
    assert inside("ps", "--since", "1h", "--agent", "broken", "-o", "id").out.split()[0] == failed
    assert inside("ps", "--since", "2100-01-01").out == ""
    assert inside("ps", "--since", "yesterday").code == codes.USAGE


# One run


def test_how_a_run_stands_is_said_with_the_reason(server, payment):
    lines = inside("status", payment.execution_id).out
    assert "pay" in lines
    assert "waits" in inside("why", payment.execution_id).out
    assert inside("status", payment.execution_id, "--fields", "status").out.split() == ["Status", "RUNNING"]


def test_a_run_is_steered(server):
    run = started()
    assert inside("pause", run).out == f"paused {run}\n"
    assert status_of(run) == "PAUSED"
    assert inside("resume", run).out == f"resumed {run}\n"
    assert inside("signal", run, "be brief").code == 0
    assert inside("send", run, "hello").out.strip()
    assert inside("budget", run, "tokens=9").code == 0
    assert inside("stop", run).out == f"stopping {run}\n"
    twice = inside("cancel", run, "01a20000-0000-7000-8000-000000000000")
    assert (twice.code, twice.out) == (codes.NOT_FOUND, f"cancelled {run}\n")
    assert inside("pause", run).code == codes.FAILED


def test_a_failed_run_goes_on_when_it_is_retried(server):
    run = started("broken")
    until(lambda: status_of(run) == "FAILED")
    assert inside("retry", run).out == f"retried {run}\n"


def test_a_fork_changes_what_it_says(server, payment):
    steps = json.loads(inside("steps", payment.execution_id, "--json").out)
    at = next(str(step["seq"]) for step in steps if step["kind"] == "request")
    fork = inside("fork", payment.execution_id, "--from-step", at, "--set", "args.amount=7").out.strip()
    [request] = json.loads(inside("inbox", "--run", fork, "--json").out)
    assert request["arguments"] == {"amount": 7}
    other = inside("fork", payment.execution_id, "--from-step", "1", "--model", "scripted/plain", "--prompt", "hi")
    assert inside("wait", other.out.strip()).out == "hello\n"
    differing = inside("diff", fork, other.out.strip())
    assert (differing.code, "first difference" in differing.out) == (1, True)
    assert json.loads(inside("diff", fork, fork, "--json").out)["same"] is True
    assert inside("fork", payment.execution_id, "--from-step", "1", "--set", "args.amount=7").code == codes.USAGE


def test_a_run_is_exported_in_every_form_and_taken_in(server, tmp_path):
    run = started("plain")
    inside("wait", run)
    for name in ("run.json", "run.html", "run.ipynb"):
        done = inside("export", run, "-o", name)
        assert (done.code, done.out) == (0, f"{name}\n"), done.err
    assert "hello" in (tmp_path / "run.html").read_text()
    assert "<script" not in (tmp_path / "run.html").read_text()
    assert json.loads((tmp_path / "run.ipynb").read_text())["nbformat"] == 4
    taken = inside("import", "run.json", "run.json").out.split()
    assert [status_of(each) for each in taken] == ["COMPLETED", "COMPLETED"]
    many = inside("export", "--agent", "plain", "-n", "2", "-o", "folder", "--format", "html").out.split()
    assert len(many) == len(list((tmp_path / "folder").glob("*.html"))) == 2
    assert inside("export").code == codes.USAGE
    assert inside("import", "nowhere.json").code == codes.USAGE


# What goes wrong


def test_each_way_to_go_wrong_has_its_code(server, monkeypatch):
    assert inside("status", "01a20000-0000-7000-8000-000000000000").code == codes.NOT_FOUND
    assert inside("run", "nobody", "hi").code == codes.NOT_FOUND
    assert inside("run", "plain", "").code == codes.USAGE
    assert inside("run", "plain", "hi", "--budget", "wishes=3").code == codes.USAGE
    monkeypatch.setenv("AGENTSPAN_SERVER_URL", "http://127.0.0.1:9")
    away = inside("ps")
    assert (away.code, away.err.count("\n")) == (codes.UNREACHABLE, 1)


# Requests


def test_a_request_is_shown_and_answered_with_edited_arguments(server, payment, monkeypatch):
    [request] = [each.request_id for each in payment.requests()]
    shown = json.loads(inside("inbox", "show", request, "--json").out)
    assert (shown["tool"], shown["arguments"]) == ("pay", {"amount": 5})
    assert request in inside("inbox", "ls", "-o", "id").out
    monkeypatch.setenv("EDITOR", "sed -i s/5/8/")
    assert inside("inbox", "approve", request, "--edit-args", "--by", "kim").code == 0
    assert inside("wait", payment.execution_id).out == "paid 8\n"
    assert json.loads(inside("inbox", "show", request, "--json").out)["decidedBy"] == "kim"
    assert inside("inbox", "show", "01a20000.t1").code == codes.NOT_FOUND


def test_whoever_watches_the_inbox_is_notified(server, payment, tmp_path):
    notify = "echo $AGENTSPAN_RUN_ID $AGENTSPAN_REQUEST_ID > notified; cat > request.json"
    done = inside("inbox", "watch", "--once", "--agent", "payer", "--notify-cmd", notify, "-o", "jsonl")
    request = json.loads(done.out)
    assert (tmp_path / "notified").read_text().split() == [request["executionId"], request["requestId"]]
    assert json.loads((tmp_path / "request.json").read_text())["arguments"] == {"amount": 5}


# Agents and schedules


def test_agents_are_deployed_compared_rolled_back_and_removed(server, tmp_path):
    (tmp_path / "sums.py").write_text(AGENTS)
    [row] = json.loads(inside("deploy", "sums.py", "--json").out)
    assert (row["registered_name"], row["version"], row["success"]) == ("adder", 1, True)
    (tmp_path / "sums.py").write_text(AGENTS.replace('"", [add]', '"Be exact.", [add]'))
    assert json.loads(inside("agent", "deploy", "sums.py:adder", "--json").out)[0]["version"] == 2
    assert [each["version"] for each in json.loads(inside("agent", "versions", "adder", "--json").out)] == [2, 1]
    changed = inside("agent", "diff", "adder", "1", "2")
    assert (changed.code, "Be exact." in changed.out) == (1, True)
    assert inside("agent", "diff", "adder", "1", "1").code == 0
    assert inside("agent", "rollback", "adder", "1").out == "adder is at version 3\n"
    assert "adder" in inside("agent", "ls", "-o", "id").out.split()
    config = inside("agent", "show", "adder", "--json").out
    assert json.loads(config)["tools"][0]["name"] == "add"
    (tmp_path / "adder.json").write_text(config)
    assert json.loads(inside("deploy", "adder.json", "--json").out)[0]["version"] == 3
    assert json.loads(inside("agent", "compile", "adder.json", "--json").out)["requiredWorkers"] == ["add"]
    assert inside("agent", "delete", "adder").code == codes.USAGE
    assert inside("agent", "delete", "adder", "--yes").out == "deleted adder\n"
    assert inside("agent", "show", "adder").code == codes.NOT_FOUND


def test_the_older_programs_print_what_they_printed(server, tmp_path):
    (tmp_path / "sums.py").write_text(AGENTS)
    for name, said in {
        "discover": [{"name": "adder", "framework": "native"}],
        "deploy": [{"agent_name": "adder", "registered_name": "adder", "success": True, "error": None}],
    }.items():
        command = [sys.executable, "-m", f"agentspan.cli.{name}", "--path", str(tmp_path), "--agents", "adder"]
        done = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True, timeout=60)
        assert (done.returncode, json.loads(done.stdout)) == (0, said), done.stderr


def test_verbs_of_other_command_lines_are_understood(server, payment):
    assert "plain" in inside("agent", "list").out
    assert inside("agent", "get", "plain", "--json").code == 0
    assert inside("agent", "status", payment.execution_id).code == 0
    assert inside("agent", "respond", payment.execution_id, "--approve").code == 0
    assert inside("agent", "stream", payment.execution_id).code == 0
    assert "payer" in inside("agent", "executions").out
    assert inside("agent", "start", "plain", "hi", "--no-wait").code == 0
    assert inside("logs", payment.execution_id).code == 0


def test_a_schedule_is_kept_run_and_removed(server):
    said = inside("schedule", "create", "plain", "nightly", "0 3 * * *", "--prompt", "hi", "--paused").out
    assert said.startswith("scheduled plain-nightly")
    assert [each["name"] for each in json.loads(inside("schedule", "ls", "--json").out)] == ["plain-nightly"]
    for words in (["resume"], ["pause"], ["show"]):
        assert inside("schedule", *words, "plain-nightly").code == 0
    assert inside("wait", inside("schedule", "run", "plain-nightly").out.strip()).out == "hello\n"
    assert len(inside("schedule", "next", "@daily", "-n", "3", "-q").out.splitlines()) == 3
    assert inside("schedule", "delete", "plain-nightly", "--yes").code == 0
    assert inside("schedule", "show", "plain-nightly").code == codes.NOT_FOUND
    assert inside("schedule", "create", "plain", "x", "now").code == codes.USAGE
