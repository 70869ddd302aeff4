"""Whether what a worker reports can be folded: workers are anybody's code, and may say anything that is JSON."""

from collections.abc import Callable, Mapping
from typing import Any

from agentspan.core.events import TaskScheduled
from agentspan.core.states import Kind, Purpose

Json = dict[str, Any]
Test = Callable[[Any], bool]


def unfit(order: TaskScheduled, output: Json) -> str | None:
    """What is wrong with an output; None if it can be folded. An attempt with one that cannot has failed."""
    for key, (fits, shape) in _expected(order).items():
        if output.get(key) is not None and not fits(output[key]):
            return f"the output's {key} is not {shape}"
    return None


def trimmed(order: TaskScheduled, output: Json) -> Json:
    """What of an output counts. A callback may say anything beside, which must not be read as part of its result."""
    if order.purpose is not Purpose.HOOK:
        return output
    position = order.slot.partition(".")[0]
    keys = REPLACED[position] if "result" in output else CHANGED[position]
    return {key: value for key, value in output.items() if key in keys}


def _expected(order: TaskScheduled) -> Mapping[str, tuple[Test, str]]:
    if order.kind is Kind.LLM or order.purpose is Purpose.THINK:
        return ANSWER
    return EXPECTED.get(order.purpose, {})


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def _are_calls(value: Any) -> bool:
    return _is_list(value) and all(isinstance(each, dict) and _is_text(each.get("name")) for each in value)


def _are_messages(value: Any) -> bool:
    return _is_list(value) and all(isinstance(each, dict) and _is_text(each.get("role")) for each in value)


def _are_counts(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_number(value[key]) for key in COUNTS if key in value)


COUNTS = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens")
CALLS = {"tool_calls": (_are_calls, "a list of {name, arguments}")}
STATE = {
    "_state_updates": (_is_object, "a JSON object"),
    "_state_deletions": (_is_list, "a list of keys"),
}
ANSWER = {
    **CALLS,
    **STATE,
    "content": (_is_text, "text"),
    "finish_reason": (_is_text, "text"),
    "usage": (_are_counts, "an object of counts"),
    "cost": (_is_number, "a number"),
}
EXPECTED: dict[Purpose, Mapping[str, tuple[Test, str]]] = {
    Purpose.ACT: STATE,
    Purpose.WAIT: STATE,
    Purpose.SPEAK: STATE,
    Purpose.HOOK: {**CALLS, "messages": (_are_messages, "a list of {role, content}")},
}

CHANGED = {
    "before_agent": ("prompt",),
    "after_agent": (),
    "before_model": ("messages",),
    "after_model": ("tool_calls",),
    "before_tool": ("args", "arguments"),
    "after_tool": (),
}
"""What a callback can change, by its position."""

REPLACED = {
    **dict.fromkeys(CHANGED, ("result",)),
    "before_model": ("result", "tool_calls"),
    "after_model": ("result", "tool_calls"),
}
"""The same if it gives the result itself."""
