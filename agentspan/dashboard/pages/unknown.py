"""The page for an address that names none."""

from typing import Any

import panel as pn
from panel.viewable import Viewable

from agentspan.dashboard import look
from agentspan.dashboard.view import View


class Unknown(View):
    """Says that there is no such page, and where the others are."""

    title = "Not found"

    def build(self) -> Viewable:
        said = f'The <a href="{self.address.link("/runs")}">runs</a> are here.'
        return pn.Column(look.heading("There is no such page"), pn.pane.HTML(said), sizing_mode="stretch_width")

    async def read(self) -> Any:
        return None

    def fill(self, data: Any) -> None:
        pass
