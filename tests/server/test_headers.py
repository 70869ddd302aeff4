"""What browsers are told of every answer."""

import pytest

from tests.server.running import Running

PAGE = {"Accept": "text/html"}


@pytest.mark.parametrize(
    "path", ["/health", "/api/agent/list", "/api/agent/nothing/status", "/nothing", "/metrics", "/openapi.json"]
)
async def test_an_answer_of_the_api_is_data_for_nobody_elses_page(server: Running, path: str) -> None:
    headers = (await server.http.get(path)).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "no-store"
    assert "Server" not in headers
    assert "Strict-Transport-Security" not in headers


@pytest.mark.parametrize("path", ["/login", "/ui/nothing-here", "/logout"])
async def test_a_page_may_be_framed_by_notebooks_alone_and_use_nothing_of_the_machine(
    locked: Running, path: str
) -> None:
    headers = (await locked.http.get(path, headers=PAGE)).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert "camera=()" in headers["Permissions-Policy"]
    assert "frame-ancestors" in headers["Content-Security-Policy"]
    assert "frame-ancestors *" not in headers["Content-Security-Policy"]
    assert "Strict-Transport-Security" not in headers


async def test_who_comes_by_https_is_told_to_stay_there_and_the_cookie_never_leaves_it(locked: Running) -> None:
    https = {**PAGE, "X-Forwarded-Proto": "https"}
    headers = (await locked.http.get("/login", headers=https)).headers
    assert headers["Strict-Transport-Security"] == "max-age=31536000"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    form = {"key": "kim", "secret": "s3cret", "name": "Kim"}
    for sent, is_secure in ((https, True), (PAGE, False)):
        answer = await locked.http.post("/login", data=form, headers=sent)
        cookies = answer.headers.get_list("Set-Cookie")
        assert answer.status_code == 303
        assert cookies
        for cookie in cookies:
            assert "httponly" in cookie.lower()
            assert "samesite=lax" in cookie.lower()
            assert ("secure" in cookie.lower().split("; ")) is is_secure, cookie
