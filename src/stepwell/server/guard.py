"""Who may talk to the listener: known host names only, and with a key or token (invariants S1-S11).

A page in a browser can send requests to this machine. That is meant for events, which any page may send. Everything
else is for programs, and for pages that this server itself has served.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import sha256
from hmac import compare_digest
from ipaddress import ip_address
from typing import Final, Literal

import msgspec

from stepwell.errors import ConfigurationError
from stepwell.protocol.signing import SigningKey, knows
from stepwell.server.replies import Refused

Headers = list[tuple[bytes, bytes]]

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_KNOWN_MAX: Final = 64
_SHOWN: Final = 12  # digits of a hash that people compare
_EVENT_KEY: Final = re.compile(r"[A-Za-z0-9._~-]{16,255}")  # it is a segment of a path


class Keys:
    """What requests to a production server must show: one of the signing keys, or of the event keys for events.

    Event keys are kept as their hashes, which also makes the time that a comparison takes say nothing. Raises
    ``ConfigurationError`` if one of them cannot be a key.
    """

    def __init__(self, signing: Sequence[SigningKey], events: Sequence[str]) -> None:
        for key in events:
            if not _EVENT_KEY.fullmatch(key):
                raise ConfigurationError(
                    what="an event key is not one",
                    why="it has 16 to 255 letters, digits, and . _ ~ -, because it is part of an address",
                    fix="make one: stepwell keys",
                )
        self.signing = tuple(signing)
        self._events = tuple(map(_hash, events))

    def fingerprints(self) -> tuple[list[str], list[str]]:
        """What tells signing keys and event keys apart for people, and is of no use to whoever wants in.

        The hash of a signing key is as good as the key (protocol §3.4), so it is hashed once more.
        """
        signing = [_hash(key.bearer).hex()[:_SHOWN] for key in self.signing]
        return signing, [hash.hex()[:_SHOWN] for hash in self._events]

    def know_event_key(self, key: str) -> bool:
        """Raises ``Refused`` if there are none at all: unset never means open."""
        if not self._events:
            raise Refused(503, "no-event-keys", "this server has no event keys, so nobody can send events")
        given, found = _hash(key), False
        for each in self._events:  # all of them, so that the time it takes does not tell which
            found |= compare_digest(each, given)
        return found


class Guard:
    """Checks requests. ``hosts`` are further names under which the server is known; with ``any_address`` any address
    without a name will do, because whoever listens on all interfaces cannot list them. Names are what a web page of
    somebody else could make point at us.

    With ``keys`` the server is one for production, and its ``kind`` is "cloud"; ``token`` is for others.
    """

    def __init__(
        self,
        hosts: frozenset[str] = frozenset(),
        *,
        any_address: bool = False,
        token: str | None = None,
        keys: Keys | None = None,
    ):
        self.kind: Literal["dev", "cloud"] = "dev" if keys is None else "cloud"
        self._hosts = LOOPBACK | {host.lower() for host in hosts}
        self._any_address = any_address
        self._token = token
        self._keys = keys
        self._known: set[bytes] = set()

    @property
    def keys(self) -> Keys | None:
        """What requests must show, if this is a server for production."""
        return self._keys

    @property
    def lasting_keys(self) -> tuple[str, ...]:
        """What tokens are signed with that are good for longer than this process lives: with the first, and read with
        any. There is none where nobody needs a key or token."""
        texts = [key.text for key in self._keys.signing] if self._keys is not None else [self._token or ""]
        return tuple(sha256(f"tokens {text}".encode()).hexdigest() for text in texts if text)

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

    def check_token(self, authorization: bytes | None) -> None:
        """Raises ``Refused`` unless the request shows a signing key or the token, if the server has such."""
        token = bearer(authorization)
        if self._keys is not None and not knows(self._keys.signing, token.decode("latin-1")):
            raise Refused(
                401,
                "unauthorized",
                "the signing key is missing or wrong",
                "",
                "set INNGEST_SIGNING_KEY, in the app or for the command, to the key of this server",
            )
        if self._token is not None and not compare_digest(token, self._token.encode()):
            fix = "send it as 'Authorization: Bearer …'"
            raise Refused(401, "unauthorized", "the token is missing or wrong", "", fix)

    def holder(self, authorization: bytes | None) -> str:
        """What tells whose key or token a request shows that was let in; nothing where none has to be shown."""
        if self._keys is not None:
            shown = bearer(authorization).decode("latin-1")
            found = [key for key in self._keys.signing if knows((key,), shown)]
            return _holder(found[0].bearer) if found else ""
        return _holder(self._token) if self._token is not None else ""

    @property
    def holders(self) -> frozenset[str]:
        """All that ``holder`` may say."""
        if self._keys is not None:
            return frozenset(_holder(key.bearer) for key in self._keys.signing)
        return frozenset({_holder(self._token)} if self._token is not None else ())

    def check_event_key(self, key: str, authorization: bytes | None) -> None:
        """Raises ``Refused`` unless the key of the events route is one, or the token in either place."""
        if self._keys is not None and not self._keys.know_event_key(key):
            raise Refused(401, "unauthorized", "Event key not found")
        if self._token is None or compare_digest(bearer(authorization), self._token.encode()):
            return
        if not compare_digest(key.encode(errors="replace"), self._token.encode()):
            raise Refused(401, "unauthorized", "Event key not found", "the key is not the server's token")


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


def bearer(authorization: bytes | None) -> bytes:
    """What is shown as ``Authorization: Bearer …``; nothing if nothing is."""
    kind, _, given = (authorization or b"").partition(b" ")
    return given.strip() if kind.lower() == b"bearer" else b""


def _hash(key: str) -> bytes:
    return sha256(key.encode(errors="replace")).digest()


def _holder(key: str) -> str:
    return f"key {_hash(key).hex()[:_SHOWN]}"


def _host_name(host: str) -> str:
    """Nothing if what stands beside the name is no port: others may make an address of it."""
    if host.startswith("["):
        name, _, rest = host[1:].partition("]")
        port = rest.removeprefix(":")
    elif host.count(":") == 1:
        name, _, port = host.partition(":")
    else:
        return host
    return name if not port or (port.isascii() and port.isdigit()) else ""


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
