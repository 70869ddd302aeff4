"""Vectors of texts: from a provider's embedding model, or by the words alone for `scripted/` models."""

import asyncio
import hashlib
import math
import os
import re
from collections.abc import Awaitable, Callable

from agentspan.engine.limiter import Slot
from agentspan.engine.providers import gateway
from agentspan.engine.providers.call import GATEWAY, PROVIDERS, Environ, in_turn, quota_of
from agentspan.engine.providers.model import CallSettings
from agentspan.engine.providers.names import check_model
from agentspan.errors import BadInput, ModelFailure

Vectors = list[list[float]]

LEXICAL_SIZE = 256
LETTERS_OF_A_TOKEN = 4


async def embed(
    model: str,
    texts: list[str],
    settings: CallSettings,
    base_url: str | None = None,
    environ: Environ | None = None,
) -> Vectors:
    """A vector for each text. `scripted/...` counts words, the same everywhere; `local/...` has none.

    Raises BadInput for what cannot be embedded, ModelFailure for what the provider says.
    """
    environ = os.environ if environ is None else environ
    check_model(model, environ, base_url)
    if not all(text.strip() for text in texts):
        raise BadInput("each text to embed must have a word in it")
    prefix = model.partition("/")[0].lower()
    if prefix == "local":
        raise BadInput(f"{model} makes no embeddings; name an embedding model such as openai/text-embedding-3-small")
    if prefix == "scripted" or not texts:
        return [lexical(text) for text in texts]
    provider = PROVIDERS.get(prefix, GATEWAY)
    await gateway.prepare(settings)
    quota = quota_of(provider, model, base_url, settings, environ)
    tokens = sum(map(len, texts)) // LETTERS_OF_A_TOKEN
    return await in_turn(quota, tokens, settings.total_seconds, _asking(model, texts, base_url, settings, environ))


def _asking(
    model: str, texts: list[str], base_url: str | None, settings: CallSettings, environ: Environ
) -> Callable[[Slot], Awaitable[Vectors]]:
    async def ask(slot: Slot) -> Vectors:
        try:
            async with asyncio.timeout(settings.total_seconds):
                vectors, tokens = await gateway.embed(model, texts, base_url, settings, environ)
        except TimeoutError:
            limit = f"{settings.total_seconds:g} s (AGENTSPAN_TOTAL_SECONDS)"
            raise ModelFailure(f"{model} did not answer within {limit}.", retryable=True) from None
        slot.accepted()
        slot.used(tokens)
        return vectors

    return ask


def lexical(text: str) -> list[float]:
    """A vector of length 1 by the words of a text alone: what shares words is near, whatever they mean."""
    vector = [0.0] * LEXICAL_SIZE
    for word in re.findall(r"\w+", text.lower()):
        digest = hashlib.blake2b(word.encode(), digest_size=4).digest()
        vector[int.from_bytes(digest[:2]) % LEXICAL_SIZE] += 1.0 if digest[2] % 2 else -1.0
    size = math.sqrt(sum(each * each for each in vector))
    return [each / size for each in vector] if size else vector
