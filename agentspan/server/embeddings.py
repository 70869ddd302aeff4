"""Vectors of texts, for memories that are searched by meaning."""

import msgspec

from agentspan.engine import providers
from agentspan.server.handler import Handler, Route


class EmbedRequest(msgspec.Struct, rename="camel"):
    """Texts, and the model that embeds them."""

    model: str
    input: list[str]
    base_url: str | None = None


class Embeddings(Handler):
    async def post(self) -> None:
        """A vector for each text, in their order."""
        asked = self.body(EmbedRequest)
        if asked.base_url:
            await self.engine.goes(asked.base_url)
        vectors = await self.while_open(
            providers.embed(asked.model, asked.input, self.context.settings, asked.base_url)
        )
        self.answer({"model": asked.model, "embeddings": vectors})


ROUTES = [Route("/api/embeddings", Embeddings)]
