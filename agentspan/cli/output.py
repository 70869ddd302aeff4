"""How commands that read print what they found: one table of formats, and the options that choose among them.

A command gives `Listed` or `Told`, the server's JSON with the columns of its table; `reads` gives it the options.
"""

import csv
import functools
import inspect
import io
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import typer

from agentspan.errors import BadInput

Json = dict[str, Any]

CELL_CHARS = 60


class Column(NamedTuple):
    """A column of a table: its title, where its value is in the JSON (dots lead inward), how it is shown there."""

    title: str
    path: str
    show: Callable[[Any], str] | None = None


@dataclass(frozen=True)
class Listed:
    """Many things. `id` is the path of what names one; `note` is for who looks on, not for a program; `code` is how the
    command ends."""

    rows: Sequence[Json]
    columns: Sequence[Column]
    id: str
    note: str = ""
    code: int = 0


@dataclass(frozen=True)
class Told:
    """One thing, in a line for each column."""

    body: Json
    columns: Sequence[Column]
    id: str
    note: str = ""
    code: int = 0


Shown = Listed | Told


@dataclass(frozen=True)
class Style:
    """What the options say of the output."""

    output: str = "table"
    fields: tuple[str, ...] = ()
    quiet: bool = False
    color: bool = False


def reads(command: Callable[..., Shown]) -> Callable[..., None]:
    """The command with the options of output; what it gives is printed."""
    signature = inspect.signature(command)

    @functools.wraps(command)
    def printed(
        output: str | None, fields: str | None, quiet: bool, no_color: bool, as_json: bool, **given: Any
    ) -> None:
        style = style_of("json" if as_json else output, fields, quiet=quiet, no_color=no_color)
        found = command(**given)
        show(found, style)
        if found.code:
            raise typer.Exit(found.code)

    del printed.__wrapped__
    parameters = [*signature.parameters.values(), *OPTIONS]
    printed.__signature__ = signature.replace(parameters=parameters, return_annotation=None)  # type: ignore[attr-defined]
    printed.__annotations__ = {each.name: each.annotation for each in parameters}
    return printed


def style_of(output: str | None, fields: str | None = None, *, quiet: bool = False, no_color: bool = False) -> Style:
    """The options, checked; without `output` what the environment or the profile says."""
    from agentspan.cli import profiles

    chosen = output or profiles.setting("output") or "table"
    if chosen not in FORMATS:
        raise BadInput(f"--output is one of {', '.join(FORMATS)}, not {chosen!r}")
    color = sys.stdout.isatty() and not no_color and not os.environ.get("NO_COLOR")
    return Style(chosen, tuple(part for part in (fields or "").split(",") if part), quiet, color)


def show(found: Shown, style: Style) -> None:
    """Print it; what is not data goes to the standard error."""
    if style.fields:
        _check_fields(found, style.fields)
    for line in FORMATS[style.output](found, style):
        print(line)
    note = found.note or ("" if isinstance(found, Told) or found.rows else "nothing found")
    if note and not style.quiet and style.output == "table":
        print(note, file=sys.stderr)


# Formats


def table(found: Shown, style: Style) -> Iterator[str]:
    """Columns as wide as their widest cell, or a line for each field of one thing."""
    columns = _columns(found, style)
    if isinstance(found, Told):
        wide = max((len(each.title) for each in columns), default=0)
        for each in columns:
            if (cell := _cell(found.body, each, limit=None)) or style.fields:
                yield f"{each.title.capitalize():<{wide}}  {_painted(cell, style)}"
        return
    rows = [[_cell(row, each) for each in columns] for row in found.rows]
    if rows and not style.quiet:
        rows.insert(0, [each.title for each in columns])
    wides = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    for row in rows:
        last = len(row) - 1
        cells = [_painted(cell, style) + " " * (wides[at] - len(cell)) * (at < last) for at, cell in enumerate(row)]
        yield "  ".join(cells).rstrip()


def as_json(found: Shown, style: Style) -> Iterator[str]:
    """A list of objects, or one object."""
    yield json.dumps(_data(found, style), indent=2, ensure_ascii=False)


def as_jsonl(found: Shown, style: Style) -> Iterator[str]:
    """An object in each line."""
    for row in _rows(found, style):
        yield json.dumps(row, ensure_ascii=False)


def as_yaml(found: Shown, style: Style) -> Iterator[str]:
    """YAML; a text that could be read as anything else is quoted."""
    yield from _yaml(_data(found, style), "")


def as_csv(found: Shown, style: Style) -> Iterator[str]:
    """The table's columns by the names that they have in the JSON, with the values that they have there."""
    columns = _columns(found, style)
    if not style.quiet:
        yield _csv_line([each.path for each in columns])
    for row in found.rows if isinstance(found, Listed) else [found.body]:
        yield _csv_line([_plain(value_at(row, each.path)) for each in columns])


def as_ids(found: Shown, style: Style) -> Iterator[str]:
    """The name or id of each, for another command."""
    for row in found.rows if isinstance(found, Listed) else [found.body]:
        yield str(value_at(row, found.id))


# Values


