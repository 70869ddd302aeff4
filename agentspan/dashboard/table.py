"""A table of links, sorted and chosen in by its reader; the owner pages it."""

from agentspan.dashboard.widget import Widget, param


class Table(Widget):
    """`columns`, `rows` and what a value may be: see `parts/table.js`.

    It sends {open: id} for a row that is clicked and {at: id} for one that is reached by keys.
    """

    module = "table.js"

    columns = param.List(default=[])
    rows = param.List(default=[])
    sort = param.String(default="", doc="The column and the direction, such as startTime:DESC.")
    selectable = param.Boolean(default=False)
    chosen = param.List(default=[], doc="The ids of the chosen rows.")
    leads = param.Boolean(default=False, doc="Whether j and k reach it from anywhere on the page.")
    empty = param.Dict(default={}, doc="What stands there without rows: title, text, code.")
    label = param.String(default="", doc="The name for those who hear the page.")
