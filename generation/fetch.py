"""The one door for links that users give us: only to public addresses, within caps of bytes, time and redirects."""

import http.client
import re
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import TypeVar
from urllib.parse import quote, urljoin, urlsplit

from ssrfguard import (
    DEFAULT_DENIED,
    AddressTable,
    Block,
    BlockedAddressError,
    BlockedURLError,
    Policy,
    Reach,
    Target,
    connect,
    resolve,
)

USER_AGENT = "Atelier"
DEFAULT_PORTS = {"http": 80, "https": 443}
REDIRECTS = {301, 302, 303, 307, 308}
RESERVED_CHARACTERS = "/%:@!$&'()*+,;=~?"  # stay as they are in a path or a query; "%" so that nothing is quoted twice


# Where a packet for one of these ends is not for the address to say, or nobody serves files there, so the whole table
# of special purposes is refused, and of IPv6 all that is not global unicast. Only an IPv4-mapped address is judged
# by the IPv4 address inside, which is what the socket connects to.
IPV4_MAPPED = ip_network("::ffff:0:0/96")
NOT_PUBLIC = AddressTable(
    (
        *(b if b.network == IPV4_MAPPED else replace(b, reach=Reach.DENIED) for b in DEFAULT_DENIED.blocks),
        Block(ip_network("::/0"), "Not global unicast", "RFC4291", Reach.DENIED),
        Block(ip_network("2000::/3"), "Global unicast", "RFC4291", Reach.PERMITTED),
    )
)
PUBLIC = Policy(denied_networks=NOT_PUBLIC, max_connection_attempts=3)
ANYWHERE = Policy(allowed_networks=(ip_network("0.0.0.0/0"), ip_network("::/0")), max_connection_attempts=3)

T = TypeVar("T")


class FetchRefused(Exception):
    """The link could not be used; the message tells its owner why."""

    retryable = False  # may the same link work later?


class LinkNotAllowed(FetchRefused):
    """The link itself is wrong: another scheme, a user name, a disguised host, a port of another service."""


class AddressNotPublic(FetchRefused):
    """The host is, or resolves to, an address inside somebody's network."""


class Unreachable(FetchRefused):
    """The host is unknown, refuses, hangs up, has a bad certificate or does not speak HTTP."""

    retryable = True


class DeadLink(FetchRefused):
    """The host answered, but not with a file."""


class TooLarge(FetchRefused):
    """The file is larger than the cap."""


class TooSlow(FetchRefused):
    """The deadline passed, whatever part of the exchange was slow."""

    retryable = True


class TooManyRedirects(FetchRefused):
    """The link sends its callers on too often."""


@dataclass(frozen=True)
class Limits:
    """How much of our time and memory one link may take."""

    max_bytes: int = 20 * 2**20
    timeout_seconds: float = 15.0  # for everything together: DNS, connecting, all redirects, the last byte
    max_redirects: int = 3


