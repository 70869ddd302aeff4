"""Who works, what waits, and why a run that waits for a worker does not go on."""

import asyncio
from typing import Any

import panel as pn
from panel.viewable import Viewable

from agentspan.dashboard import look
from agentspan.dashboard.figures import Figures
from agentspan.dashboard.store import News
from agentspan.dashboard.table import Table
from agentspan.dashboard.view import View
from agentspan.errors import AgentspanError

Json = dict[str, Any]

STUCK = 20
"""So many runs without a worker are explained; the list of runs has all."""
LOOK_SECONDS = 3.0
"""Workers poll without anything to tell, so the page looks by itself."""


class Workers(View):
    """Workers and queues as they are now, and the runs that have no worker."""

    title = "Workers"
    pause_seconds = 1.0

    def build(self) -> Viewable:
        self.figures = Figures()
        self.stuck = Table(label="Runs without a worker", columns=STUCK_COLUMNS)
        self.queues = Table(label="Queues", columns=QUEUE_COLUMNS, empty=NO_QUEUES)
        self.workers = Table(label="Workers", columns=WORKER_COLUMNS, empty=NO_WORKERS)
        self.loading = look.loading()
        self.stuck_card = look.card(self.stuck, title="Runs that wait for a worker", visible=False)
        self.cards = pn.Column(
            look.card(self.figures),
            self.stuck_card,
            look.card(self.queues, title="Queues"),
            look.card(self.workers, title="Workers"),
            sizing_mode="stretch_width", margin=0, visible=False,
        )  # fmt: skip
        self._looking: asyncio.Task[None] | None = None
        return pn.Column(
            look.heading("Workers and queues"), self.loading, self.cards, sizing_mode="stretch_width", margin=0
        )

    def open(self) -> None:
        super().open()
        if self._looking is None:
            self._looking = asyncio.ensure_future(self._look())

    def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        super().close()

    async def read(self) -> Any:
        client = self.store.client
        roster, waiting = await asyncio.gather(
            client.workers(), client.executions(waiting="worker", size=STUCK, count="capped")
        )
        reasons = await asyncio.gather(*(self._why(each["executionId"]) for each in waiting["results"]))
        return {"roster": roster, "stuck": list(zip(waiting["results"], reasons, strict=True)), "waiting": waiting}

    def fill(self, data: Any) -> None:
        workers, queues, stuck = data["roster"]["workers"], data["roster"]["queues"], data["stuck"]
        self.loading.visible, self.cards.visible = False, True
        self.figures.figures = _figures(workers, queues, data["waiting"].get("totalHits", len(stuck)))
        self.stuck_card.visible = bool(stuck)
        self.stuck.rows = [self._stuck(run, why) for run, why in stuck]
        self.queues.rows = [_queue(each) for each in sorted(queues, key=_worst_first)]
        self.workers.rows = [self._worker(each) for each in sorted(workers, key=_worst_first)]

    def concerns(self, news: News) -> bool:
        return bool(news.all or news.workers or news.ended)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.again()

    async def _why(self, run: str) -> Json:
        """Why a run does not go on; nothing of one that is gone meanwhile."""
        try:
            return await self.store.client.why(run)
        except AgentspanError:
            return {"sentence": "", "reasons": []}

    def _stuck(self, run: Json, why: Json) -> Json:
        reason: Json = next((each for each in why["reasons"] if each["code"] in UNSERVED), {})
        name = run["executionId"]
        return {
            "id": name,
            "agent": {"text": run["agentName"], "href": self.address.link(f"/runs/{name}")},
            "sentence": reason.get("sentence") or why["sentence"],
            "remedy": reason.get("remedy") or "",
            "since": reason.get("since") or run["startTime"],
        }

    def _worker(self, worker: Json) -> Json:
        held, polled = worker["inFlight"], worker["queues"]
        names = [each["name"] + (f" in {each['domain']}" if each["domain"] else "") for each in polled]
        first = held[0] if held else None
        return {
            "id": worker["workerId"],
            "worker": {"text": worker["workerId"], "title": worker["workerId"]},
            "state": {"text": worker["state"], "tone": TONES.get(worker["state"], "SCHEDULED")},
            "sentence": worker["sentence"],
            "queues": {"text": ", ".join(names), "title": "\n".join(names)},
            "held": {
                "text": len(held),
                "href": self.address.link(f"/runs/{first['executionId']}") if first else None,
                "title": "\n".join(f"{each['name']} of {each['executionId']}" for each in held),
            },
            "heard": worker.get("lastHeard") or worker["lastPoll"] or None,
        }


