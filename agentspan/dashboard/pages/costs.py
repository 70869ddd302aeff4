"""What runs cost: by agent, model, day or session, with what no price is known for."""

import asyncio
import time
from datetime import UTC, datetime
from html import escape
from typing import Any

import panel as pn
from panel.viewable import Viewable

from agentspan.dashboard import look
from agentspan.dashboard.figures import RANGES, SAID, Chart, Choices, Figures, ranges, window
from agentspan.dashboard.listing import Calm
from agentspan.dashboard.store import News
from agentspan.dashboard.table import Table
from agentspan.dashboard.view import View
from agentspan.drawing import words

Json = dict[str, Any]

CALM_SECONDS = 2.0


class Costs(View):
    """Money and tokens of a time, in sums."""

    title = "Costs"

    def build(self) -> Viewable:
        self._calm = Calm(self.again, CALM_SECONDS)
        self.range = Choices(label="Time", sizing_mode=None)
        self.by = Choices(label="By", margin=(0, 0, 8, 0))
        self.figures = Figures()
        self.unpriced = pn.pane.HTML(visible=False, sizing_mode="stretch_width", margin=(0, 0, 16, 0))
        self.chart = Chart(min_height=168)
        self.measure = look.section("Cost")
        self.table = Table()
        self.sums, self.over_time = look.card(self.figures), look.card(self.measure, self.chart)
        self.rows = look.card(self.by, self.table)
        self.loading = look.loading()
        self._choose()
        self.sums.visible = self.over_time.visible = self.rows.visible = False
        return pn.Column(
            look.heading("Costs", self.range),
            self.loading,
            self.sums,
            self.unpriced,
            self.over_time,
            self.rows,
            sizing_mode="stretch_width", margin=0,
        )  # fmt: skip

    async def read(self) -> Any:
        client, begun = self.store.client, time.monotonic()
        by, chosen = self._by, self._range
        since, until, buckets = window(chosen, int(time.time() * 1000))
        costs, models, stats = await asyncio.gather(
            client.costs(by, since=since, until=until),
            client.costs("model", since=since, until=until),
            client.stats(since=since, until=until, buckets=buckets),
        )
        self._calm.begin(time.monotonic() - begun)
        if (by, chosen) != (self._by, self._range):  # the person was faster
            return await self.read()
        return {"costs": costs, "models": models, "stats": stats}

    def fill(self, data: Any) -> None:
        total, stats = data["costs"]["total"], data["stats"]
        self.loading.visible, self.rows.visible = False, True
        self.sums.visible = self.over_time.visible = total["calls"] > 0
        self.figures.figures = _figures(total)
        self._say_unpriced(data["models"]["rows"])
        self._draw(stats, "cost" if total["cost"] > 0 else "tokens")
        self._list(data["costs"]["rows"], total)

    def _choose(self) -> None:
        """The links between which the person chooses."""
        self.range.choices = ranges(self.address, "/costs", self._range, by=self._by)
        self.by.choices = [
            {"name": name, "href": self.address.link("/costs", by=key, range=self._range), "current": key == self._by}
            for key, name in BY.items()
        ]

    def _draw(self, stats: Json, measure: str) -> None:
        """The bars over time: money, or tokens if nothing has cost any."""
        name, kind, unit = MEASURES[measure]
        self.measure.object = look.section(name).object
        width, link = stats["bucketMs"], self.address.link
        buckets = [
            {
                "at": at,
                "values": {measure: each[measure]},
                "href": link("/runs", since=at, until=at + width),
            }
            for each in stats["buckets"]
            for at in (each["at"],)
        ]
        series = [{"key": measure, "name": unit, "status": "sum"}]
        self.chart.param.update(kind=kind, label=name, series=series, length=width, buckets=buckets)

    def _list(self, rows: list[Json], total: Json) -> None:
        """The rows of the table, each with its share of the greatest."""
        spent = _money if total["cost"] > 0 else _tokens
        most = max(map(spent, rows), default=0) or 1
        ordered = rows if self._by == "day" else sorted(rows, key=spent, reverse=True)
        self.table.param.update(
            label=f"Costs by {self._by}",
            columns=[
                {"key": "key", "name": self._by.capitalize()},
                *(each for each in COLUMNS if each["key"] != "unpriced" or total["unpriced"]),
            ],
            rows=[self._line(each, spent(each) / most) for each in ordered],
            empty={"title": "Nothing was spent", "text": f"No model was called in {SAID[self._range]}."},
        )

    def concerns(self, news: News) -> bool:
        return bool(news.all or (news.runs and self._calm.lets()))

    def arrived(self) -> None:
        self._choose()
        super().arrived()

    def close(self) -> None:
        self._calm.close()
        super().close()

    @property
    def _range(self) -> str:
        asked = self.address.query.get("range", "7d")
        return asked if asked in RANGES else "7d"

    @property
    def _by(self) -> str:
        asked = self.address.query.get("by", "agent")
        return asked if asked in BY else "agent"

    def _say_unpriced(self, models: list[Json]) -> None:
        """Say of which models the prices are not known."""
        found = [each for each in models if each["unpriced"]]
        said = ", ".join(
            f"{words.plural(each['unpriced'], 'call')} of {each['key'] or 'no model'}" for each in found[:4]
        )
        more = f" and of {words.plural(len(found) - 4, 'more model')}" if len(found) > 4 else ""
        self.unpriced.param.update(visible=bool(found), object=UNPRICED.format(escape(said + more)))

    def _line(self, row: Json, share: float) -> Json:
        """A sum as a row."""
        return {
            **row,
            "id": row["key"],
            "key": {"text": row["key"] or NAMELESS[self._by], "href": self._where(row["key"])},
            "cost": {"text": row["cost"], "unknown": row["unpriced"] > 0},
            "share": {"text": " ", "share": share},
            "unpriced": row["unpriced"] or None,
        }

    def _where(self, key: str) -> str | None:
        """Where a row's runs are."""
        if not key:
            return None
        if self._by == "agent":  # which may be one below the agents that runs are listed by
            return self.address.link(f"/agents/{key}")
        if self._by == "day":
            day = int(datetime.fromisoformat(key).replace(tzinfo=UTC).timestamp() * 1000)
            return self.address.link("/runs", since=day, until=day + words.DAY)
        return self.address.link("/runs", **{self._by: key}, range=self._range)