@dataclass(frozen=True)
class Answer:
    """What a webhook's receiver said."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes  # its beginning; empty when it did not arrive in time


def fetch(url: str, *, limits: Limits = Limits(), allowed_hosts: frozenset[str] = frozenset()) -> bytes:
    """Download the file behind a link.

    `allowed_hosts` holds "host:port" of the site's own services, which may have any address.

    Raises:
        FetchRefused: one subclass per reason, within the deadline.
    """
    return _within(limits.timeout_seconds, lambda line: _download(line, url, limits, allowed_hosts))


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    timeout_seconds: float = 15.0,
    answer_bytes: int = 4096,
    allowed_hosts: frozenset[str] = frozenset(),
) -> Answer:
    """Deliver `body` to a webhook and return what the receiver said; a redirect is an answer and is not followed.

    The status decides: once it is here, a body that is late or broken no longer matters.

    Raises:
        FetchRefused: no status arrived; its `retryable` says whether to try again.
    """
    heard: list[Answer] = []

    def deliver(line: "_Line") -> None:
        with line.request("POST", url, allowed_hosts, body, headers) as response:
            lowered = {name.lower(): value for name, value in response.headers.items()}
            heard.append(Answer(response.status, lowered, b""))
            heard.append(replace(heard[0], body=response.read(answer_bytes)))

    try:
        _within(timeout_seconds, deliver)
    except FetchRefused:
        if not heard:
            raise
        return heard[0]  # not what the thread may still add while it is hung up on
    return heard[-1]


def _download(line: "_Line", url: str, limits: Limits, allowed_hosts: frozenset[str]) -> bytes:
    # Only "identity": what counts against the cap is then what the file weighs, and there is nothing to inflate.
    headers = {"Accept": "image/*", "Accept-Encoding": "identity"}
    for _ in range(limits.max_redirects + 1):
        with line.request("GET", url, allowed_hosts, None, headers) as response:
            location = response.headers.get("Location")
            if response.status not in REDIRECTS or location is None:
                return _read_file(response, limits.max_bytes)
            url = urljoin(url, location)
    raise TooManyRedirects(f"The link redirects more than {limits.max_redirects} times; give the final link.")


def _read_file(response: http.client.HTTPResponse, max_bytes: int) -> bytes:
    if response.status != 200:
        raise DeadLink(f"The link answered with HTTP status {response.status} instead of a file.")
    if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise DeadLink("The link answered with a compressed transfer; serve the file without Content-Encoding.")
    too_large = TooLarge(f"The file behind the link is larger than {max_bytes / 2**20:g} MB.")
    if (response.length or 0) > max_bytes:
        raise too_large
    file = bytearray()
    while piece := response.read(64 * 1024):
        file += piece
        if len(file) > max_bytes:
            raise too_large
    if response.length:
        raise Unreachable("The file behind the link broke off before its end.")
    return bytes(file)


def _admit(url: str, allowed_hosts: frozenset[str]) -> tuple[Target, Policy]:
    """Return where the link leads and which addresses it may have there; the address is checked by what connects."""
    parts = urlsplit(url)
    port = parts.port or DEFAULT_PORTS.get(parts.scheme, 0)
    target = replace(ANYWHERE, allowed_ports=frozenset({port or 80})).check_url(url)
    if f"{target.host}:{target.port}" in allowed_hosts:
        return target, ANYWHERE
    if port < 1024 and port not in DEFAULT_PORTS.values():
        raise LinkNotAllowed(f"Port {port} belongs to another service; use 80, 443 or one from 1024 up.")
    if re.fullmatch(r"\d+|0x[\da-f]*", target.host.rstrip(".").rpartition(".")[2]) and not target.is_literal_address:
        raise LinkNotAllowed("Write the address of the host in its usual form, like 93.184.216.34.")
    return target, PUBLIC


class _Line:
    """The connection in use, which the deadline can hang up from another thread."""

    def __init__(self, timeout_seconds: float) -> None:
        self.timeout_seconds = timeout_seconds
        self._lock = threading.Lock()
        self._sock: socket.socket | None = None
        self._is_dead = False

    def request(
        self, method: str, url: str, allowed_hosts: frozenset[str], body: bytes | None, headers: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        """Send one request, to an address that was checked for it, and return the answer with its body unread."""
        url = url.strip().replace(" ", "%20")
        target, policy = _admit(url, allowed_hosts)
        parts = urlsplit(url)
        path = quote((parts.path or "/") + (parts.query and f"?{parts.query}"), RESERVED_CHARACTERS)
        connection = http.client.HTTPConnection(target.host, target.port)
        connection.default_port = DEFAULT_PORTS[target.scheme]
        connection.auto_open = False  # or http.client would look the name up again, past the check
        connection.sock = self._open(target, policy)
        connection.request(method, path, body, {"User-Agent": USER_AGENT, "Connection": "close", **headers})
        return connection.getresponse()

    def _open(self, target: Target, policy: Policy) -> socket.socket:
        addresses = resolve(target, policy=policy)  # the only look-up; what it returns is what we connect to
        attempts = min(len(addresses), policy.max_connection_attempts)
        sock: socket.socket = connect(addresses, policy=policy, timeout=self.timeout_seconds / attempts)
        sock.settimeout(self.timeout_seconds)
        if target.scheme == "https":
            sock = ssl.create_default_context().wrap_socket(sock, server_hostname=target.host.rstrip("."))
        self._hold(sock)
        return sock

    def _hold(self, sock: socket.socket) -> None:
        with self._lock:
            if self._is_dead:
                sock.close()
                raise TimeoutError
            if self._sock is not None:
                self._sock.close()  # of the hop before
            self._sock = sock

    def hang_up(self) -> None:
        """Wake whoever reads or writes and let no other connection begin."""
        with self._lock:
            self._is_dead = True
            if self._sock is None:
                return
            with suppress(OSError):  # the other side was first
                # Not SSLSocket's own shutdown, which would pull TLS from under the reader.
                socket.socket.shutdown(self._sock, socket.SHUT_RDWR)
            self._sock.close()


def _within(timeout_seconds: float, work: Callable[[_Line], T]) -> T:
    """Run `work` in a thread of its own, hang up at the deadline, and put every failure into our words.

    The timeouts of sockets are per read and name look-ups have none at all, so nothing less stops a slow drip and a
    stuck name server alike. A thread inside a look-up can't be stopped; it ends by itself, with nobody waiting for it.
    """
    line, outcome = _Line(timeout_seconds), Future[T]()

    def settle() -> None:
        try:
            outcome.set_result(work(line))
        except Exception as failure:  # not swallowed: raised where the result is awaited
            outcome.set_exception(failure)

    threading.Thread(target=settle, name="fetch", daemon=True).start()
    try:
        return outcome.result(timeout_seconds)
    except BlockedAddressError as refused:
        raise AddressNotPublic("The link leads to an address that is not on the public internet.") from refused
    except TimeoutError as late:
        raise TooSlow(f"The host of the link took longer than {timeout_seconds:g} seconds.") from late
    except socket.gaierror as unknown:
        raise Unreachable("The host of the link does not exist or its name can't be looked up.") from unknown
    except ssl.SSLError as broken:
        raise Unreachable("The host of the link has no valid certificate or can't speak TLS with us.") from broken
    except (OSError, http.client.HTTPException) as broken:
        raise Unreachable("The host of the link can't be reached or broke off.") from broken
    except (BlockedURLError, ValueError) as malformed:
        raise LinkNotAllowed(
            "The link must be http:// or https:// and a plain host name, without user name, password or spaces."
        ) from malformed
    finally:
        line.hang_up()
