"""A server in this process: a real engine on SQLite and real HTTP on a loopback port, with a client that asks it."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx

from agentspan.config import Settings
from agentspan.engine.tenants import Tenants
from agentspan.server.app import bind, listen, make_app
from agentspan.server.dashboard import Dashboard
from tests.schema import lay

Json = dict[str, Any]

SCRIPTS: Json = {
    "plain": [{"content": "Hello."}],
    "adder": [
        {"tool_calls": [{"name": "add", "arguments": {"a": 2, "b": 3}}]},
        {"content": "The sum is {result}."},
    ],
    "twice": [
        {
            "tool_calls": [
                {"name": "add", "arguments": {"a": 1, "b": 1}},
                {"name": "add", "arguments": {"a": 2, "b": 2}},
            ]
        },
        {"content": "Done."},
    ],
    "slow": [{"content": "At last.", "delay_ms": 60_000}],
    "broken": [{"content": "", "errors": [{"status": 401, "message": "the key is wrong"}]}],
}

ADD = {
    "name": "add",
    "description": "Add two numbers.",
    "toolType": "worker",
    "inputSchema": {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
    },
}


def agent(script: str = "plain", *tools: Json, **more: Any) -> Json:
    """The agentConfig of an agent on a scripted model."""
    return {"name": "helper", "model": f"scripted/{script}", "tools": list(tools), **more}


class Running:
    """The server, and what tests ask of it all the time."""

    def __init__(self, url: str, tenants: Tenants, settings: Settings, http: httpx.AsyncClient) -> None:
        self.url, self.tenants, self.engine, self.settings, self.http = url, tenants, tenants.home, settings, http

    async def get(self, path: str, **options: Any) -> Any:
        """The JSON of a GET that succeeds."""
        answer = await self.http.get(path, **options)
        assert answer.is_success, (path, answer.status_code, answer.text)
        return answer.json()

    async def post(self, path: str, body: Any = None, **options: Any) -> Any:
        """The JSON of a POST that succeeds; its text where it is none."""
        answer = await self.http.post(path, json=body, **options)
        assert answer.is_success, (path, answer.status_code, answer.text)
        with contextlib.suppress(ValueError):
            return answer.json()
        return answer.text

    async def start(self, config: Json | None = None, prompt: str = "Hi", **more: Any) -> str:
        """Start a run; its id."""
        started = await self.post("/api/agent/start", {"agentConfig": config or agent(), "prompt": prompt, **more})
        return str(started["executionId"])

    async def run(self, config: Json | None = None, prompt: str = "Hi", **more: Any) -> str:
        """Start a run that needs nobody, and wait for its end; its id."""
        execution_id = await self.start(config, prompt, **more)
        assert (await self.status(execution_id, 10_000))["isComplete"]
        return execution_id

    async def status(self, execution_id: str, wait_ms: int = 0) -> Json:
        status: Json = await self.get(f"/api/agent/{execution_id}/status", params={"waitMs": wait_ms})
        return status

    async def ready(self) -> None:
        """Wait until the server can work."""
        async with asyncio.timeout(15):
            while (await self.http.get("/readyz")).status_code != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def poll(self, name: str = "add", count: int = 1, wait_ms: int = 5000) -> list[Json]:
        """Lease tasks as a Conductor worker does."""
        params = {"workerid": "w1", "count": count, "timeout": wait_ms}
        tasks: list[Json] = await self.get(f"/api/tasks/poll/batch/{name}", params=params)
        return tasks

    async def complete(self, task: Json, output: Json | None = None) -> httpx.Response:
        """Report a task as done."""
        result = {
            "taskId": task["taskId"],
            "workflowInstanceId": task["workflowInstanceId"],
            "status": "COMPLETED",
            "outputData": {"result": 5} if output is None else output,
            "workerId": "w1",
        }
        return await self.http.post("/api/tasks", json=result)

    async def frames(self, execution_id: str, **options: Any) -> list[Json]:
        """The frames of a whole stream: {id?, event, data}."""
        answer = await self.http.get(f"/api/agent/stream/{execution_id}", **options)
        assert answer.status_code == 200, answer.text
        return frames(answer.text)


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait until it holds: for what another task does that tells nobody."""
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def frames(text: str) -> list[Json]:
    """The frames of a stream's text; comments apart."""
    found: list[Json] = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            found.append({**fields, "data": json.loads(fields["data"])})
    return found


@contextlib.asynccontextmanager
async def running(
    folder: Path, *, headers: Json | None = None, dashboard: Dashboard | None = None, **environ: str
) -> AsyncIterator[Running]:
    """A server on a folder, with these environment variables."""
    scripts = folder / "scripts"
    scripts.mkdir(parents=True, exist_ok=True)
    (scripts / "scripts.json").write_text(json.dumps(SCRIPTS))
    settings = Settings.load({"AGENTSPAN_DATA_DIR": str(folder), "AGENTSPAN_PORT": "0", **environ})
    if settings.sources["database_url"] == "default":
        lay(folder / "agentspan.db")
    tenants = await Tenants.open(settings)
    sockets = bind(settings)
    pages = dashboard or Dashboard(is_on=settings.ui)
    server = listen(make_app(tenants, settings, pages), sockets, settings)
    url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
    try:
        # Without certificates, which take longer to load than the server does.
        async with httpx.AsyncClient(base_url=url, timeout=20, headers=headers, trust_env=False, verify=False) as http:
            yield Running(url, tenants, settings, http)
    finally:
        await pages.stop()
        server.stop()
        await server.close_all_connections()
        await tenants.close()
