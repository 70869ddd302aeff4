"""The pages: which view an address asks for."""

from agentspan.dashboard.pages.access import Access
from agentspan.dashboard.pages.agent import Agent
from agentspan.dashboard.pages.agents import Agents
from agentspan.dashboard.pages.chat import Chat
from agentspan.dashboard.pages.compare import Compare
from agentspan.dashboard.pages.costs import Costs
from agentspan.dashboard.pages.credentials import Credentials
from agentspan.dashboard.pages.inbox import Inbox
from agentspan.dashboard.pages.keys import Keys
from agentspan.dashboard.pages.overview import Overview
from agentspan.dashboard.pages.run import Run
from agentspan.dashboard.pages.runs import Runs
from agentspan.dashboard.pages.settings import Settings
from agentspan.dashboard.pages.unknown import Unknown
from agentspan.dashboard.pages.workers import Workers
from agentspan.dashboard.view import View


def find(path: str) -> tuple[type[View], dict[str, str]]:
    """The view of a path and what the path gives it."""
    asked = path.strip("/").split("/") if path.strip("/") else []
    for pattern, view in ROUTES.items():
        parts = pattern.strip("/").split("/") if pattern.strip("/") else []
        if len(parts) == len(asked) and all(
            part[0] == "{" or part == word for part, word in zip(parts, asked, strict=True)
        ):
            return view, {part[1:-1]: word for part, word in zip(parts, asked, strict=True) if part[0] == "{"}
    return Unknown, {}


ROUTES: dict[str, type[View]] = {
    "/": Overview,
    "/access": Access,
    "/runs": Runs,
    "/agents": Agents,
    "/agents/{name}": Agent,
    "/runs/{id}": Run,
    "/chat": Chat,
    "/chat/{name}": Chat,
    "/compare": Compare,
    "/costs": Costs,
    "/credentials": Credentials,
    "/inbox": Inbox,
    "/inbox/{id}": Inbox,
    "/keys": Keys,
    "/settings": Settings,
    "/workers": Workers,
}

ICONS = {
    "overview": "M3 12h4l3-8 4 16 3-8h4",
    "runs": "M4 6h16M4 12h10M4 18h13",
    "inbox": "M3 13h5l1.5 3h5L16 13h5M5 5h14l2 8v6H3v-6z",
    "agents": "M12 4v3M6 7h12v10H6zM9.5 11.5v1M14.5 11.5v1M3 11v3M21 11v3",
    "chat": "M4 5h16v11H9l-5 4z",
    "workers": "M4 5h16v5H4zM4 14h16v5H4zM8 7.5h.01M8 16.5h.01",
    "costs": "M12 3v18M17 7c-3-3-9-2-9 1.500C8 13 17 11 17 15.500c0 3.500-6 4.500-9.500 1.200",
    "credentials": "M14 10a4 4 0 1 1-2.8-3.800L20 6v3h-2v2h-2l-1.500 1",
    "access": "M12 3l7 3v5c0 5-3 8-7 10-4-2-7-5-7-10V6zM9 11.500l2.200 2.200 4-4",
    "settings": "M4 7h9M17 7h3M4 17h3M11 17h9M15 4.500v5M9 14.500v5",
}

GROUPS = [
    [
        {"path": "/", "name": "Overview", "icon": ICONS["overview"]},
        {"path": "/runs", "name": "Runs", "icon": ICONS["runs"]},
        {"path": "/inbox", "name": "Inbox", "icon": ICONS["inbox"]},
        {"path": "/agents", "name": "Agents", "icon": ICONS["agents"]},
        {"path": "/chat", "name": "Chat", "icon": ICONS["chat"], "takes": "start"},
    ],
    [
        {"path": "/workers", "name": "Workers", "icon": ICONS["workers"]},
        {"path": "/costs", "name": "Costs", "icon": ICONS["costs"]},
        {
            "path": "/credentials",
            "name": "Credentials",
            "icon": ICONS["credentials"],
            "takes": "keep credentials",
        },
        {"path": "/access", "name": "Access", "icon": ICONS["access"], "takes": "give access"},
        {"path": "/settings", "name": "Settings", "icon": ICONS["settings"]},
    ],
]
