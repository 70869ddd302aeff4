"""What deployed agents live with: versions, references, prompt templates, webhooks."""

import hashlib
import hmac
from typing import Any

import pytest

from agentspan.clock import now_ms
from agentspan.core import events as e
from agentspan.engine.engine import Engine
from agentspan.engine.signing import Call, payload_of, verify
from agentspan.errors import BadInput, InvalidSpec, NotFound, Unauthorized
from agentspan.spec.agent import AgentSpec
from agentspan.store.views import Hook
from tests.engine.house import agent, calls, complete, ended, result, script, start, take, team

SECRET = "it is a secret, and long"


def named(name: str, **more: Any) -> AgentSpec:
    return AgentSpec(name=name, **more)


async def test_what_has_not_changed_keeps_its_version(engine: Engine) -> None:
    one, two = agent(script("1"), max_turns=1), agent(script("2"))
    assert [await engine.deploy(each) for each in (one, one, two, one)] == [1, 1, 2, 3]
    assert [(version, spec.max_turns) for version, _, _, spec in await engine.life.versions("helper")] == [
        (3, 1),
        (2, 25),
        (1, 1),
    ]
    with pytest.raises(NotFound, match="no agent 'nobody' is deployed"):
        await engine.life.versions("nobody")


async def test_an_old_version_comes_back_as_a_new_one(engine: Engine) -> None:
    one, two = agent(script("1")), agent(script("2"))
    await engine.deploy(one)
    await engine.deploy(two)
    assert await engine.life.roll_back("helper", 1) == 3
    spec, version, _ = await engine.definition("helper")
    assert (spec, version) == (one, 3)
    assert await engine.life.roll_back("helper", 3) == 3
    with pytest.raises(NotFound, match="in version 9"):
        await engine.life.roll_back("helper", 9)


async def test_a_deploy_does_not_touch_a_run_in_flight(engine: Engine) -> None:
    old = agent(script({"tool_calls": [{"name": "look"}]}, {"content": "old"}), "look")
    await engine.deploy(old)
    spec, version, _ = await engine.definition("helper")
    execution = await start(engine, spec, version=version)
    task = await take(engine, "look")
    await engine.deploy(agent(script({"content": "new"})))
    await engine.life.roll_back("helper", 1)
    await complete(engine, task)
    assert await result(engine, execution) == "old"
    assert (await engine.reads.row(execution)).version == 1


async def test_two_versions_are_compared(engine: Engine) -> None:
    await engine.deploy(agent("scripted/x", "a"))
    await engine.deploy(agent("scripted/x", "a", instructions="Be kind."))
    assert await engine.life.diff("helper", 1, 2) == [{"path": "instructions", "before": None, "after": "Be kind."}]
    with pytest.raises(NotFound):
        await engine.life.diff("helper", 1, 3)


async def test_a_run_pins_the_deployed_agents_that_it_refers_to(engine: Engine) -> None:
    helper = agent(script({"tool_calls": [{"name": "look"}]}, {"content": "old"}), "look", name="helper")
    await engine.deploy(helper)
    both = team("both", "sequential", agent(script("first"), name="one"), named("helper"))
    execution = await start(engine, both)
    task = await take(engine, "look")
    await engine.deploy(agent(script({"content": "new"})))
    await complete(engine, task)
    assert await result(engine, execution) == "old"
    assert await result(engine, await start(engine, both)) == "new"


async def test_a_deployed_team_may_refer_to_what_is_deployed_later(engine: Engine) -> None:
    await engine.deploy(team("both", "sequential", named("late")))
    spec, _, _ = await engine.definition("both")
    with pytest.raises(InvalidSpec, match="'late' has no model"):
        await start(engine, spec)
    await engine.deploy(agent(script("here"), name="late"))
    assert await result(engine, await start(engine, spec)) == "here"


async def test_deployed_agents_that_refer_to_each_other_are_refused_at_the_start(engine: Engine) -> None:
    await engine.deploy(team("a", "sequential", named("b")))
    await engine.deploy(team("b", "sequential", named("a")))
    with pytest.raises(InvalidSpec, match="a > b > a"):
        await start(engine, team("top", "sequential", named("a")))


async def test_a_referred_agent_that_cannot_run_here_is_refused_before_the_run(engine: Engine) -> None:
    await engine.deploy(agent("nobody/x", name="odd"))
    with pytest.raises(BadInput, match="nobody"):
        await start(engine, team("top", "sequential", named("odd")))
    assert await engine.reads.counts() == {}


