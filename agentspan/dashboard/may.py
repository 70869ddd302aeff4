"""What each thing that pages offer takes, so that nobody is offered what the server would refuse.

The server decides; this only says beforehand what it would say.
"""

from typing import Any

Json = dict[str, Any]

ROLES: dict[str, tuple[str, ...]] = {
    "viewer": ("read", "metrics"),
    "operator": ("read", "metrics", "answer", "control"),
    "developer": ("read", "metrics", "answer", "control", "run", "work", "define", "secrets"),
    "admin": ("read", "metrics", "answer", "control", "run", "work", "define", "secrets", "admin"),
}
SCOPES: dict[str, str] = {
    "read": "see runs, agents and what waits",
    "metrics": "read the metrics",
    "answer": "answer requests, and share runs",
    "control": "pause, stop and cancel runs",
    "run": "start runs, and fork them",
    "work": "do the work of tools",
    "define": "deploy agents, and schedule them",
    "secrets": "keep credentials",
    "admin": "look after users, keys, tenants and the audit",
}
"""By scope: what it lets somebody do."""

TAKES: dict[str, tuple[str, ...]] = {
    "browse": ("read",),
    "export": ("read",),
    "pause": ("control",),
    "resume": ("control",),
    "stop": ("control",),
    "cancel": ("control",),
    "terminate": ("control",),
    "retry": ("run", "control"),
    "fork": ("run",),
    "start": ("run",),
    "answer": ("answer",),
    "share": ("answer",),
    "roll back": ("define",),
    "schedule": ("define",),
    "keep credentials": ("secrets",),
    "read settings": ("admin",),
    "give access": ("admin",),
}
"""By action: the scopes of which one is needed."""

ALL = list(TAKES)
OUTSIDE = ("root", "open")
"""Kinds of who asks that no list of users holds."""


def allowed(me: Json) -> list[str]:
    """The actions of somebody, as `GET /api/auth/me` tells who that is. Whoever has a link looks at one run."""
    if me["kind"] == "share":
        return []
    scopes = set(me["scopes"])
    return [action for action, any_of in TAKES.items() if scopes & set(any_of)]


def why_not(me: Json, action: str) -> str:
    """The sentence for who may not."""
    who = f"the role {me['role']} does" if me.get("role") else "you do"
    return f"This takes the right to {' or '.join(TAKES[action])}, which {who} not have."


def given(me: Json) -> list[str]:
    """The roles that somebody may give: nobody gives more than they have."""
    return [role for role, scopes in ROLES.items() if set(scopes) <= set(me["scopes"])]
