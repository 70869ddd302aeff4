"""What differs between two definitions, place by place."""

from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]


def diff(before: Any, after: Any, path: str = "") -> list[Json]:
    """`{path, before, after}` for each place that differs; None stands for what is not there.

    Lists of things that have names (tools, agents) are compared by name: `tools[add].description`.
    """
    return list(_diff(before, after, path))


def _diff(before: Any, after: Any, path: str) -> Iterator[Json]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys([*before, *after]):
            yield from _diff(before.get(key), after.get(key), f"{path}.{key}" if path else key)
    elif (old := _named(before)) is not None and (new := _named(after)) is not None:
        for name in dict.fromkeys([*old, *new]):
            yield from _diff(old.get(name), new.get(name), f"{path}[{name}]")
        common = [name for name in old if name in new]
        if common != [name for name in new if name in old]:
            yield {"path": f"{path}[order]", "before": list(old), "after": list(new)}
    elif before != after:
        yield {"path": path, "before": before, "after": after}


def _named(value: Any) -> dict[str, Json] | None:
    """The things of a list by their names, if all have one of their own."""
    if not isinstance(value, list | tuple) or not all(isinstance(each, dict) and each.get("name") for each in value):
        return None
    found = {str(each["name"]): each for each in value}
    return found if len(found) == len(value) else None
