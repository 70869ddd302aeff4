"""Users, keys and roles: who is let in, and what each may do."""

import asyncio

import httpx
import pytest

from agentspan.config import ROLE_NAMES
from agentspan.engine.access import ROLES
from agentspan.store import access
from tests.server.running import ADD, Running, agent

PASSWORD = "correct horse battery"


class Guest:
    """Somebody who asks a server with headers of their own."""

    def __init__(self, server: Running, **headers: str) -> None:
        self.server, self.headers = server, headers

    async def ask(self, verb: str, path: str, body=None, **options) -> httpx.Response:
        return await self.server.http.request(verb, path, json=body, headers=self.headers, **options)

    async def status(self, verb: str, path: str, body=None) -> int:
        return (await self.ask(verb, path, body)).status_code


def root(server: Running) -> Guest:
    return Guest(server, **{"X-API-Key": "s3cret"})


async def made(guest: Guest, path: str, body) -> dict:
    answer = await guest.ask("POST", path, body)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def user(server: Running, role: str, name: str = "", tenant: str = "") -> Guest:
    """A new user, logged in."""
    name = name or role
    await made(root(server), "/api/users", {"name": name, "password": PASSWORD, "role": role, "tenant": tenant})
    return await logged_in(server, name)


async def logged_in(server: Running, name: str, password: str = PASSWORD) -> Guest:
    found = await server.post("/api/auth/login", {"username": name, "password": password})
    return Guest(server, **{"X-Authorization": found["token"]})


async def key(server: Running, tenant: str = "", **given) -> Guest:
    """A program with a new API key."""
    found = await made(root(server), "/api/keys", {"name": "bot", "tenant": tenant, **given})
    return Guest(server, **{"X-API-Key": found["key"]})


async def started(guest: Guest, config=None) -> str:
    """A run that they have begun."""
    answer = await guest.ask("POST", "/api/agent/start", {"agentConfig": config or agent(), "prompt": "Hi"})
    assert answer.status_code == 200, answer.text
    return answer.json()["executionId"]


# Who is let in


def test_the_roles_that_a_provider_may_give_are_those_that_there_are():
    assert tuple(ROLES) == ROLE_NAMES


async def test_a_user_logs_in_and_is_told_who_they_are(locked):
    kim = await user(locked, "operator", "kim möller")
    me = (await kim.ask("GET", "/api/auth/me")).json()
    assert (me["kind"], me["name"], me["tenant"], me["role"]) == ("user", "kim möller", "default", "operator")
    assert me["scopes"] == ["answer", "control", "metrics", "read"]


async def test_a_wrong_password_and_an_unknown_user_are_told_apart_by_nobody(locked):
    await user(locked, "viewer", "ann")
    answers = [
        await locked.http.post("/api/auth/login", json={"username": name, "password": "wrong password"})
        for name in ("ann", "nobody")
    ]
    assert [each.status_code for each in answers] == [401, 401]
    assert answers[0].json()["message"] == answers[1].json()["message"]


async def test_guesses_are_slowed_down_by_whom_they_are_about(locked):
    await user(locked, "viewer", "ann")
    for _ in range(4):
        wrong = {"username": "ann", "password": "wrong password"}
        assert (await locked.http.post("/api/auth/login", json=wrong)).status_code == 401
    answer = await locked.http.post("/api/auth/login", json={"username": "ann", "password": PASSWORD})
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) >= 1


@pytest.mark.parametrize("change", [{"disabled": True}, {"password": "another password"}, {"role": "operator"}])
async def test_a_changed_user_must_log_in_again(locked, change):
    ann = await user(locked, "viewer", "ann")
    assert await ann.status("GET", "/api/agent/list") == 200
    assert await root(locked).status("PATCH", "/api/users/ann", change) == 200
    assert await ann.status("GET", "/api/agent/list") == 401


async def test_a_deleted_user_is_out(locked):
    ann = await user(locked, "viewer", "ann")
    assert await root(locked).status("DELETE", "/api/users/ann") == 204
    assert await ann.status("GET", "/api/agent/list") == 401
    answer = await locked.http.post("/api/auth/login", json={"username": "ann", "password": PASSWORD})
    assert answer.status_code == 401


