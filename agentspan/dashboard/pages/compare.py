"""Two runs side by side, and the choice of the other one."""

import asyncio
from typing import Any

import msgspec
import panel as pn
from panel.viewable import Viewable

from agentspan.client.errors import AgentAPIError
from agentspan.dashboard import look
from agentspan.dashboard.store import News
from agentspan.dashboard.view import View
from agentspan.dashboard.widget import Widget, param

Json = dict[str, Any]

OTHERS = 20


class Sides(Widget):
    """The comparison, or the choice of what is compared, as JSON in `data`. It sends {a: id, b: id}."""

    module = "rows.js compare.js"
    style = "compare.css"

    base = param.String(default="")
    data = param.String(default="")


class Compare(View):
    """The runs `?a=` and `?b=`; where one is missing, those that may be meant."""

    title = "Compare"

    def build(self) -> Viewable:
        self.sides = Sides(base=self.address.base)
        self.sides.on_message(lambda asked: self.address.go("/compare", **asked))
        about = "Two runs step by step: what differs first, and what each took."
        return pn.Column(look.heading("Compare", about=about), self.sides, sizing_mode="stretch_width", margin=0)

    def concerns(self, news: News) -> bool:
        return news.all or bool(news.runs & {self._asked(side).partition(".")[0] for side in "ab"})

    async def read(self) -> Any:
        a, b = self._asked("a"), self._asked("b")
        found: Json = {"a": a, "b": b}
        try:
            if a and b:
                return {**found, "comparison": await self.store.client.compare(a, b)}
            return {**found, "others": await self._others(a or b)}
        except AgentAPIError as problem:
            if problem.status_code >= 500:
                raise
            return {**found, "problem": problem.message, "others": await self._recent("")}

    def fill(self, data: Any) -> None:
        self.sides.data = msgspec.json.encode(data).decode()

    def _asked(self, side: str) -> str:
        return self.address.query.get(side, "")

    async def _others(self, known: str) -> list[Json]:
        """What a run may be compared with: what it was forked from, its forks, other runs of its agent."""
        if not known:
            return await self._recent("")
        client, tree = self.store.client, known.partition(".")[0]
        timeline, forks = await asyncio.gather(client.timeline(tree), client.forks(tree))
        root = next(each for each in timeline["executions"] if each["executionId"] == tree)
        forked_from = root["forkedFrom"]
        near = {each["executionId"]: _other(each, f"its fork at event {each['at']}") for each in forks}
        for each in await self._recent(timeline["agentName"]):
            relation = "what it was forked from" if each["id"] == forked_from else each["relation"]
            near.setdefault(each["id"], {**each, "relation": relation})
        if forked_from and forked_from not in near:
            status = await client.status(forked_from)
            run = {"executionId": forked_from, "status": status["status"], "agentName": timeline["agentName"]}
            near[forked_from] = _other(run, "what it was forked from")
        near.pop(tree, None)
        return sorted(near.values(), key=lambda each: each["relation"] == "")

    async def _recent(self, agent: str) -> list[Json]:
        page = await self.store.client.executions(size=OTHERS, agent_name=agent or None)
        return [_other(each, "") for each in page["results"]]


def _other(run: Json, relation: str) -> Json:
    kept = {key: run.get(key) for key in ("agentName", "status", "startTime")}
    return {**kept, "id": run["executionId"], "relation": relation}
