"""Settings as they are in force, where each comes from, and what this server is made of."""

from html import escape
from typing import Any

import panel as pn
from panel.viewable import Viewable

from agentspan.dashboard import look
from agentspan.dashboard.store import News
from agentspan.dashboard.table import Table
from agentspan.dashboard.view import View
from agentspan.drawing import words

Json = dict[str, Any]


class Settings(View):
    """The effective configuration of the server, its versions, and this session."""

    title = "Settings"

    def build(self) -> Viewable:
        self.about = Table(label="This server", columns=PAIR, empty=LATE)
        self.settings = Table(label="Configuration", columns=COLUMNS, empty=LATE)
        self.packages = Table(label="Versions", columns=PAIR, empty=LATE)
        return pn.Column(
            look.heading("Settings", about="As they are in force; the server's environment and options set them."),
            look.card(self.about, title="This server"),
            look.card(self.settings, title="Configuration"),
            look.card(self.packages, title="Versions"),
            look.card(pn.pane.HTML(self._session(), sizing_mode="stretch_width"), title="This session"),
            sizing_mode="stretch_width", margin=0,
        )  # fmt: skip

    async def read(self) -> Any:
        return await self.store.client.config()

    def fill(self, data: Any) -> None:
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

    def concerns(self, news: News) -> bool:
        return bool(news.all)

    def _session(self) -> str:
        said = (
            f"Your decisions are kept under the name <b>{escape(self.store.user)}</b>."
            if self.store.user
            else "You have not said who you are: your decisions are kept without a name."
        )
        login = escape(self.address.login)
        out = f"{login.removesuffix('login')}logout"
        links = f'<a href="{login}">Say who you are</a> · <a href="{out}">log out</a>' if login else ""
        return f'<p style="margin:0 0 8px">{said}</p><p style="margin:0">{links}</p>'


def _pair(name: str, value: Any) -> Json:
    return {"id": name, "name": name, "value": str(value)}


PAIR = [
    {"key": "name", "name": "", "width": "220px"},
    {"key": "value", "name": "", "kind": "mono", "wrap": True},
]
COLUMNS = [
    {"key": "name", "name": "Setting", "kind": "mono"},
    {"key": "value", "name": "Value", "kind": "mono", "wrap": True},
    {"key": "source", "name": "From"},
    {"key": "description", "name": "What it may be", "spare": 1, "wrap": True},
]
LATE = {"title": "", "text": "Loading…", "late": True}
