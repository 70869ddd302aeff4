"""Ways to get in, or further than one may, that lead nowhere."""

import asyncio
import logging

import httpx
import pytest

from agentspan.server import logs
from tests.server.conftest import KEY
from tests.server.running import ADD, Running, agent, running
from tests.server.test_access import PASSWORD, Guest, concluded, key, logged_in, made, root, started, user
from tests.server.test_tenants import database, tenant  # noqa: F401
from tests.server.test_ui import ready, serving, socket

GUARDED = {**ADD, "approvalRequired": True}
FOUR_EYES = {**GUARDED, "approval": {"requesterMayNotApprove": True}}


async def asked(server: Running, run: str) -> dict:
    """What a run asks, once it does."""
    async with asyncio.timeout(10):
        while True:
            answer = await root(server).ask("GET", f"/api/agent/{run}/requests")
            if found := answer.json()["requests"]:
                return found[0]
            await asyncio.sleep(0.02)


async def ref_of(server: Running, run: str, request_id: str) -> str:
    """By which word the request is known within its run."""
    tasks = (await root(server).ask("GET", f"/api/workflow/{run}?includeTasks=true")).json()["tasks"]
    return next(each["referenceTaskName"] for each in tasks if each["taskId"] == request_id)


# Who answers


async def test_who_works_answers_no_request_by_the_way_of_tasks(locked):
    run = await started(root(locked), agent("adder", GUARDED))
    request = await asked(locked, run)
    ref = await ref_of(locked, run, request["requestId"])
    worker = await key(locked, scopes=["work"])
    for path in (f"/api/tasks/{run}/{ref}/COMPLETED", f"/api/agent/tasks/{run}/{ref}/COMPLETED"):
        assert await worker.status("POST", path, {"approved": True}) == 403
    assert (await asked(locked, run))["requestId"] == request["requestId"]
    dev = await user(locked, "developer", "dev")
    assert await dev.status("POST", f"/api/tasks/{run}/{ref}/COMPLETED", {"approved": True}) == 200
    assert ("request.answered", "dev") in [(each["action"], each["by"]) for each in await concluded(locked)]


async def test_who_works_is_not_shown_the_run_for_a_report(locked):
    run = await started(root(locked), agent("adder", ADD))
    worker = await key(locked, scopes=["work"])
    [task] = (await worker.ask("GET", "/api/tasks/poll/batch/add?timeout=5000")).json()
    path = f"/api/tasks/{run}/{task['referenceTaskName']}/COMPLETED/sync"
    answer = await worker.ask("POST", path, {"result": 5})
    assert answer.status_code == 403


@pytest.mark.parametrize("way", ["key", "link", "task"])
async def test_who_asked_for_a_run_does_not_approve_its_calls_by_another_way(locked, way):
    dev = await user(locked, "developer", "dev")
    run = await started(dev, agent("adder", FOUR_EYES))
    request = await asked(locked, run)
    if way == "key":
        found = await made(dev, "/api/keys", {"name": "boss", "role": "operator"})
        bot = Guest(locked, **{"X-API-Key": found["key"], "X-Agentspan-User": "boss"})
        answer = await bot.ask("POST", f"/api/agent/{run}/respond?by=boss", {"approved": True})
    elif way == "link":
        link = await dev.ask("POST", f"/api/inbox/{request['requestId']}/link", {"by": "boss"})
        answer = link
        if link.status_code == 200:
            answer = await Guest(locked).ask("POST", link.json()["url"], {"approved": True})
    else:
        ref = await ref_of(locked, run, request["requestId"])
        answer = await dev.ask("POST", f"/api/tasks/{run}/{ref}/COMPLETED", {"approved": True})
    assert answer.status_code == 403, answer.text


# Who is let in


async def test_who_has_the_name_of_a_deleted_user_is_not_taken_for_them(locked):
    old = await user(locked, "viewer", "ann")
    assert await root(locked).status("DELETE", "/api/users/ann") == 204
    await user(locked, "admin", "ann")
    assert await old.status("GET", "/api/users") == 401


