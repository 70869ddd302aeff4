"""Cassettes: runs that are played again, with what their models and tools said."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from agentspan.agents import Agent, RegexGuardrail, human_tool, tool
from agentspan.agents.testing import (
    Cassette,
    CassetteMiss,
    LocalEngine,
    SecretLeft,
    cassette,
    expect,
    replay_run,
)

MODEL = "openai/gpt-4o"
calls: list[str] = []


@tool
def look(city: str) -> dict[str, Any]:
    """The weather."""
    calls.append(city)
    return {"sky": "blue", "city": city}


@tool(retry_count=1, retry_delay_seconds=0)
def shaky(n: int) -> int:
    """Fails at first."""
    calls.append(str(n))
    if len(calls) == 1:
        raise RuntimeError("not yet")
    return n


@tool(approval_required=True)
def pay(amount: int) -> str:
    """Pay."""
    return f"paid {amount}"


@pytest.fixture(autouse=True)
def no_calls() -> None:
    calls.clear()


def agent(**more: Any) -> Agent:
    return Agent(**{"name": "lone", "model": MODEL, **more})


def call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"tool_calls": [{"name": name, "arguments": arguments}]}


def recorded(agent: Agent, path: Path, prompt: str = "How is it?", **more: Any) -> Path:
    run = LocalEngine(agent, **more).start(prompt)
    assert run.result().is_success, run.result().error
    return Cassette.from_result(run).save(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tapes" / "tape.json"


def test_a_run_is_played_without_its_models_and_tools(path: Path) -> None:
    weather = agent(tools=[look])
    recorded(weather, path, model=[call("look", city="Oslo"), "It is {result}."])
    assert calls == ["Oslo"]
    result = replay_run(weather, cassette=path)
    assert calls == ["Oslo"]
    expect(result).completed().used_tool("look", args={"city": "Oslo"}).output_contains("blue")
    assert replay_run(weather, "How is it?", path, run_tools=True).output == result.output
    assert calls == ["Oslo", "Oslo"]


def test_a_cassette_holds_what_was_asked_and_answered(path: Path) -> None:
    recorded(agent(tools=[look], instructions="Be brief."), path, model=[call("look", city="Oslo"), "ok"])
    tape = json.loads(path.read_text())
    assert [each["kind"] for each in tape["exchanges"]] == ["model", "tool", "model"]
    assert tape["exchanges"][0]["request"]["messages"][0] == {"role": "system", "content": "Be brief."}
    assert tape["exchanges"][1] == {
        "kind": "tool",
        "key": tape["exchanges"][1]["key"],
        "request": {"agent": "lone", "name": "look", "args": {"city": "Oslo"}},
        "answer": {"sky": "blue", "city": "Oslo"},
    }
    assert len({each["key"] for each in tape["exchanges"]}) == 3


def test_a_miss_shows_the_nearest_recorded_request(path: Path) -> None:
    recorded(agent(instructions="Be brief."), path, model=["ok"])
    with pytest.raises(CassetteMiss) as caught:
        replay_run(agent(instructions="Be verbose."), cassette=path)
    told = str(caught.value)
    assert re.search(r'^-.*"Be brief\."', told, re.MULTILINE)
    assert re.search(r'^\+.*"Be verbose\."', told, re.MULTILINE)
    failed = replay_run(agent(instructions="Be verbose."), cassette=path, strict=False)
    assert failed.is_failed
    assert "Be verbose." in str(failed.error)


def test_a_tool_call_that_was_not_recorded_is_a_miss(path: Path) -> None:
    recorded(agent(tools=[look]), path, model=[call("look", city="Oslo"), "ok"])
    tape = Cassette.load(path)
    tape.exchanges[0].answer["tool_calls"][0]["arguments"]["city"] = "Rome"
    with pytest.raises(CassetteMiss, match=r'\+  "city": "Rome"'):
        replay_run(agent(tools=[look]), cassette=tape)


def test_a_request_that_was_made_once_is_answered_once(path: Path) -> None:
    recorded(agent(), path, model=["ok"])
    tape = Cassette.load(path)
    engine_answers = replay_run(agent(), cassette=tape)
    assert engine_answers.output["result"] == "ok"
    tape.exchanges.clear()
    with pytest.raises(CassetteMiss, match="the cassette has no model requests"):
        replay_run(agent(), cassette=tape)


def test_failures_and_retries_are_played_too(path: Path) -> None:
    recorded(agent(tools=[shaky]), path, model=[call("shaky", n=3), {"content": "ok", "errors": [{"status": 503}]}])
    result = replay_run(agent(tools=[shaky]), cassette=path)
    assert result.tool_calls[0]["attempts"] == 2
    assert result.tool_calls[0]["result"] == 3
    assert [asked.attempt for asked in result.asked] == [0, 0, 1]


def test_what_people_said_is_played_too(path: Path) -> None:
    asker = agent(tools=[pay, human_tool("ask", "Ask a person.")])
    people = [{"approved": True, "arguments": {"amount": 4}}, {"response": "blue"}]
    recorded(asker, path, model=[call("pay", amount=5), call("ask", question="Colour?"), "{result}"], people=people)
    result = replay_run(asker, cassette=path)
    assert [each["result"] for each in result.tool_calls] == ["paid 4", "blue"]


def test_a_team_is_played_with_its_choices(path: Path) -> None:
    crew = Agent("team", MODEL, agents=[agent(name=each) for each in "abc"], strategy="random", max_turns=5)
    run = LocalEngine(crew, model=lambda asked: asked.agent, id="anything").start("go")
    Cassette.from_result(run).save(path)
    played = replay_run(crew, cassette=path)
    told = [[event.target for event in each.events if event.type == "handoff"] for each in (run.result(), played)]
    assert told[0] == told[1]
    crew = Agent("team", MODEL, agents=[agent(name=each) for each in "ab"], strategy="handoff")
    recorded(crew, path, model={"team": ["b", "DONE"], "b": ["from b"]})
    expect(replay_run(crew, cassette=path)).completed().handoff_to("b").output_contains("from b")


def test_guardrails_judge_what_is_played_anew(path: Path) -> None:
    recorded(agent(), path, model=["call 5551234"])
    no_phone = RegexGuardrail(patterns=[r"\d{7}"], name="no_phone", position="output", on_fail="raise")
    expect(replay_run(agent(guardrails=[no_phone]), cassette=path)).failed().guardrail_failed("no_phone")


def test_masked_fields_are_masked_in_the_file_and_match_when_played(path: Path) -> None:
    discreet = agent(tools=[look], masked_fields=["city"])
    recorded(discreet, path, model=[call("look", city="Oslo"), "{result}"])
    assert '"city": "Oslo"' not in path.read_text()
    assert replay_run(discreet, cassette=path).is_success


def test_the_shared_state_is_part_of_the_cassette(path: Path) -> None:
    run = LocalEngine(agent(), model=["ok"]).start("x", context={"colour": "blue"})
    Cassette.from_result(run).save(path)
    assert replay_run(agent(), cassette=path).output["context"] == {"colour": "blue"}


# Secrets


def test_secrets_are_taken_out(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYMENT_API_KEY", "zx81-4711-secret")

    @tool
    def fetch(url: str, authorization: str) -> dict[str, Any]:
        """Fetch."""
        return {"api_key": "plainly a key", "echo": "zx81-4711-secret", "headers": {"Authorization": authorization}}

    model = [call("fetch", url="http://x", authorization="Bearer abcdefghijklmnop"), "used sk-abcdefghijklmnopqrstuv"]
    recorded(agent(tools=[fetch]), path, "My password is hunter22-zebra", model=model)
    text = path.read_text()
    for secret in ("zx81-4711-secret", "plainly a key", "abcdefghijklmnop", "sk-abcdefghij"):
        assert secret not in text
    assert "max_tokens" not in text
    assert replay_run(agent(tools=[fetch]), "My password is hunter22-zebra", path).is_success
    run = LocalEngine(agent(), model=["ok"]).start("My password is hunter22-zebra")
    Cassette.from_result(run).save(path, secrets=["hunter22-zebra"])
    assert "hunter22" not in path.read_text()
    assert replay_run(agent(), cassette=path).is_success


def test_verifying_finds_what_scrubbing_cannot_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    from agentspan.agents.testing.secrets import verify

    monkeypatch.setenv("OTHER_TOKEN", "tok-12345678")
    with pytest.raises(SecretLeft, match="the value of OTHER_TOKEN"):
        verify('{"a": "tok-12345678"}')
    with pytest.raises(SecretLeft, match="what looks like a key"):
        verify("AKIAABCDEFGHIJKLMNOP")
    with pytest.raises(SecretLeft, match="a given secret"):
        verify("it is hunter22", ["hunter22"])
    verify("nothing here")


def test_words_that_only_look_like_secrets_stay() -> None:
    from agentspan.agents.testing.secrets import scrubbed

    plain = {"max_tokens": 5, "tokens": "many", "token_usage": {"total": 1}, "keyboard": "qwerty", "next_token": None}
    assert scrubbed(plain) == plain
    assert scrubbed('{"token": "abc", "n": 1}') == '{"token": "<removed>", "n": 1}'


# Files


def test_what_is_no_cassette_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("{}")
    with pytest.raises(ValueError, match="is no cassette"):
        Cassette.load(path)
    with pytest.raises(ValueError, match="is no exported run"):
        Cassette.from_export(b"{}")


def test_a_tape_that_must_be_played_must_be_there(path: Path) -> None:
    with cassette(path, mode="replay") as tape, pytest.raises(FileNotFoundError, match="mode='record'"):
        tape.run(agent(), "x")
    with pytest.raises(ValueError, match="mode must be one of"):
        cassette(path, mode="forward")
