"""Credentials: their names, never their values."""

import asyncio
from typing import Any

import panel as pn
from panel.viewable import Viewable

from agentspan.dashboard import look
from agentspan.dashboard.view import View
from agentspan.dashboard.widget import Widget, param

Json = dict[str, Any]


class Vault(Widget):
    """The credentials with what can be done to them: see `parts/vault.js`. Values come as messages and are not kept."""

    module = "vault.js"

    credentials = param.List(default=[])
    bindings = param.List(default=[])


class Credentials(View):
    """The stored credentials by name, with the names that stand for them."""

    title = "Credentials"
    takes = "keep credentials"

    def build(self) -> Viewable:
        self.vault = Vault(visible=False)
        self.vault.on_message(lambda said: self.begin(self._do(said)))
        self.loading = look.loading()
        self.card = look.card(self.vault, visible=False)
        return pn.Column(
            look.heading("Credentials", about=ABOUT), self.loading, self.card, sizing_mode="stretch_width", margin=0
        )

    async def read(self) -> Any:
        client = self.store.client
        return await asyncio.gather(client.credentials(), client.bindings())

    def fill(self, data: Any) -> None:
        kept, bound = data
        self.loading.visible, self.card.visible, self.vault.visible = False, True, True
        self.vault.credentials = [
            {"name": each["name"], "partial": each["partial"], "updated": each["updated_at"]} for each in kept
        ]
        self.vault.bindings = [{"key": each["logical_key"], "name": each["store_name"]} for each in bound]

    async def _do(self, said: Json) -> None:
        """What the person asked for; a value goes to the server and nowhere else."""
        client = self.store.client
        match said:
            case {"save": str(name), "value": str(value)}:
                await self.attempt(client.save_credential(name, value), f"{name} is kept.")
            case {"remove": str(name)}:
                await self.attempt(client.delete_credential(name), f"{name} is deleted.")
            case {"bind": str(key), "to": str(name)}:
                await self.attempt(client.bind_credential(key, name), f"{key} stands for {name}.")
            case {"unbind": str(key)}:
                await self.attempt(client.unbind_credential(key), f"{key} stands for itself.")


ABOUT = "Given to the tools that declare them, and shown to nobody."
