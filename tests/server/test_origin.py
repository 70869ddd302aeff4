"""No web page can drive a local server: foreign hosts, origins and forms are refused."""

import pytest

from agentspan.config import Settings
from agentspan.errors import Forbidden
from agentspan.server.origin import check_host, check_origin, is_loopback
from tests.server.conftest import KEY

NAVIGATION = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


def settings(tmp_path, **environ):
    return Settings.load({"AGENTSPAN_DATA_DIR": str(tmp_path), **environ})


@pytest.mark.parametrize("host", ["localhost:6767", "127.0.0.1:6767", "LOCALHOST", "[::1]:6767", "127.0.0.2"])
def test_loopback_names_are_ours(tmp_path, host):
    check_host(host, settings(tmp_path))


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:6767", "localhost.evil.example", "10.0.0.1", "", "127.0.0.1.evil.example", "["],
)
def test_other_names_are_not(tmp_path, host):
    with pytest.raises(Forbidden):
        check_host(host, settings(tmp_path))


def test_names_may_be_allowed(tmp_path):
    check_host("box.lan:80", settings(tmp_path, AGENTSPAN_ALLOWED_HOSTS="box.lan"))
    check_host("any.thing", settings(tmp_path, AGENTSPAN_ALLOWED_HOSTS="*"))
    check_host("box.lan", settings(tmp_path, AGENTSPAN_HOST="box.lan"))


def test_addresses_are_no_names_that_somebody_could_point_elsewhere(tmp_path):
    bound = settings(tmp_path, AGENTSPAN_HOST="0.0.0.0")
    check_host("10.0.0.1:6767", bound)
    with pytest.raises(Forbidden):
        check_host("evil.example", bound)


def test_with_credentials_a_foreign_name_gains_nothing_and_is_let_through(tmp_path):
    check_host("agentspan.cluster.local", settings(tmp_path, **KEY))


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:8888"},
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_requests_of_other_pages_are_refused(server, headers):
    for method, path in [("GET", "/api/tasks/poll/batch/add"), ("POST", "/api/agent/start"), ("GET", "/metrics")]:
        answer = await server.http.request(method, path, headers=headers)
        assert (answer.status_code, answer.json()["status"]) == (403, 403), (path, headers)
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_a_preflight_gets_no_permission(server):
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    answer = await server.http.options("/api/agent/start", headers=headers)
    assert answer.status_code == 403
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]


async def test_our_own_pages_and_programs_are_answered(server):
    own = {"Origin": server.url, "Sec-Fetch-Site": "same-origin"}
    for headers in (own, {"Sec-Fetch-Site": "none"}, {}):
        assert (await server.http.get("/api/agent/list", headers=headers)).status_code == 200


async def test_a_person_may_follow_a_link_to_a_page_but_not_to_a_poll(server):
    execution_id = await server.run()
    assert (await server.http.get(f"/api/agent/executions/{execution_id}", headers=NAVIGATION)).status_code == 200
    assert (await server.http.get("/api/tasks/poll/add", headers=NAVIGATION)).status_code == 403
    framed = {**NAVIGATION, "Sec-Fetch-Dest": "iframe"}
    assert (await server.http.get("/api/agent/executions", headers=framed)).status_code == 403


def test_pages_of_allowed_hosts_are_ours(tmp_path):
    allowed = settings(tmp_path, AGENTSPAN_ALLOWED_HOSTS="box.lan")
    check_origin({"Origin": "https://box.lan:8443", "Host": "127.0.0.1"}, allowed)
    with pytest.raises(Forbidden):
        check_origin({"Origin": "ftp://box.lan", "Host": "127.0.0.1"}, allowed)


async def test_a_foreign_host_is_refused_on_every_path(server):
    for path in ("/", "/health", "/api/agent/list", "/nothing"):
        assert (await server.http.get(path, headers={"Host": "evil.example"})).status_code == 403


async def test_bodies_that_a_form_can_send_are_refused(server):
    for media in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        answer = await server.http.post(
            "/api/agent/start", content=b'{"prompt": "Hi"}', headers={"Content-Type": media}
        )
        assert answer.status_code in (400, 415), media
    json_forms = ("application/json", "application/json; charset=utf-8", "Application/JSON", "application/x+json")
    for media in json_forms:
        answer = await server.http.post(
            "/api/agent/start", content=b'{"prompt": "Hi"}', headers={"Content-Type": media}
        )
        assert answer.status_code == 400, media


def test_loopback_is_what_only_this_machine_reaches():
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "::1", "[::1]", "127.9.9.9")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "example.org", "")))
