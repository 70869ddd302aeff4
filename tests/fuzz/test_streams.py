"""Streams are asked for from any place that somebody makes up: they begin there or say what a place is."""

import pytest

from tests.server.running import Running


@pytest.mark.parametrize("place", ["-1", "²", "1e3", "0x1", "9" * 19, "9" * 5_000, "1;drop", "NaN", "1\t2"])
async def test_a_place_that_is_none_is_refused(server: Running, place: str) -> None:
    execution_id = await server.run()
    for options in ({"headers": {"Last-Event-ID": place.encode()}}, {"params": {"lastEventId": place}}):
        answer = await server.http.get(f"/api/agent/stream/{execution_id}", **options)
        assert answer.status_code == 400
        assert "Last-Event-ID" in answer.json()["message"]


@pytest.mark.parametrize("place", ["", "0", "00", "3", "999999999999999999"])
async def test_a_stream_of_a_run_that_has_ended_ends_wherever_it_begins(server: Running, place: str) -> None:
    execution_id = await server.run()
    frames = await server.frames(execution_id, headers={"Last-Event-ID": place})
    assert all(int(each["id"]) > int(place or 0) for each in frames if "id" in each)


@pytest.mark.parametrize(
    "name", ["", "..", "%00", "a" * 5_000, "%ff", "'; drop table executions; --", "../../etc/passwd"]
)
async def test_a_stream_of_what_is_no_run_is_refused(server: Running, name: str) -> None:
    answer = await server.http.get(f"/api/agent/stream/{name}")
    assert answer.status_code in (400, 404, 405)
    assert "etc" not in answer.text or "root:" not in answer.text
