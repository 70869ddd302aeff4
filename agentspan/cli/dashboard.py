"""`agentspan dashboard`: open the pages of a server, or a dashboard of one's own for any server."""

import importlib.util
import os
import signal
import subprocess
import sys
import webbrowser
from urllib.parse import quote

import typer

from agentspan.cli import profiles, session
from agentspan.client import launch
from agentspan.errors import AgentspanError, BadInput, ConfigurationProblem


def dashboard(
    server: str | None = typer.Option(None, "--server", help="The server's address; else AGENTSPAN_SERVER_URL."),
    page: str = typer.Option("/", "--page", help="Which page, such as /runs or /inbox."),
    no_browser: bool = typer.Option(False, "--no-browser", help="Only print the address."),
    standalone: bool = typer.Option(
        False, "--standalone", help="Run the dashboard here, for a server anywhere, until Ctrl-C."
    ),
    port: int = typer.Option(0, "--port", min=0, max=65535, help="With --standalone: the port; 0 for any free one."),
) -> None:
    """Open the dashboard of a server, which is started if this is the local one and none runs."""
    if not page.startswith("/"):
        raise BadInput(f"--page is a path such as /runs, not {page!r}")
    if port and not standalone:
        raise BadInput("--port is for --standalone: else the server shows the dashboard on its own port")
    if server:
        profiles.server_option.set(server)
    url = launch.find_or_start(profiles.setting("server_url")).url
    if standalone:
        alone(url, port, page, no_browser)
        return
    if not launch.has_pages(url):
        raise AgentspanError(f"the server at {url} shows no dashboard; use --standalone to run one here")
    show(_with_ticket(url, page), f"{url}/ui{page}", no_browser)


def alone(url: str, port: int, page: str, no_browser: bool) -> None:
    """A dashboard on this machine's loopback, as whom the environment says, until Ctrl-C."""
    if importlib.util.find_spec("panel") is None:
        raise ConfigurationProblem('this needs panel: pip install "agentspan[dashboard]"')
    command = [sys.executable, "-m", "agentspan.dashboard", "--server", url, "--port", str(port), "--child"]
    shown = {profiles.KEYS[key].variable: text for key, text in profiles.credentials().items()}
    given = {name: value for name, value in os.environ.items() if name != "AGENTSPAN_DASHBOARD_SECRET"}
    environ = {name: value for name, value in given.items() if name not in profiles.VARIABLES} | shown
    # Its own session: Ctrl-C is for this process, whose end closes the pipe and so ends the other.
    with subprocess.Popen(
        command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        line = child.stdout.readline()
        if not line:
            raise AgentspanError(f"the dashboard did not start: it ended with exit code {child.wait()}")
        address = line.split()[-1] + page
        show(address, address, no_browser)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        try:
            child.wait()
        except KeyboardInterrupt:
            print("stopped")
        finally:
            child.stdin.close()


def show(address: str, shown: str, no_browser: bool) -> None:
    """Print an address, and open it where there is a browser."""
    print(f"the dashboard is at {shown}", flush=True)
    if not no_browser:
        webbrowser.open(address)


def _with_ticket(url: str, page: str) -> str:
    """The address of a page, by which whoever has credentials is let in."""
    at = session.Place(url, profiles.credentials(), is_local=False)
    if not set(at.credentials) & set(profiles.CREDENTIALS):
        return f"{url}/ui{page}"
    ticket = session.ask(lambda client: client.ticket(), session.client(at))
    return f"{url}/login?ticket={quote(ticket)}&next={quote(f'/ui{page}', safe='/')}"
