"""The rules that are data: patterns, terminations, hand-offs, gates, approval policies, and the reading of a choice.

Pure predicates over the wire's JSON. Nothing here needs a process of the user's.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from msgspec import Struct

Json = dict[str, Any]

PATTERN_SECONDS = 0.1
"""How long a pattern may search one text: it runs in the thread that all runs share."""
PATTERN_CHARS = 2_000
"""How long a pattern may be: reading one cannot be stopped."""
MOST_PATTERNS = 100

DONE = "DONE"


class Seen(Struct, frozen=True):
    """What a termination looks at: the last text, messages of the transcript, and tokens so far."""

    text: str
    messages: int
    prompt_tokens: int
    completion_tokens: int


def broken(guardrail: Json, content: str) -> str | None:
    """What a regex guardrail has against a text; None if it passes."""
    import regex  # type: ignore[import-untyped]

    patterns, allow = list(guardrail.get("patterns") or ()), guardrail.get("mode") == "allow"
    if problem := patterns_problem(patterns):
        return problem
    seconds = PATTERN_SECONDS / (1 + len(patterns) // 10)
    try:
        found = next((p for p in patterns if regex.search(p, content, timeout=seconds)), None)
    except TimeoutError:
        return f"the patterns of {guardrail.get('name')} took longer than {PATTERN_SECONDS} s on this text"
    if (found is None) is not allow:
        return None
    if message := guardrail.get("message"):
        return str(message)
    return "the text matches no allowed pattern" if allow else f"the text matches the blocked pattern {found!r}"


def pattern_problem(pattern: Any) -> str | None:
    """Why a pattern cannot be used; None if it can."""
    import regex

    if isinstance(pattern, str) and len(pattern) > PATTERN_CHARS:
        return f"{pattern[:40]!r}... is longer than the {PATTERN_CHARS} characters that a pattern may have"
    try:
        regex.compile(pattern)
    except (regex.error, TypeError) as problem:
        return f"{pattern!r} is no regular expression: {problem}"
    except (RecursionError, OverflowError, MemoryError, ValueError):
        return f"{str(pattern)[:40]!r}... is too complicated for a pattern"
    return None


def patterns_problem(patterns: Sequence[Any]) -> str | None:
    """Why the patterns of one guardrail cannot be used; None if they can."""
    if len(patterns) > MOST_PATTERNS:
        return f"{len(patterns)} patterns are more than the {MOST_PATTERNS} of a guardrail; join some of them with |"
    return next(filter(None, map(pattern_problem, patterns)), None)


def terminated(rule: Json, seen: Seen) -> str | None:
    """Why a termination rule ends the run now; None if it does not."""
    kind = rule.get("type")
    if kind in ("and", "or"):
        reasons = [terminated(each, seen) for each in rule.get("conditions") or ()]
        met = [reason for reason in reasons if reason]
        enough = met and (kind == "or" or len(met) == len(reasons))
        return (met[0] if kind == "or" else " and ".join(met)) if enough else None
    return TERMINATIONS[kind](rule, seen) if kind in TERMINATIONS else None


def needs_worker(rule: Json) -> bool:
    """Has a termination rule a part that only the user's process can judge?"""
    kind = rule.get("type")
    return any(map(needs_worker, rule.get("conditions") or ())) if kind in ("and", "or") else kind not in TERMINATIONS


def _mentions(rule: Json, seen: Seen) -> str | None:
    text = str(rule.get("text") or "")
    exact = rule.get("caseSensitive", True)
    found = text in seen.text if exact else text.lower() in seen.text.lower()
    return f"the text mentions {text!r}" if text and found else None


def _stops(rule: Json, seen: Seen) -> str | None:
    word = str(rule.get("stopMessage") or "TERMINATE").strip()
    return f"the message is {word!r}" if seen.text.strip() == word else None


