"""The hostile test bed: what a link may do to us, and what becomes of it."""

import itertools
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from generation import fetch
from generation.fetch import (
    AddressNotPublic,
    Answer,
    DeadLink,
    FetchRefused,
    Limits,
    LinkNotAllowed,
    TooLarge,
    TooManyRedirects,
    TooSlow,
    Unreachable,
)
from tests.generation.hostile_server import HostileServer, answer, serving

pytestmark = pytest.mark.usefixtures("bounded_memory")

PUBLIC_ADDRESS = "93.184.216.34"
PATIENT = Limits()
SHORT = Limits(timeout_seconds=0.3)


@dataclass
class Network:
    """The internet as these tests see it: names mean what `names` says, and only loopback can be reached."""

    names: dict[str, list[list[str]]] = field(default_factory=dict)  # answers of one look-up after another
    routes: dict[str, int] = field(default_factory=dict)  # from an address to a port of loopback
    looked_up: list[str] = field(default_factory=list)
    dialled: list[str] = field(default_factory=list)


@pytest.fixture(autouse=True)
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    network = Network()
    look_up, dial = socket.getaddrinfo, socket.socket.connect

    def getaddrinfo(host: str, port: int, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> object:
        network.looked_up.append(host)
        answers = network.names.get(host.rstrip("."))
        if answers is None:  # an address, perhaps in a legacy spelling, which the C library reads; never a real name
            return look_up(host, port, family, type, proto, flags | socket.AI_NUMERICHOST)
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [row for address in addresses for row in look_up(address, port, 0, socket.SOCK_STREAM)]

    def connect(sock: socket.socket, address: tuple[str, int]) -> None:
        if threading.current_thread().name == "fetch":
            network.dialled.append(address[0])
            if address[0] in network.routes:
                address = ("127.0.0.1", network.routes[address[0]])
            elif not ip_address(address[0]).is_loopback:
                raise ConnectionRefusedError
        dial(sock, address)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(socket.socket, "connect", connect)
    return network


@pytest.fixture
def server() -> Iterator[HostileServer]:
    """A host that may be fetched from: it is on the allow-list."""
    with serving() as server:
        yield server


@pytest.fixture
def internal() -> Iterator[HostileServer]:
    """A host that must never be asked anything."""
    with serving() as internal:
        internal.url("/", answer(b"secret"))
        yield internal
        assert internal.requests == []


def get(server: HostileServer, path: str = "/", limits: Limits = PATIENT) -> bytes:
    return fetch.fetch(f"http://{server.host}{path}", limits=limits, allowed_hosts=frozenset({server.host}))


def drip(*pieces: bytes, seconds: float = 0.05, forever: bytes = b"") -> Callable[[socket.socket], None]:
    def talk(sock: socket.socket) -> None:
        for piece in itertools.chain(pieces, itertools.repeat(forever) if forever else ()):
            sock.sendall(piece)
            time.sleep(seconds)

    return talk


# --- a good link ------------------------------------------------------------------------------------------------------


def test_it_downloads_a_file(server: HostileServer) -> None:
    server.url("/photo.png", answer(b"pixels"))

    assert get(server, "/photo.png") == b"pixels"


def test_it_asks_for_the_plain_file_under_its_own_name(server: HostileServer) -> None:
    server.url("/a%20b/%C3%A4.png?q=1&r=%2F", answer(b"pixels"))

    get(server, "/a b/ä.png?q=1&r=%2F#part")

    assert server.requests == [
        f"GET /a%20b/%C3%A4.png?q=1&r=%2F HTTP/1.1\r\nHost: {server.host}\r\nUser-Agent: Atelier\r\n"
        "Connection: close\r\nAccept: image/*\r\nAccept-Encoding: identity\r\n\r\n".encode()
    ]


def test_it_downloads_chunks_and_bodies_without_a_length(server: HostileServer) -> None:
    server.url("/chunks", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\npix\r\n3\r\nels\r\n0\r\n\r\n")
    server.url("/open", b"HTTP/1.0 200 OK\r\n\r\npixels")

    assert get(server, "/chunks") == b"pixels"
    assert get(server, "/open") == b"pixels"


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
def test_it_follows_a_redirect(server: HostileServer, status: str) -> None:
    server.url("/old/link", answer(status=status, Location="../new"))
    server.url("/new", answer(b"pixels"))

    assert get(server, "/old/link") == b"pixels"


def test_it_dials_a_public_address(network: Network) -> None:
    network.names["photos.example"] = [[PUBLIC_ADDRESS]]

    with pytest.raises(Unreachable):
        fetch.fetch("https://photos.example/a.png")

    assert network.dialled == [PUBLIC_ADDRESS]


def test_it_dials_a_public_ipv6_address(network: Network) -> None:
    with pytest.raises(Unreachable):
        fetch.fetch("http://[2606:2800:220:1::1]/a.png")

    assert network.dialled == ["2606:2800:220:1::1"]


def test_it_tries_the_next_address_of_a_name_but_not_endlessly(network: Network) -> None:
    network.names["photos.example"] = [[f"93.184.216.{n}" for n in range(1, 100)]]

    with pytest.raises(Unreachable):
        fetch.fetch("http://photos.example/a.png")

    assert network.dialled == ["93.184.216.1", "93.184.216.2", "93.184.216.3"]


def test_it_ignores_proxies_of_the_environment(
    server: HostileServer, internal: HostileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.url("/", answer(b"pixels"))
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://{internal.host}")

    assert get(server) == b"pixels"


# --- addresses --------------------------------------------------------------------------------------------------------

NOT_PUBLIC = [
    *("127.0.0.1", "127.8.8.8", "127.255.255.255", "0.0.0.0", "0.1.2.3"),
    *("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "100.127.255.255"),
    *("169.254.0.1", "169.254.169.254", "169.254.170.2", "100.100.100.200", "192.0.0.192"),
    *("192.0.0.1", "192.0.0.9", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.51.100.1", "203.0.113.1"),
    *("224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "fe80::1", "fec0::1", "feff::1", "fc00::1", "fd00:ec2::254", "ff02::1", "ff0e::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe", "::ffff:0.0.0.0", "::ffff:100.64.0.1"),
    *("::127.0.0.1", "::a00:1", "::93.184.216.34", "::ffff:0:127.0.0.1"),
    *("64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b::5db8:d822", "64:ff9b:1::7f00:1", "64:ff9b:1:ffff::1"),
    *("2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:5db8:d822::1", "2001:0:7f00:1::1", "2001:0:5db8:d822::1"),
    *("2001:2::1", "2001:10::1", "2001:20::1", "2001:db8::1", "3fff::1", "5f00::1", "100::1", "4000::1", "e000::1"),
]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_it_refuses_an_address_that_is_not_public(network: Network, address: str) -> None:
    host = f"[{address}]" if ":" in address else address

    with pytest.raises(AddressNotPublic, match=r"^The link leads to an address that is not on the public internet\.$"):
        fetch.fetch(f"http://{host}/a.png")

    assert network.dialled == []


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_it_refuses_a_name_of_an_address_that_is_not_public(network: Network, address: str) -> None:
    network.names["photos.example"] = [[address]]

    with pytest.raises(AddressNotPublic):
        fetch.fetch("http://photos.example/a.png")

    assert network.dialled == []


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST", "localhost.", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ", "a.localhost", "ip6-localhost"])
def test_it_refuses_names_of_this_machine(network: Network, name: str) -> None:
    network.names |= {"localhost": [["127.0.0.1"]], "a.localhost": [["127.0.0.1"]], "ip6-localhost": [["::1"]]}

    with pytest.raises(AddressNotPublic):
        fetch.fetch(f"http://{name}/a.png")

    assert network.dialled == []


@pytest.mark.parametrize(
    "host",
    [
        *("2130706433", "017700000001", "0x7f000001", "0X7F000001", "127.1", "127.0.1", "127.0.0.1."),
        *("0177.0.0.1", "0177.0.0.01", "0x7f.0.0.1", "0x7f.1", "0x7f.0x0.0x0.0x1", "127.0.0.0x1", "127.0.0.1.1"),
        *("1572395042", "0x5db8d822", "93.184.55330", "093.184.216.34", "93.184.216.0x22", "93.184.216.256"),
        *("photos.0x7f", "photos.1", "photos.example.7", "0x", "photos.0x"),
        *("127.0.0.1%00", "127.0.0.1%2f.photos.example", "%31%32%37.0.0.1", "[::1%25lo]", "[fe80::1%25eth0]"),
        *("127\u30020\u30020\u30021.", "127.0.0.1\u3002", "\uff11\uff12\uff17.1"),
    ],
)
def test_it_refuses_disguised_spellings_of_an_address(network: Network, host: str) -> None:
    with pytest.raises(LinkNotAllowed):
        fetch.fetch(f"http://{host}/a.png")

    assert network.looked_up == []
    assert network.dialled == []


@pytest.mark.parametrize("host", ["①②⑦.0.0.1", "１２７.0.0.1", "127。0。0。1", "127.0.0.⑴"])
def test_it_sees_through_digits_of_other_alphabets(network: Network, host: str) -> None:
    with pytest.raises((AddressNotPublic, LinkNotAllowed)):
        fetch.fetch(f"http://{host}/a.png")

    assert network.dialled == []


def test_it_refuses_a_name_with_public_and_private_addresses(network: Network) -> None:
    network.names["photos.example"] = [[PUBLIC_ADDRESS, "127.0.0.1"]]

    with pytest.raises(AddressNotPublic):
        fetch.fetch("http://photos.example/a.png")

    assert network.dialled == []


def test_it_connects_to_the_address_that_it_checked_when_the_name_moves(
    network: Network, internal: HostileServer
) -> None:
    port = internal.server_address[1]
    network.names["photos.example"] = [[PUBLIC_ADDRESS], ["127.0.0.1"]]

    with pytest.raises(Unreachable):
        fetch.fetch(f"http://photos.example:{port}/")

    assert network.looked_up == ["photos.example"]
    assert network.dialled == [PUBLIC_ADDRESS]


def test_it_looks_at_where_the_socket_really_ended(network: Network, internal: HostileServer) -> None:
    network.routes[PUBLIC_ADDRESS] = internal.server_address[1]

    with pytest.raises(AddressNotPublic):
        fetch.fetch(f"http://{PUBLIC_ADDRESS}/")

    assert network.dialled == [PUBLIC_ADDRESS]


def test_it_lets_only_the_named_port_of_an_allowed_host_through(
    network: Network, server: HostileServer, internal: HostileServer
) -> None:
    server.url("/", answer(b"pixels"))
    network.names["media"] = [["127.0.0.1"]]
    port = server.server_address[1]
    allowed_hosts = frozenset({f"media:{port}"})

    assert fetch.fetch(f"http://media:{port}/", allowed_hosts=allowed_hosts) == b"pixels"
    with pytest.raises(AddressNotPublic):
        fetch.fetch(f"http://media:{internal.server_address[1]}/", allowed_hosts=allowed_hosts)
    with pytest.raises(AddressNotPublic):
        fetch.fetch(f"http://127.0.0.1:{port}/", allowed_hosts=allowed_hosts)


# --- what a link may look like ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        *("", " ", "photo.png", "photos.example/a.png", "//photos.example/a.png", "http:", "http://", "http:///a.png"),
        *("http:photos.example", "http:/photos.example/a.png", "http://:80/", "http://?a", "http://#a"),
        *("file:///etc/passwd", "file://photos.example/etc/passwd", "ftp://photos.example/a.png", "data:,a"),
        *(
            "gopher://127.0.0.1:6379/_INFO",
            "dict://127.0.0.1:11211/stats",
            "javascript:alert(1)",
            "ws://photos.example",
        ),
        *("unix:///var/run/docker.sock", "jar:http://photos.example!/a", "ldap://127.0.0.1", "HTTPX://photos.example"),
        *("http://user@photos.example/", "http://user:pw@photos.example/", "http://@photos.example/"),
        *("http://photos.example@127.0.0.1/", "http://photos.example:80@127.0.0.1/", "http://127.0.0.1@photos.example"),
        *("http://photos.example\\@127.0.0.1/", "http://127.0.0.1\\@photos.example/", "http://127.0.0.1\\.example/"),
        *("http:\\\\127.0.0.1\\", "http://photos.example%40127.0.0.1/", "http://photos.example;127.0.0.1/"),
        *(
            "http://photos.exa\tmple/",
            "http://photos.example\r\n/",
            "http://photos.example\x00.org/",
            "\x00http://a.example",
        ),
        *(
            "http://photos.example/ HTTP/1.1\r\nHost: b\r\n\r\n",
            "http://photos.example/a\nb",
            "http://photos.example/\ud800",
        ),
        *(
            "http://\ud800.example/",
            "http://photos .example/",
            "http://photos..example/",
            "http://.example/",
            "http://a_b!/",
        ),
        *("http://[::1/", "http://::1/", "http://[photos.example]/", "http://[]/"),
        *("http://photos.example:0/", "http://photos.example:65536/", "http://photos.example:-1/"),
        *("http://photos.example:a/", "http://photos.example:80:80/", "http://photos.example:²/"),
        *(
            "http://photos.example:22/",
            "http://photos.example:25/",
            "http://photos.example:81/",
            "https://photos.example:1",
        ),
        "http://" + "a" * 64 + ".example/",
        "http://" + "a." * 130 + "example/",
        "http://photos.example/" + "a" * 10_000,
    ],
)
def test_it_refuses_links_that_are_not_plain(network: Network, url: str) -> None:
    network.names["photos.example"] = [["127.0.0.1"]]

    with pytest.raises(LinkNotAllowed):
        fetch.fetch(url)

    assert network.looked_up == []
    assert network.dialled == []


@pytest.mark.parametrize("url", ["http://[::1]x/", "http://[v1.a]/", "http://" + "ä." * 100 + "example/"])
def test_it_reaches_nobody_by_links_that_some_parsers_accept(network: Network, url: str) -> None:
    with pytest.raises(FetchRefused):
        fetch.fetch(url)

    assert network.dialled == []


@pytest.mark.parametrize("port", [80, 443, 1024, 8080, 65535])
def test_it_lets_ports_of_web_servers_through(network: Network, port: int) -> None:
    with pytest.raises(Unreachable):
        fetch.fetch(f"http://{PUBLIC_ADDRESS}:{port}/")

    assert network.dialled == [PUBLIC_ADDRESS]


def test_it_sends_nothing_but_a_path_when_the_link_tries_to_smuggle_headers(server: HostileServer) -> None:
    server.url("/%0d%0aX-Evil:%201", answer(b"pixels"))

    get(server, "/%0d%0aX-Evil: 1")

    assert server.requests[0].startswith(b"GET /%0d%0aX-Evil:%201 HTTP/1.1\r\nHost: ")


# --- redirects --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
def test_it_refuses_a_redirect_inside(
    network: Network, server: HostileServer, internal: HostileServer, status: str
) -> None:
    server.url("/", answer(status=status, Location=f"http://{internal.host}/"))

    with pytest.raises(AddressNotPublic):
        get(server)

    assert network.dialled == ["127.0.0.1"]  # the first hop only


@pytest.mark.parametrize(
    ("location", "refusal"),
    [
        ("http://169.254.169.254/latest/meta-data/", AddressNotPublic),
        ("//169.254.169.254/latest/meta-data/", AddressNotPublic),
        ("http://[::ffff:169.254.169.254]/", AddressNotPublic),
        ("http://inside.example/", AddressNotPublic),
        ("http://2852039166/", LinkNotAllowed),
        ("http://user@inside.example/", LinkNotAllowed),
        ("http://inside.example:22/", LinkNotAllowed),
        ("file:///etc/passwd", LinkNotAllowed),
        ("ftp://inside.example/", LinkNotAllowed),
        ("data:image/png;base64,AAAA", LinkNotAllowed),
        ("http://[", LinkNotAllowed),
    ],
)
def test_it_checks_where_a_redirect_leads(
    network: Network, server: HostileServer, location: str, refusal: type[FetchRefused]
) -> None:
    network.names["inside.example"] = [["10.0.0.1"]]
    server.url("/", answer(status="302 Found", Location=location))

    with pytest.raises(refusal):
        get(server)

    assert network.dialled == ["127.0.0.1"]


def test_it_checks_a_name_again_at_every_hop(network: Network, server: HostileServer, internal: HostileServer) -> None:
    network.names["photos.example"] = [["127.0.0.1"], ["127.0.0.1"]]
    port = server.server_address[1]
    server.url("/", answer(status="302 Found", Location=f"http://photos.example:{internal.server_address[1]}/"))

    with pytest.raises(AddressNotPublic):
        fetch.fetch(f"http://photos.example:{port}/", allowed_hosts=frozenset({f"photos.example:{port}"}))

    assert network.dialled == ["127.0.0.1"]


def test_it_follows_three_redirects_and_not_four(server: HostileServer) -> None:
    server.url("/0", answer(b"pixels"))
    for hop in range(1, 5):
        server.url(f"/{hop}", answer(status="302 Found", Location=f"/{hop - 1}"))

    assert get(server, "/3") == b"pixels"
    with pytest.raises(TooManyRedirects, match=r"^The link redirects more than 3 times; give the final link\.$"):
        get(server, "/4")


def test_it_leaves_a_loop_of_redirects(server: HostileServer) -> None:
    server.url("/", answer(status="302 Found", Location="/"))

    with pytest.raises(TooManyRedirects):
        get(server)

    assert len(server.requests) == 4


# --- time -------------------------------------------------------------------------------------------------------------

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"


@pytest.mark.parametrize(
    "talk",
    [
        pytest.param(drip(seconds=0.05, forever=b"H"), id="status line by the byte"),
        pytest.param(drip(b"HTTP/1.1 200 OK\r\n", forever=b"X: y\r\n"), id="headers by the line"),
        pytest.param(drip(b"HTTP/1.1 200 OK\r\nX: ", forever=b"y"), id="one header by the byte"),
        pytest.param(
            drip(b"HTTP/1.1 100 Continue\r\n\r\n", forever=b"HTTP/1.1 100 Continue\r\n\r\n"), id="100 for ever"
        ),
        pytest.param(drip(HEAD, forever=b"x"), id="body by the byte"),
        pytest.param(drip(b"HTTP/1.1 200 OK\r\n\r\n", forever=b"x"), id="body of no length by the byte"),
        pytest.param(
            drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", forever=b"1\r\nx\r\n"), id="small chunks"
        ),
        pytest.param(
            drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", forever=b"X: y\r\n"), id="trailers"
        ),
        pytest.param(lambda sock: time.sleep(3), id="silence"),
        pytest.param(drip(HEAD, b"x" * 1000, seconds=1.5), id="silence in the body"),
    ],
)
def test_it_hangs_up_at_the_deadline(server: HostileServer, talk: Callable[[socket.socket], None]) -> None:
    server.url("/", talk)
    started = time.monotonic()

    with pytest.raises(TooSlow, match=r"^The host of the link took longer than 0\.3 seconds\.$"):
        get(server, limits=SHORT)

    assert time.monotonic() - started < 1.5
    assert nobody_is_left_on_the_line()


def nobody_is_left_on_the_line() -> bool:
    for thread in threading.enumerate():
        if thread.name == "fetch":
            thread.join(1)
    return not any(thread.name == "fetch" for thread in threading.enumerate())


def test_it_counts_all_redirects_against_one_deadline(server: HostileServer) -> None:
    for hop in range(3):
        server.url(f"/{hop}", drip(b"", answer(status="302 Found", Location=f"/{hop + 1}"), seconds=0.15))

    with pytest.raises(TooSlow):
        get(server, "/0", SHORT)

    assert nobody_is_left_on_the_line()


def test_it_does_not_wait_for_a_stuck_name_server(monkeypatch: pytest.MonkeyPatch) -> None:
    is_over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args: is_over.wait(5) and [])
    started = time.monotonic()

    with pytest.raises(TooSlow):
        fetch.fetch("http://photos.example/", limits=SHORT)

    assert time.monotonic() - started < 1.5
    is_over.set()


def test_it_asks_nobody_after_the_deadline(network: Network, server: HostileServer) -> None:
    """The name server answers when the caller is long gone."""
    network.names["photos.example"] = [["127.0.0.1"]]
    look_up = socket.getaddrinfo
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", lambda *args: time.sleep(0.3) or look_up(*args))
        with pytest.raises(TooSlow):
            fetch.fetch(
                f"http://photos.example:{server.server_address[1]}/",
                limits=Limits(timeout_seconds=0.1),
                allowed_hosts=frozenset({f"photos.example:{server.server_address[1]}"}),
            )
        assert nobody_is_left_on_the_line()

    assert server.requests == []


def test_it_gives_up_on_a_host_that_drops_packets(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(sock: socket.socket, address: object) -> None:
        time.sleep(sock.gettimeout() or 60)
        raise TimeoutError

    monkeypatch.setattr(socket.socket, "connect", connect)
    network.names["photos.example"] = [[f"93.184.216.{n}" for n in range(1, 100)]]
    started = time.monotonic()

    with pytest.raises(TooSlow):
        fetch.fetch("http://photos.example/", limits=SHORT)

    assert time.monotonic() - started < 1.5
    assert nobody_is_left_on_the_line()


def test_it_gives_up_on_a_tls_handshake_that_never_ends() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"127.0.0.1:{silent.getsockname()[1]}"

        with pytest.raises(TooSlow):
            fetch.fetch(f"https://{host}/", limits=SHORT, allowed_hosts=frozenset({host}))

        assert nobody_is_left_on_the_line()


# --- bytes ------------------------------------------------------------------------------------------------------------

SMALL = Limits(max_bytes=100_000, timeout_seconds=5)


def test_it_takes_as_much_as_the_cap(server: HostileServer) -> None:
    server.url("/", answer(b"x" * 100_000))

    assert len(get(server, limits=SMALL)) == 100_000


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "talk",
    [
        pytest.param(answer(b"x" * 100_001), id="a byte too many"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", id="announced"),
        pytest.param(drip(b"HTTP/1.1 200 OK\r\n\r\n", seconds=0, forever=b"x" * 50_000), id="endless"),
        pytest.param(drip(CHUNKED, seconds=0, forever=b"C350\r\n" + b"x" * 50_000 + b"\r\n"), id="endless chunks"),
        pytest.param(drip(CHUNKED + b"FFFFFFFFFFFF\r\n", seconds=0, forever=b"x" * 50_000), id="one endless chunk"),
        pytest.param(
            drip(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", seconds=0, forever=b"x" * 50_000), id="negative"
        ),
        pytest.param(
            drip(b"HTTP/1.1 200 OK\r\nContent-Length: ten\r\n\r\n", seconds=0, forever=b"x" * 50_000), id="no number"
        ),
    ],
)
def test_it_refuses_more_than_the_cap(server: HostileServer, talk: Callable[[socket.socket], None] | bytes) -> None:
    server.url("/", talk)

    with pytest.raises(TooLarge, match=r"^The file behind the link is larger than 0.0953674 MB.$"):
        get(server, limits=SMALL)

    assert nobody_is_left_on_the_line()


def test_the_cap_is_20_mb(server: HostileServer) -> None:
    server.url("/", b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (20 * 2**20 + 1))

    with pytest.raises(TooLarge, match="larger than 20 MB"):
        fetch.fetch(f"http://{server.host}/", allowed_hosts=frozenset({server.host}))


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "zstd", "GZIP", "gzip, gzip, gzip", "identity, gzip"])
def test_it_refuses_compressed_transfers_instead_of_inflating_a_bomb(server: HostileServer, encoding: str) -> None:
    server.url("/", answer(b"bomb", Content_Encoding=encoding))

    with pytest.raises(DeadLink, match="without Content-Encoding"):
        get(server)


def test_it_returns_no_more_than_was_announced(server: HostileServer) -> None:
    server.url("/", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\npixels")

    assert get(server) == b"pix"


@pytest.mark.parametrize(
    "talk",
    [
        pytest.param(HEAD + b"x", id="body"),
        pytest.param(HEAD, id="head"),
        pytest.param(CHUNKED + b"10\r\nx", id="chunk"),
        pytest.param(CHUNKED + b"1\r\nx\r\n", id="between chunks"),
    ],
)
def test_it_refuses_a_file_that_broke_off(server: HostileServer, talk: bytes) -> None:
    server.url("/", talk)

    with pytest.raises(Unreachable, match="broke off"):
        get(server)


# --- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [201, 204, 206, 300, 304, 400, 401, 403, 404, 410, 418, 429, 500, 503, 599, 999])
def test_it_says_what_a_dead_link_answered(server: HostileServer, status: int) -> None:
    server.url("/", answer(b"pixels", status=f"{status} Whatever"))

    with pytest.raises(DeadLink, match=f"^The link answered with HTTP status {status} instead of a file.$"):
        get(server)


def test_a_redirect_to_nowhere_is_a_dead_link(server: HostileServer) -> None:
    server.url("/", answer(status="302 Found"))

    with pytest.raises(DeadLink, match="302"):
        get(server)


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@pytest.mark.parametrize(
    "talk",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(reset, id="a reset"),
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n", id="another protocol"),
        pytest.param(b"pixels", id="HTTP 0.9"),
        pytest.param(b"HTTP/1.1 abc\r\n\r\n", id="a status that is no number"),
        pytest.param(b"HTTP/1.1 99999 OK\r\n\r\n", id="a status of five digits"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", id="a long header"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000 + b"\r\n", id="many headers"),
        pytest.param(CHUNKED + b"zz\r\n", id="a chunk of no size"),
        pytest.param(CHUNKED + b"1" * 100_000, id="a chunk of an endless size"),
    ],
)
def test_it_refuses_what_is_not_http(server: HostileServer, talk: Callable[[socket.socket], None] | bytes) -> None:
    server.url("/", talk)

    with pytest.raises(Unreachable):
        get(server)


def test_it_says_that_a_host_is_unknown() -> None:
    with pytest.raises(Unreachable, match=r"^The host of the link does not exist or its name can't be looked up\.$"):
        fetch.fetch("http://photos.example/")


# --- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def tls_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HostileServer]:
    """A server with a certificate for photos.example, which is in `certificate.pem`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "photos.example")])
    today = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("photos.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "certificate.pem").write_bytes(certificate.public_bytes(pem))
    (tmp_path / "key.pem").write_bytes(private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
    with serving(context) as server:
        server.url("/", answer(b"pixels"))
        yield server


def get_by_name(server: HostileServer, network: Network, name: str) -> bytes:
    network.names[name] = [["127.0.0.1"]]
    host = f"{name}:{server.server_address[1]}"
    return fetch.fetch(f"https://{host}/", limits=SMALL, allowed_hosts=frozenset({host}))


def test_it_verifies_the_certificate_against_the_name(
    tls_server: HostileServer, network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))

    assert get_by_name(tls_server, network, "photos.example") == b"pixels"
    with pytest.raises(Unreachable, match="certificate"):
        get_by_name(tls_server, network, "other.example")


def test_it_refuses_a_certificate_that_nobody_vouches_for(tls_server: HostileServer, network: Network) -> None:
    with pytest.raises(Unreachable, match="certificate"):
        get_by_name(tls_server, network, "photos.example")

    assert tls_server.requests == []


def test_it_hangs_up_at_the_deadline_under_tls_too(
    tls_server: HostileServer, network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    tls_server.url("/", drip(HEAD, forever=b"x"))
    network.names["photos.example"] = [["127.0.0.1"]]
    host = f"photos.example:{tls_server.server_address[1]}"

    with pytest.raises(TooSlow):
        fetch.fetch(f"https://{host}/", limits=SHORT, allowed_hosts=frozenset({host}))

    assert nobody_is_left_on_the_line()


# --- post -------------------------------------------------------------------------------------------------------------


def deliver(server: HostileServer, *, timeout_seconds: float = 15) -> Answer:
    return fetch.post(
        f"http://{server.host}/hook",
        b'{"id": 1}',
        {"Content-Type": "application/json", "webhook-id": "msg_1"},
        timeout_seconds=timeout_seconds,
        allowed_hosts=frozenset({server.host}),
    )


def test_post_delivers_the_body_and_returns_the_answer(server: HostileServer) -> None:
    server.url("/hook", answer(b"thanks", status="202 Accepted", Retry_After="7"))

    assert deliver(server) == Answer(202, {"content-length": "6", "retry-after": "7"}, b"thanks")
    assert server.requests == [
        f"POST /hook HTTP/1.1\r\nHost: {server.host}\r\nAccept-Encoding: identity\r\nContent-Length: 9\r\n"
        "User-Agent: Atelier\r\nConnection: close\r\nContent-Type: application/json\r\nwebhook-id: msg_1\r\n\r\n"
        '{"id": 1}'.encode()
    ]


@pytest.mark.parametrize("status", [200, 204, 301, 307, 400, 410, 429, 500])
def test_post_returns_any_status_and_follows_nothing(
    server: HostileServer, internal: HostileServer, status: int
) -> None:
    server.url("/hook", answer(status=f"{status} Whatever", Location=f"http://{internal.host}/"))

    assert deliver(server).status == status
    assert len(server.requests) == 1


def test_post_reads_only_the_beginning_of_an_endless_answer(server: HostileServer) -> None:
    server.url("/hook", drip(b"HTTP/1.1 200 OK\r\n\r\n", seconds=0, forever=b"x" * 50_000))

    assert deliver(server, timeout_seconds=5).body == b"x" * 4096


@pytest.mark.parametrize(
    "talk",
    [
        pytest.param(drip(HEAD, forever=b"x"), id="drips"),
        pytest.param(CHUNKED + b"zz\r\n", id="is malformed"),
        pytest.param(CHUNKED + b"10\r\nx", id="breaks off"),
    ],
)
def test_post_keeps_the_status_when_the_rest(
    server: HostileServer, talk: Callable[[socket.socket], None] | bytes
) -> None:
    server.url("/hook", talk)

    answer = deliver(server, timeout_seconds=0.5)

    assert (answer.status, answer.body) == (200, b"")


def test_post_says_what_may_work_later(network: Network, server: HostileServer) -> None:
    network.names |= {"inside.example": [["10.0.0.1"]], "down.example": [[PUBLIC_ADDRESS]]}

    def is_retryable(url: str) -> bool:
        with pytest.raises(FetchRefused) as refused:
            fetch.post(url, b"", {}, timeout_seconds=0.2, allowed_hosts=frozenset({server.host}))
        return refused.value.retryable

    assert is_retryable("http://down.example/")
    assert is_retryable("http://unknown.example/")
    assert is_retryable(server.url("/slow", lambda sock: time.sleep(1)))
    assert is_retryable(server.url("/reset", reset))
    assert not is_retryable("http://inside.example/")
    assert not is_retryable("http://user@down.example/")


def test_post_is_not_held_by_a_receiver_that_does_not_read() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        host = f"127.0.0.1:{deaf.getsockname()[1]}"
        started = time.monotonic()

        with pytest.raises(TooSlow):
            fetch.post(f"http://{host}/", b"x" * 50_000_000, {}, timeout_seconds=0.3, allowed_hosts=frozenset({host}))

        assert time.monotonic() - started < 1.5
        assert nobody_is_left_on_the_line()
