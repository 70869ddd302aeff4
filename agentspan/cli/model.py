"""`agentspan model`: the weights of local models."""

import typer

from agentspan.cli.extras import needs
from agentspan.config import Settings

app = typer.Typer(help="Local models.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Local models."""


@app.command()
def pull(
    name: str = typer.Argument(help="Name of the model, such as smollm2."),
    data_dir: str | None = typer.Option(None, "--data-dir", help="Folder whose models/ holds the weights."),
) -> None:
    """Fetch the weights of a local model and check them."""
    settings = Settings.load(options={"--data-dir": data_dir})
    with needs("server"):
        from agentspan.server import maintenance
    print(maintenance.pull(name.removeprefix("local/"), settings))
