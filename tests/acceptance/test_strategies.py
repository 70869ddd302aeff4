"""Every strategy, guardrail, approval, callback and ending comes to the same end as undisturbed, whoever is killed."""

import json
import os
import random
import re
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.acceptance import plays
from tests.acceptance.person import Person
from tests.acceptance.processes import Process, Server
from tests.acceptance.test_kill import lines
from tests.sizes import size, sized

Json = dict[str, Any]

PLAYS = plays.plays()
KILLS = {"server": size(2, 4), "worker": size(2, 4), "client": size(1, 2)}
CLIENTS = 2
END_SECONDS = 120.0


def program(role: str, server: Server, path: Path, *numbered: str) -> Process:
    arguments = [sys.executable, str(Path(plays.__file__)), role, server.url, str(path), *numbered]
    return Process(arguments, path.with_suffix(f".{role}.out"))


def answered(request: Json, before: int) -> Json:
    """What a person says, by the kind of the request and how much its execution had asked before."""
    amount = request["arguments"].get("amount", 0)
    answers: Json = {
        "approval": {"approved": True, "arguments": {"amount": 8}} if amount == 9 else {"approved": amount < 5},
        "question": {"response": "blue"},
        "review": {"approved": True, "edited_output": "an even blue"},
        "selection": {"selected": ("manual_two", "manual_one", "manual_one", "DONE")[min(before, 3)]},
        "turn": {"message": f"a person's words {before}"},
        "message": {"message": f"news {before}"},
    }
    return dict(answers[request["kind"]])


@sized
@pytest.mark.timeout(300)
def test_every_play_ends_as_if_nobody_had_been_killed(tmp_path: Path, database_url: str) -> None:
    seed = int(os.environ.get("KILL_SEED") or random.randrange(1_000_000))
    print(f"seed {seed}")
    chance = random.Random(seed)
    server = Server(tmp_path / "data", database_url)
    for name, answers in plays.SCRIPTS.items():
        server.script(name, answers)
    ledger = tmp_path / "ledger"
    runs = [(name, number) for name, play in PLAYS.items() for number in range(1, size(1, play.runs) + 1)]
    chance.shuffle(runs)
    numbered = [f"{name}:{number:03}" for name, number in runs]
    workers = [program("worker", server, ledger) for _ in range(2)]
    clients = [program("client", server, tmp_path / f"told{each}", *numbered[each::CLIENTS]) for each in range(CLIENTS)]
    undisturbed = program("client", server, tmp_path / "undisturbed", *(f"{name}:000" for name in PLAYS))
    everyone = [server, *workers, *clients, undisturbed]
    try:
        server.ready()
        with Person(server.url, answered) as person:
            for worker in workers:
                worker.start()
            undisturbed.start()
            assert undisturbed.wait(60) == 0, undisturbed.said()
            wanted = {each["play"]: look(server, each["id"]) for each in told(tmp_path / "undisturbed")}
            expected = sum(len(wanted[name].ends) for name, _ in runs)
            began, before = time.monotonic(), len(lines(ledger))
            for client in clients:
                client.start()
            victims = {"server": [server], "worker": workers, "client": clients}
            killed = massacre(victims, lambda: (len(lines(ledger)) - before) / expected, chance)
            print(f"killed {dict(killed)}, ended after {time.monotonic() - began:.1f} s")
            assert killed.total() >= sum(KILLS.values()) - 2, "the work was over before the killing"
            server.answers()
        assert not person.refused
        found = [each for number in range(CLIENTS) for each in told(tmp_path / f"told{number}")]
        ids = {(each["play"], each["number"]): each["id"] for each in found}
        assert sorted(ids) == sorted((name, f"{number:03}") for name, number in runs)
        assert {(each["play"], each["number"], each["id"]) for each in found} == {(*k, v) for k, v in ids.items()}
        seen = {key: look(server, execution_id) for key, execution_id in ids.items()}
        check_states(wanted, seen)
        check_effects(
            lines(ledger), {k: at for each in (*wanted.values(), *seen.values()) for k, at in each.ends.items()}
        )
    finally:
        for process in everyone:
            if process.exit_code is None:
                process.kill()
        server.close()


def told(path: Path) -> list[Json]:
    return [json.loads(line) for line in lines(path)]


