"""`agentspan users`, `keys`, `tenants`, `audit`, `shares`, `login`, `logout`, `whoami`: who may do what, and who did.

Passwords and keys are never arguments; a new key is printed once, alone, so that it can be piped into a vault.
"""

import os
import sys
from pathlib import Path
from typing import Any

import typer

from agentspan.cli import given, ids, profiles
from agentspan.cli.output import Column, Listed, Told, moment, reads
from agentspan.cli.session import ask, client, note, place
from agentspan.errors import BadInput

Json = dict[str, Any]

users = typer.Typer(help="The people of a tenant, and their roles.", no_args_is_help=True)
keys = typer.Typer(help="API keys of programs.", no_args_is_help=True)
tenants = typer.Typer(help="The tenants of this installation.", no_args_is_help=True)
shares = typer.Typer(help="Read-only links to runs.", no_args_is_help=True)

Person = typer.Argument(help="The user's name.")
Role = typer.Option(None, "--role", help="admin, developer, operator or viewer.")
InTenant = typer.Option(None, "--tenant", help="In this tenant; for the installation's own admin.")
PasswordEnv = typer.Option(None, "--password-from-env", help="Take the password from an environment variable.")
PasswordFile = typer.Option(None, "--password-from-file", help="Take the password from a file.")
PasswordStdin = typer.Option(False, "--password-stdin", help="Take the password from the standard input.")
Expires = typer.Option(None, "--expires", help="After so long, such as 12h or 90d.")
Quota = typer.Option([], "--quota", help="A limit such as startsPerMinute=60; null takes it away. Can be repeated.")


# Oneself


def login(
    username: str = typer.Option(..., "--user", "-u", prompt="User", help="The user's name."),
    from_env: str | None = PasswordEnv,
    from_file: Path | None = PasswordFile,
    stdin: bool = PasswordStdin,
) -> None:
    """Log in as a user; the token is kept in the profile in use, for this user's eyes alone."""
    at = place()
    password = given.secret_of("the password", from_file, from_env, stdin)

    answer = ask(lambda asked: asked.login(username, password), client(at._replace(credentials={})))
    name = profiles.profile()
    if not at.is_local:
        profiles.keep(name, "server_url", at.url)
    profiles.keep(name, "token", answer["token"])
    user = answer.get("user") or {}
    print(f"logged in to {at.url} as {user.get('username') or username} ({user.get('role')})")
    if first := [each for each in profiles.VARIABLES if each in os.environ and each != "AGENTSPAN_USER"]:
        note(f"but {first[0]} is set, and the environment comes before the profile")


def logout() -> None:
    """Forget the token of the profile in use."""
    profiles.keep(profiles.profile(), "token", None)
    print(f"the profile {profiles.profile()} holds no token")


@reads
def whoami() -> Told:
    """Say as whom the server sees this command, and what that may do."""
    return Told(ask(lambda client: client.me()), ME_LINES, "name")


def password(
    from_env: str | None = PasswordEnv, from_file: Path | None = PasswordFile, stdin: bool = PasswordStdin
) -> None:
    """Change one's own password. Not at a terminal: the old one and the new one, in a line each."""
    if from_env is None and from_file is None and not stdin and sys.stdin.isatty():
        old = given.secret_of("the old password", None, None)
        new = given.secret_of("the new one", None, None, twice=True)
    else:
        old, _, new = given.secret_of("the passwords", from_file, from_env, stdin).partition("\n")
    ask(lambda client: client.change_password(old, new.rstrip("\n")))
    print("changed the password")


# Users


@users.command("ls")
@reads
def list_users() -> Listed:
    """List the users."""
    return Listed(ask(lambda client: client.users()), USER_COLUMNS, "name")


@users.command("show")
@reads
def show_user(name: str = Person) -> Told:
    """Show a user."""
    return Told(ask(lambda client: client.user(name)), USER_COLUMNS, "name")


@users.command("create")
def create_user(
    name: str = Person,
    role: str = typer.Option("viewer", "--role", help="admin, developer, operator or viewer."),
    title: str | None = typer.Option(None, "--display-name", help="What the person is called."),
    email: str | None = typer.Option(None, "--email", help="By which an identity provider knows the person."),
    tenant: str | None = InTenant,
    no_password: bool = typer.Option(False, "--no-password", help="Only an identity provider lets the person in."),
    from_env: str | None = PasswordEnv,
    from_file: Path | None = PasswordFile,
    stdin: bool = PasswordStdin,
) -> None:
    """Make a user, whose password is typed in or read from where nobody sees it."""
    word = None if no_password else given.secret_of("the password", from_file, from_env, stdin, twice=True)
    body = _given(name=name, role=role, displayName=title, email=email, tenant=tenant, password=word)
    ask(lambda client: client.create_user(body))
    print(f"created {name} ({role})")


