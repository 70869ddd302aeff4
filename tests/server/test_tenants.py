"""Tenants: each has a database of its own, and no route shows one what is another's. And every route is guarded."""

import asyncio
import base64
import hashlib
import hmac
import json
import re

import pytest

from agentspan.config import Settings
from agentspan.server import rights, ui
from agentspan.server.openapi import ROUTES as OPENAPI
from agentspan.server.openapi import verbs
from agentspan.server.routes import ROUTES, collect
from tests.server.conftest import KEY
from tests.server.running import ADD, Running, agent, running
from tests.server.test_access import Guest, key, made, root, started, user

ALL = collect(ROUTES, OPENAPI)
GUARDED = [
    (verb.upper(), route.path)
    for route in ALL
    if not route.handler.without_credentials
    for verb, _ in verbs(route.handler)
    if (verb, route.path) != ("post", "/api/hooks/{name}")
]


ENDLESS = ("/api/changes",)
MASTER_KEY = base64.b64encode(bytes(range(32))).decode()


@pytest.fixture(params=["sqlite", "postgres"])
def database(request):
    """The settings of a database: a file of the server's own, or PostgreSQL."""
    if request.param == "sqlite":
        return {}
    return {"AGENTSPAN_DATABASE_URL": request.getfixturevalue("postgres_url"), "AGENTSPAN_MASTER_KEY": MASTER_KEY}


async def tenant(server: Running, name: str) -> Guest:
    """A new tenant's admin, who is a program."""
    await made(root(server), "/api/tenants", {"name": name})
    return await key(server, tenant=name, role="admin")


# Every route


def test_every_route_says_what_it_takes():
    of_routes = {(verb.upper(), route.path) for route in ALL for verb, _ in verbs(route.handler)}
    pages = {(verb.upper(), name) for _, name, page in ui.PAGES for verb, _ in verbs(page)}
    for verb, path in GUARDED:
        assert rights.right(verb, path) is not None, f"agentspan/server/rights.py does not say what {verb} {path} takes"
    assert rights.RIGHTS.keys() <= of_routes | pages
    assert {route.path for route in ALL} | {"/ui"} >= rights.SHARED


def test_every_scope_of_the_table_is_one():
    from agentspan.engine.access import SCOPES

    assert {scope for each in rights.RIGHTS.values() for scope in each.any_of} <= {*SCOPES, "any"}


def filled(path: str, **given: str) -> str:
    return re.sub(r"{(\w+)}", lambda found: given.get(found[1], "x"), path)


async def test_no_route_is_open_to_who_shows_nothing_or_too_little(locked):
    nobody = Guest(locked)
    by_scope = {scope: await key(locked, scopes=[scope]) for scope in ("read", "work", "metrics")}
    for verb, path in GUARDED:
        assert await nobody.status(verb, filled(path), {}) == 401, (verb, path)
        allowed = rights.right(verb, path).any_of
        for scope, guest in by_scope.items():
            if scope not in allowed and allowed != rights.ANY:
                assert await guest.status(verb, filled(path), {}) == 403, (scope, verb, path)


# Two tenants


async def test_no_route_shows_a_tenant_what_is_anothers(tmp_path, database):
    async with running(tmp_path, **KEY, **database) as server:
        acme, umbrella = await tenant(server, "acme"), await tenant(server, "umbrella")
        secret = "only-acme-may-see-this"
        own = await furnish(acme, secret)
        for verb, path in GUARDED:
            if "/auth/" in path or path in ENDLESS:
                continue
            for guest in (umbrella, root(server)):
                if path.startswith("/api/tenants") and guest is not umbrella:
                    continue
                answer = await guest.ask(verb, filled(path, **own), {}, timeout=20)
                assert secret not in answer.text, (verb, path, answer.text[:300])
                assert (
                    own["execution_id"] not in answer.text.replace(filled(path, **own), "") or answer.status_code >= 400
                )
                if "{execution_id}" in path or "{task_id}" in path or "{request_id}" in path:
                    assert answer.status_code >= 400 or answer.text in ("", "[]", "{}"), (verb, path, answer.text[:300])
        # It is all still there, and as it was, for whom it belongs to.
        status = (await acme.ask("GET", f"/api/agent/{own['execution_id']}/status")).json()
        assert status["status"] == "RUNNING"
        assert secret in (await acme.ask("GET", "/api/agent/mine")).text
        for name in ("agent/list", "credentials", "prompts", "hooks"):
            assert (await acme.ask("GET", f"/api/{name}")).json(), name
            assert (await umbrella.ask("GET", f"/api/{name}")).json() == [], name


