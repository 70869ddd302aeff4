"""The database goes away, the disk is full, the clock goes back: the server stays, says so, and goes on afterwards."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psutil
import pytest

from tests.acceptance.processes import ROOT, Process, Server, eventually, free_port, serving, worker_tool
from tests.postgres import Postgres, run

Json = dict[str, Any]

SCRIPT = [{"tool_calls": [{"name": "look"}]}, {"content": "Seen: {result}.", "delay_ms": 50}]


def looker(server: Server) -> Json:
    return {"name": "looker", "model": server.script("look", SCRIPT), "tools": [worker_tool("look")]}


def start(server: Server, config: Json) -> tuple[int, Json]:
    """The status and the body of a start."""
    answer = server.http.post("/api/agent/start", json={"agentConfig": config, "prompt": "Hi"})
    return answer.status_code, answer.json()


def check_unavailable(server: Server, config: Json) -> None:
    """Nothing can be written: the server lives, says so, and is not ready for work."""
    status, body = start(server, config)
    assert (status, body["retryable"]) == (503, True), body
    assert "database" in body["message"]
    assert server.http.get("/livez").status_code == 200
    assert server.http.get("/health").json()["healthy"] is True
    assert server.exit_code is None


@pytest.mark.timeout(120)
def test_a_database_that_goes_away_is_waited_for_and_the_run_goes_on(tmp_path: Path, own_postgres: Postgres) -> None:
    with serving(tmp_path / "data", own_postgres.url) as server:
        config = looker(server)
        waiting, thinking = server.run(config), server.run({**config, "model": server.script("slow", slow())})
        task = server.lease("look")
        own_postgres.stop(crash=True)
        check_unavailable(server, config)
        assert server.http.get("/readyz").status_code == 503
        assert server.http.get(f"/api/agent/{waiting}/status").status_code == 503
        assert server.http.get("/actuator/health").json()["status"] == "DOWN"
        own_postgres.start()
        eventually(server.is_ready, "a server that is ready again", 15)
        assert server.report(task, {"result": "green"})["landed"]
        server.report(server.lease("look"), {"result": "blue"})
        assert server.result(waiting)["output"]["result"] == "Seen: green."
        assert server.result(thinking)["output"]["result"] == "Seen: blue."
        assert start(server, config)[0] == 200


def slow() -> list[Json]:
    return [{**SCRIPT[0], "delay_ms": 1500}, SCRIPT[1]]


@pytest.mark.timeout(120)
def test_a_worker_of_the_sdk_bears_a_database_that_goes_away(tmp_path: Path, own_postgres: Postgres) -> None:
    from agentspan.agents import Agent, AgentRuntime, tool

    reached, release = threading.Event(), threading.Event()

    @tool
    def look() -> str:
        """Look."""
        reached.set()
        release.wait(30)
        return "patient"

    with serving(tmp_path / "data", own_postgres.url) as server, AgentRuntime(server_url=server.url) as runtime:
        handle = runtime.start(Agent(name="looker", model=server.script("look", SCRIPT), tools=[look]), "Look.")
        assert reached.wait(20)
        own_postgres.stop(crash=True)
        release.set()
        eventually(lambda: server.http.get("/readyz").status_code == 503, "a server that is not ready")
        own_postgres.start()
        result = handle.join(40)
        assert (result.output["result"], result.tool_calls[0]["attempts"]) == ("Seen: patient.", 1)


@contextmanager
def no_room(server: Server) -> Iterator[None]:
    """No file of the server may grow, nor be written beyond its first byte."""
    process = psutil.Process(server.pid)
    before = process.rlimit(psutil.RLIMIT_FSIZE)
    process.rlimit(psutil.RLIMIT_FSIZE, (1, before[1]))
    try:
        yield
    finally:
        process.rlimit(psutil.RLIMIT_FSIZE, before)


@pytest.mark.skipif(not hasattr(psutil, "RLIMIT_FSIZE"), reason="no limits of other processes here")
def test_a_server_that_may_not_write_says_so_and_recovers(tmp_path: Path, sqlite_url: str) -> None:
    with serving(tmp_path / "data", sqlite_url) as server:
        config = looker(server)
        execution_id = server.run(config)
        task = server.lease("look")
        with no_room(server):
            check_unavailable(server, config)
            result = {"taskId": task["taskId"], "status": "COMPLETED", "outputData": {"result": "green"}}
            assert server.http.post("/api/tasks", json=result).status_code == 503
            assert server.get(f"/api/agent/{execution_id}/status")["status"] == "RUNNING"
        assert server.report(task, {"result": "green"})["landed"]
        assert server.result(execution_id)["output"]["result"] == "Seen: green."
        server.kill()
        server.ready()
        assert server.result(execution_id)["output"]["result"] == "Seen: green."


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small disk can only be mounted by root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="needs tmpfs")
def test_a_full_disk_is_said_and_survived(tmp_path: Path, small_disk: Path) -> None:
    database = f"sqlite:///{(small_disk / 'agentspan.db').as_posix()}"
    with serving(tmp_path / "data", database) as server:
        config = looker(server)
        execution_id = server.run(config)
        task = server.lease("look")
        filler = small_disk / "filler"
        with filler.open("wb", buffering=0) as file:
            try:
                while file.write(b"x" * 4096):
                    pass
            except OSError:
                pass
        for _ in range(30):
            status, body = start(server, {**config, "metadata": {"padding": "x" * 30_000}})
            if status != 200:
                break
        assert status == 503, body
        check_unavailable(server, {**config, "metadata": {"padding": "y" * 100_000}})
        filler.unlink()
        assert server.report(task, {"result": "green"})["landed"]
        assert server.result(execution_id)["output"]["result"] == "Seen: green."


# What stops a start


def refusal(server: Server) -> str:
    """The one sentence with which a server does not start."""
    server.start()
    assert server.wait(30) == 1, server.said()
    said = [line for line in server.said().splitlines() if line.strip()]
    assert said[-1].startswith("agentspan: "), said
    assert "Traceback" not in server.said()
    return said[-1]


@contextmanager
def another(folder: Path, database: str) -> Iterator[Server]:
    server = Server(folder, database)
    try:
        yield server
    finally:
        server.close()


def test_a_port_that_is_taken_stops_the_start_with_a_sentence(tmp_path: Path, sqlite_url: str) -> None:
    with serving(tmp_path / "one", sqlite_url) as first, another(tmp_path / "two", sqlite_url + "2") as second:
        second.arguments[second.arguments.index("--port") + 1] = str(first.port)
        sentence = refusal(second)
        assert str(first.port) in sentence
        assert "is taken" in sentence
        assert "--port" in sentence
        assert first.is_ready()


def test_an_sqlite_file_of_another_server_stops_the_start_with_a_sentence(tmp_path: Path, sqlite_url: str) -> None:
    with serving(tmp_path / "one", sqlite_url) as first, another(tmp_path / "two", sqlite_url) as second:
        sentence = refusal(second)
        assert "agentspan.db is in use by another agentspan server" in sentence
        assert str(first.pid) in sentence
        assert first.is_ready()
        first.kill()
        second.ready()


def test_a_wrong_password_stops_the_start_without_telling_it(tmp_path: Path, own_postgres: Postgres) -> None:
    parts = urlsplit(own_postgres.url)
    run(own_postgres.url, "create role guest login password 'right'")
    settings = Path(own_postgres.folder) / "data" / "pg_hba.conf"
    settings.write_text("local all postgres trust\nlocal all all scram-sha-256\nhost all all all scram-sha-256\n")
    run(own_postgres.url, "select pg_reload_conf()")
    wrong = urlunsplit(parts._replace(netloc="guest:wr0ng-one@" + parts.netloc.rpartition("@")[2]))
    with another(tmp_path / "data", wrong) as server:

        def is_refused() -> str:
            sentence = refusal(server)
            return sentence if "password" in sentence else ""

        sentence = eventually(is_refused, "the refusal", 20)
        assert "the password is wrong" in sentence
        assert "AGENTSPAN_DATABASE_URL" in sentence
        assert "wr0ng-one" not in server.said()


def test_a_database_that_nobody_serves_stops_the_start_with_a_sentence(tmp_path: Path) -> None:
    with another(tmp_path / "data", f"postgresql://me@127.0.0.1:{free_port()}/agents") as server:
        assert "is it running?" in refusal(server)


# Time


@pytest.fixture(scope="session")
def clock_library() -> Path:
    """A library that lies to a process about the time, from a package; fetched once, and kept."""
    folder = ROOT / ".cache" / "libfaketime"
    name = "libfaketime/vendor/libfaketime/src/libfaketime.so.1"
    if not (folder / name).exists():
        install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--only-binary", ":all:", "--target"]
        got = subprocess.run([*install, str(folder), "libfaketime==3.0.1"], capture_output=True, check=False)
        if got.returncode:
            pytest.skip("libfaketime has no wheel for this machine")
    return folder / name


@pytest.mark.skipif(sys.platform != "linux", reason="libfaketime's wheel is for Linux")
@pytest.mark.timeout(90)
def test_a_clock_that_goes_back_an_hour_stops_nothing(tmp_path: Path, database_url: str, clock_library: Path) -> None:
    now = tmp_path / "now"
    now.write_text("+0")
    environ = {
        "LD_PRELOAD": str(clock_library), "FAKETIME_TIMESTAMP_FILE": str(now), "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1",
    }  # fmt: skip
    probe = Process([sys.executable, "-c", "import time; print(time.time())"], tmp_path / "probe", environ)
    now.write_text("-3600")
    probe.start()
    assert probe.wait(20) == 0, probe.said()
    if abs(time.time() - 3600 - float(probe.said())) > 60:
        pytest.skip("libfaketime does not work here")
    now.write_text("+0")
    with serving(tmp_path / "data", database_url, environ) as server:
        config = looker(server)
        before, leased = server.run(config), server.run(config)
        task = server.lease("look", "quick", leaseSeconds=60)
        now.write_text("-3600")
        after = server.run({**config, "model": server.script("slow", slow())})
        for number in range(2):
            server.report(server.lease("look", leaseSeconds=60), {"result": number})
        assert server.report(task, {"result": "green"})["landed"]
        for each in (before, leased, after):
            assert server.result(each)["status"] == "COMPLETED"
            stamps = [event["timestamp"] for event in server.get(f"/api/agent/{each}/events")["events"]]
            assert stamps == sorted(stamps)
        # Time goes on all the same: a lease ends, and a failed call is tried again after its delay.
        quick = {**worker_tool("look"), "retryCount": 1, "retryDelaySeconds": 0.3}
        again = server.run({**config, "tools": [quick]})
        lost = server.lease("look", "silent", leaseSeconds=0.5)
        second = server.lease("look", "w2")
        assert not server.report(lost, {"result": "late"}, "silent")["landed"]
        server.report(second, {}, "w2", status="FAILED")
        server.report(server.lease("look", "w3"), {"result": "third"}, "w3")
        assert server.result(again)["output"]["result"] == "Seen: third."
