"""`python -m agentspan.cli.deploy (--package P | --path DIR) [--agents a,b]`: deploy agents, and print what became of
each as JSON: `agent_name`, `registered_name`, `success`, `error`."""

import json
import sys
from pathlib import Path
from typing import Any

import typer

from agentspan.cli import agent, given
from agentspan.cli.failing import told_in_a_sentence

Json = dict[str, Any]


def deploy(
    package: str | None = typer.Option(None, "--package", help="All agents of this package."),
    path: str | None = typer.Option(None, "--path", help="All agents of the Python files below this folder."),
    agents: str | None = typer.Option(None, "--agents", help="Only those with these names, between commas."),
) -> None:
    """Deploy agents and print what became of each, as JSON; exit code 1 if one could not be deployed."""
    wanted = given.words_of(agents)
    found = agent.discovered([package] if package else [], Path(path) if path else None)
    rows = [agent.deployed(each.name, each) for each in found if wanted is None or each.name in wanted]
    print(json.dumps([{key: row[key] for key in KEYS} for row in rows], indent=2))
    sys.exit(int(not all(row["success"] for row in rows)))


KEYS = ("agent_name", "registered_name", "success", "error")

if __name__ == "__main__":
    with told_in_a_sentence():
        typer.run(deploy)
