"""A planted secret: after runs that use it, that leak it and that fail, it is nowhere that anybody can look."""

import base64
import gzip
import html
import http.server
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import psutil
import pytest
import sqlalchemy as sa

from agentspan.agents import (
    Agent,
    AgentConfig,
    AgentRuntime,
    CallbackHandler,
    CredentialFile,
    Guardrail,
    GuardrailResult,
    get_secret,
    http_tool,
    tool,
)
from agentspan.engine.signing import SHORTEST_SECRET
from tests.acceptance.processes import Server, serving, worker_tool

CANARY = 'c4n4ry/+=&?"sk-0123456789äö'
HOOK = "whsec-c4n4ry-of-a-webhook/+="
HEADER = "c4n4ry-of-a-header-0123456789/+="
MASTER = base64.b64encode(b"a master key of thirty-two bytes").decode()
PROGRAM = "import os; print(os.environ['KEY'])"
PAGES = (
    "/api/agent/{id}/status",
    "/api/agent/{id}/result",
    "/api/agent/{id}/events",
    "/api/agent/{id}/steps",
    "/api/agent/{id}/export",
    "/api/agent/stream/{id}",
    "/api/agent/execution/{id}",
    "/api/agent/executions/{id}",
    "/api/agent/executions/{id}/full",
    "/api/agent/executions/{id}/tasks",
    "/api/agent/executions/{id}/credentials",
    "/api/workflow/{id}",
    "/api/agent/executions",
    "/api/workflow/search",
    "/api/credentials",
    "/api/credentials/KEY",
    "/api/inbox",
    "/api/tasks/queue/all/verbose",
    "/metrics",
    "/actuator/prometheus",
    "/openapi.json",
)