@users.command("update")
def update_user(
    name: str = Person,
    role: str | None = Role,
    disabled: bool | None = typer.Option(None, "--disable/--enable", help="Let the person in, or not."),
    title: str | None = typer.Option(None, "--display-name", help="What the person is called."),
    email: str | None = typer.Option(None, "--email", help="By which an identity provider knows the person."),
    new_password: bool = typer.Option(False, "--password", help="Set a new password, too."),
    from_env: str | None = PasswordEnv,
    from_file: Path | None = PasswordFile,
    stdin: bool = PasswordStdin,
) -> None:
    """Change a user."""
    asked = new_password or stdin or from_env is not None or from_file is not None
    word = given.secret_of("the password", from_file, from_env, stdin, twice=True) if asked else None
    body = _given(role=role, disabled=disabled, displayName=title, email=email, password=word)
    if not body:
        raise BadInput("say what is to change: --role, --disable, --enable, --display-name, --email or --password")
    ask(lambda client: client.update_user(name, body))
    print(f"updated {name}")


@users.command("delete")
def delete_user(name: str = Person, yes: bool = ids.Yes) -> None:
    """Remove a user, with their sessions."""
    given.sure(f"Remove the user {name}?", yes)
    ask(lambda client: client.delete_user(name))
    print(f"deleted {name}")


# Keys


@keys.command("ls")
@reads
def list_keys() -> Listed:
    """List the API keys; what they are is never shown."""
    return Listed(ask(lambda client: client.keys()), KEY_COLUMNS, "id")


@keys.command("create")
@reads
def create_key(
    name: str = typer.Argument(help="What it is for."),
    role: str | None = Role,
    scopes: str | None = typer.Option(None, "--scopes", help="Or only these rights, such as run,read."),
    expires: str | None = Expires,
    tenant: str | None = InTenant,
) -> Told:
    """Make an API key. It is shown this once: -o id prints it alone."""
    seconds = given.seconds_of(expires, "--expires")
    body = _given(
        name=name,
        role=role,
        scopes=given.words_of(scopes),
        expiresSeconds=None if seconds is None else int(seconds),
        tenant=tenant,
    )
    made = ask(lambda client: client.create_key(body))
    return Told(made, (*KEY_COLUMNS, Column("KEY", "key")), "key", note="the key is shown this once: keep it")


@keys.command("revoke")
def revoke_key(key_id: str = typer.Argument(help="The key's id."), yes: bool = ids.Yes) -> None:
    """Let a key open nothing any more."""
    given.sure(f"Revoke the key {key_id}?", yes)
    ask(lambda client: client.revoke_key(key_id))
    print(f"revoked {key_id}")


# Tenants


@tenants.command("ls")
@reads
def list_tenants() -> Listed:
    """List the tenants."""
    return Listed(ask(lambda client: client.tenants()), TENANT_COLUMNS, "name")


@tenants.command("show")
@reads
def show_tenant(name: str = typer.Argument(help="The tenant.")) -> Told:
    """Show a tenant."""
    return Told(ask(lambda client: client.tenant(name)), TENANT_COLUMNS, "name")


@tenants.command("create")
def create_tenant(
    name: str = typer.Argument(help="Its name: lower case letters, digits and '_'."),
    title: str | None = typer.Option(None, "--title", help="What it is called."),
    quotas: list[str] = Quota,
    adopt: bool = typer.Option(False, "--adopt", help="Take over what a former tenant of that name has left."),
) -> None:
    """Make a tenant: a database of its own."""
    body = _given(name=name, title=title, quotas=_quotas(quotas), adopt=adopt or None)
    ask(lambda client: client.create_tenant(body))
    print(f"created {name}")


@tenants.command("update")
def update_tenant(
    name: str = typer.Argument(help="The tenant."),
    title: str | None = typer.Option(None, "--title", help="What it is called."),
    disabled: bool | None = typer.Option(None, "--disable/--enable", help="Let its people and keys in, or not."),
    quotas: list[str] = Quota,
) -> None:
    """Change a tenant, or its quotas."""
    body = _given(title=title, disabled=disabled, quotas=_quotas(quotas))
    if not body:
        raise BadInput("say what is to change: --title, --disable, --enable or --quota")
    ask(lambda client: client.update_tenant(name, body))
    print(f"updated {name}")


@tenants.command("delete")
def delete_tenant(name: str = typer.Argument(help="The tenant."), yes: bool = ids.Yes) -> None:
    """Remove a tenant and all that is its own."""
    given.sure(f"Remove the tenant {name} with all its agents, runs and secrets?", yes)
    ask(lambda client: client.delete_tenant(name))
    print(f"deleted {name}")


