"""Who may talk to the listener: known host names only, and a token where others can reach it (invariants S8-S11).

A page in a browser can send requests to this machine. That is meant for events, which any page may send. Everything
else is for programs, and for pages that this server itself has served.
"""

from __future__ import annotations

from hmac import compare_digest
from ipaddress import ip_address
from typing import Final

import msgspec

from stepwell.server.replies import Refused

Headers = list[tuple[bytes, bytes]]

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_KNOWN_MAX: Final = 64


class Guard:
    """Checks requests. ``hosts`` are further names under which the server is known; with ``any_address`` any address
    without a name will do, because whoever listens on all interfaces cannot list them. Names are what a web page of
    somebody else could make point at us."""

    def __init__(self, hosts: frozenset[str] = frozenset(), *, any_address: bool = False, token: str | None = None):
        self._hosts = LOOPBACK | {host.lower() for host in hosts}
        self._any_address = any_address
        self._token = token
        self._known: set[bytes] = set()

    def check_host(self, host: bytes) -> None:
        """Raises ``Refused`` unless the ``Host`` header names this server."""
        if host in self._known:
            return
        name = _host_name(host.decode("latin-1"))
        if name.lower() not in self._hosts and not (self._any_address and _is_address(name)):
            raise Refused(
                403,
                "unknown-host",
                "this server is not known by that name",
                "a name that is not on the list may be a web page's trick to read what is here",
                "use 127.0.0.1 or localhost, or start the server with --allow-host NAME",
            )
        if len(self._known) < _KNOWN_MAX:
            self._known.add(host)

    def check_origin(self, host: bytes, origin: bytes | None) -> None:
        """Raises ``Refused`` for a request that comes from somebody else's page."""
        if origin is not None and origin.partition(b"://")[2] != host:
            raise Refused(
                403,
                "foreign-origin",
                "a web page of another origin asks for this",
                "only events may be sent from other pages; else any page could act in your name",
                "call it from a program, or from a page that this server serves",
            )

    def check_token(self, authorization: bytes | None, key: str | None = None) -> None:
        """Raises ``Refused`` unless the request carries the token, if there is one: the events route as its key."""
        if self._token is None:
            return
        kind, _, given = (authorization or b"").partition(b" ")
        if kind.lower() == b"bearer" and compare_digest(given.strip(), self._token.encode()):
            return
        if key is not None and compare_digest(key.encode(errors="replace"), self._token.encode()):
            return
        if key is not None:
            raise Refused(401, "unauthorized", "Event key not found", "the key is not the server's token")
        raise Refused(401, "unauthorized", "the token is missing or wrong", "", "send it as 'Authorization: Bearer …'")


class Envelope(msgspec.Struct, frozen=True):
    """The headers that decide about a request."""

    host: bytes
    origin: bytes | None
    authorization: bytes | None
    seed: str | None
    length: int | None


def envelope(headers: Headers) -> Envelope:
    host, origin, authorization, seed, length = b"", None, None, None, None
    for name, value in headers:
        if name == b"host":
            host = value
        elif name == b"origin":
            origin = value
        elif name == b"authorization":
            authorization = value
        elif name == b"content-length":
            length = int(value) if value.isdigit() and len(value) < 16 else None
        elif name == b"x-inngest-event-id-seed":
            seed = value.decode("latin-1")
    return Envelope(host, origin, authorization, seed, length)


def _host_name(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