async def test_many_guesses_at_once_are_no_more_than_few(locked):
    await user(locked, "viewer", "ann")
    guess = {"username": "ann", "password": "wrong password"}
    answers = await asyncio.gather(*(locked.http.post("/api/auth/login", json=guess) for _ in range(12)))
    found = sorted(each.status_code for each in answers)
    assert found == [401] * 4 + [429] * 8


async def test_many_who_are_right_at_once_all_come_in(locked):
    given = {"keyId": "kim", "keySecret": "s3cret"}
    answers = await asyncio.gather(*(locked.http.post("/api/token", json=given) for _ in range(12)))
    assert {each.status_code for each in answers} == {200}


async def test_a_guess_about_a_huge_name_is_not_kept(locked):
    huge = {"username": "x" * 1_000_000, "password": "wrong password"}
    assert (await locked.http.post("/api/auth/login", json=huge)).status_code == 401
    entries = (await root(locked).ask("GET", "/api/audit")).text
    assert len(entries) < 5_000


async def test_wrong_credentials_are_counted_as_requests(tmp_path):
    async with running(tmp_path, **KEY, AGENTSPAN_RATE_LIMIT="3/min per address") as server:
        wrong = Guest(server, **{"X-API-Key": "guessed"})
        assert [await wrong.status("GET", "/api/agent/list") for _ in range(4)] == [401, 401, 401, 429]


async def test_a_new_password_does_not_let_in_who_was_disabled_meanwhile(locked):
    ann = await user(locked, "admin", "ann")
    change = asyncio.create_task(ann.status("POST", "/api/auth/password", {"old": PASSWORD, "new": "another password"}))
    await asyncio.sleep(0.1)
    assert await root(locked).status("PATCH", "/api/users/ann", {"disabled": True, "role": "viewer"}) == 200
    await change
    [found] = (await root(locked).ask("GET", "/api/users")).json()
    assert (found["disabled"], found["role"]) == (True, "viewer")


async def test_two_users_of_one_name_at_once_are_one(locked):
    body = {"name": "ann", "role": "viewer"}
    found = await asyncio.gather(*(root(locked).status("POST", "/api/users", body) for _ in range(4)))
    assert sorted(found) == [201, 409, 409, 409]


async def test_a_session_does_not_prolong_itself(locked):
    await user(locked, "viewer", "ann")
    form = {"key": "ann", "secret": PASSWORD}
    answer = await locked.http.post("/login", data=form)
    assert answer.status_code == 303
    own = {"Origin": locked.url}
    assert (await locked.http.get("/api/auth/me")).json()["name"] == "ann"
    assert (await locked.http.post("/api/auth/ticket", headers=own)).status_code == 403


async def test_a_link_with_a_ticket_does_not_make_somebody_else_of_who_has_logged_in(locked):
    await user(locked, "viewer", "ann")
    mallory = await user(locked, "viewer", "mallory")
    await locked.http.post("/login", data={"key": "ann", "secret": PASSWORD})
    ticket = (await mallory.ask("POST", "/api/auth/ticket")).json()["ticket"]
    assert (await locked.http.get("/login", params={"ticket": ticket})).status_code == 303
    assert (await locked.http.get("/api/auth/me")).json()["name"] == "ann"


# Keys


async def test_a_key_of_somebodys_name_is_not_them(locked):
    ann, eve = await user(locked, "developer", "ann"), await user(locked, "developer", "eve")
    anns = await made(ann, "/api/keys", {"name": "ci", "role": "viewer"})
    roots = await made(root(locked), "/api/keys", {"name": "ops", "role": "admin"})
    for name in ("ann", "kim"):
        found = await made(eve, "/api/keys", {"name": name, "role": "viewer"})
        fake = Guest(locked, **{"X-API-Key": found["key"]})
        assert [each["name"] for each in (await fake.ask("GET", "/api/keys")).json()] == []
        for each in (anns, roots):
            await fake.ask("DELETE", f"/api/keys/{each['id']}")
    for each in (anns, roots):
        assert await Guest(locked, **{"X-API-Key": each["key"]}).status("GET", "/api/agent/list") == 200


