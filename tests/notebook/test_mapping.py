"""An agent over the rows of a table: one run for each different row, resumable, within a budget."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import pandas as pd
import pytest
from pydantic import BaseModel

from agentspan.agents import Agent, AgentRuntime, Budget, tool
from agentspan.notebook import Estimate, agent_map, agent_map_async
from tests.agents.serving import ServerProcess, tool_call
from tests.sizes import size, sized

WORDS = pd.DataFrame({"text": ["good", "bad", "good", "so so"], "stars": [5, 1, 5, 3]}, index=list("abcd"))


class Opinion(BaseModel):
    mood: str
    score: int


def fresh(name: str) -> str:
    return f"{name}-{uuid4().hex[:8]}"


def usage(tokens: int) -> dict[str, int]:
    return {"prompt_tokens": tokens, "completion_tokens": 0}


def said(content: str, tokens: int = 10, cost: float | None = 0.0, **more: Any) -> dict[str, Any]:
    return {"content": content, "usage": usage(tokens), "cost": cost, **more}


def runs_of(runtime: AgentRuntime, agent: str) -> int:
    async def count() -> int:
        return int((await (await runtime.client()).executions(agent_name=agent))["totalHits"])

    return runtime.portal.call(count())


def test_each_row_gets_its_answer_and_what_it_took(runtime: AgentRuntime, server: ServerProcess) -> None:
    agent = Agent(fresh("judge"), server.script(fresh("judge"), said("{prompt}!", 10, 0.01)))
    table = agent_map(WORDS, agent, "{text} ({stars})", runtime=runtime)
    assert list(table.index) == list("abcd")
    assert list(table.columns) == ["text", "stars", "output", "status", "error", "cost", "tokens", "execution_id"]
    assert list(table["output"]) == ["good (5)!", "bad (1)!", "good (5)!", "so so (3)!"]
    assert set(table["status"]) == {"COMPLETED"}
    assert table["error"].isna().all()
    assert list(WORDS.columns) == ["text", "stars"]


def test_equal_rows_are_run_once_and_paid_once(runtime: AgentRuntime, server: ServerProcess) -> None:
    agent = Agent(fresh("judge"), server.script(fresh("judge"), said("yes", 10, 0.01)))
    table = agent_map(WORDS, agent, "{text}", runtime=runtime)
    assert runs_of(runtime, agent.name) == 3
    assert table["execution_id"]["a"] == table["execution_id"]["c"]
    assert (table["cost"].sum().round(4), table["tokens"].sum()) == (0.03, 30)


def test_a_map_that_is_made_again_reads_what_is_there(runtime: AgentRuntime, server: ServerProcess) -> None:
    agent = Agent(fresh("judge"), server.script(fresh("judge"), said("yes")))
    first = agent_map(WORDS, agent, "{text}", runtime=runtime)
    more = agent_map([*WORDS["text"], "new"], agent, runtime=runtime)
    assert runs_of(runtime, agent.name) == 4
    assert list(more["execution_id"])[:4] == list(first["execution_id"])
    agent_map(WORDS, agent, "{text}", name="another", runtime=runtime)
    assert runs_of(runtime, agent.name) == 7


def test_a_row_that_fails_is_a_row_with_an_error(runtime: AgentRuntime, server: ServerProcess) -> None:
    name = fresh("lost")
    agent = Agent(fresh("judge"), f"scripted/{name}")

    def say(row: dict[str, Any]) -> str:
        if row["text"] == "so so":
            raise ZeroDivisionError("no words")
        return str(row["text"])

    table = agent_map(WORDS, agent, say, runtime=runtime)
    assert list(table["status"]) == ["FAILED", "FAILED", "FAILED", "NOT_RUN"]
    assert name in table["error"]["a"]
    assert table["error"]["d"] == "ZeroDivisionError: no words"
    server.script(name, "yes")
    kept = agent_map(WORDS, agent, say, runtime=runtime)
    assert list(kept["status"]) == ["FAILED", "FAILED", "FAILED", "NOT_RUN"]
    again = agent_map(WORDS, agent, say, failed="retry", runtime=runtime)
    assert list(again["output"])[:3] == ["yes"] * 3
    assert list(again["execution_id"])[:3] == list(table["execution_id"])[:3]


def test_structured_output_becomes_columns(runtime: AgentRuntime, server: ServerProcess) -> None:
    model = server.script(fresh("mood"), said('{"mood": "glad", "score": 3}'))
    agent = Agent(fresh("judge"), model, output_type=Opinion)
    table = agent_map(WORDS, agent, "{text}", prefix="its_", runtime=runtime)
    assert (table["its_output_mood"]["a"], table["its_output_score"]["a"]) == ("glad", 3)
    plain = Agent(fresh("judge"), model)
    assert list(agent_map(["x"], plain, output_type=Opinion, runtime=runtime)["output_mood"]) == ["glad"]
    assert plain.output_type is None


def test_an_answer_that_is_not_of_the_type_is_an_error(runtime: AgentRuntime, server: ServerProcess) -> None:
    agent = Agent(fresh("judge"), server.script(fresh("mood"), said('{"mood": 3}')), output_type=Opinion)
    table = agent_map(["x"], agent, runtime=runtime)
    assert table["error"][0]
    assert table["output_mood"][0] is None


def test_a_deployed_agent_can_be_named(runtime: AgentRuntime, server: ServerProcess) -> None:
    agent = Agent(fresh("judge"), server.script(fresh("judge"), said("{prompt}?")))
    runtime.deploy(agent)
    assert list(agent_map(pd.Series(["a", "b"]), agent.name, runtime=runtime)["output"]) == ["a?", "b?"]


def test_an_estimate_is_made_of_a_few_rows(runtime: AgentRuntime, server: ServerProcess) -> None:
    agent = Agent(fresh("judge"), server.script(fresh("judge"), said("yes", 100, 0.02)))
    rows = [f"row {number}" for number in range(50)]
    guess = agent_map(rows, agent, estimate=True, runtime=runtime)
    assert isinstance(guess, Estimate)
    assert (guess.rows, guess.done, round(guess.cost or 0, 6), guess.tokens, guess.fits) == (50, 3, 1.0, 5000, True)
    assert repr(guess) == "50 rows (3 done): about $1.0000 and about 5000 tokens"
    assert runs_of(runtime, agent.name) == 3


def test_a_map_that_would_cost_too_much_is_not_started(runtime: AgentRuntime, server: ServerProcess) -> None:
    agent = Agent(fresh("judge"), server.script(fresh("judge"), said("yes", 100, 0.02)))
    rows = [f"row {number}" for number in range(50)]
    table = agent_map(rows, agent, budget=0.5, runtime=runtime)
    assert list(table["status"].value_counts().items()) == [("NOT_RUN", 47), ("COMPLETED", 3)]
    assert "the estimate of $1.0000 for 50 rows exceeds the budget of $0.5000" in table["error"][49]
    asked: list[Estimate] = []
    table = agent_map(rows, agent, budget=0.5, proceed=lambda guess: not asked.append(guess), runtime=runtime)
    assert table["cost"].sum() <= 0.5
    assert table["status"].value_counts()["COMPLETED"] == 25
    assert table["error"][49].startswith("budget: not started: $0.5000 are spent")
    assert len(asked) == 1
    assert set(agent_map(rows, agent, budget=2, runtime=runtime)["status"]) == {"COMPLETED"}
    assert runs_of(runtime, agent.name) == 50


def test_a_row_that_the_budget_cut_short_goes_on_with_a_larger_one(
    runtime: AgentRuntime, server: ServerProcess
) -> None:
    model = server.script(
        fresh("talker"),
        {"tool_calls": [{"name": "look", "arguments": {}}], "usage": usage(60)},
        {"tool_calls": [{"name": "look", "arguments": {}}], "usage": usage(60)},
        said("seen", 60),
    )

    @tool
    def look() -> str:
        """Look."""
        return "nothing"

    agent = Agent(fresh("judge"), model, tools=[look])
    table = agent_map(["a"], agent, budget=Budget(tokens=100), runtime=runtime)
    assert table["error"][0].startswith("budget: ")
    table = agent_map(["a"], agent, budget=Budget(tokens=1000), runtime=runtime)
    assert (table["output"][0], table["tokens"][0]) == ("seen", 180)


def test_without_prices_no_budget_of_money_is_kept(runtime: AgentRuntime, server: ServerProcess) -> None:
    agent = Agent(fresh("judge"), server.script(fresh("judge"), said("yes", 10, None)))
    rows = [f"row {number}" for number in range(9)]
    guess = agent_map(rows, agent, estimate=True, runtime=runtime)
    assert (guess.cost, repr(guess)) == (None, "9 rows (3 done): an unknown price and about 90 tokens")
    table = agent_map(rows, agent, budget=1.0, runtime=runtime)
    assert "price of a model is not known" in table["error"][8]
    assert set(agent_map(rows, agent, budget={"tokens": 1000}, runtime=runtime)["status"]) == {"COMPLETED"}


def test_what_cannot_be_is_said_before_anything_runs(runtime: AgentRuntime) -> None:
    agent = Agent("judge", "scripted/none")
    for wrong, problem in [
        (lambda: agent_map(WORDS, agent, "{title}", runtime=runtime), "column 'title'"),
        (lambda: agent_map(WORDS.assign(status=1), agent, runtime=runtime), "prefix"),
        (lambda: agent_map(WORDS, agent, width=0, runtime=runtime), "width"),
        (lambda: agent_map(WORDS, agent, failed="ignore", runtime=runtime), "keep, retry"),
        (lambda: agent_map(WORDS, agent, budget=Budget(seconds=3), runtime=runtime), "cost and tokens"),
    ]:
        with pytest.raises(ValueError, match=problem):
            wrong()
    with pytest.raises(TypeError, match="DataFrame"):
        agent_map("text", agent, runtime=runtime)


async def test_it_can_be_awaited(runtime: AgentRuntime, server: ServerProcess) -> None:
    agent = Agent(fresh("judge"), server.script(fresh("judge"), said("yes")))
    assert list((await agent_map_async([{"a": 1}], agent, runtime=runtime))["output"]) == ["yes"]


def test_a_tool_that_nobody_serves_is_told_in_the_row(runtime: AgentRuntime, server: ServerProcess) -> None:
    model = server.script(fresh("caller"), tool_call("far_away"), "done")

    @tool
    def far_away() -> str:
        """Elsewhere."""
        return "here"

    agent = Agent(fresh("judge"), model, tools=[far_away])
    runtime.deploy(agent)
    table = agent_map(["a"], agent.name, runtime=runtime)
    assert "no live worker serves 'far_away'" in table["error"][0]
    assert list(agent_map(["a"], agent, runtime=runtime)["output"]) == ["done"]


@sized
def test_many_rows_keep_their_order(runtime: AgentRuntime, server: ServerProcess) -> None:
    agent = Agent(fresh("echo"), server.script(fresh("echo"), said("{prompt}")))
    number = size(200, 1_000)
    rows = pd.DataFrame({"n": range(number)})
    table = agent_map(rows, agent, "number {n}", width=16, runtime=runtime)
    assert list(table["output"]) == [f"number {n}" for n in range(number)]


PROGRAM = """
import sys, time
from pathlib import Path
from agentspan.agents import Agent, AgentRuntime, ToolContext, tool
from agentspan.notebook import agent_map

