"""A function as registered: what starts it, and the rules it runs under."""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha1
from typing import Any, ClassVar, Protocol

import msgspec

from stepwell.limits import RETRIES_DEFAULT
from stepwell.model.pause import Pause
from stepwell.model.standing import StandingOrder
from stepwell.model.trigger import CancelOn, Trigger

_ADDRESSES = bytes.fromhex("6ba7b8119dad11d180b400c04fd430c8")


@lru_cache(maxsize=1024)
def function_uuid(function_id: str) -> str:
    """The id by which SDKs of other languages know a function on the server; always the same for the same function."""
    return _uuid5(f"stepwell:{function_id}")


@lru_cache(maxsize=1024)
def app_uuid(app_id: str) -> str:
    """The id by which they know an app."""
    return _uuid5(f"stepwell-app:{app_id}")


def _uuid5(name: str) -> str:
    """As ``uuid.uuid5`` gives it for an address (RFC 9562 §5.5); that module reads clocks and random numbers too."""
    digest = bytearray(sha1(_ADDRESSES + name.encode(), usedforsecurity=False).digest()[:16])
    digest[6], digest[8] = digest[6] & 0x0F | 0x50, digest[8] & 0x3F | 0x80
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class Control(Protocol):
    """A flow control: a value with an opinion about starts or dispatch. Each lives in one file of ``flow/``."""

    keyword: ClassVar[str]

    def config(self) -> Any:
        """As the wire has it, under the keyword (protocol §4.5)."""
        ...


class Backoff(msgspec.Struct, frozen=True):
    """The pause before retry n (from 1): ``delays_ms[n-1]``, the last one repeated, plus up to ``jitter_ms``."""

    delays_ms: tuple[int, ...]
    jitter_ms: int = 0


class Function(msgspec.Struct, frozen=True, kw_only=True):
    """Durable code as registered. ``id`` is the composite id ``<app>-<function>`` of the wire.

    ``url`` is where its app serves it over HTTP, if it does. ``endpoint`` is set for a durable endpoint, which is
    a page of its app and is called as that: the language of its SDK, "" if nobody says.
    ``config`` is the configuration as the app sent it (protocol §4.5), which everything else here was read from, but
    for ``pause`` and ``drain``, which a person has decided, of this function, of its app or of all there is.
    """

    id: str
    app_id: str
    name: str
    triggers: tuple[Trigger, ...] = ()
    retries: int = RETRIES_DEFAULT
    backoff: Backoff | None = None
    cancels: tuple[CancelOn, ...] = ()
    start_timeout_ms: int | None = None
    finish_timeout_ms: int | None = None
    controls: tuple[Control, ...] = ()
    version: int = 1
    url: str | None = None
    endpoint: str | None = None
    config: bytes = b"{}"
    pause: Pause | None = None
    drain: StandingOrder | None = None


class FunctionVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration that a function has or has had (semantics §9.7), and when that came.

    Of an app that is served ``sdk`` is its language and version, and ``app_version`` its own, if it said one.
    """

    function_id: str
    version: int
    config: bytes
    registered_at: int
    sdk: str | None = None
    app_version: str | None = None
