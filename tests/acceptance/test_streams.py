"""A stream read over real HTTP is the same log from every position, whatever happens to the server between."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.processes import Server, serving, worker_tool

Json = dict[str, Any]


def team(server: Server) -> Json:
    """Two agents after each other, with tools, an approval and words that come one by one."""
    first = server.script(
        "first",
        [
            {
                "content": "Let me look.",
                "tool_calls": [{"name": "look"}, {"name": "buy", "arguments": {"what": "tea"}}],
            },
            {"content": "It is {results}.", "chunk_ms": 5},
        ],
    )
    second = server.script("second", ["Nothing to add to: {prompt}"])
    tools = [worker_tool("look"), {**worker_tool("buy", what="string"), "approvalRequired": True}]
    members = [{"name": "one", "model": first, "tools": tools}, {"name": "two", "model": second}]
    return {"name": "team", "strategy": "sequential", "agents": members}


def frames(server: Server, execution_id: str, after: int | None = None) -> list[Json]:
    """The numbered frames of a whole stream, from after a position on."""
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    found = []
    with server.http.stream("GET", f"/api/agent/stream/{execution_id}", headers=headers) as answer:
        assert answer.status_code == 200
        for block in answer.read().decode().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
            if "id" in fields:
                found.append({**fields, "data": json.loads(fields["data"])})
    return found


def check_every_position(server: Server, execution_id: str, whole: list[Json]) -> None:
    last = int(whole[-1]["id"])
    for position in range(last + 2):
        rest = [frame for frame in whole if int(frame["id"]) > position]
        assert frames(server, execution_id, position) == rest, position


def test_a_stream_resumed_at_every_position_is_the_same_log_also_after_a_restart(
    tmp_path: Path, database_url: str
) -> None:
    with serving(tmp_path / "data", database_url) as server:
        execution_id = server.run(team(server))
        server.report(server.lease("look"), {"result": "green"})
        server.post(f"/api/agent/{execution_id}/respond", {"approved": True})
        server.report(server.lease("buy"), {"result": "bought"})
        assert server.result(execution_id)["status"] == "COMPLETED"
        whole = frames(server, execution_id)
        numbers = [int(frame["id"]) for frame in whole]
        assert numbers == sorted(set(numbers))
        kinds = {frame["event"] for frame in whole}
        assert {"thinking", "message", "tool_call", "tool_result", "waiting", "handoff", "done"} <= kinds
        check_every_position(server, execution_id, whole)
        server.kill()
        server.ready()
        check_every_position(server, execution_id, whole)


def test_a_reader_cut_off_by_a_killed_server_goes_on_with_no_gap_and_no_double(
    tmp_path: Path, database_url: str
) -> None:
    """The reader asks again with the last number it saw, after every single step and a kill at each."""
    with serving(tmp_path / "data", database_url) as server:
        execution_id = server.run(team(server))
        seen: list[Json] = []

        def read_until(event: str) -> None:
            last = seen[-1]["id"] if seen else "0"
            with server.http.stream(
                "GET", f"/api/agent/stream/{execution_id}", headers={"Last-Event-ID": last}
            ) as answer:
                for block in blocks(answer):
                    seen.append(block)
                    if block["event"] == event:
                        return

        read_until("waiting")
        server.kill()
        server.ready()
        server.report(server.lease("look"), {"result": "green"})
        read_until("tool_result")
        server.kill()
        server.ready()
        server.post(f"/api/agent/{execution_id}/respond", {"approved": True})
        read_until("tool_call")
        server.report(server.lease("buy"), {"result": "bought"})
        server.kill()
        server.ready()
        read_until("done")
        assert seen == frames(server, execution_id)


def blocks(answer: httpx.Response) -> Any:
    """The numbered frames as they come."""
    fields: dict[str, str] = {}
    for line in answer.iter_lines():
        if line and not line.startswith(":"):
            key, _, value = line.partition(": ")
            fields[key] = value
        elif not line and fields:
            frame, fields = fields, {}
            if "id" in frame:
                yield {**frame, "data": json.loads(frame["data"])}


@pytest.mark.parametrize("after", [0, 3])
def test_the_sdk_follows_a_run_over_restarts_of_the_server(tmp_path: Path, sqlite_url: str, after: int) -> None:
    from agentspan.agents import AgentRuntime

    with serving(tmp_path / "data", sqlite_url) as server, AgentRuntime(server_url=server.url) as runtime:
        execution_id = server.run(team(server))
        handle = runtime.attach(execution_id)
        stream = iter(handle.stream())
        seen = [next(stream) for _ in range(after + 1)]
        server.kill()
        server.ready()
        server.report(server.lease("look"), {"result": "green"})
        server.post(f"/api/agent/{execution_id}/respond", {"approved": True})
        server.report(server.lease("buy"), {"result": "bought"})
        seen += list(stream)
        numbered = [event.id for event in seen if event.id is not None]
        assert numbered == [int(frame["id"]) for frame in frames(server, execution_id)]
