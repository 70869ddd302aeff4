"""Where this server goes for those who write agents, and for models.

A URL is judged by its looks, then its host is resolved, the addresses are judged, and the connection goes to one of
those very addresses: a name that means another address a moment later leads nowhere else. Each redirect is judged like
the first URL. No proxy and no cookie takes part.
"""

import asyncio
import contextlib
import ipaddress
import re
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from functools import cache
from typing import NamedTuple

import httpx

from agentspan.config import HOME, Settings
from agentspan.errors import BadInput, ConfigurationProblem

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve = Callable[[str, int], Awaitable[list[str]]]

CONNECT_SECONDS = 10.0
MOST_REDIRECTS = 5
MOST_URL_CHARS = 8_000
PORTS = {"http": 80, "https": 443}


class Refused(BadInput):
    """The server does not connect there."""


class Broken(Exception):
    """An answer that cannot be read: too large, or not what its headers say."""


class Rule(NamedTuple):
    """What the operator allows: a network or a name, on one port or on any."""

    network: Network | None
    name: str
    port: int | None

    def names(self, host: str, port: int) -> bool:
        """Is this host written down here, by its name or its address?"""
        literal = _address(host)
        if self.port not in (None, port):
            return False
        if self.network is not None:
            return literal is not None and unwrapped(literal) in self.network
        return host.endswith(self.name[1:]) if self.name.startswith("*.") else host == self.name

    def holds(self, host: str, address: Address, port: int) -> bool:
        """Does it allow this address of the host?"""
        if self.network is not None:
            return self.port in (None, port) and address in self.network
        # A name says nothing for what no name should lead to.
        return kind_of(address) in NAMEABLE and self.names(host, port)


class Answer(NamedTuple):
    """What came back, decoded and whole."""

    status: int
    reason: str
    headers: httpx.Headers
    body: bytes


class Outgoing:
    """The policy of one server. `allow` is as in AGENTSPAN_OUTGOING_ALLOW; ConfigurationProblem if it cannot be read.

    `resolve` gives the addresses of a name, `trust` the certificates that count.
    """

    def __init__(
        self, allow: Iterable[str] = (), resolve: Resolve | None = None, trust: ssl.SSLContext | None = None
    ) -> None:
        allow = tuple(allow)
        self._words = WORDS.intersection(allow)
        self._rules = tuple(_rule(each) for each in allow if each not in WORDS)
        self._resolve = resolve or _resolve
        self._trust = trust
        self._alone = False

    @classmethod
    def of(cls, settings: Settings) -> "Outgoing":
        """As the operator says; else public addresses, and this machine's own if nobody but it reaches the server."""
        alone = settings.is_local and settings.tenant == HOME and not settings.outgoing_allow
        made = cls(("loopback",) if alone else settings.outgoing_allow)
        made._alone = alone
        return made

    def url(self, text: str) -> httpx.URL:
        """A URL as it is written, http if it does not say. Refused for what no policy allows, and for addresses that
        this one does not."""
        url = _parsed(text if "://" in text else f"http://{text}")
        if (address := _address(url.host)) is not None:
            self._judge(url.host, [address], _port(url))
        return url

    def trusts(self, url: httpx.URL) -> bool:
        """Whether the operator vouches for what is there: on a machine of one's own everything, else what a rule names
        as the URL does."""
        return self._alone or "*" in self._words or any(rule.names(url.host, _port(url)) for rule in self._rules)

    async def check(self, text: str) -> None:
        """Refused for a URL that leads where this server does not go, as its name resolves now."""
        url = self.url(text)
        with contextlib.suppress(httpx.ConnectError):  # a name that nobody knows leads nowhere
            await self.addresses(url.host, _port(url))

    async def addresses(self, host: str, port: int) -> list[str]:
        """The addresses of a host that may be connected to, at least one. Refused, or ConnectError if it has none."""
        literal = _address(host)
        try:
            found = [str(literal)] if literal is not None else await self._resolve(host, port)
        except (OSError, UnicodeError) as problem:
            raise httpx.ConnectError(f"the name {host} is not known") from problem
        addresses = [ipaddress.ip_address(each.partition("%")[0]) for each in found]
        return [str(each) for each in self._judge(host, addresses, port)]

    def _judge(self, host: str, addresses: list[Address], port: int) -> list[Address]:
        if not addresses:
            raise httpx.ConnectError(f"the name {host} has no address")
        allowed = [each for each in addresses if self._allows(host, each, port)]
        if not allowed:
            raise Refused(
                f"the server does not connect to {host}:{port}, which is {KINDS[kind_of(addresses[0])]}; "
                "AGENTSPAN_OUTGOING_ALLOW of the server names what it may reach besides public addresses"
            )
        return allowed

    def _allows(self, host: str, address: Address, port: int) -> bool:
        kind, plain = kind_of(address), unwrapped(address)
        if "*" in self._words or not kind or kind in self._words:
            return True
        return any(rule.holds(host.lower(), plain, port) for rule in self._rules)

    def transport(self) -> httpx.AsyncBaseTransport:
        """What a client of httpx must be made with to keep to this policy. Each request has a connection of its own."""
        return _Judged(self, self._trust or _trust())

    async def loaded(self) -> httpx.AsyncBaseTransport:
        """The same, without standing in the way of others while certificates are read."""
        self._trust = self._trust or await asyncio.to_thread(_trust)
        return self.transport()

    async def fetch(self, request: httpx.Request, *, seconds: float, most_bytes: int) -> Answer:
        """The answer to a request, after redirects. Refused; Broken; TimeoutError; the errors of httpx's transports."""
        async with asyncio.timeout(seconds), await self.loaded() as transport:
            for _ in range(MOST_REDIRECTS + 1):
                _parsed(str(request.url))
                request.headers["Accept-Encoding"] = "gzip"
                request.extensions["timeout"] = {"connect": min(CONNECT_SECONDS, seconds)}
                response = await transport.handle_async_request(request)
                try:
                    onward = _onward(request, response)
                    if onward is None:
                        return await _answer(response, most_bytes)
                finally:
                    await response.aclose()
                request = onward
        raise Broken(f"the server was redirected more than {MOST_REDIRECTS} times")


