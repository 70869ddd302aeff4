"""Access: who is let in and what they may do, the tenants, what is shared, and who did what."""

from datetime import UTC, datetime, timedelta
from html import escape
from typing import Any

import panel as pn
from panel.viewable import Viewable

from agentspan.dashboard import look, roster
from agentspan.dashboard.figures import Choices
from agentspan.dashboard.listing import Calm, Pager
from agentspan.dashboard.roster import HOME, Roster, Section
from agentspan.dashboard.store import News
from agentspan.dashboard.view import View
from agentspan.dashboard.widget import Widget, param

Json = dict[str, Any]

CALM_SECONDS = 2.0
IDLE_SECONDS = 10.0
"""What others change here is news to nobody: it is looked for so often."""
PAGE = 50


class Audit(Widget):
    """What was decided and changed: see `parts/audit.js`."""

    module = "audit.js"
    style = "access.css"

    query = param.Dict(default={})
    groups = param.List(default=[])
    entries = param.List(default=[])
    known = param.Boolean(default=False)


class Access(View):
    """`?tab=` is what is looked at; what narrows the audit stands in the address as well."""

    title = "Access"
    takes = "give access"

    def build(self) -> Viewable:
        self._calm = Calm(self.again, CALM_SECONDS, IDLE_SECONDS)
        self.tabs = Choices(label="Access", sizing_mode=None)
        self.notice = pn.pane.HTML(visible=False, sizing_mode="stretch_width", margin=(0, 0, 12, 0))
        self.roster = Roster(visible=False)
        self.roster.on_message(lambda said: self.begin(self._do(said)))
        self.audit = Audit(groups=GROUPS, visible=False)
        self.audit.on_message(self._narrow)
        self.pager = Pager(visible=False)
        self.loading = look.loading()
        self.card = look.card(self.roster, self.audit, self.pager, visible=False)
        return pn.Column(
            look.heading("Access", self.tabs, about="Who is let in, what each may do, and what they did."),
            self.notice, self.loading, self.card, sizing_mode="stretch_width", margin=0,
        )  # fmt: skip

    async def read(self) -> Any:
        tab, client = self._tab, self.store.client
        self._calm.begin()
        if tab != AUDIT:
            return {"tab": tab, "found": await SECTIONS[tab].read(client)}
        query = self.address.query
        since, until = day(query.get("since", "")), day(query.get("until", ""), 1)
        page = await client.audit(
            action=query.get("action"), by=query.get("by"), subject=query.get("subject"),
            since=since, until=until and until - 1, limit=PAGE, cursor=query.get("cursor", ""),
        )  # fmt: skip
        return {"tab": tab, **page}

    def fill(self, data: Any) -> None:
        tab, me = data["tab"], self.store.me
        self.title = f"{TABS[tab]} · Access"
        self.loading.visible, self.card.visible = False, True
        is_open = me["kind"] == "open"
        self.notice.param.update(visible=is_open, object=OPEN if is_open else "")
        self.tabs.choices = [
            {"name": name, "href": self._here(key), "current": key == tab} for key, name in self._tabs().items()
        ]
        self.roster.visible, self.audit.visible, self.pager.visible = tab != AUDIT, tab == AUDIT, tab == AUDIT
        if tab == AUDIT:
            self._show_audit(data)
        else:
            roster.show(self.roster, SECTIONS[tab], data["found"], me, self.address.link)

    def concerns(self, news: News) -> bool:
        return bool(news.all or self._calm.lets())

    def close(self) -> None:
        self._calm.close()
        super().close()

    @property
    def _tab(self) -> str:
        asked = self.address.query.get("tab", "")
        return asked if asked in self._tabs() else next(iter(TABS))

    def _tabs(self) -> dict[str, str]:
        """Tenants are looked after by the admins of the home tenant."""
        is_home = self.store.me.get("tenant") == HOME
        return {key: name for key, name in TABS.items() if is_home or key != "tenants"}

    def _here(self, tab: str, **query: Any) -> str:
        return self.address.link("/access", tab=None if tab == next(iter(TABS)) else tab, **query)

    def _show_audit(self, page: Json) -> None:
        query = self.address.query
        kept = {name: query[name] for name in NARROWS if name in query}
        older = page["nextCursor"]
        self.audit.param.update(query=kept, entries=[self._entry(each) for each in page["entries"]], known=True)
        self.pager.param.update(
            newer=self._here(AUDIT, **kept) if query.get("cursor") else "",
            older=self._here(AUDIT, **kept, cursor=older) if older else "",
            first=True,
        )

    def _entry(self, entry: Json) -> Json:
        is_run = entry["action"].startswith("execution.")
        return {**entry, "href": self.address.link(f"/runs/{entry['subject']}") if is_run and entry["subject"] else ""}

    def _narrow(self, said: Json) -> None:
        if isinstance(said.get("set"), dict):
            self.address.go("/access", **{**self.address.query, **said["set"], "cursor": None})

    async def _do(self, said: Json) -> None:
        if await roster.act(self.roster, SECTIONS[self._tab], self.store.client, said):
            self.again()


def day(said: str, later: int = 0) -> int | None:
    """The beginning of a day that is named like 2026-11-23, or so many days later."""
    try:
        found = datetime.strptime(said, "%Y-%m-%d").replace(tzinfo=UTC) + timedelta(days=later)
    except (ValueError, OverflowError):
        return None
    return int(found.timestamp() * 1000)


AUDIT = "audit"
TABS = {"users": "Users", "keys": "API keys", "tenants": "Tenants", AUDIT: "Audit", "shares": "Shares"}
SECTIONS: dict[str, Section] = {
    "users": roster.USERS,
    "keys": roster.KEYS,
    "tenants": roster.TENANTS,
    "shares": roster.SHARES,
}
NARROWS = ("action", "by", "subject", "since", "until")
GROUPS = [
    ["", "everything"],
    ["login.", "logins"],
    ["request.", "answered requests"],
    ["execution.", "runs"],
    ["agent.", "agents"],
    ["credential.", "credentials"],
    ["user.", "users"],
    ["key.", "API keys"],
    ["share.", "shares"],
    ["tenant.", "tenants"],
    ["schedule.", "schedules"],
    ["prompt.", "prompts"],
    ["hook.", "hooks"],
]
SAID = (
    "This server asks for no credentials: whoever reaches it may do everything, and nobody has to show a password or a"
    " key. To change that, start it with"
)
OPEN = f"""<div role="note" style="border-left:3px solid #c77700;background:rgba(199,119,0,.1);padding:10px 14px;
border-radius:0 6px 6px 0">{escape(SAID)} <code>AGENTSPAN_AUTH_KEY</code> and <code>AGENTSPAN_AUTH_SECRET</code> in its
environment.</div>"""
