"""Settings: who one is here and what one may do, and what is in force on this server, and where each comes from."""

from html import escape
from typing import Any

import panel as pn
from panel.viewable import Viewable

from agentspan.dashboard import look
from agentspan.dashboard.may import OUTSIDE, SCOPES
from agentspan.dashboard.roster import Roster
from agentspan.dashboard.store import News
from agentspan.dashboard.table import Table
from agentspan.dashboard.view import View
from agentspan.drawing import words
from agentspan.errors import AgentspanError

Json = dict[str, Any]


class Settings(View):
    """The person, and for admins the effective configuration of the server with its versions."""

    title = "Settings"

    def build(self) -> Viewable:
        self.session = pn.pane.HTML(sizing_mode="stretch_width", margin=0, styles={"font-size": "14px"})
        self.rights = Table(label="What you may do", columns=RIGHTS, empty=LATE)
        self.own = Roster(label="Your password", make=PASSWORD, empty={}, visible=False)
        self.own.on_message(lambda said: self.begin(self._change(dict(said["values"]))))
        self.about = Table(label="This server", columns=PAIR, empty=LATE)
        self.settings = Table(label="Configuration", columns=COLUMNS, empty=LATE)
        self.packages = Table(label="Versions", columns=PAIR, empty=LATE)
        self.server = pn.Column(
            look.card(self.about, title="This server"),
            look.card(self.settings, title="Configuration"),
            look.card(self.packages, title="Versions"),
            sizing_mode="stretch_width", margin=0, visible=False,
        )  # fmt: skip
        return pn.Column(
            look.heading("Settings"),
            look.card(self.session, self.own, title="You"),
            look.card(self.rights, title="What you may do"),
            self.server,
            sizing_mode="stretch_width", margin=0,
        )  # fmt: skip

    async def read(self) -> Any:
        return await self.store.client.config() if self.store.may("read settings") else None

    def fill(self, data: Any) -> None:
        me = self.store.me
        self.session.object = self._session(me)
        self.own.visible = me["kind"] == "user"
        self.rights.rows = [_pair(scope, said) for scope, said in SCOPES.items() if scope in me["scopes"]]
        self.server.visible = data is not None
        if data is not None:
            self._show_server(data)

    def concerns(self, news: News) -> bool:
        return bool(news.all)

    def _show_server(self, data: Json) -> None:
        self.about.rows = [
            _pair("agentspan", data["version"]),
            _pair("address", self.store.client.url),
            _pair("database", data["database"]),
            _pair("schema", data["schemaRevision"]),
            _pair("running since", words.moment(data["startedAt"])),
            _pair("Python", f"{data['python']} on {data['platform']}"),
            _pair("model providers", ", ".join(data["providers"]) or "none has a key in the server's environment"),
        ]
        self.settings.rows = [
            {
                "id": each["name"],
                "name": {"text": each["name"], "title": each["description"]},
                "value": each["value"],
                "source": {"text": each["source"], "tone": None if each["source"] == "default" else "RUNNING"},
                "description": each["description"],
            }
            for each in data["settings"]
        ]
        self.packages.rows = [_pair(name, version) for name, version in sorted(data["packages"].items())]

    def _session(self, me: Json) -> str:
        """Who one is here, and where that is changed."""
        login, link = self.address.login, self.address.link
        out = f"{login.removesuffix('login')}logout"
        is_outside = me["kind"] in OUTSIDE
        links = [(link("/keys"), "Your keys")] if me["kind"] != "open" else []
        links += [(login, "Say who you are")] if login and is_outside else []
        links += [(out, "Log out")] if login and me["kind"] != "open" else []
        anchors = " · ".join(f'<a href="{escape(to)}" style="color:inherit">{escape(said)}</a>' for to, said in links)
        return (
            f'<p style="margin:0 0 8px">{KINDS[me["kind"]](me, self.store.user)}</p><p style="margin:0">{anchors}</p>'
        )

    async def _change(self, values: Json) -> None:
        """Another password; what is open with the old one ends, this page as well."""
        try:
            await self.store.client.change_password(values["old"], values["new"])
        except AgentspanError as problem:
            self.own._send_msg({"problem": problem.message})
            return
        self.own._send_msg({"done": True})
        self.own.visible = False
        self.close()
        self.session.object = CHANGED.format(escape(self.address.login))


def _member(me: Json, _: str) -> str:
    kind = {"user": "You are", "key": "This is the API key"}[me["kind"]]
    role = f", {escape(me['role'])}" if me["role"] else ""
    return f"{kind} <b>{escape(me['name'])}</b>{role} of the tenant <b>{escape(me['tenant'])}</b>."


def _outsider(me: Json, user: str) -> str:
    may = "You have logged in with the key of this server: you may do everything." if me["kind"] == "root" else NO_LOGIN
    said = (
        f"Your decisions are kept under the name <b>{escape(user)}</b>."
        if user
        else "You have not said who you are: your decisions are kept without a name."
    )
    return f"{may} {said}"


def _pair(name: str, value: Any) -> Json:
    return {"id": name, "name": name, "value": str(value)}


KINDS = {"user": _member, "key": _member, "root": _outsider, "open": _outsider, "link": _outsider}
NO_LOGIN = "This server asks nobody to log in."
CHANGED = """<p style="margin:0">Your password is changed, and all that was open with the old one has ended.
<a href="{}" style="color:inherit">Log in again</a>.</p>"""
PASSWORD: Json = {
    "name": "Change your password…",
    "title": "Change your password",
    "says": "Wherever you have logged in, you must log in again, here as well.",
    "verb": "Change it",
    "fields": [
        {"name": "old", "label": "Password until now", "kind": "password", "needed": True},
        {"name": "new", "label": "New password", "kind": "password", "needed": True},
    ],
}
PAIR = [
    {"key": "name", "name": "", "width": "220px"},
    {"key": "value", "name": "", "kind": "mono", "wrap": True},
]
RIGHTS = [{"key": "name", "name": "", "kind": "mono", "width": "120px"}, {"key": "value", "name": "", "wrap": True}]
COLUMNS = [
    {"key": "name", "name": "Setting", "kind": "mono"},
    {"key": "value", "name": "Value", "kind": "mono", "wrap": True},
    {"key": "source", "name": "From"},
    {"key": "description", "name": "What it may be", "spare": 1, "wrap": True},
]
LATE = {"title": "", "text": "Loading…", "late": True}
