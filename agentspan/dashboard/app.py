"""The app: one session's page, with its navigation, its header, and the view that the address asks for."""

import asyncio
from typing import Any

import panel as pn

from agentspan.client.client import Client
from agentspan.dashboard import look
from agentspan.dashboard.address import Address
from agentspan.dashboard.pages import GROUPS, find
from agentspan.dashboard.pages.run import Run
from agentspan.dashboard.pages.unknown import Hidden
from agentspan.dashboard.store import News, Store, is_over
from agentspan.dashboard.view import View
from agentspan.dashboard.widget import Widget, param
from agentspan.errors import AgentspanError

AGAIN_SECONDS = 2.0
MANY = 99
"""So many requests are counted beside the inbox; of more it says that there are more."""


class Nav(Widget):
    """The links to the pages; `badges` by path."""

    module = "nav.js"

    groups = param.List(default=[])
    base = param.String(default="")
    place = param.String(default="/")
    badges = param.Dict(default={})


class App:
    """What one session shows: made for a request, closed with the session."""

    def __init__(
        self,
        client: Client,
        *,
        base: str = "",
        place: str = "/",
        user: str = "",
        theme: str = "",
        login: str = "",
        is_shared: bool = False,
    ) -> None:
        self.store = Store(client, user, is_shared=is_shared)
        self.address = Address(base=base, place=place, theme=theme, dark=theme == "dark", login=login)
        self.nav = Nav(base=base, place=place)
        self.main = pn.Column(sizing_mode="stretch_width", margin=0)
        self.view: View | None = None
        self._beginning: asyncio.Task[None] | None = None
        self._shown: tuple[Any, Any] = (None, None)
        self.address.param.watch(lambda _: self._follow(), "place")
        self.who = pn.pane.HTML(look.who(self.address, user, {}), margin=(0, 8))
        self.page = look.page(self.address, self.nav, self.main, self.who, is_shared=is_shared)

    def open(self) -> None:
        """Show the page that the address asks for."""
        self._beginning = asyncio.ensure_future(self._begin())

    def close(self) -> None:
        """The browser has gone."""
        if self._beginning is not None:
            self._beginning.cancel()
        if self.view is not None:
            self.view.close()
        self.store.close()
        pn.state.execute(self.store.client.aclose)

    async def _begin(self) -> None:
        """Learn who that is, and show them what is theirs."""
        while not self.store.me:
            try:
                await self.store.know()
            except AgentspanError as problem:
                self._follow()  # the page itself says what is wrong
                if is_over(problem):
                    return
                await asyncio.sleep(AGAIN_SECONDS)
        self.nav.groups = [[each for each in group if self.store.may(each.get("takes", "browse"))] for group in GROUPS]
        self.who.object = look.who(self.address, self.store.user, self.store.me)
        self._follow()
        if not self.store.is_shared:
            self.store.watch(self._hear)
            await self._count()

    def _find(self) -> tuple[type[View], dict[str, str]]:
        """The view of the address; whoever has the link of a run is shown that run alone."""
        make, given = find(self.address.path)
        if not self.store.is_shared:
            return make, given
        run = str(self.store.me.get("share", {}).get("executionId", ""))
        is_shown = make is Run and run in ("", given["id"].partition(".")[0])
        return (make, given) if is_shown else (Hidden, {"run": run})

    def _follow(self) -> None:
        self.nav.place = self.address.place
        make, given = self._find()
        if (make, given) == self._shown and self.view is not None:
            self.view.arrived()
            return
        self._shown = (make, given)
        before = self.view
        self.view = make(self.store, self.address, **given)
        with pn.io.hold():
            self.main[:] = [self.view.body]
        self.view.open()
        if before is not None:
            before.close()

    def _hear(self, news: News) -> None:
        if news.requests or news.all:
            pn.state.execute(self._count)

    async def _count(self) -> None:
        try:
            page = await self.store.client.inbox_page(limit=MANY)
        except AgentspanError:
            return  # the page itself says what is wrong
        number = len(page.get("requests") or ())
        self.nav.badges = {"/inbox": f"{number}+" if page.get("nextCursor") else str(number)} if number else {}


def of_request(client: Client, *, base: str, path: str, query: str, user: str, **given: Any) -> Any:
    """The page for one request of a browser; `given`: what else an `App` takes."""
    below = path.removeprefix(base) or "/"
    app = App(client, base=base, place=below + (f"?{query}" if query else ""), user=user, **given)
    pn.state.onload(app.open)
    pn.state.on_session_destroyed(lambda _: app.close())
    return app.page