async def test_a_user_changes_their_own_password(locked):
    ann = await user(locked, "viewer", "ann")
    assert await ann.status("POST", "/api/auth/password", {"old": "wrong", "new": "another password"}) == 403
    assert await ann.status("POST", "/api/auth/password", {"old": PASSWORD, "new": "short"}) == 400
    assert await ann.status("POST", "/api/auth/password", {"old": PASSWORD, "new": "another password"}) == 204
    assert await ann.status("GET", "/api/auth/me") == 401
    assert await (await logged_in(locked, "ann", "another password")).status("GET", "/api/auth/me") == 200


async def test_a_key_is_accepted_in_every_form_that_clients_send(locked):
    found = await made(root(locked), "/api/keys", {"name": "bot", "role": "developer"})
    text, key_id = found["key"], found["id"]
    token = (await locked.post("/api/token", {"keyId": key_id, "keySecret": text}))["token"]
    for headers in (
        {"X-API-Key": text},
        {"Authorization": f"Bearer {text}"},
        {"X-Authorization": text},
        {"X-Auth-Key": key_id, "X-Auth-Secret": text},
        {"X-Auth-Key": key_id, "X-Auth-Secret": text.rpartition("_")[2]},
        {"X-Authorization": token},
        {"Authorization": f"Bearer {token}"},
    ):
        me = (await Guest(locked, **headers).ask("GET", "/api/auth/me")).json()
        assert (me.get("kind"), me.get("name")) == ("key", "bot"), headers
    for wrong in (text[:-1], text + "0", text.replace("asp_", "asp_x"), f"asp_{key_id}_", "asp_", "asp__"):
        assert await Guest(locked, **{"X-API-Key": wrong}).status("GET", "/api/auth/me") == 401, wrong


async def test_a_revoked_key_opens_nothing_and_neither_does_its_token(locked):
    found = await made(root(locked), "/api/keys", {"name": "bot", "role": "viewer"})
    token = (await locked.post("/api/token", {"keyId": found["id"], "keySecret": found["key"]}))["token"]
    bot, by_token = Guest(locked, **{"X-API-Key": found["key"]}), Guest(locked, **{"X-Authorization": token})
    assert (await bot.status("GET", "/api/agent/list"), await by_token.status("GET", "/api/agent/list")) == (200, 200)
    assert await root(locked).status("DELETE", f"/api/keys/{found['id']}") == 204
    assert (await bot.status("GET", "/api/agent/list"), await by_token.status("GET", "/api/agent/list")) == (401, 401)
    [kept] = (await root(locked).ask("GET", "/api/keys")).json()
    assert kept["revokedAt"]
    assert "key" not in kept


async def test_an_expired_key_opens_nothing(locked):
    found = await made(root(locked), "/api/keys", {"name": "bot", "role": "viewer", "expiresSeconds": 1})
    bot = Guest(locked, **{"X-API-Key": found["key"]})
    await eventually_status(bot, 401)


async def eventually_status(guest: Guest, status: int) -> None:
    async with asyncio.timeout(5):
        while await guest.status("GET", "/api/agent/list") != status:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_neither_passwords_nor_keys_are_stored_or_shown(locked, tmp_path):
    await user(locked, "viewer", "ann")
    found = await made(root(locked), "/api/keys", {"name": "bot", "role": "viewer"})
    secret = found["key"].rpartition("_")[2]
    stored = b"".join(file.read_bytes() for file in tmp_path.rglob("agentspan.db*"))
    assert PASSWORD.encode() not in stored
    assert secret.encode() not in stored
    for path in ("/api/users", "/api/keys", "/api/audit"):
        shown = (await root(locked).ask("GET", path)).text
        assert PASSWORD not in shown
        assert secret not in shown


# What they may do

DOES = {
    "read": ("GET", "/api/agent/list", None),
    "run": ("POST", "/api/agent/start", {"agentConfig": agent(), "prompt": "Hi"}),
    "work": ("GET", "/api/tasks/poll/batch/add?timeout=1", None),
    "define": ("POST", "/api/agent/deploy", {"agentConfig": agent()}),
    "secrets": ("POST", "/api/credentials", {"name": "TOKEN", "value": "a value"}),
    "metrics": ("GET", "/metrics", None),
    "admin": ("GET", "/api/users", None),
}


