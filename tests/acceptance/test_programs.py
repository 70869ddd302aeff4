"""Random programs with misbehaving models, under SIGKILLs: each ends, or waits for what its status shows."""

import asyncio
import json
import os
import random
import re
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from agentspan.agents import AgentConfig, AgentRuntime
from agentspan.agents.exceptions import ServerUnreachableError
from tests.acceptance import improv
from tests.acceptance.improv import Program
from tests.acceptance.person import Person
from tests.acceptance.processes import Process, Server, eventually
from tests.core import legal
from tests.sizes import size, sized

Json = dict[str, Any]

PROGRAMS = int(os.environ.get("PROGRAMS") or size(120, 500))
"""On each database."""
STARTS_AT_ONCE = 20
KILLS = ("server", "worker", "server", "server", "worker", "server", "server", "worker", "server", "server")[
    : size(3, 10)
]
PAUSE_SECONDS = size(10, 30) / 10
"""At most so long between two of them."""
LONGEST_HEAD_START_SECONDS = 0.2
"""At most so long before a kill do some programs begin."""
END_SECONDS = 120.0
LOOK_SECONDS = 1.0
PATIENCE_SECONDS = 15.0
DEFECT = re.compile(
    r"Traceback|cannot be stored|(^|: )(KeyError|AttributeError|IndexError|TypeError|AssertionError|UnboundLocalError|"
    r"NotImplementedError|RecursionError|StopIteration)\b"
)
"""What no reason may say that people read: it is a defect of ours."""


class Seen(NamedTuple):
    """One execution of a program: in Conductor's words, and what was said in it."""

    number: int
    workflow: Json
    messages: list[Json]


@sized
@pytest.mark.timeout(600)
def test_random_programs_end_or_wait_for_what_their_status_shows(tmp_path: Path, database_url: str) -> None:
    seed = int(os.environ.get("PROGRAM_SEED") or random.randrange(1_000_000))
    print(f"PROGRAM_SEED={seed}")
    programs = [improv.program(seed, number) for number in range(PROGRAMS)]
    server = Server(tmp_path / "data", database_url)
    scripts = {name: answers for each in programs for name, answers in each.scripts.items()}
    (server.scripts / "all.json").write_text(json.dumps(scripts))
    arguments = [sys.executable, str(Path(improv.__file__)), server.url, str(seed), str(PROGRAMS)]
    worker = Process(arguments, tmp_path / "worker.out")
    try:
        server.ready()
        worker.start()
        began = time.monotonic()
        with Person(server.url, lambda request, before: answered(programs, request, before)) as person:
            all_ids = asyncio.run(perform(programs, server, worker, random.Random(seed)))
        print(f"settled after {time.monotonic() - began:.1f} s")
        ids = {number: execution_id for number, execution_id in enumerate(all_ids) if execution_id}
        assert len(ids) > 0.9 * PROGRAMS
        seen = look(server, ids)
        print(f"looked at {len(seen)} executions, {Counter(each.workflow['status'] for each in seen)}")
        problems = [f"p{each.number}: {problem}" for each in seen for problem in complaints(each)]
        problems += [f"p{number}: {problem}" for number, name in ids.items() for problem in unexplained(server, name)]
        problems += [f"refused: {text} for {request}" for request, text in person.refused]
        problems += [f"server: {line}" for line in server.said().splitlines() if "Traceback" in line or "Error" in line]
        assert not problems, f"PROGRAM_SEED={seed}: {len(problems)} problems\n" + "\n".join(problems[:40])
    finally:
        for process in (server, worker):
            if process.exit_code is None:
                process.kill()
        server.close()


