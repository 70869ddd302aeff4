"""What went wrong at a provider, in one sentence that says what to change, without any key in it."""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from agentspan import clock
from agentspan.engine.providers.names import Route
from agentspan.errors import ModelFailure


class Throttled(ModelFailure):
    """The provider refused the call for its rate alone: its quota has to rest, and the same call can come again."""


def explain(error: Exception, model: str, route: Route) -> ModelFailure:
    """The ModelFailure that an exception of litellm means."""
    # litellm wraps what breaks inside a stream; the provider's own words are in the original.
    error = getattr(error, "original_exception", None) or error
    kinds = {each.__name__ for each in type(error).__mro__}
    status = _status(error, kinds)
    text = _clean(str(getattr(error, "message", "") or error), route.secrets)
    sentence = _final(kinds, status, text, model, route)
    if sentence is not None:
        return ModelFailure(sentence, cause=_cause(kinds, status))
    wait = _retry_after_ms(error)
    kind = Throttled if status == 429 or (status in OVERLOADED and wait is not None) else ModelFailure
    return kind(_passing(kinds, status, text, model), retryable=True, retry_after_ms=wait, cause=_cause(kinds, status))


def _cause(kinds: set[str], status: int | None) -> str:
    """The kind of a failure, by which an agent chooses another model."""
    if "ContextWindowExceededError" in kinds:
        return "context"
    if "ContentPolicyViolationError" in kinds:
        return "refusal"
    if "Timeout" in kinds or status in (408, 504):
        return "timeout"
    return "rate_limit" if status == 429 else "error"


def is_refusal(error: Exception) -> bool:
    """True if the provider will not talk about this: an answer, in its way."""
    error = getattr(error, "original_exception", None) or error
    kinds = {each.__name__ for each in type(error).__mro__}
    # litellm knows most refusals; the code of the others is in what it was raised for.
    said = f"{error} {error.__context__}"
    return "ContentPolicyViolationError" in kinds or (_status(error, kinds) == 400 and bool(_POLICY.search(said)))


def is_about_format(error: Exception) -> bool:
    """True if the provider does not take the schema, or the mode, that its answer should have."""
    error = getattr(error, "original_exception", None) or error
    kinds = {each.__name__ for each in type(error).__mro__}
    status = _status(error, kinds)
    is_request = "UnsupportedParamsError" in kinds or status in (400, 422)
    return is_request and bool(_FORMAT.search(str(getattr(error, "message", "") or error)))


def _final(kinds: set[str], status: int | None, text: str, model: str, route: Route) -> str | None:
    """The sentence for an error that no further attempt can mend; None if another one may succeed."""
    key = route.provider.variables.get("api_key", next(iter(route.provider.variables.values())))[0]
    if "ContextWindowExceededError" in kinds:
        return (
            f"The conversation is too long for {model}: shorten the input or the tools' results, "
            f"or choose a model with a larger context window. {text}"
        )
    if "user_url_allowed_hosts" in text:
        return (
            f"The provider of {model} takes no addresses, and this server could not fetch the file for it: only "
            f"public addresses are fetched. Give its content, as base64 or a data: URL. {text.rpartition(' ')[2]}"
        )
    if "ContentPolicyViolationError" in kinds:
        return f"{model} refused the content of the conversation: {text}"
    if "UnsupportedParamsError" in kinds:
        return f"{model} does not take a setting of this agent; remove it or choose another model: {text}"
    if "No module named" in text:
        return f"{model} needs a package that is not installed on the server: {text}"
    # The text of a 401 is left out: providers repeat part of the key in it.
    if status == 401:
        return f"The provider of {model} refused the key: set a valid {key} in the environment of the server."
    if status == 403:
        return f"The key in {key} may not use {model}: {text}"
    if status == 404:
        return f"The provider does not know the model {model}; check its name and its base URL. {text}"
    if status == 429 and _TOO_LARGE.search(text):
        return f"One call to {model} is larger than its limit for a whole minute; shorten the conversation. {text}"
    if status == 429 and _NO_CREDIT.search(text):
        return f"The account behind {key} has no credit left for {model}: {text}"
    if status is not None and 400 <= status < 500 and status not in (408, 409, 425, 429):
        return f"The provider refused the request to {model} ({status}): {text}"
    return None


def _passing(kinds: set[str], status: int | None, text: str, model: str) -> str:
    if status == 429:
        return f"The provider limits the rate of calls to {model} (429): {text}"
    if "Timeout" in kinds or status in (408, 504):
        return f"The call of {model} timed out at the provider: {text}"
    if _AWAY.search(text):
        return f"The provider of {model} cannot be reached; check the network and the base URL. {text}"
    return f"The provider of {model} failed ({status or 'no status'}): {text}"


def _status(error: Exception, kinds: set[str]) -> int | None:
    if "APIConnectionError" in kinds:
        return None
    try:
        return int(getattr(error, "status_code", None) or 0) or None
    except (TypeError, ValueError):
        return None


def _clean(text: str, secrets: tuple[str, ...]) -> str:
    for secret in secrets:
        if len(secret) >= SHORTEST_SECRET:
            text = text.replace(secret, "***")
    text = _KEYS.sub("***", text)
    while (shorter := _WRAPPERS.sub("", text)) != text:
        text = shorter
    text = " ".join(text.partition("Traceback (most recent call last)")[0].split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _retry_after_ms(error: Exception) -> int | None:
    headers = _headers(error)
    try:
        if exact := headers.get("retry-after-ms"):
            return max(0, int(float(exact)))
        if not (wait := headers.get("retry-after")):
            return None
        if re.fullmatch(r"\d+(\.\d+)?", wait.strip()):
            return int(float(wait) * 1000)
        return max(0, int(parsedate_to_datetime(wait).timestamp() * 1000) - clock.now_ms())
    except (TypeError, ValueError):
        return None


def _headers(error: Exception) -> dict[str, str]:
    found: dict[str, str] = {}
    for source in (getattr(getattr(error, "response", None), "headers", None), _litellm_headers(error)):
        if isinstance(source, Mapping):
            found |= {str(name).lower(): str(value) for name, value in source.items()}
    return found


def _litellm_headers(error: Exception) -> Any:
    return getattr(error, "litellm_response_headers", None)


LONGEST = 500
SHORTEST_SECRET = 6
"""Servers of one's own take any word for a key; hiding the letter x would leave no sentence readable."""
OVERLOADED = (503, 529)
_KEYS = re.compile(r"\bsk-[\w*.-]{6,}|\bAIza[\w-]{10,}|\bBearer\s+\S+|(?<=[?&]key=)[^&\s'\"]+", re.IGNORECASE)
_WRAPPERS = re.compile(r"^\s*(?:litellm\.)?(?:\w*(?:Error|Exception|Timeout))\s*(?::|-)\s+")
_AWAY = re.compile(r"connection error|cannot connect|connect(ion)? ?(refused|reset|error)|getaddrinfo", re.IGNORECASE)
_NO_CREDIT = re.compile(r"insufficient_quota|exceeded your current quota|credit balance", re.IGNORECASE)
_TOO_LARGE = re.compile(r"request too large", re.IGNORECASE)
_FORMAT = re.compile(
    r"response_?format|response_?(json_)?schema|output_(format|config)|json.?(schema|mode)", re.IGNORECASE
)
_POLICY = re.compile(r"content_policy_violation|content_filter|content management policy", re.IGNORECASE)