@pytest.mark.parametrize(
    ("role", "may"),
    [
        ("viewer", {"read", "metrics"}),
        ("operator", {"read", "metrics"}),
        ("developer", {"read", "run", "work", "define", "secrets", "metrics"}),
        ("admin", set(DOES)),
    ],
)
async def test_a_role_may_do_so_much_and_no_more(locked, role, may):
    who = await user(locked, role)
    for what, asked in DOES.items():
        status = await who.status(*asked)
        assert (status < 300) == (what in may), (role, what, status)
        assert status < 300 or status == 403


async def test_a_refusal_says_what_would_be_needed(locked):
    answer = await (await user(locked, "viewer", "ann")).ask("POST", "/api/agent/start", DOES["run"][2])
    assert answer.json()["message"] == "this takes the right to 'run'; ann may: metrics, read"


async def test_a_key_for_workers_polls_and_reports_and_nothing_else(locked):
    execution_id = await started(root(locked), agent("adder", ADD))
    worker = await key(locked, scopes=["work"])
    [task] = (await worker.ask("GET", "/api/tasks/poll/batch/add?timeout=5000")).json()
    assert task["workflowInstanceId"] == execution_id
    done = {"taskId": task["taskId"], "workflowInstanceId": execution_id, "status": "COMPLETED", "outputData": {}}
    assert await worker.status("POST", "/api/tasks", done) == 200
    assert await worker.status("GET", f"/api/agent/{execution_id}/status") == 403
    assert await worker.status("GET", "/api/credentials") == 403


async def test_nobody_gives_more_than_they_have(locked):
    dev = await user(locked, "developer", "dev")
    assert await dev.status("POST", "/api/keys", {"name": "more", "role": "admin"}) == 403
    assert await dev.status("POST", "/api/keys", {"name": "more", "scopes": ["run", "admin"]}) == 403
    found = await made(dev, "/api/keys", {"name": "ci", "scopes": ["run", "read"]})
    other = await user(locked, "developer", "other")
    assert (await other.ask("GET", "/api/keys")).json() == []
    assert await other.status("DELETE", f"/api/keys/{found['id']}") == 204
    assert await Guest(locked, **{"X-API-Key": found["key"]}).status("GET", "/api/agent/list") == 200


@pytest.mark.parametrize(
    "body",
    [
        {"name": "x", "role": "king"},
        {"name": "", "role": "viewer"},
        {"name": " x", "role": "viewer"},
        {"name": "x" * 101, "role": "viewer"},
        {"name": "x", "role": "viewer", "password": "short"},
        {"name": "x", "role": "viewer", "password": "p" * 1025},
    ],
)
async def test_a_user_who_cannot_be_is_refused_with_a_sentence(locked, body):
    answer = await root(locked).ask("POST", "/api/users", body)
    assert answer.status_code == 400
    assert len(answer.json()["message"]) > 20


async def test_a_user_decides_in_their_own_name_whatever_they_say(locked):
    guarded = {**ADD, "approvalRequired": True}
    run = await started(root(locked), agent("adder", guarded))
    kim = await user(locked, "operator", "kim")
    kim.headers["X-Agentspan-User"] = "boss"
    for _ in range(100):
        if asked := (await kim.ask("GET", f"/api/agent/{run}/requests")).json()["requests"]:
            break
        await asyncio.sleep(0.02)
    assert asked
    assert await kim.status("POST", f"/api/agent/{run}/respond?by=boss", {"approved": True}) == 200
    again = await kim.ask("POST", f"/api/agent/{run}/respond?requestId={asked[0]['requestId']}", {"approved": True})
    assert again.json()["decidedBy"] == "kim"
    entries = (await root(locked).ask("GET", "/api/audit?action=request.answered")).json()["entries"]
    assert {(each["by"], each["kind"]) for each in entries} == {("kim", "user")}
    assert entries[-1]["detail"]["approved"] is True