async def furnish(guest: Guest, secret: str) -> dict[str, str]:
    """One of everything, each with the secret in it; the names by which routes ask for them."""
    waiting = agent("adder", {**ADD, "approvalRequired": True}, name="mine", instructions=secret)
    answers = [
        await guest.ask("POST", "/api/agent/deploy", {"agentConfig": waiting}),
        await guest.ask("POST", "/api/credentials", {"name": "mine", "value": secret}),
        await guest.ask("POST", "/api/prompts/mine", {"template": secret}),
        await guest.ask("PUT", "/api/hooks/mine", {"agent": "mine", "secret": secret, "prompt": secret}),
        await guest.ask("POST", "/api/metadata/taskdefs", [{"name": "mine", "description": secret}]),
    ]
    assert [each.status_code < 300 for each in answers] == [True] * len(answers), [each.text for each in answers]
    execution_id = await started(guest, waiting)
    for _ in range(500):
        if asked := (await guest.ask("GET", f"/api/agent/{execution_id}/requests")).json()["requests"]:
            break
    request_id = asked[0]["requestId"]
    return {
        "execution_id": execution_id, "task_id": request_id, "request_id": request_id, "name": "mine", "key": "mine",
        "ref": "call_0_0", "status": "COMPLETED", "seq": "1", "message_id": "m1", "version": "1",
        "correlation_id": "mine", "share_id": "mine",
    }  # fmt: skip


async def test_what_moves_in_a_tenant_is_told_to_nobody_else(locked):
    acme, umbrella = await tenant(locked, "acme"), await tenant(locked, "umbrella")
    heard: list[str] = []
    ready = asyncio.Event()

    async def listen() -> None:
        async with locked.http.stream("GET", "/api/changes", headers=umbrella.headers) as answer:
            async for piece in answer.aiter_text():
                heard.append(piece)
                ready.set()

    async with asyncio.timeout(10):
        listening = asyncio.create_task(listen())
        await ready.wait()
        theirs = await started(acme)
        assert (await acme.ask("GET", f"/api/agent/{theirs}/status?waitMs=5000")).json()["isComplete"]
        own = await started(umbrella)
        while own not in "".join(heard):
            ready.clear()
            await ready.wait()
        listening.cancel()
    assert theirs not in "".join(heard)


async def test_tenants_work_beside_each_other_and_after_a_restart(tmp_path, database):
    async with running(tmp_path, **KEY, **database) as server:
        guests = [await tenant(server, name) for name in ("acme", "umbrella")]
        runs = [await started(guest, agent("adder", ADD)) for guest in guests]
        # The same queue's name is another queue.
        [task] = (await guests[1].ask("GET", "/api/tasks/poll/batch/add?timeout=5000")).json()
        assert task["workflowInstanceId"] == runs[1]
    async with running(tmp_path, **KEY, **database) as server:
        for guest, run in zip(guests, runs, strict=True):
            guest.server = server
            assert (await guest.ask("GET", f"/api/agent/{run}/status")).json()["status"] == "RUNNING"
        [task] = (await guests[0].ask("GET", "/api/tasks/poll/batch/add?timeout=5000")).json()
        done = {
            "taskId": task["taskId"],
            "workflowInstanceId": runs[0],
            "status": "COMPLETED",
            "outputData": {"result": 5},
        }
        assert await guests[0].status("POST", "/api/tasks", done) == 200
        status = (await guests[0].ask("GET", f"/api/agent/{runs[0]}/status?waitMs=10000")).json()
        assert status["status"] == "COMPLETED"


