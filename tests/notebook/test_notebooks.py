"""The notebooks are stored clean: run from top to bottom, with their outputs, and nothing of the machine in them."""

import ast
import re
from itertools import groupby
from pathlib import Path
from typing import Any

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
OF_A_MACHINE = re.compile(r"(?<![\w.])/\w+/\w|[A-Z]:\\|\b127\.0\.0\.1|\blocalhost\b(?!:6767)|0x[0-9a-f]{6,}")
"""A path, an address of this machine, or of an object in its memory."""


def test_the_tutorial_is_complete() -> None:
    assert [each.stem for each in NOTEBOOKS] == [
        "01_first_agent",
        "02_crash_and_resume",
        "03_strategies",
        "04_guardrails",
        "05_approvals",
        "06_structured_output",
        "07_budgets",
        "08_sessions_and_memory",
        "09_testing",
        "10_fork_and_compare",
        "11_live_run",
        "12_approval_in_the_cell",
        "13_restart_and_reattach",
        "14_time_travel",
        "15_agent_map",
        "16_dashboard_in_the_cell",
        "17_a_teams_server",
        "18_backup_and_move",
    ]


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request: pytest.FixtureRequest) -> Any:
    return nbformat.read(request.param, as_version=nbformat.NO_CONVERT)


def test_a_notebook_is_valid_and_has_no_metadata_of_an_editor(notebook: Any) -> None:
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.metadata) == (4, METADATA)
    assert all(each.metadata in ({}, {"tags": ["parameters"]}) for each in notebook.cells)
    assert [each.id for each in notebook.cells] == [f"cell-{number}" for number, _ in enumerate(notebook.cells, 1)]


def test_a_notebook_begins_with_its_title_and_tells_what_it_does(notebook: Any) -> None:
    first, *_ = notebook.cells
    assert first.cell_type == "markdown"
    assert first.source.startswith("# ")
    runs = [len(list(cells)) for kind, cells in groupby(cell.cell_type for cell in notebook.cells) if kind == "code"]
    assert max(runs) <= 3, "more than three code cells without a word between them"


def test_a_notebook_was_run_once_from_top_to_bottom(notebook: Any) -> None:
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))


def test_a_cell_that_shows_something_is_stored_with_it(notebook: Any) -> None:
    for cell in code_cells(notebook):
        assert bool(cell.outputs) == shows(cell.source) or runs(cell.source), cell.source


def test_outputs_are_text_and_neither_errors_nor_messages(notebook: Any) -> None:
    for output in outputs(notebook):
        assert output.output_type in ("stream", "execute_result", "display_data")
        assert output.get("name", "stdout") == "stdout"
        assert "data" not in output or "text/plain" in output.data
        assert output.get("metadata", {}) == {}


def test_outputs_have_nothing_of_the_machine_in_them(notebook: Any) -> None:
    for output in outputs(notebook):
        for text in [output.get("text", ""), *map(str, output.get("data", {}).values())]:
            assert not OF_A_MACHINE.search(text), text


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook: Any) -> list[Any]:
    return [output for cell in code_cells(notebook) for output in cell.outputs]


def shows(source: str) -> bool:
    """Does a cell print, write a file (which says so), or end with a value?"""
    if source.startswith("%%writefile"):
        return True
    tree = compile(source, "cell", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    last = tree.body[-1]  # type: ignore[attr-defined]
    calls = {ast.unparse(each.func).rpartition(".")[2] for each in ast.walk(tree) if isinstance(each, ast.Call)}
    if calls & {"print", "print_result"}:
        return True
    return isinstance(last, ast.Expr) and not (isinstance(last.value, ast.Call) and called(last.value) in SILENT)


def runs(source: str) -> bool:
    """Does a cell wait for a run? Whether that is shown is the display's choice."""
    if source.startswith("%%writefile"):
        return False
    tree = compile(source, "cell", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    return any(called(each) in RUNNING for each in ast.walk(tree) if isinstance(each, ast.Call))


def called(call: ast.Call) -> str:
    return ast.unparse(call.func).rpartition(".")[2]


RUNNING = {"run", "run_async", "join", "join_async", "agent_map", "cards", "cell"}
SILENT = {"shutdown", "wait_until"}
"""Functions of the notebooks that give None."""