async def test_a_user_of_the_name_of_the_settings_key_has_none_of_its_keys(locked):
    kept = await made(root(locked), "/api/keys", {"name": "ops", "role": "admin"})
    kim = await user(locked, "viewer", "kim")
    assert (await kim.ask("GET", "/api/keys")).json() == []
    await kim.ask("DELETE", f"/api/keys/{kept['id']}")
    assert await Guest(locked, **{"X-API-Key": kept["key"]}).status("GET", "/api/agent/list") == 200


async def test_a_key_that_ends_makes_none_that_does_not(locked):
    bot = await key(locked, role="developer", expiresSeconds=3600)
    assert await bot.status("POST", "/api/keys", {"name": "for ever", "role": "developer"}) == 403


@pytest.mark.parametrize("end", [("DELETE", None), ("PATCH", {"disabled": True})])
async def test_who_is_out_is_out_with_the_keys_that_they_made(locked, end):
    dev = await user(locked, "developer", "dev")
    found = await made(dev, "/api/keys", {"name": "door", "role": "developer"})
    door = Guest(locked, **{"X-API-Key": found["key"]})
    assert await door.status("GET", "/api/agent/list") == 200
    verb, body = end
    assert await root(locked).status(verb, "/api/users/dev", body) in (200, 204)
    assert await door.status("GET", "/api/agent/list") == 401
    if verb == "DELETE":
        await user(locked, "developer", "dev")
        assert await door.status("GET", "/api/agent/list") == 401


async def test_a_key_may_do_no_more_than_who_made_it_may_now(locked):
    dev = await user(locked, "developer", "dev")
    found = await made(dev, "/api/keys", {"name": "door", "role": "developer"})
    door = Guest(locked, **{"X-API-Key": found["key"]})
    assert await root(locked).status("PATCH", "/api/users/dev", {"role": "viewer"}) == 200
    assert (await door.ask("GET", "/api/auth/me")).json()["scopes"] == ["metrics", "read"]


async def test_who_looks_after_users_does_not_become_one_who_may_more(locked):
    await user(locked, "admin", "boss")
    clerk = await key(locked, scopes=["admin"])
    assert await clerk.status("PATCH", "/api/users/boss", {"password": "a password of mine"}) == 403


async def test_nobody_fills_the_roll_with_keys(locked):
    ann = await user(locked, "viewer", "ann")
    wide = {"name": "wide", "scopes": ["read"] * 10_000}
    made_wide = await ann.ask("POST", "/api/keys", wide)
    assert made_wide.status_code == 201
    assert locked.tenants.access.roll.keys[made_wide.json()["id"]].scopes == "read"
    statuses = [await ann.status("POST", "/api/keys", {"name": "k", "role": "viewer"}) for _ in range(60)]
    assert statuses[-1] == 409
    assert await root(locked).status("POST", "/api/keys", {"name": "k", "role": "viewer"}) == 201


# The audit


async def test_the_audit_names_the_key_whoever_it_speaks_for(locked):
    bot = await key(locked, role="developer")
    bot.headers["X-Agentspan-User"] = "boss"
    await bot.ask("POST", "/api/credentials", {"name": "TOKEN", "value": "a value"})
    entry = (await concluded(locked))[-1]
    assert (entry["kind"], entry["by"], entry["detail"]["for"]) == ("key", "bot", "boss")


async def test_no_entry_of_the_audit_is_larger_than_what_it_tells(locked):
    ann = await user(locked, "viewer", "ann")
    for body in ({"name": "x" * 100_000, "role": "viewer"}, {"name": "x", "scopes": ["y" * 100_000] * 5}):
        assert await ann.status("POST", "/api/keys", body) == 400
    await root(locked).ask("PATCH", "/api/users/ann", {"displayName": "z" * 100_000})
    await concluded(locked)
    assert len((await root(locked).ask("GET", "/api/audit")).text) < 10_000
    assert len(locked.tenants.access.roll.users["ann"].display_name) <= 200