def _counts(rule: Json, seen: Seen) -> str | None:
    most = int(rule.get("maxMessages") or 10)
    return f"{seen.messages} messages of {most}" if seen.messages >= most else None


def _tokens(rule: Json, seen: Seen) -> str | None:
    used = {
        "maxTotalTokens": seen.prompt_tokens + seen.completion_tokens,
        "maxPromptTokens": seen.prompt_tokens,
        "maxCompletionTokens": seen.completion_tokens,
    }
    over = [key for key, count in used.items() if rule.get(key) is not None and count >= rule[key]]
    return f"{used[over[0]]} tokens of {rule[over[0]]}" if over else None


def mentioned(conditions: Iterable[Json], text: str) -> str | None:
    """The target of the first `on_text_mention` that a reply fulfils."""
    low = text.lower()
    hits = (c for c in conditions if c.get("type") == "on_text_mention" and str(c.get("text") or "").lower() in low)
    return next((str(each["target"]) for each in hits if each.get("text")), None)


def after_tool(conditions: Iterable[Json], tool: str, result: str) -> str | None:
    """The target of the first `on_tool_result` that a tool's result fulfils."""
    for each in conditions:
        if each.get("type") != "on_tool_result" or each.get("toolName") not in (None, "", tool):
            continue
        part = each.get("resultContains")
        if not part or str(part).lower() in result.lower():
            return str(each["target"])
    return None


def shut(gate: Json, text: str) -> bool:
    """Does a text gate stop the pipeline after this text?"""
    word = str(gate.get("text") or "")
    return word in text if gate.get("caseSensitive", True) else word.lower() in text.lower()


def asks(when: Sequence[Json], arguments: Json) -> bool:
    """Does an approval policy ask a person about these arguments? What cannot be evaluated asks."""
    try:
        return any(COMPARISONS[rule["op"]](_argument(arguments, rule["argument"]), rule.get("value")) for rule in when)
    except Exception:  # whatever is odd about the rule or the arguments: a person decides
        return True


def _argument(arguments: Json, path: str) -> Any:
    value: Any = arguments
    for step in path.split("."):
        value = value[step]
    return value


def chosen(answer: str, names: Sequence[str]) -> str | None:
    """The one name that an answer means, in whatever case, quotes or sentence; None if it means none or several."""
    said = _said(answer)
    plain = {_plain(name): name for name in names}
    for text in (said, said.rpartition("_transfer_to_")[2]):
        if _plain(text) in plain:
            return plain[_plain(text)]
    words = f" {_plain(said)} "
    within = [name for key, name in plain.items() if f" {key} " in words]
    longest = [name for name in within if not any(name != other and _plain(name) in _plain(other) for other in within)]
    return longest[0] if len(longest) == 1 else None


def _said(answer: str) -> str:
    """The text of an answer, or the name in it where it is JSON."""
    text = answer.strip().removeprefix("```json").strip("`").strip()
    if not text.startswith("{"):
        return text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    keys = ("agent", "selected_agent", "selected", "name", "next")
    return str(next((value[key] for key in keys if key in value), text))


def _plain(text: str) -> str:
    """Lower case, words apart by one space, without punctuation."""
    return " ".join("".join(c if c.isalnum() else " " for c in text.lower()).split())


TERMINATIONS: dict[Any, Callable[[Json, Seen], str | None]] = {
    "text_mention": _mentions,
    "stop_message": _stops,
    "max_message": _counts,
    "token_usage": _tokens,
}

COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda a, b: bool(a == b),
    "!=": lambda a, b: bool(a != b),
    ">": lambda a, b: bool(a > b),
    ">=": lambda a, b: bool(a >= b),
    "<": lambda a, b: bool(a < b),
    "<=": lambda a, b: bool(a <= b),
    "in": lambda a, b: a in b,
    "contains": lambda a, b: b in a,
    "matches": lambda a, b: broken({"patterns": [b]}, str(a)) is not None,
}