class _Judged(httpx.AsyncHTTPTransport):
    """Connects to addresses that were judged; the name stays in the Host header and in TLS."""

    def __init__(self, outgoing: Outgoing, trust: ssl.SSLContext) -> None:
        # Connections are told apart by address alone, so none may be kept for another name.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        super().__init__(verify=trust, trust_env=False, limits=limits)
        self._outgoing = outgoing

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        addresses = await self._outgoing.addresses(host, _port(request.url))
        extensions = {**request.extensions, "sni_hostname": host}
        for address in addresses:
            url = request.url.copy_with(host=address)
            pinned = httpx.Request(
                request.method, url, headers=request.headers, stream=request.stream, extensions=extensions
            )
            try:
                return await super().handle_async_request(pinned)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if address == addresses[-1]:
                    raise
        raise httpx.ConnectError(f"the name {host} has no address")


def kind_of(address: Address) -> str:
    """What is special about an address: a word of KINDS, "" for a public one."""
    address = unwrapped(address)
    kind = next((kind for network, kind in SPECIAL if address in network), None)
    if kind is not None:
        return kind
    return "reserved" if address.version == 6 and (address not in GLOBAL or _is_isatap(address)) else ""


def unwrapped(address: Address) -> Address:
    """The address that packets to this one go to: IPv6 has forms that stand for an address of IPv4."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in NAT64 else address


def _is_isatap(address: Address) -> bool:
    return (int(address) >> 32) & 0xFDFFFFFF == 0x5EFE


def _rule(text: str) -> Rule:
    """One entry of AGENTSPAN_OUTGOING_ALLOW: a network, an address or a name, each perhaps with a port."""
    host, _, digits = text.rpartition(":") if PORTED.fullmatch(text) else (text, "", "")
    port = int(digits) if digits else None
    if port is None or 0 < port < 65_536:
        with contextlib.suppress(ValueError):
            return Rule(ipaddress.ip_network(host.strip("[]")), "", port)
        if NAME.fullmatch(host) and _spelling(host.removeprefix("*.")) is None:
            return Rule(None, host, port)
    raise ConfigurationProblem(
        f"AGENTSPAN_OUTGOING_ALLOW names {text!r}; it must be a name (agents.example, *.example), an address "
        "(10.0.0.7) or one of them with a port (10.0.0.7:8080), a range (10.0.0.0/8), or one of the words "
        f"{', '.join(sorted(WORDS))}."
    )


# URLs


def _parsed(text: str) -> httpx.URL:
    if len(text) > MOST_URL_CHARS:
        raise Refused(f"a URL may have {MOST_URL_CHARS} characters")
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, ValueError) as error:  # its parts are parsed by others, who raise their own
        raise Refused(f"{_shown(text)} is no URL: {error}") from None
    if url.scheme not in PORTS:
        raise Refused(f"{_shown(text)} is no http or https URL")
    if url.userinfo:
        raise Refused("a URL may not hold a user or a password; put them into a header")
    if not url.host:
        raise Refused(f"{_shown(text)} names no host")
    if problem := _spelling(url.host):
        raise Refused(f"the host {url.host} {problem}")
    if url.port is not None and not 0 < url.port < 65_536:
        raise Refused(f"{_shown(text)} names a port that there is not")
    return url


def _spelling(host: str) -> str | None:
    """What is odd about how a host is written; None for a name, and for an address in its usual form."""
    if host.endswith("."):
        return "ends with a dot; leave it out"
    if "%" in host:
        return "holds a space, a % or an interface of the server, which no host has"
    last = host.rpartition(".")[2]
    if (":" in host or NUMBER.fullmatch(last)) and _address(host) is None:
        return "is no address in its usual form, such as 192.0.2.7 or 2001:db8::7"
    return None


def _address(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def _port(url: httpx.URL) -> int:
    return url.port or PORTS[url.scheme]


def _shown(text: str) -> str:
    """A URL in an error: its query may hold what nobody should see."""
    return repr(re.split(r"[?#]", text, maxsplit=1)[0][:200])


# Names and certificates


async def _resolve(host: str, port: int) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


@cache
def _trust() -> ssl.SSLContext:
    """The certificates that SSL_CERT_FILE names, else those that come with httpx. Reading them takes a while."""
    return httpx.create_ssl_context()


# Redirects


def _onward(request: httpx.Request, response: httpx.Response) -> httpx.Request | None:
    """The request that a redirect asks for; None if this is the answer. To another origin goes nothing that was meant
    for the first."""
    place = response.headers.get("Location")
    if response.status_code not in REDIRECTS or not place:
        return None
    try:
        url = request.url.join(place)
    except (httpx.InvalidURL, ValueError):
        raise Broken("the answer redirects to what is no URL") from None
    same = (url.scheme, url.host, _origin_port(url)) == (request.url.scheme, request.url.host, _port(request.url))
    plain = response.status_code == 303 or (response.status_code in (301, 302) and request.method == "POST")
    method = "GET" if plain and request.method != "HEAD" else request.method
    headers = {
        name: value
        for name, value in request.headers.items()
        if name not in REMADE and (same or name in HARMLESS) and not (plain and name == "content-type")
    }
    return httpx.Request(method, url, headers=headers, content=None if plain else request.content or None)


def _origin_port(url: httpx.URL) -> int | None:
    return url.port or PORTS.get(url.scheme)


# Answers


async def _answer(response: httpx.Response, most_bytes: int) -> Answer:
    pieces, size = [], 0
    assert isinstance(response.stream, httpx.AsyncByteStream)
    async for piece in _decoded(response.stream, response.headers.get("Content-Encoding", ""), most_bytes):
        size += len(piece)
        if size > most_bytes:
            raise Broken(f"the answer is larger than {most_bytes} bytes")
        pieces.append(piece)
    reason = response.extensions.get("reason_phrase", b"").decode("latin-1")
    return Answer(response.status_code, reason, response.headers, b"".join(pieces))


async def _decoded(stream: httpx.AsyncByteStream, encoding: str, most: int) -> AsyncIterator[bytes]:
    """The body without its compression, never more than a little over `most` of it at once."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        async for chunk in stream:
            yield chunk
        return
    if encoding not in WINDOWS:
        raise Broken(f"the answer is compressed in a way that was not asked for: {encoding[:40]!r}")
    unpack, began = zlib.decompressobj(WINDOWS[encoding]), False
    async for chunk in stream:
        while chunk:
            if unpack.eof:
                unpack = zlib.decompressobj(WINDOWS[encoding])
            began = True
            try:
                piece = unpack.decompress(chunk, most + 1)
            except zlib.error:
                raise Broken(f"the answer is not compressed as it says: {encoding}") from None
            chunk = unpack.unused_data if unpack.eof else unpack.unconsumed_tail
            yield piece
    if began and not unpack.eof:
        raise Broken("the compressed answer breaks off")