async def test_who_is_new_on_one_server_is_known_to_the_others_at_once(tmp_path, postgres_url):
    shared = {**KEY, "AGENTSPAN_DATABASE_URL": postgres_url, "AGENTSPAN_MASTER_KEY": MASTER_KEY}
    async with running(tmp_path / "a", **shared) as one, running(tmp_path / "b", **shared) as other:
        acme = await tenant(one, "acme")
        run = await started(acme, agent("adder", ADD))
        there = Guest(other, **acme.headers)
        assert (await there.ask("GET", f"/api/agent/{run}/status")).json()["status"] == "RUNNING"
        [task] = (await there.ask("GET", "/api/tasks/poll/batch/add?timeout=5000")).json()
        assert task["workflowInstanceId"] == run
        # What one learns of, the other does too, within seconds.
        key_id = acme.headers["X-API-Key"].split("_")[1]
        assert await there.status("GET", "/api/agent/list") == 200
        assert await acme.status("DELETE", f"/api/keys/{key_id}") == 204
        async with asyncio.timeout(10):
            while await there.status("GET", "/api/agent/list") != 401:  # noqa: ASYNC110
                await asyncio.sleep(0.1)


async def test_links_and_webhooks_lead_to_their_tenant(locked):
    acme = await tenant(locked, "acme")
    run = await started(acme, agent("adder", {**ADD, "approvalRequired": True}))
    async with asyncio.timeout(10):
        while not (asked := (await acme.ask("GET", f"/api/agent/{run}/requests")).json()["requests"]):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    link = (await acme.ask("POST", f"/api/inbox/{asked[0]['requestId']}/link", {"by": "lee"})).json()
    answer = await locked.http.post(link["url"], json={"approved": False, "reason": "no"})
    assert (answer.status_code, answer.json()["status"]) == (200, "answered")

    assert await acme.status("POST", "/api/agent/deploy", {"agentConfig": agent(name="herald")}) == 200
    hook = {"agent": "herald", "secret": "a secret between us", "prompt": "Hi"}
    assert (await acme.ask("PUT", "/api/hooks/call", hook)).json()["agent"] == "herald"
    body = b'{"news": 1}'
    signed = hmac.new(hook["secret"].encode(), body, hashlib.sha256).hexdigest()
    headers = {"X-Hub-Signature-256": f"sha256={signed}", "X-Delivery-Id": "1", "Content-Type": "application/json"}
    assert (await locked.http.post("/api/hooks/call", content=body, headers=headers)).status_code == 404
    called = await locked.http.post("/api/hooks/call?tenant=acme", content=body, headers=headers)
    assert called.status_code == 200, called.text
    assert await acme.status("GET", f"/api/agent/{called.json()['executionId']}/status") == 200


async def test_only_the_home_tenants_admin_looks_after_tenants(locked):
    acme = await tenant(locked, "acme")
    for verb, path in (("GET", "/api/tenants"), ("POST", "/api/tenants"), ("GET", "/api/tenants/acme")):
        assert await acme.status(verb, path, {"name": "other"}) == 403
    assert await acme.status("POST", "/api/users", {"name": "eve", "role": "admin", "tenant": "default"}) == 403
    assert [each["name"] for each in (await root(locked).ask("GET", "/api/tenants")).json()] == ["default", "acme"]


async def test_a_shut_tenant_is_out_and_comes_back_as_it_was(locked):
    acme = await tenant(locked, "acme")
    run = await started(acme, agent("adder", ADD))
    assert await root(locked).status("PATCH", "/api/tenants/acme", {"disabled": True}) == 200
    assert await acme.status("GET", "/api/agent/list") == 401
    assert await root(locked).status("PATCH", "/api/tenants/acme", {"disabled": False}) == 200
    assert (await acme.ask("GET", f"/api/agent/{run}/status")).json()["status"] == "RUNNING"


