"""Your keys: the API keys that a person has made for their own programs."""

import asyncio
from typing import Any

import panel as pn
from panel.viewable import Viewable

from agentspan.dashboard import look, roster
from agentspan.dashboard.roster import KEYS, Roster
from agentspan.dashboard.view import View

Json = dict[str, Any]


class Keys(View):
    """One's own keys, and the form that makes one. Nobody gives a key more than they may themselves."""

    title = "Your keys"

    def build(self) -> Viewable:
        self.roster = Roster(visible=False)
        self.roster.on_message(lambda said: self.begin(self._do(said)))
        self.loading = look.loading()
        self.card = look.card(self.roster, visible=False)
        return pn.Column(
            look.heading("Your keys", about="For your programs and workers: a key may do at most what you may."),
            self.loading, self.card, sizing_mode="stretch_width", margin=0,
        )  # fmt: skip

    async def read(self) -> Any:
        me, keys = await asyncio.gather(self.store.know(), self.store.client.keys())
        return [each for each in keys if each["createdBy"] == me["name"]]

    def fill(self, data: Any) -> None:
        self.loading.visible, self.card.visible, self.roster.visible = False, True, True
        roster.show(self.roster, KEYS, data, self.store.me, self.address.link)

    async def _do(self, said: Json) -> None:
        if await roster.act(self.roster, KEYS, self.store.client, said):
            self.again()
