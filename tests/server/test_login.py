"""One login for pages and API: who shows the key and the secret gets a cookie that every server of the house knows."""

import re
import time
from urllib.parse import unquote

import httpx
import jwt
import pytest

from agentspan.server import auth
from agentspan.server.auth import Door
from agentspan.server.dashboard import Dashboard
from agentspan.server.throttle import FREE, LONGEST_SECONDS, Throttle
from tests.server.conftest import KEY
from tests.server.running import Running, agent, running
from tests.server.test_people import GUARDED, asked
from tests.server.test_ui import PAGE, child, ready
from tests.server.test_ui import asked as handed_on

RIGHT = {"key": "kim", "secret": "s3cret", "name": "Kim Möller"}


async def log_in(server: Running, **form: str) -> httpx.Response:
    headers = {"Origin": server.url, **PAGE}
    return await server.http.post("/login", data={**RIGHT, **form}, headers=headers)


def cookie(answer: httpx.Response) -> str:
    """The cookie of the session, as a browser would send it."""
    [found] = [each for each in answer.headers.get_list("Set-Cookie") if each.startswith("agentspan-session-")]
    return found.partition(";")[0]


@pytest.fixture
def door(locked):
    return Door(locked.settings)


# The form


async def test_a_page_sends_a_stranger_to_the_login_and_back(locked):
    answer = await locked.http.get("/ui/runs/x?step=4", headers=PAGE)
    assert (answer.status_code, answer.headers["Location"]) == (303, "../../login?next=%2Fui%2Fruns%2Fx%3Fstep%3D4")
    form = await locked.http.get("/login?next=/ui/runs/x%3Fstep%3D4", headers=PAGE)
    assert 'name="next" value="/ui/runs/x?step=4"' in form.text
    assert not re.search(r"(src|href)=.?(https?:)?//", form.text)
    answer = await log_in(locked, next="/ui/runs/x?step=4")
    assert (answer.status_code, answer.headers["Location"]) == (303, "ui/runs/x?step=4")


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example/ui/", "//evil.example/ui", "/api/agent/list", "/uix", "/ui/../api", "\\/ui/"]
)
async def test_nobody_is_sent_elsewhere(locked, elsewhere):
    assert (await log_in(locked, next=elsewhere)).headers["Location"] == "ui/"


async def test_a_wrong_secret_is_said_on_the_form_and_never_repeated(locked):
    answer = await log_in(locked, secret="wr0ng", key='"><script>')
    assert answer.status_code == 401
    assert "The name or the password is wrong." in answer.text
    assert "wr0ng" not in answer.text
    assert "<script>" not in answer.text
    assert "set-cookie" not in answer.headers


async def test_who_guesses_is_made_to_wait_whatever_they_guess(locked):
    for _ in range(FREE):
        assert (await log_in(locked, secret="wrong")).status_code == 401
    answer = await log_in(locked)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")
    assert "Too many wrong tries" in answer.text


def test_each_further_try_takes_longer_until_all_is_forgotten():
    clock = [0.0]
    throttle = Throttle(lambda: clock[0])
    waits = []
    for _ in range(FREE + 8):
        throttle.missed("a")
        waits.append(throttle.wait("a"))
        clock[0] += waits[-1]
    assert waits == [0] * (FREE - 1) + [1, 2, 4, 8, 16, 32, LONGEST_SECONDS, LONGEST_SECONDS, LONGEST_SECONDS]
    assert throttle.wait("b") == 0
    clock[0] += 10_000
    throttle.missed("a")
    assert throttle.wait("a") == 0
    throttle.hit("a")
    assert throttle.wait("a") == 0


async def test_a_form_of_another_site_is_refused(locked):
    answer = await locked.http.post("/login", data=RIGHT, headers={"Origin": "https://evil.example", **PAGE})
    assert answer.status_code == 403


# The cookie


async def test_the_cookie_opens_pages_and_api_in_the_persons_name(tmp_path):
    dashboard = Dashboard(command=child, lacking=list)
    async with running(tmp_path, dashboard=dashboard, **KEY) as server:
        answer = await log_in(server)
        said = answer.headers["Set-Cookie"]
        assert all(mark in said for mark in ("HttpOnly", "SameSite=Lax", "Max-Age=43200", "Path=/"))
        assert "Secure" not in said
        server.http.headers["Cookie"] = cookie(answer)
        await ready(server, dashboard)
        told = (await handed_on(server))["headers"]
        assert unquote(told["X-Agentspan-User"]) == "Kim Möller"
        assert "Cookie" not in told
        with_token = httpx.Headers({"X-Authorization": told["X-Agentspan-Token"], "X-Agentspan-User": "Kim"})
        async with httpx.AsyncClient(base_url=server.url, headers=with_token, trust_env=False) as process:
            assert (await process.get("/api/agent/list")).status_code == 200
        own = {"Origin": server.url}
        execution_id = await start(server, own)
        [request] = await asked(server, execution_id)
        path = f"/api/agent/{execution_id}/respond"
        body = {"approved": False, "requestId": request["requestId"]}
        assert (await server.http.post(path, json=body, headers=own)).status_code == 200
        found = await server.get("/api/inbox", params={"status": "answered", "executionId": execution_id})
        assert found["requests"][0]["decidedBy"] == "Kim Möller"


async def start(server, headers):
    body = {"agentConfig": agent("adder", GUARDED), "prompt": "Hi"}
    return (await server.http.post("/api/agent/start", json=body, headers=headers)).json()["executionId"]


