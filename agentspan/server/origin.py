"""Who a request may come from: no name but our own (DNS rebinding), and no page of another site (CSRF).

A web page can make a browser on this machine send requests to a local server. Three things give it away: the Host
header holds the page's own name, Origin names the page's site, Sec-Fetch-Site says that the site is another.
"""

import ipaddress
import socket
from collections.abc import Mapping, Sequence
from functools import lru_cache
from urllib.parse import urlsplit

from agentspan.config import Settings
from agentspan.errors import Forbidden


def check_host(host: str, settings: Settings) -> None:
    """Refuse a Host that is not ours. With credentials required, a foreign name gives a page nothing."""
    if settings.auth_secret or _is_ours(_name(host), settings):
        return
    raise Forbidden(f"this server does not answer to the host name {host!r}; add it to AGENTSPAN_ALLOWED_HOSTS")


def check_origin(headers: Mapping[str, str], settings: Settings) -> None:
    """Refuse a request that a page of another site has caused."""
    origin = headers.get("Origin", "")
    if origin and not _is_same(origin, headers.get("Host", ""), settings):
        raise Forbidden(f"this server does not take requests from the web page {origin!r}")
    if not origin and headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        raise Forbidden("this server does not take requests that a page of another site has caused")


def check_own_page(headers: Mapping[str, str]) -> None:
    """Refuse what a cookie alone speaks for, unless a page of ours has sent it. `check_origin` was there before."""
    if not headers.get("Origin") and headers.get("Sec-Fetch-Site") != "same-origin":
        raise Forbidden("with a cookie, this server takes changes only from its own pages; show a token instead")


def address_of(peer: str, headers: Mapping[str, str], proxies: Sequence[str]) -> str:
    """Where a request comes from: the last address in X-Forwarded-For that is no proxy of ours. Anybody can write the
    header, so only our proxies are believed."""
    address = peer
    for said in reversed(headers.get("X-Forwarded-For", "").split(",")):
        if not _is_among(address, proxies):
            break
        if not _is_address(said.strip()):
            break
        address = said.strip()
    return address


def is_framed(headers: Mapping[str, str]) -> bool:
    """Whether a browser opens a page inside another one, which the answer may forbid it to show."""
    return "Origin" not in headers and headers.get("Sec-Fetch-Mode") == "navigate"


def is_navigation(headers: Mapping[str, str]) -> bool:
    """Whether a person follows a link: the page that holds the link does not see the answer."""
    return (
        "Origin" not in headers
        and headers.get("Sec-Fetch-Mode") == "navigate"
        and headers.get("Sec-Fetch-Dest") == "document"
    )


@lru_cache(1024)
def is_loopback(host: str) -> bool:
    """Whether only this machine can reach that address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _is_ours(name: str, settings: Settings) -> bool:
    if is_loopback(name) or name == settings.host.lower() or name in settings.allowed_hosts:
        return True
    if "*" in settings.allowed_hosts:
        return True
    # Bound to the network: an address is no name that somebody could point elsewhere.
    return not is_loopback(settings.host) and (_is_address(name) or name == socket.gethostname().lower())


def _is_same(origin: str, host: str, settings: Settings) -> bool:
    parts = urlsplit(origin)
    return parts.scheme in ("http", "https") and (
        parts.netloc.lower() == host.lower() or (parts.hostname or "") in settings.allowed_hosts
    )


def _is_among(address: str, networks: Sequence[str]) -> bool:
    return any(_is_address(address) and ipaddress.ip_address(address) in _network(each) for each in networks)


@lru_cache(1024)
def _network(text: str) -> "ipaddress.IPv4Network | ipaddress.IPv6Network":
    return ipaddress.ip_network(text)


@lru_cache(1024)
def _name(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