async def test_who_asked_for_a_run_does_not_approve_its_calls_by_another_name(locked):
    guarded = {**ADD, "approvalRequired": True, "approval": {"requesterMayNotApprove": True}}
    dev, boss = await user(locked, "developer", "dev"), await user(locked, "operator", "boss")
    run = await started(dev, agent("adder", guarded))
    dev.headers["X-Agentspan-User"] = "boss"
    async with asyncio.timeout(10):
        while not (await dev.ask("GET", f"/api/agent/{run}/requests")).json()["requests"]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert await dev.status("POST", f"/api/agent/{run}/respond?by=boss", {"approved": True}) == 403
    assert await boss.status("POST", f"/api/agent/{run}/respond", {"approved": True}) == 200


# The audit


async def concluded(server: Running) -> list[dict]:
    """The audit, the oldest entry first, once it says what became of everything."""
    async with asyncio.timeout(5):
        while True:
            entries = (await root(server).ask("GET", "/api/audit")).json()["entries"]
            if not any(each["outcome"] == "begun" for each in entries):
                return entries[::-1]
            await asyncio.sleep(0.02)


async def test_every_change_is_in_the_audit_with_what_became_of_it(locked):
    await user(locked, "viewer", "ann")
    await root(locked).ask("POST", "/api/credentials", {"name": "TOKEN", "value": "do not keep this"})
    await root(locked).ask("PUT", "/api/agent/nothing/pause")
    entries = await concluded(locked)
    assert [(each["action"], each["outcome"], each["by"]) for each in entries] == [
        ("user.created", "ok", "kim"),
        ("login.ok", "ok", "ann"),
        ("credential.saved", "ok", "kim"),
        ("execution.paused", "refused", "kim"),
    ]
    assert "do not keep this" not in (await root(locked).ask("GET", "/api/audit")).text


async def test_the_audit_is_paged_and_filtered(locked):
    for number in range(5):
        await made(root(locked), "/api/users", {"name": f"u{number}", "role": "viewer"})
    await concluded(locked)
    first = (await root(locked).ask("GET", "/api/audit?limit=3&action=user.")).json()
    rest = (await root(locked).ask("GET", f"/api/audit?limit=3&action=user.&cursor={first['nextCursor']}")).json()
    subjects = [each["subject"] for page in (first, rest) for each in page["entries"]]
    assert subjects == ["u4", "u3", "u2", "u1", "u0"]
    assert rest["nextCursor"] is None


# Shared runs


async def test_a_link_shows_one_run_and_changes_nothing(locked):
    one, other = await started(root(locked)), await started(root(locked))
    share = await made(root(locked), f"/api/agent/executions/{one}/share", {"note": "for Lee"})
    guest = Guest(locked, **{"X-Agentspan-Share": share["token"]})
    assert await guest.status("GET", f"/api/agent/executions/{one}/full") == 200
    assert await guest.status("GET", f"/api/agent/{one}/timeline") == 200
    for verb, path in (
        ("GET", f"/api/agent/executions/{other}/full"),
        ("GET", "/api/agent/executions"),
        ("GET", "/api/agent/list"),
        ("GET", "/api/credentials"),
        ("PUT", f"/api/agent/{one}/pause"),
        ("DELETE", f"/api/agent/{one}/cancel"),
        ("POST", f"/api/agent/executions/{one}/share"),
    ):
        assert await guest.status(verb, path) == 403, (verb, path)
    assert await root(locked).status("DELETE", f"/api/shares/{share['id']}") == 204
    assert await guest.status("GET", f"/api/agent/executions/{one}/full") == 401
    [kept] = (await root(locked).ask("GET", "/api/shares")).json()
    assert (kept["note"], kept["executionId"], bool(kept["revokedAt"])) == ("for Lee", one, True)
    assert "token" not in kept


async def test_when_somebody_was_last_seen_is_known(locked):
    ann = await user(locked, "viewer", "ann")
    await ann.status("GET", "/api/agent/list")
    async with asyncio.timeout(5):
        while not (await locked.engine.reads.query(access.roll)).users["ann"].seen_at:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
