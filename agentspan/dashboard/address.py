"""Where in the app a person is: the path and the query below the app's own address, in step with the address bar."""

from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from agentspan.dashboard.widget import Widget, param


class Address(Widget):
    """The address bar of one session. `place` is `/runs/ID?step=4`, wherever the app is mounted (`base`)."""

    module = "address.js"

    base = param.String(default="")
    place = param.String(default="/")
    keeps = param.Boolean(default=False, doc="Whether the next change of place makes no step in the browser's history.")
    title = param.String(default="")
    dark = param.Boolean(default=False, doc="Whether the page is dark: as the system is, until the person says else.")
    shade = param.String(default="light", doc="What the page has become by that: dark or light.")
    login = param.String(default="", doc="Where a person says who they are; nothing where that cannot be said.")
    theme = param.String(default="", doc="What the person has said: dark, light or nothing yet.")
    ready = param.String(default="", doc="The place whose page shows its data.")

    def __init__(self, **params: Any) -> None:
        super().__init__(sizing_mode="fixed", width=0, height=0, margin=0, **params)

    @property
    def path(self) -> str:
        """The path alone, without a slash at its end."""
        return str(urlsplit(self.place).path).rstrip("/") or "/"

    @property
    def query(self) -> dict[str, str]:
        """The query by name; of a name that stands twice the last value."""
        return dict(parse_qsl(urlsplit(self.place).query))

    def go(self, path: str, **query: Any) -> None:
        """Show another page, as if a link to it had been followed."""
        self._move(place(path, **query), keeps=False)

    def note(self, **query: Any) -> None:
        """Keep something in the query of this page, such as what is selected; None or "" takes it out."""
        self._move(place(self.path, **{**self.query, **query}), keeps=True)

    def link(self, path: str, **query: Any) -> str:
        """The address of a page for an `href`."""
        return f"{self.base}{place(path, **query)}"

    def _move(self, to: str, keeps: bool) -> None:
        self.keeps = keeps  # one after the other: the browser must know how before it hears where
        self.place = to


def place(path: str, **query: Any) -> str:
    """A path with its query: lists as several words with commas."""
    said = {
        key: ",".join(map(str, value)) if isinstance(value, list | tuple) else value for key, value in query.items()
    }
    kept = {key: value for key, value in said.items() if value not in (None, "", False)}
    return quote(path, safe="/:@-._~") + (f"?{urlencode(kept)}" if kept else "")
