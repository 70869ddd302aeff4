"""A client finds the server of its user or starts one that outlives it, once, however many ask."""

import os
import socket
import subprocess
import sys

import pytest

from agentspan.client import launch
from agentspan.client.launch import LaunchProblem, find_or_start
from agentspan.server import record
from tests.cli.running import environment

START = "from agentspan.client.launch import find_or_start; print(*find_or_start())"


@pytest.fixture
def settled(folder, monkeypatch):
    """The environment of a user without any setting but the folder."""
    monkeypatch.setenv("AGENTSPAN_DATA_DIR", str(folder))
    monkeypatch.setenv("AGENTSPAN_PORT", "0")
    return folder


def test_the_first_call_starts_a_server_and_the_next_finds_it(settled):
    first = find_or_start()
    assert first.started
    assert find_or_start() == (first.url, False)
    assert find_or_start(f"{first.url}/api/") == (first.url, False)
    assert find_or_start(data_dir=settled) == (first.url, False)


def test_many_processes_at_once_start_one_server(folder):
    command = [sys.executable, "-c", START]
    asking = [subprocess.Popen(command, env=environment(folder), stdout=subprocess.PIPE, text=True) for _ in range(4)]
    answers = [each.communicate(timeout=60)[0].split() for each in asking]
    assert len({url for url, _ in answers}) == 1
    assert sorted(started for _, started in answers) == ["False", "False", "False", "True"]


def test_the_server_outlives_who_started_it(folder):
    done = subprocess.run([sys.executable, "-c", START], env=environment(folder), capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert launch.is_healthy(record.find(folder).url)


def test_a_server_that_is_too_busy_to_answer_is_waited_for_and_not_doubled(settled, monkeypatch):
    first = find_or_start()
    answers = iter([False, False, False, True])
    monkeypatch.setattr(launch, "is_healthy", lambda _: next(answers))
    assert find_or_start() == (first.url, False)


def test_a_server_that_never_answers_is_a_sentence(settled, monkeypatch):
    find_or_start()
    monkeypatch.setattr(launch, "is_healthy", lambda _: False)
    monkeypatch.setattr(launch, "READY_SECONDS", 0.2)
    with pytest.raises(LaunchProblem, match=r"does not answer; its log is .*server\.log"):
        find_or_start()


def test_an_address_where_nobody_answers_is_a_sentence():
    with pytest.raises(LaunchProblem, match=r"no agentspan server answers at http://127\.0\.0\.1:9"):
        find_or_start("http://127.0.0.1:9/api")


def test_a_server_that_cannot_start_says_why_and_where_its_log_is(settled, monkeypatch):
    (settled / "agentspan.db").write_text("this is no database, and longer than a header of one" * 10)
    with pytest.raises(LaunchProblem, match=r"did not start: .*agentspan\.db.*logs/server\.log"):
        find_or_start()


def test_the_default_port_gives_way_if_it_is_taken(folder, monkeypatch):
    monkeypatch.setenv("AGENTSPAN_DATA_DIR", str(folder))
    with contextless(6767):
        found = find_or_start()
        assert found.started
        assert not found.url.endswith(":6767")


def contextless(port):
    """Something that listens on the port, unless something does already."""
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError:
        return socket.socket()


def test_a_missing_extra_is_a_sentence(settled, monkeypatch):
    monkeypatch.setattr(launch, "NEEDED", ("tornado", "no_such_package"))
    with pytest.raises(LaunchProblem, match=r'needs no_such_package: pip install "agentspan\[server\]"'):
        find_or_start()


def test_a_long_log_is_put_aside(settled, monkeypatch):
    log = launch.log_path(settled)
    log.parent.mkdir()
    log.write_text("x" * 100)
    monkeypatch.setattr(launch, "LOG_LIMIT_BYTES", 50)
    find_or_start()
    assert "x" not in log.read_text()
    assert os.path.getsize(f"{log}.1") == 100