WORDS = frozenset({"*", "loopback", "none", "private"})
"""What AGENTSPAN_OUTGOING_ALLOW may say besides names and addresses."""
NAMEABLE = ("loopback", "private")
"""The kinds of address to which a name that is allowed may lead."""
NAME = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*")
PORTED = re.compile(r"(\[.*\]|[^:]*):\d+")
NUMBER = re.compile(r"\d+|0x[0-9a-f]*", re.IGNORECASE)
REDIRECTS = (301, 302, 303, 307, 308)
REMADE = ("host", "content-length", "transfer-encoding")
HARMLESS = ("accept", "accept-encoding", "content-type", "user-agent")
WINDOWS: Mapping[str, int] = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""The compressions that are understood, with what zlib calls them."""

KINDS = {
    "": "a public address",
    "loopback": "an address of the server itself",
    "private": "a private address",
    "link-local": "a link-local address",
    "metadata": "an address at which a cloud gives out credentials",
    "multicast": "a multicast address",
    "reserved": "a reserved address",
}
_RANGES = {
    "metadata": "169.254.169.254 169.254.170.2 169.254.170.23 169.254.42.42 100.100.100.200 168.63.129.16 192.0.0.192 "
    "fd00:ec2::254 fd00:ec2::23 fd20:ce::254",
    "loopback": "127.0.0.0/8 ::1",
    "link-local": "169.254.0.0/16 fe80::/10",
    "private": "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 fc00::/7 fec0::/10",
    "multicast": "224.0.0.0/4 ff00::/8",
    "reserved": "0.0.0.0/8 192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 "
    "240.0.0.0/4 2001::/23 2001:db8::/32 2002::/16 3fff::/20",
}
SPECIAL = tuple((ipaddress.ip_network(each), kind) for kind, ranges in _RANGES.items() for each in ranges.split())
"""Ranges that are not public, the first that holds; of IPv6, everything outside of GLOBAL is not either."""
GLOBAL = ipaddress.ip_network("2000::/3")
NAT64 = ipaddress.ip_network("64:ff9b::/96")
