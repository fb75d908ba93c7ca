"""What is published for whoever listens now, on its way from one process to the others (ADR 0020)."""

from __future__ import annotations

import msgspec


class Posting(msgspec.Struct, frozen=True, kw_only=True):
    """A message that other processes are to fetch. ``id`` is given by the store and rises in the order of commits.

    ``origin`` is the process that published it. ``body`` is what subscribers get; a ``raw`` one is passed on as it is,
    to those that read a stream of bytes. It may be gone once ``expires_at`` has passed.
    """

    origin: str
    channel: str
    topic: str
    body: bytes
    expires_at: int
    raw: bool = False
    id: int = 0
