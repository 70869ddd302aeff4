"""Notebooks run by papermill, with parameters: nobody looks on, each run is one output."""

from pathlib import Path
from typing import Any

import papermill

from notebooks.surroundings import apart

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def executed(name: str, folder: Path, **parameters: Any) -> Any:
    with apart():
        return papermill.execute_notebook(
            NOTEBOOKS / f"{name}.ipynb", folder / "done.ipynb", parameters, progress_bar=False, cwd=folder
        )


def outputs(notebook: Any, piece: str) -> list[Any]:
    """What the cell with this piece of code shows; that a server was started is only printed."""
    cell = next(cell for cell in notebook.cells if piece in cell.source)
    return [each for each in cell.outputs if each.output_type != "stream"]


def test_a_live_run_is_shown_once_and_for_the_given_city(tmp_path: Path) -> None:
    notebook = executed("11_live_run", tmp_path, city="Bergen")
    [shown] = outputs(notebook, "result = runtime.run(")
    assert "## A day in Bergen" in shown.data["text/plain"]
    assert "A day in Bergen" in shown.data["text/html"]


def test_a_map_keeps_to_the_given_budget(tmp_path: Path) -> None:
    notebook = executed("15_agent_map", tmp_path, budget=0.006, width=1)
    progress, table = outputs(notebook, "rated = agent_map(")
    assert "1 not started" in progress.data["text/plain"]
    assert "NOT_RUN" in table.data["text/plain"]
