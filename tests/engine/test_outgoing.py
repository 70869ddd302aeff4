"""Where a server goes: by looks, by what a name means now, and on each redirect; and how much it reads there."""

import asyncio
import gzip
import ipaddress
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from tornado.web import RequestHandler

from agentspan.engine.outgoing import Answer, Broken, Outgoing, Refused, kind_of
from agentspan.errors import ConfigurationProblem
from agentspan.server.worker import bounded
from tests.engine.house import settings
from tests.engine.site import Site, serve

LOCAL = ("loopback",)
PUBLIC = "93.184.216.34"


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serve() as site:
        yield site


@pytest.fixture
async def other() -> AsyncIterator[Site]:
    """Another origin: the same address on another port."""
    async with serve() as site:
        yield site


def names(**known: str) -> Callable[[str, int], Awaitable[list[str]]]:
    """A resolver that knows these names (with _ for a dot), each with its addresses."""

    async def resolve(host: str, port: int) -> list[str]:
        if host.replace(".", "_") not in known:
            raise socket.gaierror(f"{host} is not known")
        return known[host.replace(".", "_")].split()

    return resolve


async def get(outgoing: Outgoing, url: str, headers: Mapping[str, str] | None = None, **limits: Any) -> Answer:
    given_ = {"seconds": 5.0, "most_bytes": 10_000, **limits}
    return await outgoing.fetch(httpx.Request("GET", url, headers=headers), **given_)


# Addresses


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        (PUBLIC, ""),
        ("2606:2800:220:1::1", ""),
        ("64:ff9b::5db8:d822", ""),
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("64:ff9b::7f00:1", "loopback"),
        ("10.1.2.3", "private"),
        ("172.31.255.255", "private"),
        ("192.168.0.1", "private"),
        ("100.64.0.1", "private"),
        ("fd12::1", "private"),
        ("::ffff:10.0.0.1", "private"),
        ("64:ff9b::a00:1", "private"),
        ("169.254.0.1", "link-local"),
        ("fe80::1", "link-local"),
        ("169.254.169.254", "metadata"),
        ("169.254.170.2", "metadata"),
        ("100.100.100.200", "metadata"),
        ("168.63.129.16", "metadata"),
        ("fd00:ec2::254", "metadata"),
        ("::ffff:169.254.169.254", "metadata"),
        ("64:ff9b::a9fe:a9fe", "metadata"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("0.0.0.0", "reserved"),
        ("0.1.2.3", "reserved"),
        ("255.255.255.255", "reserved"),
        ("240.0.0.1", "reserved"),
        ("192.0.2.1", "reserved"),
        ("::", "reserved"),
        ("::7f00:1", "reserved"),
        ("2002:7f00:1::", "reserved"),
        ("2001:0:1::1", "reserved"),
        ("2001:db8::1", "reserved"),
        ("64:ff9b:1::a00:1", "reserved"),
        ("2606:2800::5efe:10.0.0.1", "reserved"),
        ("4000::1", "reserved"),
    ],
)
def test_an_address_is_known_by_its_kind(address: str, kind: str) -> None:
    assert kind_of(ipaddress.ip_address(address)) == kind


@given(st.ip_addresses(v=4))
def test_what_is_not_global_is_never_public(address: ipaddress.IPv4Address) -> None:
    if not address.is_global or address.is_multicast:
        assert kind_of(address)
        assert kind_of(ipaddress.IPv6Address(f"::ffff:{address}"))
        assert kind_of(ipaddress.IPv6Address(f"64:ff9b::{address}"))


@given(st.ip_addresses(v=6))
def test_what_is_not_global_in_ipv6_is_never_public(address: ipaddress.IPv6Address) -> None:
    if not address.is_global or address.is_multicast:
        assert kind_of(address)


# URLs

LOOPBACKS = [
    "http://127.0.0.1", "http://127.1", "http://127.0.1", "http://2130706433", "http://0x7f000001", "http://0x7f.1",
    "http://0177.0.0.1", "http://0177.1", "http://127.0.0.1.", "http://[::1]", "http://[0:0:0:0:0:0:0:1]",
    "http://[::ffff:127.0.0.1]", "http://[::ffff:7f00:1]", "http://[64:ff9b::7f00:1]", "http://0", "http://0.0.0.0",
    "http://[::]", "http://[::1%25lo]", "http://localhost", "http://LOCALHOST", "http://localhost.", "http://①②⑦.0.0.1",
    "http://user@127.0.0.1", "http://example.org@127.0.0.1", "http://127.0.0.1:80\\@example.org", "http://[2002:7f00:1::]",
]  # fmt: skip


@pytest.mark.parametrize("url", LOOPBACKS)
async def test_loopback_is_refused_however_it_is_written(url: str) -> None:
    with pytest.raises(Refused):
        await Outgoing().check(url)


