"""A tool as the model sees it and as the queue routes it."""

from typing import Any

from msgspec import Struct

from agentspan.spec.policy import TOOL_RETRY, BackOff, Limits, RetryPolicy, milliseconds

BACK_OFFS: dict[str, BackOff] = {
    "fixed": "fixed",
    "linear_backoff": "linear",
    "exponential_backoff": "exponential",
}


class ToolSpec(Struct, frozen=True, rename="camel", omit_defaults=True):
    """One tool. `tool_type` says who performs it (`worker` for a user's function), `input_schema` is JSON Schema.

    `source_digest` tells versions of a function's source apart; "" where that is not known.
    """

    name: str
    description: str = ""
    input_schema: dict[str, Any] = {}
    output_schema: dict[str, Any] = {}
    tool_type: str = "worker"
    approval_required: bool = False
    approval: dict[str, Any] | None = None
    timeout_seconds: float | None = None
    start_timeout_seconds: float | None = None
    config: dict[str, Any] = {}
    guardrails: tuple[dict[str, Any], ...] = ()
    stateful: bool = False
    max_calls: int | None = None
    retry_count: int | None = None
    retry_delay_seconds: float | None = None
    retry_logic: str | None = None
    retry_max_delay_seconds: float | None = None
    retry_jitter_ms: int | None = None
    source_digest: str = ""

    @property
    def retry(self) -> RetryPolicy:
        """The retry policy: what the tool says, else two more attempts after 2 s and 4 s."""
        return RetryPolicy(
            limit=TOOL_RETRY.limit if self.retry_count is None else self.retry_count,
            delay_ms=self._delay_ms,
            back_off=BACK_OFFS[self.retry_logic or "linear_backoff"],
            max_delay_ms=milliseconds(self.retry_max_delay_seconds),
            jitter_ms=self.retry_jitter_ms or 0,
        )

    @property
    def audits(self) -> bool:
        """Is the approval only tried out: nobody is asked, what would have been asked is kept?"""
        return (self.approval or {}).get("audit") is True

    @property
    def limits(self) -> Limits:
        return Limits(start_ms=milliseconds(self.start_timeout_seconds), attempt_ms=milliseconds(self.timeout_seconds))

    @property
    def _delay_ms(self) -> int:
        given = self.retry_delay_seconds
        return TOOL_RETRY.delay_ms if given is None else milliseconds(given)
