"""What tells of many runs at once: numbers with names, bars over time, and links to choose between."""

from typing import Any

from agentspan.dashboard.address import Address
from agentspan.dashboard.widget import Widget, param
from agentspan.drawing.words import DAY, HOUR, MINUTE


class Choices(Widget):
    """A few links side by side, one of them current: see `parts/choices.js`."""

    module = "choices.js"

    choices = param.List(default=[])
    label = param.String(default="", doc="The name for those who hear the page.")


class Figures(Widget):
    """A row of numbers with names: see `parts/figures.js`."""

    module = "figures.js"

    figures = param.List(default=[])


class Chart(Widget):
    """Stacked bars over time: see `parts/chart.js`."""

    module = "chart.js"

    series = param.List(default=[])
    buckets = param.List(default=[])
    length = param.Integer(default=1, doc="The milliseconds of a bucket.")
    kind = param.String(default="count", doc="What the bars count: count or money.")
    label = param.String(default="")


class Welcome(Widget):
    """What a server shows on which nothing has run yet."""

    module = "welcome.js"

    code = param.String(default="")


def window(name: str, now: int) -> tuple[int, int, int]:
    """Since, until and the number of buckets of a range. Buckets lie on round times, so that they stay as time goes."""
    length, width = RANGES[name]
    until = -(-now // width) * width
    return until - length, until, length // width


def ranges(address: Address, path: str, chosen: str, **query: str) -> list[dict[str, Any]]:
    """The ranges as links."""
    return [
        {"name": name, "href": address.link(path, **query, range=name), "current": name == chosen, "title": SAID[name]}
        for name in RANGES
    ]


RANGES = {
    "1h": (HOUR, MINUTE),
    "24h": (DAY, HOUR // 2),
    "7d": (7 * DAY, 3 * HOUR),
    "30d": (30 * DAY, 12 * HOUR),
}
"""By name: how long, and how long each bucket."""
SAID = {"1h": "the last hour", "24h": "the last 24 hours", "7d": "the last 7 days", "30d": "the last 30 days"}
