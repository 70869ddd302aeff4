"""`agentspan dashboard` opens a server's pages, lets who has credentials in, and runs a dashboard for any server."""

import re
import signal
import subprocess
import sys

import httpx
import psutil
import pytest

from agentspan.server import record
from tests.cli.running import agentspan, environment

KEY = {"AGENTSPAN_AUTH_KEY": "kim", "AGENTSPAN_AUTH_SECRET": "s3cret"}
# Stands in for the browser, and says what it was to open.
SAYS = {"BROWSER": "echo opened %s"}


def test_it_opens_the_local_servers_pages(folder):
    done = agentspan("dashboard", "--page", "/runs", folder=folder, **SAYS)
    assert done.returncode == 0, done.stderr
    url = record.find(folder).url
    assert f"the dashboard is at {url}/ui/runs\n" in done.stdout
    assert f"opened {url}/ui/runs" in done.stdout
    quiet = agentspan("dashboard", "--no-browser", folder=folder, **SAYS)
    assert quiet.stdout == f"the dashboard is at {url}/ui/\n"


def test_who_has_credentials_is_let_in_and_the_ticket_is_not_printed(folder):
    done = agentspan("dashboard", folder=folder, **SAYS, **KEY)
    assert done.returncode == 0, done.stderr
    url = record.find(folder).url
    assert done.stdout.startswith(f"the dashboard is at {url}/ui/\n")
    [opened] = re.findall(r"opened (\S+)", done.stdout)
    answer = httpx.get(opened, trust_env=False)
    assert (answer.status_code, answer.headers["Location"]) == (303, "ui/")
    assert "agentspan-session-" in answer.headers["Set-Cookie"]
    assert httpx.get(opened, trust_env=False).status_code == 401


def test_a_server_without_pages_is_said_to_have_none(folder):
    agentspan("server", "start", "--no-ui", folder=folder)
    done = agentspan("dashboard", folder=folder, **SAYS)
    assert done.returncode == 1
    assert "--standalone" in done.stderr
    assert "opened" not in done.stdout


@pytest.mark.parametrize("wrong", [("--page", "runs"), ("--port", "7000")])
def test_what_makes_no_sense_is_refused(folder, wrong):
    done = agentspan("dashboard", *wrong, folder=folder, **SAYS)
    assert done.returncode == 2
    assert wrong[0] in done.stderr


def test_a_dashboard_of_ones_own_shows_any_server_and_ends_with_its_command(folder):
    agentspan("server", "start", "--no-ui", folder=folder, **KEY)
    command = [sys.executable, "-m", "agentspan.cli.main", "dashboard", "--standalone", "--no-browser"]
    with subprocess.Popen(command, env=environment(folder, **KEY), stdout=subprocess.PIPE, text=True) as running:
        address = running.stdout.readline().split()[-1]
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/ui/", address)
        page = httpx.get(address, trust_env=False)
        assert page.status_code == 200
        assert "s3cret" not in page.text
        evil = {"Origin": "https://evil.example", "Upgrade": "websocket", "Connection": "Upgrade"}
        evil |= {"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}
        assert httpx.get(f"{address}ws", headers=evil, trust_env=False).status_code == 403
        [child] = psutil.Process(running.pid).children()
        running.send_signal(signal.SIGTERM)
        running.wait(10)
    psutil.wait_procs([child], timeout=2)
    assert not child.is_running()
