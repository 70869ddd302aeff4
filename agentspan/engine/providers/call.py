"""One door for every model call: find the provider by the model's prefix and watch its time limits."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from agentspan.engine.providers import gateway, local, scripted
from agentspan.engine.providers.model import CallSettings, Emit, ModelAnswer, ModelRequest
from agentspan.errors import ModelFailure

Environ = Mapping[str, str]


async def complete(
    request: ModelRequest,
    settings: CallSettings,
    on_delta: Emit | None = None,
    environ: Environ | None = None,
) -> ModelAnswer:
    """Ask the model and return its whole answer; `on_delta` gets the text as it comes.

    Raises ModelFailure. Cancelling the awaiting task closes the call at the provider. `environ` replaces the
    process's environment as the place of keys and addresses.
    """
    provider = PROVIDERS.get(request.model.partition("/")[0].lower(), GATEWAY)
    # Loading a library or weights happens once and is no fault of the model: it is outside the time limits.
    if provider.prepare:
        await provider.prepare(settings)
    try:
        async with asyncio.timeout(None) as scope:
            watch = _Watch(settings, scope)
            try:
                emit = watch.emitter(on_delta)
                return await provider.answer(request, settings, emit, os.environ if environ is None else environ)
            finally:
                watch.close()
    except TimeoutError:
        if watch.hit is None:
            raise ModelFailure(f"The call of {request.model} timed out.", retryable=True) from None
        raise ModelFailure(f"{request.model} {watch.hit}.", retryable=True) from None


class _Watch:
    """Ends a call that says nothing for too long, or lasts too long. One timer, moved only when it fires."""

    def __init__(self, settings: CallSettings, scope: asyncio.Timeout) -> None:
        self.hit: str | None = None
        self._settings, self._scope = settings, scope
        self._loop = asyncio.get_running_loop()
        self._heard = self._started = self._loop.time()
        self._spoke = False
        self._timer = self._loop.call_at(self._due()[0], self._check)

    def emitter(self, on_delta: Emit | None) -> Emit:
        """What a provider calls with each piece of text, and with "" for any other sign of life."""

        def emit(text: str) -> None:
            self._pulse()
            if text and on_delta is not None:
                on_delta(text)

        return emit

    def close(self) -> None:
        self._timer.cancel()

    def _pulse(self) -> None:
        self._heard = self._loop.time()
        if not self._spoke:
            self._spoke = True
            self._timer.cancel()
            self._timer = self._loop.call_at(self._due()[0], self._check)

    def _due(self) -> tuple[float, str]:
        first, idle, total = (
            self._settings.first_token_seconds,
            self._settings.idle_seconds,
            self._settings.total_seconds,
        )
        end = self._started + total, f"did not end within {total:g} s (AGENTSPAN_TOTAL_SECONDS)"
        if self._spoke:
            return min((self._heard + idle, f"was silent for {idle:g} s (AGENTSPAN_IDLE_SECONDS)"), end)
        return min((self._started + first, f"sent no token within {first:g} s (AGENTSPAN_FIRST_TOKEN_SECONDS)"), end)

    def _check(self) -> None:
        due, limit = self._due()
        now = self._loop.time()
        if due > now:
            self._timer = self._loop.call_at(due, self._check)
        else:
            self.hit = limit
            self._scope.reschedule(now)


class Provider(NamedTuple):
    """How a family of models is called: what must be ready before, and the call."""

    answer: Callable[[ModelRequest, CallSettings, Emit, Environ], Awaitable[ModelAnswer]]
    prepare: Callable[[CallSettings], Awaitable[None]] | None = None


GATEWAY = Provider(gateway.answer, gateway.prepare)
PROVIDERS = {
    "scripted": Provider(scripted.answer),
    "local": Provider(local.answer, local.prepare),
}
