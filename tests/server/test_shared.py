"""The links of shared runs: what they open in a browser, and that they open nothing else."""

from tests.server.running import eventually
from tests.server.test_access import Guest, made, root, started, user
from tests.server.test_ui import PAGE


def cookie(answer):
    return answer.headers["Set-Cookie"].partition(";")[0]


async def shared(server, run):
    return await made(root(server), f"/api/agent/executions/{run}/share", {"note": "for Lee", "expiresSeconds": 3600})


async def test_a_link_leads_to_its_run_and_gives_a_cookie_that_shows_it_alone(locked):
    one, other = await started(root(locked)), await started(root(locked))
    share = await shared(locked, one)
    answer = await locked.http.get(share["path"], headers=PAGE)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"../ui/runs/{one}")
    assert "HttpOnly" in answer.headers["Set-Cookie"]
    assert share["token"] not in answer.headers["Set-Cookie"]
    guest = Guest(locked, Cookie=cookie(answer))
    assert await guest.status("GET", f"/api/agent/{one}/timeline") == 200
    for path in (f"/api/agent/{other}/timeline", "/api/agent/executions", "/api/changes", "/api/inbox", "/api/shares"):
        assert await guest.status("GET", path) == 403, path
    assert await guest.status("POST", "/api/auth/ticket") == 403


async def test_who_has_a_link_is_told_what_it_shows_and_by_whom(locked):
    one = await started(root(locked))
    share = await shared(locked, one)
    me = (await Guest(locked, **{"X-Agentspan-Share": share["token"]}).ask("GET", "/api/auth/me")).json()
    assert (me["kind"], me["scopes"]) == ("share", ["read"])
    assert (me["share"]["executionId"], me["share"]["expiresAt"]) == (one, share["expiresAt"])
    assert "share" not in (await root(locked).ask("GET", "/api/auth/me")).json()


async def test_a_revoked_link_says_so_on_its_page_and_wherever_it_had_led(locked):
    one = await started(root(locked))
    share = await shared(locked, one)
    guest = Guest(locked, Cookie=cookie(await locked.http.get(share["path"], headers=PAGE)), **PAGE)
    await root(locked).ask("DELETE", f"/api/shares/{share['id']}")
    for path in (share["path"], f"/ui/runs/{one}"):
        answer = await guest.ask("GET", path)
        assert (answer.status_code, "is not shared any more" in answer.text) == (401, True), path
    assert 'share="";' in answer.headers["Set-Cookie"]


async def test_a_part_of_a_run_is_shared_with_the_whole_or_not_at_all(locked):
    one = await started(root(locked))
    answer = await root(locked).ask("POST", f"/api/agent/executions/{one}.t2/share", {})
    assert (answer.status_code, one in answer.json()["message"]) == (400, True)


async def test_who_has_logged_in_stays_who_they_are(locked):
    one = await started(root(locked))
    share = await shared(locked, one)
    await user(locked, "operator", "ann")
    form = {"key": "ann", "secret": "correct horse battery"}
    session = cookie(await locked.http.post("/login", data=form, headers={"Origin": locked.url, **PAGE}))
    both = f"{session}; {cookie(await locked.http.get(share['path'], headers=PAGE))}"
    me = (await Guest(locked, Cookie=both).ask("GET", "/api/auth/me")).json()
    assert (me["kind"], me["name"]) == ("user", "ann")


async def test_an_open_server_shows_the_run_as_it_shows_all(server):
    execution_id = await started(Guest(server))
    share = await made(Guest(server), f"/api/agent/executions/{execution_id}/share", {})
    answer = await server.http.get(share["path"], headers=PAGE)
    assert (answer.headers["Location"], "Set-Cookie" in answer.headers) == (f"../ui/runs/{execution_id}", False)


async def test_the_log_does_not_hold_what_opens_something(locked, caplog):
    for name in ("agentspan", "agentspan.server"):
        caplog.set_level("DEBUG", logger=name)
    run = await started(root(locked))
    token = (await made(root(locked), f"/api/agent/executions/{run}/share", {}))["token"]
    for path in (f"/shared/{token}", f"/shared/{token}x", f"/api/inbox/answer/{token}"):
        await locked.http.get(path)

    def said() -> str:
        return " ".join(each.getMessage() for each in caplog.records if each.name.startswith("agentspan"))

    # It is written when the answer is out.
    await eventually(lambda: said().count("{token}") >= 3)
    assert "/shared/{token}" in said()
    assert token not in said()
