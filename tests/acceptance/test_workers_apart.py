"""Worker processes as operators start them: the server's own work apart from its API, and the tools of modules."""

import signal
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.cluster import Reader
from tests.acceptance.processes import Process, Server, eventually, free_port, serving, worker_tool

Json = dict[str, Any]

SCRIPT = [{"tool_calls": [{"name": "look"}]}, {"content": "Seen: {result}, and that was all.", "chunk_ms": 100}]


@contextmanager
def worker(folder: Path, *arguments: str, **environ: str) -> Iterator[Process]:
    """`agentspan worker`, gone at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    process = Process(
        [sys.executable, "-m", "agentspan.cli.main", "worker", *arguments], folder / "worker.out", environ
    )
    process.start()
    try:
        yield process
    finally:
        process.kill()


def tokens(url: str, execution_id: str) -> list[str]:
    """The pieces that a reader of a stream is shown while answers are written."""
    found, kind = list[str](), ""
    with (
        httpx.Client(base_url=url, timeout=30, trust_env=False) as http,
        http.stream("GET", f"/api/agent/stream/{execution_id}") as answer,
    ):
        for line in answer.iter_lines():
            name, _, value = line.partition(": ")
            kind = value if name == "event" else kind
            if name == "data" and kind == "token":
                found.append(value)
    return found


@pytest.mark.timeout(120)
def test_one_server_starts_another_serves_the_worker_a_third_streams_and_a_fourth_process_asks_the_model(
    tmp_path: Path, postgres_url: str
) -> None:
    scripts, port = tmp_path / "first" / "scripts", free_port()
    none = {"AGENTSPAN_WORKERS": "none", "AGENTSPAN_UI": "false", "AGENTSPAN_SCRIPTS": str(scripts)}
    with (
        serving(tmp_path / "first", postgres_url, none) as first,
        serving(tmp_path / "second", postgres_url, none) as second,
        serving(tmp_path / "third", postgres_url, none) as third,
    ):
        config = {"name": "looker", "model": first.script("look", SCRIPT), "tools": [worker_tool("look")]}
        execution = first.run(config)
        reader = Reader(third.url, execution)
        reader.start()

        def reason() -> str:
            return str(second.get(f"/api/agent/{execution}/why")["reasons"][0]["code"])

        eventually(lambda: reason() == "no_worker", "the reason that nobody asks the model")
        environ = {"AGENTSPAN_DATABASE_URL": postgres_url, "AGENTSPAN_SCRIPTS": str(scripts)}
        with worker(tmp_path / "apart", "--kinds", "llm", "--port", str(port), **environ) as apart:
            eventually(lambda: f"{port}/readyz" in apart.said(), "the worker process", 40)
            task = second.lease("look")
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as probe:
                assert [probe.get(path).status_code for path in ("/livez", "/readyz", "/metrics")] == [200, 200, 200]
                assert probe.get("/api/agent/executions").status_code == 404
            assert second.report(task, {"result": "green"})["landed"]
            shown = tokens(third.url, execution)
            assert first.result(execution)["output"]["result"] == "Seen: green, and that was all."
            assert shown, "nothing of the answer was seen at another server while it was written"
            reader.join(20)
            assert reader.ids == [each["id"] for each in first.get(f"/api/agent/{execution}/events")["events"]]
            assert apart.end(signal.SIGTERM) == 0, apart.said()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (
            ("--kinds", "llm", "--database", "sqlite:////tmp/none.db"),
            1,
            "can only be processes of their own on Postgre",
        ),
        (("--kinds", "llm,tea"), 1, "kinds of built-in workers with commas between them: llm, http, mcp"),
        (("--kinds", "llm", "some_module"), 2, "not both"),
        ((), 2, "name the modules to serve"),
        (("no_such_module",), 2, "no_such_module: ModuleNotFoundError"),
        (("nowhere.py",), 2, "there is no file nowhere.py"),
    ],
)
def test_a_worker_that_cannot_be_says_why(tmp_path: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    with worker(tmp_path, *arguments, AGENTSPAN_SERVER_URL="http://127.0.0.1:9") as process:
        assert process.wait(30) == code, process.said()
        assert words in process.said()
        assert "Traceback" not in process.said()


MODULE = """
import time
from pathlib import Path

from agentspan.agents import Agent, tool

HERE = Path(__file__).parent

@tool(isolated=False)
def look() -> str:
    '''Look.'''
    return "green"

@tool(isolated=False)
def ponder() -> str:
    '''Take long, the first time.'''
    with (HERE / "pondered").open("a") as file:
        file.write("x")
    if (HERE / "pondered").read_text() == "x":
        time.sleep(60)
    return "deep"

looker = Agent("looker", "scripted/look", tools=[look])
"""


@pytest.mark.timeout(120)
def test_a_module_is_served_and_what_does_not_end_in_time_is_given_to_another_worker(
    tmp_path: Path, sqlite_url: str
) -> None:
    file = tmp_path / "shop.py"
    file.write_text(textwrap.dedent(MODULE))
    with serving(tmp_path / "server", sqlite_url, {"AGENTSPAN_UI": "false"}) as server:
        found = {"AGENTSPAN_SERVER_URL": server.url}
        with (
            worker(tmp_path / "one", str(file), "--grace", "0.5", "--concurrency", "2", **found) as one,
            worker(tmp_path / "two", "shop", "--grace", "0.5", **found, PYTHONPATH=f"{tmp_path}:{Path.cwd()}") as two,
        ):
            eventually(lambda: "serves looker, tools" in one.said(), one.said(), 20)
            looking = server.run(
                {"name": "looker", "model": server.script("look", SCRIPT), "tools": [worker_tool("look")]}
            )
            assert server.result(looking)["output"]["result"] == "Seen: green, and that was all."
            two.end(signal.SIGTERM)
            thinking = server.run(pondering(server))
            eventually(lambda: (tmp_path / "pondered").exists(), "the tool that takes long")
            two.start()
            eventually(lambda: two.said().count("serves") == 2, "the second worker", 20)
            began = time.monotonic()
            assert one.end(signal.SIGTERM) == 0, one.said()
            assert server.result(thinking)["output"]["result"] == "Seen: deep, and that was all."
            assert time.monotonic() - began < 6, "another worker got the task only when its lease was over"
            assert "1 tasks did not end in time" in one.said()
            assert (tmp_path / "pondered").read_text() == "xx"


def pondering(server: Server) -> Json:
    script = [{"tool_calls": [{"name": "ponder"}]}, *SCRIPT[1:]]
    return {"name": "thinker", "model": server.script("ponder", script), "tools": [worker_tool("ponder")]}
