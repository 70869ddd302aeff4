"""The cards below a cell by which a person answers what runs ask: approve, edit, reject, answer, choose.

A click only says what was decided. It is sent from the background loop, so a busy kernel is not waited for, and the
server says who was first: the card then shows the decision, also one that was made elsewhere. What is saved with the
notebook is the static card; it holds no credentials.
"""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from importlib.metadata import version
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets  # type: ignore[import-untyped]
import traitlets
from IPython import get_ipython
from IPython.display import display

from agentspan import drawing
from agentspan.agents.handle import AgentHandle
from agentspan.agents.host import Host, own_host
from agentspan.agents.inbox import Request
from agentspan.drawing.asking import asking, told
from agentspan.errors import AgentspanError
from agentspan.notebook.mode import LIVE, mode
from agentspan.notebook.page import address

Json = dict[str, Any]

log = logging.getLogger("agentspan.notebook")

SOURCE = Path(drawing.__file__).with_name("card.js").read_text(encoding="utf-8")
WIDGET = "application/vnd.jupyter.widget-view+json"
LOOK_SECONDS = 5.0
SETTLE_SECONDS = 0.1


class Card(anywidget.AnyWidget):
    """One request. `decision` is None while it is open; `note` is a sentence to whoever looks at it."""

    _esm = SOURCE
    request = traitlets.Dict().tag(sync=True)
    decision = traitlets.Dict(allow_none=True, default_value=None).tag(sync=True)
    busy = traitlets.Bool(False).tag(sync=True)
    error = traitlets.Unicode("").tag(sync=True)
    note = traitlets.Unicode("").tag(sync=True)
    answer = traitlets.Dict(allow_none=True, default_value=None).tag(sync=True)

    def __init__(self, request: Json, host: Host, changed: Callable[[], Awaitable[None]], note: str = "") -> None:
        super().__init__(request=request, note=note)
        self._host, self._changed = host, changed
        self.observe(self._answered, "answer")
        self._unbind()

    @property
    def id(self) -> str:
        """The id of the request."""
        return str(self.request["requestId"])

    @property
    def plain(self) -> Json:
        """The request with its decision, to be drawn."""
        return {**self.request, "decision": self.decision} if self.decision else dict(self.request)

    def settle(self, body: Json) -> None:
        """Show how the request was settled."""
        self.decision = {key: body.get(key) for key in ("status", "answer", "decidedBy", "decidedAt")}
        self.busy = False

    @traitlets.observe("note")
    def _unbind(self, _: Any = None) -> None:
        """Let clicks come by the subshell that the front end chooses: ipykernel 7 sends them to the one that the card
        spoke from last, which is the cell's, and that may be waiting."""
        getattr(self.comm, "__dict__", {}).pop("_reply_subshell_id", None)

    def _answered(self, change: Any) -> None:
        """Somebody has clicked. Whatever is said of another request than this one is nothing."""
        given = change["new"]
        if not given or given.get("requestId") != self.id or self.decision or self.busy:
            return
        self.busy, self.error = True, ""
        self._host.portal.spawn(self._pass_on(dict(given.get("answer") or {})), "answer")

    async def _pass_on(self, answer: Json) -> None:
        try:
            await (await self._host.client()).respond(self.request["executionId"], answer, request_id=self.id)
        except AgentspanError as problem:  # also that somebody was first: what they said is then shown instead
            self.error = problem.message
        finally:
            self.busy = False
            await self._changed()


