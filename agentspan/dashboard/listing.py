"""What stands around a list of runs: what narrows it, what can be done with the chosen ones, and its pages."""

import asyncio
import time
from collections.abc import Callable

from agentspan.dashboard.widget import Widget, param

IDLE_SECONDS = 20.0
"""Time goes on without news: a worker falls silent, an hour passes."""


class Filters(Widget):
    """The fields and counts that narrow a list of runs: see `parts/filters.js`."""

    module = "filters.js"

    query = param.Dict(default={}, doc="What the list is narrowed to, by the names of the address.")
    facets = param.Dict(default={}, doc="How many runs have which value, as `client.facets` says it.")
    here = param.String(default="", doc="The address of the list without any of them.")


class Listbar(Widget):
    """The line above a list: see `parts/listbar.js`."""

    module = "listbar.js"

    summary = param.String(default="")
    held = param.Boolean(default=False, doc="Whether new runs are only counted, so that the rows stay where they are.")
    fresh = param.Integer(default=0, doc="So many runs began since the list was read, and are not in it.")
    chosen = param.Integer(default=0)
    actions = param.List(default=[])
    compare = param.String(default="", doc="Where the two chosen ones are compared.")
    exported = param.Dict(default={"columns": [], "rows": []}, doc="The chosen ones as a table.")
    outcome = param.List(default=[], doc="What became of each run in the last action.")
    top = param.Boolean(default=True, doc="Whether the page is scrolled to its top.")


class Pager(Widget):
    """Links to the pages beside this one: see `parts/pager.js`."""

    module = "pager.js"

    newer = param.String(default="")
    older = param.String(default="")
    first = param.Boolean(default=False, doc="Whether `newer` is the first page, for want of the one before.")
    place = param.String(default="")


class Calm:
    """When something is read again: at most once in so many `seconds`, and without news after `idle_seconds`."""

    def __init__(self, again: Callable[[], None], seconds: float, idle_seconds: float = IDLE_SECONDS) -> None:
        self.seconds = self._least = seconds
        self.idle_seconds = idle_seconds
        self._again = again
        self._last = float("-inf")
        self._later: asyncio.TimerHandle | None = None

    def lets(self) -> bool:
        """Whether it is time; if not, `again` is called when it is."""
        rest = self._last + self.seconds - time.monotonic()
        if rest > 0:
            self._call(rest)
        return rest <= 0

    def begin(self, took: float = 0.0) -> None:
        """Something has just been read, which took so many seconds: what takes long is read less often."""
        self._last = time.monotonic()
        self.seconds = max(self._least, SHARE * took)
        self._call(self.idle_seconds)

    def close(self) -> None:
        """Call nothing later."""
        if self._later is not None:
            self._later.cancel()
            self._later = None

    def _call(self, seconds: float) -> None:
        self.close()
        self._later = asyncio.get_running_loop().call_later(seconds, self._again)


SHARE = 5
"""So many times as long as a read took is there rest after it."""