async def test_a_template_is_versioned_by_its_text(engine: Engine) -> None:
    save = engine.life.save_template
    assert [await save("t", text) for text in ("a", "a", "b", "a")] == [1, 1, 2, 3]
    assert await save("t", "a", "what it is for", "openai/gpt-4o") == 3
    found = await engine.life.template("t")
    assert (found.version, found.text, found.description, found.models) == (3, "a", "what it is for", "openai/gpt-4o")
    assert (await engine.life.template("t", 2)).text == "b"
    await save("other", "x")
    assert [(each.name, each.version) for each in await engine.life.templates()] == [("other", 1), ("t", 3)]
    assert [each.version for each in await engine.life.template_versions("t")] == [3, 2, 1]
    await engine.life.delete_template("t")
    for ask in (engine.life.template, engine.life.template_versions, engine.life.delete_template):
        with pytest.raises(NotFound, match="no prompt template 't'"):
            await ask("t")
    for text in ("  ", "a\x00"):
        with pytest.raises(BadInput):
            await save("t", text)


async def test_a_run_keeps_the_text_of_the_template_that_it_began_with(engine: Engine) -> None:
    await engine.life.save_template("greet", "Greet ${who}.")
    given = {"type": "prompt_template", "name": "greet", "variables": {"who": "Kim"}}
    spec = agent(script(*[{"tool_calls": [{"name": "look"}]}, {"content": "hi"}] * 2), "look", instructions=given)
    execution = await start(engine, spec)
    await engine.life.save_template("greet", "Insult ${who}.")
    await engine.life.delete_template("greet")
    await complete(engine, await take(engine, "look"))
    await ended(engine, execution)
    assert (await engine.reads.messages(execution))[0] == {"role": "system", "content": "Greet Kim."}


def signed(body: bytes, secret: str = SECRET, prefix: bytes = b"", **more: Any) -> Call:
    right = hmac.new(secret.encode(), prefix + body, hashlib.sha256).hexdigest()
    return Call(**{"body": body, "signature": f"sha256={right}", **more})


def hook(**more: Any) -> Hook:
    return Hook(**{"name": "push", "agent": "helper", "secret": SECRET, **more})


async def test_a_signed_call_starts_a_run_with_its_body(engine: Engine) -> None:
    await engine.deploy(agent(script(*[{"content": "ok"}] * 3)))
    await engine.life.save_hook(hook(prompt="Look at it."))
    started = await engine.life.call_hook("push", signed(b'{"ref": "main"}'))
    view = await ended(engine, started.execution_id)
    assert (view.input["prompt"], view.input["context"]) == ("Look at it.", {"payload": {"ref": "main"}})
    own = await engine.life.call_hook("push", signed(b'{"prompt": "Mine."}'))
    assert (await ended(engine, own.execution_id)).input["prompt"] == "Mine."


@pytest.mark.parametrize(
    "call",
    [
        Call(b"{}"),
        Call(b"{}", "sha256="),
        Call(b"{}", "sha256=" + "0" * 64),
        signed(b"{}", "another secret of that length"),
        Call(b'{"x": 1}', signed(b"{}").signature),
        Call(b"{}", signed(b"{}").signature.removeprefix("sha256=")),
        Call(b"{}", "sha256=ÿ"),
    ],
)
async def test_a_call_that_is_not_rightly_signed_starts_nothing(engine: Engine, call: Call) -> None:
    await engine.deploy(agent(script("ok")))
    await engine.life.save_hook(hook())
    with pytest.raises(Unauthorized, match="sign"):
        await engine.life.call_hook("push", call)
    assert await engine.reads.counts() == {}


async def test_the_same_delivery_twice_is_one_run(engine: Engine) -> None:
    await engine.deploy(agent(script(*[{"content": "ok"}] * 3)))
    await engine.life.save_hook(hook())
    body = b'{"n": 1}'
    first = await engine.life.call_hook("push", signed(body, delivery="d1"))
    again = await engine.life.call_hook("push", signed(body, delivery="d1"))
    other = await engine.life.call_hook("push", signed(body, delivery="d2"))
    assert (again.execution_id, again.existing) == (first.execution_id, True)
    assert other.execution_id != first.execution_id


async def test_a_hook_with_a_tolerance_takes_each_signed_time_once(engine: Engine) -> None:
    await engine.deploy(agent(script(*[{"content": "ok"}] * 3)))
    await engine.life.save_hook(hook(tolerance_seconds=60))
    body, now = b"{}", now_ms() // 1000

    def at(moment: int) -> Call:
        return signed(body, prefix=f"{moment}.".encode(), timestamp=str(moment))

    first = await engine.life.call_hook("push", at(now))
    assert (await engine.life.call_hook("push", at(now))).execution_id == first.execution_id
    assert (await engine.life.call_hook("push", at(now - 1))).execution_id != first.execution_id
    for wrong in (at(now - 100), at(now + 100), signed(body), signed(body, timestamp="x"), signed(body, timestamp="")):
        with pytest.raises(Unauthorized, match="Timestamp"):
            await engine.life.call_hook("push", wrong)
    with pytest.raises(Unauthorized, match="wrong"):
        await engine.life.call_hook("push", signed(body, timestamp=str(now)))


