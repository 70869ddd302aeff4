"""Run the notebooks and store them with their outputs: `python -m notebooks.store [NAME...]`, from the root folder.

Stored is what a reader needs and a comparison can compare: no times, no messages of the machine, no other metadata than
the tag of a cell with parameters. The server's address becomes that of a server on its usual port.
"""

import re
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from notebooks.surroundings import apart

FOLDER = Path(__file__).parent
OWN = re.compile(r"\b(127\.0\.0\.1|localhost):\d+")
USUAL = "localhost:6767"
FOLDERS = re.compile(r"/[^\s\"<>]*/notebooks-\w+/data")
PARAMETERS = {"tags": ["parameters"]}
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
        cell.metadata = nbformat.from_dict(PARAMETERS if "parameters" in cell.metadata.get("tags", ()) else {})
        if cell.cell_type == "code":
            cell.outputs = [usual(each) for each in cell.outputs if each.get("name") != "stderr"]
    return notebook


def usual(value: Any) -> Any:
    """An output with the usual address and a short folder in place of those of the server that it came from."""
    if isinstance(value, str):
        return FOLDERS.sub("data", OWN.sub(USUAL, value))
    if isinstance(value, dict):
        return type(value)({key: usual(each) for key, each in value.items()})
    return [usual(each) for each in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main(*sys.argv[1:])