def _money(row: Json) -> float:
    return float(row["cost"])


def _tokens(row: Json) -> int:
    return int(row["promptTokens"] + row["completionTokens"])


def _figures(total: Json) -> list[Json]:
    return [
        {"name": "Cost", "kind": "money", "value": total["cost"], "unknown": total["unpriced"] > 0},
        {"name": "Runs", "value": total["runs"]},
        {"name": "Model calls", "value": total["calls"],
         "note": f"{words.count(total['unpriced'])} without a price" if total["unpriced"] else ""},
        {"name": "Tokens in", "value": total["promptTokens"],
         "note": f"{words.count(total['cachedTokens'])} from cache" if total["cachedTokens"] else ""},
        {"name": "Tokens out", "value": total["completionTokens"]},
        {"name": "Per run", "kind": "money", "value": total["cost"] / total["runs"] if total["runs"] else None,
         "unknown": total["unpriced"] > 0},
    ]  # fmt: skip


BY = {"agent": "By agent", "model": "By model", "day": "By day", "session": "By session"}
NAMELESS = {"agent": "no name", "model": "no model", "day": "", "session": "no session"}
MEASURES = {"cost": ("Cost over time", "money", "US dollars"), "tokens": ("Tokens over time", "count", "tokens")}
"""By measure: what its chart is called, what it counts, and in what."""

COLUMNS = [
    {"key": "share", "name": "", "kind": "bar", "width": "22%"},
    {"key": "cost", "name": "Cost", "kind": "money"},
    {"key": "promptTokens", "name": "Tokens in", "kind": "count"},
    {"key": "completionTokens", "name": "Tokens out", "kind": "count"},
    {"key": "calls", "name": "Calls", "kind": "count"},
    {"key": "runs", "name": "Runs", "kind": "count"},
    {"key": "unpriced", "name": "No price", "kind": "count"},
]

UNPRICED = """<div style="border-left:3px solid #c77700;background:rgba(199,119,0,.1);padding:8px 14px;
border-radius:0 6px 6px 0">The price is unknown for {}. Their tokens are counted, their money is not.</div>"""
