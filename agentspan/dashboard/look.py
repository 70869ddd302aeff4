"""How the app looks: the theme, the frame of a page, and the few pieces that every page is made of."""

from html import escape
from typing import Any

import panel as pn
import panel_material_ui as pmu
from panel.viewable import Viewable

from agentspan.dashboard.address import Address
from agentspan.drawing import words

Json = dict[str, Any]

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif'

THEME = {
    "light": {
        "palette": {
            "primary": {"main": "#3f5bd9"},
            "background": {"default": "#f6f7f9", "paper": "#ffffff"},
            "divider": "rgba(20, 24, 40, 0.12)",
        },
    },
    "dark": {
        "palette": {
            "primary": {"main": "#8ea2ff", "contrastText": "#10131c"},
            "background": {"default": "#12141b", "paper": "#1a1d27"},
            "divider": "rgba(235, 238, 255, 0.14)",
        },
    },
}
for _each in THEME.values():
    _each["typography"] = {"fontFamily": FONT, "fontSize": 14, "button": {"textTransform": "none"}}  # type: ignore[dict-item]
    _each["shape"] = {"borderRadius": 8}  # type: ignore[dict-item]

SHADES = {True: "dark", False: "light"}

ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E%3Crect width='32' height='32' "
    "rx='7' fill='%233f5bd9'/%3E%3Cpath d='M6 21c4-12 16-12 20 0' fill='none' stroke='white' stroke-width='2.6' "
    "stroke-linecap='round'/%3E%3Ccircle cx='6' cy='21' r='2.6' fill='white'/%3E%3Ccircle cx='16' cy='12' r='2.6' "
    "fill='white'/%3E%3Ccircle cx='26' cy='21' r='2.6' fill='white'/%3E%3C/svg%3E"
)


def page(address: Address, nav: Viewable, main: Viewable, who: Viewable, *, is_shared: bool = False) -> Any:
    """The frame: header, navigation, theme toggle, and the place for a view. Whoever sees a shared run has no other
    page to go to."""
    below = pn.Column(main, sizing_mode="stretch_width", margin=(20, 24), styles={"max-height": "none"})
    frame = pmu.Page(
        title="",
        dark_theme=address.dark,
        meta_title="agentspan",
        favicon=ICON,
        header=[
            pn.pane.HTML(_brand(address, is_shared), margin=0),
            pn.Spacer(sizing_mode="stretch_width"),
            who,
        ],
        sidebar=[] if is_shared else [nav, address],
        sidebar_width=0 if is_shared else 208,
        sidebar_resizable=False,
        main=[below, address] if is_shared else [below],
        busy_indicator=None,
        theme_config=THEME,
        sx={"& .MuiAppBar-root": {"boxShadow": "none", "borderBottom": "1px solid", "borderColor": "divider",
                                  "backgroundColor": "background.paper", "color": "text.primary"}},
    )  # fmt: skip
    address.shade = SHADES[address.dark]
    address.param.watch(lambda event: _turn(frame, address, event.new), "dark")
    frame.param.watch(lambda event: _turned(address, event.new), "dark_theme")
    return frame


def _turn(frame: Any, address: Address, dark: bool) -> None:
    """The system is dark, or the person has said so."""
    frame.dark_theme = dark
    address.shade = SHADES[dark]


def _turned(address: Address, dark: bool) -> None:
    """The theme has turned: by the header's toggle if the address does not know of it yet."""
    said = {} if dark == address.dark else {"dark": dark, "theme": SHADES[dark]}
    address.param.update(shade=SHADES[dark], **said)


def heading(title: str, *beside: Any, about: str = "") -> Viewable:
    """The top of a page: its name, a line about it, and its controls at the right."""
    said = f'<h1 style="font-size:22px;font-weight:650;margin:0;line-height:1.25">{escape(title)}</h1>'
    if about:
        said += f'<p style="margin:2px 0 0;opacity:.68">{escape(about)}</p>'
    controls = pn.Row(*beside, align="center", margin=0)
    return pn.Row(
        pn.pane.HTML(said, sizing_mode="stretch_width", margin=0),
        controls,
        sizing_mode="stretch_width",
        margin=(0, 0, 16, 0),
    )


def card(*parts: Any, title: str = "", **options: Any) -> Viewable:
    """A surface with a name."""
    head = [section(title)] if title else []
    style = {
        "background": "var(--panel-surface-color)",
        "border": "1px solid color-mix(in srgb, var(--panel-on-background-color) 14%, transparent)",
        "border-radius": "10px",
        "padding": "14px 16px",
    }
    given = {"sizing_mode": "stretch_width", "margin": (0, 0, 16, 0), **options}
    return pn.Column(*head, *parts, styles=style, **given)


def section(title: str) -> Viewable:
    """The name of a part of a page."""
    said = f'<h2 style="font-size:13px;font-weight:600;margin:0 0 8px;opacity:.75">{escape(title)}</h2>'
    return pn.pane.HTML(said, sizing_mode="stretch_width", margin=0)


def loading() -> Viewable:
    """What stands where something is being read, once that takes long enough to be noticed."""
    return pn.pane.HTML('<p role="status">Loading…</p>', stylesheets=[LATE], margin=0)


def refusal(title: str, sentence: str) -> Viewable:
    """What stands instead of a page that the person may not see."""
    said = f'<p role="status" style="margin:0;max-width:70ch">{escape(sentence)} Ask an admin of this server.</p>'
    return pn.Column(
        heading(title), card(pn.pane.HTML(said, sizing_mode="stretch_width")), sizing_mode="stretch_width", margin=0
    )


def who(address: Address, user: str, me: Json) -> str:
    """Who looks at this, at the top of each page."""
    kind = me.get("kind", "")
    if kind == "share":
        return _shared(me["share"])
    is_known = kind in ("user", "key")
    name = me["name"] if is_known else user or ("Who are you?" if address.login else "")
    to = address.link("/settings") if is_known else address.login
    title = f"{me['role'] or kind} of {me['tenant']}" if is_known else "Your decisions are kept under your name"
    style = "font-size:14px;opacity:.75;color:inherit;text-decoration:none"
    if not to:
        return f'<span style="{style}">{escape(name)}</span>'
    return f'<a href="{escape(to)}" style="{style}" title="{escape(title)}">{escape(name)}</a>'


def _shared(share: Json) -> str:
    until = f" until {words.moment(share['expiresAt'])}" if share["expiresAt"] else ""
    said = f"Shared with you by {share['createdBy'] or 'somebody'}{until}, read-only"
    return f'<span style="font-size:14px;opacity:.85" title="{escape(share["note"])}">{escape(said)}</span>'


def _brand(address: Address, is_shared: bool) -> str:
    mark = f'<img src="{ICON}" alt="" width="26" height="26">'
    style = "display:flex;gap:10px;align-items:center;color:inherit;text-decoration:none;font-weight:650;font-size:17px"
    if is_shared:
        return f'<span style="{style}">{mark}agentspan</span>'
    return f'<a href="{address.link("/")}" style="{style}">{mark}agentspan</a>'


LATE = "p { opacity: 0; animation: late .2s .3s forwards } @keyframes late { to { opacity: .65 } }"