@st.composite
def spellings(draw: st.DrawFn) -> str:
    """127.x.y.z as C libraries read it: parts in any base, the last one filled with what is left out."""
    number = int(draw(st.ip_addresses(network="127.0.0.0/8")))
    parts = draw(st.integers(1, 4))
    bytes_ = number.to_bytes(4)
    values = [*bytes_[: parts - 1], int.from_bytes(bytes_[parts - 1 :])]
    forms = [draw(st.sampled_from(("{}", "0x{:x}", "0X{:X}", "0{:o}"))).format(each) for each in values]
    return ".".join(forms) + draw(st.sampled_from(("", ".")))


@given(spellings(), st.sampled_from(("http", "https")), st.sampled_from(("", ":80", ":8080")))
def test_no_spelling_of_loopback_leads_there(host: str, scheme: str, port: str) -> None:
    with pytest.raises(Refused):
        asyncio.run(Outgoing().check(f"{scheme}://{host}{port}/"))


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://example.org/", "no http"),
        ("file:///etc/passwd", "no http"),
        ("gopher://example.org", "no http"),
        ("http://", "no host"),
        ("http:///path", "no host"),
        ("http://a:b@example.org/", "user"),
        ("http://example.org./", "dot"),
        ("http://[fe80::1%25eth0]/", "usual form|no URL|interface"),
        ("http://exa mple.org/", "no host"),
        ("http://example.org:99999/", "port"),
        ("http://example.org:0/", "port"),
        (f"http://example.org/{'a' * 9000}", "characters"),
    ],
)
def test_a_url_that_no_policy_allows_is_refused_even_where_all_is_allowed(url: str, why: str) -> None:
    with pytest.raises(Refused, match=why):
        Outgoing(["*"]).url(url)


def test_an_error_does_not_show_the_query_of_a_url() -> None:
    with pytest.raises(Refused) as caught:
        Outgoing().url("ftp://example.org/a?key=hush")
    assert "hush" not in str(caught.value)


@given(st.text(max_size=40))
def test_any_text_is_a_url_or_refused(text: str) -> None:
    for url in (text, f"http://{text}"):
        try:
            Outgoing().url(url)
        except Refused:
            continue


# What the operator allows


@pytest.mark.parametrize(
    ("allow", "host", "addresses", "goes"),
    [
        ("", "a.example", PUBLIC, True),
        ("", "a.example", "10.0.0.1", False),
        ("", "a.example", f"10.0.0.1 {PUBLIC}", True),
        ("private", "a.example", "10.0.0.1", True),
        ("private", "a.example", "127.0.0.1", False),
        ("private", "a.example", "169.254.169.254", False),
        ("loopback", "a.example", "127.0.0.1", True),
        ("loopback", "a.example", "10.0.0.1", False),
        ("loopback", "a.example", "0.0.0.0", False),
        ("a.example", "a.example", "10.0.0.1", True),
        ("a.example", "A.example", "127.0.0.1", True),
        ("a.example", "b.example", "10.0.0.1", False),
        ("a.example", "a.example", "169.254.169.254", False),
        ("a.example", "a.example", "169.254.1.1", False),
        ("*.example", "a.example", "10.0.0.1", True),
        ("*.example", "example", "10.0.0.1", False),
        ("a.example:8080", "a.example", "10.0.0.1", True),
        ("a.example:8081", "a.example", "10.0.0.1", False),
        ("10.0.0.0/8", "a.example", "10.9.9.9", True),
        ("10.0.0.0/8", "a.example", "::ffff:10.9.9.9", True),
        ("10.0.0.0/8", "a.example", "192.168.0.1", False),
        ("10.0.0.7", "a.example", "10.0.0.7", True),
        ("10.0.0.7:8080", "a.example", "10.0.0.7", True),
        ("10.0.0.7:443", "a.example", "10.0.0.7", False),
        ("fd00::/8", "a.example", "fd00::1", True),
        ("[fd00::1]:8080", "a.example", "fd00::1", True),
        ("[fd00::1]:443", "a.example", "fd00::1", False),
        ("169.254.169.254", "a.example", "169.254.169.254", True),
        ("none", "a.example", "127.0.0.1", False),
        ("none", "a.example", PUBLIC, True),
        ("*", "a.example", "169.254.169.254", True),
    ],
)
async def test_the_operator_allows_words_names_addresses_and_ranges(
    allow: str, host: str, addresses: str, goes: bool
) -> None:
    outgoing = Outgoing(allow.split(), names(a_example=addresses, A_example=addresses, b_example=addresses,
                                             example=addresses))  # fmt: skip
    if goes:
        assert await outgoing.addresses(host, 8080)
    else:
        with pytest.raises(Refused, match="AGENTSPAN_OUTGOING_ALLOW"):
            await outgoing.addresses(host, 8080)


