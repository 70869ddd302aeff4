"""A view: one thing to look at, read from the server and read again when the news concerns it.

A view is built at once, empty; it is filled when its first answer is there. It stands on a page of the dashboard, and
in a cell of a notebook just so.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from html import escape
from typing import Any

import panel as pn
from panel.viewable import Viewable, Viewer

from agentspan.dashboard import look, may
from agentspan.dashboard.address import Address
from agentspan.dashboard.store import NOTHING, News, Store, is_over
from agentspan.dashboard.widget import Widget
from agentspan.errors import AgentspanError

log = logging.getLogger("agentspan.dashboard")

PAUSE_SECONDS = 0.2
"""Between two reads: news of that time is read at once."""
AGAIN_SECONDS = 2.0
"""After a read that failed."""

_BOX = (
    '<div role="alert" style="border-left:3px solid #d64545;background:rgba(214,69,69,.1);padding:10px 14px;'
    'border-radius:0 6px 6px 0"><b>This cannot be read {}</div>'
)
PROBLEM = _BOX.format('now.</b> {} <span style="opacity:.7">Trying again…</span>')
OVER = _BOX.format("any more.</b> {}")


class View(Viewer):
    """What every view has. A subclass says how it looks (`build`), what it reads (`read`), how that is shown (`fill`)
    and which news concerns it (`concerns`). `title` is the page's. Between two reads it rests for `pause_seconds`.
    `takes`: the action that whoever may not do it has no use for the view without."""

    title = ""
    takes = "browse"
    pause_seconds = PAUSE_SECONDS

    def __init__(self, store: Store, address: Address | None = None, **params: Any) -> None:
        super().__init__(**params)
        self.store = store
        # Without a page around it, its links lead to the pages of the server itself.
        self.address = address or Address(base=f"{store.client.url}/ui")
        if address is None:  # nobody else follows it, as in a cell
            self.address.param.watch(lambda _: self.arrived(), "place")
        self.data: Any = None
        self._news = asyncio.Event()
        self._heard: News = NOTHING
        self._working: asyncio.Task[None] | None = None
        self._begun: set[asyncio.Task[Any]] = set()
        self._forget: Callable[[], None] | None = None
        self._problem = pn.pane.HTML(visible=False, sizing_mode="stretch_width", margin=(0, 0, 12, 0))
        built = self.build()
        inside = self._refusal() if self._is_refused else built
        self.body = pn.Column(self._problem, inside, sizing_mode="stretch_width", margin=0)
        self._allow()

    # What a subclass says

    def build(self) -> Viewable:
        """The parts, still empty."""
        raise NotImplementedError

    async def read(self) -> Any:
        """What is to be shown, from the server."""
        raise NotImplementedError

    def fill(self, data: Any) -> None:
        """Put what was read into the parts; change what is different, build nothing anew."""
        raise NotImplementedError

    def concerns(self, news: News) -> bool:
        """Whether this news is a reason to read again."""
        return news.all

    def arrived(self) -> None:
        """The query of the address has changed while this view stayed: a step was selected, or Back was pressed."""
        self.again()

    # Its life

    def __panel__(self) -> Viewable:
        self.open()
        return self.body

    def open(self) -> None:
        """Begin to read."""
        if self._working is None:
            self._forget = self.store.watch(self._hear)
            self._working = asyncio.ensure_future(self._work())
            self._working.add_done_callback(_broken)

    def close(self) -> None:
        """Read no more."""
        if self._forget is not None:
            self._forget()
        if self._working is not None:
            self._working.cancel()
            self._working = None

    def again(self) -> None:
        """Read again soon, as when something has been done."""
        self._heard |= News(all=True)
        self._news.set()

    def begin(self, work: Coroutine[Any, Any, Any]) -> None:
        """Do something for the person beside the reading."""
        task = asyncio.ensure_future(work)
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)
        task.add_done_callback(_broken)

    def notify(self, text: str, is_error: bool = False) -> None:
        """Tell the person something that passes."""
        if pn.state.notifications is not None:
            (pn.state.notifications.error if is_error else pn.state.notifications.success)(text, duration=6000)

    async def attempt(self, work: Any, done: str = "") -> Any:
        """Await a request to the server; what the server refuses is told to the person, who gets None."""
        try:
            result = await work
        except AgentspanError as problem:
            self.notify(problem.message, is_error=True)
            return None
        if done:
            self.notify(done)
        self.again()
        return True if result is None else result

    def _allow(self) -> None:
        """Tell the parts what the person may do."""
        allowed = self.store.allowed
        for each in self.body.select(Widget):
            if each.may != allowed:
                each.may = allowed

    async def _meet(self) -> None:
        """Know who looks at this before anything is read for them."""
        if not self.store.me:
            await self.store.know()
            self._allow()
            if self._is_refused:
                self.body[:] = [self._problem, self._refusal()]

    @property
    def _is_refused(self) -> bool:
        return bool(self.takes) and not self.store.may(self.takes)

    def _refusal(self) -> Viewable:
        return look.refusal(self.title, may.why_not(self.store.me, self.takes))

    def _hear(self, news: News) -> None:
        if self.concerns(news):
            self._heard |= news
            self._news.set()

    async def _work(self) -> None:
        while True:
            self._news.clear()
            self.news, self._heard = self._heard, NOTHING
            wait = self.pause_seconds
            try:
                await self._meet()
                self.data = None if self._is_refused else await self.read()
            except AgentspanError as problem:
                self._say(problem.message, OVER if is_over(problem) else PROBLEM)
                if is_over(problem):
                    self.address.param.update(title=self.title, ready=self.address.place)
                    return
                wait = AGAIN_SECONDS
                self._news.set()
            else:
                self._say("")
                with pn.io.hold():
                    if not self._is_refused:
                        self.fill(self.data)
            self.address.param.update(title=self.title, ready=self.address.place)
            await asyncio.sleep(wait)
            await self._news.wait()

    def _say(self, problem: str, how: str = PROBLEM) -> None:
        if problem or self._problem.visible:
            self._problem.param.update(object=how.format(escape(problem)), visible=bool(problem))


def _broken(work: "asyncio.Task[Any]") -> None:
    """A view that has stopped by a mistake of ours says so in the log."""
    if not work.cancelled() and (problem := work.exception()):
        log.error("a view has stopped", exc_info=problem)