async def test_a_webhook_that_cannot_be_kept_says_why(engine: Engine) -> None:
    with pytest.raises(NotFound, match="no agent 'helper'"):
        await engine.life.save_hook(hook())
    await engine.deploy(agent(script("ok")))
    with pytest.raises(BadInput, match="16 characters"):
        await engine.life.save_hook(hook(secret="short"))
    with pytest.raises(BadInput, match="toleranceSeconds"):
        await engine.life.save_hook(hook(tolerance_seconds=-1))
    await engine.life.save_hook(hook())
    await engine.life.save_hook(hook(prompt="new"))
    assert [each.prompt for each in await engine.life.hooks()] == ["new"]
    await engine.life.delete_hook("push")
    for ask in (engine.life.hook, engine.life.delete_hook):
        with pytest.raises(NotFound, match="no webhook 'push'"):
            await ask("push")


async def test_a_hook_starts_the_version_that_it_names(engine: Engine) -> None:
    await engine.deploy(agent(script("old")))
    await engine.deploy(agent(script("new")))
    await engine.life.save_hook(hook(version=1))
    started = await engine.life.call_hook("push", signed(b"{}"))
    assert await result(engine, started.execution_id) == "old"


@pytest.mark.parametrize(
    ("body", "payload"),
    [
        (b'{"a": 1}', {"a": 1}),
        (b"payload=%7B%22a%22%3A+1%7D", {"a": 1}),
        (b"plain text", "plain text"),
        (b"payload=not+json", "payload=not+json"),
        (b"", None),
        (b"\xff\x00", "\ufffd"),
    ],
)
def test_a_payload_is_json_where_it_can_be(body: bytes, payload: Any) -> None:
    assert payload_of(body) == payload


def test_a_signature_in_capital_letters_is_the_same() -> None:
    call = signed(b"{}")
    assert verify(hook(), Call(b"{}", call.signature.upper().replace("SHA256", "sha256")), 0) == call.signature


async def test_the_functions_of_a_deployed_agent_are_served_by_who_deployed_it_in_a_stateful_run_too(
    engine: Engine,
) -> None:
    once = (calls("theirs"), "their answer")
    await engine.deploy(agent(script(*once), "theirs", name="deployed"))
    own = agent(script(calls("ours"), "our answer"), "ours", name="own")
    execution = await start(engine, team("both", "sequential", own, named("deployed")), run_id="mine")
    ours = await take(engine, "ours", domain="mine")
    await complete(engine, ours)
    theirs = await take(engine, "theirs")
    assert (ours.domain, theirs.domain) == ("mine", "")
    await complete(engine, theirs)
    assert await result(engine, execution) == "their answer"


async def test_a_run_goes_on_by_another_version_as_a_fork(engine: Engine) -> None:
    old = agent(script(calls("look"), "old words"), "look", max_turns=5)
    await engine.deploy(old)
    execution = await start(engine, old, version=1)
    first = await take(engine, "look")
    await complete(engine, first)
    assert await result(engine, execution) == "old words"
    await engine.deploy(agent(script("unused", "new words"), "look", max_turns=7))
    log = await engine.reads.log_of(execution)
    done = next(event.seq for event in log if isinstance(event.fact, e.TaskCompleted) and event.fact.task > 2)
    moved = await engine.fork(execution, done, {"version": "latest"})
    assert await result(engine, moved) == "new words"
    view = await engine.reads.execution(moved)
    assert (view.row.version, view.spec["maxTurns"], view.forked_from) == (2, 7, execution)
    assert len([task for task in await engine.reads.tasks(moved) if task.name == "look"]) == 1
    with pytest.raises(NotFound, match="in version 9"):
        await engine.fork(execution, done, {"version": 9})


async def test_a_run_that_stands_in_an_agent_which_the_other_version_lacks_is_not_moved(engine: Engine) -> None:
    two = team("both", "sequential", agent(script("1"), name="one"), agent(script(calls("look")), "look", name="two"))
    await engine.deploy(two)
    execution = await start(engine, two, version=1)
    await take(engine, "look")
    await engine.deploy(team("both", "sequential", agent(script("1"), name="one")))
    log = await engine.reads.log_of(execution)
    with pytest.raises(BadInput, match="the other version has no agent"):
        await engine.fork(execution, log[-1].seq, {"version": 2})