async def test_behind_https_the_cookie_is_secure(locked):
    headers = {"Origin": locked.url, "X-Forwarded-Proto": "https"}
    answer = await locked.http.post("/login", data=RIGHT, headers=headers)
    assert "Secure" in answer.headers["Set-Cookie"]


async def test_a_cookie_that_is_not_good_opens_nothing(locked, door, monkeypatch):
    good = door.session("Kim")
    wrong = [
        "",
        "nonsense",
        good[:-2],
        good + "x",
        door.token(),
        door.ticket("Kim"),
        door.link("r", "Kim", 60),
        jwt.encode({"iss": "agentspan", "sub": "kim", "jti": "1", "iat": 1, "exp": 1 << 40}, "", algorithm="none"),
    ]
    monkeypatch.setattr(auth, "SESSION_SECONDS", -1)
    wrong.append(door.session("Kim"))
    for value in wrong:
        headers = {"Cookie": f"{door.cookie}={value}"}
        assert (await locked.http.get("/api/agent/list", headers=headers)).status_code == 401, value
        assert (await locked.http.get("/ui/", headers={**headers, **PAGE})).status_code == 303, value
    # A cookie is no token, and a right one does not make up for a wrong token.
    right = {"Cookie": f"{door.cookie}={good}"}
    assert (await locked.http.get("/api/agent/list", headers=right)).status_code == 200
    for headers in ({"X-Authorization": good}, {**right, "X-Authorization": "nonsense"}):
        assert (await locked.http.get("/api/agent/list", headers=headers)).status_code == 401


async def test_a_cookie_speaks_only_for_our_own_pages(locked, door):
    known = {"Cookie": f"{door.cookie}={door.session('Kim')}"}
    body = {"agentConfig": agent(), "prompt": "Hi"}
    for told, status in (
        ({}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": locked.url}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
    ):
        answer = await locked.http.post("/api/agent/start", json=body, headers={**known, **told})
        assert answer.status_code == status, told


async def test_a_cookie_is_good_on_every_server_of_the_house_and_on_no_other(tmp_path):
    async with (
        running(tmp_path / "a", **KEY) as one,
        running(tmp_path / "b", **KEY) as two,
        running(tmp_path / "c", **{**KEY, "AGENTSPAN_AUTH_SECRET": "other"}) as other,
    ):
        shown = {"Cookie": cookie(await log_in(one))}
        assert (await two.http.get("/api/agent/list", headers=shown)).status_code == 200
        assert (await other.http.get("/api/agent/list", headers=shown)).status_code == 401
        ticket = Door(one.settings).ticket("Kim")
        assert (await two.http.get(f"/login?ticket={ticket}")).status_code == 303
        assert (await other.http.get(f"/login?ticket={ticket}")).status_code == 401


async def test_who_logs_out_has_no_cookie_any_more(locked, door):
    answer = await locked.http.get("/logout", headers=PAGE)
    assert (answer.status_code, answer.headers["Location"]) == (303, "login")
    assert f'{door.cookie}="";' in answer.headers["Set-Cookie"]
    assert (await locked.http.get("/logout", headers={"Sec-Fetch-Site": "cross-site"})).status_code == 403


# Tickets


async def test_a_ticket_lets_a_person_in_once(locked):
    key = {"X-API-Key": "s3cret", "X-Agentspan-User": "Kim"}
    answer = await locked.post("/api/auth/ticket", headers=key)
    framed = {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe", **PAGE}
    path = f"/login?ticket={answer['ticket']}&next=/ui/runs/x"
    let_in = await locked.http.get(path, headers=framed)
    assert (let_in.status_code, let_in.headers["Location"]) == (303, "ui/runs/x")
    shown = {"Cookie": cookie(let_in)}
    assert (await locked.http.get("/api/agent/list", headers=shown)).status_code == 200
    again = await locked.http.get(path, headers=framed)
    assert again.status_code == 401
    assert "used already" in again.text
    locked.http.cookies.clear()
    assert (await locked.http.post("/api/auth/ticket")).status_code == 401


async def test_a_ticket_is_good_for_a_minute(locked, door, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 1_000.0)
    ticket = door.ticket("Kim")
    monkeypatch.undo()
    answer = await locked.http.get(f"/login?ticket={ticket}", headers=PAGE)
    assert answer.status_code == 401
    assert "expired" in answer.text


# A server that asks for no credentials


async def test_on_an_open_server_people_say_who_they_are(server):
    form = await server.http.get("/login", headers=PAGE)
    assert "Who are you?" in form.text
    assert "password" not in form.text
    answer = await server.http.post("/login", data={"name": " Kim   Möller "}, headers={"Origin": server.url})
    assert answer.headers["Location"] == "ui/"
    server.http.headers["Cookie"] = answer.headers["Set-Cookie"].partition(";")[0]
    assert "agentspan-user=" in server.http.headers["Cookie"]
    again = await server.http.get("/login", headers=PAGE)
    assert 'value="Kim Möller"' in again.text
    execution_id = await start(server, {})
    [request] = await asked(server, execution_id)
    await server.post(f"/api/agent/{execution_id}/respond", {"approved": False, "requestId": request["requestId"]})
    found = await server.get("/api/inbox", params={"status": "answered", "executionId": execution_id})
    assert found["requests"][0]["decidedBy"] == "Kim Möller"


async def test_on_an_open_server_a_ticket_changes_nothing_but_opens_the_page(server):
    ticket = (await server.post("/api/auth/ticket"))["ticket"]
    answer = await server.http.get(f"/login?ticket={ticket}&next=/ui/inbox")
    assert (answer.status_code, answer.headers["Location"]) == (303, "ui/inbox")
    assert "set-cookie" not in answer.headers
