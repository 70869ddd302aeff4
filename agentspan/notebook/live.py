"""Runs that show themselves in the cell that waits for them: one output, changed as they go on, their result at last.

Nothing is printed. Where nobody looks on (see `mode`) each run is one output at its end, in the order of their starts.
"""

import asyncio
import contextlib
import logging
import threading
import time
import uuid
from contextlib import aclosing
from typing import Any
from urllib.parse import urlsplit

from IPython import get_ipython
from IPython.display import display

from agentspan.agents.handle import ENDED, AgentHandle
from agentspan.agents.inbox import Request, request_of
from agentspan.agents.portraits import result_portrait, result_text, summary
from agentspan.agents.result import AgentEvent, AgentResult, EventType, result_of
from agentspan.agents.runtime.runtime import AgentRuntime
from agentspan.client.portal import in_caller
from agentspan.drawing.markup import Html, code, join
from agentspan.drawing.order import title
from agentspan.drawing.prose import markdown
from agentspan.drawing.runs import run_card
from agentspan.drawing.words import duration, facts_text, plural, short, status_word
from agentspan.errors import AgentspanError
from agentspan.notebook import cells
from agentspan.notebook.mode import LIVE, OFF, STATIC, mode
from agentspan.notebook.page import LOCAL, address

Json = dict[str, Any]

log = logging.getLogger("agentspan")

FRAME_SECONDS = 0.1
REFRESH_SECONDS = 0.4
TICK_SECONDS = 1.0
SHARE = 4
"""A frame that took long to draw is followed by a pause so many times as long."""
TEXT_CHARS = 6000
MOST = 8
"""So many runs show themselves live at once; who starts more does not look at each."""
QUEUED_MS = 2000


class Watcher:
    """The entry point of the group `agentspan.display`."""

    def __call__(self, handle: AgentHandle) -> "Live | Static | None":
        """Watch a run that the cell waits for."""
        chosen = mode()
        if chosen == OFF:
            return None
        if chosen == STATIC:
            return Static(handle)
        return Live(handle) if len(_OPEN) < MOST else None

    def show(self, handle: AgentHandle) -> bool:
        """Show a run as the value of a cell, which ends at once; the output changes until the run ends."""
        if mode() != LIVE or handle.runtime.portal.here():
            return False
        live = Live(handle)
        handle.runtime.portal.spawn(live.alone(), "display")
        if (found := _cards()) is not None:
            found.cards(handle)
        return True

    def started(self, handle: AgentHandle) -> None:
        """Keep which run was started last, for `last`."""
        cells.remember(handle)

    def key(self, definition: Json, prompt: str) -> str:
        """See `resume_cells`."""
        return cells.key_of(definition, prompt)

    def last(self, runtime: AgentRuntime) -> str:
        """The run that this notebook has started last."""
        return cells.recalled(runtime)

    def ask(self, request: Request) -> bool:
        """Show a request as the value of a cell, to be answered by a click."""
        if mode() != LIVE or (found := _cards()) is None:
            return False
        found.show(request)
        return True

    def is_shown(self, result: AgentResult) -> bool:
        """Has this result been shown in this very cell?"""
        return result._surroundings.get("cell") == cell()


