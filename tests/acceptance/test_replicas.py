"""Several servers on one PostgreSQL, behind one address: whatever happens to one of them or to the database, no run is
lost, nothing is done twice, and every stream is whole."""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentspan.agents import AgentConfig, AgentHandle, AgentRuntime
from tests.acceptance import crew
from tests.acceptance.cluster import Cluster, Reader, cluster
from tests.acceptance.processes import eventually
from tests.acceptance.test_faults import clock_library  # noqa: F401
from tests.acceptance.test_kill import completed, lines, state
from tests.postgres import Postgres
from tests.sizes import size, sized

Json = dict[str, Any]

RUNS = size(6, 40)
"""So many are under way at each fault."""
END_SECONDS = 120.0

FAULTS: dict[str, Callable[[Cluster, int], None]] = {
    "a server is killed": Cluster.kill,
    "a server stands still": Cluster.freeze,
    "a server is cut off from the database": Cluster.part,
    "the database is restarted": Cluster.restart_database,
    "the database crashes": Cluster.crash_database,
    "the database has no connection left": Cluster.exhaust,
    "the database is lost, and its standby takes its place": Cluster.fail_over,
}


def work(the: Cluster) -> None:
    """Two workers at the address of all."""
    (the.scripts / "stones.json").write_text(json.dumps({"stones": crew.SCRIPT}))
    (the.folder / "ledger").touch()
    for number in range(2):
        arguments = (str(Path(crew.__file__)), "worker", the.url, str(the.folder / "ledger"))
        the.program(*arguments, log=f"worker{number}").start()


def check(the: Cluster, handles: dict[str, AgentHandle], readers: list[Reader]) -> None:
    """Every run came to its end as if nothing had been; each effect there is once; the streams are whole."""
    ids = {number: handle.execution_id for number, handle in handles.items()}
    assert {handle.join(END_SECONDS).status for handle in handles.values()} == {"COMPLETED"}
    eventually(lambda: the.balancer.ready() == len(the.servers), "servers that are all ready again", 30)
    asked = the.servers[-1]
    assert asked.get("/api/agent/executions", params={"size": 1})["totalHits"] == len(ids)
    first, *others = sorted(ids)
    wanted = json.dumps(state(asked, ids[first]), sort_keys=True)
    for number in others:
        found = json.dumps(state(asked, ids[number]), sort_keys=True)
        assert found == wanted.replace(f"stone-{first}", f"stone-{number}"), ids[number]
    effects = Counter(json.loads(line)["key"] for line in lines(the.folder / "ledger"))
    keys = {
        task["idempotencyKey"]
        for each in ids.values()
        for task in asked.get(f"/api/workflow/{each}")["tasks"]
        if task["taskType"] in ("note", "weigh") and task["status"] == "COMPLETED"
    }
    assert effects == Counter(keys), "an effect is missing, or was had twice"
    assert all(completed(asked, each) for each in ids.values())
    for reader in readers:
        reader.join(30)
        assert not reader.is_alive(), f"the stream of {reader.execution_id} has not ended after {reader.kinds}"
        whole = asked.get(f"/api/agent/{reader.execution_id}/events", params={"limit": 1000})["events"]
        assert reader.ids == [each["id"] for each in whole]


@sized
@pytest.mark.timeout(240)
@pytest.mark.skipif(sys.platform != "linux", reason="libfaketime's wheel is for Linux")
def test_whatever_goes_wrong_no_run_is_lost_nothing_is_done_twice_and_every_stream_is_whole(
    tmp_path: Path,
    own_postgres: Postgres,
    clock_library: Path,  # noqa: F811
) -> None:
    skew = {"LD_PRELOAD": str(clock_library), "DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    own = {1: {**skew, "FAKETIME": "+60s"}, 2: {**skew, "FAKETIME": "-60s"}}
    with cluster(tmp_path / "cluster", own_postgres, own=own, standby=True) as the:
        assert "clock is 60" in the.servers[1].said()
        work(the)
        handles, readers = dict[str, AgentHandle](), list[Reader]()
        config = AgentConfig(server_url=the.url, auto_start_workers=False)
        with AgentRuntime(config=config) as runtime:
            for number, (fault, happens) in enumerate(FAULTS.items()):
                for _ in range(RUNS):
                    name = f"{len(handles):03}"
                    handles[name] = runtime.start(crew.crew(), f"stone-{name}", idempotency_key=name)
                readers.append(Reader(the.url, handles[name].execution_id))
                readers[-1].start()
                began = time.monotonic()
                happens(the, number % len(the.servers))
                eventually(lambda: the.balancer.ready() == len(the.servers), f"all servers again after: {fault}", 40)
                print(f"{fault}: {time.monotonic() - began:.1f} s")
            check(the, handles, readers)
