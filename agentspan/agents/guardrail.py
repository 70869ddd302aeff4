"""Guardrails: what checks an agent's input or output, and what happens when the check fails."""

import functools
import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from agentspan.agents.exceptions import unbuilt

Json = dict[str, Any]


class OnFail(StrEnum):
    """What a failed check does: ask the model again, fail the run, use the fixed output, or ask a person."""

    RETRY = "retry"
    RAISE = "raise"
    FIX = "fix"
    HUMAN = "human"


class Position(StrEnum):
    """What is checked."""

    INPUT = "input"
    OUTPUT = "output"


@dataclass
class GuardrailResult:
    """A verdict: `message` tells the model what is wrong, `fixed_output` replaces the output under `fix`."""

    passed: bool
    message: str = ""
    fixed_output: str | None = None


@dataclass
class GuardrailDef:
    """What `@guardrail` attaches to a function as `_guardrail_def`."""

    name: str
    description: str
    func: Callable[..., Any]


def guardrail(func: Callable[..., Any] | None = None, *, name: str | None = None) -> Any:
    """Name a function `(content: str) -> GuardrailResult` as a guardrail: `@guardrail` or `@guardrail(name=...)`."""

    def describe(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        text = inspect.cleandoc(function.__doc__ or "")
        call._guardrail_def = GuardrailDef(name or function.__name__, text, function)  # type: ignore[attr-defined]
        return call

    return describe if func is None else describe(func)


class Guardrail:
    """A check by a function of yours; without one, `name` refers to a guardrail that another process serves."""

    kind = "custom"

    def __init__(
        self,
        func: Callable[..., Any] | None = None,
        position: Position | str = "output",
        on_fail: OnFail | str = "retry",
        name: str | None = None,
        max_retries: int = 3,
    ) -> None:
        definition = getattr(func, "_guardrail_def", None)
        if position not in [each.value for each in Position]:
            raise ValueError(f"position must be 'input' or 'output', got {position!r}")
        if on_fail not in [each.value for each in OnFail]:
            raise ValueError(f"on_fail must be 'retry', 'raise', 'fix' or 'human', got {on_fail!r}")
        if on_fail == "human" and position == "input":
            raise ValueError("on_fail='human' is only possible at position='output'")
        if func is None and not name:
            raise ValueError("a guardrail needs a function or a name")
        if max_retries < 1:
            raise ValueError(f"max_retries must be 1 or more, got {max_retries}")
        self.func = definition.func if definition else func
        self.position = str(Position(position))
        self.on_fail = str(OnFail(on_fail))
        self.name = str(name or (definition.name if definition else getattr(func, "__name__", "guardrail")))
        self.max_retries = max_retries

    @property
    def external(self) -> bool:
        """Is the function in another process?"""
        return self.func is None

    def check(self, content: str) -> GuardrailResult:
        """Run the check here; RuntimeError if the function is elsewhere."""
        if self.func is None:
            raise RuntimeError(f"guardrail {self.name!r} is external: its function is in another process")
        verdict = self.func(content)
        return verdict if isinstance(verdict, GuardrailResult) else GuardrailResult(bool(verdict))

    def to_config(self) -> Json:
        """The guardrail on the wire."""
        config: Json = {
            "name": self.name,
            "position": self.position,
            "onFail": self.on_fail,
            "maxRetries": self.max_retries,
            "guardrailType": "external" if self.kind == "custom" and self.external else self.kind,
        }
        if self.kind == "custom":
            config["taskName"] = self.name
        return config

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r}, position={self.position!r}, on_fail={self.on_fail!r})"


class RegexGuardrail(Guardrail):
    """A check by patterns: `mode="block"` fails if one is found, `mode="allow"` fails if none is."""

    kind = "regex"

    def __init__(
        self,
        patterns: str | Sequence[str],
        *,
        mode: str = "block",
        position: Position | str = "output",
        on_fail: OnFail | str = "retry",
        name: str | None = None,
        message: str | None = None,
        max_retries: int = 3,
    ) -> None:
        if mode not in ("block", "allow"):
            raise ValueError(f"mode must be 'block' or 'allow', got {mode!r}")
        self.patterns = [patterns] if isinstance(patterns, str) else list(patterns)
        self.mode, self.message = mode, message
        self._compiled = [re.compile(pattern) for pattern in self.patterns]
        super().__init__(self._match, position, on_fail, name or "regex_guardrail", max_retries)

    def to_config(self) -> Json:
        config = {**super().to_config(), "patterns": self.patterns, "mode": self.mode}
        return {**config, "message": self.message} if self.message is not None else config

    def _match(self, content: str) -> GuardrailResult:
        found = any(pattern.search(content) for pattern in self._compiled)
        if found == (self.mode == "allow"):
            return GuardrailResult(True)
        default = "Content matched a blocked pattern." if found else "Content did not match any allowed pattern."
        return GuardrailResult(False, self.message or default)


class LLMGuardrail(Guardrail):
    """A check by a model (`provider/model`) against a policy in words."""

    kind = "llm"

    def __init__(
        self,
        model: str,
        policy: str,
        *,
        position: Position | str = "output",
        on_fail: OnFail | str = "retry",
        name: str | None = None,
        max_retries: int = 3,
        max_tokens: int | None = None,
    ) -> None:
        self.model, self.policy, self.max_tokens = model, policy, max_tokens
        super().__init__(self._ask, position, on_fail, name or "llm_guardrail", max_retries)

    def to_config(self) -> Json:
        config = {**super().to_config(), "model": self.model, "policy": self.policy}
        return {**config, "maxTokens": self.max_tokens} if self.max_tokens is not None else config

    def _ask(self, content: str) -> GuardrailResult:
        raise unbuilt("LLMGuardrail.check in the client")