async def test_a_name_that_somebody_says_is_one_line_of_text(locked, database, tmp_path):  # noqa: F811
    async with running(tmp_path / "other", **KEY, **database) as server:
        bot = await key(server, role="developer")
        bot.headers["X-Agentspan-User"] = "boss%0A%00%1b[31m" + "x" * 3_000
        assert await bot.status("POST", "/api/credentials", {"name": "TOKEN", "value": "a value"}) == 201
        said = (await concluded(server))[-1]["detail"]["for"]
        assert said.startswith("boss [31m")
        assert len(said) <= 200
        assert await root(server).status("DELETE", "/api/users/a%00b") in (204, 400)
        assert await root(server).status("GET", "/api/audit?by=a%00b") in (200, 400)


async def test_a_link_is_not_kept_in_the_audit(locked):
    run = await started(root(locked), agent("adder", GUARDED))
    request = await asked(locked, run)
    link = (await root(locked).ask("POST", f"/api/inbox/{request['requestId']}/link", {"by": "lee"})).json()
    seen = []
    audit = locked.tenants.at_home.audit
    begin = audit.begin

    async def watched(by, who, action, subject, address):
        seen.append(subject)
        return await begin(by, who, action, subject, address)

    audit.begin = watched
    assert await Guest(locked).status("POST", link["url"], {"approved": True}) == 200
    assert seen == [request["requestId"]]


# Tenants


async def test_who_may_not_know_it_does_not_learn_which_tenants_there_are(locked):
    acme = await tenant(locked, "acme")
    await tenant(locked, "umbrella")
    signed = {"X-Agentspan-Signature": "sha256=0"}
    hooks = [
        await locked.http.post(f"/api/hooks/x?tenant={name}", json={}, headers=headers)
        for headers in ({}, signed)
        for name in ("umbrella", "nowhere")
    ]
    assert [each.status_code for each in hooks] == [401, 401, 404, 404]
    assert [each.json()["message"] for each in hooks[::2]] == [each.json()["message"] for each in hooks[1::2]]
    for path in ("/api/users", "/api/keys"):
        bodies = [{"name": "x", "role": "viewer", "tenant": name} for name in ("umbrella", "nowhere")]
        assert [await acme.status("POST", path, body) for body in bodies] == [403, 403]


async def test_a_shut_tenant_is_shut_at_once_for_links_and_webhooks_too(locked):
    acme = await tenant(locked, "acme")
    run = await started(acme, agent("adder", GUARDED))
    async with asyncio.timeout(10):
        while not (found := (await acme.ask("GET", f"/api/agent/{run}/requests")).json()["requests"]):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    link = (await acme.ask("POST", f"/api/inbox/{found[0]['requestId']}/link", {})).json()
    assert await Guest(locked).status("GET", link["url"]) == 200
    assert await root(locked).status("PATCH", "/api/tenants/acme", {"disabled": True}) == 200
    assert await Guest(locked).status("GET", link["url"]) == 404
    assert await Guest(locked).status("POST", link["url"], {"approved": True}) == 404


async def test_starts_at_once_do_not_pass_the_quota(locked):
    acme = await tenant(locked, "acme")
    assert await root(locked).status("PATCH", "/api/tenants/acme", {"quotas": {"runningExecutions": 2}}) == 200
    begin = {"agentConfig": agent("slow"), "prompt": "Hi"}
    found = await asyncio.gather(*(acme.status("POST", "/api/agent/start", begin) for _ in range(12)))
    assert sorted(found) == [200] * 2 + [429] * 10


# Streams


@pytest.mark.parametrize("path", ["/api/agent/stream/{run}", "/api/changes"])
async def test_a_stream_ends_soon_after_its_key_was_revoked(locked, monkeypatch, path):
    monkeypatch.setattr("agentspan.server.handler.RECHECK_SECONDS", 0.2)
    run = await started(root(locked), agent("slow"))
    found = await made(root(locked), "/api/keys", {"name": "bot", "role": "viewer"})
    watcher = Guest(locked, **{"X-API-Key": found["key"]})
    reading = asyncio.create_task(watcher.ask("GET", path.format(run=run)))
    await asyncio.sleep(0.6)
    assert not reading.done()
    assert await root(locked).status("DELETE", f"/api/keys/{found['id']}") == 204
    async with asyncio.timeout(5):
        await asyncio.gather(reading, return_exceptions=True)
    assert reading.done()