async def perform(programs: list[Program], server: Server, worker: Process, chance: random.Random) -> list[str]:
    """Start all programs and serve them, kill on the way, and wait until nothing happens any more; the runs' ids."""
    config = AgentConfig(server_url=server.url, worker_thread_count=32)
    async with AgentRuntime(config=config) as runtime:
        await runtime.serve_async(*(each.agent for each in programs), blocking=False)
        places, started = asyncio.Semaphore(STARTS_AT_ONCE), list[str]()
        gate, loop = asyncio.Semaphore(0), asyncio.get_running_loop()

        def release(count: int) -> None:
            for _ in range(count):
                loop.call_soon_threadsafe(gate.release)

        async def one(number: int) -> str:
            """The run's id; "" if its agent refuses such a prompt."""
            await gate.acquire()
            async with places:
                while True:
                    try:
                        handle = await runtime.start_async(
                            programs[number].agent, f"program {number}", idempotency_key=f"program-{number}"
                        )
                        started.append(handle.execution_id)
                        return handle.execution_id
                    except ServerUnreachableError:
                        continue
                    except ValueError as refusal:
                        if "refused the prompt" in str(refusal):
                            return ""
                        raise

        killing = asyncio.create_task(asyncio.to_thread(massacre, server, worker, started, chance, release))
        ids = await asyncio.gather(*map(one, range(len(programs))))
        await killing
        await asyncio.to_thread(settled, server)
        return ids


def massacre(
    server: Server, worker: Process, started: list[str], chance: random.Random, release: Callable[[int], None]
) -> None:
    """Kill again and again, and meddle with runs between the kills. Before each kill some programs begin, so that there
    is something under way on a quick machine too."""
    portion = PROGRAMS // (len(KILLS) + 1)
    release(PROGRAMS - portion * len(KILLS))
    for victim in KILLS:
        end = time.monotonic() + chance.uniform(0.5, PAUSE_SECONDS)
        while time.monotonic() < end:
            if started:
                meddle(server, chance.choice(started), chance)
            time.sleep(0.05)
        begin(portion, started, release)
        time.sleep(chance.uniform(0, LONGEST_HEAD_START_SECONDS))
        process = server if victim == "server" else worker
        process.kill()
        process.start()
    server.answers()
    assert count(server, "RUNNING"), "the work was over before the killing"
    for each in server.get("/api/agent/executions", params={"status": "PAUSED", "size": 1000})["results"]:
        server.http.put(f"/api/agent/{each['executionId']}/resume")


def begin(portion: int, started: list[str], release: Callable[[int], None]) -> None:
    """Let so many programs begin, until one of them has."""
    before = len(started)
    release(portion)
    eventually(lambda: len(started) > before, "a start of the next portion", 60)


def meddle(server: Server, execution_id: str, chance: random.Random) -> None:
    """Steer a run, which may be over, of a server that may be away."""
    verb, path, body = chance.choice(MEDDLING)
    with suppress(httpx.TransportError):
        response = server.http.request(verb, f"/api/agent/{execution_id}/{path}", json=body)
        assert response.status_code in (200, 204, 404, 409, 503), (path, response.status_code, response.text)


def settled(server: Server) -> None:
    """Wait until every run has ended or waits for people alone."""
    give_up, before = time.monotonic() + END_SECONDS, -1
    while running := count(server, "RUNNING"):
        assert time.monotonic() < give_up, f"{running} runs have not come to rest"
        if running == before and not (busy := busy_runs(server)):
            return
        if running == before and time.monotonic() > give_up - 2 * LOOK_SECONDS:
            raise AssertionError(f"{len(busy)} runs neither end nor wait for people: {busy[:3]}")
        before = running
        time.sleep(LOOK_SECONDS)


def count(server: Server, status: str) -> int:
    return int(server.get("/api/agent/executions", params={"status": status, "size": 0})["totalHits"])


def busy_runs(server: Server) -> list[tuple[str, list[Json]]]:
    """The runs that wait for something else than people, with what it is."""
    page = server.get("/api/agent/executions", params={"status": "RUNNING", "size": 1000})
    ids = [each["executionId"] for each in page["results"]]
    with ThreadPoolExecutor(READERS) as threads:
        trees = threads.map(lambda execution_id: below(server, execution_id), ids)
    found = {
        name: [task for each in tree for task in opened(each) if not is_of_people(task)]
        for name, tree in zip(ids, trees, strict=True)
    }
    return [(name, tasks) for name, tasks in found.items() if tasks]


