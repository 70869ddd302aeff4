"""`agentspan credentials`: store, list, delete, let names stand for others, change the key. No value is an argument."""

from pathlib import Path

import typer

from agentspan.cli import completion, given
from agentspan.cli.output import Column, Listed, Told, reads
from agentspan.cli.session import ask, note

app = typer.Typer(help="The secrets of tools, kept by the server.", no_args_is_help=True)

Name = typer.Argument(help="Name of the credential, such as GITHUB_TOKEN.", autocompletion=completion.credential_names)


@app.command("set")
def store(
    name: str = Name,
    from_file: Path | None = given.FromFile,
    from_env: str | None = given.FromEnv,
    stdin: bool = given.FromStdin,
) -> None:
    """Store a credential, or replace it: a value that is typed in, or read from standard input."""
    value = given.secret_of(name, from_file, from_env, stdin)
    ask(lambda client: client.save_credential(name, value))
    print(f"stored {name}")


@app.command("list")
@reads
def names() -> Listed:
    """List the credentials by name; their values are never shown."""
    return Listed(ask(lambda client: client.credentials()), COLUMNS, "name")


@app.command()
def delete(name: str = Name) -> None:
    """Delete a credential."""
    ask(lambda client: client.delete_credential(name))
    print(f"deleted {name}")


@app.command()
def bind(
    name: str = typer.Argument(help="The name that tools declare."),
    stored: str = typer.Argument(
        help="The name of the stored credential that it stands for.", autocompletion=completion.credential_names
    ),
) -> None:
    """Let a name stand for a stored credential."""
    ask(lambda client: client.bind_credential(name, stored))
    print(f"{name} stands for {stored}")


@app.command()
def unbind(name: str = typer.Argument(help="The name that tools declare.")) -> None:
    """Let a name stand for itself again."""
    ask(lambda client: client.unbind_credential(name))
    print(f"{name} stands for itself")


@app.command()
@reads
def bindings() -> Listed:
    """List the names that stand for stored credentials of other names."""
    return Listed(ask(lambda client: client.bindings()), BINDING_COLUMNS, "logical_key")


@app.command()
@reads
def rotate() -> Told:
    """Seal all credentials, and the secrets of webhooks, under the server's present master key; exit code 1 if there
    are some that none of its keys opens. It does no harm to begin it again."""
    resealed, done = 0, ask(lambda client: client.rotate_credentials())
    while done["resealed"]:
        resealed += done["resealed"]
        note(f"sealed {resealed} anew, {done['left']} left")
        done = ask(lambda client: client.rotate_credentials())
    left = f"no master key of the server opens {', '.join(done['names'])}" if done["left"] else ""
    return Told({**done, "resealed": resealed}, ROTATION, "keyId", left, int(done["left"] > 0))


COLUMNS = (Column("NAME", "name"), Column("VALUE", "partial"), Column("CHANGED", "updated_at"))
BINDING_COLUMNS = (Column("NAME", "logical_key"), Column("STANDS FOR", "store_name"))
ROTATION = (Column("KEY", "keyId"), Column("SEALED ANEW", "resealed"), Column("LEFT", "left"))

app.command("ls", hidden=True)(names)
