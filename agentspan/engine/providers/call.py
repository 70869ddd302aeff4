"""One door for every model call: find the provider by the model's prefix, wait for its quota, watch the time limits."""

import asyncio
import os
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal, NamedTuple, TypeVar

import msgspec

from agentspan.config import Limit
from agentspan.engine import limiter
from agentspan.engine.limiter import Quota, Slot
from agentspan.engine.providers import gateway, local, scripted
from agentspan.engine.providers.failures import Throttled
from agentspan.engine.providers.model import CallSettings, Emit, ModelAnswer, ModelRequest, text_of
from agentspan.engine.providers.names import BY_NAME, EMBEDDED
from agentspan.errors import ConfigurationProblem, ModelFailure

Environ = Mapping[str, str]
T = TypeVar("T")
Cut = Literal["silent", "endless"]

MOST_REFUSALS = 8
"""How often one attempt may be refused for its rate before it counts as failed."""
USUAL_ANSWER_TOKENS = 500
"""What an answer is thought to take, where a limit of tokens needs to know before."""
FIRST_CUT_TOKENS = 8192
"""An answer without a limit that did not end in time is asked for again with half of this."""
MOST_CUT_TURNS = 10_000


async def complete(
    request: ModelRequest,
    settings: CallSettings,
    on_delta: Emit | None = None,
    environ: Environ | None = None,
) -> ModelAnswer:
    """Ask the model and return its whole answer; `on_delta` gets the text as it comes.

    Raises ModelFailure. Cancelling the awaiting task closes the call at the provider, or gives up its place in the
    line. `environ` replaces the process's environment as the place of keys and addresses.
    """
    provider = PROVIDERS.get(request.model.partition("/")[0].lower(), GATEWAY)
    environ = os.environ if environ is None else environ
    # Loading a library or weights happens once and is no fault of the model: it is outside the time limits.
    if provider.prepare:
        await provider.prepare(settings)
    quota = quota_of(provider, request.model, request.base_url, settings, environ)
    call = _Call(provider, _changed(request), settings, on_delta, environ)
    tokens = _estimate(request) if quota.counts_tokens else 0
    answer = await in_turn(quota, tokens, settings.total_seconds, call.ask)
    _cuts.pop(_turn(request), None)
    return answer


def check_limits(limits: tuple[Limit, ...]) -> None:
    """Raise ConfigurationProblem for a limit of a provider that nobody has."""
    for limit in limits:
        if limit.provider not in BY_NAME and limit.provider not in EMBEDDED:
            known = ", ".join(sorted(EMBEDDED | BY_NAME.keys()))
            raise ConfigurationProblem(
                f'AGENTSPAN_LIMITS names "{limit.provider}", which is no model provider; known are {known}.'
            )


# The quota: shared by all calls with one key at one address


def quota_for(model: str, base_url: str | None, settings: CallSettings) -> Quota | None:
    """The quota that a call of this model belongs to; None if it could not be made: its provider has no key."""
    provider = PROVIDERS.get(model.partition("/")[0].lower(), GATEWAY)
    try:
        return quota_of(provider, model, base_url, settings, os.environ)
    except ModelFailure:
        return None


def quota_of(provider: "Provider", model: str, base_url: str | None, settings: CallSettings, environ: Environ) -> Quota:
    """The quota that a call of this model belongs to."""
    name, key = provider.quota(model, base_url, environ)
    names = {name, *BY_NAME[name].aliases} if name in BY_NAME else {name}
    limit = next((each for each in settings.limits if each.provider in names), None)
    return limiter.here().quota(key, name, limit)


async def in_turn(quota: Quota, tokens: int, seconds: float, ask: Callable[[Slot], Awaitable[T]]) -> T:
    """Make a call when its quota lets it. A refusal makes the quota rest, and the same attempt goes again."""
    now = asyncio.get_running_loop().time
    end, refusals = 0.0, 0
    while True:
        async with quota.slot(tokens, again=refusals > 0) as slot:
            end = end or now() + seconds
            try:
                return await ask(slot)
            except Throttled as refused:
                refusals += 1
                wait = refused.retry_after_ms
                rest = slot.refused(None if wait is None else wait / 1000)
                # What was heard cannot be taken back, so such a call begins again as an attempt of its own.
                if slot.is_accepted or refusals == MOST_REFUSALS or now() + rest > end:
                    raise


def _estimate(request: ModelRequest) -> int:
    """Tokens, at four letters each."""
    letters = sum(len(text_of(each)) for each in request.messages) + len(msgspec.json.encode(request.tools))
    return letters // 4 + (request.max_tokens or USUAL_ANSWER_TOKENS)


# The time limits: what hit one is asked for differently the next time


