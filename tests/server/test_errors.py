"""Every error has one shape and the right code."""

import asyncio
import http.client

import pytest
from tornado.web import HTTPError

from agentspan import errors
from agentspan.server.handler import BodyProblem, error_body
from agentspan.server.unbuilt import unbuilt
from tests.server.running import agent, running

SHAPE = {"status", "message", "instance", "retryable"}


@pytest.mark.parametrize(
    ("error", "status", "retryable"),
    [
        (errors.BadInput("x"), 400, False),
        (errors.InvalidSpec("x"), 400, False),
        (errors.Unauthorized("x"), 401, False),
        (errors.Forbidden("x"), 403, False),
        (errors.NotFound("x"), 404, False),
        (errors.Conflict("x"), 409, False),
        (errors.TooLarge("x"), 413, False),
        (errors.NotImplementedHere("x"), 501, False),
        (errors.Unavailable("x"), 503, True),
        (HTTPError(405), 405, False),
    ],
)
def test_each_error_has_its_code(error, status, retryable):
    body = error_body(error, getattr(error, "status_code", 500))
    assert (body["status"], body["retryable"]) == (status, retryable)
    assert body.keys() == SHAPE


def test_what_was_not_expected_keeps_its_secrets():
    body = error_body(RuntimeError("password=hunter2"), 500)
    assert body["status"] == 500
    assert "hunter2" not in body["message"]


def test_a_wrong_shape_names_its_place():
    body = error_body(BodyProblem("expected str", "prompt"), 500)
    assert body["validationErrors"] == [{"path": "prompt", "message": "expected str"}]


async def post(server, path, content):
    return await server.http.post(path, content=content, headers={"Content-Type": "application/json"})


async def test_malformed_json_is_400(server):
    for content in (b"{", b"\xff\xfe", b'{"a": NaN}', b'{"prompt": }'):
        for path in ("/api/agent/start", "/api/tasks", "/api/metadata/taskdefs", "/api/agent/x/respond"):
            answer = await post(server, path, content)
            assert (answer.status_code, answer.json().keys()) == (400, SHAPE), (path, content)
            assert "JSON" in answer.json()["message"]


async def test_json_of_the_wrong_shape_is_400_and_names_the_place(server):
    answer = await post(server, "/api/agent/start", b'{"prompt": {"a": 1}}')
    assert answer.status_code == 400
    assert answer.json()["validationErrors"][0]["path"] == "prompt"
    for path, content in [("/api/agent/start", b"[]"), ("/api/agent/x/respond", b"3"), ("/api/tasks", b"{}")]:
        assert (await post(server, path, content)).status_code == 400


async def test_an_unknown_path_is_404_and_a_wrong_verb_405(server):
    for path in ("/nothing", "/api", "/api/agent", "/api/agent/x/y/z", "/../etc/passwd"):
        answer = await server.http.get(path)
        assert (answer.status_code, answer.json().keys()) == (404, SHAPE), path
    for method, path in [("DELETE", "/api/agent/start"), ("POST", "/health"), ("PATCH", "/api/tasks")]:
        answer = await server.http.request(method, path)
        assert (answer.status_code, answer.json().keys()) == (405, SHAPE), path


async def test_a_slash_at_the_end_makes_no_difference(server):
    assert (await server.http.get("/api/agent/list/")).status_code == 200


@pytest.mark.parametrize(("method", "path", "sentence"), unbuilt())
async def test_what_is_documented_and_not_built_says_so(server, method, path, sentence):
    answer = await server.http.request(method, path.replace("{", "").replace("}", ""))
    assert answer.status_code == 501
    assert answer.json()["message"] == sentence


async def test_a_body_over_the_limit_is_413(tmp_path):
    async with running(tmp_path, AGENTSPAN_MAX_BODY_BYTES="2048") as server:
        fits, large = b'"' + b"x" * 2000 + b'"', b'"' + b"x" * 200_000 + b'"'

        async def chunks():
            for start in range(0, len(large), 1000):
                yield large[start : start + 1000]

        assert (await post(server, "/api/agent/start", fits)).status_code == 400
        for content in (large, chunks()):
            answer = await post(server, "/api/agent/start", content)
            assert (answer.status_code, answer.json().keys()) == (413, SHAPE)
            assert "2048" in answer.json()["message"]
        assert (await server.http.get("/health")).status_code == 200


async def test_a_prompt_of_ten_megabytes_fits(server):
    execution_id = await server.run(agent(), "x" * 10_000_000)
    assert len((await server.get(f"/api/agent/executions/{execution_id}"))["input"]["prompt"]) == 10_000_000


async def test_a_connection_serves_many_requests_and_no_etags(server):
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=5)

    def ask():
        connection.request("GET", "/health")
        answer = connection.getresponse()
        return answer.read(), answer.getheader("ETag"), connection.sock.getsockname()

    first = await asyncio.to_thread(ask)
    second = await asyncio.to_thread(ask)
    connection.close()
    assert first == second
    assert first[1] is None
