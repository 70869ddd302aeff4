"""How much waits at once in one server: model calls, runs, and what that costs; a thousand, ten thousand in full."""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance import fill
from tests.acceptance.processes import Process, Server, eventually, serving, worker_tool
from tests.acceptance.provider import Asked, Reply, providing
from tests.sizes import size, sized

Json = dict[str, Any]

REAL, SCRIPTED = size(60, 250), size(190, 750)
WAITING = size(2_000, 10_000)
SLOW_SECONDS = float(size(10, 25))
MOST_MB = 500
MOST_MORE_SECONDS = 1.0
MOST_MORE_MB = 30


def start_many(server: Server, config: Json, number: int) -> None:
    """Start so many runs, some at a time."""
    body = json.dumps({"agentConfig": config, "prompt": "Wait."}).encode()
    headers = {"Content-Type": "application/json"}
    with httpx.Client(base_url=server.url, timeout=60, trust_env=False) as http, ThreadPoolExecutor(16) as pool:

        def start(_: int) -> int:
            return http.post("/api/agent/start", content=body, headers=headers).status_code

        assert set(pool.map(start, range(number))) == {200}


def best_of(server: Server, config: Json, times: int) -> float:
    """The quickest of some runs from start to end, in seconds."""
    found = []
    for _ in range(times):
        began = time.monotonic()
        assert server.result(server.run(config))["status"] == "COMPLETED"
        found.append(time.monotonic() - began)
    return min(found)


@sized
@pytest.mark.timeout(180)
def test_many_agents_wait_for_slow_models_in_one_server(tmp_path: Path, sqlite_url: str) -> None:
    def slow(asked: Asked) -> Reply:
        return Reply("At last.", seconds=SLOW_SECONDS)

    with providing(slow) as provider, serving(tmp_path / "data", sqlite_url, {"OPENAI_API_KEY": "key"}) as server:
        quick = {"name": "quick", "model": server.script("quick", [{"content": "Quick."}])}
        waits = {"content": "At last.", "delay_ms": SLOW_SECONDS * 1000}
        scripted = {"name": "patient", "model": server.script("patient", [waits])}
        real = {"name": "patient", "model": "openai/slow", "baseUrl": provider.url}
        before = best_of(server, quick, 20)
        start_many(server, real, 1)
        eventually(lambda: provider.open == 1, "the first call through litellm", 60)
        start_many(server, real, REAL - 1)
        start_many(server, scripted, SCRIPTED)
        eventually(lambda: provider.open >= REAL - 1, "all calls at the provider", 60)
        running = server.get("/api/agent/executions", params={"status": "RUNNING", "size": 1})["totalHits"]
        rss, meanwhile = server.rss_mb(), best_of(server, quick, 20)
        print(f"{running} waiting, {provider.open} of them at the provider: {rss:.0f} MB;", end=" ")
        print(f"a run of its own took {before * 1000:.1f} ms before and {meanwhile * 1000:.1f} ms meanwhile")
        assert running >= 0.99 * (REAL + SCRIPTED)
        assert rss < MOST_MB
        assert meanwhile < 3 * before + 0.01

        def ended() -> bool:
            page = server.get(
                "/api/agent/executions", params={"status": "COMPLETED", "agentName": "patient", "size": 1}
            )
            return bool(page["totalHits"] == REAL + SCRIPTED)

        eventually(ended, "the end of all", 90)
        assert len(provider.asked) == REAL


@sized
@pytest.mark.timeout(300)
def test_many_waiting_runs_cost_no_time_and_no_memory_at_a_restart(tmp_path: Path, database_url: str) -> None:
    with serving(tmp_path / "data", database_url) as server:
        server.kill()
        empty_seconds = server.ready()
        server.get("/api/agent/executions", params={"size": 1})
        empty_mb, empty_cpu = server.rss_mb(), server.cpu_seconds()
        model = server.script("one", [{"tool_calls": [{"name": "look"}]}, {"content": "Seen: {result}."}])
        config = {"name": "waiter", "model": model, "tools": [worker_tool("look")]}
        server.end()
        began = time.monotonic()
        filling = Process(
            [
                sys.executable,
                str(Path(fill.__file__)),
                database_url,
                str(server.folder),
                json.dumps(config),
                str(WAITING),
            ],
            tmp_path / "fill.out",
        )
        filling.start()
        assert filling.wait(120) == 0, filling.said()
        filled = time.monotonic() - began
        seconds = server.ready()
        assert server.get("/api/tasks/queue/all") == {"look": WAITING}
        mb, cpu = server.rss_mb(), server.cpu_seconds()
        print(f"filled in {filled:.1f} s; ready after {seconds:.2f} s (empty: {empty_seconds:.2f} s),", end=" ")
        print(f"{mb:.0f} MB (empty: {empty_mb:.0f} MB)")
        # By its own work, not by the clock: the machine may be busy.
        assert cpu - empty_cpu < MOST_MORE_SECONDS, (cpu, empty_cpu)
        assert mb - empty_mb < MOST_MORE_MB
        task = server.lease("look")
        assert server.report(task, {"result": "green"})["landed"]
        assert server.result(task["workflowInstanceId"])["output"]["result"] == "Seen: green."
