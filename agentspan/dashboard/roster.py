"""Lists of users, keys, tenants and shares: what of each is shown, what can be done to it, and how another is made."""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from agentspan.client.client import Client
from agentspan.dashboard.may import SCOPES, given
from agentspan.dashboard.widget import Widget, param
from agentspan.errors import AgentspanError

Json = dict[str, Any]
Done = Awaitable[Json | None]
"""What the server has made of it; with `text`, it is shown this once."""

HOME = "default"
DAY_SECONDS = 86_400


class Roster(Widget):
    """A list with what can be done to each of it: see `parts/roster.js`. What is typed, and what is shown once, goes as
    messages and is not kept."""

    module = "roster.js"
    style = "access.css"

    label = param.String(default="")
    columns = param.List(default=[])
    rows = param.List(default=[])
    acts = param.Dict(default={})
    make = param.Dict(default={})
    empty = param.Dict(default={})


class Section(NamedTuple):
    """`read` what there is; `row` shows one of it to somebody; `do`: what each action asks of the server, given a row's
    id and the values of the form. `make` is the form for another one."""

    label: str
    columns: list[Json]
    empty: Json
    read: Callable[[Client], Awaitable[list[Json]]]
    row: Callable[[Json, Json], Json]
    make: Callable[[Json], Json]
    acts: dict[str, Json]
    do: dict[str, Callable[[Client, str, Json], Done]]


async def act(roster: Roster, section: Section, client: Client, said: Json) -> bool:
    """Do what was asked for with one of the list, and say whether it was done; the dialog says what is refused."""
    try:
        made = await section.do[said["do"]](client, str(said["id"]), dict(said["values"]))
    except AgentspanError as problem:
        roster._send_msg({"problem": problem.message})
        return False
    is_shown = isinstance(made, dict) and "text" in made
    roster._send_msg({"made": made} if is_shown else {"done": True})
    return True


def show(roster: Roster, section: Section, found: list[Json], me: Json, link: Callable[[str], str]) -> None:
    """Put what was read into the list; `link` makes an address of a place."""
    rows = [section.row(each, me) for each in found]
    for row in rows:
        for name, value in row.items():
            if isinstance(value, dict) and "href" in value:
                row[name] = {**value, "href": link(value["href"])}
    roster.param.update(
        label=section.label,
        columns=section.columns,
        empty=section.empty,
        acts=section.acts,
        make=section.make(me),
        rows=rows,
    )


# Users


def _user(user: Json, me: Json) -> Json:
    is_self = me["kind"] == "user" and me["name"] == user["name"]
    acts = ["change", *([] if user["oidc"] else ["password"])]
    acts += [] if is_self else ["enable" if user["disabled"] else "disable", "delete"]
    return {
        "id": user["name"],
        "acts": acts,
        "gone": user["disabled"],
        "given": {"role": user["role"], "displayName": user["displayName"], "email": user["email"]},
        "name": {"text": user["name"], "note": user["displayName"] or None, "title": user["email"] or None},
        "role": {"text": user["role"], "note": "you" if is_self else None},
        "state": {"text": "disabled", "tone": "FAILED"} if user["disabled"] else {"text": "may log in"},
        "by": "identity provider" if user["oidc"] else "password",
        "seen": user["lastSeenAt"],
    }


def _new_user(me: Json) -> Json:
    return {
        "name": "New user…",
        "title": "New user",
        "verb": "Make the user",
        "fields": [
            {"name": "name", "label": "Name", "needed": True, "hint": "What they log in with."},
            {"name": "password", "label": "Password", "kind": "password", "hint": NO_PASSWORD},
            _role_field(me, "viewer"),
            *PERSON,
        ],
    }


async def _change_user(client: Client, name: str, values: Json) -> None:
    await client.update_user(name, values)


async def _make_user(client: Client, _: str, values: Json) -> None:
    await client.create_user({key: value for key, value in values.items() if value})


def _role_field(me: Json, usual: str) -> Json:
    options = [[role, f"{role}: {ABOUT_ROLES[role]}"] for role in given(me)]
    return {"name": "role", "label": "Role", "kind": "select", "options": options, "value": usual}


# API keys


def _key(key: Json, me: Json) -> Json:
    return {
        "id": key["id"],
        "named": key["name"],
        "acts": [] if key["revokedAt"] else ["revoke"],
        "gone": bool(key["revokedAt"]),
        "name": {"text": key["name"], "note": key["id"]},
        "may": [key["role"]] if key["role"] else key["scopes"],
        "by": key["createdBy"],
        "made": key["createdAt"],
        "expires": {"text": "revoked", "tone": "FAILED"} if key["revokedAt"] else key["expiresAt"],
        "used": key["lastUsedAt"],
    }