@pytest.mark.parametrize("entry", ["10.0.0.1/8", "a..c", "host:99999", "host:0", "10.0.0.7:0", "0x7f.1", "*.*.x", "x:"])
def test_an_entry_that_cannot_be_read_stops_the_start(entry: str) -> None:
    with pytest.raises(ConfigurationProblem, match="AGENTSPAN_OUTGOING_ALLOW"):
        Outgoing([entry])


@pytest.mark.parametrize(
    ("changes", "goes"),
    [
        ({}, True),
        ({"host": "localhost"}, True),
        ({"host": "0.0.0.0"}, False),
        ({"tenant": "acme"}, False),
        ({"outgoing_allow": ("none",)}, False),
        ({"host": "0.0.0.0", "outgoing_allow": ("loopback",)}, True),
    ],
)
async def test_a_server_that_only_its_machine_reaches_may_go_to_that_machine(
    sqlite_url: str, tmp_path: Path, changes: dict[str, Any], goes: bool
) -> None:
    outgoing = Outgoing.of(settings(sqlite_url, tmp_path, **changes))
    with pytest.raises(Refused):
        await outgoing.check("http://169.254.169.254/")
    with pytest.raises(Refused):
        await outgoing.check("http://10.0.0.1/")
    if goes:
        await outgoing.check("http://127.0.0.1:11434/")
    else:
        with pytest.raises(Refused):
            await outgoing.check("http://127.0.0.1:11434/")


def test_a_process_that_makes_the_calls_of_servers_goes_where_these_do(sqlite_url: str, tmp_path: Path) -> None:
    given_ = settings(sqlite_url, tmp_path)
    url = httpx.URL("https://models.example/")
    assert Outgoing.of(given_).trusts(url)
    assert not Outgoing.of(bounded(given_)).trusts(url)
    with pytest.raises(Refused):
        Outgoing.of(bounded(given_)).url("http://127.0.0.1/")
    named = bounded(settings(sqlite_url, tmp_path, outgoing_allow=("models.example",)))
    assert Outgoing.of(named).trusts(url)


# Connections


async def test_the_connection_goes_to_the_address_that_was_judged_and_bears_the_name(site: Site) -> None:
    answer = await get(Outgoing(LOCAL, names(a_example="127.0.0.1")), site.url("/x", "a.example"))
    assert (answer.status, answer.body) == (200, b'{"path": "/x"}')
    assert site.asked[0].headers["Host"] == f"a.example:{site.port}"


async def test_a_name_that_changes_its_meaning_leads_nowhere_else(site: Site) -> None:
    """The first look is public, each later one is loopback: only what was looked at is connected to."""
    looks: list[str] = []

    async def rebinding(host: str, port: int) -> list[str]:
        looks.append(host)
        return ["192.0.2.1"] if len(looks) == 1 else ["127.0.0.1"]

    outgoing = Outgoing(["192.0.2.1"], rebinding)
    with pytest.raises((TimeoutError, httpx.TransportError)):
        await get(outgoing, site.url("/", "a.example"), seconds=0.2)
    assert looks == ["a.example"]
    assert site.asked == []
    with pytest.raises(Refused):
        await get(outgoing, site.url("/", "a.example"))
    assert site.asked == []


async def test_the_next_address_of_a_name_is_tried_where_one_does_not_answer(site: Site) -> None:
    answer = await get(Outgoing(LOCAL, names(a_example="127.0.0.9 10.0.0.1 127.0.0.1")), site.url("/", "a.example"))
    assert answer.status == 200


async def test_a_name_that_nobody_knows_cannot_be_reached(site: Site) -> None:
    with pytest.raises(httpx.ConnectError, match="not known"):
        await get(Outgoing(LOCAL, names()), site.url("/", "a.example"))


