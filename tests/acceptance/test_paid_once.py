"""A provider that keeps books: no answer that was stored is asked for again, whenever the server is killed."""

import random
import re
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from agentspan.agents import Agent, AgentRuntime, tool
from tests.acceptance.processes import serving
from tests.acceptance.provider import Asked, Reply, providing
from tests.sizes import size, sized

Json = dict[str, Any]

RUNS = size(10, 24)
TURNS = size(3, 4)
LONGEST_SECONDS = size(4, 10) / 10


@tool
def look(where: str) -> str:
    """Look somewhere."""
    return f"seen {where}"


def reply(asked: Asked) -> Reply:
    """Every answer bears the number of its request, so that it can be told which one was used."""
    text = f"Answer {asked.number}, turn {asked.turn} of {asked.prompt}."
    calls = [("look", {"where": f"turn {asked.turn}"})] if asked.turn < TURNS else []
    return Reply(text, calls, seconds=random.uniform(0.05, LONGEST_SECONDS))


@sized
@pytest.mark.timeout(240)
def test_a_stored_answer_is_never_asked_for_again(tmp_path: Path, database_url: str) -> None:
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    chance = random.Random(seed)
    # In each turn of the conversation once: after so many of its answers went out.
    moments = {turn: chance.randint(RUNS // 4, RUNS) for turn in range(1, TURNS + 1)}
    given: Counter[int] = Counter()
    due = threading.Semaphore(0)

    def answered(asked: Asked) -> None:
        given[asked.turn] += 1
        if given[asked.turn] == moments[asked.turn]:
            due.release()

    with (
        providing(reply) as provider,
        serving(tmp_path / "data", database_url, {"OPENAI_API_KEY": "key"}) as server,
        AgentRuntime(server_url=server.url) as runtime,
    ):
        provider.answered = answered
        agent = Agent(name="asker", model="openai/stub", base_url=provider.url, tools=[look], instructions="Look.")
        handles = [runtime.start(agent, f"run-{number:02}", idempotency_key=str(number)) for number in range(RUNS)]
        for _ in moments:
            assert due.acquire(timeout=40), f"only {len(provider.asked)} requests came"
            # Between the answer on the wire and its commit, or a little after it.
            time.sleep(chance.uniform(0, 0.1))
            server.kill()
            server.ready()
        results = [handle.join(60) for handle in handles]
        stored = {
            (f"run-{number:02}", task["iteration"]): task["endTime"]
            for number, handle in enumerate(handles)
            for task in server.get(f"/api/workflow/{handle.execution_id}")["tasks"]
            if task["taskType"] == "LLM_CHAT_COMPLETE" and task["status"] == "COMPLETED"
        }
    assert len(stored) == RUNS * TURNS
    again = [asked for asked in provider.asked if asked.at > stored[asked.prompt, asked.turn] + 1]
    assert not again, f"asked again after the answer was stored: {again[:3]}"
    used = {number: answers(result.messages) for number, result in enumerate(results)}
    for number, texts in used.items():
        assert len(texts) == TURNS
        # Whatever was asked later was asked with the answers that were stored.
        for asked in provider.asked:
            if asked.prompt == f"run-{number:02}":
                assert answers(asked.messages) == texts[: asked.turn - 1]
    asked_once = Counter(Counter((asked.prompt, asked.turn) for asked in provider.asked).values())
    print(f"{len(moments)} kills; times that an answer was asked for: {dict(asked_once)}")
    assert len({number for texts in used.values() for number in texts}) == RUNS * TURNS


def answers(messages: list[Json]) -> list[str]:
    """The numbers of the answers in a conversation."""
    said = [str(each.get("content")) for each in messages if each["role"] == "assistant"]
    return [found[1] for each in said if (found := re.match(r"Answer (\d+),", each))]