def value_at(row: Any, path: str) -> Any:
    """What is at a path; None where there is nothing."""
    for part in path.split("."):
        row = row.get(part) if isinstance(row, dict) else None
    return row


def moment(ms: Any) -> str:
    """A time in ms since the epoch, on the clock of whoever looks."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(ms / 1000)) if ms else ""


def span(ms: Any) -> str:
    """A length of time as one number with its unit."""
    if ms is None:
        return ""
    seconds = max(0, ms) / 1000
    size, unit = next((size, unit) for size, unit in UNITS if seconds >= size or size == 1)
    return f"{int(seconds // size)} {unit}" if seconds >= 10 or size > 1 else f"{seconds:.1f} {unit}"


def dollars(cost: Any) -> str:
    """A cost in US dollars."""
    return "" if cost is None else f"${cost:.4f}"


def _cell(row: Json, column: Column, limit: int | None = CELL_CHARS) -> str:
    value = value_at(row, column.path)
    text = column.show(value) if column.show else _plain(value)
    text = " ".join(text.split()) if limit else text
    return text if limit is None or len(text) <= limit else f"{text[: limit - 1]}…"


def _plain(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list) and all(isinstance(each, str | int) for each in value):
        return ", ".join(map(str, value))
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def _painted(cell: str, style: Style) -> str:
    color = COLORS.get(cell) if style.color else None
    return f"\x1b[{color}m{cell}\x1b[0m" if color else cell


def _columns(found: Shown, style: Style) -> Sequence[Column]:
    if not style.fields:
        return found.columns
    known = {each.path: each for each in found.columns}
    return [known.get(path) or Column(path.upper(), path) for path in style.fields]


def _check_fields(found: Shown, fields: tuple[str, ...]) -> None:
    """BadInput for a field that nothing has."""
    rows = found.rows if isinstance(found, Listed) else [found.body]
    known = {each.path for each in found.columns} | {key for row in rows for key in row}
    for path in fields:
        if path not in known and rows and all(value_at(row, path) is None for row in rows):
            raise BadInput(f"--fields: there is no {path!r}; there are {', '.join(sorted(known))}")


def _rows(found: Shown, style: Style) -> Iterator[Json]:
    for row in found.rows if isinstance(found, Listed) else [found.body]:
        yield {path: value_at(row, path) for path in style.fields} if style.fields else row


def _data(found: Shown, style: Style) -> Any:
    rows = list(_rows(found, style))
    return rows if isinstance(found, Listed) else rows[0]


def _csv_line(cells: list[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)  # so that either is quoted in a cell
    return text.getvalue().removesuffix("\r\n")


def _yaml(value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for key, each in value.items():
            yield from _yaml_entry(f"{indent}{_scalar(str(key))}:", each, f"{indent}  ")
    elif isinstance(value, list) and value:
        for each in value:
            if isinstance(each, dict | list) and each:
                first, *rest = _yaml(each, f"{indent}  ")
                yield f"{indent}- {first.lstrip()}"
                yield from rest
            else:
                yield f"{indent}- {_scalar(each)}"
    else:
        yield f"{indent}{_scalar(value)}"


def _yaml_entry(head: str, value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, dict | list) and value:
        yield head
        yield from _yaml(value, indent)
    else:
        yield f"{head} {_scalar(value)}"


def _scalar(value: Any) -> str:
    """A JSON scalar is a YAML one; plain words need no quotes, and no line or control character stands as it is."""
    if isinstance(value, str) and PLAIN.fullmatch(value) and value.lower() not in RESERVED:
        return value
    text = json.dumps(value, ensure_ascii=False)
    if isinstance(value, float) and "." not in text:
        text = text.replace("e", ".0e")
    return HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


FORMATS: dict[str, Callable[[Shown, Style], Iterator[str]]] = {
    "table": table,
    "json": as_json,
    "jsonl": as_jsonl,
    "yaml": as_yaml,
    "csv": as_csv,
    "id": as_ids,
}

OPTIONS = [
    inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
    for name, kind, default in (
        (
            "output",
            str | None,
            typer.Option(None, "--output", "-o", help=f"{', '.join(FORMATS)}.", autocompletion=lambda: list(FORMATS)),
        ),
        ("fields", str | None, typer.Option(None, "--fields", help="Only these fields, such as a,b.c.")),
        ("quiet", bool, typer.Option(False, "--quiet", "-q", help="No titles and no notes.")),
        ("no_color", bool, typer.Option(False, "--no-color", help="No colours; so does NO_COLOR.")),
        ("as_json", bool, typer.Option(False, "--json", help="As --output json.")),
    )
]

UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
COLORS = {
    "RUNNING": "34", "PAUSED": "33", "COMPLETED": "32", "FAILED": "31", "TIMED_OUT": "31", "TERMINATED": "35",
    "open": "33", "answered": "32", "refused": "31",
}  # fmt: skip
PLAIN = re.compile(r"[A-Za-z_/][\w./-]*", re.ASCII)
RESERVED = {"y", "n", "yes", "no", "true", "false", "on", "off", "null"}
# What YAML takes for the end of a line, or not at all.
HIDDEN = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
