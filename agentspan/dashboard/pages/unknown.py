"""The pages for an address that names none, or none that may be seen."""

from typing import Any

import panel as pn
from panel.viewable import Viewable

from agentspan.dashboard import look
from agentspan.dashboard.address import Address
from agentspan.dashboard.store import Store
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


class Hidden(View):
    """Says to whoever has the link of a run that it shows nothing else."""

    title = "Not shared"
    takes = ""

    def __init__(self, store: Store, address: Address | None = None, *, run: str, **params: Any) -> None:
        self.run = run
        super().__init__(store, address, **params)

    def build(self) -> Viewable:
        said = f'It shows <a href="{self.address.link(f"/runs/{self.run}")}">this run</a>.' if self.run else ""
        return pn.Column(look.heading("This link shows one run"), pn.pane.HTML(said), sizing_mode="stretch_width")

    async def read(self) -> Any:
        return None

    def fill(self, data: Any) -> None:
        pass