async def test_a_poll_of_a_revoked_key_takes_no_task(locked, monkeypatch):
    monkeypatch.setattr("agentspan.server.handler.RECHECK_SECONDS", 0.1)
    found = await made(root(locked), "/api/keys", {"name": "bot", "scopes": ["work"]})
    worker = Guest(locked, **{"X-API-Key": found["key"]})
    polling = asyncio.create_task(worker.ask("GET", "/api/tasks/poll/batch/add?timeout=5000"))
    await asyncio.sleep(0.2)
    assert await root(locked).status("DELETE", f"/api/keys/{found['id']}") == 204
    await asyncio.gather(polling, return_exceptions=True)
    run = await started(root(locked), agent("adder", ADD))
    worker = await key(locked, scopes=["work"])
    [task] = (await worker.ask("GET", "/api/tasks/poll/batch/add?timeout=5000")).json()
    assert task["workflowInstanceId"] == run


# Pages


async def test_no_address_makes_the_login_fail(locked):
    await user(locked, "viewer", "ann")
    form = {"key": "ann", "secret": PASSWORD, "next": "/ui/\r\nX: y"}
    answer = await locked.http.post("/login", data=form)
    assert (answer.status_code, answer.headers["Location"]) == (303, "ui/")


# Work


async def test_who_works_neither_answers_for_a_person_nor_for_a_model_by_a_report(locked):
    worker = await key(locked, scopes=["work"])
    run = await started(root(locked), agent("adder", GUARDED))
    request = await asked(locked, run)
    thinking = await started(root(locked), agent("slow"))
    tasks = (await root(locked).ask("GET", f"/api/workflow/{thinking}?includeTasks=true")).json()["tasks"]
    for task_id, output in ((request["requestId"], {"approved": True}), (tasks[0]["taskId"], {"content": "forged"})):
        done = {"taskId": task_id, "workflowInstanceId": run, "status": "COMPLETED", "outputData": output}
        await worker.ask("POST", "/api/tasks", done)
        [receipt] = (await worker.ask("POST", "/api/tasks/report", {"results": [done]})).json()["receipts"]
        assert not receipt["landed"]
        assert await worker.status("POST", "/api/tasks", {**done, "status": "IN_PROGRESS"}) == 400
    [found] = (await root(locked).ask("GET", f"/api/agent/{run}/requests")).json()["requests"]
    assert found["status"] == "open"
    status = (await root(locked).ask("GET", f"/api/agent/{thinking}/status")).json()
    assert status["isRunning"]


# What is left


async def test_a_new_tenant_sees_nothing_of_a_former_one_of_its_name(tmp_path, database):  # noqa: F811
    async with running(tmp_path, **KEY, **database) as server:
        former = await tenant(server, "acme")
        run = await started(former)
        assert await root(server).status("DELETE", "/api/tenants/acme?confirm=acme") == 204
        answer = await root(server).ask("POST", "/api/tenants", {"name": "acme"})
        assert answer.status_code == 409
        assert "former tenant" in answer.json()["message"]
        await made(root(server), "/api/tenants", {"name": "acme", "adopt": True})
        later = await key(server, tenant="acme", role="admin")
        assert await later.status("GET", f"/api/agent/{run}/status") == 200


def test_no_text_of_somebodys_is_a_line_of_the_log():
    record = logging.LogRecord(
        "agentspan", logging.WARNING, "", 0, "refused %s", ("x\n2026 INFO all is well\x1b[2J",), None
    )
    record.about = {"execution_id": "x\r\nforged"}
    assert len(logs.Text().format(record).splitlines()) == 1
    assert "\x1b" not in logs.Text().format(record)


# Addresses


async def test_others_guesses_do_not_shut_out_who_has_come_in_before(locked):
    await user(locked, "viewer", "ann")
    transport = httpx.AsyncHTTPTransport(local_address="127.0.0.2")
    async with httpx.AsyncClient(base_url=locked.url, transport=transport, trust_env=False) as elsewhere:
        for _ in range(5):
            guess = {"username": "ann", "password": "wrong password"}
            answer = await elsewhere.post("/api/auth/login", json=guess)
    assert answer.status_code == 429
    await logged_in(locked, "ann")


