"""`python -m agentspan.cli.discover (--package P | --path DIR) [--agents a,b]`: which agents are there, as JSON."""

import json
from pathlib import Path

import typer

from agentspan.cli import agent, given
from agentspan.cli.failing import told_in_a_sentence


def discover(
    package: str | None = typer.Option(None, "--package", help="All agents of this package."),
    path: str | None = typer.Option(None, "--path", help="All agents of the Python files below this folder."),
    agents: str | None = typer.Option(None, "--agents", help="Only those with these names, between commas."),
) -> None:
    """Print the agents that a package or a folder defines, as JSON. Their modules are imported."""
    wanted = given.words_of(agents)
    found = agent.discovered([package] if package else [], Path(path) if path else None)
    rows = [{"name": each.name, "framework": "native"} for each in found if wanted is None or each.name in wanted]
    print(json.dumps(rows, indent=2))


if __name__ == "__main__":
    with told_in_a_sentence():
        typer.run(discover)
