"""A run's timeline as the browser gets it: the whole once, then what is new, short enough for thousands of spans.

A span is a list of the values of FIELDS; times are counted from the start of the run, ids are without the tree's.
"""

from typing import Any

from agentspan.drawing.words import short

Json = dict[str, Any]


class Picture:
    """What is known of a run: its executions and spans as they stand, by their ids."""

    def __init__(self) -> None:
        self.executions: dict[str, Json] = {}
        self.spans: dict[int, Json] = {}
        self.frame: Json = {}
        self._tasks: dict[int, int] = {}

    def take(self, timeline: Json) -> Json:
        """Take in what was read, the first time or since; what the browser is to get of it."""
        self.frame = {key: timeline[key] for key in FRAME}
        for each in timeline["executions"]:
            self.executions[each["executionId"]] = each
        for span in timeline["spans"]:
            self.spans[span["seq"]] = span
            self._tasks[span["seq"]] = span["seq"]
            if span["endSeq"]:
                self._tasks[span["endSeq"]] = span["seq"]
        return self._shown(timeline["executions"], timeline["spans"])

    def whole(self) -> Json:
        """All that the browser needs to begin with."""
        return self._shown(list(self.executions.values()), list(self.spans.values()))

    def span(self, step: int) -> Json | None:
        """The span of the task that event `step` scheduled or settled."""
        return self.spans.get(self._tasks.get(step, 0))

    @property
    def start(self) -> int:
        """When the run began, in ms."""
        asked = self.executions.get(self.frame.get("executionId", ""))
        return int(asked["startTime"]) if asked else 0

    @property
    def is_over(self) -> bool:
        """Has the run ended?"""
        return bool(self.frame) and self.frame["status"] not in OPEN

    @property
    def has_untaken(self) -> bool:
        """Does a task wait for a worker?"""
        return any(not each["endedAt"] and not each["startedAt"] for each in self.spans.values())

    def _shown(self, executions: list[Json], spans: list[Json]) -> Json:
        return {
            **self.frame,
            "start": self.start,
            "fields": FIELDS,
            "executions": executions,
            "spans": [self._values(span) for span in spans],
        }

    def _values(self, span: Json) -> list[Any]:
        tree, start = self.frame["rootId"], self.start
        shown = {
            **span,
            "execution": span["executionId"].removeprefix(tree),
            "child": span["childId"].removeprefix(tree),
            "retried": int(span["retriedTaskId"].rpartition("t")[2] or 0),
            "tokens": span["promptTokens"] + span["completionTokens"],
            "summary": short(span["summary"], TEXT_CHARS),
            "error": short(span["error"], TEXT_CHARS),
            **{key: span[key] - start if span[key] else None for key in TIMES},
        }
        return [shown[key] for key in FIELDS]


TEXT_CHARS = 140
OPEN = ("RUNNING", "PAUSED")
FRAME = ("executionId", "rootId", "agentName", "status", "now", "last", "budget", "spent")
TIMES = ("scheduledAt", "availableAt", "startedAt", "endedAt")
FIELDS = (
    "seq", "endSeq", "execution", "child", "agentName", "name", "kind", "purpose", "turn", "status", "retried", *TIMES,
    "tokens", "cost", "costUnknown", "summary", "error", "staleTool",
)  # fmt: skip