url, name, model, folder = sys.argv[1:]

@tool
def book(row: str, context: ToolContext) -> str:
    "Book a row once."
    done = Path(folder) / context.idempotency_key.replace(":", "_")
    if not done.exists():
        with open(f"{folder}/effects.txt", "a") as file:
            file.write(row + "\\n")
        done.touch()
    time.sleep(0.05)
    return row

rows = [f"row {n % 20}" for n in range(25)]
table = agent_map(rows, Agent(name, model, tools=[book]), width=4, runtime=AgentRuntime(server_url=url))
print(list(table["output"]) == rows, table["tokens"].sum())
"""


def test_a_map_whose_process_was_killed_goes_on_when_it_is_made_again(server: ServerProcess, tmp_path: Path) -> None:
    call = {"tool_calls": [{"name": "book", "arguments": {"row": "{prompt}"}}], "usage": usage(10)}
    name, model = fresh("clerk"), server.script(fresh("clerk"), call, said("{result}", 10))
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, str(tmp_path / "program.py"), server.url, name, model, str(tmp_path)]
    environ = {**os.environ, "PYTHONPATH": os.getcwd()}
    effects = tmp_path / "effects.txt"
    first = subprocess.Popen(command, env=environ)
    while not effects.exists() or len(effects.read_text().split("\n")) < 8:
        assert first.poll() is None
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.wait()
    second = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
    assert second.stdout == "True 400\n", second.stderr
    done = effects.read_text().splitlines()
    assert sorted(done) == sorted(f"row {n}" for n in range(20))
