"""The dashboard's own process: Panel's server on this machine, for the server that has started it or for itself.

Whoever starts it as a child keeps its standard input open: when that closes, the process ends, so that it never
outlives a server that was killed.
"""

import argparse
import hmac
import logging
import os
import sys
import threading
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

import panel as pn
from panel.io.resources import LOCAL_DIST

from agentspan.client.client import Client
from agentspan.dashboard import alone
from agentspan.dashboard.app import of_request

SECRET = "AGENTSPAN_DASHBOARD_SECRET"
"""The environment variable with what the server shows on every request; without it anybody on this machine may ask."""
THEME = "agentspan-theme"
"""The cookie with what the person has said of the theme."""
UNUSED_SESSION_MS = 15_000


def main() -> None:
    """Serve until standard input closes (as a child), or for ever."""
    parser = argparse.ArgumentParser(prog="python -m agentspan.dashboard", description=__doc__)
    parser.add_argument("--server", required=True, help="the address of the agentspan server")
    parser.add_argument("--port", type=int, default=0, help="the port on 127.0.0.1; 0 for any free one")
    parser.add_argument("--prefix", default="/ui", help="the path below which the pages are")
    parser.add_argument("--child", action="store_true", help="end when standard input closes")
    given = parser.parse_args()
    server = make(given.server, given.port, given.prefix)
    if given.child:
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    server.start()
    print(f"agentspan dashboard serves http://127.0.0.1:{server.port}{given.prefix}", flush=True)
    server.io_loop.start()


def make(server_url: str, port: int, prefix: str) -> Any:
    """Panel's server with the app on every path below the prefix."""
    logging.getLogger("bokeh.server.util").setLevel(logging.ERROR)  # it warns of the origin "*", see below
    pn.extension(notifications=True)
    secret = os.environ.get(SECRET, "")
    port = port if secret else port or alone.free_port()

    def app() -> Any:
        # The request itself: what Bokeh keeps of its headers and cookies would stand in the page.
        asked = pn.state.curdoc.session_context.request._request
        if asked is None:  # Panel warms itself up
            return pn.Column()
        if secret and not hmac.compare_digest(asked.headers.get("X-Agentspan-Dashboard", ""), secret):
            raise PermissionError("this page is shown through the agentspan server alone")
        # Else a session that begins with its websocket takes its styles from a CDN.
        own = "/".join(filter(None, (pn.state.rel_path, LOCAL_DIST)))
        pn.state.curdoc._template_variables.setdefault("dist_url", own)
        path, query = _asked_for(asked)
        user = unquote(asked.headers.get("X-Agentspan-User", ""))
        before = asked.headers.get("X-Forwarded-Prefix", "")  # another proxy shows us below this path
        token = asked.headers.get("X-Agentspan-Token") or None
        client = Client(server_url, token=token, user=user) if secret else alone.client(server_url)
        theme = asked.cookies[THEME].value if THEME in asked.cookies else ""
        base = before + prefix
        # The server that shows us has a page to say who one is; a dashboard by itself has none.
        login = f"{base.rpartition('/')[0]}/login" if secret else ""
        is_shared = asked.headers.get("X-Agentspan-Shown", "") == "share"
        return of_request(
            client, base=base, path=before + path, query=query, user=user, theme=theme, login=login, is_shared=is_shared
        )

    return pn.io.server.get_server(
        {"/": app, "/{page}": app, "/{page}/{name}": app},
        port=port,
        address="127.0.0.1",
        prefix=prefix,
        # The proxy has looked at the origin, and shows the secret.
        websocket_origin="*" if secret else alone.origins(port),
        include_headers=[],
        include_cookies=[],
        unused_session_lifetime_milliseconds=UNUSED_SESSION_MS,
        warm=True,
    )


def _asked_for(asked: Any) -> tuple[str, str]:
    """The path and the query of the page. Behind a balancer the page may come from another process than its websocket,
    whose path says the page; the arguments are in the token that the page was given."""
    found = urlsplit(asked.uri)
    if asked.headers.get("Upgrade", "").lower() != "websocket":
        return found.path, found.query
    arguments = pn.state.curdoc.session_context.request.arguments
    pairs = [(name, value.decode()) for name, values in arguments.items() for value in values]
    return found.path.removesuffix("/ws"), urlencode(pairs)


def _end_with_stdin() -> None:
    sys.stdin.buffer.read()
    os._exit(0)