class Live:
    """One run in one output."""

    def __init__(self, handle: AgentHandle) -> None:
        self.handle = handle
        self.timeline: Json = {}
        self.text = ""
        self.speaker = ""
        self.requests: list[Json] = []
        self.waiting_for: list[Json] = []
        self.url = ""
        self._id = uuid.uuid4().hex
        self._cell = cell()
        self._began = self._read_at = time.monotonic()
        self._stale = True
        self._news: asyncio.Event | None = None
        self._tasks: list[asyncio.Task[None]] = []
        _OPEN.add(self)
        self._draw(update=False)

    def follow(self) -> None:
        """Begin to read and to draw, in this event loop."""
        self._news = asyncio.Event()
        self._news.set()
        self._tasks = [asyncio.ensure_future(self._read()), asyncio.ensure_future(self._paint(self._news))]

    async def ended(self, result: AgentResult) -> None:
        """Let the result take the place of the run."""
        await self._stop()
        with contextlib.suppress(Exception):  # a server that is gone: what is known is shown
            await self._refresh()
        result.surround(timeline=self.timeline, url=self.url, cell=self._cell)
        self._publish(result_portrait(result, shown=False))

    async def left(self, problem: BaseException) -> None:
        """Let a card that stands still take the place of the run."""
        await self._stop()
        self._draw(note=note_of(self.handle.execution_id, problem))

    async def alone(self) -> None:
        """Follow a run that nobody waits for to its end."""
        try:
            self.follow()
            await self._tasks[0]
            body = await (await self.handle.runtime.client()).result(self.handle.execution_id)
            await self.ended(result_of(body, output_type=self.handle.output_type))
        except Exception as problem:  # the edge of a background task: the card says what the matter is
            log.info("the run %s is not shown any longer", self.handle.execution_id, exc_info=problem)
            await self.left(problem)

    async def _read(self) -> None:
        """Take in what happens; what the server is asked for anew is read when it is drawn."""
        assert self._news is not None
        await self._refresh()
        self._news.set()
        await asyncio.to_thread(markdown, "")  # its reader is made once, which takes a while
        async with aclosing(self.handle._follow(int(self.timeline.get("last") or 0))) as events:
            async for event in events:
                self._hear(event)
                self._news.set()

    async def _paint(self, news: asyncio.Event) -> None:
        while True:
            with contextlib.suppress(TimeoutError):  # not wait_for: in Python 3.11 it can swallow a cancellation
                async with asyncio.timeout(max(0.0, self._due()) if self._stale else TICK_SECONDS):
                    await news.wait()
            news.clear()
            if self._due() <= 0 and (self._stale or self._is_stuck()):
                with contextlib.suppress(AgentspanError):  # who waits for the run is told; the next frame asks again
                    await self._refresh()
            began = time.monotonic()
            self._draw()
            await asyncio.sleep(min(TICK_SECONDS, max(FRAME_SECONDS, SHARE * (time.monotonic() - began))))

    def _due(self) -> float:
        """In how many seconds the server may be asked again."""
        return self._read_at + REFRESH_SECONDS - time.monotonic()

    async def _refresh(self) -> None:
        """Ask the server for what has changed."""
        client = await self.handle.runtime.client()
        key = self.handle.execution_id
        self._stale, self._read_at = False, time.monotonic()
        self.timeline = merged(self.timeline, await client.timeline(key, after=int(self.timeline.get("last") or 0)))
        self.url = address(client.url, f"runs/{key}")
        if self.timeline.get("status") in ENDED or not self._is_stuck():
            self.requests, self.waiting_for = [], []
            return
        status = await client.status(key)
        asked, self.requests = {each["requestId"] for each in self.requests}, list(status.get("requests") or ())
        self.waiting_for = list(status.get("waitingFor") or ())
        for each in self.requests:
            if each["requestId"] not in asked:
                await in_caller(_asked, request_of(each, self.handle.runtime), not self.handle.runtime.portal.here())

    def _is_stuck(self) -> bool:
        """Is there a step that waits for a person, or for a worker?"""
        now = self.timeline.get("now") or 0
        return any(
            each["kind"] == "human" or (not each.get("startedAt") and now - each["scheduledAt"] > QUEUED_MS)
            for each in self.timeline.get("spans") or ()
            if not each.get("endedAt")
        )

    def _hear(self, event: AgentEvent) -> None:
        self.speaker = event.path[-1] if event.path else ""
        if event.type == EventType.TOKEN:
            self.text = (self.text + str(event.content or ""))[-TEXT_CHARS:]
            return
        self._stale = True
        if event.type == EventType.THINKING:
            self.text = ""

    def _draw(self, *, note: Any = None, update: bool = True) -> None:
        run = {**self._run(), "note": note}
        told = facts_text(
            status_word("WAITING" if self.requests else run["status"]), duration(run["elapsedMs"]), run.get("step")
        )
        if note:
            told = f"not waited for any longer; runtime.attach({self.handle.execution_id!r})"
        self._publish({"text/plain": f"{run['agentName']}: {told}", "text/html": str(run_card(run))}, update)

    def _run(self) -> Json:
        origin = self.handle._origin
        run: Json = {"agentName": origin.agent.name if origin else "run", "status": "RUNNING"}
        run |= {key: value for key, value in summary(self.timeline).items() if value is not None}
        known = (self.timeline.get("now") or 0) - _start(self.timeline) if self.timeline else 0
        since = time.monotonic() - (self._read_at if self.timeline else self._began)
        return {
            **run,
            "executionId": self.handle.execution_id,
            "elapsedMs": known + since * 1000,
            "text": self.text,
            "speaker": self.speaker,
            "step": step_of(self.timeline),
            "requests": self.requests,
            "waitingFor": self.waiting_for,
            "url": self.url,
        }

    async def _stop(self) -> None:
        _OPEN.discard(self)
        tasks, self._tasks = [each for each in self._tasks if each is not asyncio.current_task()], []
        for each in tasks:
            each.cancel()
        for found in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(found, Exception):
                log.info("the run %s was not followed to its end", self.handle.execution_id, exc_info=found)

    def _publish(self, bundle: Json, update: bool = True) -> None:
        show(bundle, display_id=self._id, update=update)