def massacre(victims: dict[str, list[Process]], done: Any, chance: random.Random) -> Counter[str]:
    """Kill at random points of the work until it is all done; `done` says how much of it is, from 0 to 1."""
    deaths = sorted((chance.uniform(0.02, 0.8), kind) for kind, number in KILLS.items() for _ in range(number))
    killed: Counter[str] = Counter()
    give_up = time.monotonic() + END_SECONDS
    while any(client.exit_code != 0 for client in victims["client"]):
        assert time.monotonic() < give_up, f"not all runs ended; the server said {victims['server'][0].said()[-3000:]}"
        failed = [client.said()[-3000:] for client in victims["client"] if client.exit_code]
        assert not failed, failed
        if deaths and deaths[0][0] <= done():
            _, kind = deaths.pop(0)
            time.sleep(chance.uniform(0, 0.2))
            if living := [victim for victim in victims[kind] if victim.exit_code is None]:
                victim = chance.choice(living)
                victim.kill()
                victim.start()
                killed[kind] += 1
        time.sleep(0.02)
    return killed


class Seen(NamedTuple):
    """What a run and all below it have come to, without times and ids; and when each effect was stored, by its key."""

    state: Json
    ends: dict[str, int]


def look(server: Server, execution_id: str) -> Seen:
    result = server.result(execution_id, 0)
    kept = {key: result[key] for key in ("status", "output", "finishReason", "tokenUsage", "cost")}
    seen = [execution(server, each) for each in below(server, execution_id)]
    ends = {key: at for each in seen for key, at in each.ends.items()}
    states = sorted((each.state for each in seen), key=text)
    return Seen({"result": kept, "executions": states}, ends)


def below(server: Server, execution_id: str) -> list[Json]:
    """The run and all below it, in Conductor's words."""
    workflow = server.get(f"/api/workflow/{execution_id}")
    children = [each["subWorkflowId"] for each in workflow["tasks"] if each.get("subWorkflowId")]
    return [workflow, *(each for child in children for each in below(server, child))]


def execution(server: Server, workflow: Json) -> Seen:
    """One execution: what was said in it, and what was done in which turn, each once."""
    result = server.result(workflow["workflowId"], 0)
    done = [each for each in workflow["tasks"] if each["status"] == "COMPLETED"]
    tasks = sorted([each["taskDefName"], each["iteration"]] for each in done)
    kept = {key: result[key] for key in ("status", "output", "finishReason", "messages", "agentName")}
    if result["agentName"] in plays.AT_ONCE_TEAMS:
        kept["messages"] = sorted(kept["messages"], key=text)
    ends = {each["idempotencyKey"]: each["endTime"] for each in done if each["taskType"] in EFFECTS}
    return Seen({**kept, "tasks": tasks}, ends)


def check_states(wanted: dict[str, Seen], found: dict[tuple[str, str], Seen]) -> None:
    """Every run is as the undisturbed one of its play, but for its number."""
    pairs = {
        (name, number): (
            told_of(name, seen),
            told_of(name, wanted[name]).replace("run-000", f"run-{number}"),
        )
        for (name, number), seen in found.items()
    }
    wrong = {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}
    for key, (mine, same) in wrong.items():
        assert mine == same, f"{key}, of {len(wrong)} that differ: {sorted(wrong)}"


def told_of(name: str, seen: Seen) -> str:
    """The state as text. Where chance chooses who speaks, what each has heard is another matter in every run."""
    state = seen.state
    if PLAYS[name].by_chance:
        spoken = [each["output"] for each in state["executions"]]
        state = {"output": state["result"]["output"], "spoken": spoken}
    return text(state)


def text(state: Json) -> str:
    return MESSAGE_ID.sub("m", json.dumps(state, sort_keys=True, indent=1))


def check_effects(written: list[str], ends: dict[str, int]) -> None:
    """Each call had its effect, under one key, and never again after its result was stored."""
    entries: dict[str, list[Json]] = defaultdict(list)
    for line in written:
        entry = json.loads(line)
        entries[entry["key"]].append(entry)
    assert entries.keys() == ends.keys()
    for key, same in entries.items():
        assert len({each["text"] for each in same}) == 1
        assert all(each["at"] * 1000 < ends[key] + 1 for each in same), f"{key} ran again after its result was stored"
    again = sum(len(same) - 1 for same in entries.values())
    print(f"{len(entries)} calls, {again} of them begun again because a worker died in the middle")


MESSAGE_ID = re.compile(r"\bm\d+\b")
"""It is the place in the log, where each attempt that was lost has one too."""

EFFECTS = ("note", "weigh", "pay", "lend", "give", "shaky", "remember", "note_it")