class Outside:
    """A site that answers with what it was asked, and that takes traces as a collector does; all that came is kept."""

    def __init__(self) -> None:
        self.headers: list[str] = []
        self.traces: list[bytes] = []
        outside = self

        class Site(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.path == "/v1/traces":
                    is_zipped = self.headers.get("Content-Encoding") == "gzip"
                    outside.traces.append(gzip.decompress(body) if is_zipped else body)
                    return self.say(200, b"")
                outside.headers.append(self.headers["Authorization"])
                said = self.headers["Authorization"].encode("latin-1", "replace")
                return self.say(403 if self.path == "/refuses" else 200, said)

            def say(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.site = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
        self.url = f"http://127.0.0.1:{self.site.server_address[1]}"


@pytest.fixture
def outside() -> Iterator[Outside]:
    outside = Outside()
    thread = threading.Thread(target=outside.site.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield outside
    outside.site.shutdown()
    outside.site.server_close()
    thread.join()


@pytest.fixture
def server(tmp_path: Path, database_url: str, outside: Outside) -> Iterator[Server]:
    """A server that logs and traces all it can, and keeps the canary as KEY, and as HEADER what fits into one."""
    environ = {
        "AGENTSPAN_LOG_LEVEL": "debug",
        "AGENTSPAN_MASTER_KEY": MASTER,
        "OTEL_EXPORTER_OTLP_ENDPOINT": outside.url,
        "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "true",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    with serving(tmp_path / "data", database_url, environ) as server:
        for name, value in (("KEY", CANARY), ("HEADER", HEADER)):
            assert server.http.put(f"/api/credentials/{name}", json={"value": value}).status_code == 200
        yield server


def forms(secret: str) -> list[bytes]:
    """What gives it away: as text in many spellings, in hexadecimal, in base64 from each place of a longer text."""
    data = secret.encode()
    quoted = [quote(secret), quote(secret, safe=""), json.dumps(secret)[1:-1], json.dumps(json.dumps(secret))[3:-3]]
    lower = [quote(secret).lower(), quote(secret, safe="").lower()]
    texts = [secret, *quoted, *lower, html.escape(secret), data.hex(), data.hex().upper()]
    encoded = [data.decode().encode("utf-16-le")]
    for before, unsure in ((0, 0), (1, 2), (2, 3)):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            encoded.append(encode(bytes(before) + data)[unsure : (before + len(data)) * 8 // 6])
    return [*(text.encode() for text in texts), *encoded]


def found(places: dict[str, bytes], *secrets: str) -> list[str]:
    """Where one of the secrets can be read."""
    wanted = [form for secret in secrets for form in forms(secret)]
    return [place for place, data in places.items() if any(form in data for form in wanted)]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows(url: str) -> dict[str, bytes]:
    """Every table, as bytes."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        names = sa.inspect(connection).get_table_names()
        tables = {name: connection.execute(sa.text(f'select * from "{name}"')).all() for name in names}
    return {f"table {name}": b"\n".join(plain(cell) for row in found for cell in row) for name, found in tables.items()}


def plain(cell: Any) -> bytes:
    return bytes(cell) if isinstance(cell, bytes | memoryview) else str(cell).encode()


def pages(server: Server, *executions: str) -> dict[str, bytes]:
    """What the server answers: the pages of these runs, which must be there, and all others that can be read."""
    paths = dict.fromkeys(page.format(id=each) for page in PAGES for each in executions)
    shown = {path: server.http.get(path) for path in paths}
    assert {path: each.status_code for path, each in shown.items() if not each.is_success} == {}
    return {path: each.content for path, each in shown.items()} | others(server, executions[0])


def others(server: Server, execution: str) -> dict[str, bytes]:
    """What every route that reads says, with this run or KEY in its path; of streams, how they begin."""
    found = {}
    for path, verbs in server.get("/openapi.json")["paths"].items():
        if "get" not in verbs or any(word in path for word in ("poll", "pause", "resume", "/ui")):
            continue
        names = {"execution_id": execution, "workflow_id": execution, "id": execution, "tree": execution, "name": "KEY"}
        at = path
        for name in [part.partition("}")[0] for part in path.split("{")[1:]]:
            at = at.replace(f"{{{name}}}", names.get(name, execution))
        found[at] = begun(server, at)
    return found


def begun(server: Server, path: str) -> bytes:
    said = b""
    with suppress(httpx.ReadTimeout), server.http.stream("GET", path, timeout=httpx.Timeout(10, read=0.5)) as answer:
        for piece in answer.iter_raw():
            said += piece
    return said


@contextmanager
def watched() -> Iterator[dict[str, bytes]]:
    """What each process shows: its command line, and the environment that it was started with. A tool's own program
    has what the tool gives it."""
    seen: dict[str, bytes] = {}
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.05):
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.Error, OSError):
                    if PROGRAM in process.cmdline():
                        continue
                    # The master key is in the server's own environment, where its operator put it.
                    environ = {name: each for name, each in process.environ().items() if name != "AGENTSPAN_MASTER_KEY"}
                    seen[f"process {process.pid}"] = f"{process.cmdline()} {environ}".encode()

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def command(server: Server, *arguments: str) -> bytes:
    """What a command says to the server's people."""
    environ = {
        **server.environ,
        "AGENTSPAN_MASTER_KEY": MASTER,
        "AGENTSPAN_SERVER_URL": server.url,
        "AGENTSPAN_DATABASE_URL": server.database,
        "AGENTSPAN_DATA_DIR": str(server.folder),
    }
    done = subprocess.run(
        [sys.executable, "-m", "agentspan.cli.main", *arguments], capture_output=True, timeout=60, env=environ
    )
    assert done.stdout, done.stderr
    return done.stdout + done.stderr


def shouted(value: str) -> list[Any]:
    """Every way to say it."""
    data = value.encode()
    shifted = [base64.b64encode(b"user:"[:length] + data).decode() for length in range(4)]
    quoted = [quote(value, safe=""), quote(value).lower(), json.dumps({"a": json.dumps([value])}), html.escape(value)]
    return [value, *shifted, *quoted, data.hex(), data.hex().upper(), {value: [value]}, repr(value)]


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    for number, form in enumerate(forms(CANARY)):
        (tmp_path / str(number)).write_bytes(b"before" + form + b"after")
    assert len(found(files(tmp_path), CANARY)) == len(forms(CANARY))
    for value in (CANARY, HEADER, HOOK):
        texts = [each if isinstance(each, str) else json.dumps(each) for each in shouted(value)]
        assert [each for each in texts if not found({"said": each.encode()}, value)] == []


class Talks(CallbackHandler):
    def on_agent_start(self, **given: Any) -> None:
        raise RuntimeError(f"cannot tell {get_secret('KEY')}")


def test_a_planted_secret_is_nowhere_to_be_read(
    server: Server, database_url: str, tmp_path: Path, outside: Outside, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    used: list[Any] = []

    @tool(credentials=["KEY"], isolated=False)
    def uses() -> str:
        """Use it as it should be."""
        used.append(get_secret("KEY") == os.environ["KEY"] == CANARY)
        return "done"

    @tool(credentials=["KEY", CredentialFile("HEADER", "header.txt")])
    def leaks() -> Any:
        """Say it in every way."""
        for each in shouted(get_secret("KEY")):
            print(each)
        subprocess.run([sys.executable, "-c", PROGRAM], check=True)
        return [shouted(get_secret("KEY")), Path(os.environ["HEADER"]).read_text(), dict(os.environ)]

    @tool(credentials=["KEY"], retry_count=1, retry_delay_seconds=0)
    async def fails() -> None:
        """Say it in an error."""
        raise RuntimeError(f"401 for https://api/?key={quote(get_secret('KEY'), safe='')} with {get_secret('KEY')!r}")

    def checks(text: str) -> GuardrailResult:
        return GuardrailResult(passed=False, message=f"not without {get_secret('KEY')}")

    sends = {"Authorization": "Bearer ${HEADER}"}
    names = ("uses", "leaks", "fails", "asks", "is_refused")
    calls = [{"tool_calls": [{"name": name, "arguments": {}}]} for name in names]
    model = server.script("canary", [*calls, {"content": "At last: {result}"}, {"content": "Again."}])
    agent = Agent(
        "canary",
        model,
        tools=[
            uses,
            leaks,
            fails,
            http_tool("asks", "Ask.", outside.url, headers=sends, credentials=["HEADER"]),
            http_tool("is_refused", "Ask.", f"{outside.url}/refuses", "POST", headers=sends, credentials=["HEADER"]),
        ],
        callbacks=[Talks()],
        guardrails=[Guardrail(checks, on_fail="retry", max_retries=1)],
    )
    with watched() as processes, AgentRuntime(config=AgentConfig(server_url=server.url, log_level="DEBUG")) as runtime:
        result = runtime.run(agent, "go", credentials=["KEY"], timeout=60)
        kept = {name: str(runtime.export(result.execution_id, tmp_path / name)) for name in ("run.ipynb", "run.html")}
    assert used == [True]
    assert outside.headers == [f"Bearer {HEADER}"] * len(outside.headers) != []
    assert "${KEY}" in repr(result)

    ours, token = foreign(server)
    hooked(server)
    refuse(server)
    run = result.execution_id
    commands = (
        "doctor", "credentials list", f"tail {run} --output json", f"show {run} --output json",
        f"export {run} {tmp_path / 'run.json'}", f"db backup {tmp_path / 'kept.db'}",
    )  # fmt: skip
    places = {
        **pages(server, result.execution_id, ours),
        **rows(database_url),
        **processes,
        **{line: command(server, *line.split()) for line in commands},
        "the result": repr(result).encode() + json.dumps(result._repr_mimebundle_()).encode(),
        "the worker's log": caplog.text.encode(),
        "traces": b"".join(outside.traces),
        **files(tmp_path),
    }
    wanted = {f"/api/agent/{ours}/events", "table events", "table secrets", "table hooks", "doctor", *kept.values()}
    assert wanted <= places.keys()
    assert b"Use it as it should be" in places["table specs"]
    assert b"execute_tool" in places["traces"]
    assert b"cannot tell ${KEY}" in places["the worker's log"]
    assert found(places, CANARY, HEADER, HOOK, token, MASTER) == []


def refuse(server: Server) -> None:
    """Say it where it cannot be taken; the answers, and the log, do not say it again."""
    for body in (
        {"name": "KEY", "value": [CANARY]},
        {"name": CANARY, "value": 1},
        {"name": "KEY", "value": f"{CANARY}\0"},
    ):
        refused = server.http.post("/api/credentials", json=body)
        assert refused.status_code == 400
        if body["name"] == "KEY":
            assert found({"the answer": refused.content}, CANARY) == []


def hooked(server: Server) -> None:
    """A webhook with a secret, called with a wrong signature."""
    assert len(HOOK) >= SHORTEST_SECRET
    server.post("/api/agent/deploy", {"agentConfig": {"name": "hooked", "model": server.script("hooked", ["ok"])}})
    assert server.http.put("/api/hooks/KEY", json={"agent": "hooked", "secret": HOOK}).is_success
    assert server.http.post("/api/hooks/KEY", headers={"X-Agentspan-Signature": "sha256=00"}).status_code == 401


def foreign(server: Server) -> tuple[str, str]:
    """A run whose worker asks for the secret by the token: the run, and the token."""
    fetch = {**worker_tool("fetch"), "config": {"credentials": ["KEY"]}}
    call = {"tool_calls": [{"name": "fetch", "arguments": {}}]}
    execution = server.run(
        {"name": "foreign", "model": server.script("fetch", [call, {"content": "ok"}]), "tools": [fetch]}
    )
    task = server.lease("fetch")
    token = task["inputData"]["__agentspan_ctx__"]["execution_token"]
    assert server.post("/api/credentials/resolve", {"token": token, "names": ["KEY"]}) == {"KEY": CANARY}
    server.report(task, {"result": shouted(CANARY), "logs": CANARY})
    assert server.result(execution)["status"] == "COMPLETED"
    return execution, token