class Cards:
    """The cards of a run and all below it in one output, kept up to date until the run ends: what is asked later comes
    to the others, what was decided (here or elsewhere) stays as it was decided. `only`: this request alone."""

    def __init__(self, execution_id: str, host: Host | None = None, *, only: str = "", note: str = "") -> None:
        self.execution_id, self.only = execution_id, only
        self.cards: dict[str, Card] = {}
        self._host = host or own_host()
        self._note = note
        self._output = uuid.uuid4().hex

    def show(self) -> None:
        """Show what is asked, here and now; where somebody looks on, go on as a task of the background loop."""
        self._host.portal.call(self._look())
        self._display()
        if mode() == LIVE:
            self._host.portal.spawn(self._watch(), "cards")

    def tell(self, note: str) -> None:
        """Put a sentence on the open cards; "" takes it away."""
        self._note = note
        for each in self.cards.values():
            each.note = note

    def bundle(self) -> Json:
        """What is shown and saved: the static cards, and beside them the widget while something is open."""
        plain = [each.plain for each in self.cards.values()]
        bundle: Json = {"text/plain": "\n".join(map(told, plain)), "text/html": "".join(map(asking, plain))}
        waiting = [each for each in self.cards.values() if not each.decision]
        if waiting and mode() == LIVE:
            view = waiting[0] if len(waiting) == 1 else ipywidgets.VBox(waiting)
            bundle[WIDGET] = {"version_major": 2, "version_minor": 0, "model_id": view.model_id}
        return bundle

    def _display(self, update: bool = False) -> None:
        display(self.bundle(), raw=True, display_id=self._output, update=update)  # type: ignore[no-untyped-call]

    async def _watch(self) -> None:
        """Look again whenever something happened in the run, every few seconds in any case, and after its end."""
        news = asyncio.Event()
        following = asyncio.create_task(self._follow(news))
        try:
            while self._open() or not self.only:
                is_over = following.done()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0 if is_over else LOOK_SECONDS):
                        await news.wait()
                news.clear()
                if await self._look():
                    self._display(update=True)
                if is_over:
                    break
                await asyncio.sleep(SETTLE_SECONDS)
        finally:
            following.cancel()

    async def _follow(self, news: asyncio.Event) -> None:
        """Tell of each event of the run until its last."""
        try:
            async with aclosing((await self._host.client()).follow(self.execution_id)) as events:
                async for event in events:
                    if event.get("id") is not None:
                        news.set()
        except AgentspanError as problem:
            log.warning("the cards of run %s are not kept up to date any more: %s", self.execution_id, problem)
        finally:
            news.set()

    async def _look(self) -> bool:
        """Read what is asked and what was decided; did anything change?"""
        try:
            found = await self._read()
        except AgentspanError as problem:
            for each in self._open():
                each.error = problem.message
            return False
        changed = [self._take(each) for each in found]
        return any(changed)

    async def _read(self) -> list[Json]:
        client = await self._host.client()
        found = await client.inbox(status="open", execution_id=self.execution_id)
        known = {each["requestId"] for each in found}
        if any(each.id not in known for each in self._open()) or (self.only and self.only not in known):
            found += await client.inbox(status="answered", execution_id=self.execution_id)
        return [each | where(each, client.url) for each in found if self.only in ("", each["requestId"])]

    def _take(self, body: Json) -> bool:
        """Let one request have its card; is there anything new about it?"""
        card, is_open = self.cards.get(body["requestId"]), body["status"] == "open"
        if card is None and (is_open or self.only):
            card = self.cards[body["requestId"]] = Card(body, self._host, self._look_again, self._note)
            if not is_open:
                card.settle(body)
            return True
        if card is not None and not is_open and not card.decision:
            card.settle(body)
            return True
        return False

    def _open(self) -> list[Card]:
        return [each for each in self.cards.values() if not each.decision]

    async def _look_again(self) -> None:
        """Somebody has clicked here: what became of it is shown at once, whoever else looks."""
        if await self._look():
            self._display(update=True)


def cards(run: AgentHandle | str, *, note: str = "") -> Cards:
    """Show below this cell what a run asks, to be answered by a click; the cell does not wait."""
    handle = run if isinstance(run, AgentHandle) else AgentHandle(run)
    shown = Cards(handle.execution_id, handle.runtime, note=note)
    shown.show()
    return shown


def show(request: Request) -> None:
    """Show one request below this cell, to be answered by a click."""
    Cards(request.root_id or request.execution_id, request.host, only=request.request_id).show()


def beside(request: Request, *, awaits: bool) -> None:
    """Show below the cell that waits (or `awaits`) what the run asks now and later; once for a run and a cell."""
    shell, root = get_ipython(), request.root_id or request.execution_id
    place = root, str((shell.get_parent().get("header") or {}).get("msg_id"))
    if place in _beside:
        return
    shown = _beside[place] = Cards(root, request.host, note=note_while(awaits))

    def free(*_: Any) -> None:
        shell.events.unregister("post_run_cell", free)
        shown.tell("")

    shell.events.register("post_run_cell", free)
    shown.show()


def where(body: Json, url: str) -> Json:
    """Where else a request is answered: a page and a line for a terminal."""
    line = LINES.get(str(body.get("kind")), "agentspan answer {id} 'your answer'")
    return {"link": address(url, f"inbox/{body['requestId']}"), "command": line.format(id=body["requestId"])}


def note_while(awaits: bool) -> str:
    """What to tell who looks at a card while its own cell runs: may a click not arrive before the cell has ended?"""
    if awaits and int(version("ipykernel").partition(".")[0]) >= 7:
        return ""
    return HELD.format("this cell awaits in ipykernel 6" if awaits else "this cell waits for the run")


_beside: dict[tuple[str, str], Cards] = {}

LINES = {
    "approval": "agentspan approve {id}",
    "review": "agentspan approve {id}",
    "selection": 'agentspan answer {id} \'{{"selected": "name"}}\'',
}
HELD = (
    "A click may arrive only when the kernel is free, and {}. Answer in the inbox or by the line below, or interrupt "
    "the cell (the run goes on) and click then."
)
