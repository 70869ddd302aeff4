"""`agentspan config`: named profiles of which server and as whom, and where each value comes from."""

from pathlib import Path

import typer

from agentspan.cli import completion, given, ids, profiles
from agentspan.cli.output import Column, Listed, reads
from agentspan.errors import BadInput, NotFound

app = typer.Typer(help="Which server, as whom: named profiles.", no_args_is_help=True)

Key = typer.Argument(help="A setting, such as server_url or api_key.", autocompletion=completion.settings)
Profile = typer.Argument(help="A profile.", autocompletion=completion.profile_names)


@app.command("set")
def store(
    key: str = Key,
    value: str | None = typer.Argument(None, help="Its value; not for secrets."),
    from_env: str | None = given.FromEnv,
    from_file: Path | None = given.FromFile,
    stdin: bool = given.FromStdin,
) -> None:
    """Set a setting of the profile in use, or of --profile. A secret is typed in, or read from where nobody sees it."""
    name = profiles.key_named(key)
    if value is not None and profiles.KEYS[name].secret:
        raise BadInput(f"{name} is a secret and no argument, which everybody can read: type it, or say --from-env ...")
    text = value if value is not None else given.secret_of(name, from_file, from_env, stdin)
    profiles.keep(profiles.profile(), name, profiles.checked(name, text.strip()))
    print(f"{name} of the profile {profiles.profile()} is {profiles.shown(name, text)}")


@app.command("get")
def get(key: str = Key) -> None:
    """Print the value that is used now; a secret is not shown."""
    name = profiles.key_named(key)
    value = profiles.values().get(name)
    if value is None:
        raise NotFound(f"{name} is not set")
    print(profiles.shown(name, value.text))


@app.command("unset")
def unset(key: str = Key) -> None:
    """Take a setting out of the profile in use, or of --profile."""
    name = profiles.key_named(key)
    profiles.keep(profiles.profile(), name, None)
    print(f"{name} of the profile {profiles.profile()} is not set")


@app.command("list")
@reads
def listed() -> Listed:
    """List what the profiles say."""
    found = profiles.read()
    used = profiles.profile()
    rows = [
        {"profile": name, "used": name == used, "setting": key, "value": profiles.shown(key, text)}
        for name, stored in sorted(found.named.items())
        for key, text in stored.items()
        if key in profiles.KEYS
    ]
    return Listed(rows, LIST_COLUMNS, "profile", f"profiles are in {profiles.path()}")


@app.command("explain")
@reads
def explain() -> Listed:
    """List every setting with the value that is used, and where that comes from."""
    found = profiles.values()
    rows = [
        {
            "setting": name,
            "value": profiles.shown(name, found[name].text) if name in found else None,
            "source": found[name].source if name in found else "not set",
            "variable": key.variable,
            "about": key.about,
        }
        for name, key in profiles.KEYS.items()
    ]
    return Listed(rows, EXPLAIN_COLUMNS, "setting", f"profile {profiles.profile()} of {profiles.path()}")


@app.command("use")
def use(profile: str = Profile) -> None:
    """Use this profile from now on, where none is named."""
    found = profiles.read()
    if profile not in found.named and profile != profiles.DEFAULT:
        raise NotFound(f"there is no profile {profile!r}; there are {', '.join(sorted(found.named)) or 'none'}")
    profiles.write(found._replace(current=profile))
    print(f"using the profile {profile}")


@app.command("delete")
def delete(profile: str = Profile, yes: bool = ids.Yes) -> None:
    """Remove a profile and what it holds."""
    found = profiles.read()
    if profile not in found.named:
        raise NotFound(f"there is no profile {profile!r}; there are {', '.join(sorted(found.named)) or 'none'}")
    given.sure(f"Remove the profile {profile}?", yes)
    left = {name: stored for name, stored in found.named.items() if name != profile}
    profiles.write(profiles.Profiles(profiles.DEFAULT if found.current == profile else found.current, left))
    print(f"deleted the profile {profile}")


@app.command("path")
def path() -> None:
    """Print where the profiles are."""
    print(profiles.path())


LIST_COLUMNS = (
    Column("PROFILE", "profile"),
    Column("USED", "used"),
    Column("SETTING", "setting"),
    Column("VALUE", "value"),
)
EXPLAIN_COLUMNS = (
    Column("SETTING", "setting"),
    Column("VALUE", "value"),
    Column("SOURCE", "source"),
    Column("VARIABLE", "variable"),
)
