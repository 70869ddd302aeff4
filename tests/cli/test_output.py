"""Whatever is printed as YAML, JSON or CSV is read back as it was."""

import csv
import io
import json

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agentspan.cli.output import Column, Listed, Style, Told, as_csv, as_yaml, span, style_of, table

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=40, deadline=None)
@given(JSON)
@example([1e-5, 1e16, 1.5e300, -0.0])
@example({"a": [], "b": {}, "c": [[1], {"x": [{"y": ""}]}], "on": "off", "1": "1e3", "~": "2026-01-01"})
@example("line\nbreak: \u2028 \x85 \x7f # - ' \" {} \ufeff \U0001f600")
def test_yaml_is_what_it_was(value):
    text = "\n".join(as_yaml(Told({"value": value}, (), "value"), Style()))
    [(key, found)] = yaml.load(text, yaml.SafeLoader).items()
    assert key == "value"
    assert found == value or json.dumps(found) == json.dumps(value)


@settings(max_examples=40, deadline=None)
@given(st.lists(TEXT.filter(lambda text: "\0" not in text), min_size=1, max_size=5))
def test_csv_is_what_it_was(texts):
    rows = [{"a": {"b": text}} for text in texts]
    lines = "\n".join(as_csv(Listed(rows, (Column("B", "a.b"),), "a.b"), Style()))
    found = list(csv.reader(io.StringIO(lines + "\n", newline="")))
    assert found[0] == ["a.b"]
    assert [row[0] if row else "" for row in found[1:]] == texts


def test_columns_stand_below_each_other_and_long_cells_are_cut():
    rows = [{"name": "a", "about": "x" * 200}, {"name": "longer", "about": "two\nlines"}]
    lines = list(table(Listed(rows, (Column("NAME", "name"), Column("ABOUT", "about")), "name"), Style()))
    assert [line.index(line.split()[1]) for line in lines] == [8, 8, 8]
    assert lines[1].endswith("x…")
    assert lines[2] == "longer  two lines"


def test_colours_are_for_eyes_alone():
    found = Listed([{"status": "FAILED"}], (Column("STATUS", "status"),), "status")
    assert list(table(found, Style())) == ["STATUS", "FAILED"]
    assert list(table(found, Style(color=True)))[1] == "\x1b[31mFAILED\x1b[0m"


def test_nobody_is_shown_colours_against_their_will(monkeypatch):
    monkeypatch.setattr("sys.stdout", terminal := io.StringIO())
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert style_of("table").color
    assert not style_of("table", no_color=True).color
    monkeypatch.setenv("NO_COLOR", "1")
    assert not style_of("table").color


def test_a_length_of_time_is_one_number():
    assert [span(ms) for ms in (None, 0, 1500, 61_000, 7_300_000, 200_000_000)] == [
        "", "0.0 s", "1.5 s", "1 min", "2 h", "2 d",
    ]  # fmt: skip