def new_key(me: Json) -> Json:
    """The form of a new key: nobody gives it more than they have."""
    roles = [[role, f"{role}: {ABOUT_ROLES[role]}"] for role in given(me)]
    scopes = [[scope, SCOPES[scope]] for scope in SCOPES if scope in me["scopes"]]
    return {
        "name": "New key…",
        "title": "New API key",
        "says": "For a program or a worker. Its text is shown once.",
        "verb": "Make the key",
        "fields": [
            {"name": "name", "label": "Name", "needed": True, "hint": "What it is for, such as nightly-report."},
            {"name": "role", "label": "May do", "kind": "select", "value": roles[0][0] if roles else "",
             "options": [*roles, ["", "only what is chosen below"]]},
            {"name": "scopes", "label": "Scopes", "kind": "checks", "options": scopes, "when": ["role", ""]},
            {"name": "expires", "label": "Good for", "kind": "select", "options": LASTS, "value": 90},
        ],
    }  # fmt: skip


async def _make_key(client: Client, _: str, values: Json) -> Json:
    asked = {"name": values["name"], "expiresSeconds": int(values["expires"]) * DAY_SECONDS}
    rights = {"role": values["role"]} if values["role"] else {"scopes": values["scopes"]}
    return _shown_once(await client.create_key({**asked, **rights}))


async def _revoke_key(client: Client, name: str, _: Json) -> None:
    await client.revoke_key(name)


def _shown_once(made: Json) -> Json:
    return {"title": f"The key {made['name']}", "says": ONCE, "text": made["key"]}


# Tenants


def _tenant(tenant: Json, me: Json) -> Json:
    quotas, is_home = tenant["quotas"], tenant["name"] == HOME
    turn = [] if is_home else ["open" if tenant["disabled"] else "shut"]
    return {
        "id": tenant["name"],
        "acts": ["change", *([] if is_home else ["admin", "key"]), *turn],
        "gone": tenant["disabled"],
        "given": {"title": tenant["title"], **quotas},
        "name": {"text": tenant["name"], "note": tenant["title"] or None},
        "quotas": [f"{QUOTAS[name]}: {quotas[name]:g}" for name in QUOTAS if name in quotas] or ["no limit"],
        "state": {"text": "shut", "tone": "FAILED"} if tenant["disabled"] else {"text": "open"},
        "made": tenant["createdAt"],
    }


def _new_tenant(_: Json) -> Json:
    name = {"name": "name", "label": "Name", "needed": True, "hint": "Lower case, such as acme. It cannot be changed."}
    return {
        "name": "New tenant…",
        "title": "New tenant",
        "says": "With a database of its own, which nobody of another tenant sees. Then make its first admin.",
        "verb": "Make the tenant",
        "fields": [name, *TENANT],
    }


def _limits(values: Json) -> Json:
    """A tenant's title and quotas, as the server takes them."""
    return {"title": values["title"], "quotas": {name: float(values[name]) for name in QUOTAS if values[name] != ""}}


async def _make_tenant(client: Client, _: str, values: Json) -> None:
    await client.create_tenant({"name": values["name"], **_limits(values)})


async def _change_tenant(client: Client, name: str, values: Json) -> None:
    await client.update_tenant(name, _limits(values))


async def _turn_tenant(client: Client, name: str, *, disabled: bool) -> None:
    await client.update_tenant(name, {"disabled": disabled})


async def _first_admin(client: Client, name: str, values: Json) -> None:
    await client.create_user({**values, "tenant": name, "role": "admin"})


async def _first_key(client: Client, name: str, values: Json) -> Json:
    return _shown_once(await client.create_key({**values, "tenant": name, "role": "admin"}))


# Shares


def _share(share: Json, me: Json) -> Json:
    return {
        "id": share["id"],
        "named": share["note"] or share["executionId"],
        "acts": [] if share["revokedAt"] else ["revoke"],
        "gone": bool(share["revokedAt"]),
        "run": {
            "text": share["executionId"][-12:],
            "title": share["executionId"],
            "href": f"/runs/{share['executionId']}",
        },
        "note": share["note"],
        "by": share["createdBy"],
        "made": share["createdAt"],
        "expires": {"text": "revoked", "tone": "FAILED"} if share["revokedAt"] else share["expiresAt"],
    }


async def _revoke_share(client: Client, name: str, _: Json) -> None:
    await client.revoke_share(name)


ABOUT_ROLES = {
    "viewer": "sees everything",
    "operator": "also answers, pauses and cancels",
    "developer": "also runs, deploys and keeps credentials",
    "admin": "also looks after access",
}
QUOTAS = {
    "runningExecutions": "runs at once",
    "startsPerMinute": "starts a minute",
    "tokensPerDay": "tokens a day",
    "dollarsPerDay": "dollars a day",
}
NO_PASSWORD = "At least 12 characters. Without one they come in by the identity provider alone."
ONCE = "Copy it now: it is shown this once, and nobody can see it again."
LASTS = [[30, "30 days"], [90, "90 days"], [365, "a year"], [0, "until it is revoked"]]
PERSON: list[Json] = [
    {"name": "displayName", "label": "Full name"},
    {"name": "email", "label": "E-mail", "kind": "email"},
]
PASSWORD: Json = {"name": "password", "label": "New password", "kind": "password", "needed": True}
TENANT: list[Json] = [
    {"name": "title", "label": "Title"},
    *(
        {"name": name, "label": said.capitalize(), "kind": "number", "hint": "Empty: no limit."}
        for name, said in QUOTAS.items()
    ),
]

