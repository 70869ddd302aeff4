"""A server with a key and a secret lets in who shows them, in every form that clients send, and nobody else."""

import jwt
import pytest

from agentspan.config import Settings
from agentspan.server import auth
from agentspan.server.auth import Door, WrongCredentials
from agentspan.server.openapi import verbs
from agentspan.server.routes import ROUTES
from tests.server.conftest import KEY
from tests.server.running import ADD, agent
from tests.server.test_people import GUARDED, asked

PATH = "/api/agent/list"


@pytest.fixture
def door(tmp_path):
    return Door(Settings.load({"AGENTSPAN_DATA_DIR": str(tmp_path), **KEY}))


async def token(server):
    return (await server.post("/api/token", {"keyId": "kim", "keySecret": "s3cret"}))["token"]


async def test_every_form_of_credentials_is_accepted(locked):
    found = await token(locked)
    for headers in (
        {"X-Authorization": found},
        {"Authorization": f"Bearer {found}"},
        {"Authorization": "Bearer s3cret"},
        {"Authorization": "Bearer kim:s3cret"},
        {"X-Auth-Key": "kim", "X-Auth-Secret": "s3cret"},
        {"X-API-Key": "s3cret"},
        {"X-API-Key": "kim:s3cret"},
    ):
        assert (await locked.http.get(PATH, headers=headers)).status_code == 200, headers


async def test_wrong_credentials_are_refused_in_every_form(locked):
    for headers in (
        {},
        {"X-Authorization": "nonsense"},
        {"X-Authorization": ""},
        {"Authorization": "Bearer nonsense"},
        {"Authorization": "Basic a2ltOnMzY3JldA=="},
        {"Authorization": "Bearer kim:wrong"},
        {"X-Auth-Key": "kim", "X-Auth-Secret": "wrong"},
        {"X-Auth-Key": "kim"},
        {"X-Auth-Secret": "s3cret"},
        {"X-Auth-Key": "tom", "X-Auth-Secret": "s3cret"},
        {"X-API-Key": "kim"},
        {"X-API-Key": ""},
        # A right token does not make up for a wrong pair.
        {"X-Auth-Key": "kim", "X-Auth-Secret": "wrong", "X-Authorization": await token(locked)},
    ):
        answer = await locked.http.get(PATH, headers=headers)
        assert (answer.status_code, answer.json()["status"]) == (401, 401), headers
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert "s3cret" not in answer.text


async def test_without_credentials_only_health_and_tokens_are_answered(locked):
    for route in ROUTES:
        path = route.path.replace("{", "").replace("}", "")
        for verb, _ in verbs(route.handler):
            answer = await locked.http.request(verb.upper(), path)
            free = path in ("/", "/health", "/livez", "/readyz", "/actuator/health", "/actuator/info")
            if path in ("/api/token", "/api/auth/login"):
                assert answer.status_code == 400, path
            else:
                assert answer.status_code == (200 if free else 401), (verb, path)


async def test_a_worker_with_a_token_does_its_work(locked):
    locked.http.headers["X-Authorization"] = await token(locked)
    execution_id = await locked.start(agent("adder", ADD))
    [task] = await locked.poll()
    await locked.complete(task)
    assert (await locked.status(execution_id, 10_000))["status"] == "COMPLETED"


async def test_an_open_server_gives_no_tokens(server):
    answer = await server.http.post("/api/token", json={"keyId": "kim", "keySecret": "s3cret"})
    assert answer.status_code == 404
    assert (await server.http.post("/api/auth/login", json={"username": "a", "password": "b"})).status_code == 404


async def test_the_key_and_the_secret_log_in_as_user_and_password(locked):
    found = await locked.post("/api/auth/login", {"username": "kim", "password": "s3cret"})
    user = {"id": "kim", "username": "kim", "name": "kim", "role": "admin", "tenant": "default"}
    assert found["user"] == user
    headers = {"Authorization": f"Bearer {found['token']}"}
    assert (await locked.http.get(PATH, headers=headers)).status_code == 200
    wrong = await locked.http.post("/api/auth/login", json={"username": "kim", "password": "x"})
    assert wrong.status_code == 401
    assert (await locked.http.post("/api/token", json={"keyId": "kim"})).status_code == 400


