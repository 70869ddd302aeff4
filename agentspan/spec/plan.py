"""A plan as data: steps that are carried out in their order, each calls of tools or words of a model.

{"steps": [{"id", "description", "ops": [{"tool", "args"}] | "generate": {"prompt"}, "validation": [{"argument", "op",
"value"}], "on_fail": "stop" | "continue"}]}. In arguments and prompts {"$ref": id, "path": "a.b"} stands for the result
of an earlier step, and "${id}" or "${id.a.b}" for its text.
"""

import json
import re
from collections.abc import Callable
from typing import Any

from agentspan.spec.rules import COMPARISONS

Json = dict[str, Any]

REFERENCE = re.compile(r"\$\{([A-Za-z0-9_-]+)((?:\.[A-Za-z0-9_-]+)*)\}")
FORM = """Answer with JSON alone, a plan of this form:
{"steps": [{"id": "short name", "description": "what it is for", "ops": [{"tool": "name", "args": {...}}]}, ...]}
A step may have "generate": {"prompt": "..."} in place of "ops": then a model writes its result. The calls in "ops" of \
one step run at the same time; steps run one after the other. "${id}" in an argument or a prompt stands for the result \
of an earlier step, "${id.field}" for a field of it."""


def problems(plan: Any, tools: set[str]) -> list[str]:
    """Why this is no plan that can be carried out; [] if it is one."""
    steps = plan.get("steps") if isinstance(plan, dict) else None
    if not isinstance(steps, list) or not steps:
        return ['a plan is {"steps": [...]} with at least one step']
    found: list[str] = []
    known: set[str] = set()
    for place, step in enumerate(steps):
        name = name_of(step, place) if isinstance(step, dict) else str(place + 1)
        found += [f"step {name}: {problem}" for problem in _step_problems(step, tools, known)]
        known.add(name)
    return found


def _step_problems(step: Any, tools: set[str], known: set[str]) -> list[str]:
    if not isinstance(step, dict):
        return ["a step is an object"]
    ops, generate = ops_of(step), step.get("generate")
    if bool(ops) == bool(generate):
        return ["a step has either ops (calls of tools) or generate (a prompt)"]
    if generate and not isinstance(generate.get("prompt") if isinstance(generate, dict) else generate, str):
        return ['generate is {"prompt": text}']
    if bad := [op for op in ops if not isinstance(op, dict) or not isinstance(op.get("args") or {}, dict)]:
        return [f'an op is {{"tool": name, "args": object}}, got {bad[0]!r}']
    found = [f"there is no tool {op.get('tool')!r}" for op in ops if op.get("tool") not in tools]
    lost = sorted(references([ops, generate]) - known)
    found += [f"it refers to {name!r}, which is no step before it" for name in lost]
    rules = step.get("validation") or []
    if not isinstance(rules, list) or not all(isinstance(r, dict) and r.get("op") in COMPARISONS for r in rules):
        found.append(f'validation is a list of {{"argument", "op", "value"}}, op one of {", ".join(COMPARISONS)}')
    return found


def name_of(step: Json, place: int) -> str:
    """The name by which later steps refer to a step."""
    return str(step.get("id") or place + 1)


def ops_of(step: Json) -> list[Any]:
    """The calls of a step; one call may stand without a list."""
    ops = step.get("ops") or step.get("op") or []
    return [ops] if isinstance(ops, dict) else list(ops)


def references(value: Any) -> set[str]:
    """The steps that a value refers to."""
    if isinstance(value, str):
        return {match[1] for match in REFERENCE.finditer(value)}
    if isinstance(value, list):
        return set[str]().union(*map(references, value))
    if not isinstance(value, dict):
        return set()
    if "$ref" in value:
        return {str(value["$ref"])}
    return set[str]().union(*map(references, value.values()))


def filled(value: Any, result: Callable[[str], Any]) -> Any:
    """The value with results in the place of references; a text that is one reference alone becomes its value."""
    if isinstance(value, str):
        whole = REFERENCE.fullmatch(value)
        if whole:
            return _at(result(whole[1]), whole[2].strip("."))
        return REFERENCE.sub(lambda match: _text(_at(result(match[1]), match[2].strip("."))), value)
    if isinstance(value, list):
        return [filled(each, result) for each in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        return _at(result(str(value["$ref"])), str(value.get("path") or ""))
    return {key: filled(each, result) for key, each in value.items()}


def _at(value: Any, path: str) -> Any:
    for step in filter(None, path.split(".")):
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError):
                return None
        if isinstance(value, list) and step.isdigit():
            value = value[int(step)] if int(step) < len(value) else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
