"""Which addresses this process may call (invariants S15, S16). Pure: whoever connects asks about each address."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

import msgspec

from stepwell.errors import ConfigurationError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class Reach(msgspec.Struct, frozen=True):
    """What may be called. The public internet always; with ``private`` also this machine and private networks, and
    whatever is in ``networks``; with ``anything`` all there is.

    Addresses where clouds tell machines their secrets are in none of these but ``networks`` and ``anything``.
    """

    anything: bool = False
    private: bool = False
    networks: tuple[Network, ...] = ()

    def objection(self, text: str) -> str | None:
        """Why this address, of any version and in any notation that a resolver gives, may not be called."""
        if self.anything:
            return None
        try:
            address = ip_address(text.partition("%")[0])
        except ValueError:
            return f"{text[:80]} is no address"
        for each in (address, *_inner(address)):
            if any(each in network for network in self.networks if network.version == each.version):
                return None
        kinds = [_kind(each) for each in _inner(address) or (address,)]
        kind = next((kind for kind in kinds if kind is not None and not (kind in _PRIVATE and self.private)), None)
        return None if kind is None else f"{text} is {kind}"


EVERYWHERE: Final = Reach(anything=True)


def parse_network(text: str) -> Network:
    """A network such as ``10.1.0.0/16``, or one address. Raises ``ConfigurationError``."""
    try:
        return ip_network(text.strip())
    except ValueError as error:
        raise ConfigurationError(f"{text[:80]!r} is no network", str(error), "write it like 10.1.0.0/16") from None


def _nets(*texts: str) -> tuple[Network, ...]:
    return tuple(map(ip_network, texts))


_METADATA: Final = "an address where a cloud tells its machines secrets"
_THIS: Final = "this machine itself"
_NEAR: Final = "in a private network"
_PRIVATE: Final = frozenset({_THIS, _NEAR})
_KINDS: Final[tuple[tuple[str, tuple[Network, ...]], ...]] = (
    (_METADATA, _nets("169.254.169.254", "169.254.170.2", "169.254.170.23", "100.100.100.200", "192.0.0.192")),
    (_METADATA, _nets("fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "168.63.129.16")),
    (_THIS, _nets("127.0.0.0/8", "::1")),
    (_NEAR, _nets("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")),
    ("only known on one cable (link-local)", _nets("169.254.0.0/16", "fe80::/10", "fec0::/10")),
    ("not the address of one machine", _nets("0.0.0.0/8", "::", "224.0.0.0/4", "ff00::/8", "255.255.255.255")),
    (
        "reserved",
        _nets("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24")
        + _nets("240.0.0.0/4", "::/8", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "3fff::/20")
        + _nets("5f00::/16"),
    ),
)
"""From the registries of special-purpose addresses of IANA, the narrowest first. What is in none of them is public."""

_NAT64: Final = ip_network("64:ff9b::/96")
_MAPPED: Final = ip_network("::ffff:0:0/96")
_TRANSLATED: Final = ip_network("::ffff:0:0:0/96")
_COMPATIBLE: Final = ip_network("::/96")
_6TO4: Final = ip_network("2002::/16")


def _kind(address: Address) -> str | None:
    for kind, networks in _KINDS:
        if any(address in network for network in networks if network.version == address.version):
            return kind
    return None


def _inner(address: Address) -> tuple[Address, ...]:
    """The IPv4 address to which packets to this IPv6 address go in the end, if it is one that stands for another."""
    if isinstance(address, IPv4Address):
        return ()
    number = int(address)
    if address in _6TO4:
        return (IPv4Address(number >> 80 & 0xFFFFFFFF),)
    if any(address in network for network in (_NAT64, _MAPPED, _TRANSLATED)) or (address in _COMPATIBLE and number > 1):
        return (IPv4Address(number & 0xFFFFFFFF),)
    return ()
