"""Whether a webhook's call comes from who knows its secret, and what it brings. Pure.

The signature is HMAC-SHA256 over the body as it came, in hex after `sha256=`. A hook with a tolerance wants the time
of the call too, in seconds since the epoch, and the signature then over `<time>.<body>`.
"""

import hashlib
import hmac
from typing import Any
from urllib.parse import parse_qs

import msgspec
from msgspec import Struct

from agentspan.errors import BadInput, Unauthorized
from agentspan.spec.nesting import is_deep
from agentspan.store.views import Hook

SHORTEST_SECRET = 16


class Call(Struct, frozen=True):
    """A call as it came: the body, and the headers that count."""

    body: bytes
    signature: str = ""
    timestamp: str = ""
    delivery: str = ""


def check(hook: Hook) -> None:
    """Raise BadInput for a webhook that cannot be kept."""
    if len(hook.secret) < SHORTEST_SECRET:
        raise BadInput(f"the secret of a webhook must have {SHORTEST_SECRET} characters or more")
    if hook.tolerance_seconds < 0:
        raise BadInput("toleranceSeconds must be 0 (any time) or more")


def check_signed(call: Call) -> None:
    """Raise Unauthorized for a call without a signature: it is not even told which webhooks there are."""
    if not call.signature:
        raise Unauthorized("the call is not signed: send X-Agentspan-Signature: sha256=<HMAC-SHA256 of the body, hex>")


def verify(hook: Hook, call: Call, now: int) -> str:
    """The signature of a call. Unauthorized if it is wrong or too old, or if there is no secret to sign it with."""
    if len(hook.secret) < SHORTEST_SECRET:
        raise Unauthorized(f"the webhook {hook.name!r} has no secret: register it again")
    signed = call.body
    if hook.tolerance_seconds:
        if not _is_near(call.timestamp, now, hook.tolerance_seconds):
            raise Unauthorized(
                "X-Agentspan-Timestamp must be the time of the call in seconds since the epoch, "
                f"within {hook.tolerance_seconds:g} s of now"
            )
        signed = f"{call.timestamp}.".encode() + call.body
    right = "sha256=" + hmac.new(hook.secret.encode(), signed, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(call.signature.strip().lower().encode(), right.encode()):
        what = "<timestamp>.<body>" if hook.tolerance_seconds else "the body as it is sent"
        raise Unauthorized(f"the signature is wrong: it must be sha256= and the HMAC-SHA256 of {what}, in hex")
    return right


def payload_of(body: bytes) -> Any:
    """The body as JSON, also where a form brings it as its field `payload` as GitHub does; else as text."""
    text = body.decode(errors="replace").replace("\x00", "")
    form = parse_qs(text).get("payload") if text.startswith("payload=") else None
    try:
        said = form[0] if form else text or "null"
        return text if is_deep(said.encode()) else msgspec.json.decode(said)
    except msgspec.DecodeError:
        return text


def prompt_of(hook: Hook, payload: Any) -> str:
    """The prompt that the payload brings, or the hook's own."""
    said = payload.get("prompt") if isinstance(payload, dict) else None
    return said if isinstance(said, str) and said.strip() else hook.prompt


def _is_near(timestamp: str, now: int, seconds: float) -> bool:
    stamp = timestamp if timestamp.isascii() and timestamp.isdecimal() and len(timestamp) < 16 else ""
    return bool(stamp) and abs(now / 1000 - int(stamp)) <= seconds
