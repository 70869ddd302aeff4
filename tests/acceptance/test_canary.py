"""A planted secret: after runs that use it, that leak it and that fail, it is nowhere that anybody can look."""

import base64
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa

from agentspan.agents import Agent, AgentConfig, AgentRuntime, get_secret, tool
from tests.acceptance.processes import Server, serving, worker_tool

CANARY = 'c4n4ry/+=&?"sk-0123456789äö'
MASTER = base64.b64encode(b"a master key of thirty-two bytes").decode()
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


@pytest.fixture
def server(tmp_path: Path, database_url: str) -> Iterator[Server]:
    """A server that logs all it can, and keeps the canary as KEY."""
    environ = {"AGENTSPAN_LOG_LEVEL": "debug", "AGENTSPAN_MASTER_KEY": MASTER}
    with serving(tmp_path / "data", database_url, environ) as server:
        assert server.http.put("/api/credentials/KEY", json={"value": CANARY}).status_code == 200
        yield server


def forms(secret: str) -> list[bytes]:
    data = secret.encode()
    texts = [secret, quote(secret), quote(secret, safe=""), json.dumps(secret)[1:-1], data.hex(), data.hex().upper()]
    encoded = [base64.b64encode(data), base64.urlsafe_b64encode(data), data, data.decode().encode("utf-16-le")]
    return [*(text.encode() for text in texts), *(each.rstrip(b"=") for each in encoded)]


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
    paths = dict.fromkeys(page.format(id=each) for page in PAGES for each in executions)
    shown = {path: server.http.get(path) for path in paths}
    assert {path: each.status_code for path, each in shown.items() if not each.is_success} == {}
    return {path: each.content for path, each in shown.items()}


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    for number, form in enumerate(forms(CANARY)):
        (tmp_path / str(number)).write_bytes(b"before" + form + b"after")
    assert len(found(files(tmp_path), CANARY)) == len(forms(CANARY))


def test_a_planted_secret_is_nowhere_to_be_read(
    server: Server, database_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    used: list[bool] = []

    @tool(credentials=["KEY"])
    def uses() -> str:
        """Use it as it should be."""
        used.append(get_secret("KEY") == os.environ["KEY"] == CANARY)
        return "done"

    @tool(credentials=["KEY"])
    async def leaks() -> Any:
        """Say it in every way."""
        value = get_secret("KEY")
        print(value)
        return [value, quote(value, safe=""), base64.b64encode(value.encode()).decode(), {value: value.encode().hex()}]

    @tool(credentials=["KEY"], retry_count=1, retry_delay_seconds=0)
    def fails() -> None:
        """Say it in an error."""
        raise RuntimeError(f"401 for https://api/?key={quote(get_secret('KEY'), safe='')} with {get_secret('KEY')!r}")

    calls = [{"tool_calls": [{"name": name, "arguments": {}}]} for name in ("uses", "leaks", "fails")]
    model = server.script("canary", [*calls, {"content": "At last: {result}"}])
    with AgentRuntime(config=AgentConfig(server_url=server.url, log_level="DEBUG")) as runtime:
        result = runtime.run(Agent("canary", model, tools=[uses, leaks, fails]), "go", credentials=["KEY"], timeout=60)
    assert used == [True]
    assert "${KEY}" in repr(result)

    ours, token = foreign(server)
    for body in (
        {"name": "KEY", "value": [CANARY]},
        {"name": CANARY, "value": 1},
        {"name": "KEY", "value": f"{CANARY}\0"},
    ):
        refused = server.http.post("/api/credentials", json=body)
        assert refused.status_code == 400
        if body["name"] == "KEY":
            assert found({"the answer": refused.content}, CANARY) == []

    doctor = subprocess.run(
        [sys.executable, "-m", "agentspan.cli.main", "doctor", "--data-dir", str(server.folder)],
        capture_output=True, timeout=60, env={**server.environ, "AGENTSPAN_MASTER_KEY": MASTER},
    )  # fmt: skip
    places = {
        **pages(server, result.execution_id, ours),
        **rows(database_url),
        **files(tmp_path),
        "the result": repr(result).encode(),
        "the worker's log": caplog.text.encode(),
        "doctor": doctor.stdout + doctor.stderr,
    }
    assert {f"/api/agent/{ours}/events", "table events", "table secrets", "doctor"} <= places.keys()
    assert b"Use it as it should be" in places["table specs"]
    assert found(places, CANARY, token, MASTER) == []


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
    server.report(task, {"result": "ok"})
    assert server.result(execution)["status"] == "COMPLETED"
    return execution, token
