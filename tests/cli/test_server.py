"""`agentspan server` starts, stops and shows a server in a process of its own."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time

import httpx

from agentspan.server import record
from tests.cli.running import agentspan, environment


def get(url):
    return httpx.get(url, timeout=5, trust_env=False)


def test_a_server_starts_in_the_background_and_stops(folder):
    started = agentspan("server", "start", folder=folder)
    assert started.returncode == 0, started.stderr
    found = record.find(folder)
    assert f"agentspan serves {found.url} " in started.stdout
    assert get(f"{found.url}/health").json()["healthy"] is True
    assert stat.S_IMODE((folder / "server.json").stat().st_mode) == 0o600
    # Ctrl-C in the terminal that started it must not reach it.
    assert os.getsid(found.pid) == found.pid

    again = agentspan("server", "start", folder=folder)
    assert (again.returncode, again.stdout) == (0, f"agentspan serves {found.url} already\n")

    status = agentspan("server", "status", folder=folder)
    assert status.returncode == 0
    assert found.url in status.stdout
    assert str(found.pid) in status.stdout
    body = json.loads(agentspan("server", "status", "--json", folder=folder).stdout)
    assert (body["url"], body["pid"], body["answers"]) == (found.url, found.pid, True)

    logs = agentspan("server", "logs", "-n", "1", folder=folder)
    assert f"serves {found.url}" in logs.stdout

    stopped = agentspan("server", "stop", folder=folder)
    assert (stopped.returncode, stopped.stdout) == (0, f"stopped {found.url}\n")
    assert record.find(folder) is None
    assert not (folder / "server.json").exists()


def test_without_a_server_status_fails_and_stop_does_not(folder):
    assert agentspan("server", "status", folder=folder).returncode == 9
    stopped = agentspan("server", "stop", folder=folder)
    assert (stopped.returncode, stopped.stdout) == (0, f"no server runs on {folder}\n")
    logs = agentspan("server", "logs", folder=folder)
    assert (logs.returncode, logs.stderr.count("\n")) == (1, 1)


def test_a_killed_servers_record_is_not_believed(folder):
    agentspan("server", "start", folder=folder)
    found = record.find(folder)
    os.kill(found.pid, signal.SIGKILL)
    while record.is_held(folder):
        time.sleep(0.01)
    assert (folder / "server.json").exists()
    assert agentspan("server", "status", folder=folder).returncode == 9
    assert agentspan("server", "start", folder=folder).returncode == 0
    assert record.find(folder).pid != found.pid


def one_sentence(done):
    """The one line of a failure, without a traceback."""
    assert done.returncode == 1, done.stdout
    assert done.stderr.startswith("agentspan: "), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_a_taken_port_is_one_sentence(folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for more in ([], ["--foreground"]):
            sentence = one_sentence(agentspan("server", "start", "--port", port, *more, folder=folder))
            assert f"port {port} of 127.0.0.1 is taken by another program" in sentence


def test_a_locked_file_is_one_sentence(folder, tmp_path):
    agentspan("server", "start", folder=folder)
    other = tmp_path / "other"
    other.mkdir()
    database = f"sqlite:///{folder / 'agentspan.db'}"
    for more in ([], ["--foreground"]):
        sentence = one_sentence(agentspan("server", "start", "--database", database, *more, folder=other))
        assert "agentspan.db is in use by another agentspan server" in sentence


def test_a_wrong_setting_is_one_sentence(folder):
    assert "SERVER_PORT is 'many'" in one_sentence(
        agentspan("server", "start", folder=folder, AGENTSPAN_PORT="", SERVER_PORT="many")
    )
    assert "--port" in one_sentence(agentspan("server", "start", "--port", "70000", folder=folder))
    assert "AGENTSPAN_AUTH_KEY" in one_sentence(agentspan("server", "start", "--host", "0.0.0.0", folder=folder))


def test_a_database_that_is_away_is_one_sentence(folder):
    away = "postgresql://u:hunter2@127.0.0.1:1/x"
    sentence = one_sentence(agentspan("server", "start", folder=folder, AGENTSPAN_DATABASE_URL=away))
    assert "hunter2" not in sentence


def test_secrets_are_not_on_the_command_line_nor_in_the_record(folder, postgres_url):
    started = agentspan("server", "start", "--database", postgres_url, folder=folder)
    assert started.returncode == 0, started.stderr
    pid = record.find(folder).pid
    assert "--database" not in command_line(pid)
    assert (
        "***" in json.loads((folder / "server.json").read_text())["database"] or ":" not in postgres_url.split("@")[0]
    )
    assert agentspan("server", "stop", folder=folder).returncode == 0


def command_line(pid):
    return subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=True).stdout


def test_a_server_in_the_foreground_ends_with_the_signal(folder):
    command = [sys.executable, "-m", "agentspan.cli.main", "server", "start", "--foreground"]
    for number in (signal.SIGTERM, signal.SIGINT):
        with subprocess.Popen(
            command, env=environment(folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as server:
            line = server.stdout.readline()
            url = line.split()[-1]
            assert get(f"{url}/readyz").status_code == 200
            server.send_signal(number)
            assert server.wait(timeout=15) == 0
            assert "Traceback" not in server.stderr.read()
        assert not (folder / "server.json").exists()


def test_a_streams_reader_does_not_hold_up_the_end(folder):
    agentspan("server", "start", folder=folder, AGENTSPAN_DRAIN_SECONDS="0.5")
    url = record.find(folder).url
    config = {"name": "a", "model": "scripted/slow"}
    (folder / "scripts").mkdir()
    (folder / "scripts" / "a.json").write_text('{"slow": [{"content": "x", "delay_ms": 60000}]}')
    body = {"agentConfig": config, "prompt": "Hi"}
    execution_id = httpx.post(f"{url}/api/agent/start", json=body, trust_env=False).json()["executionId"]
    with httpx.Client(trust_env=False) as http, http.stream("GET", f"{url}/api/agent/stream/{execution_id}") as answer:
        next(answer.iter_raw())
        begun = time.monotonic()
        assert agentspan("server", "stop", folder=folder).returncode == 0
        assert time.monotonic() - begun < 10
