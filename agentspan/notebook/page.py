"""Where the dashboard is, as the browser of this notebook must ask for it, and a page of it in the cell."""

import os
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import urlsplit

from agentspan.agents.default import default_runtime
from agentspan.errors import BadInput

Json = dict[str, Any]

HEIGHT = 720


@dataclass(frozen=True)
class Page:
    """A page of the dashboard: as the value of a cell it is shown there, or linked where it cannot be."""

    address: str
    framed: bool = True
    height: int = HEIGHT

    def __repr__(self) -> str:
        return self.address

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Json:
        return {"text/plain": self.address, "text/html": self._frame() if self.framed else self._link()}

    def _frame(self) -> str:
        frame = (
            f'<iframe src="{escape(self.address)}" title="The dashboard of agentspan" loading="lazy" '
            f'style="width:100%;height:{self.height}px;border:1px solid rgba(128,128,128,.32);border-radius:8px">'
            f"</iframe>"
        )
        return f"{frame}<div>{self._link()}</div>"

    def _link(self) -> str:
        address = escape(self.address)
        return f'<a href="{address}" target="_blank" rel="noopener">{address}</a>'


def dashboard(page: str = "", *, height: int = HEIGHT) -> Page:
    """A page of the dashboard below this cell: "runs", "inbox", "runs/<id>", ...; the overview by default."""
    if height < 1:
        raise BadInput(f"height must be 1 or more, in pixels; got {height}")
    runtime = default_runtime()
    url = runtime.portal.call(runtime.client()).url
    return Page(address(url, page), framed=not _is_elsewhere(), height=height)


def address(url: str, page: str = "") -> str:
    """Where the browser finds a page of the server at `url`: behind JupyterHub's proxy where there is one."""
    path = f"ui/{page.strip('/').removeprefix('ui/').removeprefix('ui')}"
    parts = urlsplit(url)
    hub = os.environ.get("JUPYTERHUB_SERVICE_PREFIX", "")
    if hub and parts.hostname in LOCAL:
        return f"{hub.rstrip('/')}/proxy/{parts.port or 80}/{path}"
    return f"{url.rstrip('/')}/{path}"


def _is_elsewhere() -> bool:
    """In VS Code and Colab the output has an origin of its own, in which a frame of this machine stays empty."""
    return any(os.environ.get(name) for name in ("VSCODE_PID", "VSCODE_CWD", "COLAB_RELEASE_TAG", "COLAB_GPU"))


LOCAL = ("127.0.0.1", "localhost", "::1")
