"""Two values beside each other, and an agent's definition as HTML."""

from typing import Any

from agentspan.dashboard.beside import beside
from agentspan.dashboard.definition import definition


def marks(before: Any, after: Any) -> list[str]:
    return [each["mark"] for each in beside(before, after)]


def test_a_long_text_is_compared_line_by_line_and_word_by_word() -> None:
    before = "\n".join(["Rules:", "Be brief.", *(f"Rule {n}" for n in range(10)), "No jokes."])
    after = before.replace("Be brief.", "Be brief and kind.").replace("No jokes.", "No jokes.\nEnd.")
    rows = beside(before, after)
    assert [each["mark"] for each in rows] == ["same", "changed", *["same"] * 3, "skip", *["same"] * 3, "new"]
    assert rows[1]["right"] == [["Be brief", False], [" and kind", True], [".", False]]
    assert rows[5] == {"mark": "skip", "count": 5}


def test_what_is_not_there_has_no_lines() -> None:
    assert marks(None, {"name": "ship"}) == ["new"] * 3
    assert marks({"name": "ship"}, None) == ["gone"] * 3
    assert marks("same", "same") == ["skip"]


def test_values_that_are_too_long_went_and_came_as_a_whole() -> None:
    assert set(marks("a\n" * 3000, "b\n" * 3000)) == {"gone", "new"}
    assert beside("word " * 500, "other " * 500)[0]["left"] == [["word " * 500, True]]


def test_a_definition_shows_each_part_and_no_markup_of_its_texts() -> None:
    config = {
        "name": "desk",
        "strategy": "sequential",
        "agents": [{"name": "writer", "model": "m", "instructions": "<script>alert(1)</script>"}],
        "tools": [{"name": "ship", "description": "Send.", "inputSchema": {"properties": {"order": {}}}}],
        "guardrails": [{"name": "no_cards", "guardrailType": "regex", "patterns": [r"\d{16}"]}],
        "budget": {"cost": 2},
        "maxTurns": 25,
        "somethingNew": {"a": 1},
    }
    html = str(definition(config))
    for said in ("writer", "ship(", "no_cards", "$2", "somethingNew", "&lt;script&gt;", "<svg"):
        assert said in html
    assert "<script>" not in html
    assert "Turns at most" not in html  # as usual
