"""Run the notebooks and store them with their outputs: `python -m notebooks.store [NAME...]`, from the root folder.

Stored is what a reader needs and a comparison can compare: no times, no messages of the machine, no other metadata.
"""

import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from notebooks.surroundings import apart

FOLDER = Path(__file__).parent
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def main(*names: str) -> None:
    for path in sorted(FOLDER.glob("*.ipynb")):
        if not names or path.stem in names or path.name in names:
            print(path.name)
            store(path)


def store(path: Path) -> None:
    """Run a notebook and write it back."""
    notebook = nbformat.read(path, as_version=4)
    with apart():
        NotebookClient(notebook, resources={"metadata": {"path": str(FOLDER)}}).execute()
    nbformat.write(cleaned(notebook), path)


def cleaned(notebook: Any) -> Any:
    """The notebook without what differs from machine to machine."""
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for number, cell in enumerate(notebook.cells, 1):
        cell.id = f"cell-{number}"
        cell.metadata = nbformat.from_dict({})
        if cell.cell_type == "code":
            cell.outputs = [each for each in cell.outputs if each.get("name") != "stderr"]
    return notebook


if __name__ == "__main__":
    main(*sys.argv[1:])
