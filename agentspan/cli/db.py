"""`agentspan db`: the database's schema."""

import typer

from agentspan.cli.extras import needs
from agentspan.config import Settings

app = typer.Typer(help="The database.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """The database."""


@app.command()
def upgrade(
    database: str | None = typer.Option(None, help="sqlite:////FILE or postgresql://USER@HOST/DATABASE"),
    data_dir: str | None = typer.Option(None, "--data-dir", help="Folder of the database."),
) -> None:
    """Bring the database to this version's schema; an SQLite file that holds data is copied first."""
    settings = Settings.load(options={"--database": database, "--data-dir": data_dir})
    with needs("server"):
        from agentspan.server import maintenance
    copy = maintenance.upgrade(settings)
    print("the schema is that of this version" + (f"; the file as it was is {copy}" if copy else ""))