async def test_a_proxy_of_the_environment_takes_no_part(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert (await get(Outgoing(LOCAL), site.url())).status == 200


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's side and a client's side for a name with a certificate of its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "both.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    return server, ssl.create_default_context(cadata=made.public_bytes(serialization.Encoding.PEM).decode())


async def test_a_certificate_is_checked_by_the_name_and_not_by_the_address(tmp_path: Path) -> None:
    tls, trust = certificate(tmp_path, "a.example")
    outgoing = Outgoing(LOCAL, names(a_example="127.0.0.1", b_example="127.0.0.1"), trust)
    async with serve(tls) as site:
        assert (await get(outgoing, site.url("/", "a.example"))).status == 200
        with pytest.raises(httpx.ConnectError, match="certificate"):
            await get(outgoing, site.url("/", "b.example"))


# Redirects


def to(url: str, status: int = 302) -> Callable[[RequestHandler], None]:
    return lambda handler: handler.redirect(url, status=status)


@pytest.mark.parametrize(
    "place",
    ["http://169.254.169.254/latest/meta-data/", "http://10.0.0.1/", "//[::ffff:169.254.169.254]/", "http://0x7f.1/",
     "file:///etc/passwd", "http://u:p@127.0.0.1/"],
)  # fmt: skip
async def test_a_redirect_leads_only_where_a_request_may_go(site: Site, place: str) -> None:
    site.answers["/"] = to(place)
    with pytest.raises(Refused):
        await get(Outgoing(LOCAL), site.url())


async def test_a_redirect_within_an_origin_keeps_what_was_sent(site: Site) -> None:
    site.answers["/"] = to("/next?a=1")
    answer = await get(Outgoing(LOCAL), site.url(), {"Authorization": "hush"})
    assert answer.body == b'{"path": "/next"}'
    assert [each.headers["Authorization"] for each in site.asked] == ["hush", "hush"]


async def test_a_redirect_to_another_origin_takes_no_credentials_along(site: Site, other: Site) -> None:
    site.answers["/"] = to(other.url("/next"))
    headers = {"Authorization": "hush", "Cookie": "hush", "X-Api-Key": "hush", "Accept": "text/plain"}
    await get(Outgoing(LOCAL), site.url(), headers)
    [asked] = other.asked
    assert "hush" not in str(list(asked.headers.get_all()))
    assert asked.headers["Accept"] == "text/plain"
    assert asked.headers["Host"] == f"127.0.0.1:{other.port}"


@pytest.mark.parametrize(("status", "method"), [(301, "GET"), (302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")])
async def test_a_redirect_changes_the_method_as_it_says(site: Site, status: int, method: str) -> None:
    site.answers["/"] = to("/next", status)
    request = httpx.Request("POST", site.url(), json={"a": 1})
    await Outgoing(LOCAL).fetch(request, seconds=5, most_bytes=1000)
    assert [each.method for each in site.asked] == ["POST", method]
    assert site.asked[1].body == (b'{"a":1}' if method == "POST" else b"")


async def test_redirects_in_a_circle_end(site: Site) -> None:
    site.answers["/"] = to("/")
    with pytest.raises(Broken, match="more than 5"):
        await get(Outgoing(LOCAL), site.url())


# Answers


def raw(body: bytes, encoding: str = "") -> Callable[[RequestHandler], None]:
    def answer(handler: RequestHandler) -> None:
        if encoding:
            handler.set_header("Content-Encoding", encoding)
        handler.finish(body)

    return answer


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [("gzip", gzip.compress(b"hello", mtime=0)), ("deflate", zlib.compress(b"hello")), ("", b"hello"),
     ("identity", b"hello"), ("gzip", gzip.compress(b"he", mtime=0) + gzip.compress(b"llo", mtime=0))],
)  # fmt: skip
async def test_an_answer_is_unpacked(site: Site, encoding: str, packed: bytes) -> None:
    site.answers["/"] = raw(packed, encoding)
    assert (await get(Outgoing(LOCAL), site.url())).body == b"hello"


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("", b"a" * 10_001),
        ("gzip", gzip.compress(bytes(100_000_000), 1, mtime=0)),
        ("deflate", zlib.compress(bytes(20_000))),
    ],
    ids=["plain", "gzip bomb", "deflate"],
)
async def test_an_answer_that_is_too_large_is_not_read_to_its_end(site: Site, encoding: str, packed: bytes) -> None:
    site.answers["/"] = raw(packed, encoding)
    with pytest.raises(Broken, match="larger than 10000 bytes"):
        await get(Outgoing(LOCAL), site.url())


@pytest.mark.parametrize(
    ("encoding", "packed", "why"),
    [("br", b"x", "was not asked for"), ("gzip", b"hello", "not compressed as it says"),
     ("gzip", gzip.compress(b"hello" * 100, mtime=0)[:-9], "breaks off")],
)  # fmt: skip
async def test_an_answer_that_cannot_be_unpacked_says_so(site: Site, encoding: str, packed: bytes, why: str) -> None:
    site.answers["/"] = raw(packed, encoding)
    with pytest.raises(Broken, match=why):
        await get(Outgoing(LOCAL), site.url())


async def test_an_answer_that_does_not_come_is_given_up() -> None:
    hung_up = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1024):
            pass
        writer.close()
        await writer.wait_closed()
        hung_up.set()

    listener = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    with pytest.raises(TimeoutError):
        await get(Outgoing(LOCAL), f"http://127.0.0.1:{port}/", seconds=0.1)
    await asyncio.wait_for(hung_up.wait(), 10)
    listener.close()
    await listener.wait_closed()