def test_an_old_token_asks_for_a_new_one(door, monkeypatch):
    found = door.token()
    door.check({"X-Authorization": found})
    monkeypatch.setattr(auth, "TOKEN_SECONDS", -1)
    with pytest.raises(WrongCredentials) as caught:
        door.check({"X-Authorization": door.token()})
    assert caught.value.code == "EXPIRED_TOKEN"


def test_a_token_of_somebody_else_is_invalid(door):
    secret = "s3cret".ljust(32, "\x00")
    claims = jwt.decode(door.token(), options={"verify_signature": False})
    for forged in (
        jwt.encode(claims, secret, algorithm="HS256"),
        jwt.encode(claims, None, algorithm="none"),
        jwt.encode({"sub": "kim"}, "x" * 32, algorithm="HS256"),
    ):
        with pytest.raises(WrongCredentials) as caught:
            door.check({"X-Authorization": forged})
        assert caught.value.code == "INVALID_TOKEN"


async def test_the_code_of_a_bad_token_stands_in_the_body(locked):
    answer = await locked.http.get(PATH, headers={"X-Authorization": "nonsense"})
    assert answer.json()["error"] == "INVALID_TOKEN"
    assert "error" not in (await locked.http.get(PATH)).json()


def test_another_secret_does_not_accept_this_ones_tokens(door, tmp_path):
    other = Door(Settings.load({"AGENTSPAN_DATA_DIR": str(tmp_path), **KEY, "AGENTSPAN_AUTH_SECRET": "other"}))
    with pytest.raises(WrongCredentials):
        other.check({"X-Authorization": door.token()})


CREDENTIALS = {"X-API-Key": "s3cret"}


async def linked(server, **more):
    """A run that asks for an approval, its request and a link to it."""
    server.http.headers.update(CREDENTIALS)
    execution_id = await server.start(agent("adder", GUARDED))
    [request] = await asked(server, execution_id)
    link = await server.post(f"/api/inbox/{request['requestId']}/link", more)
    del server.http.headers["X-API-Key"]
    assert link["url"] == f"/api/inbox/answer/{link['token']}"
    return execution_id, request["requestId"], link["url"]


async def test_a_link_answers_its_request_once_without_credentials(locked):
    execution_id, request_id, url = await linked(locked, by="lee")
    shown = await locked.get(url)
    assert (shown["requestId"], shown["tool"], shown["status"]) == (request_id, "add", "open")
    assert (await locked.http.get(f"/api/agent/{execution_id}/requests")).status_code == 401
    answer = await locked.post(url, {"approved": False, "reason": "no", "by": "kim"})
    assert (answer["requestId"], answer["status"]) == (request_id, "answered")
    for again in ({"approved": False, "reason": "no"}, {"approved": True}):
        assert (await locked.http.post(url, json=again)).status_code == 409
    kept = await locked.get(url)
    assert (kept["status"], kept["decidedBy"], kept["answer"]["approved"]) == ("answered", "lee", False)
    answer = await locked.http.post(f"/api/inbox/{request_id}/link", json={}, headers=CREDENTIALS)
    assert answer.status_code == 409


async def test_a_link_that_is_late_altered_or_an_access_token_opens_nothing(locked, door, tmp_path):
    _, request_id, url = await linked(locked)
    late, access = door.link(request_id, "", -1), door.token()
    other = Door(Settings.load({"AGENTSPAN_DATA_DIR": str(tmp_path), **KEY, "AGENTSPAN_AUTH_SECRET": "other"}))
    for token in (late, access, other.link(request_id, "", 60), url.rpartition("/")[2][:-4] + "AAAA"):
        for verb, body in (("GET", None), ("POST", {"approved": True})):
            answer = await locked.http.request(verb, f"/api/inbox/answer/{token}", json=body)
            assert answer.status_code == 401, token
    assert (await locked.http.get(PATH, headers={"X-Authorization": url.rpartition("/")[2]})).status_code == 401
    assert (await locked.get(url))["status"] == "open"


async def test_a_link_is_made_for_an_open_request_and_a_time(server):
    execution_id = await server.start(agent("adder", GUARDED))
    [request] = await asked(server, execution_id)
    path = f"/api/inbox/{request['requestId']}/link"
    for seconds in (0, -1, 31 * 24 * 3600, "soon"):
        assert (await server.http.post(path, json={"expiresSeconds": seconds})).status_code == 400, seconds
    assert (await server.http.post(f"/api/inbox/{execution_id}.999/link", json={})).status_code == 404
