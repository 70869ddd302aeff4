"""Server, workers and clients are killed at any moment, and nothing is lost, doubled or mixed up."""

import json
import os
import random
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance import crew
from tests.acceptance.processes import Process, Server, serving, worker_tool
from tests.sizes import size, sized

Json = dict[str, Any]

RUNS = size(60, 200)
CLIENTS = 3
KILLS = {"server": size(3, 9), "worker": size(3, 9), "client": size(2, 6)}
CALLS = RUNS * 7
END_SECONDS = 180.0


def program(role: str, server: Server, path: Path, *numbers: str) -> Process:
    arguments = [sys.executable, str(Path(crew.__file__)), role, server.url, str(path), *numbers]
    return Process(arguments, path.with_suffix(f".{role}.out"))


def massacre(victims: dict[str, list[Process]], ledger: Path, chance: random.Random) -> Counter[str]:
    """Kill at random points of the work, at times when the last one killed has not even begun, until it is all done."""
    deaths = sorted((chance.uniform(0.01, 0.8) * CALLS, kind) for kind, number in KILLS.items() for _ in range(number))
    killed: Counter[str] = Counter()
    clients = victims["client"]
    give_up = time.monotonic() + END_SECONDS
    while any(client.exit_code != 0 for client in clients):
        assert time.monotonic() < give_up, f"not all runs ended; the server said {victims['server'][0].said()[-3000:]}"
        failed = [client.said()[-3000:] for client in clients if client.exit_code]
        assert not failed, failed
        if deaths and deaths[0][0] <= len(lines(ledger)):
            _, kind = deaths.pop(0)
            time.sleep(chance.uniform(0, 0.2))
            if living := [victim for victim in victims[kind] if victim.exit_code is None]:
                victim = chance.choice(living)
                victim.kill()
                victim.start()
                killed[kind] += 1
        time.sleep(0.02)
    assert not deaths
    return killed


@sized
@pytest.mark.timeout(300)
def test_runs_end_as_if_nobody_had_killed_server_workers_and_clients(tmp_path: Path, database_url: str) -> None:
    seed = int(os.environ.get("KILL_SEED") or random.randrange(1_000_000))
    print(f"seed {seed}")
    chance = random.Random(seed)
    server = Server(tmp_path / "data", database_url)
    server.script("stones", crew.SCRIPT)
    ledger = tmp_path / "ledger"
    numbers = [f"{number:03}" for number in range(1, RUNS + 1)]
    workers = [program("worker", server, ledger) for _ in range(2)]
    clients = [
        program("client", server, tmp_path / f"results{each}", *numbers[each::CLIENTS]) for each in range(CLIENTS)
    ]
    undisturbed = program("client", server, tmp_path / "undisturbed", "000")
    everyone = [server, *workers, *clients, undisturbed]
    try:
        server.ready()
        for worker in workers:
            worker.start()
        undisturbed.start()
        assert undisturbed.wait(30) == 0, undisturbed.said()
        began = time.monotonic()
        for client in clients:
            client.start()
        killed = massacre({"server": [server], "worker": workers, "client": clients}, ledger, chance)
        print(f"killed {dict(killed)}, ended after {time.monotonic() - began:.1f} s")
        assert killed.total() >= sum(KILLS.values()) - 2, "the work was over before the killing"
        server.answers()
        told = [json.loads(line) for each in range(CLIENTS) for line in lines(tmp_path / f"results{each}")]
        ids = {each["number"]: each["id"] for each in told}
        assert sorted(ids) == numbers
        assert {(each["number"], each["id"]) for each in told} == set(ids.items()), "a key began two runs"
        [reference] = [json.loads(line) for line in lines(tmp_path / "undisturbed")]
        check_states(server, reference["id"], ids)
        check_ledger(server, lines(ledger), [reference["id"], *ids.values()])
        everything = server.get("/api/agent/executions", params={"size": 1})
        assert everything["totalHits"] == RUNS + 1
    finally:
        for process in everyone:
            if process.exit_code is None:
                process.kill()
        server.close()