def _queue(queue: Json) -> Json:
    return {
        **queue,
        "id": f"{queue['domain']}/{queue['name']}",
        "name": {"text": queue["name"], "note": f" in {queue['domain']}" if queue["domain"] else ""},
        "state": {"text": queue["state"], "tone": TONES.get(queue["state"], "SCHEDULED")},
        "oldestMs": queue["oldestMs"] or None,
    }


def _figures(workers: list[Json], queues: list[Json], stuck: int) -> list[Json]:
    alive = [each for each in workers if each["state"] != "gone"]
    ill = sum(1 for each in alive if not each.get("healthy", True))
    oldest = max((each["oldestMs"] for each in queues), default=0)
    return [
        {"name": "Workers", "value": len(alive), "note": f"{ill} not well" if ill else "",
         "tone": "FAILED" if ill else None},
        {"name": "Tasks at work", "value": sum(each["leased"] for each in queues)},
        {"name": "Tasks ready", "value": sum(each["ready"] for each in queues)},
        {"name": "Oldest ready", "kind": "duration", "value": oldest or None},
        {"name": "Runs without a worker", "value": stuck, "tone": "WAITING" if stuck else None},
    ]  # fmt: skip


def _worst_first(each: Json) -> tuple[int, str]:
    return ORDER.get(each["state"], 1), str(each.get("name") or each.get("workerId"))


UNSERVED = ("no_worker", "worker_silent", "queued")

TONES = {
    "idle": "COMPLETED", "busy": "RUNNING", "silent": "FAILED", "gone": "TERMINATED",
    "ok": "COMPLETED", "lagging": "WAITING", "unserved": "FAILED",
}  # fmt: skip
ORDER = {"silent": 0, "unserved": 0, "lagging": 1, "busy": 2, "ok": 2, "idle": 3, "gone": 4}

STUCK_COLUMNS = [
    {"key": "agent", "name": "Run"},
    {"key": "sentence", "name": "Why", "wrap": True},
    {"key": "remedy", "name": "What helps", "wrap": True},
    {"key": "since", "name": "Since", "kind": "since"},
]
QUEUE_COLUMNS = [
    {"key": "name", "name": "Queue"},
    {"key": "state", "name": "State"},
    {"key": "sentence", "name": "Now", "wrap": True},
    {"key": "ready", "name": "Ready", "kind": "count"},
    {"key": "leased", "name": "At work", "kind": "count"},
    {"key": "oldestMs", "name": "Oldest", "kind": "duration"},
    {"key": "workers", "name": "Workers", "kind": "count"},
]
WORKER_COLUMNS = [
    {"key": "worker", "name": "Worker", "kind": "mono"},
    {"key": "state", "name": "State"},
    {"key": "sentence", "name": "Now", "wrap": True},
    {"key": "queues", "name": "Polls", "spare": 1},
    {"key": "held", "name": "At work", "kind": "count"},
    {"key": "heard", "name": "Heard of", "kind": "since"},
]
NO_QUEUES = {"title": "No queues yet", "text": "A queue is there as soon as a worker polls it or a task waits in it."}
NO_WORKERS = {
    "title": "No workers",
    "text": "The process that runs an agent serves its tools; one that serves them for others is a worker:",
    "code": "runtime.serve(agent)",
}
