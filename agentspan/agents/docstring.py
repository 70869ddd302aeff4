"""Descriptions of parameters, read out of docstrings in Google, NumPy and Sphinx style."""

import inspect
import re

_GOOGLE = re.compile(r"^(args|arguments|parameters|params|attributes|keyword args|other parameters)\s*:\s*$", re.I)
_NUMPY = re.compile(r"^(parameters|other parameters|attributes)\s*$", re.I)
_GOOGLE_ENTRY = re.compile(r"^\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)$")
_NUMPY_ENTRY = re.compile(r"^\*{0,2}(\w+(?:\s*,\s*\w+)*)\s*(?::.*)?$")
_SPHINX_ENTRY = re.compile(
    r"^\s*:(?:param|parameter|arg|argument|key|keyword|ivar)\s+(?:[^:]*\s)?\*{0,2}(\w+)\s*:\s*(.*)$"
)
_SPHINX_FIELD = re.compile(r"^\s*:\w+")


def parameter_descriptions(docstring: str | None) -> dict[str, str]:
    """The description of each parameter that the docstring describes, on one line each."""
    if not docstring:
        return {}
    lines = inspect.cleandoc(docstring).splitlines()
    found: dict[str, list[str]] = {}
    at = 0
    while at < len(lines):
        line = lines[at]
        if _GOOGLE.match(line):
            at = _google(lines, at + 1, found)
        elif _NUMPY.match(line) and at + 1 < len(lines) and set(lines[at + 1].strip()) == {"-"}:
            at = _numpy(lines, at + 2, found)
        elif entry := _SPHINX_ENTRY.match(line):
            at = _sphinx(lines, at + 1, found.setdefault(entry[1], [entry[2]]))
        else:
            at += 1
    return {name: text for name, parts in found.items() if (text := " ".join(" ".join(parts).split()))}


def _google(lines: list[str], at: int, found: dict[str, list[str]]) -> int:
    depth: int | None = None
    current: list[str] = []
    while at < len(lines):
        line = lines[at]
        if not line.strip():
            at += 1
            continue
        indent = _indent(line)
        if indent == 0:
            break
        depth = indent if depth is None else depth
        entry = _GOOGLE_ENTRY.match(line.strip()) if indent <= depth else None
        if entry:
            current = found.setdefault(entry[1], [])
            current.append(entry[2])
        else:
            current.append(line.strip())
        at += 1
    return at


def _numpy(lines: list[str], at: int, found: dict[str, list[str]]) -> int:
    current: list[list[str]] = []
    while at < len(lines):
        line = lines[at]
        if at + 1 < len(lines) and line.strip() and set(lines[at + 1].strip()) == {"-"}:
            break
        if line.strip() and _indent(line) == 0:
            entry = _NUMPY_ENTRY.match(line)
            if not entry:
                break
            current = [found.setdefault(name.strip(), []) for name in entry[1].split(",")]
        elif line.strip():
            for each in current:
                each.append(line.strip())
        at += 1
    return at


def _sphinx(lines: list[str], at: int, current: list[str]) -> int:
    while at < len(lines) and lines[at].strip() and not _SPHINX_FIELD.match(lines[at]) and _indent(lines[at]):
        current.append(lines[at].strip())
        at += 1
    return at


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
