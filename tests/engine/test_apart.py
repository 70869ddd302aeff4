"""Built-in workers apart from the servers that are asked: who makes the calls, who is told when nobody does, and how
readers elsewhere see an answer while it is written."""

from pathlib import Path

import msgspec
import pytest

from agentspan.engine import why
from agentspan.engine.deltas import MOST_NOTICES, NOTICE_BYTES, WATCHED_MS, Deltas
from agentspan.errors import InvalidSpec
from tests.engine.house import agent, calls, opened, result, script, start, take, until

TREE = "00000000-0000-7000-8000-000000000001"


async def test_a_server_without_built_in_workers_leaves_model_calls_to_others(
    postgres_url: str, tmp_path: Path
) -> None:
    async with opened(postgres_url, tmp_path, workers="none") as face:
        execution = await start(face, agent(script("at last")))

        async def unmade() -> bool:
            return (await why.asked(face, execution)).reasons[0].code == "no_worker"

        await until(unmade)
        said = (await why.asked(face, execution)).sentence
        assert "no server has a built-in worker for it. To make it go on, start a server with --workers llm" in said
        assert not face.builtin
        async with opened(postgres_url, tmp_path, workers="llm") as apart:
            assert await result(face, execution) == "at last"
            calls_made = await face.reads.tasks(execution)
            assert [each.worker for each in calls_made] == [apart.replica]

            async def told() -> bool:
                return [(each.name, each.workers) for each in (await face.roster()).queues] == [("@llm", 1)]

            await until(told)


async def test_only_who_makes_the_calls_needs_the_keys(postgres_url: str, tmp_path: Path) -> None:
    spec = agent("openai/gpt-4o-mini")
    async with opened(postgres_url, tmp_path, workers="none") as face:
        assert await start(face, spec)
        with pytest.raises(InvalidSpec, match="no_such"):
            await start(face, agent("no_such/model"))
    async with opened(postgres_url, tmp_path, workers="http,llm") as makes_calls:
        with pytest.raises(InvalidSpec, match="OPENAI_API_KEY"):
            await start(makes_calls, spec)


async def test_a_worker_process_that_knows_no_kind_takes_nothing_of_it(postgres_url: str, tmp_path: Path) -> None:
    async with (
        opened(postgres_url, tmp_path, workers="none") as face,
        opened(postgres_url, tmp_path, workers="http"),
        opened(postgres_url, tmp_path, workers="llm") as llm,
    ):
        begun = [await start(face, agent(script(calls("a"), "done"), "a")) for _ in range(6)]
        for _ in begun:
            task = await take(face, "a")
            assert (await face.reads.tasks(task.execution_id))[0].worker == llm.replica


@pytest.mark.parametrize("length", [40, 30_000])
async def test_a_reader_at_another_server_sees_an_answer_while_it_is_written(
    postgres_url: str, tmp_path: Path, length: int
) -> None:
    text = " ".join(f"wörd{number}" for number in range(length // 8))
    model = script({"content": text, "delay_ms": 800, "chunk_ms": 0 if length > 1_000 else 150})
    async with (
        opened(postgres_url, tmp_path, workers="none") as face,
        opened(postgres_url, tmp_path, workers="llm") as apart,
    ):
        execution = await start(face, agent(model))
        await until(lambda: not face.writer.alone and not apart.writer.alone)
        items = [item async for item in face.stream(execution) if item]
        pieces = [item["content"] for item in items if item["type"] == "token"]
        assert [item["content"] for item in items if item["type"] == "message"] == [text]
        assert all("id" not in item for item in items if item["type"] == "token")
        if length < 1_000:
            assert pieces
            assert text.startswith("".join(pieces))


def test_pieces_are_gathered_told_in_small_notices_and_lost_beyond_some() -> None:
    deltas = Deltas()
    assert not deltas.add(TREE, 0, "nobody reads", 0)
    assert deltas.take() == []
    deltas.watch([TREE], 0)
    assert [deltas.add(TREE, 0, piece, 1) for piece in ("a", "b")] == [True, False]
    assert deltas.take() == [[[TREE, 0, "ab"]]]
    deltas.add(TREE, 0, "\U0001f600\x01" * 40_000, 1)
    notices = deltas.take()
    assert len(notices) == MOST_NOTICES
    assert all(len(msgspec.json.encode(notice)) < NOTICE_BYTES + 100 for notice in notices)
    deltas.add(TREE, 0, "is whole", 1)
    deltas.drop(TREE, 0)
    assert deltas.take() == []
    assert not deltas.add(TREE, 0, "the reader has gone", WATCHED_MS + 1)
