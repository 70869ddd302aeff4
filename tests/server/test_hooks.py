"""Webhooks over HTTP: registered with credentials, called with a signature alone."""

import hashlib
import hmac

from tests.server.running import agent

SECRET = "it is a secret, and long"
BODY = b'{"action": "opened"}'


def signature(body: bytes = BODY, secret: str = SECRET) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


async def call(server, body=BODY, **headers):
    return await server.http.post("/api/hooks/issues", content=body, headers=headers)


async def registered(server, **more):
    await server.post("/api/agent/deploy", {"agentConfig": agent()})
    hook = {"agent": "helper", "secret": SECRET, "prompt": "Triage it.", **more}
    answer = await server.http.put("/api/hooks/issues", json=hook)
    assert answer.is_success, answer.text
    return answer.json()


async def test_a_signed_call_starts_a_run(server):
    await registered(server)
    for header in ("X-Agentspan-Signature", "X-Hub-Signature-256"):
        answer = await call(server, **{header: signature()})
        assert answer.status_code == 200, answer.text
        execution_id = answer.json()["executionId"]
        assert (await server.status(execution_id, 10_000))["status"] == "COMPLETED"
        shown = await server.get(f"/api/agent/executions/{execution_id}")
        assert shown["input"]["prompt"] == "Triage it."
        assert shown["input"]["context"] == {"payload": {"action": "opened"}}


async def test_a_call_that_is_not_rightly_signed_is_401(server):
    await registered(server)
    for headers in ({}, {"X-Agentspan-Signature": signature(b"{}")}, {"X-Hub-Signature-256": "sha1=00"}):
        answer = await call(server, **headers)
        assert (answer.status_code, answer.json()["status"]) == (401, 401)
    assert (await server.get("/api/agent/executions"))["totalHits"] == 0
    for headers, status in (({}, 401), ({"X-Agentspan-Signature": signature()}, 404)):
        assert (await server.http.post("/api/hooks/nothing", content=BODY, headers=headers)).status_code == status


async def test_a_delivery_that_comes_again_is_one_run(server):
    await registered(server)
    for header in ("X-Delivery-Id", "X-GitHub-Delivery"):
        headers = {"X-Agentspan-Signature": signature(), header: f"id of {header}"}
        first, again = [(await call(server, **headers)).json() for _ in range(2)]
        assert (first["existing"], again["existing"]) == (False, True)
        assert first["executionId"] == again["executionId"]


async def test_a_form_as_github_sends_it_is_taken(server):
    await registered(server)
    body = b"payload=%7B%22action%22%3A+%22opened%22%7D"
    headers = {"X-Hub-Signature-256": signature(body), "Content-Type": "application/x-www-form-urlencoded"}
    execution_id = (await call(server, body, **headers)).json()["executionId"]
    shown = await server.get(f"/api/agent/executions/{execution_id}")
    assert shown["input"]["context"]["payload"] == {"action": "opened"}


async def test_the_secret_is_never_shown(server):
    shown = [
        await registered(server, toleranceSeconds=300),
        await server.get("/api/hooks/issues"),
        *await server.get("/api/hooks"),
    ]
    for each in shown:
        assert (each["name"], each["agent"], each["toleranceSeconds"]) == ("issues", "helper", 300)
        assert SECRET not in str(each)
    assert (await server.http.delete("/api/hooks/issues")).status_code == 200
    assert (await server.http.get("/api/hooks/issues")).status_code == 404


async def test_a_caller_needs_no_credentials_and_everybody_else_does(locked):
    credentials = {"X-Auth-Key": "kim", "X-Auth-Secret": "s3cret"}
    hook = {"agent": "helper", "secret": SECRET}
    deployed = await locked.http.post("/api/agent/deploy", json={"agentConfig": agent()}, headers=credentials)
    assert deployed.is_success
    assert (await locked.http.put("/api/hooks/issues", json=hook)).status_code == 401
    assert (await locked.http.put("/api/hooks/issues", json=hook, headers=credentials)).status_code == 200
    for method, path in (("GET", "/api/hooks"), ("GET", "/api/hooks/issues"), ("DELETE", "/api/hooks/issues")):
        assert (await locked.http.request(method, path)).status_code == 401
    assert (await call(locked, **{"X-Agentspan-Signature": signature()})).status_code == 200
    assert (await call(locked, **credentials)).status_code == 401


async def test_what_cannot_be_registered_says_why(server):
    await server.post("/api/agent/deploy", {"agentConfig": agent()})
    for wrong, status, word in [
        ({"agent": "helper"}, 400, "secret"),
        ({"agent": "helper", "secret": "short"}, 400, "16"),
        ({"agent": "nobody", "secret": SECRET}, 404, "nobody"),
        ({"agent": "helper", "secret": SECRET, "toleranceSeconds": -1}, 400, "tolerance"),
    ]:
        answer = await server.http.put("/api/hooks/issues", json=wrong)
        assert (answer.status_code, word in answer.json()["message"]) == (status, True), answer.text
