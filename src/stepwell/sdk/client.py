"""Events on their way out, and the narrow door through which an app sends them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec


class EventPayload(msgspec.Struct, frozen=True, kw_only=True):
    """An event as it is handed over. ``data``, ``user`` and ``meta`` are JSON text of objects; ``ts`` is milliseconds,
    0 for now. ``meta`` has its ``sessions``, and ``propagated_sessions`` where a run sends it (semantics §1.7).

    ``id`` is the sender's idempotency key; ``run_id`` the run in whose step it is sent.
    """

    name: str
    data: bytes = b"{}"
    id: str | None = None
    ts: int = 0
    v: str | None = None
    user: bytes | None = None
    meta: bytes | None = None
    run_id: str | None = None


class Messages(Protocol):
    """Where the messages of an app go: to an engine in this process, or to a server."""

    async def publish(self, channel: str, topic: str, data: bytes, run_id: str | None) -> None:
        """Bring ``data``, JSON text, to whoever listens. Raises ``InvalidMessage`` and ``NotRunning``."""
        ...

    async def token(self, channel: str, topics: Sequence[str]) -> str:
        """A token to listen. Raises ``InvalidMessage`` and ``NotRunning``."""
        ...

    def listen(self, channel: str, topics: Sequence[str]) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The messages from now on, as JSON text. When it ends by itself it raises ``NotRunning``, which says why."""
        ...


class Sender(Protocol):
    """Where the events of an app go: an engine in this process, or a server."""

    async def send(self, payloads: Sequence[EventPayload], *, seed: str | None = None) -> list[str]:
        """Make the events durable, all or none, and give their internal ids in the same order.

        ``seed`` has the form of protocol §9.3: sent again with the same one, the events get the same ids and start
        nothing twice. Raises ``InvalidEvent``, ``EventTooLarge``, ``NotRunning`` or ``StorageUnavailable``.
        """
        ...

    async def signal(self, name: str, data: bytes) -> str | None:
        """Give ``data``, JSON text, to the run that waits for this signal: its id, or ``None`` if nobody waits.

        Raises ``InvalidSignal``, ``NotRunning`` or ``StorageUnavailable``.
        """
        ...

    @property
    def messages(self) -> Messages:
        """Where messages go."""
        ...
