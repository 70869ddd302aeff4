"""The app: one session's page, with its navigation, its header, and the view that the address asks for."""

from typing import Any

import panel as pn

from agentspan.client.client import Client
from agentspan.dashboard import look
from agentspan.dashboard.address import Address
from agentspan.dashboard.pages import GROUPS, find
from agentspan.dashboard.store import News, Store
from agentspan.dashboard.view import View
from agentspan.dashboard.widget import Widget, param
from agentspan.errors import AgentspanError

MANY = 99
"""So many requests are counted beside the inbox; of more it says that there are more."""


class Nav(Widget):
    """The links to the pages; `badges` by path."""

    module = "nav.js"

    groups = param.List(default=GROUPS)
    base = param.String(default="")
    place = param.String(default="/")
    badges = param.Dict(default={})


class App:
    """What one session shows: made for a request, closed with the session."""

    def __init__(
        self, client: Client, *, base: str = "", place: str = "/", user: str = "", theme: str = "", login: str = ""
    ) -> None:
        self.store = Store(client, user)
        self.address = Address(base=base, place=place, theme=theme, dark=theme == "dark", login=login)
        self.nav = Nav(base=base, place=place)
        self.main = pn.Column(sizing_mode="stretch_width", margin=0)
        self.view: View | None = None
        self._shown: tuple[Any, Any] = (None, None)
        self.address.param.watch(lambda _: self._follow(), "place")
        self.page = look.page(self.address, self.nav, self.main, user)

    def open(self) -> None:
        """Show the page that the address asks for."""
        self.store.watch(self._hear)
        self._follow()
        pn.state.execute(self._count)

    def close(self) -> None:
        """The browser has gone."""
        if self.view is not None:
            self.view.close()
        self.store.close()
        pn.state.execute(self.store.client.aclose)

    def _follow(self) -> None:
        self.nav.place = self.address.place
        make, given = find(self.address.path)
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


def of_request(client: Client, *, base: str, path: str, query: str, user: str, theme: str = "", login: str = "") -> Any:
    """The page for one request of a browser."""
    below = path.removeprefix(base) or "/"
    app = App(client, base=base, place=below + (f"?{query}" if query else ""), user=user, theme=theme, login=login)
    pn.state.onload(app.open)
    pn.state.on_session_destroyed(lambda _: app.close())
    return app.page
