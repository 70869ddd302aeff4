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
    assert found["user"] == {"id": "kim", "username": "kim", "name": "kim"}
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
