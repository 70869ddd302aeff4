"""Processes as people run them: a server to start, kill and ask over HTTP, and programs beside it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil

Json = dict[str, Any]
T = TypeVar("T")

ROOT = Path(__file__).parents[2]
LOOK_SECONDS = 0.01
READY_SECONDS = 30.0


class Process:
    """A program that is started, killed and started again; what it writes is kept in `log`."""

    def __init__(self, arguments: list[str], log: Path, environ: dict[str, str] | None = None) -> None:
        self.arguments, self.log = arguments, log
        self.environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **(environ or {})}
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._child.poll() if self._child is not None else 0

    def start(self, before: Callable[[], None] | None = None) -> None:
        """Start it; `before` runs in the new process."""
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                self.arguments, env=self.environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT,
                preexec_fn=before, start_new_session=True,
            )  # fmt: skip

    def kill(self) -> None:
        """SIGKILL: it has no chance to finish anything."""
        self.end(signal.SIGKILL)

    def kill_all(self) -> None:
        """SIGKILL for it and for whatever it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.kill()

    def end(self, number: int = signal.SIGTERM, seconds: float = 20) -> int:
        """Send a signal and wait for the end; the exit code."""
        assert self._child is not None
        if self._child.poll() is None:
            self._child.send_signal(number)
        return self._child.wait(seconds)

    def wait(self, seconds: float) -> int:
        """Wait for its own end; the exit code."""
        assert self._child is not None
        return self._child.wait(seconds)

    def cpu_seconds(self) -> float:
        """What it has worked so far."""
        used = psutil.Process(self.pid).cpu_times()
        return float(used.user + used.system)

    def rss_mb(self) -> float:
        """Its resident memory."""
        return float(psutil.Process(self.pid).memory_info().rss) / (1 << 20)

    def said(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""


class Server(Process):
    """`agentspan server start --foreground` on a folder and a database, always on the same port."""

    def __init__(self, folder: Path, database: str, environ: dict[str, str] | None = None) -> None:
        self.folder, self.database, self.port = folder, database, free_port()
        self.scripts = folder / "scripts"
        self.scripts.mkdir(parents=True, exist_ok=True)
        self.url = f"http://127.0.0.1:{self.port}"
        super().__init__(
            [
                sys.executable, "-m", "agentspan.cli.main", "server", "start", "--foreground",
                "--port", str(self.port), "--data-dir", str(folder),
            ],
            folder / "server.out",
            {"AGENTSPAN_DATABASE_URL": database, **(environ or {})},
        )  # fmt: skip
        self.http = httpx.Client(base_url=self.url, timeout=30, trust_env=False, verify=False)

    def ready(self, before: Callable[[], None] | None = None) -> float:
        """Start it, and wait until it is ready; the seconds that took."""
        began = time.monotonic()
        self.start(before)
        self.answers()
        return time.monotonic() - began

    def answers(self, seconds: float = READY_SECONDS) -> None:
        """Wait until it is ready."""
        eventually(self.is_ready, f"a ready server, which said: {self.said()[-2000:]}", seconds)

    def is_ready(self) -> bool:
        if self.exit_code is not None:
            raise AssertionError(f"the server ended with {self.exit_code}: {self.said()[-2000:]}")
        try:
            return self.http.get("/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def close(self) -> None:
        if self._child is not None:
            self.kill()
        self.http.close()

    def script(self, name: str, answers: list[Json]) -> str:
        """Write a scripted model; what an agent calls it."""
        (self.scripts / f"{name}.json").write_text(json.dumps({name: answers}))
        return f"scripted/{name}"

    def get(self, path: str, **options: Any) -> Any:
        return answer(self.http.get(path, **options))

    def post(self, path: str, body: Any = None, **options: Any) -> Any:
        return answer(self.http.post(path, json=body, **options))

    def run(self, config: Json, prompt: str = "Hi", **more: Any) -> str:
        """Start a run; its id."""
        started = self.post("/api/agent/start", {"agentConfig": config, "prompt": prompt, **more})
        return str(started["executionId"])

    def result(self, execution_id: str, wait_ms: int = 20_000) -> Json:
        """The run's result, once it has ended."""
        result: Json = self.get(f"/api/agent/{execution_id}/result", params={"waitMs": wait_ms})
        return result

    def lease(self, name: str, worker: str = "w1", **more: Any) -> Json:
        """One task of a queue, which must come soon."""
        queues = {"workerId": worker, "queues": [{"name": name}], "count": 1, "timeoutMs": 10_000, **more}
        [task] = self.post("/api/tasks/poll", queues)["tasks"]
        return dict(task)

    def report(self, task: Json, output: Json, worker: str = "w1", status: str = "COMPLETED") -> Json:
        """Report a task; the receipt."""
        result = {
            "taskId": task["taskId"], "workflowInstanceId": task["workflowInstanceId"], "status": status,
            "outputData": output, "workerId": worker,
        }  # fmt: skip
        [receipt] = self.post("/api/tasks/report", {"results": [result]})["receipts"]
        return dict(receipt)


@contextmanager
def serving(folder: Path, database: str, environ: dict[str, str] | None = None) -> Iterator[Server]:
    """A server that is ready, and gone at the end."""
    server = Server(folder, database, environ)
    try:
        server.ready()
        yield server
    finally:
        server.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answer(response: httpx.Response) -> Any:
    """The JSON of a request that succeeded, or its text."""
    assert response.is_success, (response.request.url.path, response.status_code, response.text[:500])
    is_json = "json" in response.headers.get("Content-Type", "")
    return response.json() if is_json and response.content else response.text


def eventually(look: Callable[[], T], what: str, seconds: float = 10) -> T:
    """What `look` gives as soon as it is true; an assertion fails if it is not in time."""
    give_up = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < give_up, f"waited {seconds:g} s for {what}"
        time.sleep(LOOK_SECONDS)
    return found


def worker_tool(name: str, **properties: str) -> Json:
    """The definition of a tool that a worker serves, with arguments of these JSON types."""
    schema = {
        "type": "object",
        "properties": {each: {"type": kind} for each, kind in properties.items()},
        "required": list(properties),
    }
    return {"name": name, "description": f"The tool {name}.", "toolType": "worker", "inputSchema": schema}
