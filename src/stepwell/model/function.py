"""A function as registered: what starts it, and the rules it runs under."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

import msgspec

from stepwell.limits import RETRIES_DEFAULT
from stepwell.model.trigger import CancelOn, Trigger


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
    ``config`` is the configuration as the app sent it (protocol §4.5), which everything else here was read from.
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
