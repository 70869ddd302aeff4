"""The dashboard by itself: against any server, as whom the environment says, for whoever sits at this machine."""

import os
import socket
from typing import Any
from urllib.parse import unquote, urlsplit

import panel as pn

from agentspan.agents.runtime.config import AgentConfig
from agentspan.client import launch
from agentspan.client.client import Client
from agentspan.dashboard.app import of_request


def client(server_url: str = "") -> Client:
    """A client with the credentials of the environment; without an address, of the local server, which is started."""
    config = AgentConfig.from_env()
    if not server_url:
        named = os.environ.get("AGENTSPAN_SERVER_URL", "").strip()
        server_url = config.server_url if named else launch.find_or_start().url
    return Client(
        server_url,
        api_key=config.api_key,
        auth_key=config.auth_key,
        auth_secret=config.auth_secret,
        user=config.user,
    )


def page() -> Any:
    """The page of one session, for `panel serve`; its places are in the query, as in `/dashboard?at=/runs`."""
    asked = pn.state.curdoc.session_context.request._request if pn.state.curdoc else None
    if asked is None:  # Panel warms itself up
        return pn.Column()
    found = urlsplit(asked.uri)
    base = f"{found.path.rstrip('/')}?at="
    # A link that was opened in a new tab may hold a second "?", which Panel does not take.
    asked.uri = f"{found.path}?{found.query.replace('?', '&')}"
    said = urlsplit(asked.uri).query
    path, _, query = said.removeprefix("at=").partition("&") if said.startswith("at=") else ("/", "", "")
    user = AgentConfig.from_env().user or ""
    return of_request(client(), base=base, path=base + unquote(path), query=query, user=user)


def free_port() -> int:
    """A port of the loopback that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def origins(port: int) -> list[str]:
    """Whose pages may open a websocket: no other site's, which could drive the dashboard with it."""
    return [f"127.0.0.1:{port}", f"localhost:{port}"]
