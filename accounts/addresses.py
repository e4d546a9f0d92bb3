"""Where a request comes from, and whether that is among the networks that somebody allowed.

`X-Forwarded-For` is written by whoever sends the request, so it is believed only as far as it was added by the site's
own proxies (settings.TRUSTED_PROXIES): read from its end, the first address that is none of theirs is the client.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import HttpRequest

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
MOST_NETWORKS = 50  # of one key: each is looked at with every request


def client_address(request: HttpRequest) -> Address | None:
    """Return the client's address; None when nobody trustworthy says it."""
    address = read_address(request.META.get("REMOTE_ADDR", ""))
    hops = request.headers.get("X-Forwarded-For", "").split(",")
    while address and is_within(address, settings.TRUSTED_PROXIES) and hops:
        hop = hops.pop().strip()
        if hop:
            address = read_address(hop)
    return address


def read_address(text: str) -> Address | None:
    """Return the address, also where a proxy wrote a port behind it, or None for what is no address."""
    host = text.strip()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        address = ip_address(host)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def is_within(address: Address, networks: Iterable[str]) -> bool:
    return any(address in ip_network(network) for network in networks)


def read_network(text: str) -> str:
    """Return a network, or a single address, in the one form in which it is kept.

    Raises:
        ValidationError
    """
    try:
        return str(ip_network(text.strip()))
    except ValueError:
        pass
    try:
        network = ip_network(text.strip(), strict=False)
    except ValueError:
        raise ValidationError(
            "%(text)s is no address: write 203.0.113.7 or 203.0.113.0/24.", params={"text": text}
        ) from None
    raise ValidationError(
        "%(text)s is no network: did you mean %(network)s?", params={"text": text, "network": network}
    )


def check_networks(networks: Sequence[str]) -> None:
    """Raise ValidationError for what is no list of networks."""
    if not isinstance(networks, list) or not all(isinstance(network, str) for network in networks):
        raise ValidationError("This must be a list of networks.")
    if len(networks) > MOST_NETWORKS:
        raise ValidationError("These are more than %(most)s networks.", params={"most": MOST_NETWORKS})
    for network in networks:
        read_network(network)