USERS = Section(
    label="Users",
    columns=[
        {"key": "name", "name": "Name"},
        {"key": "role", "name": "Role"},
        {"key": "by", "name": "Comes in by"},
        {"key": "state", "name": "State"},
        {"key": "seen", "name": "Last seen", "kind": "since"},
    ],
    empty={"title": "No users yet", "text": "Until there are some, people log in with the key and the secret."},
    read=lambda client: client.users(),
    row=_user,
    make=_new_user,
    acts={
        "change": {
            "name": "Change…", "title": "Change {}", "verb": "Keep",
            "says": "Who gets another role must log in again.",
            "fields": [_role_field({"scopes": list(SCOPES)}, "viewer"), *PERSON],
        },
        "password": {
            "name": "New password…", "title": "A new password for {}", "verb": "Set it",
            "says": "All their sessions end. Tell it to them, and let them change it.", "fields": [PASSWORD],
        },
        "disable": {
            "name": "Disable…", "title": "Disable {}?", "verb": "Disable", "danger": True,
            "says": "They are out at once, and come in no more until they are enabled. Their keys stay.",
        },
        "enable": {"name": "Enable"},
        "delete": {
            "name": "Delete…", "title": "Delete {}?", "verb": "Delete", "danger": True,
            "says": "Their sessions end. What they did stays in the audit.",
        },
    },
    do={
        "make": _make_user,
        "change": _change_user,
        "password": _change_user,
        "disable": lambda client, name, _: client.update_user(name, {"disabled": True}),
        "enable": lambda client, name, _: client.update_user(name, {"disabled": False}),
        "delete": lambda client, name, _: client.delete_user(name),
    },
)  # fmt: skip

KEYS = Section(
    label="API keys",
    columns=[
        {"key": "name", "name": "Name"},
        {"key": "may", "name": "May", "kind": "chips"},
        {"key": "by", "name": "Made by"},
        {"key": "made", "name": "Made", "kind": "since"},
        {"key": "expires", "name": "Good until", "kind": "until"},
        {"key": "used", "name": "Last used", "kind": "since"},
    ],
    empty={"title": "No keys yet", "text": "A program shows a key, and may do what the key may."},
    read=lambda client: client.keys(),
    row=_key,
    make=new_key,
    acts={
        "revoke": {
            "name": "Revoke…", "title": "Revoke the key {}?", "verb": "Revoke", "danger": True,
            "says": "Whoever shows it is refused, within seconds on all servers. It cannot be taken back.",
        },
    },
    do={"make": _make_key, "revoke": _revoke_key},
)  # fmt: skip

TENANTS = Section(
    label="Tenants",
    columns=[
        {"key": "name", "name": "Name"},
        {"key": "quotas", "name": "Quotas", "kind": "chips"},
        {"key": "state", "name": "State"},
        {"key": "made", "name": "Made", "kind": "since"},
    ],
    empty={"title": "No tenants"},
    read=lambda client: client.tenants(),
    row=_tenant,
    make=_new_tenant,
    acts={
        "change": {"name": "Change…", "title": "Change {}", "verb": "Keep", "fields": TENANT},
        "admin": {
            "name": "Admin…", "title": "An admin for {}", "verb": "Make the admin",
            "says": "They look after the users and keys of their tenant.",
            "fields": [{"name": "name", "label": "Name", "needed": True}, {**PASSWORD, "label": "Password"}],
        },
        "key": {
            "name": "Key…", "title": "A key for {}", "verb": "Make the key",
            "says": "For a program that looks after this tenant: it may do everything there.",
            "fields": [{"name": "name", "label": "Name", "needed": True}],
        },
        "shut": {
            "name": "Shut…", "title": "Shut {}?", "verb": "Shut", "danger": True,
            "says": "Nobody of it comes in, and nothing of it runs, until it is opened again. Nothing is lost.",
        },
        "open": {"name": "Open"},
    },
    do={
        "make": _make_tenant,
        "change": _change_tenant,
        "admin": _first_admin,
        "key": _first_key,
        "shut": lambda client, name, _: _turn_tenant(client, name, disabled=True),
        "open": lambda client, name, _: _turn_tenant(client, name, disabled=False),
    },
)  # fmt: skip

SHARES = Section(
    label="Shared runs",
    columns=[
        {"key": "run", "name": "Run"},
        {"key": "note", "name": "For"},
        {"key": "by", "name": "Shared by"},
        {"key": "made", "name": "Shared", "kind": "since"},
        {"key": "expires", "name": "Good until", "kind": "until"},
    ],
    empty={"title": "Nothing is shared", "text": "The page of a run has a button that makes a link to it."},
    read=lambda client: client.shares(),
    row=_share,
    make=lambda me: {},
    acts={
        "revoke": {
            "name": "Revoke…", "title": "Revoke this link?", "verb": "Revoke", "danger": True,
            "says": "Whoever has it sees the run no more.",
        },
    },
    do={"revoke": _revoke_share},
)  # fmt: skip