class Static:
    """One run as one output at its end. Runs at the same time wait for each other, to stand in the order of starts."""

    def __init__(self, handle: AgentHandle) -> None:
        self.handle = handle
        self._cell = cell()
        self._bundle: Json | None = None
        self._waking: asyncio.Task[None] | None = None
        _GROUP.append(self)

    def follow(self) -> None:
        """Nothing changes before the end. An idle loop of a kernel learns of an interrupt only when it wakes."""
        self._waking = asyncio.ensure_future(_wake())

    async def ended(self, result: AgentResult) -> None:
        """Show the result, unless the same was shown before."""
        client = await self.handle.runtime.client()
        with contextlib.suppress(Exception):  # without its steps it is shown too
            timeline = await client.timeline(self.handle.execution_id)
            url = "" if urlsplit(client.url).hostname in LOCAL else address(client.url, f"runs/{result.execution_id}")
            result.surround(timeline=timeline, url=url, cell=self._cell)
        told = result_text(result)
        is_old = _TOLD.get(result.execution_id) == told
        _TOLD[result.execution_id] = told
        bundle = result_portrait(result, times=False, shown=False)
        await self._finish({} if is_old else {key: bundle[key] for key in ("text/plain", "text/html")})

    async def left(self, problem: BaseException) -> None:
        """Show that the run goes on."""
        name = self.handle._origin.agent.name if self.handle._origin else "run"
        key = self.handle.execution_id
        run = {"agentName": name, "executionId": key, "status": "RUNNING", "note": note_of(key, problem)}
        told = f"{name}: not waited for any longer; runtime.attach({key!r})"
        await self._finish({"text/plain": told, "text/html": str(run_card(run))})

    async def _finish(self, bundle: Json) -> None:
        self._bundle = bundle
        if self._waking is not None:
            self._waking.cancel()
        if all(each._bundle is not None for each in _GROUP):
            group, _GROUP[:] = sorted(_GROUP, key=lambda each: each.handle.execution_id), []
            shown = [each._bundle for each in group if each._bundle]
            try:
                await in_caller(_show_all, shown)
            except RuntimeError:  # a cell that is being interrupted takes no errands; it still is the one that runs
                _show_all(shown)


async def _wake() -> None:
    while True:  # noqa: ASYNC110
        await asyncio.sleep(TICK_SECONDS)


def cell() -> str:
    """The cell that runs, by the message that began it: who keeps no history, such as nbval, does not count cells."""
    shell = get_ipython()
    parent = shell.get_parent() if hasattr(shell, "get_parent") else {}
    return str((parent.get("header") or {}).get("msg_id") or "")


def merged(timeline: Json, patch: Json) -> Json:
    """A timeline with what has changed since."""
    found = {**timeline, **patch}
    for part, key in (("executions", "executionId"), ("spans", "taskId")):
        rows = {each[key]: each for each in (*(timeline.get(part) or ()), *(patch.get(part) or ()))}
        found[part] = list(rows.values())
    return found


def step_of(timeline: Json) -> str:
    """What the run does now: its newest open step, and how many others there are."""
    spans = [each for each in timeline.get("spans") or () if not each.get("endedAt") and each["kind"] != "agent"]
    if not spans:
        return ""
    newest = max(spans, key=lambda each: each.get("seq") or 0)
    about = newest.get("summary") if newest["purpose"] == "act" else ""
    others = f" and {plural(len(spans) - 1, 'other')}" if len(spans) > 1 else ""
    return f"{title(newest)}{f' {short(about, 80)}' if about else ''}{others}"


def note_of(execution_id: str, problem: BaseException) -> Html:
    """What to do about a run that is not waited for any longer."""
    line = f'run = runtime.attach("{execution_id}")'
    why = "Detached" if isinstance(problem, (asyncio.CancelledError, KeyboardInterrupt)) else str(problem)
    rest = (", then ", code("run.join()"), " or ", code("run.cancel()"), ".")
    return join(f"{why}. The run goes on: ", code(line), *rest)


def _asked(request: Request, awaits: bool) -> None:
    """Somebody must answer: give them a card below the run, in the thread of the cell, which waits or `awaits`."""
    if threading.current_thread() is threading.main_thread() and (found := _cards()) is not None:
        found.beside(request, awaits=awaits)


def _cards() -> Any:
    """The module of the cards; None without anywidget: then the picture of the run says where to answer."""
    try:
        from agentspan.notebook import card
    except ImportError:
        log.info("requests are not answered in the cell: pip install anywidget")
        return None
    return card


def _show_all(bundles: list[Json]) -> None:
    for each in bundles:
        show(each)


def show(bundle: Json, **how: Any) -> None:
    """Show what is drawn already."""
    display(bundle, raw=True, **how)  # type: ignore[no-untyped-call]


def _start(timeline: Json) -> float:
    starts = [each["startTime"] for each in timeline.get("executions") or () if each.get("startTime")]
    return float(min(starts, default=0))


_TOLD: dict[str, str] = {}
_OPEN: set[Live] = set()
_GROUP: list[Static] = []

watcher = Watcher()
