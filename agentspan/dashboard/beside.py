"""Two values beside each other, line by line: which lines are the same, which went, came or changed, and where."""

import json
import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Any

Json = dict[str, Any]
Line = list[list[Any]]
"""A line as pieces `[text, is different]`."""

AROUND = 3
"""So many lines that are the same stand around those that differ."""
MOST_LINES, MOST_WORDS = 2000, 400
"""Longer values are not compared inside: they went and came as a whole."""
ALIKE = 0.4
"""From this ratio on two lines are one line that changed."""


def beside(before: Any, after: Any) -> list[Json]:
    """`{mark, left, right}` for each line, mark one of same, gone, new, changed; or `{mark: "skip", count}`."""
    left, right = lines(before), lines(after)
    if max(len(left), len(right)) > MOST_LINES:
        return [*map(_gone, left), *map(_new, right)]
    return list(_folded(list(_compared(left, right))))


def lines(value: Any) -> list[str]:
    """A value as lines; none of what is not there."""
    if value is None:
        return []
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    return text.split("\n")


def _compared(left: list[str], right: list[str]) -> Iterator[Json]:
    for what, a, b, c, d in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        if what == "equal":
            yield from ({"mark": "same", "left": [[each, False]], "right": [[each, False]]} for each in left[a:b])
        else:
            for old, new in zip_longest(left[a:b], right[c:d]):
                yield _new(new) if old is None else _gone(old) if new is None else _changed(old, new)


def _folded(rows: list[Json]) -> Iterator[Json]:
    """Long stretches that are the same become one row that says how long they are."""
    near = {
        place + step for place, row in enumerate(rows) if row["mark"] != "same" for step in range(-AROUND, AROUND + 1)
    }
    skipped = 0
    for place, row in enumerate(rows):
        if place in near:
            if skipped:
                yield {"mark": "skip", "count": skipped}
            skipped = 0
            yield row
        else:
            skipped += 1
    if skipped:
        yield {"mark": "skip", "count": skipped}


def _changed(old: str, new: str) -> Json:
    before, after = re.findall(r"\w+|\W", old), re.findall(r"\w+|\W", new)
    if max(len(before), len(after)) > MOST_WORDS:
        return {"mark": "changed", "left": [[old, True]], "right": [[new, True]]}
    match = SequenceMatcher(None, before, after, autojunk=False)
    if match.ratio() < ALIKE:
        return {"mark": "changed", "left": [[old, True]], "right": [[new, True]]}
    left: Line = []
    right: Line = []
    for what, a, b, c, d in match.get_opcodes():
        left += [["".join(before[a:b]), what != "equal"]] if b > a else []
        right += [["".join(after[c:d]), what != "equal"]] if d > c else []
    return {"mark": "changed", "left": left, "right": right}


def _gone(line: str) -> Json:
    return {"mark": "gone", "left": [[line, False]], "right": None}


def _new(line: str) -> Json:
    return {"mark": "new", "left": None, "right": [[line, False]]}