def look(server: Server, ids: dict[int, str]) -> list[Seen]:
    """All executions of all programs."""

    def tree(number: int) -> list[Seen]:
        return [
            Seen(number, each, server.result(each["workflowId"], 0)["messages"]) for each in below(server, ids[number])
        ]

    with ThreadPoolExecutor(READERS) as threads:
        return [each for tree_ in threads.map(tree, ids) for each in tree_]


def below(server: Server, execution_id: str) -> list[Json]:
    """The execution and all below it, in Conductor's words."""
    workflow = server.get(f"/api/workflow/{execution_id}")
    children = [each["subWorkflowId"] for each in workflow["tasks"] if each.get("subWorkflowId")]
    return [workflow, *(each for child in children for each in below(server, child))]


def opened(workflow: Json) -> list[Json]:
    return [each for each in workflow["tasks"] if each["status"] in ("SCHEDULED", "IN_PROGRESS")]


def is_of_people(task: Json) -> bool:
    """Does it wait for a person or a message, or for an agent that does?"""
    return task["taskType"] in ("HUMAN", "PULL_WORKFLOW_MESSAGES", "SUB_WORKFLOW")


def complaints(seen: Seen) -> list[str]:
    """What is wrong with an execution that has come to rest."""
    workflow, found = seen.workflow, []
    status, reason = workflow["status"], workflow.get("reasonForIncompletion") or ""
    if status == "RUNNING" and not opened(workflow):
        found.append("it runs and waits for nothing")
    if status != "RUNNING" and opened(workflow):
        found.append(f"it is {status} with open tasks")
    if status not in ("RUNNING", "COMPLETED") and (not reason.strip() or DEFECT.search(reason)):
        found.append(f"it is {status} for a reason that says nothing: {reason!r}")
    found += [
        f"its task {task['taskDefName']} failed for {task['reasonForIncompletion']!r}"
        for task in workflow["tasks"]
        if DEFECT.search(task.get("reasonForIncompletion") or "")
    ]
    try:
        if seen.messages:
            legal.check(seen.messages)
    except (AssertionError, KeyError, IndexError) as problem:
        found.append(f"its transcript is not legal: {problem!r}: {json.dumps(seen.messages)[:1500]}")
    return [f"{workflow['workflowId']} ({workflow['workflowName']}): {each}" for each in found]


def unexplained(server: Server, execution_id: str) -> list[str]:
    """What the status of a run that has come to rest fails to show. A person's last answer may still be at work."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while True:
        status = server.get(f"/api/agent/{execution_id}/status")
        if status["isComplete"]:
            return [] if status["finishReason"] else [f"{execution_id}: it ended without a finish reason"]
        if status["requests"]:
            return []
        if time.monotonic() > give_up:
            return [f"{execution_id}: it waits, and its status shows no request: {status}"]
        time.sleep(LOOK_SECONDS)


def answered(programs: list[Program], request: Json, before: int) -> Json | None:
    """What a person says to a random program: anything that the request allows, or nothing at all."""
    number = int(request["rootAgentName"].split("_")[0].removeprefix("p"))
    if not programs[number].answered:
        return None
    kind, dice = request["kind"], zlib.crc32(f"{request['ref']}{number}".encode())
    among = ANSWERS.get(kind) or [
        {"selected": name} for name in request["responseSchema"]["properties"]["selected"]["enum"]
    ]
    return among[dice % len(among)]


ANSWERS: dict[str, list[Json]] = {
    "approval": [{"approved": True}, {"approved": False, "reason": "no"}, {"approved": True, "arguments": {"i": 4}}],
    "question": [{"response": "blue"}, {"result": {"a": [1]}}],
    "review": [{"approved": True}, {"approved": False}, {"approved": True, "edited_output": "edited"}],
    "turn": [{"message": "my words"}, {"message": "TERMINATE"}],
    "message": [{"message": "news"}, {"data": [1, 2]}],
}
MEDDLING: tuple[tuple[str, str, Json | None], ...] = (
    *[("POST", "messages", {"message": "one more thing"})] * 4,
    *[("POST", "signal", {"message": "hurry"})] * 4,
    *[("PUT", "pause", None), ("PUT", "resume", None)] * 2,
    ("POST", "stop", None),
    ("DELETE", "cancel", None),
    ("POST", "budget", {"modelCalls": 20}),
)
READERS = 4