def check_states(server: Server, reference: str, ids: dict[str, str]) -> None:
    """Every run is as the undisturbed one, but for its number."""
    wanted = json.dumps(state(server, reference), sort_keys=True)
    for number, execution_id in ids.items():
        found = json.dumps(state(server, execution_id), sort_keys=True)
        assert found == wanted.replace("stone-000", f"stone-{number}"), execution_id


def state(server: Server, execution_id: str) -> Json:
    """What a run has come to, without times and ids."""
    result = server.result(execution_id, 0)
    calls = [{key: each[key] for key in ("id", "name", "args", "result", "status")} for each in result["toolCalls"]]
    assert result["status"] == "COMPLETED"
    kept = {key: result[key] for key in ("status", "output", "finishReason", "tokenUsage", "messages")}
    return {**kept, "toolCalls": calls, "tasks": completed(server, execution_id)}


def completed(server: Server, execution_id: str) -> list[tuple[str, int]]:
    """What was done, and in which turn: each model answer and each call once, whatever was lost on the way."""
    tasks = server.get(f"/api/workflow/{execution_id}")["tasks"]
    return sorted((each["taskDefName"], each["iteration"]) for each in tasks if each["status"] == "COMPLETED")


def check_ledger(server: Server, written: list[str], ids: list[str]) -> None:
    """Each call had its effect, under one key, and never again after its result was stored."""
    entries: dict[str, list[Json]] = defaultdict(list)
    for line in written:
        entry = json.loads(line)
        entries[entry["key"]].append(entry)
    ends = {}
    for execution_id in ids:
        tasks = server.get(f"/api/workflow/{execution_id}")["tasks"]
        done = [each for each in tasks if each["status"] == "COMPLETED" and each["taskType"] in ("note", "weigh")]
        assert len(done) == len(crew.SCRIPT) - 1 + 2
        ends.update({each["idempotencyKey"]: (each["endTime"], each["inputData"]["text"]) for each in done})
    assert entries.keys() == ends.keys()
    for key, same in entries.items():
        ended_at, text = ends[key]
        assert {each["text"] for each in same} == {text}
        assert all(each["at"] * 1000 < ended_at + 1 for each in same), f"{key} ran again after its result was stored"
    again = sum(len(same) - 1 for same in entries.values())
    print(f"{len(entries)} calls, {again} of them begun again because a worker died in the middle")


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_a_late_report_of_a_fenced_attempt_is_refused(tmp_path: Path, database_url: str) -> None:
    with serving(tmp_path / "data", database_url) as server:
        model = server.script("one", [{"tool_calls": [{"name": "look"}]}, {"content": "Seen: {result}."}])
        execution_id = server.run({"name": "looker", "model": model, "tools": [worker_tool("look")]})
        first = server.lease("look", "slow", leaseSeconds=0.3)
        second = server.lease("look", "quick")
        assert second["taskId"] != first["taskId"]
        assert second["idempotencyKey"] == first["idempotencyKey"]
        late = server.report(first, {"result": "too late"}, "slow")
        assert late == {"taskId": first["taskId"], "landed": False, "reason": late["reason"]}
        assert "ran out of time" in late["reason"]
        beat = server.post("/api/tasks/extend", {"taskIds": [first["taskId"]], "workerId": "slow"})
        assert beat == {"extended": [], "lost": [first["taskId"]]}
        assert server.report(second, {"result": "in time"}, "quick")["landed"]
        assert server.result(execution_id)["output"]["result"] == "Seen: in time."
        assert not server.report(second, {"result": "twice"}, "quick")["landed"]


def test_a_result_that_was_received_outlives_the_server(tmp_path: Path, database_url: str) -> None:
    with serving(tmp_path / "data", database_url) as server:
        model = server.script(
            "one", [{"tool_calls": [{"name": "look"}]}, {"content": "Seen: {result}.", "delay_ms": 50}]
        )
        ids = [server.run({"name": "looker", "model": model, "tools": [worker_tool("look")]}) for _ in range(5)]
        for number, _ in enumerate(ids):
            task = server.lease("look")
            assert server.report(task, {"result": number})["landed"]
            server.kill()
            server.ready()
        said = [server.result(each)["output"]["result"] for each in ids]
        assert sorted(said) == [f"Seen: {number}." for number in range(5)]
