"""What a request may bring, and how many of them somebody may make."""

import json
from pathlib import Path

import pytest

from agentspan.config import Rate
from agentspan.errors import BadInput, TooMany
from agentspan.server.limits import Rates, check_items, check_nesting, head_problem
from agentspan.spec.nesting import NESTING
from tests.server.running import Running, running


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_so_many_requests_are_let_in_at_once_and_then_as_time_goes_by() -> None:
    clock = Clock()
    rates = Rates([Rate(3, 60, "key")], clock)
    assert [rates.admit({"key": "kim"}) for _ in range(4)] == [0, 0, 0, 20.0]
    assert rates.admit({"key": "lee"}) == 0
    clock.now += 15
    assert rates.admit({"key": "kim"}) == pytest.approx(5)
    clock.now += 5
    assert rates.admit({"key": "kim"}) == 0
    assert rates.admit({"key": "kim"}) == pytest.approx(20)
    clock.now += 1_000
    assert [rates.admit({"key": "kim"}) for _ in range(4)] == [0, 0, 0, 20.0]


def test_each_rate_holds_and_who_is_refused_by_one_is_not_counted_by_the_others() -> None:
    clock = Clock()
    rates = Rates([Rate(2, 1, "key"), Rate(3, 60, "tenant")], clock)
    kim, lee = {"key": "kim", "tenant": "home"}, {"key": "lee", "tenant": "home"}
    assert [rates.admit(kim) for _ in range(3)] == [0, 0, 0.5]
    assert [rates.admit(lee) for _ in range(2)] == [0, 20.0]
    assert rates.admit({"key": "lee", "tenant": "other"}) == 0
    assert rates.admit({"key": "lee", "tenant": "other"}) == 0.5


def test_who_is_nobody_is_not_counted_and_no_rate_lets_all_in() -> None:
    assert not Rates([], Clock())
    rates = Rates([Rate(1, 60, "key")], Clock())
    assert rates
    assert [rates.admit({"key": ""}) for _ in range(3)] == [0, 0, 0]
    assert [rates.admit({"address": "1.2.3.4"}) for _ in range(3)] == [0, 0, 0]


def test_who_has_not_asked_for_long_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rates, "KEPT", 2)
    rates = Rates([Rate(1, 60, "key")], Clock())
    assert [rates.admit({"key": each}) for each in ("a", "b", "b", "c", "b", "a")] == [0, 0, 60, 0, 60, 0]


def test_who_asks_too_often_is_told_when_to_come_back() -> None:
    rates = Rates([Rate(2, 3, "address")], Clock())
    rates.check({"address": "1.2.3.4"})
    rates.check({"address": "1.2.3.4"})
    with pytest.raises(TooMany, match="for 2 s") as told:
        rates.check({"address": "1.2.3.4"})
    assert told.value.after_seconds == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("target", "headers", "status"),
    [
        ("/api/agent/list?" + "a" * 1_000, [("Accept", "*/*")] * 100, None),
        ("/" + "a" * 20_000, [], 414),
        ("/api?" + "&" * 1_001, [], 414),
        ("/", [("X-One", "1")] * 201, 431),
        ("/", [("Content-Encoding", "gzip")], 415),
        ("/", [("Content-Encoding", "identity")], None),
    ],
)
def test_what_is_too_much_is_not_read(target: str, headers: list[tuple[str, str]], status: int | None) -> None:
    problem = head_problem(target, headers)
    assert (problem.status if problem else None) == status


def nested(depth: int) -> object:
    value: object = 'a "quoted" \\ [[[ {{{ text'
    for each in range(depth):
        value = [value, '[{"'] if each % 2 else {"[[\\": value}
    return value


@pytest.mark.parametrize("depth", [0, 1, 50, NESTING])
def test_what_is_not_too_deep_passes_whatever_its_texts_hold(depth: int) -> None:
    check_nesting(json.dumps(nested(depth)).encode())
    check_nesting(json.dumps([nested(depth - 1)] * 60).encode() if depth else b"")
    check_nesting(json.dumps(["[" * 500, '\\"[' * 500, "{" * 500]).encode())


@pytest.mark.parametrize(
    "text",
    [b"[" * 101, b"[" * 5_000_000, b'{"a":' * 101, json.dumps([1, nested(NESTING)]).encode(), b"[]" * 99 + b"[" * 101],
)  # fmt: skip
def test_what_is_too_deep_is_refused(text: bytes) -> None:
    with pytest.raises(BadInput, match="deeper than 100 levels"):
        check_nesting(text)


def test_a_request_about_too_many_things_is_refused() -> None:
    check_items(1_000, "runs")
    with pytest.raises(BadInput, match="1001 runs are more than the 1000"):
        check_items(1_001, "runs")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/api/agent/executions/bulk/pause", ["x"] * 1_001),
        ("POST", "/api/workflow/bulk/terminate", ["x"] * 1_001),
        ("POST", "/api/workflow/helper/correlated", ["x"] * 1_001),
        ("POST", "/api/tasks/extend", {"taskIds": ["x"] * 10_001, "workerId": "w"}),
        ("POST", "/api/tasks/poll", {"queues": [{"name": "x"}] * 10_001, "workerId": "w"}),
        ("POST", "/api/tasks/report", {"results": [{"taskId": "x"}] * 10_001}),
    ],
)
async def test_what_is_about_too_many_is_refused_before_it_is_begun(
    server: Running, method: str, path: str, body: object
) -> None:
    answer = await server.http.request(method, path, json=body)
    assert answer.status_code == 400
    assert "000" in answer.json()["message"]


async def test_who_asks_too_often_gets_429_and_a_time(tmp_path: Path) -> None:
    async with running(tmp_path, AGENTSPAN_RATE_LIMIT="3/h per address") as limited:
        answers = [await limited.http.get("/api/agent/list") for _ in range(5)]
        assert [each.status_code for each in answers] == [200, 200, 200, 429, 429]
        assert 1_000 < int(answers[-1].headers["Retry-After"]) <= 1_201
        assert answers[-1].json()["retryable"] is True
        assert (await limited.http.get("/health")).status_code == 200
