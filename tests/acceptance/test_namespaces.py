"""A server on a machine of its own, as far as the network goes: its packets to the database are lost, and it is told
nothing of that. For root on Linux."""

import base64
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.cluster import SILENCE_SECONDS, Cluster, Link
from tests.acceptance.processes import Server, eventually
from tests.postgres import Postgres

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs root on Linux"),
]

KEY = base64.b64encode(bytes(32)).decode()
SPACE = f"agentspan{os.getpid()}"
NET = os.getpid() % 60 * 4
"""Each process that tests has addresses of its own."""
PATIENCE_SECONDS = 20.0
"""What the kernel and we take together to give up a connection: ten seconds without an answer."""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextmanager
def cable(name: str, third: int) -> Iterator[tuple[str, str]]:
    """A cable between this machine and the other: the addresses of its ends."""
    here, there = f"10.213.{third}.{NET + 1}", f"10.213.{third}.{NET + 2}"
    ip("link", "add", f"{name}0", "type", "veth", "peer", "name", f"{name}1", "netns", SPACE)
    try:
        ip("addr", "add", f"{here}/30", "dev", f"{name}0")
        ip("link", "set", f"{name}0", "up")
        ip("-n", SPACE, "addr", "add", f"{there}/30", "dev", f"{name}1")
        ip("-n", SPACE, "link", "set", f"{name}1", "up")
        yield here, there
    finally:
        ip("link", "del", f"{name}0")


@pytest.fixture
def cables() -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
    """Another machine with a cable to the database and one to its visitors."""
    try:
        ip("netns", "add", SPACE)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("network namespaces are not to be had here")
    try:
        ip("-n", SPACE, "link", "set", "lo", "up")
        with cable("agsdb", 1) as database, cable("agsweb", 2) as visitors:
            yield database, visitors
    finally:
        ip("netns", "del", SPACE)


@pytest.mark.timeout(180)
def test_a_server_whose_packets_are_lost_says_so_and_its_calls_are_made_elsewhere(
    tmp_path: Path, own_postgres: Postgres, cables: tuple[tuple[str, str], tuple[str, str]]
) -> None:
    (database, _), (_, address) = cables
    the = Cluster(tmp_path / "cluster", own_postgres, 1, {}, AGENTSPAN_MASTER_KEY=KEY)
    link = Link(the.to_database, database)
    away = Server(tmp_path / "away", the.url_of(link), {**the.environ, "AGENTSPAN_ALLOW_INSECURE_BIND": "true"})
    away.arguments = ["ip", "netns", "exec", SPACE, *away.arguments, "--host", address]
    away.http.base_url = f"http://{address}:{away.port}"
    try:
        the.start()
        [near] = the.servers
        away.scripts = the.scripts
        model = away.script("slow", [{"content": "At last.", "delay_ms": 2_000 * SILENCE_SECONDS}])
        away.ready()
        run = away.run({"name": "patient", "model": model})
        eventually(lambda: near.get(f"/api/agent/{run}/status")["status"] == "RUNNING", "the run at the other server")
        ip("link", "set", "agsdb0", "down")
        assert near.result(run, 40_000)["output"]["result"] == "At last."
        eventually(lambda: away.http.get("/readyz").status_code == 503, "a server that says that it is cut off", 10)
        body = {"agentConfig": {"name": "late", "model": model}, "prompt": "Hi", "idempotencyKey": "k"}
        refused = away.http.post("/api/agent/start", json=body, timeout=PATIENCE_SECONDS)
        assert (refused.status_code, refused.json()["retryable"]) == (503, True)
        assert away.http.get("/livez").status_code == 200
        ip("link", "set", "agsdb0", "up")
        eventually(away.is_ready, "a server that is ready again", 30)
        statuses = [each["status"] for each in near.get(f"/api/workflow/{run}")["tasks"]]
        assert statuses.count("COMPLETED") == 1, statuses
        assert len(statuses) == 2, statuses
        again = away.post("/api/agent/start", body)["executionId"]
        assert near.result(again, 40_000)["output"]["result"] == "At last."
    finally:
        away.close()
        link.close()
        the.close()
