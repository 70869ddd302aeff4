"""The list of runs."""

from typing import Any

import panel as pn
from panel.viewable import Viewable

from agentspan.dashboard import look
from agentspan.dashboard.store import News
from agentspan.dashboard.table import Table
from agentspan.dashboard.view import View


class Runs(View):
    """All runs, newest first."""

    title = "Runs"

    def build(self) -> Viewable:
        self.table = Table(label="Runs", columns=COLUMNS, empty=EMPTY)
        return pn.Column(look.heading("Runs"), look.card(self.table), sizing_mode="stretch_width", margin=0)

    async def read(self) -> Any:
        return await self.store.client.executions(size=50)

    def fill(self, data: Any) -> None:
        self.table.rows = [self.line(each) for each in data["results"]]

    def concerns(self, news: News) -> bool:
        return bool(news.all or news.runs)

    def line(self, run: dict[str, Any]) -> dict[str, Any]:
        """A run as a row."""
        name = run["executionId"]
        return {**run, "id": name, "href": self.address.link(f"/runs/{name}")}


COLUMNS = [
    {"key": "agentName", "name": "Agent"},
    {"key": "status", "name": "Status", "kind": "status"},
    {"key": "startTime", "name": "Started", "kind": "since"},
    {"key": "executionId", "name": "Run", "kind": "mono"},
]

EMPTY = {"title": "No runs yet", "text": "Start one from a notebook or a program."}
