"""What every picture keeps to, and data to draw."""

from html.parser import HTMLParser
from typing import Any

from hypothesis import strategies as st

Json = dict[str, Any]

VOID = {"br", "hr", "img", "input"}
FORBIDDEN = {"script", "style", "link", "iframe", "object", "embed", "form", "base", "meta"}
T = 1_760_000_000_000

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


def keeps_to_the_rules(markup: str) -> "_Reader":
    """Is it well formed, without a script, a class, or anything from outside? Gives its text and its elements."""
    reader = _Reader()
    reader.feed(markup)
    reader.close()
    assert not reader.open, f"not closed: {reader.open}"
    return reader


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in FORBIDDEN, tag
        given = dict(attrs)
        assert len(given) == len(attrs), f"twice the same attribute: {attrs}"
        assert not given.keys() & {"class", "srcset"}, attrs
        assert not any(name.startswith("on") for name in given), attrs
        assert "url(" not in (given.get("style") or "")
        assert (given.get("src") or "data:").startswith("data:")
        assert not (given.get("href") or "").lower().startswith("javascript:")
        assert "href" not in given or tag == "a"
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"nothing is open: {tag}"
        assert self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def span(n: int, execution: str, kind: str, purpose: str, name: str, start: int, end: int | None, **more: Any) -> Json:
    """A step of a timeline."""
    status = "COMPLETED" if end is not None else "IN_PROGRESS"
    found = {
        "taskId": f"x.t{n}", "executionId": execution, "agentName": "desk", "name": name, "kind": kind,
        "purpose": purpose, "scheduledAt": T + start, "availableAt": T + start, "startedAt": T + start + 10,
        "endedAt": None if end is None else T + end, "status": status, "seq": n, "attempt": 1, "promptTokens": 0,
        "completionTokens": 0, "cost": 0.0, "summary": "", "error": "", "childId": "",
    }  # fmt: skip
    return {**found, **more}


TIMELINE = {
    "executionId": "x", "agentName": "desk", "status": "RUNNING", "now": T + 9000,
    "executions": [{"executionId": "x", "startTime": T}, {"executionId": "x.e2", "agentName": "writer"}],
    "spans": [
        span(1, "x", "llm", "think", "scripted/a", 0, 1400, promptTokens=100, completionTokens=20, cost=0.0012),
        span(2, "x", "agent", "speak", "writer", 1400, 7000, childId="x.e2"),
        span(7, "x", "worker", "act", "search", 7000, None, summary='{"q": "x < y"}'),
        span(3, "x.e2", "llm", "think", "scripted/b", 1400, 2600, agentName="writer"),
        span(4, "x.e2", "worker", "act", "refund", 2600, 3000, agentName="writer", status="FAILED", error="no money"),
        span(5, "x.e2", "human", "approve", "pay", 3000, 7000, agentName="writer", summary="Pay?"),
    ],
}  # fmt: skip
