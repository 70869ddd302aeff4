"""The log says what each line is about, as text or as JSON, and keeps secrets to itself."""

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE
from typing import Any

import httpx
import pytest

from agentspan.config import Settings
from agentspan.engine.about import about
from agentspan.server import logs
from tests.server.running import Running, agent, eventually, running


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """Begins a log with these settings, and gives what was written since."""
    out, root = io.StringIO(), logging.getLogger()
    before, level = list(root.handlers), root.level

    # A runtime of this process has given this logger a level of its own.
    ours = logging.getLogger("agentspan")
    own = ours.level
    ours.setLevel(logging.NOTSET)

    def begin(**environ: str) -> io.StringIO:
        monkeypatch.setattr(sys, "stderr", out)
        logs.begin(Settings.load({"AGENTSPAN_DATA_DIR": str(tmp_path), **environ}), environ)
        return out

    yield begin
    logging.captureWarnings(False)
    root.handlers[:] = before
    root.setLevel(level)
    ours.setLevel(own)


def lines(out: io.StringIO, logger: str = "agentspan") -> list[dict[str, Any]]:
    found = [json.loads(line) for line in out.getvalue().splitlines()]
    return [line for line in found if line["logger"].startswith(logger)]


def test_a_line_of_json_says_when_what_and_about_what(written: Any) -> None:
    out = written(AGENTSPAN_LOG_FORMAT="json")
    token = about.set({"execution_id": "x", "task_id": "x.t3"})
    logging.getLogger("agentspan.llm").warning("It %s\nbadly", "went")
    about.reset(token)
    [line] = lines(out)
    assert line.pop("ts").endswith("+00:00")
    assert line == {
        "level": "WARNING", "logger": "agentspan.llm", "message": "It went\nbadly", "execution_id": "x",
        "task_id": "x.t3",
    }  # fmt: skip


def test_an_exception_stands_in_its_line(written: Any) -> None:
    out = written(AGENTSPAN_LOG_FORMAT="json")
    try:
        raise ValueError("of no use")
    except ValueError:
        logging.getLogger("agentspan.server").exception("failed")
    [line] = lines(out)
    assert line["message"] == "failed"
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("ValueError: of no use")


def test_text_says_it_too(written: Any) -> None:
    out = written()
    token = about.set({"request_id": "r1"})
    logging.getLogger("agentspan.server").warning("slow")
    about.reset(token)
    assert out.getvalue().endswith("WARNING agentspan.server: slow [request_id=r1]\n")


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_secret_is_written_whoever_says_it(written: Any, form: str) -> None:
    secrets = {"AGENTSPAN_AUTH_SECRET": 'open "sesame"', "OPENAI_API_KEY": "sk-12345678", "PGPASSWORD": "hush-hush"}
    secrets["AGENTSPAN_DATABASE_URL"] = "postgresql://ada:l%40velace@localhost/runs"
    out = written(AGENTSPAN_LOG_FORMAT=form, AGENTSPAN_AUTH_KEY="kim", DB_PASSWORD="pass-word", **secrets)
    log = logging.getLogger("agentspan.server")
    log.warning('the header was "Bearer open "sesame"" and sk-12345678')
    try:
        raise RuntimeError("pass-word is wrong, and so is l@velace")
    except RuntimeError:
        log.exception("failed")
    text = out.getvalue()
    assert not [each for each in ("sesame", "sk-12345678", "pass-word", "velace") if each in text]
    assert text.count(logs.HIDDEN) >= 3


def test_every_line_of_a_server_is_json(tmp_path: Path) -> None:
    environ = {**os.environ, "AGENTSPAN_DATA_DIR": str(tmp_path), "AGENTSPAN_PORT": "0", "AGENTSPAN_UI": "false"}
    more = {"AGENTSPAN_LOG_FORMAT": "json", "AGENTSPAN_LOG_LEVEL": "debug", "PYTHONWARNINGS": "always"}
    command = [sys.executable, "-m", "agentspan.server"]
    with subprocess.Popen(command, env={**environ, **more}, stdout=PIPE, stderr=PIPE, text=True) as server:
        assert server.stdout
        url = server.stdout.readline().split()[-1]
        assert httpx.get(f"{url}/health", headers={"X-Request-Id": "r9"}, trust_env=False).status_code == 200
        server.terminate()
        _, written = server.communicate(timeout=30)
    found = [json.loads(line) for line in written.splitlines()]
    assert {"ts", "level", "logger", "message"} <= set.intersection(*(set(line) for line in found))
    assert [line["status"] for line in found if line.get("request_id") == "r9" and "status" in line] == [200]
    assert any(line["message"].startswith("draining") for line in found)


async def test_a_request_keeps_the_id_that_it_came_with(server: Running) -> None:
    answer = await server.http.get("/health", headers={"X-Request-Id": "abc-123"})
    assert answer.headers["X-Request-Id"] == "abc-123"
    missing = await server.http.get("/api/agent/nobody", headers={"X-Request-Id": "abc-124"})
    assert (missing.status_code, missing.headers["X-Request-Id"]) == (404, "abc-124")
    first, second = [(await server.http.get("/health")).headers["X-Request-Id"] for _ in range(2)]
    assert first != second


@pytest.mark.parametrize("given", ["a b", "x" * 129, "<script>", "a;b", '"'])
async def test_an_id_that_could_be_anything_is_replaced(server: Running, given: str) -> None:
    assert (await server.http.get("/health", headers={"X-Request-Id": given})).headers["X-Request-Id"] != given


async def test_a_request_in_the_log_names_its_id_its_run_and_its_tenant(written: Any, tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        execution = await server.run()
        out = written(AGENTSPAN_LOG_FORMAT="json", AGENTSPAN_LOG_LEVEL="debug")
        await server.get(f"/api/agent/{execution}/status", headers={"X-Request-Id": "r7"})
        # It is written when the answer is out.
        await eventually(lambda: "r7" in out.getvalue())
        logging.getLogger().setLevel("WARNING")
        line = next(each for each in lines(out, "agentspan.server") if each.get("request_id") == "r7")
    expected = {"execution_id": execution, "tenant": "default", "method": "GET", "status": 200}
    assert expected.items() <= line.items()
    assert line["path"] == f"/api/agent/{execution}/status"
    assert line["ms"] >= 0


async def test_a_model_call_that_breaks_names_its_run_and_task(
    written: Any, server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def breaks(*_: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr("agentspan.engine.providers.complete", breaks)
    out = written(AGENTSPAN_LOG_FORMAT="json")
    execution = await server.start(agent())
    while not lines(out, "agentspan.llm"):
        await server.status(execution, 50)
    line = lines(out, "agentspan.llm")[0]
    assert (line["execution_id"], line["task_id"].partition(".t")[0]) == (execution, execution)
    assert "RuntimeError: a defect" in line["exception"]


async def test_ids_reach_every_kind_of_answer(server: Running) -> None:
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
        for path in ("/", "/nowhere", "/metrics", "/ui/"):
            assert (await http.get(path)).headers.get("X-Request-Id"), path