# What was done


@reads
def audit(
    action: str | None = typer.Option(None, "--action", help="Only this, such as key.created."),
    by: str | None = typer.Option(None, "--by", help="Only what this one did."),
    subject: str | None = typer.Option(None, "--subject", help="Only what was done to this."),
    since: str | None = ids.Since,
    until: str | None = typer.Option(None, "--until", help="Only before: as --since."),
    limit: int = typer.Option(100, "--limit", "-n", min=1, help="At most so many."),
    cursor: str = typer.Option("", "--cursor", help="Go on after a page: the cursor that it ended with."),
) -> Listed:
    """List decisions and changes, the newest first: who did what to what, and was it allowed."""
    begin, end = given.since_of(since), given.since_of(until, "--until")
    page = ask(
        lambda client: client.audit(
            action=action, by=by, subject=subject, since=begin, until=end, limit=limit, cursor=cursor
        )
    )
    more = page.get("nextCursor")
    return Listed(page.get("entries") or [], AUDIT_COLUMNS, "id", f"go on with --cursor {more}" if more else "")


@shares.command("ls")
@reads
def list_shares() -> Listed:
    """List the links."""
    return Listed(ask(lambda client: client.shares()), SHARE_COLUMNS, "id")


@shares.command("create")
@reads
def share(
    execution_id: str = ids.RunId,
    expires: str | None = Expires,
    remark: str | None = typer.Option(None, "--note", help="What it is for."),
) -> Told:
    """Make a link by which anybody who has it can read this run, and no other, until it expires or is revoked."""
    seconds = given.seconds_of(expires, "--expires")
    body = _given(expiresSeconds=None if seconds is None else int(seconds), note=remark)
    at = place()
    made = ask(lambda client: client.share(execution_id, body), client(at))
    return Told({**made, "url": f"{at.url}{made['path']}"}, SHARE_LINES, "url")


@shares.command("revoke")
def revoke_share(share_id: str = typer.Argument(help="The link's id.")) -> None:
    """Let a link open nothing any more."""
    ask(lambda client: client.revoke_share(share_id))
    print(f"revoked {share_id}")


# Parts


def _given(**body: Any) -> Json:
    """What was said."""
    return {name: value for name, value in body.items() if value is not None}


def _quotas(pairs: list[str]) -> Json | None:
    """Limits by name."""
    quotas: Json = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or name not in QUOTAS:
            raise BadInput(f"--quota is NAME=NUMBER, with one of {', '.join(QUOTAS)}; not {pair!r}")
        quotas[name] = given.value_of(text)
    return quotas or None


QUOTAS = ("runningExecutions", "startsPerMinute", "tokensPerDay", "dollarsPerDay")
ME_LINES = (
    Column("NAME", "name"),
    Column("KIND", "kind"),
    Column("TENANT", "tenant"),
    Column("ROLE", "role"),
    Column("SCOPES", "scopes"),
)
USER_COLUMNS = (
    Column("USER", "name"),
    Column("CALLED", "displayName"),
    Column("ROLE", "role"),
    Column("TENANT", "tenant"),
    Column("EMAIL", "email"),
    Column("DISABLED", "disabled"),
    Column("SEEN", "lastSeenAt", moment),
)
KEY_COLUMNS = (
    Column("ID", "id"),
    Column("NAME", "name"),
    Column("ROLE", "role"),
    Column("SCOPES", "scopes"),
    Column("BY", "createdBy"),
    Column("USED", "lastUsedAt", moment),
    Column("EXPIRES", "expiresAt", moment),
    Column("REVOKED", "revokedAt", moment),
)
TENANT_COLUMNS = (
    Column("TENANT", "name"),
    Column("TITLE", "title"),
    Column("CREATED", "createdAt", moment),
    Column("DISABLED", "disabled"),
    Column("QUOTAS", "quotas"),
)
AUDIT_COLUMNS = (
    Column("WHEN", "at", moment),
    Column("WHO", "by"),
    Column("AS", "kind"),
    Column("ACTION", "action"),
    Column("WHAT", "subject"),
    Column("OUTCOME", "outcome"),
    Column("FROM", "address"),
)
SHARE_COLUMNS = (
    Column("ID", "id"),
    Column("RUN", "executionId"),
    Column("BY", "createdBy"),
    Column("CREATED", "createdAt", moment),
    Column("EXPIRES", "expiresAt", moment),
    Column("REVOKED", "revokedAt", moment),
    Column("NOTE", "note"),
)
SHARE_LINES = (Column("ID", "id"), Column("LINK", "url"), Column("EXPIRES", "expiresAt", moment))