class _Call:
    """One attempt, which may be made several times."""

    def __init__(
        self,
        provider: "Provider",
        request: ModelRequest,
        settings: CallSettings,
        on_delta: Emit | None,
        environ: Environ,
    ) -> None:
        self.request, self.settings = request, settings
        self._provider, self._on_delta, self._environ = provider, on_delta, environ

    async def ask(self, slot: Slot) -> ModelAnswer:
        """Call the provider within the time limits."""
        try:
            async with asyncio.timeout(None) as scope:
                watch = _Watch(self.settings, scope, self.request.stream)
                try:
                    emit = watch.emitter(slot, self._on_delta)
                    answer = await self._provider.answer(self.request, self.settings, emit, self._environ)
                finally:
                    watch.close()
        except TimeoutError:
            model = self.request.model
            if watch.hit is None:
                raise ModelFailure(f"The call of {model} timed out.", retryable=True, cause="timeout") from None
            _remember(self.request, watch.hit.cut)
            raise ModelFailure(f"{model} {watch.hit.sentence}.", retryable=True, cause="timeout") from None
        slot.used(answer.usage.prompt_tokens + answer.usage.completion_tokens)
        return answer


class _Due(NamedTuple):
    """When a time limit is reached, what kind it is, and the sentence for it."""

    at: float
    cut: Cut
    sentence: str


class _Watch:
    """Ends a call that says nothing for too long, or lasts too long. One timer, moved only when it fires."""

    def __init__(self, settings: CallSettings, scope: asyncio.Timeout, is_streamed: bool) -> None:
        self.hit: _Due | None = None
        self._settings, self._scope, self._is_streamed = settings, scope, is_streamed
        self._loop = asyncio.get_running_loop()
        self._heard = self._started = self._loop.time()
        self._spoke = False
        self._timer = self._loop.call_at(self._due()[0], self._check)

    def emitter(self, slot: Slot, on_delta: Emit | None) -> Emit:
        """What a provider calls with each piece of text, and with "" for any other sign of life."""

        def emit(text: str) -> None:
            self._pulse()
            slot.accepted()
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

    def _due(self) -> "_Due":
        """The limit that is reached first if nothing more is heard."""
        given = self._settings
        end = self._started + given.total_seconds
        total = _Due(end, "endless", f"did not end within {given.total_seconds:g} s (AGENTSPAN_TOTAL_SECONDS)")
        if not self._is_streamed:
            return total
        first, idle = given.first_token_seconds, given.idle_seconds
        if self._spoke:
            silence = _Due(self._heard + idle, "silent", f"was silent for {idle:g} s (AGENTSPAN_IDLE_SECONDS)")
        else:
            text = f"sent no token within {first:g} s (AGENTSPAN_FIRST_TOKEN_SECONDS)"
            silence = _Due(self._started + first, "silent", text)
        return min(silence, total)

    def _check(self) -> None:
        due = self._due()
        now = self._loop.time()
        if due.at > now:
            self._timer = self._loop.call_at(due.at, self._check)
        else:
            self.hit = due
            self._scope.reschedule(now)


_cuts: OrderedDict[tuple[str, str], list[Cut]] = OrderedDict()
"""The time limits that the turns hit whose next attempt is still to come. Losing them costs one more attempt."""


def _turn(request: ModelRequest) -> tuple[str, str]:
    """What a cut is remembered for: another model that takes over begins as ever."""
    return request.seed, request.model


def _remember(request: ModelRequest, cut: Cut) -> None:
    if not request.seed:
        return
    turn = _turn(request)
    _cuts.setdefault(turn, []).append(cut)
    _cuts.move_to_end(turn)
    while len(_cuts) > MOST_CUT_TURNS:
        _cuts.popitem(last=False)


def _changed(request: ModelRequest) -> ModelRequest:
    """The request as this attempt makes it.

    After a silence it is not streamed, so that only the total limit holds; each answer that did not end halves what
    the next one may be long.
    """
    cuts = _cuts.get(_turn(request), ()) if request.attempt else ()
    if "silent" in cuts:
        request = msgspec.structs.replace(request, stream=False)
    if halvings := cuts.count("endless"):
        tokens = (request.max_tokens or FIRST_CUT_TOKENS) >> halvings
        request = msgspec.structs.replace(request, max_tokens=max(1, tokens))
    return request


class Provider(NamedTuple):
    """How a family of models is called: the call, its quota's provider and key, and what must be ready before."""

    answer: Callable[[ModelRequest, CallSettings, Emit, Environ], Awaitable[ModelAnswer]]
    quota: Callable[[str, str | None, Environ], tuple[str, str]]
    prepare: Callable[[CallSettings], Awaitable[None]] | None = None


def _embedded(model: str, base_url: str | None, environ: Environ) -> tuple[str, str]:
    name = model.partition("/")[0].lower()
    return name, name


GATEWAY = Provider(gateway.answer, gateway.quota, gateway.prepare)
PROVIDERS = {
    "scripted": Provider(scripted.answer, _embedded),
    "local": Provider(local.answer, _embedded, local.prepare),
}
