"""Runs as a list: filtered by the server, shown as a table, taken as a DataFrame."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agentspan.agents import Agent, AgentRuntime, Runs, runs
from tests.agents.serving import ServerProcess
from tests.drawing.looks import keeps_to_the_rules


@pytest.fixture(scope="module")
def names(server: ServerProcess) -> tuple[str, str]:
    """Two agents, one of which has run three times and the other failed once."""
    broken: Any = {"content": "", "errors": [{"status": 401, "message": "the key is wrong"}]}
    first = Agent("listed_first", server.script("listed_first", "Yes."))
    second = Agent("listed_second", server.script("listed_second", broken))
    with AgentRuntime(server_url=server.url) as runtime:
        for prompt in ("a", "b", "c"):
            runtime.run(first, prompt, session_id=f"listed-{prompt}")
        runtime.run(second, "d")
    return first.name, second.name


def test_the_newest_runs_come_first(runtime: AgentRuntime, names: tuple[str, str]) -> None:
    found = runtime.runs([*names])
    assert [each.preview for each in found] == ["d", "c", "b", "a"]
    assert [each.status for each in found] == ["FAILED", "COMPLETED", "COMPLETED", "COMPLETED"]
    assert (len(found), found.total) == (4, 4)
    assert found[0].start_time is not None
    assert found[0].start_time.tzinfo is UTC


def test_they_are_filtered_by_the_server(runtime: AgentRuntime, names: tuple[str, str]) -> None:
    assert [each.preview for each in runs(names[0], session="listed-b", runtime=runtime)] == ["b"]
    assert [each.agent_name for each in runtime.runs(list(names), status="FAILED")] == [names[1]]
    assert len(runtime.runs(names[0], since=timedelta(hours=1))) == 3
    assert len(runtime.runs(names[0], since=datetime.now(UTC) + timedelta(hours=1))) == 0
    with pytest.raises(TypeError, match="there is no filter colour"):
        runtime.runs(colour="red")
    with pytest.raises(ValueError, match="limit must be 1 or more"):
        runtime.runs(limit=0)


def test_a_list_is_as_long_as_wanted_and_says_how_many_there_are(runtime: AgentRuntime, names: tuple[str, str]) -> None:
    found = runtime.runs(names[0], limit=2)
    assert (len(found), found.total) == (2, 3)
    assert "2 of 3 runs" in keeps_to_the_rules(found._repr_mimebundle_()["text/html"]).text
    assert repr(found).startswith("2 of 3 runs\n")


def test_a_run_of_the_list_is_taken_by_its_place_or_its_id(runtime: AgentRuntime, names: tuple[str, str]) -> None:
    found = runtime.runs(names[0])
    key = found.ids[1]
    assert found[key].join().output["result"] == "Yes."
    assert found[key[-8:]].execution_id == key
    assert isinstance(found[1:], Runs)
    assert found[1:].ids == found.ids[1:]
    assert found._ipython_key_completions_() == found.ids
    with pytest.raises(KeyError, match="no run"):
        found["nothing"]
    with pytest.raises(KeyError, match="more than one"):
        found[key[:4]]


def test_it_becomes_a_data_frame(runtime: AgentRuntime, names: tuple[str, str]) -> None:
    pytest.importorskip("pandas")
    frame = runtime.runs(list(names)).to_pandas()
    assert list(frame.preview) == ["d", "c", "b", "a"]
    assert str(frame.start_time.dtype).startswith("datetime64")
    assert (frame.cost == 0).all()


async def test_it_is_asked_for_in_an_event_loop_too(runtime: AgentRuntime, names: tuple[str, str]) -> None:
    assert len(await runtime.runs_async(names[0])) == 3
