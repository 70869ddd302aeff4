"""What the shell completes: ids and names that the server knows. Quick, and silent whatever goes wrong: the line that
somebody is typing is no place for an error. No server is started for it."""

import json
from urllib.parse import quote

from agentspan.cli import profiles
from agentspan.client import launch
from agentspan.config import Settings
from agentspan.errors import AgentspanError

SECONDS = 1.0
MOST = 50
STATUSES = ("RUNNING", "PAUSED", "COMPLETED", "FAILED", "TERMINATED", "TIMED_OUT")


def run_ids(incomplete: str) -> list[tuple[str, str]]:
    """The newest runs."""
    found = _asked(f"/agent/executions?size={MOST}&count=none").get("results") or ()
    told = ((str(each["executionId"]), f"{each.get('agentName')} {each.get('status')}") for each in found)
    return [(name, about) for name, about in told if name.startswith(incomplete)]


def agent_names(incomplete: str) -> list[str]:
    """The deployed agents."""
    return _names("/agent/list", "name", incomplete)


def agents_or_files(incomplete: str) -> list[str]:
    """The deployed agents, unless a file is being typed."""
    return [] if "/" in incomplete or "." in incomplete else agent_names(incomplete)


def request_ids(incomplete: str) -> list[tuple[str, str]]:
    """What runs ask people now."""
    found = _asked(f"/inbox?limit={MOST}").get("requests") or ()
    told = (
        (str(each["requestId"]), f"{each.get('agentName')} {each.get('tool') or each.get('kind')}") for each in found
    )
    return [(name, about) for name, about in told if name.startswith(incomplete)]


def schedule_names(incomplete: str) -> list[str]:
    """The schedules."""
    return _names("/scheduler/schedules", "name", incomplete)


def credential_names(incomplete: str) -> list[str]:
    """The stored credentials."""
    return _names("/credentials", "name", incomplete)


def profile_names(incomplete: str) -> list[str]:
    """The profiles of the file."""
    try:
        return [name for name in profiles.read().named if name.startswith(incomplete)]
    except AgentspanError:
        return []


def settings(incomplete: str) -> list[str]:
    """The settings of a profile."""
    return [name for name in profiles.KEYS if name.startswith(incomplete)]


def statuses(incomplete: str) -> list[str]:
    """The statuses of a run."""
    return [word for word in STATUSES if word.startswith(incomplete.upper())]


def _names(path: str, key: str, incomplete: str) -> list[str]:
    found = _asked(path).get("results") or ()
    return [str(each[key]) for each in found if str(each.get(key, "")).startswith(incomplete)]


def _asked(path: str) -> dict[str, list[dict[str, object]]]:
    """What the server answers, a list as `results`; nothing if it does not answer at once."""
    import urllib.request

    from agentspan.client.transport import auth_headers, host_of

    try:
        found = {key: value.text for key, value in profiles.values().items()}
        url = found.get("server_url") or launch.find(Settings.load().data_dir)
        if not url:
            return {}
        headers = auth_headers(found.get("api_key"), found.get("auth_key"), found.get("auth_secret"))
        if token := found.get("token"):
            headers["X-Authorization"] = token
        if user := found.get("user"):
            headers["X-Agentspan-User"] = quote(user)
        request = urllib.request.Request(f"{host_of(url)}/api{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            body = json.loads(answer.read())
    except (OSError, ValueError, AgentspanError):
        return {}
    return {"results": body} if isinstance(body, list) else body