async def test_a_tenant_whose_database_is_broken_stops_nobody_else(tmp_path):
    async with running(tmp_path, **KEY) as server:
        acme, umbrella = await tenant(server, "acme"), await tenant(server, "umbrella")
    broken = tmp_path / "tenants" / "acme" / "agentspan.db"
    for file in broken.parent.glob("agentspan.db*"):
        file.unlink()
    broken.write_bytes(b"this is no database" * 1000)
    async with running(tmp_path, **KEY) as server:
        acme.server = umbrella.server = server
        assert await acme.status("GET", "/api/agent/list") == 503
        assert await umbrella.status("GET", "/api/agent/list") == 200


async def test_a_tenant_is_deleted_only_when_one_says_so_and_its_data_stays(locked, tmp_path):
    acme = await tenant(locked, "acme")
    ann = await user(locked, "admin", "ann", tenant="acme")
    assert await root(locked).status("DELETE", "/api/tenants/acme") == 400
    assert await root(locked).status("DELETE", "/api/tenants/default?confirm=default") == 400
    assert await root(locked).status("DELETE", "/api/tenants/acme?confirm=acme") == 204
    assert (await acme.status("GET", "/api/agent/list"), await ann.status("GET", "/api/agent/list")) == (401, 401)
    assert (tmp_path / "tenants" / "acme" / "agentspan.db").exists()


@pytest.mark.parametrize("name", ["", "A", "9", "a-b", "a" * 41, "default", "../x", 'a"b'])
async def test_a_tenant_that_cannot_be_is_refused(locked, name):
    answer = await root(locked).ask("POST", "/api/tenants", {"name": name})
    assert answer.status_code in (400, 409)


# Quotas


async def test_a_quota_is_refused_with_a_sentence_and_lifted_at_once(locked):
    acme = await tenant(locked, "acme")
    for name, value in (("runningExecutions", 1), ("startsPerMinute", 1)):
        assert await root(locked).status("PATCH", "/api/tenants/acme", {"quotas": {name: value}}) == 200
        if name == "runningExecutions":
            await started(acme, agent("adder", ADD))
        answer = await acme.ask("POST", "/api/agent/start", {"agentConfig": agent(), "prompt": "Hi"})
        assert answer.status_code == 429, name
        assert "1 runs of this tenant" in answer.json()["message"]
    assert await root(locked).status("PATCH", "/api/tenants/acme", {"quotas": {}}) == 200
    await started(acme)


async def test_what_was_spent_today_counts(tmp_path):
    async with running(tmp_path, **KEY) as server:
        paid = [{"content": "Hello.", "usage": {"prompt_tokens": 60, "completion_tokens": 40}, "cost": 0.5}]
        (tmp_path / "scripts" / "paid.json").write_text(json.dumps({"paid": paid}))
        acme = await tenant(server, "acme")
        run = await started(acme, agent("paid"))
        assert (await acme.ask("GET", f"/api/agent/{run}/status?waitMs=10000")).json()["isComplete"]
        for name, value in (("tokensPerDay", 100), ("dollarsPerDay", 0.5)):
            for limit, status in ((value, 429), (value * 1.01, 200)):
                assert await root(server).status("PATCH", "/api/tenants/acme", {"quotas": {name: limit}}) == 200
                asked = {"agentConfig": agent("plain"), "prompt": "Hi"}
                assert await acme.status("POST", "/api/agent/start", asked) == status, (name, limit)


@pytest.mark.parametrize(
    "quotas", [{"cats": 1}, {"tokensPerDay": -1}, {"tokensPerDay": "many"}, {"tokensPerDay": True}]
)
async def test_a_quota_that_cannot_be_is_refused(locked, quotas):
    assert await root(locked).status("POST", "/api/tenants", {"name": "acme", "quotas": quotas}) == 400


def test_a_tenant_has_its_own_file_or_schema(tmp_path):
    here = {"AGENTSPAN_DATA_DIR": str(tmp_path)}
    postgres = {**here, "AGENTSPAN_DATABASE_URL": "postgresql://u:p@h/db?sslmode=require"}
    for found in (Settings.load(here), Settings.load(postgres)):
        assert found.of_tenant("default") is found
        names = [found.of_tenant(name).database_url for name in ("acme", "umbrella")]
        assert len({*names, found.database_url}) == 3
    assert "search_path%3Dtenant_acme" in names[0] or "search_path=tenant_acme" in names[0]