async def test_an_address_is_believed_of_our_own_proxies_alone(tmp_path, locked):
    told = {"X-Forwarded-For": "198.51.100.9, 203.0.113.7, 127.0.0.3"}
    await locked.http.post("/api/auth/login", json={"username": "x", "password": "y"}, headers=told)
    assert [each["address"] for each in await concluded(locked)] == ["127.0.0.1"]
    async with running(tmp_path / "other", **KEY, AGENTSPAN_TRUSTED_PROXIES="127.0.0.0/8") as server:
        await server.http.post("/api/auth/login", json={"username": "x", "password": "y"}, headers=told)
        assert [each["address"] for each in await concluded(server)] == ["203.0.113.7"]


async def test_a_link_ends_with_who_gave_it(locked):
    run = await started(root(locked), agent("adder", GUARDED))
    request = await asked(locked, run)
    lee = await user(locked, "operator", "lee")
    link = (await lee.ask("POST", f"/api/inbox/{request['requestId']}/link", {})).json()
    assert await Guest(locked).status("GET", link["url"]) == 200
    assert await root(locked).status("PATCH", "/api/users/lee", {"disabled": True}) == 200
    assert await Guest(locked).status("GET", link["url"]) == 401
    assert await Guest(locked).status("POST", link["url"], {"approved": True}) == 401


async def test_lines_are_kept_of_tasks_that_there_are(locked):
    worker = await key(locked, scopes=["work"])
    answer = await locked.http.post("/api/tasks/x.t1/log", content="line", headers=worker.headers)
    assert answer.status_code == 404


async def test_a_session_does_not_tell_the_password(locked):
    ann = await user(locked, "viewer", "ann")
    guess = {"old": "wrong password", "new": "another password"}
    assert [await ann.status("POST", "/api/auth/password", guess) for _ in range(6)] == [403] * 4 + [429] * 2


# Pages


async def test_a_websocket_of_a_page_ends_soon_after_its_user_was_disabled(tmp_path, monkeypatch):
    monkeypatch.setattr("agentspan.server.handler.RECHECK_SECONDS", 0.1)
    async with serving(tmp_path, **KEY) as (server, pages):
        ann = await user(server, "viewer", "ann")
        server.http.headers.update(ann.headers)
        await ready(server, pages)
        async with socket(server, ann.headers) as one:
            await one.write_message("still here")
            assert await one.read_message() == "still here"
            assert await root(server).status("PATCH", "/api/users/ann", {"disabled": True}) == 200
            async with asyncio.timeout(5):
                assert await one.read_message() is None


# Of tenants and their tasks


async def test_a_tenant_that_cannot_be_opened_keeps_no_other_from_being_shut(locked, tmp_path):
    await tenant(locked, "acme")
    await tenant(locked, "broken")
    await locked.tenants._close("broken")
    for file in (tmp_path / "tenants" / "broken").glob("agentspan.db*"):
        file.write_bytes(b"this is no database, and never was one " * 100)
    assert await root(locked).status("PATCH", "/api/tenants/acme", {"disabled": True}) == 200
    await locked.tenants._look_after()
    assert locked.tenants.at_hand("acme") is None
    assert locked.tenants.at_hand("broken") is None


async def test_a_task_of_another_tenant_leads_to_no_queue(locked):
    acme, umbrella = await tenant(locked, "acme"), await tenant(locked, "umbrella")
    run = await started(acme, agent("adder", ADD))
    await started(umbrella, agent("adder", ADD))
    [task] = (await acme.ask("GET", "/api/tasks/poll/batch/add?timeout=5000")).json()
    done = {"taskId": task["taskId"], "workflowInstanceId": run, "status": "COMPLETED", "outputData": {}}
    assert await umbrella.status("POST", "/api/tasks/update-v2", done) == 404
    assert await acme.status("POST", "/api/tasks/update-v2", done) == 204
